/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Runs crun, one short process a command, without blocking the loop. What failed is read from the
 * log file of that very call (crun also writes to the container's stderr, which is not ours to
 * read). crun's messages are for people: nothing is decided by their text.
 */
#include "base/loop.h"
#include "base/str.h"
#include "vmm-glue/guest/guest_reaper.h"

#define GUEST_CRUN_TIMEOUT_MS 60000
#define GUEST_CRUN_LOG_MAX    (64u << 10) /* bytes of a call's log that are looked at */

struct guest_crun;

/*
 * @program: a path, or a name looked up on PATH; @root: crun's own state directory. Borrowed strings
 * are copied, @loop and @reaper must outlive it.
 */
struct guest_crun *guest_crun_new(struct cf_loop *loop, struct guest_reaper *reaper,
                                  const char *program, const char *root);
struct guest_crun *guest_crun_free(
	struct guest_crun *c); /* calls in flight are killed, not answered */

struct guest_crun_call {
	const char *bundle;         /* where this call's log goes while it runs */
	const struct cf_strv *args; /* command and its arguments, behind the global options */
	int fds[3];           /* the container's 0, 1, 2; -1: /dev/null; borrowed for the call */
	const char *pid_file; /* NULL, or what crun will write; an old one is removed first */
};

/*
 * @err is NULL on success; otherwise ABORTED with crun's reason, or DEADLINE_EXCEEDED. Children that
 * ended meanwhile are still kept by the reaper while this runs: watch the pid file's pid here.
 */
typedef void guest_crun_done(const struct cf_err *err, void *arg);

cf_must_use int guest_crun_start(struct guest_crun *c, const struct guest_crun_call *call,
                                 guest_crun_done *done, void *arg, struct cf_err *err);

/* Digits without newline, as crun writes them. */
cf_must_use int guest_crun_read_pid(const char *path, pid_t *ret, struct cf_err *err);

/* The last "msg" of a JSON-lines log; NULL when there is none. The caller frees. */
char *guest_crun_log_reason(struct cf_view log);
