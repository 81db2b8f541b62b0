/* SPDX-License-Identifier: Apache-2.0 */
/* io.jwt: tokens taken apart, and checked against a shared secret. */
#include "policy/jwt.h"

#include <strings.h>

bool jwt_split(struct bcall *c, struct cf_view s, struct jwt *ret)
{
	unsigned n = 0;
	struct cf_view rest = s;

	if (cf_view_find(s, '.') < 0) {
		builtin_bad(c, "encoded JWT had no period separators");
		return false;
	}
	for (bool more = true; more; n++) {
		ssize_t dot = cf_view_find(rest, '.');

		more = dot >= 0;
		if (n < 3)
			ret->part[n] = more ? cf_view_sub(rest, 0, (size_t)dot) : rest;
		rest = more ? cf_view_sub(rest, (size_t)dot + 1, rest.size) : rest;
	}
	if (n != 3) {
		builtin_bad(c, "encoded JWT must have 3 sections, found %u", n);
		return false;
	}
	ret->signed_part = cf_view_sub(s, 0, ret->part[0].size + 1 + ret->part[1].size);
	return true;
}

bool jwt_bytes(struct bcall *c, struct cf_view part, const char *what, struct cf_buf *ret)
{
	size_t bad = 0;

	ret->max = POLICY_STRING_MAX;
	if (base64_bytes(part, true, true, ret, &bad))
		return true;
	builtin_bad(c, "JWT %s had invalid encoding: illegal base64 data at input byte %zu", what,
	            bad);
	return false;
}

const struct pv *jwt_json(struct bcall *c, struct cf_view part, const char *what)
{
	struct cf_buf b = { 0 };
	const struct pv *v = NULL;

	if (jwt_bytes(c, part, what, &b) &&
	    pv_json_read(c->arena, cf_buf_view(&b), NULL, &v, NULL) < 0)
		builtin_bad(c, "JWT %s is no JSON", what);
	cf_buf_fini(&b);
	return c->fault ? NULL : v;
}

static const struct pv *signature_hex(struct bcall *c, struct cf_view part)
{
	struct cf_buf b = { 0 };
	const struct pv *v = NULL;

	if (jwt_bytes(c, part, "signature", &b)) {
		cf_cleanup(cf_freep) char *hex = cf_hex_dup(cf_buf_view(&b));

		v = pv_cstr(c->arena, hex);
	}
	cf_buf_fini(&b);
	return v;
}

bool jwt_is_nested(const struct pv *header)
{
	const struct pv *cty = pv_obj_get_str(header, "cty");

	return cty && cty->type == PV_STR && cty->len == 3 && strncasecmp(cty->s, "JWT", 3) == 0;
}

static const struct pv *bi_decode(struct bcall *c, const struct pv *const *a)
{
	struct cf_view s;

	if (!builtin_is_string(c, a, 1, &s))
		return NULL;
	for (unsigned nest = 0; nest < JWT_NEST_MAX; nest++) {
		struct pv_vec out = pv_vec(c->arena);
		struct jwt t;

		if (!jwt_split(c, s, &t))
			return NULL;
		const struct pv *header = jwt_json(c, t.part[0], "header");
		const struct pv *payload = header ? jwt_json(c, t.part[1], "payload") : NULL;
		if (!payload)
			return NULL;
		if (jwt_is_nested(header) && payload->type == PV_STR) {
			s = pv_view(payload);
			continue;
		}
		if (payload->type != PV_OBJ)
			return builtin_bad(c, "JWT payload is no object");
		const struct pv *sig = signature_hex(c, t.part[2]);
		if (!sig)
			return NULL;
		pv_vec_add(&out, header);
		pv_vec_add(&out, payload);
		pv_vec_add(&out, sig);
		return pv_vec_array(&out);
	}
	return builtin_bad(c, "JWT nested more than %u deep", JWT_NEST_MAX);
}

static const struct pv *verify_hs(struct bcall *c, const struct pv *const *a, enum cf_hash_alg alg)
{
	uint8_t mac[CF_HASH_SIZE_MAX];
	struct cf_buf sig = { 0 };
	struct cf_view s, secret;
	struct jwt t;

	if (!builtin_is_string(c, a, 1, &s) || !builtin_is_string(c, a, 2, &secret) ||
	    !jwt_split(c, s, &t))
		return NULL;
	const struct pv *header = jwt_json(c, t.part[0], "header");
	if (!header)
		return NULL;
	bool ok = jwt_bytes(c, t.part[2], "signature", &sig);
	if (ok) {
		cf_hmac(alg, secret, t.signed_part, mac);
		ok = cf_equal_ct(cf_view(mac, cf_hash_size(alg)), cf_buf_view(&sig));
	}
	cf_buf_fini(&sig);
	return c->fault ? NULL : pv_bool(ok);
}

static const struct pv *bi_hs256(struct bcall *c, const struct pv *const *a)
{
	return verify_hs(c, a, CF_SHA256);
}

static const struct pv *bi_hs384(struct bcall *c, const struct pv *const *a)
{
	return verify_hs(c, a, CF_SHA384);
}

static const struct pv *bi_hs512(struct bcall *c, const struct pv *const *a)
{
	return verify_hs(c, a, CF_SHA512);
}

const struct builtin builtins_jwt[] = {
	{ "io.jwt.decode", 1, 0, bi_decode, "s" },
	{ "io.jwt.verify_hs256", 2, 0, bi_hs256, "ss" },
	{ "io.jwt.verify_hs384", 2, 0, bi_hs384, "ss" },
	{ "io.jwt.verify_hs512", 2, 0, bi_hs512, "ss" },
	{ .name = NULL },
};
