/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/qmp.h"

#include "base/fd.h"
#include "base/loop.h"
#include "base/str.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE 4096u

struct qmp {
	int fd;
	int64_t timeout_ms;
	struct cf_buf in;
	uint64_t last_id;
};

/* ---- the parser ---- */

static int classify(struct qmp_message *m, struct cf_err *err)
{
	const struct cf_json *root = m->root;
	const struct cf_json *error = cf_json_get(root, "error");
	struct cf_view event = cf_json_str(cf_json_get(root, "event"));
	int r = cf_json_opt_u64(root, "id", &m->id, err);

	if (r < 0)
		return r;
	if (cf_json_type(cf_json_get(root, "QMP")) == CF_JSON_OBJECT) {
		m->kind = QMP_GREETING;
		return 0;
	}
	if (event.size) {
		m->kind = QMP_EVENT;
		m->event = (const char *)event.data;
		return cf_view_has_nul(event) ? cf_fail(err, CF_INVALID_ARGUMENT, "event") : 0;
	}
	if (cf_json_type(error) == CF_JSON_OBJECT) {
		m->kind = QMP_ERROR;
		m->error = cf_json_str(cf_json_get(error, "desc"));
		return 0;
	}
	if (!cf_json_get(root, "return"))
		return cf_fail(err, CF_INVALID_ARGUMENT, "no greeting, return, error or event");
	m->kind = QMP_RETURN;
	return 0;
}

int qmp_parse(struct cf_view line, struct qmp_message *ret, struct cf_err *err)
{
	struct qmp_message m = { .root = NULL };
	int r = cf_json_parse(line, QMP_LINE_MAX, &m.root, err);

	if (r == 0 && cf_json_type(m.root) != CF_JSON_OBJECT)
		r = cf_fail(err, CF_INVALID_ARGUMENT, "not an object");
	if (r == 0)
		r = classify(&m, err);
	if (r < 0) {
		qmp_message_fini(&m);
		return cf_wrap(err, r, "QMP");
	}
	*ret = m;
	return 0;
}

void qmp_message_fini(struct qmp_message *m)
{
	cf_json_free(m->root);
	*m = (struct qmp_message){ .root = NULL };
}

/* ---- the client ---- */

static int fill(struct qmp *q, int64_t deadline_ms, struct cf_err *err)
{
	struct pollfd p = { .fd = q->fd, .events = POLLIN };
	int64_t left = deadline_ms - cf_now_ms();
	uint8_t *at;
	ssize_t n;

	if (left <= 0 || poll(&p, 1, (int)left) == 0)
		return cf_fail(err, CF_DEADLINE_EXCEEDED, "QMP: no answer in time");
	at = cf_buf_reserve(&q->in, READ_SIZE);
	if (!at)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "QMP: a message over %u bytes",
		               QMP_LINE_MAX);
	n = read(q->fd, at, READ_SIZE);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n <= 0)
		return cf_fail(err, CF_UNAVAILABLE, "QMP: the connection is closed");
	q->in.size += (size_t)n;
	return 0;
}

static int next_message(struct qmp *q, int64_t deadline_ms, struct qmp_message *ret,
                        struct cf_err *err)
{
	ssize_t end;
	int r = 0;

	while (r == 0 && (end = cf_view_find(cf_buf_view(&q->in), '\n')) < 0)
		r = fill(q, deadline_ms, err);
	if (r < 0)
		return r;
	r = qmp_parse(cf_view(q->in.data, (size_t)end), ret, err);
	cf_buf_consume(&q->in, (size_t)end + 1);
	return r;
}

static bool is_end(const char *event)
{
	return cf_streq(event, "SHUTDOWN") || cf_streq(event, "GUEST_PANICKED");
}

int qmp_call(struct qmp *q, const char *command, const char *arguments, struct cf_buf *ret,
             struct cf_err *err)
{
	int64_t deadline = cf_now_ms() + q->timeout_ms;
	uint64_t id = ++q->last_id;
	cf_cleanup(cf_freep) char *line = cf_asprintf(
		"{\"execute\":\"%s\",\"id\":%llu%s%s}\n", command, (unsigned long long)id,
		arguments ? ",\"arguments\":" : "", arguments ? arguments : "");
	int r = cf_write_all(q->fd, cf_view_str(line), err);
	bool is_answered = false;

	while (r == 0 && !is_answered) {
		struct qmp_message m;

		r = next_message(q, deadline, &m, err);
		if (r < 0)
			break;
		if (m.kind == QMP_EVENT && is_end(m.event))
			r = cf_fail(err, CF_UNAVAILABLE, "QMP: %s", m.event);
		is_answered = (m.kind == QMP_RETURN || m.kind == QMP_ERROR) && m.id == id;
		if (is_answered && m.kind == QMP_ERROR)
			r = cf_fail(err, CF_ABORTED, "QMP: %s: %.*s", command, (int)m.error.size,
			            (const char *)m.error.data);
		if (is_answered && r == 0 && ret)
			cf_json_print(cf_json_get(m.root, "return"), ret);
		qmp_message_fini(&m);
	}
	return r;
}

int qmp_open(const char *path, int64_t timeout_ms, struct qmp **ret, struct cf_err *err)
{
	cf_cleanup(qmp_closep) struct qmp *q = cf_zalloc(sizeof(*q));
	struct qmp_message greeting;
	int r;

	q->timeout_ms = timeout_ms;
	q->in.max = QMP_LINE_MAX;
	q->fd = cf_connect_unix(path, err);
	if (q->fd < 0)
		return cf_wrap(err, q->fd, "QMP");
	r = next_message(q, cf_now_ms() + timeout_ms, &greeting, err);
	if (r < 0)
		return r;
	if (greeting.kind != QMP_GREETING)
		r = cf_fail(err, CF_INVALID_ARGUMENT, "QMP: no greeting");
	qmp_message_fini(&greeting);
	if (r == 0)
		r = qmp_call(q, "qmp_capabilities", NULL, NULL, err);
	if (r < 0)
		return r;
	*ret = cf_take(&q);
	return 0;
}

struct qmp *qmp_close(struct qmp *q)
{
	if (!q)
		return NULL;
	cf_close(&q->fd);
	cf_buf_fini(&q->in);
	free(q);
	return NULL;
}

void qmp_quit(const char *path)
{
	static const char text[] = "{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"quit\"}\n";
	struct cf_err ignored;
	cf_cleanup(cf_closep) int fd = cf_connect_unix(path, &ignored);

	if (fd >= 0)
		(void)!send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}
