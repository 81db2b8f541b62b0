/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Publishes task events to containerd, in order, without ever holding up a task call: one queue,
 * one event in flight; a failed one is tried again after 1, 2, 3 and 4 seconds and then dropped.
 *
 * Source: containerd api/services/ttrpc/events/v1/events.proto, pkg/shim/publisher.go.
 */
#include "base/loop.h"

#include "proto/rpc.h"

#define EVENTS_QUEUE_MAX 4096u /* events waiting; more are dropped, with a warning */
#define EVENTS_TRIES_MAX 5u

struct events;

/* @address: containerd's ttrpc socket; NULL publishes nothing. */
struct events *events_new(struct cf_loop *loop, const char *address, const char *ns);
struct events *events_free(struct events *e); /* what still waits is lost */
/* @msg is packed at once. Its type URL is the message's full name. */
void events_publish(struct events *e, const char *topic, const ProtobufCMessage *msg);
/* No event waits or is on its way. */
bool events_is_idle(const struct events *e);
