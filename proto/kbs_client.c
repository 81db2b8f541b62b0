/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/kbs_client.h"

#include "base/loop.h"
#include "proto/jose_jwe.h"
#include "proto/jose_jwk.h"

#include <poll.h>

#define COOKIE_MAX 512u

struct kbs_server {
	struct cf_http *http;
	char *base; /* without a slash at its end */
	unsigned timeout_ms;
	int cancel_fd;
};

struct kbs_client {
	struct kbs_server *server;
	kbs_token_fn *get_token;
	void *arg;
	struct kbs_token token;
};

/* ---- the server ---- */

int kbs_server_new(const struct kbs_server_config *config, struct kbs_server **ret,
                   struct cf_err *err)
{
	cf_cleanup(kbs_server_freep) struct kbs_server *s = cf_zalloc(sizeof(*s));
	cf_cleanup(cf_freep) char *host = config->url ? cf_http_url_host(config->url) : NULL;
	bool pinned = config->ca_pem.size > 0;
	struct cf_http_config http = {
		.ca_pem = &config->ca_pem,
		.ca_count = pinned ? 1 : 0,
		.no_system_ca = pinned,
		.no_cert_times = pinned && config->clock_untrusted,
		.allow_http = config->url && cf_starts_with(config->url, "http://"),
	};

	if (!host || strchr(config->url, '?') || strchr(config->url, '#'))
		return cf_fail(err, CF_INVALID_ARGUMENT, "KBS: \"%s\" is no http(s) URL",
		               config->url ? config->url : "");
	s->base = cf_strdup(config->url);
	for (size_t n = strlen(s->base); n > 0 && s->base[n - 1] == '/'; n--)
		s->base[n - 1] = '\0';
	s->timeout_ms = config->timeout_ms ? config->timeout_ms : KBS_HTTP_TIMEOUT_MS;
	s->cancel_fd = config->cancel_fd;
	int r = cf_http_new(&http, &s->http, err);
	if (r < 0)
		return cf_wrap(err, r, "KBS %s", s->base);
	*ret = cf_take(&s);
	return 0;
}

struct kbs_server *kbs_server_free(struct kbs_server *s)
{
	if (!s)
		return NULL;
	cf_http_free(s->http);
	free(s->base);
	free(s);
	return NULL;
}

/* Waits before another try; a cancel ends the wait. */
static void back_off(const struct kbs_server *s, unsigned ms)
{
	struct pollfd p = { .fd = s->cancel_fd, .events = POLLIN };

	poll(&p, s->cancel_fd > 0 ? 1 : 0, (int)ms);
}

/* One exchange; @tries > 1 where repeating it does no harm. */
static int exchange(struct kbs_server *s, struct cf_http_request *req, const char *path,
                    unsigned tries, struct cf_http_response *resp, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *url = cf_asprintf("%s/kbs/v0/%s", s->base, path);
	int64_t until = cf_now_ms() + s->timeout_ms;
	unsigned wait_ms = KBS_BACKOFF_MS;
	int r = 0;

	req->url = url;
	req->no_redirects = true;
	req->cancel_fd = s->cancel_fd;
	for (unsigned try = 1;; try++, wait_ms *= 2) {
		int64_t left = until - cf_now_ms();

		req->timeout_ms = left > 1 ? (unsigned)left : 1;
		r = cf_http_do(s->http, req, resp, err);
		if (r != -CF_UNAVAILABLE && !(r == 0 && cf_http_status_retry(resp->status)))
			break;
		if (try >= tries || left <= wait_ms)
			break;
		back_off(s, wait_ms);
	}
	return r < 0 ? cf_wrap(err, r, "KBS %s", s->base) : 0;
}

/* ---- the handshake ---- */

int kbs_tee_key_parse(const char *name, enum kbs_tee_key *ret, struct cf_err *err)
{
	static const char *const names[] = {
		[KBS_KEY_P256] = "ECDH-ES+A256KW-P256",
		[KBS_KEY_P521] = "ECDH-ES+A256KW-P521",
		[KBS_KEY_RSA] = "RSA-OAEP-256",
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(names); i++) {
		if (cf_streq(name, names[i])) {
			*ret = (enum kbs_tee_key)i;
			return 0;
		}
	}
	return cf_fail(err, CF_INVALID_ARGUMENT, "tee_key_algorithm \"%s\" is not known", name);
}

static int make_key(enum kbs_tee_key kind, struct cf_pkey **ret, struct cf_buf *jwk,
                    struct cf_err *err)
{
	static const struct {
		enum cf_pkey_kind kind;
		unsigned bits;
		const char *alg;
	} rows[] = {
		[KBS_KEY_P256] = { CF_PKEY_EC_P256, 0, "ECDH-ES+A256KW" },
		[KBS_KEY_P521] = { CF_PKEY_EC_P521, 0, "ECDH-ES+A256KW" },
		[KBS_KEY_RSA] = { CF_PKEY_RSA, 3072, "RSA-OAEP-256" },
	};
	struct cf_jw w = { .out = jwk };
	int r = cf_pkey_generate(rows[kind].kind, rows[kind].bits, ret, err);

	if (r < 0)
		return cf_wrap(err, r, "TEE key");
	cf_jw_obj(&w);
	r = jwk_write_public(&w, *ret, rows[kind].alg, err);
	cf_jw_end_obj(&w);
	return r;
}

/* "name=value" of the session cookie; other attributes and cookies do not matter. */
static int take_cookie(const struct cf_http_response *resp, char **ret, struct cf_err *err)
{
	const char *text = cf_http_header(resp, "Set-Cookie");
	size_t n = text ? strcspn(text, ";") : 0;

	if (n == 0 || n > COOKIE_MAX || !memchr(text, '=', n))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "the answer to auth sets no session cookie");
	*ret = cf_asprintf("Cookie: %.*s", (int)n, text);
	return 0;
}

static int refused(const struct kbs_server *s, const char *step,
                   const struct cf_http_response *resp, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *reason = kbs_error_text(cf_http_body(resp));
	enum cf_code code = resp->status >= 400 && resp->status != 401 && resp->status != 403
	                            ? cf_http_status_code(resp->status)
	                            : CF_UNAUTHENTICATED;

	return cf_fail(err, code, "KBS %s: %s refused (%u): %s", s->base, step, resp->status,
	               reason);
}

static int post(struct kbs_server *s, const char *step, struct cf_view body, const char *cookie,
                struct cf_http_response *resp, struct cf_err *err)
{
	struct cf_strv headers = { 0 };
	struct cf_http_request req = {
		.method = "POST",
		.headers = &headers,
		.body = body,
		.body_max = KBS_MESSAGE_MAX,
	};
	int r;

	cf_strv_add(&headers, "Content-Type: application/json");
	if (cookie)
		cf_strv_add(&headers, cookie);
	r = exchange(s, &req, step, 1, resp, err);
	cf_strv_fini(&headers);
	if (r == 0 && resp->status != 200)
		r = refused(s, step, resp, err);
	return r;
}

static int do_auth(struct kbs_server *s, const struct kbs_evidence_source *source, char **cookie,
                   struct kbs_challenge *ret, struct cf_err *err)
{
	struct cf_http_response resp = { 0 };
	struct cf_buf binding = { 0 }, body = { 0 };
	int r = source->binding ? source->binding(source->arg, &binding, err) : 0;

	if (r == 0) {
		kbs_request_print(source->tee, cf_buf_view(&binding), &body);
		r = cf_buf_check(&body, "Request", err);
	}
	if (r == 0)
		r = post(s, "auth", cf_buf_view(&body), NULL, &resp, err);
	if (r == 0)
		r = take_cookie(&resp, cookie, err);
	if (r == 0)
		r = kbs_challenge_parse(cf_http_body(&resp), ret, err);
	cf_http_response_fini(&resp);
	cf_buf_fini(&binding);
	cf_buf_fini(&body);
	return r;
}

static int make_attestation(const struct kbs_evidence_source *source,
                            const struct kbs_challenge *challenge, struct cf_view jwk,
                            struct cf_buf *ret, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *pubkey = NULL;
	uint8_t digest[CF_HASH_SIZE_MAX];
	struct cf_buf evidence = { 0 };
	struct cf_view none = cf_view_str("");
	int r = cf_json_parse(jwk, 0, &pubkey, err);

	if (r == 0)
		r = kbs_report_data(challenge->hash, true, none, challenge->nonce, pubkey, digest,
		                    err);
	if (r == 0)
		r = source->evidence(source->arg, cf_view(digest, cf_hash_size(challenge->hash)),
		                     challenge->tpm, &evidence, err);
	if (r == 0) {
		const struct kbs_attestation_parts parts = {
			.init_data = source->init_data,
			.nonce = challenge->nonce,
			.tee_pubkey = jwk,
			.primary_evidence = cf_buf_view(&evidence),
			.additional_evidence = none,
		};

		kbs_attestation_print(&parts, ret);
		r = cf_buf_check(ret, "Attestation", err);
	}
	cf_buf_fini(&evidence);
	return r;
}

static int do_attest(struct kbs_server *s, const struct kbs_evidence_source *source,
                     const struct kbs_challenge *challenge, const char *cookie, struct cf_view jwk,
                     char **ret_token, struct cf_err *err)
{
	struct cf_http_response resp = { 0 };
	struct cf_buf body = { .max = KBS_MESSAGE_MAX };
	int r = make_attestation(source, challenge, jwk, &body, err);

	if (r == 0)
		r = post(s, "attest", cf_buf_view(&body), cookie, &resp, err);
	if (r == 0)
		r = kbs_token_parse(cf_http_body(&resp), ret_token, err);
	cf_http_response_fini(&resp);
	cf_buf_fini(&body);
	return r;
}

static int handshake(struct kbs_server *s, const struct kbs_evidence_source *source,
                     struct cf_view jwk, char **ret_token, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *cookie = NULL;
	struct kbs_challenge challenge = { 0 };
	int r = do_auth(s, source, &cookie, &challenge, err);

	if (r == 0)
		r = do_attest(s, source, &challenge, cookie, jwk, ret_token, err);
	kbs_challenge_fini(&challenge);
	return r;
}

/* A nonce serves once, so what the network cut short begins again with a new one. */
static int handshakes(struct kbs_server *s, const struct kbs_evidence_source *source,
                      struct cf_view jwk, char **ret_token, struct cf_err *err)
{
	int64_t until = cf_now_ms() + s->timeout_ms;
	unsigned wait_ms = KBS_BACKOFF_MS;

	for (unsigned try = 1;; try++, wait_ms *= 2) {
		int r = handshake(s, source, jwk, ret_token, err);

		if (r != -CF_UNAVAILABLE || try >= KBS_TRIES_MAX || until - cf_now_ms() <= wait_ms)
			return r;
		back_off(s, wait_ms);
	}
}

int kbs_attest(struct kbs_server *s, const struct kbs_evidence_source *source,
               enum kbs_tee_key kind, struct kbs_token *ret, struct cf_err *err)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	struct kbs_token t = { 0 };
	struct cf_buf jwk = { 0 };
	int r = make_key(kind, &key, &jwk, err);

	if (r == 0)
		r = handshakes(s, source, cf_buf_view(&jwk), &t.text, err);
	cf_buf_fini(&jwk);
	if (r < 0)
		return r;

	int64_t life_s = kbs_token_lifetime(t.text);

	t.key = cf_take(&key);
	t.expires_ms = life_s ? cf_now_ms() + life_s * 1000 : 0;
	*ret = t;
	return 0;
}

/* ---- tokens ---- */

void kbs_token_fini(struct kbs_token *t)
{
	if (t->text)
		explicit_bzero(t->text, strlen(t->text));
	free(t->text);
	cf_pkey_free(t->key);
	*t = (struct kbs_token){ 0 };
}

bool kbs_token_is_fresh(const struct kbs_token *t)
{
	return t->text && cf_now_ms() < t->expires_ms - KBS_TOKEN_MARGIN_S * 1000;
}

int kbs_token_print(const struct kbs_token *t, struct cf_buf *ret, struct cf_err *err)
{
	struct cf_jw w = { .out = ret };
	struct cf_buf pem = { 0 };
	int r = cf_pkey_to_pem(t->key, true, &pem, err);

	if (r == 0) {
		cf_jw_obj(&w);
		cf_jw_kstr(&w, "token", t->text);
		cf_jw_kview(&w, "tee_keypair", cf_buf_view(&pem));
		cf_jw_end_obj(&w);
		r = cf_buf_check(ret, "token", err);
	}
	cf_buf_wipe(&pem);
	return r;
}

int kbs_token_read(struct cf_view text, struct kbs_token *ret, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *j = NULL;
	struct kbs_token t = { 0 };
	struct cf_view pem;
	int r = cf_json_parse(text, KBS_MESSAGE_MAX, &j, err);

	if (r == 0)
		r = cf_json_need_str(j, "tee_keypair", &pem, err);
	if (r == 0)
		r = cf_json_dup_str(j, "token", &t.text, err);
	if (r == 0)
		r = cf_pkey_parse(pem, &t.key, err);
	if (r == 0 && !cf_pkey_is_private(t.key))
		r = cf_fail(err, CF_INVALID_ARGUMENT, "tee_keypair holds no private key");
	if (r < 0) {
		kbs_token_fini(&t);
		return cf_wrap(err, r, "attestation token");
	}

	int64_t life_s = kbs_token_lifetime(t.text);

	/* Its age is not known here; the server's 401 corrects a guess that is too long. */
	t.expires_ms = life_s ? cf_now_ms() + life_s * 1000 : 0;
	*ret = t;
	return 0;
}

/* ---- resources ---- */

struct kbs_client *kbs_client_new(struct kbs_server *server, kbs_token_fn *get_token, void *arg)
{
	struct kbs_client *c = cf_zalloc(sizeof(*c));

	c->server = server;
	c->get_token = get_token;
	c->arg = arg;
	return c;
}

struct kbs_client *kbs_client_free(struct kbs_client *c)
{
	if (!c)
		return NULL;
	kbs_token_fini(&c->token);
	free(c);
	return NULL;
}

static int need_token(struct kbs_client *c, bool renew, struct cf_err *err)
{
	struct kbs_token t = { 0 };

	if (!renew && kbs_token_is_fresh(&c->token))
		return 0;
	int r = c->get_token(c->arg, renew, &t, err);
	if (r < 0)
		return r;
	kbs_token_fini(&c->token);
	c->token = t;
	return 0;
}

/* The token goes into a header: only what a JWT is made of may stand in it. */
static int check_token_text(const char *text, struct cf_err *err)
{
	if (text[strspn(text,
	                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=")])
		return cf_fail(err, CF_INVALID_ARGUMENT, "the attestation token is no JWT");
	return 0;
}

static int fetch(struct kbs_client *c, const char *path, struct cf_http_response *resp,
                 struct cf_err *err)
{
	struct cf_http_request req = { .body_max = KBS_RESOURCE_MAX };
	int r = check_token_text(c->token.text, err);

	if (r < 0)
		return r;

	char *bearer = cf_asprintf("Bearer %s", c->token.text);

	req.authorization = bearer;
	r = exchange(c->server, &req, path, KBS_TRIES_MAX, resp, err);
	explicit_bzero(bearer, strlen(bearer));
	free(bearer);
	return r;
}

static int denied(const struct kbs_client *c, const char *path, const struct cf_http_response *resp,
                  struct cf_err *err)
{
	cf_cleanup(cf_freep) char *reason = kbs_error_text(cf_http_body(resp));
	enum cf_code code = resp->status >= 400 ? cf_http_status_code(resp->status) : CF_UNKNOWN;

	if (code == CF_UNAUTHENTICATED)
		code = CF_PERMISSION_DENIED;
	return cf_fail(err, code, "KBS %s: %s was not released (%u): %s", c->server->base, path,
	               resp->status, reason);
}

static int open_answer(const struct kbs_client *c, const char *path,
                       const struct cf_http_response *resp, struct cf_buf *ret, struct cf_err *err)
{
	const struct cf_pkey *keys[] = { c->token.key };
	int r = jwe_open(cf_http_body(resp), keys, 1, JWE_RETRY_REORDERED, ret, err);

	return r < 0 ? cf_wrap(err, r, "KBS %s: %s does not open with this guest's key",
	                       c->server->base, path)
	             : 0;
}

/* Rounds of fetching: a token that the server no longer takes is replaced. */
static int get_path(struct kbs_client *c, const char *path, struct cf_buf *ret, struct cf_err *err)
{
	struct cf_http_response resp = { 0 };
	int r = 0;

	for (unsigned round = 1;; round++) {
		r = need_token(c, round > 1, err);
		if (r == 0)
			r = fetch(c, path, &resp, err);
		if (r < 0 || resp.status != 401 || round >= KBS_ROUNDS_MAX)
			break;
	}
	if (r == 0 && resp.status != 200)
		r = denied(c, path, &resp, err);
	if (r == 0)
		r = open_answer(c, path, &resp, ret, err);
	cf_http_response_fini(&resp);
	return r;
}

int kbs_client_get(struct kbs_client *c, struct cf_view uri, struct cf_buf *ret, struct cf_err *err)
{
	struct kbs_uri u = { 0 };
	int r = kbs_uri_parse(uri, &u, err);

	if (r < 0)
		return r;
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s%s%s", u.plugin, u.path,
	                                              u.query ? "?" : "", u.query ? u.query : "");
	kbs_uri_fini(&u);
	return get_path(c, path, ret, err);
}
