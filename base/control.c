/* SPDX-License-Identifier: Apache-2.0 */
#include "base/control.h"

#include "base/json.h"

#include <unistd.h>

struct cf_control {
	struct cf_control_opts opts;
	struct cf_httpd *socket, *tcp;
};

/* ---- answers ---- */

struct cf_control_answer cf_control_answer(void)
{
	return (struct cf_control_answer){ .status = 200,
		                           .type = "application/json",
		                           .body.max = CF_CONTROL_ANSWER_MAX };
}

void cf_control_fail(struct cf_control_answer *a, unsigned status, const char *code,
                     const char *message)
{
	cf_buf_reset(&a->body);
	struct cf_jw w = { .out = &a->body };

	a->status = status;
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "code", code);
	cf_jw_kstr(&w, "message", message);
	cf_jw_end_obj(&w);
}

void cf_control_fail_err(struct cf_control_answer *a, const struct cf_err *err)
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
	cf_control_fail(a, status, cf_code_name(err->code), err->msg);
}

void cf_control_reply(struct cf_httpd_req *req, struct cf_control_answer *a)
{
	if (a->body.bad)
		cf_control_fail(a, 500, "RESOURCE_EXHAUSTED",
		                "the answer is too long: ask for less");
	if (a->body.size)
		cf_buf_add_str(&a->body, "\n");
	cf_httpd_reply(req, a->status, a->status == 204 ? NULL : a->type, NULL,
	               cf_buf_view(&a->body));
	cf_buf_fini(&a->body);
}

void cf_control_is_metrics(struct cf_control_answer *a)
{
	a->type = "text/plain; version=0.0.4";
}

void cf_control_metric(struct cf_control_answer *a, const char *name, const char *help,
                       double value)
{
	cf_buf_printf(&a->body, "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n", name, help, name,
	              cf_ends_with(name, "_total") ? "counter" : "gauge", name, value);
}

/* ---- routes ---- */

static bool matches(const struct cf_control_route *route, struct cf_view path)
{
	if (!cf_ends_with(route->path, "/"))
		return cf_view_eq_str(path, route->path);
	return path.size > strlen(route->path) && cf_view_starts_with(path, route->path);
}

static const struct cf_control_route *find_route(const struct cf_control *c, struct cf_view method,
                                                 struct cf_view path, bool public_only,
                                                 bool *ret_is_path)
{
	if (cf_view_eq_str(method, "HEAD"))
		method = cf_view_str("GET");
	*ret_is_path = false;
	for (size_t i = 0; i < c->opts.routes_count; i++) {
		const struct cf_control_route *route = &c->opts.routes[i];

		if ((public_only && !route->is_public) || !matches(route, path))
			continue;
		*ret_is_path = true;
		if (cf_view_eq_str(method, route->method))
			return route;
	}
	return NULL;
}

static void handle(struct cf_control *c, struct cf_httpd_req *req, bool public_only)
{
	const struct http_head *head = cf_httpd_head(req);
	struct cf_control_answer a = cf_control_answer();
	bool is_path;
	const struct cf_control_route *route =
		find_route(c, head->method, head->path, public_only, &is_path);

	if (route)
		route->fn(req, &a, c->opts.user);
	else if (is_path)
		cf_control_fail(&a, 405, "UNIMPLEMENTED", "this path has another method");
	else
		cf_control_fail(&a, 404, "NOT_FOUND", "no such path");
	if (a.status)
		cf_control_reply(req, &a);
	else
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
	bool is_path;
	const struct cf_control_route *route = find_route(user, method, path, false, &is_path);

	return route ? route->body_max : 0;
}

static bool is_allowed(uid_t uid, void *user)
{
	const struct cf_control *c = user;

	return uid == 0 || uid == geteuid() || uid == c->opts.uid;
}

/* ---- life ---- */

int cf_control_parse_address(const char *text, char **ret_address, uint16_t *ret_port,
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

static int listen_socket(struct cf_control *c, struct cf_loop *loop, struct cf_err *err)
{
	struct cf_httpd_opts o = { .unix_path = c->opts.path,
		                   .listen_fd = c->opts.listen_fd,
		                   .allow = is_allowed,
		                   .connections_max = CF_CONTROL_CONNECTIONS,
		                   .body_max = body_max,
		                   .handle = on_socket,
		                   .user = c };

	if (!o.unix_path && o.listen_fd <= 0)
		return 0;
	return cf_httpd_new(loop, &o, &c->socket, err);
}

static int listen_tcp(struct cf_control *c, struct cf_loop *loop, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *address = NULL;
	struct cf_httpd_opts o = { .connections_max = CF_CONTROL_CONNECTIONS,
		                   .body_max = body_max,
		                   .handle = on_tcp,
		                   .user = c };

	if (!c->opts.metrics)
		return 0;
	int r = cf_control_parse_address(c->opts.metrics, &address, &o.port, err);

	if (r < 0)
		return r;
	o.address = address;
	r = cf_httpd_new(loop, &o, &c->tcp, err);
	/* A kernel without IPv6. */
	if (r < 0 && cf_streq(address, "::")) {
		o.address = "0.0.0.0";
		r = cf_httpd_new(loop, &o, &c->tcp, err);
	}
	return r;
}

int cf_control_new(struct cf_loop *loop, const struct cf_control_opts *opts,
                   struct cf_control **ret, struct cf_err *err)
{
	struct cf_control *c = cf_zalloc(sizeof(*c));

	c->opts = *opts;
	int r = listen_socket(c, loop, err);

	if (r == 0)
		r = listen_tcp(c, loop, err);
	/* What was lent for the call. */
	c->opts.path = c->opts.metrics = NULL;
	if (r < 0) {
		cf_control_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

struct cf_control *cf_control_free(struct cf_control *c)
{
	if (!c)
		return NULL;
	cf_httpd_free(c->socket);
	cf_httpd_free(c->tcp);
	free(c);
	return NULL;
}
