/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/guest/guest_process.h"

#include "base/fd.h"
#include "base/mem.h"
#include "proto/agent.pb-c.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PROC_STATUS_MAX 16384u

struct guest_process *guest_process_new(struct cf_loop *loop, struct guest_reaper *reaper,
                                        const char *id)
{
	struct guest_process *p = cf_zalloc(sizeof(*p));

	p->loop = loop;
	p->reaper = reaper;
	p->id = cf_strdup(id);
	p->pidfd = p->tty = p->console = -1;
	p->far[0] = p->far[1] = p->far[2] = -1;
	return p;
}

static void close_far(struct guest_process *p)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(p->far); i++)
		cf_close(&p->far[i]);
	cf_close(&p->console);
	if (p->console_path)
		(void)unlink(p->console_path);
	free(cf_take(&p->console_path));
}

struct guest_process *guest_process_free(struct guest_process *p)
{
	if (!p)
		return NULL;
	if (p->pid && !p->has_ended)
		guest_reaper_forget(p->reaper, p->pid);
	while (p->waiter_count)
		rpc_fail(p->waiters[--p->waiter_count], CF_NOT_FOUND, "process %s is gone", p->id);
	guest_input_free(p->in);
	guest_stream_close(p->out);
	guest_stream_close(p->errors);
	close_far(p);
	cf_close(&p->tty);
	cf_close(&p->pidfd);
	free(p->id);
	free(p);
	return NULL;
}

static int make_pipe(int *near_end, int *far_end, bool we_write, struct cf_err *err)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return cf_fail_errno(err, errno, "pipe");
	*near_end = fds[we_write ? 1 : 0];
	*far_end = fds[we_write ? 0 : 1];
	return 0;
}

static int prepare_terminal(struct guest_process *p, const char *dir, struct cf_err *err)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	/* With a terminal, 0 to 2 of crun do not matter, but must not be ours. */
	if (null_fd < 0)
		return cf_fail_errno(err, errno, "/dev/null");
	p->far[0] = null_fd;
	p->far[1] = fcntl(null_fd, F_DUPFD_CLOEXEC, 0);
	p->far[2] = fcntl(null_fd, F_DUPFD_CLOEXEC, 0);
	p->console_path = cf_asprintf("%s/tty-%s.sock", dir, p->id);
	p->console = cf_listen_unix(p->console_path, err);
	return p->console < 0 ? p->console : 0;
}

static int prepare_pipes(struct guest_process *p, struct cf_err *err)
{
	int near_end = -1, r;

	r = make_pipe(&near_end, &p->far[0], true, err);
	if (r < 0)
		return r;
	p->in = guest_input_open_take(p->loop, near_end);
	r = make_pipe(&near_end, &p->far[1], false, err);
	if (r < 0)
		return r;
	p->out = guest_stream_open_take(p->loop, near_end);
	r = make_pipe(&near_end, &p->far[2], false, err);
	if (r < 0)
		return r;
	p->errors = guest_stream_open_take(p->loop, near_end);
	return 0;
}

int guest_process_prepare(struct guest_process *p, bool terminal, bool may_read, const char *dir,
                          struct cf_err *err)
{
	p->has_terminal = terminal;
	p->may_read = may_read;
	if (terminal)
		return prepare_terminal(p, dir, err);
	return prepare_pipes(p, err);
}

/* crun has connected before it ended, so nothing here waits: one byte, one fd (the pty's master). */
static int take_terminal(struct guest_process *p, struct cf_err *err)
{
	cf_cleanup(cf_closep) int sock = -1;
	int copy, r;

	if (cf_set_nonblock(p->console, true) < 0)
		return cf_fail(err, CF_INTERNAL, "console socket");
	sock = accept4(p->console, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (sock < 0)
		return cf_fail_errno(err, errno, "console socket");
	r = cf_recv_fd(sock, &p->tty, err);
	if (r < 0)
		return cf_wrap(err, r, "console socket");
	copy = fcntl(p->tty, F_DUPFD_CLOEXEC, 0);
	if (copy < 0)
		return cf_fail_errno(err, errno, "terminal");
	p->out = guest_stream_open_take(p->loop, copy);
	copy = fcntl(p->tty, F_DUPFD_CLOEXEC, 0);
	if (copy < 0)
		return cf_fail_errno(err, errno, "terminal");
	p->in = guest_input_open_take(p->loop, copy);
	return 0;
}

static void ended(pid_t pid, int status, void *arg)
{
	struct guest_process *p = arg;

	(void)pid;
	p->has_ended = true;
	p->status = status;
	cf_close(&p->pidfd);
	if (p->out)
		guest_stream_finish(p->out);
	if (p->errors)
		guest_stream_finish(p->errors);
	while (p->waiter_count) {
		Grpc__WaitProcessResponse resp = GRPC__WAIT_PROCESS_RESPONSE__INIT;

		resp.status = status;
		p->was_waited = true;
		rpc_reply(p->waiters[--p->waiter_count], &resp);
	}
	if (p->on_end)
		p->on_end(p, p->arg);
}

int guest_process_adopt(struct guest_process *p, pid_t pid, struct cf_err *err)
{
	int status, r;

	r = p->has_terminal ? take_terminal(p, err) : 0;
	close_far(p);
	if (r < 0)
		return r;
	if (!p->may_read) {
		if (p->out)
			guest_stream_drain(p->out);
		if (p->errors)
			guest_stream_drain(p->errors);
	}
	p->pid = pid;
	/* Unreaped by nobody but us, so @pid cannot be another process yet. */
	p->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (guest_reaper_watch(p->reaper, pid, ended, p, &status) == GUEST_REAPER_ENDED)
		ended(pid, status, p);
	return 0;
}

int guest_process_signal(struct guest_process *p, unsigned signo, struct cf_err *err)
{
	if (p->has_ended || p->pidfd < 0)
		return 0;
	if (syscall(SYS_pidfd_send_signal, p->pidfd, signo, NULL, 0) < 0 && errno != ESRCH)
		return cf_fail_errno(err, errno, "signal %u to process %s", signo, p->id);
	return 0;
}

int guest_process_resize(struct guest_process *p, unsigned rows, unsigned columns,
                         struct cf_err *err)
{
	struct winsize size = { 0 };

	if (p->tty < 0)
		return cf_fail(err, CF_FAILED_PRECONDITION, "process %s has no terminal", p->id);
	if (rows > UINT16_MAX || columns > UINT16_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "a terminal of %u × %u", columns, rows);
	size.ws_row = (unsigned short)rows;
	size.ws_col = (unsigned short)columns;
	if (ioctl(p->tty, TIOCSWINSZ, &size) < 0)
		return cf_fail_errno(err, errno, "terminal of process %s", p->id);
	return 0;
}

void guest_process_wait(struct guest_process *p, struct rpc_call *call)
{
	Grpc__WaitProcessResponse resp = GRPC__WAIT_PROCESS_RESPONSE__INIT;

	if (p->has_ended) {
		resp.status = p->status;
		p->was_waited = true;
		rpc_reply(call, &resp);
		return;
	}
	for (size_t i = 0; i < p->waiter_count; i++) {
		if (!rpc_cancelled(p->waiters[i]))
			continue;
		rpc_fail(p->waiters[i], CF_CANCELLED, "the waiter has gone");
		p->waiters[i--] = p->waiters[--p->waiter_count];
	}
	if (p->waiter_count == GUEST_WAITERS_MAX) {
		rpc_fail(call, CF_RESOURCE_EXHAUSTED, "%u calls wait for process %s already",
		         GUEST_WAITERS_MAX, p->id);
		return;
	}
	p->waiters[p->waiter_count++] = call;
}

bool guest_process_is_done(const struct guest_process *p)
{
	return p->has_ended && p->was_waited && (!p->out || guest_stream_has_ended(p->out)) &&
	       (!p->errors || guest_stream_has_ended(p->errors));
}

/* Bit @signo of the mask on line "NAME:\tHEX"; a line that is missing counts as set. */
static bool mask_has(struct cf_view text, const char *name, unsigned signo)
{
	size_t len = strlen(name);
	ssize_t end;
	struct cf_view line;
	uint8_t mask[8];

	while (text.size) {
		end = cf_view_find(text, '\n');
		line = cf_view_sub(text, 0, end < 0 ? text.size : (size_t)end);
		text = cf_view_sub(text, line.size + (end < 0 ? 0 : 1), text.size);
		if (!cf_view_starts_with(line, name))
			continue;
		line = cf_view_sub(line, len + 1, line.size);
		if (cf_hex_decode(line, mask, sizeof(mask), NULL) < 0)
			return true;
		return mask[7 - (signo - 1) / 8] >> ((signo - 1) % 8) & 1;
	}
	return true;
}

unsigned guest_signal_for_init(struct cf_view proc_status, unsigned signo)
{
	if (signo != SIGTERM)
		return signo;
	if (mask_has(proc_status, "SigCgt:", signo) || mask_has(proc_status, "SigBlk:", signo) ||
	    mask_has(proc_status, "SigIgn:", signo))
		return signo;
	return SIGKILL;
}
