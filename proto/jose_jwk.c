/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/jose_jwk.h"

#include "base/str.h"

static const struct curve {
	const char *kty;
	const char *crv;
	enum cf_pkey_kind kind;
	size_t size; /* bytes of a coordinate or of a raw key */
} curves[] = {
	{ "EC", "P-256", CF_PKEY_EC_P256, 32 },  { "EC", "P-384", CF_PKEY_EC_P384, 48 },
	{ "EC", "P-521", CF_PKEY_EC_P521, 66 },  { "OKP", "Ed25519", CF_PKEY_ED25519, 32 },
	{ "OKP", "X25519", CF_PKEY_X25519, 32 },
};

static const struct curve *curve_of_kind(enum cf_pkey_kind kind)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(curves); i++)
		if (curves[i].kind == kind)
			return &curves[i];
	return NULL;
}

static const struct curve *curve_of_name(struct cf_view kty, struct cf_view crv)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(curves); i++)
		if (cf_view_eq_str(kty, curves[i].kty) && cf_view_eq_str(crv, curves[i].crv))
			return &curves[i];
	return NULL;
}

/* The b64url member @key, or nothing when it is absent and not @needed. */
static int get_number(const struct cf_json *obj, const char *key, bool needed, struct cf_buf *ret,
                      struct cf_err *err)
{
	if (!needed && !cf_json_get(obj, key))
		return 0;
	return cf_json_need_b64(obj, key, CF_B64_URL, ret, err);
}

enum { RSA_N, RSA_E, RSA_D, RSA_P, RSA_Q, RSA_DP, RSA_DQ, RSA_QI, RSA_COUNT };

static int rsa_from_numbers(const struct cf_buf *num, struct cf_pkey **ret, struct cf_err *err)
{
	if (!num[RSA_D].size)
		return cf_pkey_from_rsa(cf_buf_view(&num[RSA_N]), cf_buf_view(&num[RSA_E]), ret,
		                        err);
	return cf_pkey_from_rsa_private(
		cf_buf_view(&num[RSA_N]), cf_buf_view(&num[RSA_E]), cf_buf_view(&num[RSA_D]),
		cf_buf_view(&num[RSA_P]), cf_buf_view(&num[RSA_Q]), cf_buf_view(&num[RSA_DP]),
		cf_buf_view(&num[RSA_DQ]), cf_buf_view(&num[RSA_QI]), ret, err);
}

static int check_rsa_size(const struct cf_pkey *key, struct cf_err *err)
{
	size_t bits = cf_pkey_bits(key);

	if (bits < JWK_RSA_BITS_MIN || bits > JWK_RSA_BITS_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "JWK: RSA key of %zu bits, want %u to %u",
		               bits, JWK_RSA_BITS_MIN, JWK_RSA_BITS_MAX);
	return 0;
}

static int parse_rsa(const struct cf_json *obj, struct cf_pkey **ret, struct cf_err *err)
{
	static const char *const names[] = { "n", "e", "d", "p", "q", "dp", "dq", "qi" };
	struct cf_buf num[RSA_COUNT] = { 0 };
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	int r = 0;

	for (int i = 0; r == 0 && i < RSA_COUNT; i++)
		r = get_number(obj, names[i], i <= RSA_E, &num[i], err);
	if (r == 0)
		r = rsa_from_numbers(num, &key, err);
	for (int i = 0; i < RSA_COUNT; i++)
		cf_buf_wipe(&num[i]);
	if (r == 0)
		r = check_rsa_size(key, err);
	if (r < 0)
		return r;
	*ret = cf_take(&key);
	return 0;
}

static int check_size(const struct cf_buf *b, const struct curve *c, const char *what,
                      struct cf_err *err)
{
	if (b->size && b->size != c->size)
		return cf_fail(err, CF_INVALID_ARGUMENT, "JWK: %s has %zu bytes, %s wants %zu",
		               what, b->size, c->crv, c->size);
	return 0;
}

static int curve_from_numbers(const struct curve *c, const struct cf_buf *x, const struct cf_buf *y,
                              const struct cf_buf *d, struct cf_pkey **ret, struct cf_err *err)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *pub = NULL;
	cf_cleanup(cf_pkey_freep) struct cf_pkey *priv = NULL;
	int r;

	if (cf_streq(c->kty, "EC"))
		return cf_pkey_from_ec(c->kind, cf_buf_view(x), cf_buf_view(y), cf_buf_view(d), ret,
		                       err);
	r = cf_pkey_from_raw(c->kind, false, cf_buf_view(x), &pub, err);
	if (r < 0)
		return r;
	if (!d->size) {
		*ret = cf_take(&pub);
		return 0;
	}
	r = cf_pkey_from_raw(c->kind, true, cf_buf_view(d), &priv, err);
	if (r < 0)
		return r;
	if (!cf_pkey_equal_public(pub, priv))
		return cf_fail(err, CF_INVALID_ARGUMENT, "JWK: x and d are not of one key");
	*ret = cf_take(&priv);
	return 0;
}

static int parse_curve(const struct cf_json *obj, const struct curve *c, struct cf_pkey **ret,
                       struct cf_err *err)
{
	struct cf_buf x = { 0 }, y = { 0 }, d = { 0 };
	int r = get_number(obj, "x", true, &x, err);

	if (r == 0)
		r = get_number(obj, "y", cf_streq(c->kty, "EC"), &y, err);
	if (r == 0)
		r = get_number(obj, "d", false, &d, err);
	if (r == 0)
		r = check_size(&x, c, "x", err);
	if (r == 0)
		r = check_size(&y, c, "y", err);
	if (r == 0)
		r = check_size(&d, c, "d", err);
	if (r == 0)
		r = curve_from_numbers(c, &x, &y, &d, ret, err);
	cf_buf_fini(&x);
	cf_buf_fini(&y);
	cf_buf_wipe(&d);
	return r;
}

static int parse_key(const struct cf_json *obj, struct cf_pkey **ret, struct cf_err *err)
{
	struct cf_view kty, crv = { 0 };
	int r = cf_json_need_str(obj, "kty", &kty, err);

	if (r < 0)
		return r;
	if (cf_view_eq_str(kty, "RSA"))
		return parse_rsa(obj, ret, err);
	r = cf_json_opt_str(obj, "crv", &crv, err);
	if (r < 0)
		return r;

	const struct curve *c = curve_of_name(kty, crv);

	if (!c)
		return cf_fail(err, CF_UNIMPLEMENTED, "JWK: kty \"%.*s\" with crv \"%.*s\"",
		               (int)CF_MIN(kty.size, 32u), (const char *)kty.data,
		               (int)CF_MIN(crv.size, 32u), (const char *)crv.data);
	return parse_curve(obj, c, ret, err);
}

static int opt_text(const struct cf_json *obj, const char *key, char **ret, struct cf_err *err)
{
	return cf_json_get(obj, key) ? cf_json_dup_str(obj, key, ret, err) : 0;
}

int jwk_parse(const struct cf_json *obj, struct jwk **ret, struct cf_err *err)
{
	cf_cleanup(jwk_freep) struct jwk *k = cf_zalloc(sizeof(*k));
	int r;

	if (cf_json_type(obj) != CF_JSON_OBJECT)
		return cf_fail(err, CF_INVALID_ARGUMENT, "JWK: not an object");
	r = parse_key(obj, &k->key, err);
	if (r < 0)
		return cf_wrap(err, r, "JWK");
	r = opt_text(obj, "alg", &k->alg, err);
	if (r == 0)
		r = opt_text(obj, "kid", &k->kid, err);
	if (r == 0)
		r = opt_text(obj, "use", &k->use, err);
	if (r < 0)
		return cf_wrap(err, r, "JWK");
	*ret = cf_take(&k);
	return 0;
}

int jwk_parse_text(struct cf_view text, struct jwk **ret, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *obj = NULL;
	int r = cf_json_parse(text, JWK_TEXT_MAX, &obj, err);

	if (r < 0)
		return cf_wrap(err, r, "JWK");
	return jwk_parse(obj, ret, err);
}

struct jwk *jwk_free(struct jwk *k)
{
	if (!k)
		return NULL;
	cf_pkey_free(k->key);
	free(k->alg);
	free(k->kid);
	free(k->use);
	free(k);
	return NULL;
}

int jwk_set_find(const struct cf_json *set, struct cf_view kid, struct jwk **ret,
                 struct cf_err *err)
{
	const struct cf_json *keys;
	int r = cf_json_need(set, "keys", CF_JSON_ARRAY, &keys, err);

	if (r < 0)
		return cf_wrap(err, r, "JWK set");
	if (cf_json_len(keys) > JWK_SET_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "JWK set: %zu keys, at most %u",
		               cf_json_len(keys), JWK_SET_MAX);
	for (size_t i = 0; i < cf_json_len(keys); i++) {
		const struct cf_json *k = cf_json_at(keys, i);

		if (cf_json_get(k, "kid") && cf_view_eq(cf_json_str(cf_json_get(k, "kid")), kid))
			return jwk_parse(k, ret, err);
	}
	return cf_fail(err, CF_NOT_FOUND, "JWK set: no key \"%.*s\"", (int)CF_MIN(kid.size, 64u),
	               (const char *)kid.data);
}

/* ---- writing ---- */

struct numbers {
	const struct curve *curve; /* NULL: RSA */
	struct cf_buf a;           /* x or n */
	struct cf_buf b;           /* y or e */
};

static void numbers_fini(struct numbers *n)
{
	cf_buf_fini(&n->a);
	cf_buf_fini(&n->b);
}

static int numbers_of(const struct cf_pkey *key, struct numbers *ret, struct cf_err *err)
{
	enum cf_pkey_kind kind = cf_pkey_kind(key);

	ret->curve = curve_of_kind(kind);
	if (kind == CF_PKEY_RSA)
		return cf_pkey_rsa_numbers(key, &ret->a, &ret->b, err);
	if (!ret->curve)
		return cf_fail(err, CF_UNIMPLEMENTED, "JWK: a key of this kind has no JWK form");
	return cf_pkey_ec_point(key, &ret->a, &ret->b, err);
}

static void write_b64(struct cf_jw *w, const char *key, const struct cf_buf *b)
{
	cf_jw_key(w, key);
	cf_jw_b64(w, CF_B64_URL, cf_buf_view(b));
}

static bool has_y(const struct numbers *n)
{
	return n->curve && cf_streq(n->curve->kty, "EC");
}

int jwk_write_public(struct cf_jw *w, const struct cf_pkey *key, const char *alg,
                     struct cf_err *err)
{
	struct numbers n = { 0 };
	int r = numbers_of(key, &n, err);

	if (r == 0) {
		cf_jw_kstr(w, "kty", n.curve ? n.curve->kty : "RSA");
		if (n.curve)
			cf_jw_kstr(w, "crv", n.curve->crv);
		if (alg)
			cf_jw_kstr(w, "alg", alg);
		write_b64(w, n.curve ? "x" : "n", &n.a);
		if (has_y(&n) || !n.curve)
			write_b64(w, n.curve ? "y" : "e", &n.b);
	}
	numbers_fini(&n);
	return r;
}

int jwk_print_sorted(const struct cf_pkey *key, struct cf_buf *out, struct cf_err *err)
{
	struct cf_jw w = { .out = out };
	struct numbers n = { 0 };
	int r = numbers_of(key, &n, err);

	if (r == 0) {
		cf_jw_obj(&w);
		if (n.curve)
			cf_jw_kstr(&w, "crv", n.curve->crv);
		else
			write_b64(&w, "e", &n.b);
		cf_jw_kstr(&w, "kty", n.curve ? n.curve->kty : "RSA");
		write_b64(&w, n.curve ? "x" : "n", &n.a);
		if (has_y(&n))
			write_b64(&w, "y", &n.b);
		cf_jw_end_obj(&w);
		r = cf_buf_check(out, "JWK", err);
	}
	numbers_fini(&n);
	return r;
}

int jwk_print_private(const struct cf_pkey *key, const char *alg, const char *kid,
                      struct cf_buf *out, struct cf_err *err)
{
	struct cf_jw w = { .out = out };
	struct cf_buf d = { 0 };
	int r = cf_pkey_private_number(key, &d, err);

	if (r == 0) {
		cf_jw_obj(&w);
		r = jwk_write_public(&w, key, alg, err);
	}
	if (r == 0) {
		if (kid)
			cf_jw_kstr(&w, "kid", kid);
		write_b64(&w, "d", &d);
		cf_jw_end_obj(&w);
		r = cf_buf_check(out, "JWK", err);
	}
	cf_buf_wipe(&d);
	return r;
}

int jwk_thumbprint(const struct cf_pkey *key, uint8_t out[32], struct cf_err *err)
{
	struct cf_buf text = { 0 };
	int r = jwk_print_sorted(key, &text, err);

	if (r == 0)
		cf_sha256(cf_buf_view(&text), out);
	cf_buf_fini(&text);
	return r;
}
