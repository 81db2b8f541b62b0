/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Callers that look on while pulls run (coffer.Pulls/WatchPulls). A call waits until something is
 * other than what its caller has seen; it is looked at PULL_WATCH_MS apart, and only while somebody
 * waits and a pull runs. Loop thread.
 */
#include "base/loop.h"
#include "proto/pulls.pb-c.h"
#include "proto/rpc.h"

#define PULL_WATCH_MS    250
#define PULL_WATCHERS    4u  /* calls that wait at once */
#define PULL_WATCH_PULLS 64u /* pulls of one answer */

struct pull_watch;

/* Fills @pulls, whose strings stay the owner's; gives how many, at most PULL_WATCH_PULLS. */
typedef size_t pull_watch_list(void *arg, Coffer__Pull *pulls);

struct pull_watch *pull_watch_new(struct cf_loop *loop, pull_watch_list *list, void *arg);
struct pull_watch *pull_watch_free(struct pull_watch *w); /* NULL is fine; returns NULL */
/* Takes the call. */
void pull_watch_call(struct pull_watch *w, struct rpc_call *call, uint64_t seen);
/* A pull has begun or ended. */
void pull_watch_changed(struct pull_watch *w);
