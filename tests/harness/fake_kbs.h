/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A key broker service for tests: a forked process on a loopback port that speaks just enough of the
 * protocol to check what a client sends. It judges the nonce, the report data, for "tpm" also the
 * quote's signature, extraData and the activation, and encrypts one resource to the TEE key. Link it
 * into programs that have proto/.
 */
#include "base/crypto.h"
#include "base/fd.h"
#include "proto/jose_jwe.h"
#include "proto/jose_jwk.h"
#include "proto/kbs_wire.h"
#include "proto/tpm2.h"
#include "tests/harness/test.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct fake_kbs_opts {
	const char *resource;    /* its bytes */
	int token_life_s;        /* 0: 300 */
	unsigned stale_tokens;   /* so many resource reads are answered 401 first */
	unsigned busy;           /* so many exchanges are answered 503 first */
	unsigned drop_attests;   /* so many attest connections are closed without an answer */
	const char *deny_attest; /* reason, or NULL */
	unsigned deny_resource;  /* status instead of the resource, or 0 */
	bool no_activation;      /* for "tpm": no credential is offered */
	bool no_cookie;
	const char *init_data; /* when set, must be what arrives */
};

/* Shared with the test: what happened. */
struct fake_kbs_seen {
	unsigned auths, attests, gets;
	bool was_activated, had_init_data;
	char tee[KBS_TEE_MAX + 1];
	char problem[256]; /* why an attestation was refused */
};

struct fake_kbs {
	pid_t pid;
	uint16_t port;
	char *url;
	struct fake_kbs_seen *seen;
};

struct fake_kbs_state {
	struct fake_kbs_opts opts;
	struct fake_kbs_seen *seen;
	uint8_t nonce[KBS_NONCE_SIZE];
	uint8_t credential[TPM2_CREDENTIAL];
	struct cf_buf ak;
	char *tee;
	struct cf_pkey *tee_key;
	enum jwe_alg tee_alg;
};

#define FAKE_CHECK(st, cond)                                                                       \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			snprintf((st)->seen->problem, sizeof((st)->seen->problem), "%s", #cond);   \
			return false;                                                              \
		}                                                                                  \
	} while (0)

static inline void fake_kbs_send(int fd, unsigned status, const char *extra, struct cf_view body)
{
	struct cf_buf out = { 0 };

	cf_buf_printf(&out,
	              "HTTP/1.1 %u X\r\nContent-Length: %zu\r\nContent-Type: application/json\r\n"
	              "Connection: close\r\n%s\r\n",
	              status, body.size, extra);
	cf_buf_add_view(&out, body);
	if (cf_write_all(fd, cf_buf_view(&out), NULL) < 0)
		fprintf(stderr, "fake kbs: the client went away\n");
	cf_buf_fini(&out);
}

static inline void fake_kbs_error(int fd, unsigned status, const char *variant, const char *detail)
{
	struct cf_buf body = { 0 };

	kbs_error_print(variant, detail, &body);
	fake_kbs_send(fd, status, "", cf_buf_view(&body));
	cf_buf_fini(&body);
}

/* MakeCredential for what the request names; appends the Challenge's object. */
static inline bool fake_kbs_bind(struct fake_kbs_state *st, const struct cf_json *tpm,
                                 struct cf_buf *ret)
{
	cf_cleanup(cf_cert_freep) struct cf_cert *cert = NULL;
	cf_cleanup(cf_pkey_freep) struct cf_pkey *ek = NULL;
	struct cf_buf der = { 0 }, blob = { 0 }, secret = { 0 };
	struct tpm2_public pub;
	uint8_t name[TPM2_NAME_SIZE];
	struct cf_jw w = { .out = ret };

	cf_buf_reset(&st->ak);
	FAKE_CHECK(st, cf_json_need_b64(tpm, "ek_cert", CF_B64_STD, &der, NULL) == 0);
	FAKE_CHECK(st, cf_json_need_b64(tpm, "ak_public", CF_B64_STD, &st->ak, NULL) == 0);
	FAKE_CHECK(st, cf_json_type(cf_json_get(tpm, "ek_chain")) == CF_JSON_ARRAY);
	FAKE_CHECK(st, cf_cert_parse(cf_buf_view(&der), &cert, NULL) == 0);
	FAKE_CHECK(st, cf_cert_pkey(cert, &ek, NULL) == 0);
	FAKE_CHECK(st, tpm2_public_parse(cf_buf_view(&st->ak), &pub, NULL) == 0);
	FAKE_CHECK(st, tpm2_check_attestation_key(&pub, NULL) == 0);
	FAKE_CHECK(st, tpm2_name(&pub, name, NULL) == 0);
	cf_random(st->credential, sizeof(st->credential));
	FAKE_CHECK(st, tpm2_make_credential(ek, cf_view(name, sizeof(name)),
	                                    cf_view(st->credential, sizeof(st->credential)), &blob,
	                                    &secret, NULL) == 0);
	cf_jw_obj(&w);
	cf_jw_key(&w, "credential_blob");
	cf_jw_b64(&w, CF_B64_STD, cf_buf_view(&blob));
	cf_jw_key(&w, "secret");
	cf_jw_b64(&w, CF_B64_STD, cf_buf_view(&secret));
	cf_jw_end_obj(&w);
	cf_buf_fini(&der);
	cf_buf_fini(&blob);
	cf_buf_fini(&secret);
	return true;
}

static inline void fake_kbs_auth(struct fake_kbs_state *st, int fd, struct cf_view body)
{
	struct kbs_request q = { 0 };
	struct cf_buf tpm = { 0 }, out = { 0 };
	bool good;

	st->seen->auths++;
	if (kbs_request_parse(body, &q, NULL) < 0) {
		fake_kbs_error(fd, 400, "SerdeError", "bad request");
		return;
	}
	snprintf(st->seen->tee, sizeof(st->seen->tee), "%s", q.tee);
	free(st->tee);
	st->tee = cf_strdup(q.tee);
	cf_random(st->nonce, sizeof(st->nonce));
	good = !q.tpm || st->opts.no_activation || fake_kbs_bind(st, q.tpm, &tpm);
	kbs_challenge_print(cf_view(st->nonce, sizeof(st->nonce)), cf_buf_view(&tpm), &out);
	if (good)
		fake_kbs_send(fd, 200,
		              st->opts.no_cookie
		                      ? ""
		                      : "Set-Cookie: kbs-session-id=0123456789abcdef; Path=/kbs; "
		                        "HttpOnly\r\n",
		              cf_buf_view(&out));
	else
		fake_kbs_error(fd, 401, "AttestationError", st->seen->problem);
	kbs_request_fini(&q);
	cf_buf_fini(&tpm);
	cf_buf_fini(&out);
}

static inline bool fake_kbs_judge_tpm(struct fake_kbs_state *st, const struct cf_json *ev,
                                      struct cf_view digest)
{
	const struct cf_json *quote = cf_json_get(ev, "tpm_quote"),
			     *pcrs = cf_json_get(quote, "pcrs");
	struct cf_buf msg = { 0 }, sig = { 0 }, spki = { 0 }, ak = { 0 }, act = { 0 },
		      values = { 0 };
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	struct tpm2_quote q;
	uint8_t want[32];

	FAKE_CHECK(st, cf_json_need_b64(quote, "message", CF_B64_STD, &msg, NULL) == 0);
	FAKE_CHECK(st, cf_json_need_b64(quote, "signature", CF_B64_STD, &sig, NULL) == 0);
	FAKE_CHECK(st, cf_json_need_b64(ev, "ak_public", CF_B64_STD, &spki, NULL) == 0);
	FAKE_CHECK(st, cf_pkey_parse(cf_buf_view(&spki), &key, NULL) == 0);
	FAKE_CHECK(st, tpm2_signature_verify(key, cf_buf_view(&msg), cf_buf_view(&sig), NULL) == 0);
	FAKE_CHECK(st, tpm2_quote_parse(cf_buf_view(&msg), &q, NULL) == 0);
	FAKE_CHECK(st, cf_view_eq(q.extra_data, cf_view_sub(digest, 0, 32)));
	FAKE_CHECK(st, q.pcr_mask == 0xffffff && cf_json_len(pcrs) == 24);
	for (size_t i = 0; i < 24; i++)
		FAKE_CHECK(st,
		           cf_hex_decode_buf(cf_json_str(cf_json_at(pcrs, i)), &values, NULL) == 0);
	cf_sha256(cf_buf_view(&values), want);
	FAKE_CHECK(st, cf_view_eq(q.pcr_digest, cf_view(want, 32)));
	FAKE_CHECK(st, cf_json_need_b64(ev, "ak_tpm2b", CF_B64_STD, &ak, NULL) == 0);
	FAKE_CHECK(st, cf_json_type(cf_json_get(ev, "event_log")) == CF_JSON_STRING);
	FAKE_CHECK(st, cf_json_type(cf_json_get(ev, "cmdline")) == CF_JSON_STRING);
	if (st->ak.size && !st->opts.no_activation) {
		FAKE_CHECK(st, cf_view_eq(cf_buf_view(&ak), cf_buf_view(&st->ak)));
		cf_hmac(CF_SHA256, cf_view(st->credential, sizeof(st->credential)), digest, want);
		FAKE_CHECK(st, cf_json_need_b64(ev, "activation", CF_B64_STD, &act, NULL) == 0);
		FAKE_CHECK(st, cf_equal_ct(cf_buf_view(&act), cf_view(want, 32)));
		st->seen->was_activated = true;
	} else {
		FAKE_CHECK(st, !cf_json_get(ev, "activation"));
	}
	cf_buf_fini(&msg);
	cf_buf_fini(&sig);
	cf_buf_fini(&spki);
	cf_buf_fini(&ak);
	cf_buf_fini(&act);
	cf_buf_fini(&values);
	return true;
}

static inline bool fake_kbs_judge(struct fake_kbs_state *st, const struct kbs_attestation *a)
{
	struct cf_buf nonce = { 0 }, got = { 0 };
	cf_cleanup(jwk_freep) struct jwk *jwk = NULL;
	uint8_t digest[CF_HASH_SIZE_MAX];

	cf_b64_encode(CF_B64_STD, cf_view(st->nonce, sizeof(st->nonce)), &nonce);
	FAKE_CHECK(st, cf_view_eq(a->nonce, cf_buf_view(&nonce)));
	FAKE_CHECK(st, jwk_parse(a->tee_pubkey, &jwk, NULL) == 0 && jwk->alg);
	FAKE_CHECK(st, kbs_report_data(CF_SHA384, true, a->additional_evidence, a->nonce,
	                               a->tee_pubkey, digest, NULL) == 0);
	st->seen->had_init_data = a->init_data.data != NULL;
	if (st->opts.init_data)
		FAKE_CHECK(st, cf_view_eq_str(a->init_data, st->opts.init_data));
	if (cf_streq(st->tee, "tpm")) {
		if (!fake_kbs_judge_tpm(st, a->primary_evidence, cf_view(digest, 48)))
			return false;
	} else {
		FAKE_CHECK(st, cf_json_need_b64(a->primary_evidence, "report_data", CF_B64_STD,
		                                &got, NULL) == 0);
		FAKE_CHECK(st, cf_view_eq(cf_buf_view(&got), cf_view(digest, 48)));
	}
	cf_pkey_free(st->tee_key);
	st->tee_key = cf_pkey_ref(jwk->key);
	FAKE_CHECK(st, jwe_alg_parse(cf_view_str(jwk->alg), &st->tee_alg, NULL) == 0);
	cf_buf_fini(&nonce);
	cf_buf_fini(&got);
	return true;
}

static inline void fake_kbs_attest(struct fake_kbs_state *st, int fd, struct cf_view body,
                                   bool cookie)
{
	struct kbs_attestation a = { 0 };
	struct cf_buf out = { 0 }, payload = { 0 };

	st->seen->attests++;
	if (st->opts.drop_attests) {
		st->opts.drop_attests--;
		return;
	}
	if (st->opts.deny_attest) {
		fake_kbs_error(fd, 401, "AttestationError", st->opts.deny_attest);
		return;
	}
	if (!cookie || kbs_attestation_parse(body, &a, NULL) < 0 || !fake_kbs_judge(st, &a)) {
		fprintf(stderr, "fake kbs refuses: %s\n", st->seen->problem);
		fake_kbs_error(fd, 401, "AttestationError", st->seen->problem);
		kbs_attestation_fini(&a);
		return;
	}
	cf_random(st->nonce, sizeof(st->nonce)); /* a nonce serves once */
	cf_buf_printf(&payload, "{\"iat\":1760000000,\"exp\":%d,\"n\":%u}",
	              1760000000 + (st->opts.token_life_s ? st->opts.token_life_s : 300),
	              st->seen->attests);
	cf_buf_add_str(&out, "{\"token\":\"e30.");
	cf_b64_encode(CF_B64_URL, cf_buf_view(&payload), &out);
	cf_buf_add_str(&out, ".AAAA\"}");
	fake_kbs_send(fd, 200, "", cf_buf_view(&out));
	kbs_attestation_fini(&a);
	cf_buf_fini(&out);
	cf_buf_fini(&payload);
}

static inline void fake_kbs_resource(struct fake_kbs_state *st, int fd, bool bearer)
{
	struct jwe_recipient to = { st->tee_alg, st->tee_key, NULL };
	struct cf_buf out = { 0 };

	st->seen->gets++;
	if (st->opts.stale_tokens || !bearer || !st->tee_key) {
		st->opts.stale_tokens -= st->opts.stale_tokens ? 1 : 0;
		fake_kbs_error(fd, 401, "TokenVerifierError", "token is no longer valid");
	} else if (st->opts.deny_resource) {
		fake_kbs_error(fd, st->opts.deny_resource, "PolicyDeny", "the policy says no");
	} else if (jwe_seal(JWE_FLATTENED, JWE_A256GCM, &to, 1, cf_view_str(st->opts.resource),
	                    &out, NULL) == 0) {
		fake_kbs_send(fd, 200, "", cf_buf_view(&out));
	}
	cf_buf_fini(&out);
}

/* Reads one request; the head's end and the body must arrive before the other side closes. */
static inline bool fake_kbs_read(int fd, struct cf_buf *in, struct cf_view *body)
{
	for (;;) {
		uint8_t *room = cf_buf_reserve(in, 65536);
		ssize_t n = room ? read(fd, room, 65536) : 0;

		if (n <= 0)
			return false;
		in->size += (size_t)n;
		in->data[in->size] = '\0';
		const char *end = strstr((const char *)in->data, "\r\n\r\n");
		const char *length = strcasestr((const char *)in->data, "content-length:");
		if (!end)
			continue;
		size_t head = (size_t)(end + 4 - (const char *)in->data);
		size_t want = length && length < end ? strtoul(length + 15, NULL, 10) : 0;
		if (in->size - head < want)
			continue;
		*body = cf_view(in->data + head, want);
		return true;
	}
}

static inline void fake_kbs_serve(struct fake_kbs_state *st, int fd)
{
	struct cf_buf in = { .max = 8u << 20 };
	struct cf_view body;

	if (fake_kbs_read(fd, &in, &body)) {
		const char *text = (const char *)in.data;
		bool cookie = strstr(text, "Cookie: kbs-session-id=0123456789abcdef\r\n") != NULL;
		bool bearer = strstr(text, "Authorization: Bearer e30.") != NULL;

		if (st->opts.busy) {
			st->opts.busy--;
			fake_kbs_error(fd, 503, "HTTPFailed", "busy");
		} else if (cf_after(text, "POST /kbs/v0/auth HTTP/1.1\r\n")) {
			fake_kbs_auth(st, fd, body);
		} else if (cf_after(text, "POST /kbs/v0/attest HTTP/1.1\r\n")) {
			fake_kbs_attest(st, fd, body, cookie);
		} else if (cf_after(text, "GET /kbs/v0/resource/default/key/1 HTTP/1.1\r\n")) {
			fake_kbs_resource(st, fd, bearer);
		} else {
			fake_kbs_error(fd, 404, "PluginInternalError", "no such resource");
		}
	}
	cf_buf_fini(&in);
}

static inline struct fake_kbs fake_kbs_start(const struct fake_kbs_opts *opts)
{
	struct fake_kbs k = { 0 };
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	EXPECT(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 16) == 0);
	EXPECT(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	k.port = ntohs(a.sin_port);
	k.url = cf_asprintf("http://127.0.0.1:%u", k.port);
	k.seen = mmap(NULL, sizeof(*k.seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
	              0);
	EXPECT(k.seen != MAP_FAILED);
	k.pid = fork();
	if (k.pid == 0) {
		struct fake_kbs_state st = { .opts = *opts, .seen = k.seen };

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGPIPE, SIG_IGN);
		for (;;) {
			int c = accept(fd, NULL, NULL);

			if (c < 0)
				_exit(0);
			fake_kbs_serve(&st, c);
			shutdown(c, SHUT_WR);
			close(c);
		}
	}
	close(fd);
	return k;
}

static inline void fake_kbs_stop(struct fake_kbs *k)
{
	kill(k->pid, SIGKILL);
	waitpid(k->pid, NULL, 0);
	munmap(k->seen, sizeof(*k->seen));
	free(k->url);
	*k = (struct fake_kbs){ 0 };
}
