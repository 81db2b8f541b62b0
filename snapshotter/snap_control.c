/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_control.h"

#include "base/work.h"
#include "snapshotter/snap_pulls.h"
#include "snapshotter/snap_view.h"

#include <unistd.h>

#define TEXT_MAX (64u << 20) /* one answer */

struct gc {
	struct cf_httpd_req *req; /* NULL: none runs */
	int64_t began_ms, ended_ms;
	int result;
	struct cf_err err;
};

struct snap_control {
	struct snap_control_opts opts;
	struct cf_httpd *socket, *tcp;
	struct snap_pulls *pulls;
	struct cf_work *work; /* for what waits for the disk */
	struct gc gc;
	int64_t started_ms;
	char *path;
};

struct answer {
	unsigned status;
	const char *type;
	struct cf_buf body;
};

typedef void handler(struct snap_control *c, struct cf_httpd_req *req, struct answer *a);

/* ---- answers ---- */

static struct cf_jw json(struct answer *a)
{
	return (struct cf_jw){ .out = &a->body, .pretty = true };
}

static void fail(struct answer *a, unsigned status, const char *code, const char *message)
{
	cf_buf_reset(&a->body);
	struct cf_jw w = { .out = &a->body };

	a->status = status;
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "code", code);
	cf_jw_kstr(&w, "message", message);
	cf_jw_end_obj(&w);
}

static void fail_err(struct answer *a, const struct cf_err *err)
{
	static const struct {
		enum cf_code code;
		unsigned status;
	} known[] = { { CF_INVALID_ARGUMENT, 400 },
		      { CF_NOT_FOUND, 404 },
		      { CF_RESOURCE_EXHAUSTED, 503 },
		      { CF_UNAVAILABLE, 503 } };
	unsigned status = 500;

	for (size_t i = 0; i < CF_ARRAY_LEN(known); i++)
		if (known[i].code == err->code)
			status = known[i].status;
	fail(a, status, cf_code_name(err->code), err->msg);
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

static void on_health(struct snap_control *c, struct cf_httpd_req *req, struct answer *a)
{
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

static void on_list(struct snap_control *c, struct cf_httpd_req *req, struct answer *a)
{
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
		fail_err(a, &err);
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

static void on_one(struct snap_control *c, struct cf_httpd_req *req, struct answer *a)
{
	cf_cleanup(cf_freep) char *key = decode(behind(req, "/v1/snapshots/"));
	struct cf_jw w = json(a);
	struct cf_err err;

	if (!key)
		fail(a, 400, "INVALID_ARGUMENT", "the key is not percent-encoded UTF-8");
	else if (put_one(c, key, &w, &err) < 0)
		fail_err(a, &err);
}

static void on_pulls(struct snap_control *c, struct cf_httpd_req *req, struct answer *a)
{
	struct cf_jw w = json(a);

	(void)req;
	snap_pulls_view(c->pulls, c->opts.instances, &w);
}

static void on_report(struct snap_control *c, struct cf_httpd_req *req, struct answer *a)
{
	struct cf_err err;

	if (snap_pulls_report(c->pulls, c->opts.instances, cf_httpd_body(req), &err) < 0)
		fail_err(a, &err);
	else
		a->status = 204;
}

static void on_config(struct snap_control *c, struct cf_httpd_req *req, struct answer *a)
{
	struct cf_jw w = json(a);

	(void)req;
	snap_view_config(&w, c->opts.config, c->path);
}

static void on_metrics(struct snap_control *c, struct cf_httpd_req *req, struct answer *a)
{
	(void)req;
	a->type = "text/plain; version=0.0.4";
	snap_view_metrics(c->opts.instances, &a->body);
	snap_metrics_text(c->opts.metrics, &a->body);
}

/* ---- collecting: waits for the disk, so not on the loop's thread ---- */

static void answer_gc(struct snap_control *c)
{
	struct cf_httpd_req *req = c->gc.req;
	struct answer a = { .status = 200, .type = "application/json", .body.max = TEXT_MAX };

	if (c->gc.result < 0) {
		fail_err(&a, &c->gc.err);
	} else {
		struct cf_jw w = json(&a);

		cf_jw_obj(&w);
		cf_jw_kstr(&w, "status", "done");
		cf_jw_kint(&w, "milliseconds", c->gc.ended_ms - c->gc.began_ms);
		cf_jw_end_obj(&w);
	}
	c->gc.req = NULL;
	cf_httpd_reply(req, a.status, a.type, NULL, cf_buf_view(&a.body));
	cf_buf_fini(&a.body);
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

static void on_gc(struct snap_control *c, struct cf_httpd_req *req, struct answer *a)
{
	struct cf_err err;

	if (c->gc.req) {
		fail(a, 409, "ABORTED", "a collection is running");
		return;
	}
	c->gc = (struct gc){ .req = req, .began_ms = cf_now_ms() };
	if (cf_work_add(c->work, run_gc, c, &err) < 0) {
		c->gc.req = NULL;
		fail_err(a, &err);
		return;
	}
	a->status = 0; /* later */
}

/* ---- nydus-snapshotter's system controller, as it is without nydusd ---- */

static void on_daemons(struct snap_control *c, struct cf_httpd_req *req, struct answer *a)
{
	(void)c;
	(void)req;
	cf_buf_add_str(&a->body, "[]");
}

static void on_daemon(struct snap_control *c, struct cf_httpd_req *req, struct answer *a)
{
	(void)c;
	(void)req;
	fail(a, 404, "NotFound", "no nydusd runs here");
}

static void on_unimplemented(struct snap_control *c, struct cf_httpd_req *req, struct answer *a)
{
	(void)c;
	(void)req;
	fail(a, 501, "Unknown", "not implemented");
}

/* ---- routes ---- */

static const struct route {
	const char *method, *path; /* a path that ends in '/' stands for all below it */
	handler *fn;
	bool is_public; /* also on the metrics' address */
} routes[] = {
	{ "GET", "/v1/health", on_health, false },
	{ "GET", "/v1/snapshots", on_list, false },
	{ "GET", "/v1/snapshots/", on_one, false },
	{ "GET", "/v1/pulls", on_pulls, false },
	{ "POST", "/v1/pulls", on_report, false },
	{ "POST", "/v1/gc", on_gc, false },
	{ "GET", "/v1/config", on_config, false },
	{ "GET", "/metrics", on_metrics, true },
	{ "GET", "/v1/metrics", on_metrics, true },
	{ "GET", "/api/v1/daemons", on_daemons, false },
	{ "GET", "/api/v1/daemons/records", on_unimplemented, false },
	{ "PUT", "/api/v1/daemons/upgrade", on_unimplemented, false },
	{ "PUT", "/api/v1/prefetch", on_unimplemented, false },
	{ "GET", "/api/v1/daemons/", on_daemon, false },
};

static bool matches(const struct route *route, struct cf_view path)
{
	if (!cf_ends_with(route->path, "/"))
		return cf_view_eq_str(path, route->path);
	return path.size > strlen(route->path) && cf_view_starts_with(path, route->path);
}

static const struct route *find_route(const struct http_head *head, bool public_only,
                                      bool *ret_is_path)
{
	struct cf_view method = head->method;

	if (cf_view_eq_str(method, "HEAD"))
		method = cf_view_str("GET");
	*ret_is_path = false;
	for (size_t i = 0; i < CF_ARRAY_LEN(routes); i++) {
		if ((public_only && !routes[i].is_public) || !matches(&routes[i], head->path))
			continue;
		*ret_is_path = true;
		if (cf_view_eq_str(method, routes[i].method))
			return &routes[i];
	}
	return NULL;
}

static void handle(struct snap_control *c, struct cf_httpd_req *req, bool public_only)
{
	struct answer a = { .status = 200, .type = "application/json", .body.max = TEXT_MAX };
	bool is_path;
	const struct route *route = find_route(cf_httpd_head(req), public_only, &is_path);

	if (route)
		route->fn(c, req, &a);
	else if (is_path)
		fail(&a, 405, "UNIMPLEMENTED", "this path has another method");
	else
		fail(&a, 404, "NOT_FOUND", "no such path");
	if (a.status && a.body.bad)
		fail(&a, 500, "RESOURCE_EXHAUSTED", "the answer is too long: ask for less");
	if (a.status && a.body.size)
		cf_buf_add_str(&a.body, "\n");
	if (a.status)
		cf_httpd_reply(req, a.status, a.status == 204 ? NULL : a.type, NULL,
		               cf_buf_view(&a.body));
	cf_buf_fini(&a.body);
}

static void on_socket(struct cf_httpd_req *req, void *user)
{
	handle(user, req, false);
}

static void on_tcp(struct cf_httpd_req *req, void *user)
{
	handle(user, req, true);
}

static size_t body_max(struct cf_view method, struct cf_view path, void *user)
{
	(void)user;
	return cf_view_eq_str(method, "POST") && cf_view_eq_str(path, "/v1/pulls")
	               ? SNAP_CONTROL_BODY_MAX
	               : 0;
}

static bool is_allowed(uid_t uid, void *user)
{
	const struct snap_control *c = user;

	return uid == 0 || uid == geteuid() || uid == c->opts.config->control_uid;
}

/* ---- life ---- */

int snap_control_parse_address(const char *text, char **ret_address, uint16_t *ret_port,
                               struct cf_err *err)
{
	const char *colon = strrchr(text, ':');
	uint64_t port = 0;

	if (!colon || cf_parse_u64(cf_view_str(colon + 1), UINT16_MAX, &port, err) < 0)
		return cf_fail(err, CF_INVALID_ARGUMENT, "metrics address %s: want ADDRESS:PORT",
		               text);
	size_t n = (size_t)(colon - text);
	bool bracketed = n >= 2 && text[0] == '[' && text[n - 1] == ']';

	*ret_address = n == 0      ? cf_strdup("::")
	               : bracketed ? cf_strndup(text + 1, n - 2)
	                           : cf_strndup(text, n);
	*ret_port = (uint16_t)port;
	return 0;
}

static int listen_socket(struct snap_control *c, struct cf_err *err)
{
	struct cf_httpd_opts o = { .unix_path = c->path,
		                   .listen_fd = c->opts.listen_fd,
		                   .allow = is_allowed,
		                   .connections_max = SNAP_CONTROL_CONNECTIONS,
		                   .body_max = body_max,
		                   .handle = on_socket,
		                   .user = c };

	if (!o.unix_path && o.listen_fd <= 0)
		return 0;
	return cf_httpd_new(c->opts.loop, &o, &c->socket, err);
}

static int listen_tcp(struct snap_control *c, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *address = NULL;
	struct cf_httpd_opts o = { .connections_max = SNAP_CONTROL_CONNECTIONS,
		                   .body_max = body_max,
		                   .handle = on_tcp,
		                   .user = c };

	if (!c->opts.config->metrics)
		return 0;
	int r = snap_control_parse_address(c->opts.config->metrics, &address, &o.port, err);

	if (r < 0)
		return r;
	o.address = address;
	r = cf_httpd_new(c->opts.loop, &o, &c->tcp, err);
	/* A kernel without IPv6. */
	if (r < 0 && cf_streq(address, "::")) {
		o.address = "0.0.0.0";
		r = cf_httpd_new(c->opts.loop, &o, &c->tcp, err);
	}
	return r;
}

int snap_control_new(const struct snap_control_opts *opts, struct snap_control **ret,
                     struct cf_err *err)
{
	struct snap_control *c = cf_zalloc(sizeof(*c));

	c->opts = *opts;
	c->path = cf_strdup(opts->path);
	c->started_ms = cf_now_ms();
	c->pulls = snap_pulls_new();
	int r = cf_work_new(1, 1, &c->work, err);

	if (r == 0)
		r = listen_socket(c, err);
	if (r == 0)
		r = listen_tcp(c, err);
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
	cf_httpd_free(c->socket);
	cf_httpd_free(c->tcp);
	if (c->gc.req)
		answer_gc(c); /* into nothing */
	snap_pulls_free(c->pulls);
	free(c->path);
	free(c);
	return NULL;
}
