/* SPDX-License-Identifier: Apache-2.0 */
/* sprintf, base64, hex, URL queries. */
#include "policy/builtin.h"
#include "policy/sprintf.h"

#include <stdio.h>

static const struct pv *bi_sprintf(struct bcall *c, const struct pv *const *a)
{
	struct pv_sb b = pv_sb(c->arena);
	struct cf_view fmt;

	if (!builtin_is_string(c, a, 1, &fmt) || !builtin_is(c, a, 2, PV_ARR))
		return NULL;
	builtin_charge(c, 64 * (size_t)a[1]->len);
	sprintf_write(&b, fmt, a[1]);
	builtin_charge(c, b.size);
	return pv_sb_done(&b);
}

/* ---- base64 ---- */

static const struct pv *taken(struct bcall *c, struct cf_buf *b)
{
	const struct pv *v = b->bad ? NULL : pv_str(c->arena, cf_buf_view(b));

	cf_buf_fini(b);
	return v ? v : builtin_abort(c, "text too long");
}

static const struct pv *encoded(struct bcall *c, const struct pv *const *a, enum cf_b64 kind)
{
	struct cf_buf b = { .max = POLICY_STRING_MAX };
	struct cf_view s;

	if (!builtin_is_string(c, a, 1, &s))
		return NULL;
	cf_b64_encode(kind, s, &b);
	return taken(c, &b);
}

static const struct pv *bi_b64_encode(struct bcall *c, const struct pv *const *a)
{
	return encoded(c, a, CF_B64_STD);
}

static const struct pv *bi_b64url_encode(struct bcall *c, const struct pv *const *a)
{
	return encoded(c, a, CF_B64_URL_PAD);
}

static const struct pv *bi_b64url_encode_no_pad(struct bcall *c, const struct pv *const *a)
{
	return encoded(c, a, CF_B64_URL);
}

/* Go skips CR and LF; the padding has to be there. Trailing bits are not looked at. */
bool base64_bytes(struct cf_view s, bool is_url, bool may_lack_padding, struct cf_buf *ret,
                  size_t *ret_bad)
{
	static const char std[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	static const char url[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint32_t bits = 0;
	size_t digits = 0, pads = 0;

	for (size_t i = 0; i < s.size; i++) {
		uint8_t ch = s.data[i];

		*ret_bad = i;
		const char *hit = ch ? strchr(is_url ? url : std, ch) : NULL;

		if (ch == '\r' || ch == '\n')
			continue;
		if (ch == '=') {
			pads++;
			continue;
		}
		if (!hit || pads)
			return false;
		bits = bits << 6 | (uint32_t)(hit - (is_url ? url : std));
		if (++digits % 4 == 0) {
			cf_buf_add_byte(ret, (uint8_t)(bits >> 16));
			cf_buf_add_byte(ret, (uint8_t)(bits >> 8));
			cf_buf_add_byte(ret, (uint8_t)bits);
		}
	}
	size_t rest = digits % 4, want = rest ? 4 - rest : 0;
	if (rest == 1 || (pads != want && !(may_lack_padding && !pads)))
		return false;
	if (rest)
		cf_buf_add_byte(ret, (uint8_t)(bits >> (rest == 2 ? 4 : 10)));
	if (rest == 3)
		cf_buf_add_byte(ret, (uint8_t)(bits >> 2));
	return true;
}

static const struct pv *decoded(struct bcall *c, const struct pv *const *a, bool is_url)
{
	struct cf_buf b = { .max = POLICY_STRING_MAX };
	struct cf_view s;
	size_t bad = 0;

	if (!builtin_is_string(c, a, 1, &s))
		return NULL;
	if (base64_bytes(s, is_url, is_url, &b, &bad))
		return taken(c, &b);
	cf_buf_fini(&b);
	return builtin_bad(c, "illegal base64 data at input byte %zu", bad);
}

static const struct pv *bi_b64_decode(struct bcall *c, const struct pv *const *a)
{
	return decoded(c, a, false);
}

static const struct pv *bi_b64url_decode(struct bcall *c, const struct pv *const *a)
{
	return decoded(c, a, true);
}

static const struct pv *bi_b64_is_valid(struct bcall *c, const struct pv *const *a)
{
	struct cf_buf b = { .max = POLICY_STRING_MAX };
	size_t bad = 0;

	if (a[0]->type != PV_STR)
		return &pv_false;
	builtin_charge(c, a[0]->len);
	bool ok = base64_bytes(pv_view(a[0]), false, false, &b, &bad);
	cf_buf_fini(&b);
	return pv_bool(ok);
}

/* ---- hex ---- */

static const struct pv *bi_hex_encode(struct bcall *c, const struct pv *const *a)
{
	struct pv_sb b = pv_sb(c->arena);
	struct cf_view s;

	if (!builtin_is_string(c, a, 1, &s))
		return NULL;
	for (size_t i = 0; i < s.size && !b.is_bad; i++) {
		pv_sb_byte(&b, "0123456789abcdef"[s.data[i] >> 4]);
		pv_sb_byte(&b, "0123456789abcdef"[s.data[i] & 15]);
	}
	return pv_sb_done(&b);
}

static const struct pv *bi_hex_decode(struct bcall *c, const struct pv *const *a)
{
	struct cf_buf b = { .max = POLICY_STRING_MAX };
	struct cf_view s;

	if (!builtin_is_string(c, a, 1, &s))
		return NULL;
	if (cf_hex_decode_buf(s, &b, NULL) == 0)
		return taken(c, &b);
	cf_buf_fini(&b);
	return builtin_bad(c, "encoding/hex: invalid byte or odd length hex string");
}

/* ---- URL queries ---- */

static void query_escape(struct pv_sb *b, struct cf_view s)
{
	for (size_t i = 0; i < s.size && !b->is_bad; i++) {
		uint8_t ch = s.data[i];
		bool plain = (ch >= '0' && ch <= '9') ||
		             ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'z') || ch == '-' || ch == '_' ||
		             ch == '.' || ch == '~';

		if (plain)
			pv_sb_byte(b, (char)ch);
		else if (ch == ' ')
			pv_sb_byte(b, '+');
		else
			pv_sb_fmt(b, "%%%02X", ch);
	}
}

static bool query_unescape(struct pv_sb *b, struct cf_view s)
{
	for (size_t i = 0; i < s.size; i++) {
		uint8_t byte;

		if (s.data[i] != '%') {
			pv_sb_byte(b, s.data[i] == '+' ? ' ' : (char)s.data[i]);
			continue;
		}
		if (cf_hex_decode(cf_view_sub(s, i + 1, 2), &byte, 1, NULL) < 0)
			return false;
		pv_sb_byte(b, (char)byte);
		i += 2;
	}
	return true;
}

static const struct pv *bi_url_encode(struct bcall *c, const struct pv *const *a)
{
	struct pv_sb b = pv_sb(c->arena);
	struct cf_view s;

	if (!builtin_is_string(c, a, 1, &s))
		return NULL;
	query_escape(&b, s);
	return pv_sb_done(&b);
}

static const struct pv *bi_url_decode(struct bcall *c, const struct pv *const *a)
{
	struct pv_sb b = pv_sb(c->arena);
	struct cf_view s;

	if (!builtin_is_string(c, a, 1, &s))
		return NULL;
	if (!query_unescape(&b, s))
		return builtin_bad(c, "invalid URL escape");
	return pv_sb_done(&b);
}

static void add_query_pair(struct pv_sb *b, const struct pv *key, const struct pv *val)
{
	if (b->size)
		pv_sb_byte(b, '&');
	query_escape(b, pv_view(key));
	pv_sb_byte(b, '=');
	query_escape(b, pv_view(val));
}

static const struct pv *bi_url_encode_object(struct bcall *c, const struct pv *const *a)
{
	struct pv_sb b = pv_sb(c->arena);

	if (!builtin_is(c, a, 1, PV_OBJ))
		return NULL;
	for (uint32_t i = 0; i < a[0]->len; i++) {
		const struct pv *key = pv_obj_key(a[0], i), *val = pv_obj_val(a[0], i);

		if (key->type != PV_STR)
			return builtin_bad_type(c, 1, "object with string keys", key);
		if (val->type == PV_STR)
			add_query_pair(&b, key, val);
		else if (val->type != PV_ARR && val->type != PV_SET)
			return builtin_bad_type(c, 1, "one of {string, set, array}", val);
		for (uint32_t k = 0; val->type != PV_STR && k < val->len; k++) {
			if (val->at[k]->type != PV_STR)
				return builtin_bad_type(c, 1, "string", val->at[k]);
			add_query_pair(&b, key, val->at[k]);
		}
	}
	builtin_charge(c, b.size);
	return pv_sb_done(&b);
}

/* One "key=value" of a query into @all: key → array of values. */
static bool decode_pair(struct bcall *c, struct cf_view part, const struct pv **all)
{
	ssize_t eq = cf_view_find(part, '=');
	struct pv_sb key = pv_sb(c->arena), val = pv_sb(c->arena);
	struct pv_vec list = pv_vec(c->arena);

	if (!query_unescape(&key, eq < 0 ? part : cf_view_sub(part, 0, (size_t)eq)) ||
	    (eq >= 0 && !query_unescape(&val, cf_view_sub(part, (size_t)eq + 1, part.size))))
		return false;
	const struct pv *k = pv_sb_done(&key), *old = k ? pv_obj_get(*all, k) : NULL;
	for (uint32_t i = 0; old && i < old->len; i++)
		pv_vec_add(&list, old->at[i]);
	pv_vec_add(&list, pv_sb_done(&val));
	builtin_charge(c, 32 * (size_t)(*all)->len);
	*all = k ? pv_obj_put(c->arena, *all, k, pv_vec_array(&list)) : NULL;
	return true;
}

static const struct pv *bi_url_decode_object(struct bcall *c, const struct pv *const *a)
{
	const struct pv *all = &pv_empty_obj;
	struct cf_view s;

	if (!builtin_is_string(c, a, 1, &s))
		return NULL;
	while (s.size && all) {
		ssize_t n = cf_view_find(s, '&');
		struct cf_view part = n < 0 ? s : cf_view_sub(s, 0, (size_t)n);

		if (cf_view_find(part, ';') >= 0)
			return builtin_bad(c, "invalid semicolon separator in query");
		if (part.size && !decode_pair(c, part, &all))
			return builtin_bad(c, "invalid URL escape");
		s = n < 0 ? (struct cf_view){ 0 } : cf_view_sub(s, (size_t)n + 1, s.size);
	}
	return all;
}

const struct builtin builtins_encode[] = {
	{ "sprintf", 2, 0, bi_sprintf, "sa" },
	{ "base64.encode", 1, 0, bi_b64_encode, "s" },
	{ "base64.decode", 1, 0, bi_b64_decode, "s" },
	{ "base64.is_valid", 1, 0, bi_b64_is_valid, NULL },
	{ "base64url.encode", 1, 0, bi_b64url_encode, "s" },
	{ "base64url.encode_no_pad", 1, 0, bi_b64url_encode_no_pad, "s" },
	{ "base64url.decode", 1, 0, bi_b64url_decode, "s" },
	{ "hex.encode", 1, 0, bi_hex_encode, "s" },
	{ "hex.decode", 1, 0, bi_hex_decode, "s" },
	{ "urlquery.encode", 1, 0, bi_url_encode, "s" },
	{ "urlquery.decode", 1, 0, bi_url_decode, "s" },
	{ "urlquery.encode_object", 1, 0, bi_url_encode_object, "o" },
	{ "urlquery.decode_object", 1, 0, bi_url_decode_object, "s" },
	{ .name = NULL },
};
