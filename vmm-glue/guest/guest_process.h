/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A process of a container: its init or an exec. Owns the near ends of its standard streams, its
 * pidfd, and the WaitProcess calls that wait for its end.
 */
#include "base/str.h"
#include "vmm-glue/guest/guest_reaper.h"
#include "vmm-glue/guest/guest_stream.h"

#define GUEST_WAITERS_MAX 32u /* outstanding WaitProcess calls of one process */

struct guest_process {
	struct cf_loop *loop;
	struct guest_reaper *reaper;
	char *id;  /* exec id; for an init the container's id */
	pid_t pid; /* 0 until it runs */
	int pidfd;
	bool has_ended;
	bool was_waited; /* a WaitProcess has had its answer */
	int status;      /* exit code, or 128 + signal */
	bool has_terminal;
	bool may_read;               /* else its output is drained */
	int tty;                     /* the pty's master, or -1; the streams hold duplicates */
	struct guest_input *in;      /* NULL: no standard input */
	struct guest_stream *out;    /* NULL until it runs */
	struct guest_stream *errors; /* NULL with a terminal: both are one */
	struct rpc_call *waiters[GUEST_WAITERS_MAX];
	size_t waiter_count;
	void (*on_end)(struct guest_process *p, void *arg);
	void *arg;
	/* what crun's call gets, while it is being started */
	int far[3];
	int console; /* listening console socket, or -1 */
	char *console_path;
};

struct guest_process *guest_process_new(struct cf_loop *loop, struct guest_reaper *reaper,
                                        const char *id);
struct guest_process *guest_process_free(
	struct guest_process *p); /* never kills; answers waiters */

/*
 * Makes pipes, or with @terminal a listening console socket below @dir, before crun runs.
 * Return: 0, or negative.
 */
cf_must_use int guest_process_prepare(struct guest_process *p, bool terminal, bool may_read,
                                      const char *dir, struct cf_err *err);
/*
 * crun has set the process up: take the terminal if there is one, close the far ends, watch @pid.
 * Must be called while the reaper still holds (from crun's callback).
 */
cf_must_use int guest_process_adopt(struct guest_process *p, pid_t pid, struct cf_err *err);

/* 0 also when it has ended already. */
cf_must_use int guest_process_signal(struct guest_process *p, unsigned signo, struct cf_err *err);
cf_must_use int guest_process_resize(struct guest_process *p, unsigned rows, unsigned columns,
                                     struct cf_err *err);
void guest_process_wait(struct guest_process *p, struct rpc_call *call); /* takes the call */
/* Nothing more can come from it: it has ended, was waited for and read to the end. */
bool guest_process_is_done(const struct guest_process *p);

/*
 * The rule of the peers for a polite end: TERM to an init that neither handles, blocks nor ignores
 * it would stay without effect, so it becomes KILL. @proc_status: text of /proc/PID/status.
 */
unsigned guest_signal_for_init(struct cf_view proc_status, unsigned signo);
