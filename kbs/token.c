/* SPDX-License-Identifier: Apache-2.0 */
#include "kbs/token.h"

#include "base/fd.h"
#include "base/secret.h"
#include "base/toml.h"
#include "proto/jose_jwk.h"
#include "proto/jose_jws.h"

#include <sys/stat.h>

#define PROFILE     "tag:github.com,2024:confidential-containers/Trustee"
#define DEVELOPER   "https://confidentialcontainers.org"
#define ISSUER      "CoCo-Attestation-Service"
#define IDENTIFIERS "ear.trustee.identifiers"
#define X5C_MAX     8u
#define CERT_MAX    8192u
#define TOKEN_ALGS                                                                                 \
	(JWS_BIT(JWS_ES256) | JWS_BIT(JWS_ES384) | JWS_BIT(JWS_RS256) | JWS_BIT(JWS_RS384) |       \
	 JWS_BIT(JWS_PS256) | JWS_BIT(JWS_PS384) | JWS_BIT(JWS_EDDSA))

/* ---- the signer ---- */

int token_signer_open(const char *dir, int64_t life_s, struct token_signer *ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/token.key", dir);
	cf_cleanup(cf_secret_freep) struct cf_secret *pem = NULL;
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	cf_cleanup(cf_buf_wipe) struct cf_buf fresh = { 0 };
	struct stat st;
	int r = 0;

	if (stat(path, &st) < 0) {
		r = cf_pkey_generate(CF_PKEY_EC_P256, 0, &key, err);
		if (r == 0)
			r = cf_pkey_to_pem(key, true, &fresh, err);
		if (r == 0)
			r = cf_write_file_atomic(path, cf_buf_view(&fresh), 0600, err);
	} else {
		r = cf_secret_read_file(path, &pem, err);
		if (r == 0)
			r = cf_pkey_parse(cf_secret_view(pem), &key, err);
	}
	if (r == 0 && (cf_pkey_kind(key) != CF_PKEY_EC_P256 || !cf_pkey_is_private(key)))
		r = cf_fail(err, CF_INVALID_ARGUMENT, "no private P-256 key");
	if (r < 0)
		return cf_wrap(err, r, "token key %s", path);
	ret->key = cf_take(&key);
	ret->life_s = life_s;
	return 0;
}

void token_signer_fini(struct token_signer *s)
{
	s->key = cf_pkey_free(s->key);
}

/* ---- issuing ---- */

void token_write_evidence(const struct token_subject *s, struct cf_jw *w)
{
	const struct verdict *v = s->verdict;
	const struct cf_json *value;
	const char *key;
	void *it = NULL;

	cf_jw_obj(w);
	if (v->init_data)
		cf_jw_kstr(w, "init_data", v->init_data);
	cf_jw_key(w, "init_data_claims");
	cf_jw_raw(w, s->init_data_claims);
	if (v->report_data)
		cf_jw_kstr(w, "report_data", v->report_data);
	cf_jw_key(w, "runtime_data_claims");
	cf_jw_obj(w);
	cf_jw_kview(w, "additional-evidence", s->additional_evidence);
	while (cf_json_next(s->runtime_data, &it, &key, &value)) {
		cf_jw_key(w, key);
		cf_jw_json(w, value);
	}
	cf_jw_end_obj(w);
	cf_jw_key(w, v->tee);
	cf_jw_raw(w, cf_buf_view(&v->claims));
	cf_jw_end_obj(w);
}

/* What an attestation policy adds, each under its own name. */
static void write_extensions(const struct verdict *v, struct cf_jw *w)
{
	cf_cleanup(cf_json_freep) struct cf_json *list = NULL;
	cf_cleanup(cf_strv_fini) struct cf_strv seen = { 0 };

	if (v->extensions.size && cf_json_parse(cf_buf_view(&v->extensions), 0, &list, NULL) < 0)
		abort(); /* it was read when the policy gave it */
	for (size_t i = 0; i < cf_json_len(list); i++) {
		const struct cf_json *one = cf_json_at(list, i);
		char *name = cf_view_dup(cf_json_str(cf_json_get(one, "name")));
		bool is_new = !cf_strv_has(&seen, name);

		cf_strv_add_take(&seen, name);
		if (!is_new)
			continue;
		cf_jw_key(w, name);
		cf_jw_json(w, cf_json_get(one, "value"));
	}
	if (cf_strv_has(&seen, IDENTIFIERS))
		return;
	cf_jw_key(w, IDENTIFIERS);
	cf_jw_raw(w, cf_view_str("{\"validated\":{}}"));
}

static void write_submod(const struct token_subject *s, struct cf_jw *w)
{
	const struct verdict *v = s->verdict;
	const struct verdict_check *reason = verdict_reason(v);

	cf_jw_obj(w);
	cf_jw_kstr(w, "ear.status", verdict_tier_name(verdict_status(v)));
	cf_jw_key(w, "ear.trustworthiness-vector");
	cf_jw_obj(w);
	for (int a = 0; a < VERDICT_ASPECTS; a++)
		cf_jw_kint(w, verdict_aspect_name((enum verdict_aspect)a), v->trust[a]);
	cf_jw_end_obj(w);
	cf_jw_kstr(w, "ear.appraisal-policy-id", "default");
	cf_jw_key(w, "ear.veraison.annotated-evidence");
	token_write_evidence(s, w);
	write_extensions(v, w);
	/* Ours: what the release rule and its refusals need. */
	cf_jw_key(w, "coffer");
	cf_jw_obj(w);
	if (v->initdata_digest)
		cf_jw_kstr(w, "initdata", v->initdata_digest);
	if (v->anchor)
		cf_jw_kstr(w, "root_of_trust", v->anchor);
	if (reason)
		cf_jw_kstr(w, "check", reason->name);
	if (reason && reason->covers)
		cf_jw_kstr(w, "covers", reason->covers);
	if (s->ref)
		cf_jw_kstr(w, "ref", s->ref);
	cf_jw_end_obj(w);
	cf_jw_end_obj(w);
}

static void write_claims(const struct token_signer *s, const struct token_subject *subject,
                         int64_t now, struct cf_buf *out)
{
	struct cf_jw w = { .out = out };

	cf_jw_obj(&w);
	cf_jw_kstr(&w, "eat_profile", PROFILE);
	cf_jw_kint(&w, "iat", now);
	cf_jw_key(&w, "ear.verifier-id");
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "developer", DEVELOPER);
	cf_jw_kstr(&w, "build", "coffer-kbs " COFFER_VERSION);
	cf_jw_end_obj(&w);
	cf_jw_key(&w, "submods");
	cf_jw_obj(&w);
	cf_jw_key(&w, subject->verdict->submod);
	write_submod(subject, &w);
	cf_jw_end_obj(&w);
	cf_jw_kint(&w, "exp", now + s->life_s);
	cf_jw_kstr(&w, "iss", ISSUER);
	cf_jw_end_obj(&w);
}

int token_issue(const struct token_signer *s, const struct token_subject *subject, int64_t now,
                struct cf_buf *ret, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf header = { 0 }, claims = { 0 };
	struct cf_jw w = { .out = &header };
	int r;

	cf_jw_obj(&w);
	cf_jw_kstr(&w, "typ", "JWT");
	cf_jw_kstr(&w, "alg", "ES256");
	cf_jw_key(&w, "jwk");
	cf_jw_obj(&w);
	r = jwk_write_public(&w, s->key, "ES256", err);
	cf_jw_end_obj(&w);
	cf_jw_end_obj(&w);
	if (r < 0)
		return r;
	write_claims(s, subject, now, &claims);
	r = cf_buf_check(&claims, "token", err);
	return r < 0 ? r
	             : jws_sign(cf_buf_view(&header), JWS_ES256, s->key, cf_buf_view(&claims), ret,
	                        err);
}

/* ---- judging ---- */

static void certs_free(struct cf_cert **certs)
{
	for (size_t i = 0; i < X5C_MAX; i++)
		cf_cert_free(certs[i]);
}

struct x5c {
	struct cf_cert *certs[X5C_MAX];
	size_t count;
};

static void x5c_fini(struct x5c *x)
{
	certs_free(x->certs);
}

static int x5c_parse(const struct cf_json *list, struct x5c *ret, struct cf_err *err)
{
	if (cf_json_len(list) == 0 || cf_json_len(list) > X5C_MAX)
		return cf_fail(err, CF_UNAUTHENTICATED,
		               "the token's key comes without certificates");
	for (; ret->count < cf_json_len(list); ret->count++) {
		cf_cleanup(cf_buf_fini) struct cf_buf der = { .max = CERT_MAX };
		int r = cf_b64_decode(CF_B64_STD, cf_json_str(cf_json_at(list, ret->count)), &der,
		                      err);

		if (r == 0)
			r = cf_cert_parse(cf_buf_view(&der), &ret->certs[ret->count], err);
		if (r < 0)
			return cf_fail(err, CF_UNAUTHENTICATED, "the token's x5c is malformed");
	}
	return 0;
}

int token_jwk_trusted(const struct cf_json *jwk, struct cf_cert *const *anchors,
                      size_t anchor_count, int64_t now, struct cf_pkey **ret, struct cf_err *err)
{
	cf_cleanup(x5c_fini) struct x5c x = { 0 };
	cf_cleanup(jwk_freep) struct jwk *key = NULL;
	cf_cleanup(cf_pkey_freep) struct cf_pkey *certified = NULL;
	struct cf_chain_opts opts = {
		.roots = anchors, .root_count = anchor_count, .at = now, .partial_chain = true
	};
	int r = jwk_parse(jwk, &key, err);

	if (r < 0)
		return cf_fail(err, CF_UNAUTHENTICATED, "the token's jwk is malformed");
	r = x5c_parse(cf_json_get(jwk, "x5c"), &x, err);
	if (r == 0)
		r = cf_cert_pkey(x.certs[0], &certified, err);
	if (r < 0)
		return r;
	if (!cf_pkey_equal_public(key->key, certified))
		return cf_fail(err, CF_UNAUTHENTICATED, "the token's key is not its certificate's");
	opts.intermediates = x.certs + 1;
	opts.intermediate_count = x.count - 1;
	if (cf_cert_verify(x.certs[0], &opts, NULL, err) < 0) {
		err->code = CF_UNAUTHENTICATED;
		return cf_wrap(err, -CF_UNAUTHENTICATED, "the token's issuer is not trusted");
	}
	*ret = cf_take(&certified);
	return 0;
}

static int check_signature(const struct token_trust *trust, const struct jws *j, int64_t now,
                           struct cf_err *err)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *foreign = NULL;
	const struct cf_json *jwk = cf_json_get(j->header, "jwk");
	int r;

	if (trust->own && jws_verify(j, trust->own->key, JWS_BIT(JWS_ES256), err) == 0)
		return 0;
	if (!jwk || trust->anchor_count == 0)
		return cf_fail(err, CF_UNAUTHENTICATED, "the token was not signed by this service");
	r = token_jwk_trusted(jwk, trust->anchors, trust->anchor_count, now, &foreign, err);
	if (r == 0 && jws_verify(j, foreign, TOKEN_ALGS, err) < 0)
		r = cf_fail(err, CF_UNAUTHENTICATED, "the token's signature does not hold");
	return r;
}

int token_verify(const struct token_trust *trust, struct cf_view text, int64_t now,
                 struct cf_json **ret, struct cf_err *err)
{
	return token_verify_text(trust, text, now, ret, NULL, err);
}

int token_verify_text(const struct token_trust *trust, struct cf_view text, int64_t now,
                      struct cf_json **ret, struct cf_buf *ret_text, struct cf_err *err)
{
	cf_cleanup(jws_freep) struct jws *j = NULL;
	cf_cleanup(cf_json_freep) struct cf_json *claims = NULL;
	int r = jws_parse(text, &j, err);

	if (r < 0)
		return cf_wrap(err, r, "token");
	r = check_signature(trust, j, now, err);
	if (r == 0)
		r = cf_json_parse(cf_buf_view(&j->payload), 0, &claims, err);
	if (r < 0)
		return r;
	if (cf_json_int(cf_json_get(claims, "exp")) + TOKEN_LEEWAY_S < now)
		return cf_fail(err, CF_UNAUTHENTICATED, "the token has expired: attest again");
	if (ret_text)
		cf_buf_add_view(ret_text, cf_buf_view(&j->payload));
	*ret = cf_take(&claims);
	return 0;
}

const struct cf_json *token_tee_pubkey(const struct cf_json *claims)
{
	static const char *const places[][5] = {
		{ "tdx", "attester_runtime_data", "tee-pubkey" },
		{ "tdx", "attester_user_data", "tee-pubkey" },
		{ "customized_claims", "runtime_data", "tee-pubkey" },
		{ "submods", "cpu0", "ear.veraison.annotated-evidence", "runtime_data_claims",
		  "tee-pubkey" },
		{ "tee-pubkey" },
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(places); i++) {
		const struct cf_json *at = claims;

		for (size_t k = 0; at && k < CF_ARRAY_LEN(places[i]) && places[i][k]; k++)
			at = cf_json_get(at, places[i][k]);
		if (cf_json_type(at) == CF_JSON_OBJECT)
			return at;
	}
	return NULL;
}

/* ---- initdata claims ---- */

#define POLICY_DATA "policy_data := {"

static void toml_to_json(const struct cf_toml *v, struct cf_jw *w)
{
	switch (cf_toml_kind(v)) {
	case CF_TOML_STRING:
	case CF_TOML_DATETIME:
		cf_jw_str(w, cf_toml_str(v));
		break;
	case CF_TOML_INT:
		cf_jw_int(w, cf_toml_int(v));
		break;
	case CF_TOML_FLOAT:
		cf_buf_printf(w->out, "%s%.17g", w->need_comma ? "," : "", cf_toml_float(v));
		w->need_comma = true;
		break;
	case CF_TOML_BOOL:
		cf_jw_bool(w, cf_toml_bool(v));
		break;
	case CF_TOML_ARRAY:
		cf_jw_arr(w);
		for (size_t i = 0; i < cf_toml_count(v); i++)
			toml_to_json(cf_toml_at(v, i), w);
		cf_jw_end_arr(w);
		break;
	case CF_TOML_TABLE:
		cf_jw_obj(w);
		for (size_t i = 0; i < cf_toml_count(v); i++) {
			cf_jw_key(w, cf_toml_key_at(v, i));
			toml_to_json(cf_toml_at(v, i), w);
		}
		cf_jw_end_obj(w);
		break;
	}
}

/* The object behind "policy_data :=", when all of the rest is one. */
static bool write_policy_data(const char *rego, struct cf_jw *w)
{
	cf_cleanup(cf_json_freep) struct cf_json *doc = NULL;
	const char *at = strstr(rego, POLICY_DATA);

	if (!at || cf_json_parse(cf_view_str(at + strlen(POLICY_DATA) - 1), 0, &doc, NULL) < 0)
		return false;
	cf_jw_key(w, "agent_policy_claims");
	cf_jw_json(w, doc);
	return true;
}

static void write_entry(const char *key, const char *text, struct cf_jw *w)
{
	cf_cleanup(cf_toml_freep) struct cf_toml *inner = NULL;
	bool is_config = !strcmp(key, "aa.toml") || !strcmp(key, "cdh.toml");

	if (!strcmp(key, "policy.rego") && write_policy_data(text, w))
		return;
	cf_jw_key(w, key);
	if (is_config && cf_toml_parse(cf_view_str(text), &inner, NULL) == 0)
		toml_to_json(inner, w);
	else
		cf_jw_str(w, text);
}

int token_initdata_claims(struct cf_view text, struct cf_buf *ret, struct cf_err *err)
{
	cf_cleanup(cf_toml_freep) struct cf_toml *doc = NULL;
	const struct cf_toml *data;
	struct cf_jw w = { .out = ret };
	int r = cf_toml_parse(text, &doc, err);

	if (r < 0)
		return cf_wrap(err, r, "init-data");
	data = cf_toml_get(doc, "data");
	cf_jw_obj(&w);
	for (size_t i = 0; cf_toml_is(data, CF_TOML_TABLE) && i < cf_toml_count(data); i++)
		if (cf_toml_is(cf_toml_at(data, i), CF_TOML_STRING))
			write_entry(cf_toml_key_at(data, i), cf_toml_str(cf_toml_at(data, i)), &w);
	cf_jw_end_obj(&w);
	return cf_buf_check(ret, "init-data", err);
}
