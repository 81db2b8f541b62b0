/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A repository of a registry as an oci_source. Source: OCI distribution-spec; Docker token
 * authentication. Login happens after a 401 only; credentials go to the registry's own host and to
 * a token service that is asked over the same class of transport.
 */
#include "base/crypto.h"
#include "base/http.h"
#include "base/loop.h"
#include "proto/oci_source_ops.h"
#include "proto/registry_auth.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#define ACCEPT_DOCUMENTS                                                                           \
	"Accept: " OCI_MT_DOCKER_MANIFEST ", " OCI_MT_DOCKER_LIST ", " OCI_MT_MANIFEST             \
	", " OCI_MT_INDEX
#define PROGRESS_BYTES (1u << 20) /* a connection that brought so much earns fresh attempts */
#define TOKEN_EARLY_MS 5000
#define DOCUMENT_MS    60000

struct registry {
	struct oci_source base;
	struct cf_http *http;
	/* what oci_source_dup() needs again */
	struct oci_source_config config;
	struct cf_view *ca_pem;
	char *auth_json, *https_proxy, *http_proxy, *no_proxy;
	/* what was learnt */
	struct registry_credentials login;
	bool is_basic;
	bool is_plain; /* http:// */
	bool probed;
	bool is_writing;
	char *token;
	int64_t token_until_ms;
};

static const struct oci_source_ops registry_ops;

static bool is_loopback(const char *host)
{
	return cf_starts_with(host, "127.") || cf_starts_with(host, "[::1]") ||
	       cf_streq(host, "localhost") || cf_starts_with(host, "localhost:");
}

static void registry_free(struct oci_source *src)
{
	struct registry *r = (struct registry *)src;

	cf_http_free(r->http);
	registry_credentials_fini(&r->login);
	for (size_t i = 0; i < r->config.ca_count; i++)
		free((void *)(uintptr_t)r->ca_pem[i].data);
	free(r->ca_pem);
	if (r->auth_json)
		explicit_bzero(r->auth_json, strlen(r->auth_json));
	free(r->auth_json);
	free(r->https_proxy);
	free(r->http_proxy);
	free(r->no_proxy);
	if (r->token)
		explicit_bzero(r->token, strlen(r->token));
	free(r->token);
	free(r);
}

static char *text_of(struct cf_view v)
{
	return v.size > 0 ? cf_strndup((const char *)v.data, v.size) : cf_strdup("");
}

static void copy_config(struct registry *r, const struct oci_source_config *config)
{
	r->config = *config;
	r->ca_pem = cf_zalloc_n(config->ca_count + 1, sizeof(*r->ca_pem));
	for (size_t i = 0; i < config->ca_count; i++)
		r->ca_pem[i] = cf_view_str(
			cf_strndup((const char *)config->ca_pem[i].data, config->ca_pem[i].size));
	r->auth_json = text_of(config->auth_json);
	r->https_proxy = cf_strdup(config->https_proxy);
	r->http_proxy = cf_strdup(config->http_proxy);
	r->no_proxy = cf_strdup(config->no_proxy);
	r->config.ca_pem = r->ca_pem;
	r->config.auth_json = cf_view_str(r->auth_json);
	r->config.https_proxy = r->https_proxy;
	r->config.http_proxy = r->http_proxy;
	r->config.no_proxy = r->no_proxy;
	if (!r->config.attempts)
		r->config.attempts = OCI_SOURCE_ATTEMPTS;
	if (!r->config.backoff_ms)
		r->config.backoff_ms = OCI_SOURCE_BACKOFF_MS;
}

static int open_ref(const struct oci_ref *ref, const struct oci_source_config *config,
                    struct oci_source **ret, struct cf_err *err)
{
	struct registry *reg = cf_zalloc(sizeof(*reg));
	bool may_http = config->allow_http || config->tls_verify_off || is_loopback(ref->host);
	bool pinned = config->clock_untrusted && config->ca_count > 0;
	struct cf_http_config http = {
		.ca_pem = config->ca_pem,
		.ca_count = config->ca_count,
		.no_system_ca = pinned,
		.no_cert_times = pinned,
		.allow_http = may_http,
		.skip_tls_verify = config->tls_verify_off,
		.https_proxy = config->https_proxy,
		.http_proxy = config->http_proxy,
		.no_proxy = config->no_proxy,
	};

	reg->base = (struct oci_source){ .ops = &registry_ops, .ref = *ref, .is_registry = true };
	reg->base.is_weak = config->tls_verify_off;
	copy_config(reg, config);
	reg->config.allow_http = may_http;
	int r = cf_http_new(&http, &reg->http, err);

	if (r == 0)
		r = registry_auth_find(config->auth_json, ref, &reg->login, err);
	if (r < 0) {
		registry_free(&reg->base);
		return r;
	}
	*ret = &reg->base;
	return 0;
}

int registry_open(const char *text, const struct oci_source_config *config, struct oci_source **ret,
                  struct cf_err *err)
{
	struct oci_ref ref;
	int r = oci_ref_parse(cf_view_str(text), &ref, err);

	if (r < 0)
		return r;
	return open_ref(&ref, config, ret, err);
}

static int registry_dup(const struct oci_source *src, struct oci_source **ret, struct cf_err *err)
{
	const struct registry *from = (const struct registry *)src;
	struct oci_source *made = NULL;
	int r = open_ref(&src->ref, &from->config, &made, err);

	if (r < 0)
		return r;
	struct registry *to = (struct registry *)made;

	to->is_basic = from->is_basic;
	to->is_plain = from->is_plain;
	to->probed = from->probed;
	to->token = cf_strdup(from->token);
	to->token_until_ms = from->token_until_ms;
	made->is_weak = src->is_weak;
	*ret = made;
	return 0;
}

/* ---- waiting between attempts ---- */

/* -CF_CANCELLED when the caller gave up while we waited. */
static int wait_before(const struct registry *reg, unsigned attempt, uint64_t asked_ms,
                       struct cf_err *err)
{
	struct pollfd p = { .fd = reg->config.cancel_fd > 0 ? reg->config.cancel_fd : -1,
		            .events = POLLIN };
	uint64_t ms = (uint64_t)reg->config.backoff_ms << CF_MIN(attempt, 6u);
	uint16_t jitter;

	cf_random((uint8_t *)&jitter, sizeof(jitter));
	ms += ms * jitter / (2 * UINT16_MAX);
	ms = CF_MAX(ms, asked_ms);
	if (poll(&p, 1, (int)CF_MIN(ms, OCI_RETRY_AFTER_MAX_MS)) > 0)
		return cf_fail(err, CF_CANCELLED, "cancelled");
	return 0;
}

/* ---- login ---- */

static char *basic_value(const struct registry_credentials *c)
{
	cf_cleanup(cf_freep) char *pair =
		cf_asprintf("%s:%s", c->user, c->password ? c->password : "");
	struct cf_buf b = { 0 };

	cf_buf_add_str(&b, "Basic ");
	cf_b64_encode(CF_B64_STD, cf_view_str(pair), &b);
	explicit_bzero(pair, strlen(pair));
	return cf_buf_take_str(&b);
}

static char *authorization(const struct registry *reg)
{
	if (reg->token && cf_now_ms() < reg->token_until_ms)
		return cf_asprintf("Bearer %s", reg->token);
	if (reg->login.registry_token)
		return cf_asprintf("Bearer %s", reg->login.registry_token);
	if (reg->is_basic && reg->login.user)
		return basic_value(&reg->login);
	return NULL;
}

static int ask_token(struct registry *reg, const struct registry_challenge *c,
                     struct cf_http_response *resp, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *scope = cf_asprintf("repository:%s:%s", reg->base.ref.repo,
	                                               reg->is_writing ? "pull,push" : "pull");
	cf_cleanup(cf_freep) char *scope_q = cf_http_escape(scope);
	cf_cleanup(cf_freep) char *service_q = cf_http_escape(c->service ? c->service : "");
	cf_cleanup(cf_freep) char *url = NULL;
	cf_cleanup(cf_freep) char *auth = NULL;
	cf_cleanup(cf_freep) char *form = NULL;
	struct cf_strv headers = { 0 };
	struct cf_http_request req = { .timeout_ms = DOCUMENT_MS,
		                       .cancel_fd = reg->config.cancel_fd };

	if (reg->login.identity_token) {
		cf_cleanup(cf_freep) char *token_q = cf_http_escape(reg->login.identity_token);

		form = cf_asprintf("grant_type=refresh_token&client_id=coffer&service=%s&scope=%s"
		                   "&refresh_token=%s",
		                   service_q, scope_q, token_q);
		cf_strv_add(&headers, "Content-Type: application/x-www-form-urlencoded");
		req.method = "POST";
		req.body = cf_view_str(form);
		req.headers = &headers;
		req.url = c->realm;
	} else {
		url = cf_asprintf("%s%sscope=%s%s%s", c->realm, strchr(c->realm, '?') ? "&" : "?",
		                  scope_q, c->service ? "&service=" : "",
		                  c->service ? service_q : "");
		auth = reg->login.user ? basic_value(&reg->login) : NULL;
		req.url = url;
		req.authorization = auth;
	}
	int r = cf_http_do(reg->http, &req, resp, err);

	if (auth)
		explicit_bzero(auth, strlen(auth));
	if (form)
		explicit_bzero(form, strlen(form));
	cf_strv_fini(&headers);
	return r;
}

static int get_token(struct registry *reg, const struct registry_challenge *c, struct cf_err *err)
{
	struct cf_http_response resp = { 0 };
	uint64_t ttl_s = 0;
	char *token = NULL;

	/* A realm in clear is fine only for a registry in clear. */
	if (!reg->is_plain && !cf_starts_with(c->realm, "https://"))
		return cf_fail(err, CF_PERMISSION_DENIED,
		               "registry sends us to a token service without TLS");
	int r = ask_token(reg, c, &resp, err);

	if (r == 0 && resp.status != 200)
		r = cf_fail(err, cf_http_status_code(resp.status),
		            "token service of %s answers %u: Not authorized", reg->base.ref.host,
		            resp.status);
	if (r == 0)
		r = registry_token_parse(cf_http_body(&resp), &token, &ttl_s, err);
	cf_buf_wipe(&resp.body);
	cf_http_response_fini(&resp);
	if (r < 0)
		return r;
	free(reg->token);
	reg->token = token;
	reg->token_until_ms = cf_now_ms() + (int64_t)ttl_s * 1000 - TOKEN_EARLY_MS;
	return 0;
}

static int not_authorized(const struct registry *reg, const struct cf_http_response *resp,
                          struct cf_err *err)
{
	return cf_fail(err, CF_UNAUTHENTICATED, "Not authorized: url %s%s", resp->url,
	               reg->login.user ? "" : " (no credentials for this registry)");
}

/* After a 401. 0: try again with what was learnt. */
static int log_in(struct registry *reg, const struct cf_http_response *resp, struct cf_err *err)
{
	const char *header = cf_http_header(resp, "WWW-Authenticate");
	struct registry_challenge c = { 0 };
	int r = 0;

	if (!header)
		return not_authorized(reg, resp, err);
	r = registry_challenge_parse(cf_view_str(header), &c, err);
	if (r < 0)
		return r;
	if (c.bearer)
		r = get_token(reg, &c, err);
	else if (reg->is_basic || !reg->login.user)
		r = not_authorized(reg, resp, err);
	else
		reg->is_basic = true;
	registry_challenge_fini(&c);
	return r;
}

/* ---- one request, with login and repetition ---- */

static char *api_url(const struct registry *reg, const char *rest)
{
	return cf_asprintf("http%s://%s/v2%s", reg->is_plain ? "" : "s",
	                   oci_ref_api_host(&reg->base.ref), rest);
}

/* Which scheme the registry speaks, where plain HTTP may be spoken at all. */
static int probe(struct registry *reg, struct cf_err *err)
{
	struct cf_http_response resp = { 0 };
	struct cf_http_request req = { .timeout_ms = DOCUMENT_MS,
		                       .no_redirects = true,
		                       .cancel_fd = reg->config.cancel_fd };

	if (reg->probed || !reg->config.allow_http) {
		reg->probed = true;
		return 0;
	}
	cf_cleanup(cf_freep) char *tls = cf_asprintf("https://%s/v2/", reg->base.ref.host);
	cf_cleanup(cf_freep) char *plain = cf_asprintf("http://%s/v2/", reg->base.ref.host);
	struct cf_err ignored;

	req.url = tls;
	int r = cf_http_do(reg->http, &req, &resp, err);

	if (r == -CF_UNAVAILABLE) {
		req.url = plain;
		reg->is_plain = cf_http_do(reg->http, &req, &resp, &ignored) == 0;
		r = reg->is_plain ? 0 : r;
	}
	cf_http_response_fini(&resp);
	if (r < 0)
		return r;
	reg->probed = true;
	reg->base.is_weak |= reg->is_plain;
	return 0;
}

/*
 * Sends @req (its url, authorization and cancel_fd are set here) to @url; a 401 is answered by
 * logging in once. Any other status is the caller's.
 */
static int send_once(struct registry *reg, const char *url, struct cf_http_request *req,
                     struct cf_http_response *resp, struct cf_err *err)
{
	for (int tries = 0;; tries++) {
		cf_cleanup(cf_freep) char *auth = authorization(reg);

		req->url = url;
		req->authorization = auth;
		req->cancel_fd = reg->config.cancel_fd;
		int r = cf_http_do(reg->http, req, resp, err);

		if (auth)
			explicit_bzero(auth, strlen(auth));
		req->authorization = NULL;
		if (r < 0)
			return r;
		if (resp->status != 401)
			return 0;
		if (tries > 0)
			return not_authorized(reg, resp, err);
		r = log_in(reg, resp, err);
		if (r < 0)
			return r;
	}
}

static int status_failure(const struct cf_http_response *resp, struct cf_err *err)
{
	return cf_fail(err, cf_http_status_code(resp->status), "registry answers %u: url %s",
	               resp->status, resp->url);
}

/* Repeats @req while that may help. */
static int send_patiently(struct registry *reg, const char *rest, struct cf_http_request *req,
                          struct cf_http_response *resp, struct cf_err *err)
{
	int r = probe(reg, err);

	if (r < 0)
		return r;
	cf_cleanup(cf_freep) char *url = api_url(reg, rest);

	for (unsigned attempt = 1;; attempt++) {
		uint64_t asked_ms = 0;

		r = send_once(reg, url, req, resp, err);
		if (r == 0 && !cf_http_status_retry(resp->status))
			return 0;
		if (r < 0 && r != -CF_UNAVAILABLE)
			return r;
		if (r == 0) {
			asked_ms = cf_http_retry_after_ms(resp, OCI_RETRY_AFTER_MAX_MS);
			r = status_failure(resp, err);
		}
		if (attempt >= reg->config.attempts)
			return r;
		r = wait_before(reg, attempt - 1, asked_ms, err);
		if (r < 0)
			return r;
	}
}

/* ---- documents ---- */

static int take_document(struct cf_http_response *resp, struct oci_document_bytes *ret,
                         struct cf_err *err)
{
	const char *said = cf_http_header(resp, "Docker-Content-Digest");
	const char *type = cf_http_header(resp, "Content-Type");

	if (said) {
		int r = oci_digest_parse(cf_view_str(said), &ret->digest, err);

		if (r < 0)
			return cf_wrap(err, r, "Docker-Content-Digest");
	}
	ret->media_type = type ? cf_strndup(type, strcspn(type, "; \t")) : NULL;
	ret->bytes = resp->body;
	resp->body = (struct cf_buf){ 0 };
	return 0;
}

static int get_document(struct registry *reg, const char *rest, const char *accept,
                        struct oci_document_bytes *ret, struct cf_err *err)
{
	struct cf_http_response resp = { 0 };
	struct cf_strv headers = { 0 };
	struct cf_http_request req = { .headers = &headers,
		                       .body_max = OCI_MANIFEST_SIZE_MAX,
		                       .timeout_ms = DOCUMENT_MS };

	cf_strv_add(&headers, accept);
	int r = send_patiently(reg, rest, &req, &resp, err);

	if (r == 0 && resp.status != 200)
		r = status_failure(&resp, err);
	if (r == 0)
		r = take_document(&resp, ret, err);
	cf_http_response_fini(&resp);
	cf_strv_fini(&headers);
	return r;
}

static int registry_document(struct oci_source *src, const char *target,
                             struct oci_document_bytes *ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *rest = cf_asprintf("/%s/manifests/%s", src->ref.repo, target);
	int r = get_document((struct registry *)src, rest, ACCEPT_DOCUMENTS, ret, err);

	if (r < 0)
		return cf_wrap(err, r, "manifest %s/%s", src->ref.host, src->ref.repo);
	return 0;
}

static int registry_referrers(struct oci_source *src, const struct oci_digest *digest,
                              struct oci_document_bytes *ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *rest =
		cf_asprintf("/%s/referrers/%s", src->ref.repo, digest->text);

	return get_document((struct registry *)src, rest, "Accept: " OCI_MT_INDEX, ret, err);
}

/* ---- blobs ---- */

struct download {
	struct registry *reg;
	oci_sink *sink;
	void *arg;
	uint64_t done;  /* bytes that the sink has */
	uint64_t skip;  /* bytes of this response that it has already */
	uint64_t asked; /* what Range asked for */
	bool sink_failed;
};

/* "bytes A-B/N": does it begin at @from? */
static bool range_begins_at(const char *content_range, uint64_t from)
{
	const char *rest = content_range ? cf_after(content_range, "bytes ") : NULL;
	uint64_t first;

	if (!rest)
		return false;
	return cf_parse_u64(cf_view(rest, strcspn(rest, "-")), UINT64_MAX, &first, NULL) == 0 &&
	       first == from;
}

static int download_head(void *arg, const struct cf_http_response *resp, struct cf_err *err)
{
	struct download *d = arg;

	d->skip = resp->status == 206 ? 0 : d->asked; /* Range ignored: all from the start again */
	if (resp->status == 206 && d->asked > 0 &&
	    !range_begins_at(cf_http_header(resp, "Content-Range"), d->asked))
		return cf_fail(err, CF_DATA_LOSS, "registry sends another range than asked for");
	return 0;
}

static int download_piece(void *arg, struct cf_view piece, struct cf_err *err)
{
	struct download *d = arg;

	if (d->skip >= piece.size) {
		d->skip -= piece.size;
		return 0;
	}
	piece = cf_view_sub(piece, d->skip, SIZE_MAX);
	d->skip = 0;
	int r = d->sink(d->arg, piece, err);

	d->sink_failed = r < 0;
	d->done += piece.size;
	return r;
}

static int registry_blob(struct oci_source *src, const struct oci_descriptor *desc, oci_sink *sink,
                         void *arg, struct cf_err *err)
{
	struct registry *reg = (struct registry *)src;
	struct download d = { .reg = reg, .sink = sink, .arg = arg };
	cf_cleanup(cf_freep) char *rest =
		cf_asprintf("/%s/blobs/%s", src->ref.repo, desc->digest.text);
	int r = probe(reg, err);
	unsigned attempt = 0;

	if (r < 0)
		return r;
	cf_cleanup(cf_freep) char *url = api_url(reg, rest);

	for (;;) {
		struct cf_http_response resp = { 0 };
		struct cf_http_request req = { .head = download_head,
			                       .sink = download_piece,
			                       .arg = &d,
			                       .range_from = d.done };
		uint64_t before = d.done, asked_ms = 0;

		d.asked = d.done;
		r = send_once(reg, url, &req, &resp, err);
		bool again = r == -CF_UNAVAILABLE || (r == 0 && cf_http_status_retry(resp.status));

		if (again)
			asked_ms = cf_http_retry_after_ms(&resp, OCI_RETRY_AFTER_MAX_MS);
		/* All of it is here, only the goodbye was lost. */
		if (r == -CF_UNAVAILABLE && !d.sink_failed && d.done == desc->size)
			r = 0, again = false;
		else if (r == 0 && resp.status >= 300)
			r = status_failure(&resp, err);
		cf_http_response_fini(&resp);
		if (!again || d.sink_failed)
			return r;
		attempt = d.done - before >= PROGRESS_BYTES ? 1 : attempt + 1;
		if (attempt >= reg->config.attempts)
			return r;
		r = wait_before(reg, attempt - 1, asked_ms, err);
		if (r < 0)
			return r;
	}
}

/* ---- writing ---- */

static int registry_has_blob(struct oci_source *src, const struct oci_descriptor *d, bool *ret,
                             struct cf_err *err)
{
	struct registry *reg = (struct registry *)src;
	cf_cleanup(cf_freep) char *rest =
		cf_asprintf("/%s/blobs/%s", src->ref.repo, d->digest.text);
	struct cf_http_request req = { .method = "HEAD", .timeout_ms = DOCUMENT_MS };
	struct cf_http_response resp = { 0 };

	reg->is_writing = true;
	int r = send_patiently(reg, rest, &req, &resp, err);

	if (r == 0 && resp.status != 200 && resp.status != 404)
		r = status_failure(&resp, err);
	*ret = r == 0 && resp.status == 200;
	cf_http_response_fini(&resp);
	return r;
}

static ssize_t upload_fd(void *arg, uint8_t *buf, size_t size, struct cf_err *err)
{
	ssize_t n = read(*(const int *)arg, buf, size);

	if (n < 0)
		return cf_fail_errno(err, errno, "read blob");
	return n;
}

/* Where this upload goes on: Location, with the digest as a query argument. */
static int upload_url(const struct cf_http_response *resp, const struct oci_digest *digest,
                      char **ret, struct cf_err *err)
{
	const char *location = cf_http_header(resp, "Location");
	cf_cleanup(cf_freep) char *base = location ? cf_http_url_join(resp->url, location) : NULL;
	cf_cleanup(cf_freep) char *digest_q = cf_http_escape(digest->text);
	cf_cleanup(cf_freep) char *from = cf_http_url_host(resp->url);
	cf_cleanup(cf_freep) char *to = base ? cf_http_url_host(base) : NULL;

	if (!base)
		return cf_fail(err, CF_UNAVAILABLE, "registry names no place for the upload");
	if (!cf_streq(from, to)) /* our credentials go with it */
		return cf_fail(err, CF_PERMISSION_DENIED, "upload is sent to another host: %s", to);
	*ret = cf_asprintf("%s%sdigest=%s", base, strchr(base, '?') ? "&" : "?", digest_q);
	return 0;
}

static int put_content(struct registry *reg, const char *url, const struct oci_descriptor *d,
                       int fd, struct cf_http_response *resp, struct cf_err *err)
{
	struct cf_strv headers = { 0 };
	struct cf_http_request req = { .method = "PUT",
		                       .headers = &headers,
		                       .upload = upload_fd,
		                       .upload_size = d->size,
		                       .arg = &fd };

	cf_strv_add(&headers, "Content-Type: application/octet-stream");
	int r = send_once(reg, url, &req, resp, err);

	if (r == 0 && resp->status != 201)
		r = status_failure(resp, err);
	cf_strv_fini(&headers);
	return r;
}

static int registry_put_blob(struct oci_source *src, const struct oci_descriptor *d, int fd,
                             struct cf_err *err)
{
	struct registry *reg = (struct registry *)src;
	cf_cleanup(cf_freep) char *rest = cf_asprintf("/%s/blobs/uploads/", src->ref.repo);
	cf_cleanup(cf_freep) char *url = NULL;
	struct cf_http_request post = { .method = "POST", .timeout_ms = DOCUMENT_MS };
	struct cf_http_response resp = { 0 };
	int r = send_patiently(reg, rest, &post, &resp, err);

	if (r == 0 && resp.status != 202)
		r = status_failure(&resp, err);
	if (r == 0)
		r = upload_url(&resp, &d->digest, &url, err);
	cf_http_response_fini(&resp);
	if (r == 0)
		r = put_content(reg, url, d, fd, &resp, err);
	cf_http_response_fini(&resp);
	if (r < 0)
		return cf_wrap(err, r, "push %s", d->digest.text);
	return 0;
}

static int registry_put_document(struct oci_source *src, const char *media_type,
                                 struct cf_view bytes, const struct oci_digest *digest,
                                 const char *tag, struct cf_err *err)
{
	struct registry *reg = (struct registry *)src;
	cf_cleanup(cf_freep) char *rest =
		cf_asprintf("/%s/manifests/%s", src->ref.repo, tag && tag[0] ? tag : digest->text);
	struct cf_http_response resp = { 0 };
	struct cf_strv headers = { 0 };
	struct cf_http_request req = {
		.method = "PUT", .headers = &headers, .body = bytes, .timeout_ms = DOCUMENT_MS
	};

	reg->is_writing = true;
	cf_strv_addf(&headers, "Content-Type: %s", media_type);
	int r = send_patiently(reg, rest, &req, &resp, err);

	if (r == 0 && resp.status != 201)
		r = status_failure(&resp, err);
	cf_http_response_fini(&resp);
	cf_strv_fini(&headers);
	return r < 0 ? cf_wrap(err, r, "push manifest") : 0;
}

static void registry_set_cancel(struct oci_source *src, int fd)
{
	((struct registry *)src)->config.cancel_fd = fd;
}

static const struct oci_source_ops registry_ops = {
	.dup = registry_dup,
	.set_cancel = registry_set_cancel,
	.free = registry_free,
	.document = registry_document,
	.referrers = registry_referrers,
	.blob = registry_blob,
	.has_blob = registry_has_blob,
	.put_blob = registry_put_blob,
	.put_document = registry_put_document,
};
