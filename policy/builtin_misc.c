/* SPDX-License-Identifier: Apache-2.0 */
/* glob.*, semver.*, units.*, uuid.parse. */
#include "policy/glob.h"
#include "policy/regex_cache.h"
#include "policy/units.h"

#include <stdio.h>

/* ---- glob ---- */

/* null: none; an empty array: the dot. Each delimiter is one rune. */
static bool delimiters(struct bcall *c, const struct pv *const *a, struct pv_sb *b)
{
	if (a[1]->type == PV_NULL)
		return true;
	if (a[1]->type != PV_ARR) {
		builtin_bad_type(c, 2, "one of {null, array}", a[1]);
		return false;
	}
	if (!a[1]->len)
		pv_sb_byte(b, '.');
	for (uint32_t i = 0; i < a[1]->len; i++) {
		const struct pv *d = a[1]->at[i];

		if (d->type != PV_STR || pv_rune_count(pv_view(d)) != 1) {
			builtin_bad_type(c, 2, "array of single-character strings", d);
			return false;
		}
		pv_sb_add(b, pv_view(d));
	}
	return true;
}

static const struct pv *bi_glob_match(struct bcall *c, const struct pv *const *a)
{
	struct pv_sb delims = pv_sb(c->arena), b = pv_sb(c->arena);
	struct cf_view pattern, s;
	bool ok;

	if (!builtin_is_string(c, a, 1, &pattern) || !delimiters(c, a, &delims) ||
	    !builtin_is_string(c, a, 3, &s))
		return NULL;
	if (!glob_to_regex(&b, pattern, cf_view(delims.data, delims.size)))
		return builtin_bad(c, "malformed pattern");
	const struct cf_regex *re = b.is_bad ? NULL : regex_cached(c, cf_view(b.data, b.size));
	if (!re)
		return NULL;
	bool found = regex_cached_match(c, re, s, 0, NULL, &ok);
	return ok ? pv_bool(found) : NULL;
}

static const struct pv *bi_glob_quote(struct bcall *c, const struct pv *const *a)
{
	struct pv_sb b = pv_sb(c->arena);
	struct cf_view s;

	if (!builtin_is_string(c, a, 1, &s))
		return NULL;
	for (size_t i = 0; i < s.size && !b.is_bad; i++) {
		if (s.data[i] && strchr("*?\\[]{}", s.data[i]))
			pv_sb_byte(&b, '\\');
		pv_sb_byte(&b, (char)s.data[i]);
	}
	return pv_sb_done(&b);
}

/* ---- semver ---- */

struct semver {
	struct cf_view num[3], pre;
};

static bool is_ident(struct cf_view v)
{
	for (size_t i = 0; i < v.size; i++) {
		uint8_t c = v.data[i];

		if (c != '-' && !(c >= '0' && c <= '9') &&
		    !((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))
			return false;
	}
	return v.size > 0;
}

static bool is_numeric(struct cf_view v)
{
	for (size_t i = 0; i < v.size; i++)
		if (v.data[i] < '0' || v.data[i] > '9')
			return false;
	return v.size > 0;
}

static struct cf_view take_until(struct cf_view *rest, uint8_t end)
{
	ssize_t n = cf_view_find(*rest, end);
	struct cf_view head = n < 0 ? *rest : cf_view_sub(*rest, 0, (size_t)n);

	*rest = n < 0 ? (struct cf_view){ 0 } : cf_view_sub(*rest, (size_t)n + 1, rest->size);
	return head;
}

static bool are_idents(struct cf_view list, bool refuses_leading_zero)
{
	bool more = true;

	while (more) {
		more = cf_view_find(list, '.') >= 0;
		struct cf_view v = take_until(&list, '.');

		if (!is_ident(v) ||
		    (refuses_leading_zero && v.size > 1 && v.data[0] == '0' && is_numeric(v)))
			return false;
	}
	return true;
}

static bool semver_parse(struct cf_view s, struct semver *ret)
{
	bool has_meta = cf_view_find(s, '+') >= 0;
	struct cf_view rest = s, head = take_until(&rest, '+');

	*ret = (struct semver){ 0 };
	if (has_meta && !are_idents(rest, false))
		return false;
	bool has_pre = cf_view_find(head, '-') >= 0;
	ret->pre = head;
	struct cf_view core = take_until(&ret->pre, '-');
	if (has_pre && !are_idents(ret->pre, false))
		return false;
	for (unsigned i = 0; i < 3; i++) {
		bool more = cf_view_find(core, '.') >= 0;

		ret->num[i] = take_until(&core, '.');
		if (!is_numeric(ret->num[i]) || more != (i < 2) || ret->num[i].size > 18)
			return false;
	}
	return true;
}

static int cmp_numeric(struct cf_view a, struct cf_view b)
{
	while (a.size > 1 && a.data[0] == '0')
		a = cf_view_sub(a, 1, a.size);
	while (b.size > 1 && b.data[0] == '0')
		b = cf_view_sub(b, 1, b.size);
	if (a.size != b.size)
		return a.size < b.size ? -1 : 1;
	int c = a.size ? memcmp(a.data, b.data, a.size) : 0;
	return c < 0 ? -1 : c > 0;
}

static int cmp_ident(struct cf_view a, struct cf_view b)
{
	bool na = is_numeric(a), nb = is_numeric(b);

	if (na && nb)
		return cmp_numeric(a, b);
	if (na != nb)
		return na ? -1 : 1;
	size_t n = CF_MIN(a.size, b.size);
	int c = n ? memcmp(a.data, b.data, n) : 0;
	if (!c)
		c = a.size < b.size ? -1 : a.size > b.size;
	return c < 0 ? -1 : c > 0;
}

static int semver_cmp(struct semver a, struct semver b)
{
	int c = 0;

	for (unsigned i = 0; i < 3 && !c; i++)
		c = cmp_numeric(a.num[i], b.num[i]);
	if (c)
		return c;
	if (!a.pre.size || !b.pre.size)
		return a.pre.size ? -1 : b.pre.size ? 1 : 0;
	while (a.pre.size && b.pre.size && !c)
		c = cmp_ident(take_until(&a.pre, '.'), take_until(&b.pre, '.'));
	if (c)
		return c;
	return a.pre.size ? 1 : b.pre.size ? -1 : 0;
}

static const struct pv *bi_semver_compare(struct bcall *c, const struct pv *const *a)
{
	struct semver v[2];

	for (unsigned i = 0; i < 2; i++) {
		struct cf_view s;

		if (!builtin_is_string(c, a, i + 1, &s))
			return NULL;
		if (!semver_parse(s, &v[i]))
			return builtin_bad(c, "operand %u: string \"%.*s\" is not a valid SemVer",
			                   i + 1, (int)s.size, (const char *)s.data);
	}
	return pv_int(c->arena, semver_cmp(v[0], v[1]));
}

static const struct pv *bi_semver_is_valid(struct bcall *c, const struct pv *const *a)
{
	struct semver v;

	(void)c;
	return pv_bool(a[0]->type == PV_STR && semver_parse(pv_view(a[0]), &v));
}

/* ---- units ---- */

static const struct pv *bi_units_parse(struct bcall *c, const struct pv *const *a)
{
	struct cf_view s;

	return builtin_is_string(c, a, 1, &s) ? units_parse(c, s, false) : NULL;
}

static const struct pv *bi_units_parse_bytes(struct bcall *c, const struct pv *const *a)
{
	struct cf_view s;

	return builtin_is_string(c, a, 1, &s) ? units_parse(c, s, true) : NULL;
}

/* ---- uuid ---- */

static bool uuid_bytes(struct cf_view s, uint8_t out[16])
{
	static const uint8_t dashes[] = { 8, 13, 18, 23 };
	char hex[33] = { 0 };
	size_t n = 0;

	if (cf_view_starts_with(s, "urn:uuid:"))
		s = cf_view_sub(s, 9, s.size);
	else if (s.size == 38 && s.data[0] == '{' && s.data[37] == '}')
		s = cf_view_sub(s, 1, 36);
	if (s.size == 36) {
		for (size_t i = 0; i < sizeof(dashes); i++)
			if (s.data[dashes[i]] != '-')
				return false;
	} else if (s.size != 32) {
		return false;
	}
	for (size_t i = 0; i < s.size; i++)
		if (!(s.size == 36 && (i == 8 || i == 13 || i == 18 || i == 23)))
			hex[n++] = (char)s.data[i];
	return cf_hex_decode(cf_view(hex, 32), out, 16, NULL) == 0;
}

static const char *variant_name(uint8_t b)
{
	return (b & 0xc0) == 0x80   ? "RFC4122"
	       : (b & 0xe0) == 0xc0 ? "Microsoft"
	       : (b & 0xe0) == 0xe0 ? "Future"
	                            : "Reserved";
}

static void put(struct bcall *c, struct pv_vec *v, const char *key, const struct pv *val)
{
	pv_vec_add_pair(v, pv_cstr(c->arena, key), val);
}

/* What versions 1 and 2 hold: a node, a clock and a time. */
static void put_time_fields(struct bcall *c, struct pv_vec *v, const uint8_t u[16])
{
	char node[24];
	uint64_t time = (uint64_t)u[0] << 24 | (uint64_t)u[1] << 16 | (uint64_t)u[2] << 8 | u[3];

	time |= ((uint64_t)u[4] << 8 | u[5]) << 32 | ((uint64_t)(u[6] & 0x0f) << 8 | u[7]) << 48;
	snprintf(node, sizeof(node), "%02x-%02x-%02x-%02x-%02x-%02x", u[10], u[11], u[12], u[13],
	         u[14], u[15]);
	put(c, v, "nodeid", pv_cstr(c->arena, node));
	put(c, v, "macvariables",
	    pv_cstr(c->arena, (u[10] & 3) == 3   ? "local:multicast"
	                      : (u[10] & 3) == 2 ? "local:unicast"
	                      : (u[10] & 3) == 1 ? "global:multicast"
	                                         : "global:unicast"));
	put(c, v, "clocksequence", pv_int(c->arena, (int64_t)((u[8] & 0x3f) << 8 | u[9])));
	/* 100 ns since 1582-10-15 to ns since 1970 */
	put(c, v, "time", pv_int(c->arena, (int64_t)((time - 122192928000000000u) * 100)));
}

static const struct pv *bi_uuid_parse(struct bcall *c, const struct pv *const *a)
{
	struct pv_vec v = pv_vec(c->arena);
	uint8_t u[16];

	if (!builtin_is(c, a, 1, PV_STR))
		return NULL;
	if (!uuid_bytes(pv_view(a[0]), u))
		return NULL;
	unsigned version = u[6] >> 4;
	put(c, &v, "version", pv_int(c->arena, version));
	put(c, &v, "variant", pv_cstr(c->arena, variant_name(u[8])));
	if (version == 1 || version == 2)
		put_time_fields(c, &v, u);
	if (version == 2) {
		char domain[24];

		snprintf(domain, sizeof(domain), "Domain%u", u[9]);
		put(c, &v, "id",
		    pv_int(c->arena, (int64_t)u[0] << 24 | u[1] << 16 | u[2] << 8 | u[3]));
		put(c, &v, "domain",
		    pv_cstr(c->arena, u[9] == 0   ? "Person"
		                      : u[9] == 1 ? "Group"
		                      : u[9] == 2 ? "Org"
		                                  : domain));
	}
	return pv_vec_object(&v);
}

const struct builtin builtins_misc[] = {
	{ "glob.match", 3, 0, bi_glob_match, NULL },
	{ "glob.quote_meta", 1, 0, bi_glob_quote, "s" },
	{ "semver.compare", 2, 0, bi_semver_compare, "ss" },
	{ "semver.is_valid", 1, 0, bi_semver_is_valid, NULL },
	{ "units.parse", 1, 0, bi_units_parse, "s" },
	{ "units.parse_bytes", 1, 0, bi_units_parse_bytes, "s" },
	{ "uuid.parse", 1, 0, bi_uuid_parse, NULL },
	{ .name = NULL },
};
