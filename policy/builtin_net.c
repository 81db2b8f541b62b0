/* SPDX-License-Identifier: Apache-2.0 */
/* net.cidr_* */
#include "policy/builtin.h"
#include "policy/cidr.h"

#include <stdio.h>

#define POLICY_CIDR_MAX 65536u /* addresses that one call lists */

static bool bad_cidr(struct bcall *c, struct cf_view s)
{
	builtin_bad(c, "invalid CIDR address: %.*s", (int)s.size, (const char *)s.data);
	return false;
}

static bool is_cidr(struct bcall *c, struct cf_view s, struct cidr *ret)
{
	return cidr_parse(s, ret) || bad_cidr(c, s);
}

/* An address alone stands for the prefix of its full length. */
static bool cidr_or_ip(struct bcall *c, struct cf_view s, struct cidr *ret)
{
	if (cf_view_find(s, '/') < 0 && ip_parse(s, &ret->ip)) {
		ret->bits = ret->ip.is_v4 ? 32 : 128;
		return true;
	}
	if (cidr_parse(s, ret))
		return true;
	builtin_bad(c, "not a valid textual representation of an IP address or CIDR: %.*s",
	            (int)s.size, (const char *)s.data);
	return false;
}

static bool contains(const struct cidr *outer, const struct cidr *inner)
{
	struct ip first, last;

	cidr_range(inner, &first, &last);
	return cidr_has(outer, &first) && cidr_has(outer, &last);
}

static const struct pv *bi_contains(struct bcall *c, const struct pv *const *a)
{
	struct cf_view x, y;
	struct cidr outer, inner;

	if (!builtin_is_string(c, a, 1, &x) || !builtin_is_string(c, a, 2, &y) ||
	    !is_cidr(c, x, &outer) || !cidr_or_ip(c, y, &inner))
		return NULL;
	return pv_bool(contains(&outer, &inner));
}

static const struct pv *bi_intersects(struct bcall *c, const struct pv *const *a)
{
	struct cf_view x, y;
	struct cidr p, q;
	struct ip pf, pl, qf, ql;

	if (!builtin_is_string(c, a, 1, &x) || !builtin_is_string(c, a, 2, &y) ||
	    !is_cidr(c, x, &p) || !is_cidr(c, y, &q))
		return NULL;
	cidr_range(&p, &pf, &pl);
	cidr_range(&q, &qf, &ql);
	return pv_bool(ip_cmp(&pf, &ql) <= 0 && ip_cmp(&qf, &pl) <= 0);
}

static const struct pv *bi_is_valid(struct bcall *c, const struct pv *const *a)
{
	struct cidr p;

	(void)c;
	return pv_bool(a[0]->type == PV_STR && cidr_parse(pv_view(a[0]), &p));
}

static const struct pv *bi_expand(struct bcall *c, const struct pv *const *a)
{
	struct pv_vec v = pv_vec(c->arena);
	struct cf_view s;
	struct cidr p;
	struct ip at, last;
	char text[IP_TEXT_MAX];

	if (!builtin_is_string(c, a, 1, &s) || !is_cidr(c, s, &p))
		return NULL;
	if ((p.ip.is_v4 ? 32 : 128) - p.bits > 16)
		return builtin_abort(c, "more than %u addresses", POLICY_CIDR_MAX);
	cidr_range(&p, &at, &last);
	do {
		ip_write(&at, text);
		pv_vec_add(&v, pv_cstr(c->arena, text));
	} while (ip_cmp(&at, &last) != 0 && ip_next(&at));
	builtin_charge(c, 64 * v.count);
	return pv_vec_set(&v);
}

/* ---- merging ---- */

static void mask(struct cidr *p)
{
	struct ip last;

	cidr_range(p, &p->ip, &last);
}

static int by_start(const void *x, const void *y)
{
	const struct cidr *a = x, *b = y;
	int c;

	if (a->ip.is_v4 != b->ip.is_v4)
		return a->ip.is_v4 ? -1 : 1;
	c = ip_cmp(&a->ip, &b->ip);
	return c ? c : (int)a->bits - (int)b->bits;
}

/* The two halves of one prefix? */
static bool are_twins(const struct cidr *a, const struct cidr *b)
{
	struct cidr up = *a;

	if (a->bits != b->bits || !a->bits || a->ip.is_v4 != b->ip.is_v4)
		return false;
	up.bits--;
	mask(&up);
	return ip_cmp(&up.ip, &a->ip) == 0 && cidr_has(&up, &b->ip) && ip_cmp(&a->ip, &b->ip) != 0;
}

/* @list sorted: drops what another covers, joins twins; the number left. */
static size_t merge(struct cidr *list, size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		if (n && list[n - 1].ip.is_v4 == list[i].ip.is_v4 &&
		    contains(&list[n - 1], &list[i]))
			continue;
		list[n++] = list[i];
		while (n > 1 && are_twins(&list[n - 2], &list[n - 1])) {
			n--;
			list[n - 1].bits--;
		}
	}
	return n;
}

/* An IPv4 address alone takes the length of its class, as Go's DefaultMask. */
static bool merge_operand(struct bcall *c, const struct pv *v, struct cidr *ret)
{
	struct cf_view s = pv_view(v);

	if (cf_view_find(s, '/') >= 0)
		return is_cidr(c, s, ret);
	if (!ip_parse(s, &ret->ip))
		return bad_cidr(c, s);
	if (!ret->ip.is_v4) {
		builtin_bad(c, "IPv6 invalid: needs prefix length");
		return false;
	}
	ret->bits = ret->ip.b[12] < 0x80 ? 8 : ret->ip.b[12] < 0xc0 ? 16 : 24;
	return true;
}

static const struct pv *bi_merge(struct bcall *c, const struct pv *const *a)
{
	struct pv_vec v = pv_vec(c->arena);

	if (!builtin_is_list(c, a, 1))
		return NULL;
	struct cidr *list = cf_arena_try(c->arena, a[0]->len + 1, sizeof(*list));
	builtin_charge(c, 256 * (size_t)a[0]->len);
	for (uint32_t i = 0; list && i < a[0]->len; i++) {
		if (a[0]->at[i]->type != PV_STR)
			return builtin_bad_type(c, 1, "array of strings", a[0]->at[i]);
		if (!merge_operand(c, a[0]->at[i], &list[i]))
			return NULL;
		mask(&list[i]);
	}
	if (!list)
		return NULL;
	qsort(list, a[0]->len, sizeof(*list), by_start);
	size_t n = merge(list, a[0]->len);
	for (size_t i = 0; i < n; i++) {
		char ip[IP_TEXT_MAX], text[IP_TEXT_MAX + 8];

		ip_write(&list[i].ip, ip);
		snprintf(text, sizeof(text), "%s/%u", ip, list[i].bits);
		pv_vec_add(&v, pv_cstr(c->arena, text));
	}
	return pv_vec_set(&v);
}

/* ---- which contains which ---- */

/* A member of the operand: a string, or an array that starts with one. */
static bool member_cidr(struct bcall *c, unsigned operand, const struct pv *v, bool may_be_ip,
                        struct cidr *ret)
{
	if (v->type == PV_ARR && v->len)
		v = v->at[0];
	if (v->type != PV_STR) {
		builtin_bad(c, "operand %u: element must be string or non-empty array", operand);
		return false;
	}
	return may_be_ip ? cidr_or_ip(c, pv_view(v), ret) : is_cidr(c, pv_view(v), ret);
}

static const struct pv *operand_key(struct bcall *c, const struct pv *v, uint32_t i)
{
	if (v->type == PV_STR)
		return v;
	if (v->type == PV_OBJ)
		return pv_obj_key(v, i);
	return v->type == PV_SET ? v->at[i] : pv_int(c->arena, i);
}

static const struct pv *operand_val(const struct pv *v, uint32_t i)
{
	return v->type == PV_STR ? v : v->type == PV_OBJ ? pv_obj_val(v, i) : v->at[i];
}

static bool is_operand(struct bcall *c, const struct pv *const *a, unsigned operand)
{
	if (a[operand - 1]->type >= PV_STR)
		return true;
	builtin_bad_type(c, operand, "one of {string, array, set, object}", a[operand - 1]);
	return false;
}

static const struct pv *bi_contains_matches(struct bcall *c, const struct pv *const *a)
{
	struct pv_vec out = pv_vec(c->arena);

	if (!is_operand(c, a, 1) || !is_operand(c, a, 2))
		return NULL;
	uint32_t nx = a[0]->type == PV_STR ? 1 : a[0]->len,
		 ny = a[1]->type == PV_STR ? 1 : a[1]->len;
	if ((uint64_t)nx * ny > 10000000)
		return builtin_abort(c, "too many addresses");
	builtin_charge(c, 64 * (size_t)nx * ny);
	for (uint32_t i = 0; i < nx; i++) {
		for (uint32_t k = 0; k < ny; k++) {
			struct pv_vec pair = pv_vec(c->arena);
			struct cidr outer, inner;

			if (!member_cidr(c, 1, operand_val(a[0], i), false, &outer) ||
			    !member_cidr(c, 2, operand_val(a[1], k), true, &inner))
				return NULL;
			if (!contains(&outer, &inner))
				continue;
			pv_vec_add(&pair, operand_key(c, a[0], i));
			pv_vec_add(&pair, operand_key(c, a[1], k));
			pv_vec_add(&out, pv_vec_array(&pair));
		}
	}
	return pv_vec_set(&out);
}

const struct builtin builtins_net[] = {
	{ "net.cidr_contains", 2, 0, bi_contains, "ss" },
	{ "net.cidr_overlap", 2, BUILTIN_V0_ONLY, bi_contains, "ss" },
	{ "net.cidr_intersects", 2, 0, bi_intersects, "ss" },
	{ "net.cidr_is_valid", 1, 0, bi_is_valid, NULL },
	{ "net.cidr_expand", 1, 0, bi_expand, "s" },
	{ "net.cidr_merge", 1, 0, bi_merge, "l" },
	{ "net.cidr_contains_matches", 2, 0, bi_contains_matches, NULL },
	{ .name = NULL },
};
