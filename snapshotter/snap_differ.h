/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * containerd's diff.v1 service, for guest pull. An image that another snapshotter had pulled before
 * is unpacked for us without labels: containerd prepares a snapshot and asks a differ to put the
 * layer into it. Where that is one of ours and the layer's diffID can be proven, the answer is "done,
 * it was D", and no byte is written; containerd compares D with the image's configuration. In every
 * other case the answer is UNIMPLEMENTED, and containerd goes on to the next differ of its list.
 *
 * The service takes no part until containerd's configuration names it (snapshotter/README.md). It is
 * of no use before containerd 1.7.4, which cannot take a differ over a socket.
 */
#include "proto/rpc.h"

struct snap_service;

/* The table; @s answers for itself and all that follow its .next. */
void snap_differ_init(struct snap_service *s, struct rpc_service *ret);
