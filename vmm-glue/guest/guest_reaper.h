/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Reaps every child, known or not. crun returns as soon as a process is set up; inits and execs are
 * then our children, and so are orphans. An unreaped stranger would keep a container's init from
 * dying (it hangs while its pid namespace is torn down), so waiting for known pids is not enough.
 *
 * A fast process can end before its pid file was read: while guest_reaper_hold() is in effect the
 * statuses of unknown pids are kept for a later guest_reaper_watch().
 */
#include "base/loop.h"

#define GUEST_REAPER_KEPT_MAX 4096u /* statuses of unknown pids; the oldest goes first */

enum {
	GUEST_REAPER_ENDED = 1, /* outcome of guest_reaper_watch(): it has ended already */
};

struct guest_reaper;

/* @status: exit code, or 128 + signal. */
typedef void guest_exit_fn(pid_t pid, int status, void *arg);

/* Takes SIGCHLD of @loop; nothing else in the process may wait for children. */
cf_must_use int guest_reaper_new(struct cf_loop *loop, struct guest_reaper **ret,
                                 struct cf_err *err);
struct guest_reaper *guest_reaper_free(struct guest_reaper *r); /* watches are dropped */

/*
 * Calls @fn once when child @pid ends.
 * Return: 0, GUEST_REAPER_ENDED (@fn is not called, *ret_status set).
 */
int guest_reaper_watch(struct guest_reaper *r, pid_t pid, guest_exit_fn *fn, void *arg,
                       int *ret_status);
void guest_reaper_forget(struct guest_reaper *r, pid_t pid);

void guest_reaper_hold(struct guest_reaper *r);    /* counts */
void guest_reaper_release(struct guest_reaper *r); /* at zero the kept statuses are dropped */

/* Exit code or 128 + signal, from what waitpid() gave. */
int guest_exit_status(int wait_status);
