/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_control.h"

#include "base/control.h"
#include "base/work.h"
#include "snapshotter/snap_pulls.h"
#include "snapshotter/snap_view.h"

#include <unistd.h>

struct gc {
	struct cf_httpd_req *req; /* NULL: none runs */
	int64_t began_ms, ended_ms;
	int result;
	struct cf_err err;
};

struct snap_control {
	struct snap_control_opts opts;
	struct cf_control *control;
	struct snap_pulls *pulls;
	struct cf_work *work; /* for what waits for the disk */
	struct gc gc;
	int64_t started_ms;
	char *path;
};

/* ---- answers ---- */

static struct cf_jw json(struct cf_control_answer *a)
{
	return (struct cf_jw){ .out = &a->body, .pretty = true };
}

/* ---- what the request says ---- */

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decoded UTF-8 without NUL; NULL when it is none. */
static char *decode(struct cf_view v)
{
	cf_cleanup(cf_buf_fini) struct cf_buf b = { .max = HTTP_TARGET_MAX };

	for (size_t i = 0; i < v.size; i++) {
		if (v.data[i] != '%') {
			cf_buf_add_byte(&b, v.data[i]);
			continue;
		}
		int high = i + 2 < v.size ? hex_digit(v.data[i + 1]) : -1;
		int low = i + 2 < v.size ? hex_digit(v.data[i + 2]) : -1;

		if (high < 0 || low < 0)
			return NULL;
		cf_buf_add_byte(&b, (uint8_t)(high << 4 | low));
		i += 2;
	}
	if (cf_view_has_nul(cf_buf_view(&b)) || !cf_view_is_utf8(cf_buf_view(&b)))
		return NULL;
	cf_buf_add_str(&b, "");
	return cf_buf_take_str(&b);
}

/* The decoded value of @name in the query; NULL: absent or malformed. The caller frees. */
static char *query(const struct cf_httpd_req *req, const char *name)
{
	cf_cleanup(cf_strv_fini) struct cf_strv pairs = { 0 };
	cf_cleanup(cf_freep) char *prefix = cf_asprintf("%s=", name);
	struct cf_view q = cf_httpd_head(req)->query;

	if (q.data && !cf_view_has_nul(q))
		cf_strv_split(&pairs, q, '&');
	for (size_t i = 0; i < pairs.count; i++) {
		const char *value = cf_after(pairs.items[i], prefix);

		if (value)
			return decode(cf_view_str(value));
	}
	return NULL;
}

static int query_number(const struct cf_httpd_req *req, const char *name, uint64_t max,
                        uint64_t fallback, uint64_t *ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *text = query(req, name);

	*ret = fallback;
	return text ? cf_parse_u64(cf_view_str(text), max, ret, err) : 0;
}

static struct cf_view behind(const struct cf_httpd_req *req, const char *prefix)
{
	struct cf_view path = cf_httpd_head(req)->path;

	return cf_view_sub(path, strlen(prefix), path.size);
}

/* ---- our own ---- */

static void on_health(struct cf_httpd_req *req, struct cf_control_answer *a, void *user)
{
	struct snap_control *c = user;
	struct cf_jw w = json(a);
	size_t n = 0;

	(void)req;
	for (size_t i = 0; i < c->opts.instances->count; i++)
		n += snap_store_count(c->opts.instances->items[i].service.store);
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "status", "ok");
	cf_jw_kstr(&w, "version", COFFER_VERSION);
	cf_jw_kint(&w, "uptime_seconds", (cf_now_ms() - c->started_ms) / 1000);
	cf_jw_kuint(&w, "snapshots", n);
	cf_jw_kuint(&w, "instances", c->opts.instances->count);
	cf_jw_end_obj(&w);
}

static int kind_of(const char *text, enum snap_kind *ret, struct cf_err *err)
{
	*ret = (enum snap_kind)0;
	for (int k = SNAP_VIEW; text && k <= SNAP_COMMITTED; k++)
		if (cf_streq(text, snap_view_kind((enum snap_kind)k)))
			*ret = (enum snap_kind)k;
	if (text && !*ret)
		return cf_fail(err, CF_INVALID_ARGUMENT, "kind is active, view or committed");
	return 0;
}

static void on_list(struct cf_httpd_req *req, struct cf_control_answer *a, void *user)
{
	struct snap_control *c = user;
	cf_cleanup(cf_freep) char *instance = query(req, "instance");
	cf_cleanup(cf_freep) char *kind = query(req, "kind");
	struct snap_view_query q = { .instance = instance };
	uint64_t limit = 0, after = 0;
	struct cf_jw w = json(a);
	struct cf_err err;
	int r = kind_of(kind, &q.kind, &err);

	if (r == 0)
		r = query_number(req, "limit", SNAP_CONTROL_LIST_MAX, SNAP_CONTROL_LIST_MAX, &limit,
		                 &err);
	if (r == 0)
		r = query_number(req, "after", INT64_MAX, 0, &after, &err);
	if (r < 0) {
		cf_control_fail_err(a, &err);
		return;
	}
	q.limit = (size_t)limit;
	q.after = (int64_t)after;
	snap_view_list(&w, c->opts.instances, &q);
}

static int put_one(struct snap_control *c, const char *key, struct cf_jw *w, struct cf_err *err)
{
	for (size_t i = 0; i < c->opts.instances->count; i++) {
		struct snap_instance *in = &c->opts.instances->items[i];
		cf_cleanup(snap_record_unrefp) struct snap_record *rec =
			snap_store_get(in->service.store, key);

		if (rec)
			return snap_view_record_full(w, in, rec, err);
	}
	return cf_fail(err, CF_NOT_FOUND, "snapshot %s does not exist", key);
}

static void on_one(struct cf_httpd_req *req, struct cf_control_answer *a, void *user)
{
	struct snap_control *c = user;
	cf_cleanup(cf_freep) char *key = decode(behind(req, "/v1/snapshots/"));
	struct cf_jw w = json(a);
	struct cf_err err;

	if (!key)
		cf_control_fail(a, 400, "INVALID_ARGUMENT", "the key is not percent-encoded UTF-8");
	else if (put_one(c, key, &w, &err) < 0)
		cf_control_fail_err(a, &err);
}

static void on_pulls(struct cf_httpd_req *req, struct cf_control_answer *a, void *user)
{
	struct snap_control *c = user;
	struct cf_jw w = json(a);

	(void)req;
	snap_pulls_view(c->pulls, c->opts.instances, &w);
}

static void on_report(struct cf_httpd_req *req, struct cf_control_answer *a, void *user)
{
	struct snap_control *c = user;
	struct cf_err err;

	if (snap_pulls_report(c->pulls, c->opts.instances, cf_httpd_body(req), &err) < 0)
		cf_control_fail_err(a, &err);
	else
		a->status = 204;
}

static void on_config(struct cf_httpd_req *req, struct cf_control_answer *a, void *user)
{
	struct snap_control *c = user;
	struct cf_jw w = json(a);

	(void)req;
	snap_view_config(&w, c->opts.config, c->path);
}

static void on_metrics(struct cf_httpd_req *req, struct cf_control_answer *a, void *user)
{
	struct snap_control *c = user;
	(void)req;
	cf_control_is_metrics(a);
	snap_view_metrics(c->opts.instances, &a->body);
	snap_metrics_text(c->opts.metrics, &a->body);
}

/* ---- collecting: waits for the disk, so not on the loop's thread ---- */

static void answer_gc(struct snap_control *c)
{
	struct cf_httpd_req *req = c->gc.req;
	struct cf_control_answer a = cf_control_answer();

	if (c->gc.result < 0) {
		cf_control_fail_err(&a, &c->gc.err);
	} else {
		struct cf_jw w = json(&a);

		cf_jw_obj(&w);
		cf_jw_kstr(&w, "status", "done");
		cf_jw_kint(&w, "milliseconds", c->gc.ended_ms - c->gc.began_ms);
		cf_jw_end_obj(&w);
	}
	c->gc.req = NULL;
	cf_control_reply(req, &a);
}

static void gc_ended(void *arg)
{
	struct snap_control *c = arg;

	if (c->gc.req)
		answer_gc(c);
}

static void run_gc(void *arg)
{
	struct snap_control *c = arg;
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->opts.instances->count; i++) {
		struct snap_service *s = &c->opts.instances->items[i].service;

		r = snap_dirs_cleanup(s->dirs, s->store, &c->gc.err);
	}
	c->gc.result = r;
	c->gc.ended_ms = cf_now_ms();
	cf_loop_post(c->opts.loop, gc_ended, c);
}

static void on_gc(struct cf_httpd_req *req, struct cf_control_answer *a, void *user)
{
	struct snap_control *c = user;
	struct cf_err err;

	if (c->gc.req) {
		cf_control_fail(a, 409, "ABORTED", "a collection is running");
		return;
	}
	c->gc = (struct gc){ .req = req, .began_ms = cf_now_ms() };
	if (cf_work_add(c->work, run_gc, c, &err) < 0) {
		c->gc.req = NULL;
		cf_control_fail_err(a, &err);
		return;
	}
	a->status = 0; /* later */
}

/* ---- nydus-snapshotter's system controller, as it is without nydusd ---- */

static void on_daemons(struct cf_httpd_req *req, struct cf_control_answer *a, void *user)
{
	(void)user;
	(void)req;
	cf_buf_add_str(&a->body, "[]");
}

static void on_daemon(struct cf_httpd_req *req, struct cf_control_answer *a, void *user)
{
	(void)user;
	(void)req;
	cf_control_fail(a, 404, "NotFound", "no nydusd runs here");
}

static void on_unimplemented(struct cf_httpd_req *req, struct cf_control_answer *a, void *user)
{
	(void)user;
	(void)req;
	cf_control_fail(a, 501, "Unknown", "not implemented");
}

/* ---- routes ---- */

static const struct cf_control_route routes[] = {
	{ "GET", "/v1/health", on_health, false, 0 },
	{ "GET", "/v1/snapshots", on_list, false, 0 },
	{ "GET", "/v1/snapshots/", on_one, false, 0 },
	{ "GET", "/v1/pulls", on_pulls, false, 0 },
	{ "POST", "/v1/pulls", on_report, false, SNAP_CONTROL_BODY_MAX },
	{ "POST", "/v1/gc", on_gc, false, 0 },
	{ "GET", "/v1/config", on_config, false, 0 },
	{ "GET", "/metrics", on_metrics, true, 0 },
	{ "GET", "/v1/metrics", on_metrics, true, 0 },
	{ "GET", "/api/v1/daemons", on_daemons, false, 0 },
	{ "GET", "/api/v1/daemons/records", on_unimplemented, false, 0 },
	{ "PUT", "/api/v1/daemons/upgrade", on_unimplemented, false, 0 },
	{ "PUT", "/api/v1/prefetch", on_unimplemented, false, 0 },
	{ "GET", "/api/v1/daemons/", on_daemon, false, 0 },
};

/* ---- life ---- */

int snap_control_new(const struct snap_control_opts *opts, struct snap_control **ret,
                     struct cf_err *err)
{
	struct snap_control *c = cf_zalloc(sizeof(*c));
	struct cf_control_opts o = { .path = opts->path,
		                     .listen_fd = opts->listen_fd,
		                     .metrics = opts->config->metrics,
		                     .uid = opts->config->control_uid,
		                     .routes = routes,
		                     .routes_count = CF_ARRAY_LEN(routes),
		                     .user = c };

	c->opts = *opts;
	c->path = cf_strdup(opts->path);
	c->started_ms = cf_now_ms();
	c->pulls = snap_pulls_new();
	int r = cf_work_new(1, 1, &c->work, err);

	if (r == 0)
		r = cf_control_new(opts->loop, &o, &c->control, err);
	if (r < 0) {
		snap_control_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

struct snap_control *snap_control_free(struct snap_control *c)
{
	if (!c)
		return NULL;
	cf_work_free(c->work);
	cf_control_free(c->control);
	if (c->gc.req)
		answer_gc(c); /* into nothing */
	snap_pulls_free(c->pulls);
	free(c->path);
	free(c);
	return NULL;
}
