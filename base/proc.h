/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Child processes. cf_proc_spawn() runs a program; cf_helper_spawn() a sandboxed helper that parses
 * a stranger's bytes: it has the fds it was given, no network, no file system, no keys, no
 * environment, no way to start anything.
 */
#include "base/err.h"
#include "base/str.h"

#include <sys/types.h>

struct cf_proc_opts {
	const char *const *argv;            /* argv[0] is a path, or a name looked up on PATH */
	const char *const *env;             /* NULL: inherit; otherwise NULL-ended */
	const char *cwd;                    /* NULL: inherit */
	int stdin_fd, stdout_fd, stderr_fd; /* borrowed; -1: /dev/null (stderr: inherit) */
	/* borrowed; become 3, 4, … in the child. All other fds are closed there. */
	const int *fds;
	size_t fd_count;
	bool die_with_parent; /* SIGKILL when the thread that spawned ends */
	bool new_session;     /* setsid */
};
/* Return: 0 and the pid; the caller reaps it (cf_loop_child, cf_proc_wait). */
cf_must_use int cf_proc_spawn(const struct cf_proc_opts *opts, pid_t *ret, struct cf_err *err);

/* The path of @program beside the running one, wherever that was installed; the caller frees. */
cf_must_use int cf_proc_beside(const char *program, char **ret, struct cf_err *err);

/* Waits; positive outcome never. *ret_status as waitpid gives it. */
cf_must_use int cf_proc_wait(pid_t pid, int *ret_status, struct cf_err *err);

/*
 * Runs to the end, within @timeout_ms (0: none; then killed, -CF_DEADLINE_EXCEEDED), collects at
 * most @max bytes of stdout into @out (may be NULL) and of stderr into the error text. A status
 * other than 0 is -CF_ABORTED, the message names program, status and the end of stderr.
 */
cf_must_use int cf_proc_run(const struct cf_proc_opts *opts, size_t max, int64_t timeout_ms,
                            struct cf_buf *out, struct cf_err *err);

/* ---- sandboxed helpers ---- */

struct cf_helper_limits {
	uint64_t memory_max; /* bytes of address space; 0: 512 MiB */
	uint64_t cpu_s_max;  /* seconds of CPU; 0: 600 */
};

/*
 * A helper's body: runs in the child with the sandbox already shut. fds 3, 4, … are what the parent
 * passed. Its return value is the exit status (0–125).
 */
typedef int cf_helper_fn(int argc, char **argv);
struct cf_helper {
	const char *name;
	cf_helper_fn *fn;
};

/*
 * Call first thing in main(): when this process was started as a helper, shuts the sandbox, runs
 * the helper of that name and never returns. A program that calls it is its own helper program.
 */
void cf_helper_main(int argc, char **argv, const struct cf_helper *helpers, size_t count);

/*
 * Starts helper @name, with @args behind it (NULL-ended, may be NULL). Which program that is:
 * @program in the folder that the running one lies in, of the same version; this binary itself
 * (/proc/self/exe) when it called cf_helper_main() or @program is NULL. The child: new session,
 * no_new_privs, capabilities dropped, rlimits (no files written, no processes), own empty network
 * and mount view where the system permits, seccomp allow-list of read, write, mmap and exit kind; a
 * forbidden call kills it. Dies with its parent.
 */
cf_must_use int cf_helper_spawn(const char *program, const char *name, const char *const *args,
                                const int *fds, size_t fd_count,
                                const struct cf_helper_limits *limits, pid_t *ret,
                                struct cf_err *err);
