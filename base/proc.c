/* SPDX-License-Identifier: Apache-2.0 */
#include "base/proc.h"

#include "base/fd.h"
#include "base/loop.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define FD_COUNT_MAX 520 /* a helper may get one for each layer of an image */
#define STDERR_TAIL  300
#define EXIT_NO_EXEC 127

/*
 * What the child does between fork and exec: async-signal-safe calls only, since the parent may have
 * threads. On failure it writes errno to @report and leaves.
 */
struct child_plan {
	const struct cf_proc_opts *opts;
	const char *path;
	int std[3];
	pid_t parent;
	int report;
};

/*
 * Moves the fds to be kept above the targets first, so that no dup2 overwrites one still needed.
 */
static bool place_fds(const struct child_plan *p)
{
	int high[FD_COUNT_MAX + 3];
	size_t n = p->opts->fd_count;
	int base = (int)n + 4;

	for (size_t i = 0; i < 3 + n; i++) {
		int fd = i < 3 ? p->std[i] : p->opts->fds[i - 3];

		high[i] = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, base);
		if (fd >= 0 && high[i] < 0)
			return false;
	}
	int report = fcntl(p->report, F_DUPFD_CLOEXEC, base);
	for (size_t i = 0; i < 3 + n; i++)
		if (high[i] >= 0 && dup2(high[i], (int)i) < 0)
			return false;
	if (report < 0 || dup3(report, (int)n + 3, O_CLOEXEC) < 0)
		return false;
	return syscall(SYS_close_range, (unsigned)n + 4, ~0u, 0) == 0;
}

static void child_exec(const struct child_plan *p)
{
	sigset_t none;
	int report = (int)p->opts->fd_count + 3;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int s = 1; s < 32; s++)
		if (s != SIGKILL && s != SIGSTOP)
			signal(s, SIG_DFL);
	if (p->opts->new_session)
		setsid();
	if (p->opts->die_with_parent) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != p->parent)
			_exit(EXIT_NO_EXEC);
	}
	if (place_fds(p) && (!p->opts->cwd || chdir(p->opts->cwd) == 0))
		execve(p->path, (char *const *)(uintptr_t)p->opts->argv,
		       p->opts->env ? (char *const *)(uintptr_t)p->opts->env : environ);
	int e = errno;
	ssize_t n = write(report, &e, sizeof(e));
	(void)n;
	_exit(EXIT_NO_EXEC);
}

/* The full path of @name as execvp would find it; the caller frees. NULL when there is none. */
static char *find_program(const char *name)
{
	struct cf_strv dirs = { 0 };
	char *found = NULL;

	if (strchr(name, '/'))
		return cf_strdup(name);
	const char *path = getenv("PATH");
	cf_strv_split(&dirs, cf_view_str(path ? path : "/usr/sbin:/usr/bin:/sbin:/bin"), ':');
	for (size_t i = 0; i < dirs.count && !found; i++) {
		char *full = cf_asprintf("%s/%s", dirs.items[i], name);

		if (access(full, X_OK) == 0)
			found = full;
		else
			free(full);
	}
	cf_strv_fini(&dirs);
	return found;
}

static int fork_and_report(struct child_plan *plan, pid_t *ret, struct cf_err *err)
{
	int report[2], e = 0;
	sigset_t all, old;

	if (pipe2(report, O_CLOEXEC) < 0)
		return cf_fail_errno(err, errno, "pipe");
	plan->report = report[1];
	plan->parent = getpid();
	/* No handler of ours may run in the child before it has reset them. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pid_t pid = fork();
	if (pid == 0)
		child_exec(plan);
	e = errno;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	cf_close(&report[1]);
	if (pid < 0) {
		cf_close(&report[0]);
		return cf_fail_errno(err, e, "start %s", plan->path);
	}
	ssize_t n;
	do
		n = read(report[0], &e, sizeof(e));
	while (n < 0 && errno == EINTR);
	cf_close(&report[0]);
	if (n == (ssize_t)sizeof(e)) {
		waitpid(pid, NULL, 0);
		return cf_fail_errno(err, e, "start %s", plan->path);
	}
	*ret = pid;
	return 0;
}

int cf_proc_spawn(const struct cf_proc_opts *opts, pid_t *ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = find_program(opts->argv[0]);
	struct child_plan plan = { .opts = opts, .path = path };

	if (!path)
		return cf_fail(err, CF_NOT_FOUND, "program %s is not on PATH", opts->argv[0]);
	if (opts->fd_count > FD_COUNT_MAX)
		return cf_fail(err, CF_INTERNAL, "%zu fds for a child, limit %d", opts->fd_count,
		               FD_COUNT_MAX);
	cf_cleanup(cf_closep) int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0)
		return cf_fail_errno(err, errno, "/dev/null");
	plan.std[0] = opts->stdin_fd >= 0 ? opts->stdin_fd : null_fd;
	plan.std[1] = opts->stdout_fd >= 0 ? opts->stdout_fd : null_fd;
	plan.std[2] = opts->stderr_fd >= 0 ? opts->stderr_fd : 2;
	return fork_and_report(&plan, ret, err);
}

int cf_proc_beside(const char *program, char **ret, struct cf_err *err)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self));

	if (n < 0 || n == sizeof(self))
		return cf_fail_errno(err, n < 0 ? errno : ENAMETOOLONG, "/proc/self/exe");
	while (n > 0 && self[n - 1] != '/')
		n--;
	*ret = cf_asprintf("%.*s%s", (int)n, self, program);
	return 0;
}

int cf_proc_wait(pid_t pid, int *ret_status, struct cf_err *err)
{
	pid_t got;

	do
		got = waitpid(pid, ret_status, 0);
	while (got < 0 && errno == EINTR);
	return got < 0 ? cf_fail_errno(err, errno, "wait for process %d", pid) : 0;
}

/* One pipe being drained; bytes over the limit are dropped for stderr and an error for stdout. */
static bool drain(struct pollfd *p, struct cf_buf *into, bool keep_tail)
{
	uint8_t chunk[4096];
	ssize_t n = read(p->fd, chunk, sizeof(chunk));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0) {
		cf_close(&p->fd);
		return true;
	}
	if (keep_tail && into->size > STDERR_TAIL)
		cf_buf_consume(into, into->size - STDERR_TAIL);
	cf_buf_add(into, chunk, (size_t)n);
	return !into->bad;
}

/* Until both pipes are at their end. Return: 0, or negative (deadline, limit). */
static int collect(struct pollfd p[2], int64_t deadline, struct cf_buf *out, struct cf_buf *errs,
                   const char *name, struct cf_err *err)
{
	while (p[0].fd >= 0 || p[1].fd >= 0) {
		int64_t left = deadline == INT64_MAX ? -1 : CF_MAX(deadline - cf_now_ms(), 0);
		int n = poll(p, 2, (int)CF_MIN(left, (int64_t)INT32_MAX));

		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			return cf_fail(err, CF_DEADLINE_EXCEEDED, "%s took too long", name);
		if (p[0].fd >= 0 && p[0].revents && !drain(&p[0], out, false))
			return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%s printed over %zu bytes",
			               name, out->max);
		if (p[1].fd >= 0 && p[1].revents && !drain(&p[1], errs, true))
			return cf_fail(err, CF_INTERNAL, "%s: stderr", name);
	}
	return 0;
}

static int judge_status(const char *name, int status, struct cf_buf *errs, struct cf_err *err)
{
	struct cf_view tail = cf_buf_view(errs);

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (tail.size > STDERR_TAIL)
		tail = cf_view_sub(tail, tail.size - STDERR_TAIL, STDERR_TAIL);
	while (tail.size && tail.data[tail.size - 1] == '\n')
		tail.size--;
	return cf_fail(err, CF_ABORTED, "%s ended with %s %d%s%.*s", name,
	               WIFSIGNALED(status) ? "signal" : "status",
	               WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
	               tail.size ? ": " : "", (int)tail.size,
	               tail.size ? (const char *)tail.data : "");
}

int cf_proc_run(const struct cf_proc_opts *opts, size_t max, int64_t timeout_ms, struct cf_buf *out,
                struct cf_err *err)
{
	int out_pipe[2], err_pipe[2], status, r;
	struct cf_buf local = { .max = max ? max : 65536 }, errs = { .max = 65536 };
	struct cf_proc_opts with = *opts;
	pid_t pid;

	if (out && max)
		out->max = out->size + max;
	if (pipe2(out_pipe, O_CLOEXEC) < 0)
		return cf_fail_errno(err, errno, "pipe");
	if (pipe2(err_pipe, O_CLOEXEC) < 0) {
		cf_close(&out_pipe[0]);
		cf_close(&out_pipe[1]);
		return cf_fail_errno(err, errno, "pipe");
	}
	with.stdout_fd = out_pipe[1];
	with.stderr_fd = err_pipe[1];
	r = cf_proc_spawn(&with, &pid, err);
	cf_close(&out_pipe[1]);
	cf_close(&err_pipe[1]);
	struct pollfd p[2] = { { out_pipe[0], POLLIN, 0 }, { err_pipe[0], POLLIN, 0 } };
	if (r == 0) {
		int64_t deadline = timeout_ms ? cf_now_ms() + timeout_ms : INT64_MAX;

		r = collect(p, deadline, out ? out : &local, &errs, opts->argv[0], err);
		if (r < 0)
			kill(pid, SIGKILL);
		int w = cf_proc_wait(pid, &status, r < 0 ? NULL : err);
		if (r == 0)
			r = w;
		if (r == 0)
			r = judge_status(opts->argv[0], status, &errs, err);
	}
	cf_close(&p[0].fd);
	cf_close(&p[1].fd);
	cf_buf_fini(&local);
	cf_buf_fini(&errs);
	return r;
}
