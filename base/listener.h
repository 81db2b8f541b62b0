/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Listening stream sockets of a server, in a list that it owns. Connections are taken in the loop, a few
 * per turn, so that a flood of them does not keep the loop from its other work. When the process has no
 * descriptor left the newest connection is closed instead of waiting for one: a peer sees at once that
 * it is refused, and the loop does not spin.
 */
#include "base/loop.h"

struct cf_listener;

/* One new connection: non-blocking, CLOEXEC, the callee's. */
typedef void cf_listener_conn_fn(void *user, int fd_take);

/*
 * Puts the listening socket @fd_take, which is closed also on failure, into @list (NULL: none yet).
 * @unlink_path (or NULL) is removed when the list is closed. @fn may not close the list.
 */
cf_must_use int cf_listener_add(struct cf_listener **list, struct cf_loop *loop, int fd_take,
                                const char *unlink_path, cf_listener_conn_fn *fn, void *user,
                                struct cf_err *err);
void cf_listeners_close(struct cf_listener **list);
