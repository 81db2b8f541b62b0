/* SPDX-License-Identifier: Apache-2.0 */
/* io.jwt.verify_* with public keys, and io.jwt.decode_verify with its constraints. */
#include "policy/eval.h"
#include "policy/jwt.h"

#define NS_PER_S 1000000000.0

/* ---- verify_rs256 and its kin ---- */

/* The algorithm is the one in the builtin's name: the token has no say in it. */
static const struct jwt_alg *alg_of_name(struct bcall *c)
{
	const char *name = strrchr(c->name, '_') + 1;
	char upper[8] = { 0 };

	if (!strcmp(name, "eddsa"))
		return jwt_alg_find(pv_cstr(c->arena, "EdDSA"));
	for (size_t i = 0; name[i] && i < sizeof(upper) - 1; i++)
		upper[i] = (char)(name[i] >= 'a' && name[i] <= 'z' ? name[i] - 'a' + 'A' : name[i]);
	return jwt_alg_find(pv_cstr(c->arena, upper));
}

static const struct pv *bi_verify(struct bcall *c, const struct pv *const *a)
{
	cf_cleanup(jwt_keys_fini) struct jwt_keys keys = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf sig = { 0 };
	struct cf_view text, key_text;
	struct jwt t;

	if (!builtin_is_string(c, a, 1, &text) || !builtin_is_string(c, a, 2, &key_text) ||
	    !jwt_split(c, text, &t) || !jwt_keys_read(c, key_text, &keys) ||
	    !jwt_bytes(c, t.part[2], "signature", &sig))
		return NULL;
	const struct pv *header = jwt_json(c, t.part[0], "header");
	if (!header)
		return NULL;
	return pv_bool(jwt_keys_verify(c, &keys, alg_of_name(c), header, &t, cf_buf_view(&sig)));
}

/* ---- decode_verify ---- */

struct constraints {
	struct jwt_keys keys;
	const struct pv *cert, *secret, *alg, *iss, *aud; /* strings, or NULL */
	double time_s;
};

static void constraints_fini(struct constraints *k)
{
	jwt_keys_fini(&k->keys);
}

static bool set_time(struct bcall *c, struct constraints *k, const struct pv *v)
{
	if (v->type != PV_NUM) {
		builtin_bad(c, "token time constraint: must be a number");
		return false;
	}
	k->time_s = number_to_double(v) / NS_PER_S;
	return true;
}

static bool set_constraint(struct bcall *c, struct constraints *k, const struct pv *key,
                           const struct pv *v)
{
	const struct {
		const char *name;
		const struct pv **place;
	} strings[] = { { "cert", &k->cert },
		        { "secret", &k->secret },
		        { "alg", &k->alg },
		        { "iss", &k->iss },
		        { "aud", &k->aud } };

	if (pv_is_str(key, "time"))
		return set_time(c, k, v);
	for (size_t i = 0; i < CF_ARRAY_LEN(strings); i++) {
		if (!pv_is_str(key, strings[i].name))
			continue;
		if (v->type != PV_STR) {
			builtin_bad(c, "%s constraint: must be a string", strings[i].name);
			return false;
		}
		*strings[i].place = v;
		return true;
	}
	builtin_bad(c, "unknown token validation constraint: %.*s",
	            (int)CF_MIN(key->type == PV_STR ? key->len : 0u, 64u),
	            key->type == PV_STR ? key->s : "");
	return false;
}

static bool read_constraints(struct bcall *c, const struct pv *o, struct constraints *k)
{
	k->time_s = (double)c->ev->now_ns / NS_PER_S;
	for (uint32_t i = 0; i < o->len; i++)
		if (!set_constraint(c, k, pv_obj_key(o, i), pv_obj_val(o, i)))
			return false;
	if (k->cert && k->secret)
		builtin_bad(c, "duplicate key constraints");
	else if (!k->cert && (!k->secret || !k->secret->len))
		builtin_bad(c, "no key constraint");
	return !c->fault && (!k->cert || jwt_keys_read(c, pv_view(k->cert), &k->keys));
}

/* A header without alg, or with extensions that nobody here understands, proves nothing. */
static bool is_header_valid(const struct pv *header)
{
	const struct pv *alg = pv_obj_get_str(header, "alg");

	return alg && alg->type == PV_STR && alg->len && !pv_obj_get_str(header, "crit");
}

static bool hmac_holds(const struct jwt_alg *alg, struct cf_view secret, const struct jwt *t,
                       struct cf_view signature)
{
	uint8_t mac[CF_HASH_SIZE_MAX];

	if (!alg->is_hmac)
		return false;
	cf_hmac(alg->hash, secret, t->signed_part, mac);
	return cf_equal_ct(cf_view(mac, cf_hash_size(alg->hash)), signature);
}

static bool is_signed(struct bcall *c, const struct constraints *k, const struct pv *header,
                      const struct jwt *t)
{
	const struct pv *name = pv_obj_get_str(header, "alg");
	const struct jwt_alg *alg = jwt_alg_find(name);
	cf_cleanup(cf_buf_fini) struct cf_buf sig = { 0 };

	if (!alg) {
		builtin_bad(c, "unknown JWS algorithm: %.*s", (int)CF_MIN(name->len, 32u), name->s);
		return false;
	}
	if (!jwt_bytes(c, t->part[2], "signature", &sig))
		return false;
	if (k->secret)
		return hmac_holds(alg, pv_view(k->secret), t, cf_buf_view(&sig));
	return jwt_keys_verify(c, &k->keys, alg, header, t, cf_buf_view(&sig));
}

static bool is_audience(const struct constraints *k, const struct pv *aud)
{
	if (!aud)
		return !k->aud;
	if (!k->aud)
		return false;
	if (aud->type != PV_ARR)
		return pv_eq(aud, k->aud);
	for (uint32_t i = 0; i < aud->len; i++)
		if (pv_eq(aud->at[i], k->aud))
			return true;
	return false;
}

static bool is_number(struct bcall *c, const struct pv *v, const char *name)
{
	if (v && v->type != PV_NUM)
		builtin_bad(c, "%s value must be a number", name);
	return v && v->type == PV_NUM;
}

static bool are_claims_fine(struct bcall *c, const struct constraints *k, const struct pv *payload)
{
	const struct pv *iss = pv_obj_get_str(payload, "iss");
	const struct pv *exp = pv_obj_get_str(payload, "exp"),
			*nbf = pv_obj_get_str(payload, "nbf");

	if (k->iss && k->iss->len && (!iss || !pv_eq(iss, k->iss)))
		return false;
	if (!is_audience(k, pv_obj_get_str(payload, "aud")))
		return false;
	if (is_number(c, exp, "exp") && k->time_s >= number_to_double(exp))
		return false;
	return !(is_number(c, nbf, "nbf") && k->time_s < number_to_double(nbf)) && !c->fault;
}

static const struct pv *outcome(struct bcall *c, const struct pv *header, const struct pv *payload)
{
	struct pv_vec none = pv_vec(c->arena), out = pv_vec(c->arena);
	const struct pv *empty = pv_vec_object(&none);

	pv_vec_add(&out, pv_bool(header != NULL));
	pv_vec_add(&out, header ? header : empty);
	pv_vec_add(&out, header ? payload : empty);
	return pv_vec_array(&out);
}

/* One level of a token; *ret_header NULL: not verified. False: an error was reported. */
static bool open_level(struct bcall *c, const struct constraints *k, struct cf_view text,
                       const struct pv **ret_header, const struct pv **ret_payload)
{
	struct jwt t;

	*ret_header = *ret_payload = NULL;
	if (!jwt_split(c, text, &t))
		return false;
	const struct pv *header = jwt_json(c, t.part[0], "header");
	if (!header)
		return false;
	if (header->type != PV_OBJ || !is_header_valid(header) ||
	    (k->alg && k->alg->len && !pv_eq(k->alg, pv_obj_get_str(header, "alg"))) ||
	    !is_signed(c, k, header, &t))
		return !c->fault;
	*ret_header = header;
	return true;
}

/* What a level holds: text of a token, or a JSON document. */
static const struct pv *level_payload(struct bcall *c, struct cf_view text, bool is_token)
{
	struct cf_buf b = { 0 };
	const struct pv *v = NULL;
	struct jwt t;

	if (!jwt_split(c, text, &t))
		return NULL;
	if (!is_token)
		return jwt_json(c, t.part[1], "payload");
	if (jwt_bytes(c, t.part[1], "payload", &b))
		v = pv_str(c->arena, cf_buf_view(&b));
	cf_buf_fini(&b);
	return v;
}

static const struct pv *decode_verify(struct bcall *c, const struct constraints *k,
                                      struct cf_view text)
{
	for (unsigned nest = 0; nest < JWT_NEST_MAX; nest++) {
		const struct pv *header, *payload;

		if (!open_level(c, k, text, &header, &payload))
			return NULL;
		if (!header)
			return outcome(c, NULL, NULL);
		bool is_nested = jwt_is_nested(header);
		payload = level_payload(c, text, is_nested);
		if (!payload)
			return NULL;
		if (is_nested) {
			text = pv_view(payload);
			continue;
		}
		if (payload->type != PV_OBJ)
			return builtin_bad(c, "JWT payload is no object");
		bool ok = are_claims_fine(c, k, payload);
		if (c->fault)
			return NULL;
		return outcome(c, ok ? header : NULL, payload);
	}
	return builtin_bad(c, "JWT nested more than %u deep", JWT_NEST_MAX);
}

static const struct pv *bi_decode_verify(struct bcall *c, const struct pv *const *a)
{
	cf_cleanup(constraints_fini) struct constraints k = { 0 };
	struct cf_view text;

	if (!builtin_is_string(c, a, 1, &text) || !builtin_is(c, a, 2, PV_OBJ) ||
	    !read_constraints(c, a[1], &k))
		return NULL;
	return decode_verify(c, &k, text);
}

const struct builtin builtins_jwt_verify[] = {
	{ "io.jwt.verify_rs256", 2, 0, bi_verify, "ss" },
	{ "io.jwt.verify_rs384", 2, 0, bi_verify, "ss" },
	{ "io.jwt.verify_rs512", 2, 0, bi_verify, "ss" },
	{ "io.jwt.verify_ps256", 2, 0, bi_verify, "ss" },
	{ "io.jwt.verify_ps384", 2, 0, bi_verify, "ss" },
	{ "io.jwt.verify_ps512", 2, 0, bi_verify, "ss" },
	{ "io.jwt.verify_es256", 2, 0, bi_verify, "ss" },
	{ "io.jwt.verify_es384", 2, 0, bi_verify, "ss" },
	{ "io.jwt.verify_es512", 2, 0, bi_verify, "ss" },
	{ "io.jwt.verify_eddsa", 2, 0, bi_verify, "ss" },
	{ "io.jwt.decode_verify", 2, 0, bi_decode_verify, "so" },
	{ .name = NULL },
};
