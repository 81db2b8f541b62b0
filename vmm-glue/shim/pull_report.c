/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/pull_report.h"

#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "proto/pulls.pb-c.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct pull {
	struct pull *next;
	char *container, *root;
	uint64_t id;
	const char *state; /* static */
	char *message;     /* of a failure, or NULL */
	uint32_t layers, layers_done;
	uint64_t bytes, bytes_done;
	bool is_news; /* not reported yet */
};

struct pull_reports {
	struct pull_reports_opts opts;
	char *path;
	struct pull *pulls;
	/* the report that is under way */
	int fd;
	struct cf_event *answer, *deadline;
	/* looking at the guest */
	bool is_looking, is_refused;
	uint64_t seen;
	struct cf_event *pace;
};

static const char pulling[] = "pulling", done[] = "done", failed[] = "failed";

static void pull_free(struct pull *p)
{
	free(p->container);
	free(p->root);
	free(p->message);
	free(p);
}

static void remove_pull(struct pull_reports *r, struct pull *p)
{
	struct pull **at = &r->pulls;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	pull_free(p);
}

/* One that has not ended. */
static struct pull *find(const struct pull_reports *r, const char *container)
{
	struct pull *p = r->pulls;

	while (p && (p->state != pulling || !cf_streq(p->container, container)))
		p = p->next;
	return p;
}

/* ---- sending, one report at a time ---- */

static void put_count(struct cf_jw *w, const char *key, uint64_t n)
{
	cf_jw_kint(w, key, (int64_t)CF_MIN(n, (uint64_t)INT64_MAX));
}

static void write_report(const struct pull *p, struct cf_buf *out)
{
	cf_cleanup(cf_buf_fini) struct cf_buf body = { .max = PULL_REPORT_BODY_MAX };
	struct cf_jw w = { .out = &body };

	cf_jw_obj(&w);
	put_count(&w, "snapshot_id", p->id);
	cf_jw_kstr(&w, "root", p->root);
	cf_jw_kstr(&w, "state", p->state);
	put_count(&w, "layers", p->layers);
	put_count(&w, "layers_done", p->layers_done);
	put_count(&w, "bytes", p->bytes);
	put_count(&w, "bytes_done", p->bytes_done);
	if (p->message)
		cf_jw_kstr(&w, "message", p->message);
	cf_jw_end_obj(&w);
	out->bad = body.bad;
	cf_buf_printf(out,
	              "POST /v1/pulls HTTP/1.1\r\nHost: localhost\r\n"
	              "Content-Type: application/json\r\nConnection: close\r\n"
	              "Content-Length: %zu\r\n\r\n",
	              body.size);
	cf_buf_add_view(out, cf_buf_view(&body));
}

/* A fresh socket's buffer takes all of a report: it is sent at once or not at all. */
static int open_report(const char *path, const struct pull *p)
{
	cf_cleanup(cf_buf_fini) struct cf_buf text = { .max = 2 * PULL_REPORT_BODY_MAX };
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	cf_cleanup(cf_closep) int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	write_report(p, &text);
	if (fd < 0 || text.bad || strlen(path) >= sizeof(to.sun_path))
		return -1;
	memcpy(to.sun_path, path, strlen(path));
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0 ||
	    send(fd, text.data, text.size, MSG_NOSIGNAL) != (ssize_t)text.size)
		return -1;
	return cf_take_fd(&fd);
}

static void send_news(struct pull_reports *r);

static void end_report(struct pull_reports *r)
{
	r->answer = cf_event_free(r->answer);
	r->deadline = cf_event_free(r->deadline);
	cf_close(&r->fd);
	send_news(r);
}

/* The peer closes behind its answer, which says no more than that it took the report or did not. */
static void on_answer(int fd, unsigned what, void *arg)
{
	char text[1024];
	ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	text[CF_MAX(n, (ssize_t)0)] = 0;
	if (!cf_starts_with(text, "HTTP/1.1 204"))
		cf_log_debug("report of a pull refused", CF_F_STR("answer", text));
	end_report(arg);
}

static void on_deadline(void *arg)
{
	end_report(arg);
}

static struct pull *next_news(const struct pull_reports *r)
{
	struct pull *p = r->pulls;

	while (p && !p->is_news)
		p = p->next;
	return p;
}

static void send_news(struct pull_reports *r)
{
	struct pull *p;

	while (r->fd < 0 && (p = next_news(r))) {
		p->is_news = false;
		r->fd = open_report(r->path, p);
		if (p->state != pulling)
			remove_pull(r, p);
	}
	if (r->fd < 0 || r->answer)
		return;
	r->answer = cf_loop_fd(r->opts.loop, r->fd, CF_LOOP_READ, on_answer, r);
	r->deadline = cf_loop_timer(r->opts.loop, PULL_REPORT_TIMEOUT_MS, false, on_deadline, r);
}

/* ---- looking at the guest ---- */

static void look(struct pull_reports *r);

static bool is_active(const struct pull_reports *r)
{
	for (const struct pull *p = r->pulls; p; p = p->next)
		if (p->state == pulling)
			return true;
	return false;
}

static void on_paced(void *arg)
{
	struct pull_reports *r = arg;

	r->pace = cf_event_free(r->pace);
	look(r);
}

static void note(struct pull_reports *r, const Coffer__Pull *said)
{
	struct pull *p = find(r, said->container);

	if (!p || (p->layers == said->layers && p->layers_done == said->layers_done &&
	           p->bytes == said->bytes && p->bytes_done == said->bytes_done))
		return;
	p->layers = said->layers;
	p->layers_done = said->layers_done;
	p->bytes = said->bytes;
	p->bytes_done = said->bytes_done;
	p->is_news = true;
}

static void on_seen(void *user, int r, ProtobufCMessage *msg, const struct cf_err *err)
{
	const Coffer__WatchPullsResponse *resp = (const Coffer__WatchPullsResponse *)msg;
	struct pull_reports *reports = user;

	reports->is_looking = false;
	for (size_t i = 0; r == 0 && i < resp->n_pulls; i++)
		note(reports, resp->pulls[i]);
	if (r == 0)
		reports->seen = resp->serial;
	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
	send_news(reports);
	if (r < 0 && r != -CF_DEADLINE_EXCEEDED) {
		cf_log_debug("guest tells nothing of pulls", CF_F_STR("why", err->msg));
		reports->is_refused = true;
		return;
	}
	/* Whatever the guest does, it is asked at our pace. */
	if (is_active(reports) && !reports->pace)
		reports->pace = cf_loop_timer(reports->opts.loop, PULL_REPORT_PACE_MS, false,
		                              on_paced, reports);
}

static void look(struct pull_reports *r)
{
	Coffer__WatchPullsRequest msg = COFFER__WATCH_PULLS_REQUEST__INIT;
	struct ttrpc_client *client = r->opts.client(r->opts.arg);
	struct ttrpc_req call = { .service = "coffer.Pulls",
		                  .method = "WatchPulls",
		                  .msg = &msg.base,
		                  .out = &coffer__watch_pulls_response__descriptor,
		                  .timeout_ms = PULL_REPORT_WATCH_MS };
	struct cf_err err;

	if (!client || r->is_looking || r->is_refused || r->pace || !is_active(r))
		return;
	msg.seen = r->seen;
	r->is_looking = ttrpc_start(client, &call, on_seen, r, &err) == 0;
}

/* ---- pulls ---- */

bool pull_report_place(const char *option, char **ret_root, uint64_t *ret_id)
{
	static const char middle[] = "/snapshots/", end[] = "/work";
	const char *path = cf_after(option, "workdir=");
	const char *at = path ? strstr(path, middle) : NULL;
	struct cf_view id;

	if (!at || at == path || !cf_ends_with(at, end))
		return false;
	/* The last one: a state directory may lie in another's. */
	for (const char *next = at; next; next = strstr(next + 1, middle))
		at = next;
	id = cf_view_str(at + strlen(middle));
	if (id.size <= strlen(end) ||
	    cf_parse_u64(cf_view_sub(id, 0, id.size - strlen(end)), INT64_MAX, ret_id, NULL) < 0)
		return false;
	*ret_root = cf_strndup(path, (size_t)(at - path));
	return true;
}

static bool find_place(Containerd__Types__Mount *const *mounts, size_t mount_count, struct pull *p)
{
	for (size_t i = 0; i < mount_count; i++)
		for (size_t k = 0; k < mounts[i]->n_options; k++)
			if (pull_report_place(mounts[i]->options[k], &p->root, &p->id))
				return true;
	return false;
}

void pull_reports_begin(struct pull_reports *r, const char *container,
                        Containerd__Types__Mount *const *mounts, size_t mount_count)
{
	struct pull *p;

	if (!r || access(r->path, F_OK) < 0)
		return;
	p = cf_zalloc(sizeof(*p));
	if (!find_place(mounts, mount_count, p)) {
		pull_free(p);
		return;
	}
	p->container = cf_strdup(container);
	p->state = pulling;
	p->is_news = true;
	p->next = r->pulls;
	r->pulls = p;
	send_news(r);
	look(r);
}

void pull_reports_end(struct pull_reports *r, const char *container, const struct cf_err *failure)
{
	struct pull *p = r ? find(r, container) : NULL;

	if (!p)
		return;
	p->state = failure ? failed : done;
	if (failure) {
		p->message = cf_strdup(failure->msg);
	} else {
		p->layers_done = p->layers;
		p->bytes_done = p->bytes;
	}
	p->is_news = true;
	send_news(r);
}

/* ---- life ---- */

struct pull_reports *pull_reports_new(const struct pull_reports_opts *opts)
{
	struct pull_reports *r = cf_zalloc(sizeof(*r));

	r->opts = *opts;
	r->path = cf_strdup(opts->path);
	r->fd = -1;
	return r;
}

struct pull_reports *pull_reports_free(struct pull_reports *r)
{
	if (!r)
		return NULL;
	cf_event_free(r->answer);
	cf_event_free(r->deadline);
	cf_event_free(r->pace);
	cf_close(&r->fd);
	while (r->pulls)
		remove_pull(r, r->pulls);
	free(r->path);
	free(r);
	return NULL;
}
