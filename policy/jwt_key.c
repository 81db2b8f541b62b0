/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/jwt.h"

#define NUMBER_MAX 2048u /* bytes of one number of a key */

/* ---- algorithms ---- */

static const struct jwt_alg algs[] = {
	{ "RS256", false, CF_SIG_RSA_PKCS1, CF_SHA256, CF_PKEY_RSA },
	{ "RS384", false, CF_SIG_RSA_PKCS1, CF_SHA384, CF_PKEY_RSA },
	{ "RS512", false, CF_SIG_RSA_PKCS1, CF_SHA512, CF_PKEY_RSA },
	{ "PS256", false, CF_SIG_RSA_PSS, CF_SHA256, CF_PKEY_RSA },
	{ "PS384", false, CF_SIG_RSA_PSS, CF_SHA384, CF_PKEY_RSA },
	{ "PS512", false, CF_SIG_RSA_PSS, CF_SHA512, CF_PKEY_RSA },
	{ "ES256", false, CF_SIG_ECDSA_RAW, CF_SHA256, CF_PKEY_EC_P256 },
	{ "ES384", false, CF_SIG_ECDSA_RAW, CF_SHA384, CF_PKEY_EC_P384 },
	{ "ES512", false, CF_SIG_ECDSA_RAW, CF_SHA512, CF_PKEY_EC_P521 },
	{ "EdDSA", false, CF_SIG_ED25519, CF_SHA512, CF_PKEY_ED25519 },
	{ .name = "HS256", .is_hmac = true, .hash = CF_SHA256 },
	{ .name = "HS384", .is_hmac = true, .hash = CF_SHA384 },
	{ .name = "HS512", .is_hmac = true, .hash = CF_SHA512 },
};

const struct jwt_alg *jwt_alg_find(const struct pv *name)
{
	for (size_t i = 0; name && i < CF_ARRAY_LEN(algs); i++)
		if (pv_is_str(name, algs[i].name))
			return &algs[i];
	return NULL;
}

/* ---- PEM ---- */

/* A block's type, its text with both of its lines, and what follows. */
struct pem {
	struct cf_view type, text, rest;
};

static bool find_text(struct cf_view in, const char *text, size_t *ret_at)
{
	const uint8_t *p = in.size ? memmem(in.data, in.size, text, strlen(text)) : NULL;

	*ret_at = p ? (size_t)(p - in.data) : 0;
	return p != NULL;
}

static bool pem_find(struct cf_view in, struct pem *ret)
{
	static const char begin[] = "-----BEGIN ", end[] = "-----END ", dashes[] = "-----";
	size_t from, at, size = 0;

	if (!find_text(in, begin, &from))
		return false;
	in = cf_view_sub(in, from, in.size);
	ret->type = cf_view_sub(in, strlen(begin), in.size);
	if (!find_text(ret->type, dashes, &size))
		return false;
	ret->type = cf_view_sub(ret->type, 0, size);
	if (!find_text(in, end, &at))
		return false;
	at += strlen(end) + size + strlen(dashes);
	if (at > in.size)
		return false;
	ret->text = cf_view_sub(in, 0, at);
	ret->rest = cf_view_sub(in, at, in.size);
	if (ret->rest.size && ret->rest.data[0] == '\r')
		ret->rest = cf_view_sub(ret->rest, 1, ret->rest.size);
	if (ret->rest.size && ret->rest.data[0] == '\n')
		ret->rest = cf_view_sub(ret->rest, 1, ret->rest.size);
	return true;
}

static bool read_pem(struct bcall *c, const struct pem *p, struct jwt_keys *ret)
{
	cf_cleanup(cf_cert_freep) struct cf_cert *cert = NULL;
	struct cf_pkey **key = &ret->items[0].key;

	if (p->rest.size) {
		builtin_bad(c, "extra data after a PEM certificate block");
		return false;
	}
	if (cf_view_eq_str(p->type, "CERTIFICATE")) {
		if (cf_cert_parse(p->text, &cert, NULL) < 0 || cf_cert_pkey(cert, key, NULL) < 0)
			builtin_bad(c, "failed to parse a PEM certificate");
	} else if (cf_view_eq_str(p->type, "PUBLIC KEY")) {
		if (cf_pkey_parse(p->text, key, NULL) < 0)
			builtin_bad(c, "failed to parse a PEM public key");
	} else {
		builtin_bad(c, "failed to extract a Key from the PEM certificate");
	}
	ret->count = *key != NULL;
	return *key != NULL;
}

/* ---- JWK ---- */

static bool number(const struct pv *jwk, const char *name, struct cf_buf *ret)
{
	const struct pv *v = pv_obj_get_str(jwk, name);
	size_t bad;

	ret->max = NUMBER_MAX;
	return v && v->type == PV_STR && base64_bytes(pv_view(v), true, true, ret, &bad);
}

static int ec_kind(const struct pv *crv)
{
	if (crv && pv_is_str(crv, "P-256"))
		return CF_PKEY_EC_P256;
	if (crv && pv_is_str(crv, "P-384"))
		return CF_PKEY_EC_P384;
	return crv && pv_is_str(crv, "P-521") ? CF_PKEY_EC_P521 : CF_PKEY_OTHER;
}

/* NULL: malformed, or of a kind that verifies nothing here. */
static struct cf_pkey *jwk_key(const struct pv *jwk)
{
	cf_cleanup(cf_buf_fini) struct cf_buf a = { 0 }, b = { 0 };
	const struct pv *kty = pv_obj_get_str(jwk, "kty"), *crv = pv_obj_get_str(jwk, "crv");
	const struct cf_view none = { 0 };
	struct cf_pkey *key = NULL;
	int kind = ec_kind(crv), r = -1;

	if (!kty)
		return NULL;
	if (pv_is_str(kty, "RSA") && number(jwk, "n", &a) && number(jwk, "e", &b))
		r = cf_pkey_from_rsa(cf_buf_view(&a), cf_buf_view(&b), &key, NULL);
	else if (pv_is_str(kty, "EC") && kind != CF_PKEY_OTHER && number(jwk, "x", &a) &&
	         number(jwk, "y", &b))
		r = cf_pkey_from_ec((enum cf_pkey_kind)kind, cf_buf_view(&a), cf_buf_view(&b), none,
		                    &key, NULL);
	else if (pv_is_str(kty, "OKP") && crv && pv_is_str(crv, "Ed25519") && number(jwk, "x", &a))
		r = cf_pkey_from_raw(CF_PKEY_ED25519, false, cf_buf_view(&a), &key, NULL);
	return r < 0 ? NULL : key;
}

static const struct pv *str_member(const struct pv *jwk, const char *name)
{
	const struct pv *v = pv_obj_get_str(jwk, name);

	return v && v->type == PV_STR && v->len ? v : NULL;
}

static bool add_jwk(struct bcall *c, const struct pv *jwk, struct jwt_keys *ret)
{
	struct cf_pkey *key = jwk->type == PV_OBJ ? jwk_key(jwk) : NULL;

	if (!key) {
		builtin_bad(c, "failed to parse a JWK key (set): a key is malformed or of an "
		               "unknown kind");
		return false;
	}
	ret->items[ret->count++] = (struct jwt_key){ .key = key,
		                                     .alg = str_member(jwk, "alg"),
		                                     .kid = str_member(jwk, "kid") };
	return true;
}

static bool read_jwks(struct bcall *c, struct cf_view text, struct jwt_keys *ret)
{
	const struct pv *doc = NULL, *list;

	if (pv_json_read(c->arena, text, NULL, &doc, NULL) < 0 || doc->type != PV_OBJ) {
		builtin_bad(c, "failed to parse a JWK key (set): no JSON object");
		return false;
	}
	list = pv_obj_get_str(doc, "keys");
	if (!list)
		return add_jwk(c, doc, ret);
	if (list->type != PV_ARR || list->len > JWT_KEYS_MAX) {
		builtin_bad(c, "failed to parse a JWK key (set): over %u keys, or no array",
		            JWT_KEYS_MAX);
		return false;
	}
	for (uint32_t i = 0; i < list->len; i++)
		if (!add_jwk(c, list->at[i], ret))
			return false;
	return true;
}

bool jwt_keys_read(struct bcall *c, struct cf_view text, struct jwt_keys *ret)
{
	struct pem p;

	return pem_find(text, &p) ? read_pem(c, &p, ret) : read_jwks(c, text, ret);
}

void jwt_keys_fini(struct jwt_keys *k)
{
	for (size_t i = 0; i < k->count; i++)
		cf_pkey_free(k->items[i].key);
	k->count = 0;
}

/* ---- verifying ---- */

static bool holds(struct bcall *c, const struct jwt_key *k, const struct jwt_alg *alg,
                  const struct jwt *t, struct cf_view signature)
{
	builtin_charge(c, JWT_VERIFY_COST);
	return !alg->is_hmac && cf_pkey_kind(k->key) == (enum cf_pkey_kind)alg->kind &&
	       cf_pkey_verify(k->key, alg->scheme, alg->hash, t->signed_part, signature, NULL) == 0;
}

bool jwt_keys_verify(struct bcall *c, const struct jwt_keys *keys, const struct jwt_alg *alg,
                     const struct pv *header, const struct jwt *t, struct cf_view signature)
{
	const struct pv *kid = str_member(header, "kid"), *name = str_member(header, "alg");

	for (size_t i = 0; kid && i < keys->count; i++)
		if (keys->items[i].kid && pv_eq(keys->items[i].kid, kid))
			return holds(c, &keys->items[i], alg, t, signature);
	for (size_t i = 0; i < keys->count; i++) {
		const struct jwt_key *k = &keys->items[i];

		if (k->alg && (!name || !pv_eq(k->alg, name)))
			continue;
		if (holds(c, k, alg, t, signature))
			return true;
	}
	return false;
}
