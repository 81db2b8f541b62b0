/* SPDX-License-Identifier: Apache-2.0 */
#include "attest-agent/rest.h"

#include "base/httpd.h"
#include "base/log.h"

#define OCTETS "application/octet-stream"
#define JSON   "application/json"
#define TEXT   "text/plain"

struct rest {
	struct rest_opts opts;
	struct cf_httpd *httpd;
};

/* A request on its way through the worker. */
struct job {
	struct rest *rest;
	struct cf_httpd_req *req;
	int (*run)(struct job *j, struct cf_err *err);
	const char *type;
	struct cf_buf in, out;
	int r;
	struct cf_err err;
};

/* ---- queries ---- */

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool percent_decode(struct cf_view v, struct cf_buf *ret)
{
	for (size_t i = 0; i < v.size; i++) {
		if (v.data[i] == '+') {
			cf_buf_add_byte(ret, ' ');
		} else if (v.data[i] != '%') {
			cf_buf_add_byte(ret, v.data[i]);
		} else {
			int hi = i + 2 < v.size ? hex_digit(v.data[i + 1]) : -1;
			int lo = i + 2 < v.size ? hex_digit(v.data[i + 2]) : -1;

			if (hi < 0 || lo < 0)
				return false;
			cf_buf_add_byte(ret, (uint8_t)(hi << 4 | lo));
			i += 2;
		}
	}
	return !ret->bad;
}

bool rest_query(struct cf_view query, const char *key, struct cf_buf *ret)
{
	size_t n = strlen(key);

	while (query.size) {
		ssize_t end = cf_view_find(query, '&');
		struct cf_view pair = end < 0 ? query : cf_view_sub(query, 0, (size_t)end);

		query = end < 0 ? (struct cf_view){ 0 }
		                : cf_view_sub(query, (size_t)end + 1, query.size);
		if (pair.size > n && cf_view_starts_with(pair, key) && pair.data[n] == '=')
			return percent_decode(cf_view_sub(pair, n + 1, pair.size), ret);
	}
	return false;
}

static bool query_is(struct cf_view query, const char *key, const char *want)
{
	struct cf_buf value = { 0 };
	bool is = rest_query(query, key, &value) && cf_view_eq_str(cf_buf_view(&value), want);

	cf_buf_fini(&value);
	return is;
}

/* ---- answers ---- */

static void answer(struct cf_httpd_req *req, unsigned status, const char *text)
{
	cf_httpd_reply(req, status, TEXT, NULL, cf_view_str(text));
}

static void job_free(struct job *j)
{
	cf_buf_wipe(&j->in);
	cf_buf_wipe(&j->out);
	free(j);
}

static void job_done(void *arg)
{
	struct job *j = arg;

	if (j->r < 0) {
		cf_log_warn("rest request failed", CF_F_STR("error", j->err.msg));
		answer(j->req, j->err.code == CF_INVALID_ARGUMENT ? 400 : 500, j->err.msg);
	} else {
		cf_httpd_reply(j->req, 200, j->type, NULL, cf_buf_view(&j->out));
	}
	job_free(j);
}

static void job_work(void *arg)
{
	struct job *j = arg;

	j->r = j->run(j, &j->err);
	cf_loop_post(j->rest->opts.loop, job_done, j);
}

static struct job *job_new(struct rest *r, struct cf_httpd_req *req,
                           int (*run)(struct job *j, struct cf_err *err), const char *type)
{
	struct job *j = cf_zalloc(sizeof(*j));

	*j = (struct job){ .rest = r, .req = req, .run = run, .type = type };
	return j;
}

static void job_start(struct job *j)
{
	struct cf_err err;

	if (cf_work_add(j->rest->opts.work, job_work, j, &err) < 0) {
		answer(j->req, 503, "busy");
		job_free(j);
	}
}

/* ---- what is asked ---- */

static int run_evidence(struct job *j, struct cf_err *err)
{
	return agent_evidence(j->rest->opts.agent, cf_buf_view(&j->in), &j->out, err);
}

static int run_token(struct job *j, struct cf_err *err)
{
	return agent_token(j->rest->opts.agent, "kbs", &j->out, err);
}

static int run_eventlog(struct job *j, struct cf_err *err)
{
	return agent_event_log(j->rest->opts.agent, &j->out, err);
}

static int measure(struct job *j, const struct cf_json *body, struct cf_err *err)
{
	static const char *const answers[] = {
		[AGENT_MEASURED] = "{\"success\":\"true\"}",
		[AGENT_NOT_SUPPORTED] =
			"{\"success\":\"false\",\"message\":\"The platform does not support "
			"runtime measurement\"}",
		[AGENT_NOT_ENABLED] =
			"{\"success\":\"false\",\"message\":\"Attestation Agent does not enable "
			"eventlog recording\"}",
	};
	cf_cleanup(cf_freep) char *domain = NULL;
	cf_cleanup(cf_freep) char *operation = NULL;
	cf_cleanup(cf_freep) char *content = NULL;
	enum agent_measured result;
	int r = cf_json_dup_str(body, "domain", &domain, err);

	if (r == 0)
		r = cf_json_dup_str(body, "operation", &operation, err);
	if (r == 0)
		r = cf_json_dup_str(body, "content", &content, err);
	if (r == 0)
		r = agent_measure(j->rest->opts.agent, domain, operation, content, -1, &result,
		                  err);
	if (r == 0)
		cf_buf_add_str(&j->out, answers[result]);
	return r;
}

static int run_aael(struct job *j, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *body = NULL;
	int r = cf_json_parse(cf_buf_view(&j->in), REST_BODY_MAX, &body, err);

	return r < 0 ? r : measure(j, body, err);
}

static void get_info(struct rest *r, struct cf_httpd_req *req)
{
	struct cf_buf out = { 0 };
	struct cf_jw w = { .out = &out };

	cf_jw_obj(&w);
	cf_jw_kstr(&w, "version", COFFER_VERSION);
	cf_jw_kstr(&w, "tee", agent_tee(r->opts.agent));
	cf_jw_key(&w, "additional_tees");
	cf_jw_arr(&w);
	cf_jw_end_arr(&w);
	cf_jw_kstr(&w, "feature", "attestation");
	cf_jw_end_obj(&w);
	cf_httpd_reply(req, 200, JSON, NULL, cf_buf_view(&out));
	cf_buf_fini(&out);
}

/* runtime_data as text, or as base64url without padding when encoding says so. */
static bool read_runtime_data(struct cf_view query, struct cf_buf *ret)
{
	struct cf_buf text = { 0 }, encoding = { 0 };
	bool has_encoding = rest_query(query, "encoding", &encoding);
	bool good = rest_query(query, "runtime_data", &text);

	if (good && !has_encoding)
		cf_buf_add_view(ret, cf_buf_view(&text));
	else if (good)
		good = cf_view_eq_str(cf_buf_view(&encoding), "base64") &&
		       cf_b64_decode(CF_B64_URL, cf_buf_view(&text), ret, NULL) == 0;
	cf_buf_fini(&text);
	cf_buf_fini(&encoding);
	return good;
}

static void get_evidence(struct rest *r, struct cf_httpd_req *req)
{
	struct job *j = job_new(r, req, run_evidence, OCTETS);

	if (read_runtime_data(cf_httpd_head(req)->query, &j->in)) {
		job_start(j);
		return;
	}
	answer(req, 400, "BAD REQUEST");
	job_free(j);
}

static void get_additional(struct rest *r, struct cf_httpd_req *req)
{
	struct cf_buf data = { 0 };
	bool good = read_runtime_data(cf_httpd_head(req)->query, &data);

	(void)r;
	cf_buf_fini(&data);
	if (good)
		cf_httpd_reply(req, 200, OCTETS, NULL, cf_view_str(""));
	else
		answer(req, 400, "BAD REQUEST");
}

static void get_token(struct rest *r, struct cf_httpd_req *req)
{
	if (!r->opts.gives_token)
		answer(req, 404, "Attestation Feature Not Enabled");
	else if (!query_is(cf_httpd_head(req)->query, "token_type", "kbs"))
		answer(req, 400, "BAD REQUEST");
	else
		job_start(job_new(r, req, run_token, OCTETS));
}

static void get_eventlog(struct rest *r, struct cf_httpd_req *req)
{
	job_start(job_new(r, req, run_eventlog, OCTETS));
}

static void post_aael(struct rest *r, struct cf_httpd_req *req)
{
	struct job *j = job_new(r, req, run_aael, JSON);

	cf_buf_add_view(&j->in, cf_httpd_body(req));
	job_start(j);
}

/* ---- the server ---- */

static const struct {
	const char *method, *path;
	void (*fn)(struct rest *r, struct cf_httpd_req *req);
} routes[] = {
	{ "GET", "/info", get_info },
	{ "GET", "/aa/evidence", get_evidence },
	{ "GET", "/aa/additional-evidence", get_additional },
	{ "GET", "/aa/token", get_token },
	{ "GET", "/aa/eventlog", get_eventlog },
	{ "POST", "/aa/aael", post_aael },
};

static bool is_loopback(const char *address)
{
	return cf_starts_with(address, "127.") || cf_streq(address, "::1");
}

static void handle(struct cf_httpd_req *req, void *user)
{
	const struct http_head *head = cf_httpd_head(req);
	struct rest *r = user;

	if (!is_loopback(cf_httpd_peer(req))) {
		answer(req, 403, "Forbidden");
		return;
	}
	for (size_t i = 0; i < CF_ARRAY_LEN(routes); i++) {
		if (cf_view_eq_str(head->path, routes[i].path) &&
		    cf_view_eq_str(head->method, routes[i].method)) {
			routes[i].fn(r, req);
			return;
		}
	}
	if (cf_view_eq_str(head->path, "/info"))
		answer(req, 405, "Method Not Allowed");
	else
		answer(req, 404, "URL NOT FOUND");
}

static size_t body_max(struct cf_view method, struct cf_view path, void *user)
{
	(void)user;
	return cf_view_eq_str(method, "POST") && cf_view_eq_str(path, "/aa/aael") ? REST_BODY_MAX
	                                                                          : 0;
}

/* "127.0.0.1:8006" or "[::1]:8006" → host (the caller frees) and port. */
static int split_address(const char *text, char **ret_host, uint16_t *ret_port, struct cf_err *err)
{
	const char *colon = strrchr(text, ':');
	bool bracket = *text == '[' && colon && colon > text && colon[-1] == ']';
	uint64_t port;

	if (!colon || cf_parse_u64(cf_view_str(colon + 1), UINT16_MAX, &port, err) < 0)
		return cf_fail(err, CF_INVALID_ARGUMENT, "REST address \"%s\": want ADDRESS:PORT",
		               text);
	cf_cleanup(cf_freep) char *host = bracket ? cf_strndup(text + 1, (size_t)(colon - text) - 2)
	                                          : cf_strndup(text, (size_t)(colon - text));
	if (!is_loopback(host))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "REST address \"%s\": only a loopback address is served", text);
	*ret_host = cf_take(&host);
	*ret_port = (uint16_t)port;
	return 0;
}

int rest_new(const struct rest_opts *opts, struct rest **ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *host = NULL;
	struct cf_httpd_opts http = {
		.connections_max = REST_CONNS_MAX,
		.body_max = body_max,
		.handle = handle,
	};
	int r = split_address(opts->address, &host, &http.port, err);

	if (r < 0)
		return r;

	struct rest *rest = cf_zalloc(sizeof(*rest));

	rest->opts = *opts;
	http.address = host;
	http.user = rest;
	r = cf_httpd_new(opts->loop, &http, &rest->httpd, err);
	if (r < 0) {
		free(rest);
		return cf_wrap(err, r, "REST %s", opts->address);
	}
	*ret = rest;
	return 0;
}

struct rest *rest_free(struct rest *r)
{
	if (!r)
		return NULL;
	cf_httpd_free(r->httpd);
	free(r);
	return NULL;
}

uint16_t rest_port(const struct rest *r)
{
	return cf_httpd_port(r->httpd);
}
