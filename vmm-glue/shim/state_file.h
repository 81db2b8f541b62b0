/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * RUN_DIR/NS/ID/state.json: what "delete" needs to end a pod whose shim was killed. Processes are
 * named by pid and start time, so that a reused pid is never touched.
 */
#include "base/str.h"

#include <sys/types.h>

#define STATE_FILE_MAX  (64u << 10)
#define STATE_PIDS_MAX  4u
#define STATE_LINKS_MAX 8u

struct state_pid {
	pid_t pid;
	uint64_t start_time; /* field 22 of /proc/PID/stat */
};

struct state_file {
	char *sandbox_id, *driver, *netns;
	char *notice; /* path of a socket that goes with the pod, or NULL */
	struct state_pid shim;
	struct state_pid pids[STATE_PIDS_MAX]; /* the machine first, then its helpers */
	size_t pid_count;
	struct cf_strv taps;
};

void state_file_fini(struct state_file *s);
cf_must_use int state_file_write(const char *dir, const struct state_file *s, struct cf_err *err);
/* Return: 0, -CF_NOT_FOUND, -CF_INVALID_ARGUMENT. */
cf_must_use int state_file_read(const char *dir, struct state_file *ret, struct cf_err *err);
cf_must_use int state_file_parse(struct cf_view text, struct state_file *ret, struct cf_err *err);

/* Start time of a live process; 0 when there is none. */
uint64_t state_start_time(pid_t pid);
struct state_pid state_pid_of(pid_t pid);
/* Kills by pidfd when it is still the same process, and waits at most @timeout_ms for its end. */
void state_kill(const struct state_pid *p, int64_t timeout_ms);
bool state_is_alive(const struct state_pid *p);
