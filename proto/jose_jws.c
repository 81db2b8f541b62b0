/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/jose_jws.h"

#include "base/str.h"
#include "proto/jose_jwk.h"

static const struct alg_row {
	const char *name;
	enum cf_sig_scheme scheme;
	enum cf_hash_alg hash;
	enum cf_pkey_kind kind;
} algs[JWS_ALG_COUNT] = {
	[JWS_ES256] = { "ES256", CF_SIG_ECDSA_RAW, CF_SHA256, CF_PKEY_EC_P256 },
	[JWS_ES384] = { "ES384", CF_SIG_ECDSA_RAW, CF_SHA384, CF_PKEY_EC_P384 },
	[JWS_ES512] = { "ES512", CF_SIG_ECDSA_RAW, CF_SHA512, CF_PKEY_EC_P521 },
	[JWS_RS256] = { "RS256", CF_SIG_RSA_PKCS1, CF_SHA256, CF_PKEY_RSA },
	[JWS_RS384] = { "RS384", CF_SIG_RSA_PKCS1, CF_SHA384, CF_PKEY_RSA },
	[JWS_RS512] = { "RS512", CF_SIG_RSA_PKCS1, CF_SHA512, CF_PKEY_RSA },
	[JWS_PS256] = { "PS256", CF_SIG_RSA_PSS, CF_SHA256, CF_PKEY_RSA },
	[JWS_PS384] = { "PS384", CF_SIG_RSA_PSS, CF_SHA384, CF_PKEY_RSA },
	[JWS_PS512] = { "PS512", CF_SIG_RSA_PSS, CF_SHA512, CF_PKEY_RSA },
	[JWS_EDDSA] = { "EdDSA", CF_SIG_ED25519, CF_SHA512, CF_PKEY_ED25519 },
};

const char *jws_alg_name(enum jws_alg alg)
{
	return algs[alg].name;
}

int jws_alg_parse(struct cf_view name, enum jws_alg *ret, struct cf_err *err)
{
	for (int i = 0; i < JWS_ALG_COUNT; i++) {
		if (cf_view_eq_str(name, algs[i].name)) {
			*ret = (enum jws_alg)i;
			return 0;
		}
	}
	return cf_fail(err, CF_INVALID_ARGUMENT, "JWS: algorithm \"%.*s\" is not accepted",
	               (int)CF_MIN(name.size, 32u), (const char *)name.data);
}

int jws_alg_for_key(const struct cf_pkey *key, enum jws_alg *ret, struct cf_err *err)
{
	for (int i = 0; i < JWS_ALG_COUNT; i++) {
		if (algs[i].kind == cf_pkey_kind(key)) {
			*ret = (enum jws_alg)i;
			return 0;
		}
	}
	return cf_fail(err, CF_INVALID_ARGUMENT, "JWS: a key of this kind cannot sign");
}

static int check_key(enum jws_alg alg, const struct cf_pkey *key, struct cf_err *err)
{
	if (cf_pkey_kind(key) != algs[alg].kind)
		return cf_fail(err, CF_INVALID_ARGUMENT, "JWS: the key is not one for %s",
		               algs[alg].name);
	if (algs[alg].kind == CF_PKEY_RSA && cf_pkey_bits(key) < JWK_RSA_BITS_MIN)
		return cf_fail(err, CF_INVALID_ARGUMENT, "JWS: RSA key of %zu bits, want %u",
		               cf_pkey_bits(key), JWK_RSA_BITS_MIN);
	return 0;
}

/* The header as JSON, its alg, and a refusal of what would change how the rest must be read. */
static int parse_header(struct cf_view text, struct cf_json **ret, enum jws_alg *ret_alg,
                        struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *h = NULL;
	struct cf_view name;
	int r = cf_json_parse(text, JWS_TEXT_MAX, &h, err);

	if (r < 0)
		return cf_wrap(err, r, "JWS header");
	if (cf_json_type(h) != CF_JSON_OBJECT)
		return cf_fail(err, CF_INVALID_ARGUMENT, "JWS header: not an object");
	if (cf_json_get(h, "crit") || cf_json_get(h, "b64"))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "JWS header: extensions are not supported");
	r = cf_json_need_str(h, "alg", &name, err);
	if (r < 0)
		return cf_wrap(err, r, "JWS header");
	r = jws_alg_parse(name, ret_alg, err);
	if (r < 0)
		return r;
	*ret = cf_take(&h);
	return 0;
}

static int decode(struct cf_view text, const char *what, struct cf_buf *ret, struct cf_err *err)
{
	ret->max = JWS_TEXT_MAX;
	int r = cf_b64_decode(CF_B64_URL, text, ret, err);

	return r < 0 ? cf_wrap(err, r, "JWS %s", what) : 0;
}

/* Splits at exactly two dots. */
static int split(struct cf_view text, struct cf_view part[3], struct cf_err *err)
{
	ssize_t one = cf_view_find(text, '.');
	struct cf_view rest =
		one < 0 ? (struct cf_view){ 0 } : cf_view_sub(text, (size_t)one + 1, text.size);
	ssize_t two = cf_view_find(rest, '.');

	if (one < 0 || two < 0)
		return cf_fail(err, CF_INVALID_ARGUMENT, "JWS: want header.payload.signature");
	part[0] = cf_view_sub(text, 0, (size_t)one);
	part[1] = cf_view_sub(rest, 0, (size_t)two);
	part[2] = cf_view_sub(rest, (size_t)two + 1, rest.size);
	if (cf_view_find(part[2], '.') >= 0)
		return cf_fail(err, CF_INVALID_ARGUMENT, "JWS: more than three parts");
	return 0;
}

int jws_parse(struct cf_view text, struct jws **ret, struct cf_err *err)
{
	cf_cleanup(jws_freep) struct jws *j = cf_zalloc(sizeof(*j));
	struct cf_buf header = { 0 };
	struct cf_view part[3];
	int r;

	if (text.size > JWS_TEXT_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "JWS of %zu bytes, at most %u",
		               text.size, JWS_TEXT_MAX);
	r = split(text, part, err);
	if (r < 0)
		return r;
	r = decode(part[0], "header", &header, err);
	if (r == 0)
		r = parse_header(cf_buf_view(&header), &j->header, &j->alg, err);
	cf_buf_fini(&header);
	if (r == 0)
		r = decode(part[1], "payload", &j->payload, err);
	if (r == 0)
		r = decode(part[2], "signature", &j->signature, err);
	if (r < 0)
		return r;
	cf_buf_add_view(&j->signed_text, cf_view_sub(text, 0, part[0].size + 1 + part[1].size));
	*ret = cf_take(&j);
	return 0;
}

struct jws *jws_free(struct jws *j)
{
	if (!j)
		return NULL;
	cf_json_free(j->header);
	cf_buf_wipe(&j->payload);
	cf_buf_fini(&j->signature);
	cf_buf_fini(&j->signed_text);
	free(j);
	return NULL;
}

int jws_verify(const struct jws *j, const struct cf_pkey *key, unsigned allowed, struct cf_err *err)
{
	const struct alg_row *alg = &algs[j->alg];
	int r;

	if (!(allowed & JWS_BIT(j->alg)))
		return cf_fail(err, CF_PERMISSION_DENIED, "JWS: algorithm %s is not allowed here",
		               alg->name);
	r = check_key(j->alg, key, err);
	if (r < 0)
		return r;
	r = cf_pkey_verify(key, alg->scheme, alg->hash, cf_buf_view(&j->signed_text),
	                   cf_buf_view(&j->signature), err);
	return r < 0 ? cf_wrap(err, r, "JWS") : 0;
}

int jws_sign(struct cf_view header, enum jws_alg alg, const struct cf_pkey *key,
             struct cf_view payload, struct cf_buf *ret, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *h = NULL;
	struct cf_buf sig = { 0 };
	enum jws_alg named;
	size_t start = ret->size;
	int r = parse_header(header, &h, &named, err);

	if (r < 0)
		return r;
	if (named != alg)
		return cf_fail(err, CF_INVALID_ARGUMENT, "JWS: the header names %s, not %s",
		               algs[named].name, algs[alg].name);
	r = check_key(alg, key, err);
	if (r < 0)
		return r;
	cf_b64_encode(CF_B64_URL, header, ret);
	cf_buf_add_byte(ret, '.');
	cf_b64_encode(CF_B64_URL, payload, ret);
	r = cf_buf_check(ret, "JWS", err);
	if (r < 0)
		return r;
	r = cf_pkey_sign(key, algs[alg].scheme, algs[alg].hash,
	                 cf_view_sub(cf_buf_view(ret), start, ret->size), &sig, err);
	if (r == 0) {
		cf_buf_add_byte(ret, '.');
		cf_b64_encode(CF_B64_URL, cf_buf_view(&sig), ret);
		r = cf_buf_check(ret, "JWS", err);
	}
	cf_buf_fini(&sig);
	return r < 0 ? cf_wrap(err, r, "JWS") : 0;
}
