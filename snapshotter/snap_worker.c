/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_worker.h"

#include "base/fd.h"
#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define STOP_MS 100

static int start(const char *const *args, int out_fd, pid_t *ret, struct cf_err *err)
{
	cf_cleanup(cf_strv_fini) struct cf_strv argv = { 0 };
	cf_cleanup(cf_freep) char *path = NULL;
	int r = cf_proc_beside(SNAP_WORKER_PROGRAM, &path, err);

	if (r < 0)
		return r;
	cf_strv_add(&argv, path);
	for (; *args; args++)
		cf_strv_add(&argv, *args);
	return cf_proc_spawn(&(struct cf_proc_opts){ .argv = (const char *const *)argv.items,
	                                             .cwd = "/",
	                                             .stdin_fd = -1,
	                                             .stdout_fd = out_fd,
	                                             .stderr_fd = -1,
	                                             .die_with_parent = true },
	                     ret, err);
}

/* 0: all that it said is in @out; else it is not worth waiting for. */
static int listen_to(int fd, bool (*stop)(void *user), void *user, struct cf_buf *out,
                     struct cf_err *err)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint8_t chunk[1024];

	for (;;) {
		int n = poll(&p, 1, stop ? STOP_MS : -1);

		if (stop && stop(user))
			return cf_fail(err, CF_CANCELLED, "the caller went away");
		if (n <= 0)
			continue; /* a signal, or time to ask again */
		ssize_t got = read(fd, chunk, sizeof(chunk));

		if (got == 0)
			return 0;
		if (got < 0 && errno != EINTR)
			return cf_fail_errno(err, errno, SNAP_WORKER_PROGRAM);
		if (got > 0)
			cf_buf_add(out, chunk, (size_t)got);
		if (out->bad)
			return cf_fail(err, CF_INTERNAL, SNAP_WORKER_PROGRAM " says too much");
	}
}

static int judge(int status, const struct cf_buf *said, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *text = cf_view_dup(cf_buf_view(said));
	char *message = NULL;

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	long code = strtol(text, &message, 10);

	if (!WIFEXITED(status) || *message != ' ' || code <= 0 || code > CF_CODE_MAX)
		return cf_fail(err, CF_INTERNAL, SNAP_WORKER_PROGRAM " died with status %d",
		               status);
	return cf_fail(err, (enum cf_code)code, "%s", message + 1);
}

int snap_worker_run(const char *const *args, bool (*stop)(void *user), void *user,
                    struct cf_buf *out, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf said = { .max = SNAP_WORKER_ANSWER_MAX };
	int pipe_fds[2], status = 0;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return cf_fail_errno(err, errno, "pipe");
	cf_cleanup(cf_closep) int from = pipe_fds[0];
	int r = start(args, pipe_fds[1], &pid, err);

	cf_close(&pipe_fds[1]);
	if (r < 0)
		return r;
	r = listen_to(from, stop, user, &said, err);
	if (r < 0)
		kill(pid, SIGKILL); /* its own helpers end with it */
	int w = cf_proc_wait(pid, &status, r < 0 ? NULL : err);

	if (r == 0)
		r = w < 0 ? w : judge(status, &said, err);
	if (r == 0 && out)
		cf_buf_add_view(out, cf_buf_view(&said));
	return r;
}

void snap_worker_say(const struct cf_err *err)
{
	printf("%d %s", (int)err->code, err->msg);
}
