/* SPDX-License-Identifier: Apache-2.0 */
#include "base/http.h"

#include "base/mem.h"

#include <curl/curl.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

#define SYSTEM_CA_DIR "/etc/ssl/certs"
#define WAIT_SLICE_MS                                                                              \
	1000 /* curl_multi_poll wakes for sockets and the cancel fd; this is its ceiling */
#define ERROR_BODY_MAX (64u << 10)

struct cf_http {
	CURLM *multi;
	CURL *easy;
	char *ca_blob;
	char *https_proxy, *http_proxy, *no_proxy;
	char *cert_path, *key_path;
	bool no_system_ca, allow_http, skip_tls_verify, no_cert_times;
	unsigned connect_timeout_ms, low_speed_s;
};

/* One hop of a call: what the callbacks of curl work on. */
struct exchange {
	const struct cf_http_request *req;
	struct cf_http_response *resp;
	struct cf_err *err;
	size_t header_bytes;
	size_t body_max;
	uint64_t uploaded;
	int failed;     /* what a callback returned; @err is filled */
	bool head_done; /* the 2xx head callback has run */
};

void cf_http_global_init(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

struct cf_http *cf_http_free(struct cf_http *http)
{
	if (!http)
		return NULL;
	if (http->easy)
		curl_easy_cleanup(http->easy);
	if (http->multi)
		curl_multi_cleanup(http->multi);
	free(http->ca_blob);
	free(http->https_proxy);
	free(http->http_proxy);
	free(http->no_proxy);
	free(http->cert_path);
	free(http->key_path);
	free(http);
	return NULL;
}

static int join_ca(const struct cf_http_config *config, char **ret, struct cf_err *err)
{
	struct cf_buf all = { 0 };

	for (size_t i = 0; i < config->ca_count; i++) {
		struct cf_view pem = config->ca_pem[i];

		if (cf_view_has_nul(pem) ||
		    !memmem(pem.data, pem.size, "-----BEGIN", strlen("-----BEGIN"))) {
			cf_buf_fini(&all);
			return cf_fail(err, CF_INVALID_ARGUMENT,
			               "trust anchor %zu holds no PEM certificate", i + 1);
		}
		cf_buf_add_view(&all, pem);
		cf_buf_add_byte(&all, '\n');
	}
	int r = cf_buf_check(&all, "trust anchors", err);

	if (r < 0) {
		cf_buf_fini(&all);
		return r;
	}
	*ret = all.size ? cf_buf_take_str(&all) : NULL;
	return 0;
}

int cf_http_new(const struct cf_http_config *config, struct cf_http **ret, struct cf_err *err)
{
	cf_cleanup(cf_http_freep) struct cf_http *http = cf_zalloc(sizeof(*http));
	int r = join_ca(config, &http->ca_blob, err);

	if (r < 0)
		return r;
	if (config->no_cert_times && !(config->no_system_ca && http->ca_blob))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "certificate times may be left unchecked only with pinned anchors");
	http->no_cert_times = config->no_cert_times;
	http->https_proxy = cf_strdup(config->https_proxy);
	http->http_proxy = cf_strdup(config->http_proxy);
	http->no_proxy = cf_strdup(config->no_proxy);
	http->cert_path = cf_strdup(config->client_cert_pem_path);
	http->key_path = cf_strdup(config->client_key_pem_path);
	http->no_system_ca = config->no_system_ca;
	http->allow_http = config->allow_http;
	http->skip_tls_verify = config->skip_tls_verify;
	http->connect_timeout_ms =
		config->connect_timeout_ms ? config->connect_timeout_ms : CF_HTTP_CONNECT_MS;
	http->low_speed_s = config->low_speed_s ? config->low_speed_s : CF_HTTP_LOW_SPEED_S;
	http->multi = curl_multi_init();
	http->easy = curl_easy_init();
	if (!http->multi || !http->easy)
		return cf_fail(err, CF_INTERNAL, "libcurl does not start");
	*ret = cf_take(&http);
	return 0;
}

static void response_reset(struct cf_http_response *r)
{
	cf_http_response_fini(r);
}

void cf_http_response_fini(struct cf_http_response *r)
{
	cf_strv_fini(&r->headers);
	cf_buf_fini(&r->body);
	free(r->url);
	*r = (struct cf_http_response){ 0 };
}

const char *cf_http_header(const struct cf_http_response *r, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < r->headers.count; i++) {
		const char *line = r->headers.items[i];

		if (strncasecmp(line, name, n) == 0 && line[n] == ':')
			return line + n + 1 + strspn(line + n + 1, " \t");
	}
	return NULL;
}

/* ---- what curl calls ---- */

static bool is_success(unsigned status)
{
	return status >= 200 && status < 300;
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
	struct exchange *x = arg;
	size_t len = size * n;
	struct cf_view line = cf_view(data, len);

	x->header_bytes += len;
	if (x->header_bytes > CF_HTTP_HEADERS_MAX) {
		x->failed = cf_fail(x->err, CF_RESOURCE_EXHAUSTED, "response headers over %u bytes",
		                    CF_HTTP_HEADERS_MAX);
		return 0;
	}
	while (line.size > 0 &&
	       (line.data[line.size - 1] == '\n' || line.data[line.size - 1] == '\r'))
		line.size--;
	if (cf_view_starts_with(line, "HTTP/")) { /* also after a 100 or a proxy's answer */
		cf_strv_fini(&x->resp->headers);
		return len;
	}
	if (line.size > 0 && !cf_view_has_nul(line))
		cf_strv_add_take(&x->resp->headers, cf_view_dup(line));
	return len;
}

static int run_head(struct cf_http *http, struct exchange *x)
{
	long status = 0;

	curl_easy_getinfo(http->easy, CURLINFO_RESPONSE_CODE, &status);
	x->resp->status = (unsigned)status;
	if (x->head_done || !is_success(x->resp->status))
		return 0;
	x->head_done = true;
	if (!x->req->head)
		return 0;
	return x->req->head(x->req->arg, x->resp, x->err);
}

/* Curl hands the write callback one pointer: both halves of a call. */
struct writer {
	struct cf_http *http;
	struct exchange *x;
};

static int take_body(struct cf_http *http, struct exchange *x, struct cf_view piece)
{
	int r = run_head(http, x);

	if (r < 0)
		return r;
	x->resp->body_bytes += piece.size;
	if (is_success(x->resp->status) && x->req->sink)
		return x->req->sink(x->req->arg, piece, x->err);
	size_t max = is_success(x->resp->status) ? x->body_max : ERROR_BODY_MAX;

	if (piece.size > max - x->resp->body.size) {
		if (!is_success(x->resp->status))
			return 0; /* an error page is read for its words, not kept whole */
		return cf_fail(x->err, CF_RESOURCE_EXHAUSTED, "response body over %zu bytes", max);
	}
	x->resp->body.max = max;
	cf_buf_add_view(&x->resp->body, piece);
	return cf_buf_check(&x->resp->body, "response body", x->err);
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct writer *w = arg;

	w->x->failed = take_body(w->http, w->x, cf_view(data, size * n));
	return w->x->failed < 0 ? 0 : size * n;
}

static size_t on_upload(char *buf, size_t size, size_t n, void *arg)
{
	struct exchange *x = arg;
	const struct cf_http_request *req = x->req;
	size_t room = size * n;

	if (!req->upload) {
		struct cf_view part = cf_view_sub(req->body, x->uploaded, room);

		if (part.size > 0)
			memcpy(buf, part.data, part.size);
		x->uploaded += part.size;
		return part.size;
	}
	ssize_t got = req->upload(req->arg, (uint8_t *)buf, room, x->err);

	if (got < 0) {
		x->failed = (int)got;
		return CURL_READFUNC_ABORT;
	}
	x->uploaded += (uint64_t)got;
	return (size_t)got;
}

/* ---- one hop ---- */

static bool has_body(const struct cf_http_request *req)
{
	return req->body.data || req->upload || cf_streq(req->method, "POST") ||
	       cf_streq(req->method, "PUT") || cf_streq(req->method, "PATCH");
}

static bool is_empty(const char *s)
{
	return !s || !*s;
}

static struct curl_slist *request_headers(const struct cf_http_request *req, bool with_auth)
{
	struct curl_slist *list = NULL;

	for (size_t i = 0; req->headers && i < req->headers->count; i++)
		list = curl_slist_append(list, req->headers->items[i]);
	if (with_auth && !is_empty(req->authorization)) {
		char *line = cf_asprintf("Authorization: %s", req->authorization);

		list = curl_slist_append(list, line);
		explicit_bzero(line, strlen(line));
		free(line);
	}
	if (req->range_from > 0) {
		char *line = cf_asprintf("Range: bytes=%llu-", (unsigned long long)req->range_from);

		list = curl_slist_append(list, line);
		free(line);
	}
	/* Curl's own wish for "100 Continue" only costs a round trip with the servers we speak to. */
	return curl_slist_append(list, "Expect:");
}

static CURLcode leave_times_unchecked(CURL *c, void *ssl_ctx, void *arg)
{
	(void)c;
	(void)arg;
	X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ssl_ctx), X509_V_FLAG_NO_CHECK_TIME);
	return CURLE_OK;
}

static void set_trust(struct cf_http *http)
{
	CURL *c = http->easy;

	curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (http->skip_tls_verify) {
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (http->ca_blob) {
		struct curl_blob blob = { http->ca_blob, strlen(http->ca_blob), CURL_BLOB_NOCOPY };

		curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &blob);
		/* The blob replaces curl's file of anchors; the directory beside it still counts. */
		curl_easy_setopt(c, CURLOPT_CAPATH, http->no_system_ca ? NULL : SYSTEM_CA_DIR);
	}
	if (!http->ca_blob && http->no_system_ca) {
		curl_easy_setopt(c, CURLOPT_CAINFO, NULL);
		curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
	}
	if (http->no_cert_times)
		curl_easy_setopt(c, CURLOPT_SSL_CTX_FUNCTION, leave_times_unchecked);
	if (http->cert_path)
		curl_easy_setopt(c, CURLOPT_SSLCERT, http->cert_path);
	if (http->key_path)
		curl_easy_setopt(c, CURLOPT_SSLKEY, http->key_path);
}

static void set_proxy(struct cf_http *http, const char *url)
{
	const char *proxy = cf_starts_with(url, "https:") ? http->https_proxy : http->http_proxy;

	curl_easy_setopt(http->easy, CURLOPT_PROXY,
	                 proxy ? proxy : ""); /* "": not the environment's */
	curl_easy_setopt(http->easy, CURLOPT_NOPROXY, http->no_proxy ? http->no_proxy : "");
}

static void set_method(struct cf_http *http, const struct cf_http_request *req, struct exchange *x)
{
	CURL *c = http->easy;

	if (has_body(req)) {
		uint64_t size = req->upload ? req->upload_size : req->body.size;

		curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(c, CURLOPT_READFUNCTION, on_upload);
		curl_easy_setopt(c, CURLOPT_READDATA, x);
		curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)size);
	}
	if (cf_streq(req->method, "HEAD"))
		curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	if (req->method)
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, req->method);
}

static void set_options(struct cf_http *http, const char *url, const struct cf_http_request *req,
                        struct exchange *x, struct writer *w)
{
	CURL *c = http->easy;

	curl_easy_reset(c);
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, http->allow_http ? "http,https" : "https");
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "coffer/" COFFER_VERSION);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)http->connect_timeout_ms);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, (long)CF_HTTP_LOW_SPEED_BYTES);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)http->low_speed_s);
	curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 256L * 1024);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, x);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, w);
	set_trust(http);
	set_proxy(http, url);
	set_method(http, req, x);
}

static int curl_failure(struct cf_http *http, CURLcode code, struct exchange *x, const char *url,
                        const char *detail)
{
	cf_cleanup(cf_freep) char *host = cf_http_url_host(url);
	const char *what = detail[0] ? detail : curl_easy_strerror(code);
	enum cf_code as = CF_UNAVAILABLE;

	(void)http;
	if (x->failed < 0)
		return x->failed; /* a callback ended it and said why */
	switch (code) {
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		as = CF_INVALID_ARGUMENT;
		break;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
		as = CF_PERMISSION_DENIED;
		break;
	case CURLE_SSL_CACERT_BADFILE:
		what = "this machine has no list of CAs (package ca-certificates), and none was "
		       "given";
		as = CF_FAILED_PRECONDITION;
		break;
	case CURLE_OUT_OF_MEMORY:
		as = CF_RESOURCE_EXHAUSTED;
		break;
	default:
		break;
	}
	return cf_fail(x->err, as, "%s: %s", host ? host : "URL", what);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static bool is_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return fd > 0 && poll(&p, 1, 0) > 0 && p.revents != 0;
}

/* Drives the transfer to its end. Sets *ret to curl's verdict. */
static int drive(struct cf_http *http, const struct cf_http_request *req, uint64_t deadline_ms,
                 CURLcode *ret, struct cf_err *err)
{
	struct curl_waitfd wait = { .fd = req->cancel_fd, .events = CURL_WAIT_POLLIN };
	int running = 1;

	while (running) {
		uint64_t now = now_ms();
		int slice = WAIT_SLICE_MS;

		if (is_readable(req->cancel_fd))
			return cf_fail(err, CF_CANCELLED, "request cancelled");
		if (deadline_ms && now >= deadline_ms)
			return cf_fail(err, CF_DEADLINE_EXCEEDED, "no answer within %u ms",
			               req->timeout_ms);
		if (deadline_ms && deadline_ms - now < (uint64_t)slice)
			slice = (int)(deadline_ms - now);
		if (curl_multi_perform(http->multi, &running) != CURLM_OK)
			return cf_fail(err, CF_INTERNAL, "libcurl failed");
		if (running)
			curl_multi_poll(http->multi, &wait, req->cancel_fd > 0 ? 1 : 0, slice,
			                NULL);
	}
	int left;
	const CURLMsg *m = curl_multi_info_read(http->multi, &left);

	*ret = m && m->msg == CURLMSG_DONE ? m->data.result : CURLE_OK;
	return 0;
}

static int do_hop(struct cf_http *http, const char *url, bool with_auth,
                  const struct cf_http_request *req, uint64_t deadline_ms, struct exchange *x)
{
	char detail[CURL_ERROR_SIZE] = "";
	struct writer w = { http, x };
	struct curl_slist *headers = request_headers(req, with_auth);
	CURLcode code = CURLE_OK;

	response_reset(x->resp);
	set_options(http, url, req, x, &w);
	curl_easy_setopt(http->easy, CURLOPT_ERRORBUFFER, detail);
	curl_easy_setopt(http->easy, CURLOPT_HTTPHEADER, headers);
	curl_multi_add_handle(http->multi, http->easy);
	int r = drive(http, req, deadline_ms, &code, x->err);

	if (r == 0)
		r = run_head(http, x); /* a 2xx without a body has not seen it yet */
	if (r == 0 && code != CURLE_OK)
		r = curl_failure(http, code, x, url, detail);
	if (r == 0)
		r = x->failed;
	x->resp->url = cf_strdup(url);
	curl_multi_remove_handle(http->multi, http->easy);
	curl_easy_setopt(http->easy, CURLOPT_HTTPHEADER, NULL);
	curl_easy_setopt(http->easy, CURLOPT_ERRORBUFFER, NULL);
	curl_slist_free_all(headers);
	return r;
}

/* ---- redirects ---- */

static bool is_redirect(unsigned status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static bool same_host(const char *a, const char *b)
{
	cf_cleanup(cf_freep) char *ha = cf_http_url_host(a);
	cf_cleanup(cf_freep) char *hb = cf_http_url_host(b);

	return ha && hb && strcmp(ha, hb) == 0;
}

/* The next URL of a redirect, or the rule that forbids it. */
static int next_url(const char *url, const struct cf_http_response *resp, char **ret,
                    struct cf_err *err)
{
	const char *location = cf_http_header(resp, "Location");

	if (!location)
		return cf_fail(err, CF_UNAVAILABLE, "status %u without a Location", resp->status);
	cf_cleanup(cf_freep) char *next = cf_http_url_join(url, location);

	if (!next)
		return cf_fail(err, CF_PERMISSION_DENIED,
		               "redirect to something that is no web address");
	if (cf_starts_with(url, "https:") && !cf_starts_with(next, "https:"))
		return cf_fail(err, CF_PERMISSION_DENIED, "redirect from https to http refused");
	*ret = cf_take(&next);
	return 0;
}

static int check_url(const char *url, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *host = NULL;

	if (strlen(url) > CF_HTTP_URL_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "URL over %d bytes", CF_HTTP_URL_MAX);
	host = cf_http_url_host(url);
	if (!host)
		return cf_fail(err, CF_INVALID_ARGUMENT, "not an http or https URL: %s", url);
	return 0;
}

int cf_http_do(struct cf_http *http, const struct cf_http_request *req,
               struct cf_http_response *ret, struct cf_err *err)
{
	uint64_t deadline_ms = req->timeout_ms ? now_ms() + req->timeout_ms : 0;
	cf_cleanup(cf_freep) char *url = cf_strdup(req->url);
	struct cf_err spare;
	int r = check_url(url, err);

	if (r < 0)
		return r;
	for (unsigned hop = 0;; hop++) {
		struct exchange x = { .req = req, .resp = ret, .err = err ? err : &spare };

		x.body_max = req->body_max ? req->body_max : CF_HTTP_BODY_MAX;
		r = do_hop(http, url, same_host(url, req->url), req, deadline_ms, &x);
		if (r < 0)
			return r;
		if (!is_redirect(ret->status) || req->no_redirects)
			return 0;
		if (hop == CF_HTTP_REDIRECTS_MAX)
			return cf_fail(err, CF_RESOURCE_EXHAUSTED, "more than %d redirects",
			               CF_HTTP_REDIRECTS_MAX);
		if (req->upload && x.uploaded > 0)
			return cf_fail(err, CF_UNAVAILABLE, "upload was redirected half-way");
		cf_cleanup(cf_freep) char *next = NULL;

		r = next_url(url, ret, &next, err);
		if (r < 0)
			return r;
		free(url);
		url = cf_take(&next);
	}
}

/* ---- small things ---- */

enum cf_code cf_http_status_code(unsigned status)
{
	static const struct {
		unsigned status;
		enum cf_code code;
	} table[] = {
		{ 400, CF_INVALID_ARGUMENT },    { 401, CF_UNAUTHENTICATED },
		{ 403, CF_PERMISSION_DENIED },   { 404, CF_NOT_FOUND },
		{ 408, CF_DEADLINE_EXCEEDED },   { 409, CF_ALREADY_EXISTS },
		{ 412, CF_FAILED_PRECONDITION }, { 413, CF_RESOURCE_EXHAUSTED },
		{ 416, CF_OUT_OF_RANGE },        { 429, CF_UNAVAILABLE },
		{ 501, CF_UNIMPLEMENTED },
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(table); i++) {
		if (table[i].status == status)
			return table[i].code;
	}
	if (status >= 500)
		return CF_UNAVAILABLE;
	return status >= 400 ? CF_INVALID_ARGUMENT : CF_UNKNOWN;
}

bool cf_http_status_retry(unsigned status)
{
	return status == 408 || status == 429 || (status >= 500 && status != 501);
}

uint64_t cf_http_retry_after_ms(const struct cf_http_response *resp, uint64_t max_ms)
{
	const char *value = cf_http_header(resp, "Retry-After");
	uint64_t seconds;

	if (!value)
		return 0;
	if (cf_parse_u64(cf_view_str(value), UINT64_MAX / 1000, &seconds, NULL) == 0)
		return CF_MIN(seconds * 1000, max_ms);
	time_t date = curl_getdate(value, NULL);
	time_t now = time(NULL);

	if (date <= now)
		return 0;
	return CF_MIN((uint64_t)(date - now) * 1000, max_ms);
}

static char *url_part(CURLU *u, CURLUPart part)
{
	char *text = NULL;
	char *copy;

	if (curl_url_get(u, part, &text, 0) != CURLUE_OK)
		return NULL;
	copy = cf_strdup(text);
	curl_free(text);
	return copy;
}

static bool is_web_scheme(CURLU *u)
{
	cf_cleanup(cf_freep) char *scheme = url_part(u, CURLUPART_SCHEME);

	return cf_streq(scheme, "http") || cf_streq(scheme, "https");
}

char *cf_http_url_host(const char *url)
{
	CURLU *u = curl_url();
	char *ret = NULL;

	if (curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK && is_web_scheme(u)) {
		cf_cleanup(cf_freep) char *host = url_part(u, CURLUPART_HOST);
		cf_cleanup(cf_freep) char *port = url_part(u, CURLUPART_PORT);

		for (char *p = host; p && *p; p++)
			*p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
		if (host)
			ret = port ? cf_asprintf("%s:%s", host, port) : cf_strdup(host);
	}
	curl_url_cleanup(u);
	return ret;
}

char *cf_http_url_join(const char *base, const char *location)
{
	CURLU *u = curl_url();
	char *ret = NULL;

	if (curl_url_set(u, CURLUPART_URL, base, 0) == CURLUE_OK &&
	    curl_url_set(u, CURLUPART_URL, location, CURLU_URLENCODE) == CURLUE_OK &&
	    is_web_scheme(u))
		ret = url_part(u, CURLUPART_URL);
	curl_url_cleanup(u);
	return ret;
}

char *cf_http_escape(const char *text)
{
	struct cf_buf b = { 0 };

	for (const char *p = text; *p; p++) {
		unsigned char c = (unsigned char)*p;
		bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
		             (c >= 'A' && c <= 'Z') || strchr("-._~", c);

		if (plain)
			cf_buf_add_byte(&b, c);
		else
			cf_buf_printf(&b, "%%%02X", c);
	}
	return cf_buf_take_str(&b);
}
