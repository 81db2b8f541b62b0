/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/state_file.h"

#include "base/fd.h"
#include "base/json.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PROC_STAT_MAX 4096u
#define PROC_START_TIME_FROM                                                                       \
	20u /* fields after the ") " of the command: state is 1, start time 20 */

void state_file_fini(struct state_file *s)
{
	free(s->sandbox_id);
	free(s->driver);
	free(s->netns);
	free(s->notice);
	cf_strv_fini(&s->taps);
	*s = (struct state_file){ .sandbox_id = NULL };
}

static void write_pid(struct cf_jw *w, const struct state_pid *p)
{
	cf_jw_obj(w);
	cf_jw_kint(w, "pid", p->pid);
	cf_jw_kuint(w, "start", p->start_time);
	cf_jw_end_obj(w);
}

int state_file_write(const char *dir, const struct state_file *s, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/state.json", dir);
	struct cf_buf out = { .max = STATE_FILE_MAX };
	struct cf_jw w = { .out = &out };
	int r;

	cf_jw_obj(&w);
	cf_jw_kuint(&w, "v", 1);
	cf_jw_kstr(&w, "sid", s->sandbox_id);
	cf_jw_kstr(&w, "driver", s->driver);
	cf_jw_kstr(&w, "netns", s->netns);
	cf_jw_kstr(&w, "notice", s->notice);
	cf_jw_key(&w, "shim");
	write_pid(&w, &s->shim);
	cf_jw_key(&w, "pids");
	cf_jw_arr(&w);
	for (size_t i = 0; i < s->pid_count; i++)
		write_pid(&w, &s->pids[i]);
	cf_jw_end_arr(&w);
	cf_jw_key(&w, "taps");
	cf_jw_arr(&w);
	for (size_t i = 0; i < s->taps.count; i++)
		cf_jw_str(&w, s->taps.items[i]);
	cf_jw_end_arr(&w);
	cf_jw_end_obj(&w);
	r = cf_buf_check(&out, "state file", err);
	if (r == 0)
		r = cf_write_file_atomic(path, cf_buf_view(&out), 0600, err);
	cf_buf_fini(&out);
	return r;
}

static int read_pid(const struct cf_json *v, struct state_pid *ret, struct cf_err *err)
{
	uint64_t pid;
	int r = cf_json_need_u64(v, "pid", &pid, err);

	if (r == 0)
		r = cf_json_need_u64(v, "start", &ret->start_time, err);
	if (r == 0 && (pid < 2 || pid > INT32_MAX))
		r = cf_fail(err, CF_INVALID_ARGUMENT, "state file: pid");
	ret->pid = r == 0 ? (pid_t)pid : 0;
	return r;
}

static int read_fields(const struct cf_json *root, struct state_file *s, struct cf_err *err)
{
	const struct cf_json *pids = cf_json_get(root, "pids");
	const struct cf_json *taps = cf_json_get(root, "taps");
	struct cf_view netns = cf_json_str(cf_json_get(root, "netns"));
	struct cf_view notice = cf_json_str(cf_json_get(root, "notice"));
	int r = cf_json_dup_str(root, "sid", &s->sandbox_id, err);

	if (r == 0)
		r = cf_json_dup_str(root, "driver", &s->driver, err);
	if (r == 0)
		r = read_pid(cf_json_get(root, "shim"), &s->shim, err);
	for (size_t i = 0; r == 0 && i < CF_MIN(cf_json_len(pids), (size_t)STATE_PIDS_MAX); i++)
		r = read_pid(cf_json_at(pids, i), &s->pids[s->pid_count++], err);
	for (size_t i = 0; r == 0 && i < CF_MIN(cf_json_len(taps), (size_t)STATE_LINKS_MAX); i++) {
		struct cf_view tap = cf_json_str(cf_json_at(taps, i));

		if (tap.size && !cf_view_has_nul(tap))
			cf_strv_add_take(&s->taps, cf_view_dup(tap));
	}
	if (netns.size && !cf_view_has_nul(netns))
		s->netns = cf_view_dup(netns);
	if (notice.size && !cf_view_has_nul(notice))
		s->notice = cf_view_dup(notice);
	return r;
}

int state_file_parse(struct cf_view text, struct state_file *ret, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
	struct state_file s = { .sandbox_id = NULL };
	int r = cf_json_parse(text, STATE_FILE_MAX, &root, err);

	if (r == 0)
		r = read_fields(root, &s, err);
	if (r < 0) {
		state_file_fini(&s);
		return r;
	}
	*ret = s;
	return 0;
}

int state_file_read(const char *dir, struct state_file *ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/state.json", dir);
	struct cf_buf text = { .max = STATE_FILE_MAX + 1 };
	int r = cf_read_file(path, STATE_FILE_MAX, &text, err);

	if (r == 0)
		r = state_file_parse(cf_buf_view(&text), ret, err);
	cf_buf_fini(&text);
	return r;
}

/* ---- processes ---- */

uint64_t state_start_time(pid_t pid)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("/proc/%d/stat", (int)pid);
	struct cf_buf text = { .max = PROC_STAT_MAX + 1 };
	struct cf_strv fields = { 0 };
	struct cf_err ignored;
	uint64_t start = 0;
	char *rest = NULL;

	if (pid > 0 && cf_read_file(path, PROC_STAT_MAX, &text, &ignored) == 0 && text.size)
		rest = strrchr((char *)text.data, ')'); /* the command may hold anything */
	if (rest)
		cf_strv_split(&fields, cf_view_str(rest), ' ');
	if (fields.count > PROC_START_TIME_FROM &&
	    cf_parse_u64(cf_view_str(fields.items[PROC_START_TIME_FROM]), UINT64_MAX, &start,
	                 &ignored) < 0)
		start = 0;
	cf_strv_fini(&fields);
	cf_buf_fini(&text);
	return start;
}

struct state_pid state_pid_of(pid_t pid)
{
	return (struct state_pid){ .pid = pid, .start_time = state_start_time(pid) };
}

/* A pidfd of the very process, or -1. Opened before the check, so the pid cannot change between. */
static int open_process(const struct state_pid *p)
{
	int fd = p->pid > 1 ? (int)syscall(SYS_pidfd_open, p->pid, 0) : -1;

	if (fd >= 0 && (!p->start_time || state_start_time(p->pid) != p->start_time))
		cf_close(&fd);
	return fd;
}

bool state_is_alive(const struct state_pid *p)
{
	cf_cleanup(cf_closep) int fd = open_process(p);
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	return fd >= 0 && poll(&poll_fd, 1, 0) == 0;
}

void state_kill(const struct state_pid *p, int64_t timeout_ms)
{
	cf_cleanup(cf_closep) int fd = open_process(p);
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	if (fd < 0 || syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) < 0)
		return;
	(void)!poll(&poll_fd, 1, (int)timeout_ms);
}
