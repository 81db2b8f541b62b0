/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/guest/guest_crun.h"

#include "base/fd.h"
#include "base/json.h"
#include "base/proc.h"

#include <signal.h>
#include <unistd.h>

struct job {
	struct guest_crun *crun;
	struct job *next;
	pid_t pid;
	char *command; /* "create", for messages */
	char *log;     /* path */
	struct cf_event *timer;
	bool is_late;
	guest_crun_done *done;
	void *arg;
};

struct guest_crun {
	struct cf_loop *loop;
	struct guest_reaper *reaper;
	char *program;
	char *root;
	uint64_t calls;
	struct job *jobs;
};

struct guest_crun *guest_crun_new(struct cf_loop *loop, struct guest_reaper *reaper,
                                  const char *program, const char *root)
{
	struct guest_crun *c = cf_zalloc(sizeof(*c));

	c->loop = loop;
	c->reaper = reaper;
	c->program = cf_strdup(program);
	c->root = cf_strdup(root);
	return c;
}

static void job_free(struct job *j)
{
	struct job **at = &j->crun->jobs;

	while (*at && *at != j)
		at = &(*at)->next;
	if (*at)
		*at = j->next;
	cf_event_free(j->timer);
	(void)unlink(j->log);
	free(j->log);
	free(j->command);
	free(j);
}

struct guest_crun *guest_crun_free(struct guest_crun *c)
{
	if (!c)
		return NULL;
	while (c->jobs) {
		guest_reaper_forget(c->reaper, c->jobs->pid);
		(void)kill(c->jobs->pid, SIGKILL);
		guest_reaper_release(c->reaper);
		job_free(c->jobs);
	}
	free(c->program);
	free(c->root);
	free(c);
	return NULL;
}

char *guest_crun_log_reason(struct cf_view log)
{
	cf_cleanup(cf_freep) char *reason = NULL;

	while (log.size) {
		ssize_t end = cf_view_find(log, '\n');
		struct cf_view line = cf_view_sub(log, 0, end < 0 ? log.size : (size_t)end);
		cf_cleanup(cf_json_freep) struct cf_json *json = NULL;
		struct cf_view msg;

		log = cf_view_sub(log, line.size + (end < 0 ? 0 : 1), log.size);
		if (cf_json_parse(line, 0, &json, NULL) < 0)
			continue;
		msg = cf_json_str(cf_json_get(json, "msg"));
		if (!msg.size)
			continue;
		free(reason);
		reason = cf_view_dup(msg);
	}
	return cf_take(&reason);
}

static void read_reason(struct job *j, int status, struct cf_err *err)
{
	struct cf_buf log = { .max = GUEST_CRUN_LOG_MAX };
	char *reason = NULL;

	if (cf_read_file(j->log, GUEST_CRUN_LOG_MAX, &log, NULL) == 0)
		reason = guest_crun_log_reason(cf_buf_view(&log));
	if (j->is_late)
		(void)cf_fail(err, CF_DEADLINE_EXCEEDED, "crun %s: no end after %d ms", j->command,
		              GUEST_CRUN_TIMEOUT_MS);
	else
		(void)cf_fail(err, CF_ABORTED, "crun %s: %s (status %d)", j->command,
		              reason ? reason : "no reason given", status);
	free(reason);
	cf_buf_fini(&log);
}

static void on_end(pid_t pid, int status, void *arg)
{
	struct job *j = arg;
	struct guest_reaper *reaper = j->crun->reaper;
	guest_crun_done *done = j->done;
	void *done_arg = j->arg;
	struct cf_err err;

	(void)pid;
	if (status)
		read_reason(j, status, &err);
	job_free(j);
	done(status ? &err : NULL, done_arg);
	guest_reaper_release(reaper);
}

static void on_late(void *arg)
{
	struct job *j = arg;

	j->is_late = true;
	(void)kill(j->pid, SIGKILL);
}

static int spawn(struct guest_crun *c, const struct guest_crun_call *call, struct job *j,
                 struct cf_err *err)
{
	struct cf_strv argv = { 0 };
	struct cf_proc_opts opts = {
		.stdin_fd = call->fds[0],
		.stdout_fd = call->fds[1],
		.stderr_fd = call->fds[2],
		.env = (const char *const[]){ "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:"
		                              "/usr/bin:/sbin:/bin",
		                              NULL },
	};
	int r;

	cf_strv_add(&argv, c->program);
	cf_strv_addf(&argv, "--root=%s", c->root);
	cf_strv_add(&argv, "--cgroup-manager=cgroupfs");
	cf_strv_addf(&argv, "--log=%s", j->log);
	cf_strv_add(&argv, "--log-format=json");
	for (size_t i = 0; i < call->args->count; i++)
		cf_strv_add(&argv, call->args->items[i]);
	opts.argv = (const char *const *)argv.items;
	r = cf_proc_spawn(&opts, &j->pid, err);
	cf_strv_fini(&argv);
	return r;
}

int guest_crun_start(struct guest_crun *c, const struct guest_crun_call *call,
                     guest_crun_done *done, void *arg, struct cf_err *err)
{
	struct job *j = cf_zalloc(sizeof(*j));
	int status, r;

	j->crun = c;
	j->command = cf_strdup(call->args->items[0]);
	j->log = cf_asprintf("%s/crun-%llu.log", call->bundle, (unsigned long long)++c->calls);
	j->done = done;
	j->arg = arg;
	j->next = c->jobs;
	c->jobs = j;
	if (call->pid_file)
		(void)unlink(call->pid_file);

	guest_reaper_hold(c->reaper);
	r = spawn(c, call, j, err);
	if (r < 0) {
		guest_reaper_release(c->reaper);
		job_free(j);
		return r;
	}
	j->timer = cf_loop_timer(c->loop, GUEST_CRUN_TIMEOUT_MS, false, on_late, j);
	/* We are on the loop's thread: SIGCHLD of @j->pid cannot have been handled yet. */
	r = guest_reaper_watch(c->reaper, j->pid, on_end, j, &status);
	(void)r;
	return 0;
}

int guest_crun_read_pid(const char *path, pid_t *ret, struct cf_err *err)
{
	struct cf_buf text = { .max = 32 };
	uint64_t pid = 0;
	int r;

	r = cf_read_file(path, 16, &text, err);
	if (r == 0)
		r = cf_parse_u64(cf_buf_view(&text), INT32_MAX, &pid, err);
	cf_buf_fini(&text);
	if (r < 0)
		return cf_wrap(err, r, "pid file");
	if (pid < 2)
		return cf_fail(err, CF_INTERNAL, "pid file: %llu", (unsigned long long)pid);
	*ret = (pid_t)pid;
	return 0;
}
