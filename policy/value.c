/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/value.h"

#include "policy/number.h"

#include <stdarg.h>
#include <stdio.h>

const struct pv pv_null = { .type = PV_NULL, .weight = 1 };
const struct pv pv_true = { .type = PV_BOOL, .weight = 1, .b = true };
const struct pv pv_false = { .type = PV_BOOL, .weight = 1 };
const struct pv pv_empty_str = { .type = PV_STR, .weight = 1, .s = "" };
const struct pv pv_empty_arr = { .type = PV_ARR, .weight = 1, .depth = 1 };
const struct pv pv_empty_obj = { .type = PV_OBJ, .weight = 1, .depth = 1 };
const struct pv pv_empty_set = { .type = PV_SET, .weight = 1, .depth = 1 };

const struct pv *pv_int(struct cf_arena *a, int64_t i)
{
	struct pv *v = CF_ARENA_NEW(a, struct pv);

	v->type = PV_NUM;
	v->weight = 1;
	v->i = i;
	return v;
}

const struct pv *pv_str_static(struct cf_arena *a, struct cf_view text)
{
	if (!text.size)
		return &pv_empty_str;
	struct pv *v = CF_ARENA_NEW(a, struct pv);
	v->type = PV_STR;
	v->weight = 1;
	v->len = (uint32_t)text.size;
	v->s = (const char *)text.data;
	return v;
}

const struct pv *pv_str(struct cf_arena *a, struct cf_view text)
{
	if (text.size > UINT32_MAX) {
		a->is_over = true;
		return NULL;
	}
	const char *copy = cf_arena_copy(a, text);
	return copy ? pv_str_static(a, cf_view(copy, text.size)) : NULL;
}

const struct pv *pv_cstr(struct cf_arena *a, const char *s)
{
	return pv_str(a, cf_view_str(s));
}

/* ---- composites ---- */

void pv_vec_add(struct pv_vec *v, const struct pv *x)
{
	if (x && cf_arena_grow(v->arena, &v->items, &v->cap, v->count + 1))
		v->items[v->count++] = x;
}

void pv_vec_add_pair(struct pv_vec *v, const struct pv *key, const struct pv *val)
{
	if (key && val && cf_arena_grow(v->arena, &v->items, &v->cap, v->count + 2)) {
		v->items[v->count++] = key;
		v->items[v->count++] = val;
	}
}

/* Seals @n members: a composite too deep or too heavy to be walked marks the arena over. */
static const struct pv *seal(struct cf_arena *a, enum pv_type type, const struct pv *const *at,
                             size_t n)
{
	struct pv *v = CF_ARENA_NEW(a, struct pv);
	uint64_t weight = 1;
	unsigned depth = 0;

	for (size_t i = 0; i < n; i++) {
		weight += at[i]->weight;
		depth = CF_MAX(depth, (unsigned)at[i]->depth);
	}
	if (weight > POLICY_VALUE_WEIGHT_MAX || depth + 1 > POLICY_VALUE_DEPTH_MAX) {
		a->is_over = true;
		return NULL;
	}
	v->type = (uint8_t)type;
	v->len = (uint32_t)(type == PV_OBJ ? n / 2 : n);
	v->depth = (uint16_t)(depth + 1);
	v->weight = (uint32_t)weight;
	v->at = at;
	return v;
}

const struct pv *pv_vec_array(struct pv_vec *v)
{
	return v->count ? seal(v->arena, PV_ARR, v->items, v->count) : &pv_empty_arr;
}

static bool is_sorted(const struct pv *const *at, size_t n, size_t stride)
{
	for (size_t i = 1; i < n; i++)
		if (pv_cmp(at[(i - 1) * stride], at[i * stride]) >= 0)
			return false;
	return true;
}

/* Merges the sorted runs [0,mid) and [mid,n) of @at through @tmp; stable. */
static void merge(const struct pv **at, size_t mid, size_t n, size_t stride, const struct pv **tmp)
{
	size_t i = 0, j = mid, k = 0;

	while (i < mid || j < n) {
		bool is_left = j >= n || (i < mid && pv_cmp(at[i * stride], at[j * stride]) <= 0);
		size_t from = is_left ? i++ : j++;

		memcpy(&tmp[k++ * stride], &at[from * stride], stride * sizeof(*at));
	}
	memcpy(at, tmp, n * stride * sizeof(*at));
}

static void sort_members(const struct pv **at, size_t n, size_t stride, const struct pv **tmp)
{
	if (n < 2)
		return;
	sort_members(at, n / 2, stride, tmp);
	sort_members(at + n / 2 * stride, n - n / 2, stride, tmp);
	if (pv_cmp(at[(n / 2 - 1) * stride], at[n / 2 * stride]) > 0)
		merge(at, n / 2, n, stride, tmp);
}

/* Sorts @n members of @stride pointers each; false when over. */
static bool sort_stable(struct cf_arena *a, const struct pv **at, size_t n, size_t stride)
{
	if (is_sorted(at, n, stride))
		return true;
	const struct pv **tmp = cf_arena_try(a, n * stride, sizeof(*tmp));
	if (!tmp)
		return false;
	sort_members(at, n, stride, tmp);
	return true;
}

const struct pv *pv_vec_sorted(struct pv_vec *v)
{
	return sort_stable(v->arena, v->items, v->count, 1) ? pv_vec_array(v) : NULL;
}

const struct pv *pv_vec_solutions(struct pv_vec *v)
{
	struct pv *r = CF_ARENA_NEW(v->arena, struct pv);

	r->type = PV_ARR;
	r->len = (uint32_t)v->count;
	r->at = v->items;
	return r;
}

const struct pv *pv_vec_set(struct pv_vec *v)
{
	size_t n = 0;

	if (!v->count)
		return &pv_empty_set;
	if (!sort_stable(v->arena, v->items, v->count, 1))
		return NULL;
	for (size_t i = 0; i < v->count; i++)
		if (!n || pv_cmp(v->items[n - 1], v->items[i]) != 0)
			v->items[n++] = v->items[i];
	v->count = n;
	return seal(v->arena, PV_SET, v->items, n);
}

const struct pv *pv_vec_object_unique(struct pv_vec *v, const struct pv **ret_key)
{
	size_t pairs = v->count / 2, n = 0;

	if (ret_key)
		*ret_key = NULL;
	if (!pairs)
		return &pv_empty_obj;
	if (!sort_stable(v->arena, v->items, pairs, 2))
		return NULL;
	for (size_t i = 0; i < pairs; i++) {
		const struct pv *key = v->items[2 * i], *val = v->items[2 * i + 1];

		if (n && pv_cmp(v->items[2 * (n - 1)], key) == 0) {
			if (ret_key && !pv_eq(v->items[2 * (n - 1) + 1], val)) {
				*ret_key = key;
				return NULL;
			}
			v->items[2 * n - 1] = val;
			continue;
		}
		v->items[2 * n] = key;
		v->items[2 * n + 1] = val;
		n++;
	}
	v->count = 2 * n;
	return seal(v->arena, PV_OBJ, v->items, 2 * n);
}

const struct pv *pv_vec_object(struct pv_vec *v)
{
	return pv_vec_object_unique(v, NULL);
}

/* ---- reading ---- */

static int cmp_members(const struct pv *const *a, size_t na, const struct pv *const *b, size_t nb)
{
	size_t n = CF_MIN(na, nb);

	for (size_t i = 0; i < n; i++) {
		int c = pv_cmp(a[i], b[i]);

		if (c)
			return c;
	}
	return na < nb ? -1 : na > nb;
}

static int cmp_str(const struct pv *a, const struct pv *b)
{
	size_t n = CF_MIN(a->len, b->len);
	int c = n ? memcmp(a->s, b->s, n) : 0;

	return c ? c : a->len < b->len ? -1 : a->len > b->len;
}

int pv_cmp(const struct pv *a, const struct pv *b)
{
	if (a == b)
		return 0;
	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	switch ((enum pv_type)a->type) {
	case PV_NULL:
		return 0;
	case PV_BOOL:
		return (int)a->b - (int)b->b;
	case PV_NUM:
		return number_cmp(a, b);
	case PV_STR:
		return cmp_str(a, b);
	case PV_OBJ:
		return cmp_members(a->at, 2 * (size_t)a->len, b->at, 2 * (size_t)b->len);
	case PV_ARR:
	case PV_SET:
		return cmp_members(a->at, a->len, b->at, b->len);
	}
	return 0;
}

bool pv_eq(const struct pv *a, const struct pv *b)
{
	if (a == b)
		return true;
	if (a->type != b->type)
		return false;
	if (a->type >= PV_STR && (a->len != b->len || a->weight != b->weight))
		return false;
	return pv_cmp(a, b) == 0;
}

uint32_t pv_find(const struct pv *v, const struct pv *key, bool *found)
{
	size_t stride = v->type == PV_OBJ ? 2 : 1;
	uint32_t lo = 0, hi = v->len;

	*found = false;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int c = pv_cmp(v->at[mid * stride], key);

		if (c == 0) {
			*found = true;
			return mid;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct pv *pv_obj_get(const struct pv *o, const struct pv *key)
{
	bool found;
	uint32_t i = pv_find(o, key, &found);

	return found ? pv_obj_val(o, i) : NULL;
}

const struct pv *pv_obj_get_str(const struct pv *o, const char *key)
{
	const struct pv k = { .type = PV_STR, .len = (uint32_t)strlen(key), .s = key, .weight = 1 };

	return o->type == PV_OBJ ? pv_obj_get(o, &k) : NULL;
}

bool pv_set_has(const struct pv *s, const struct pv *x)
{
	bool found;

	pv_find(s, x, &found);
	return found;
}

const struct pv *pv_get(const struct pv *v, const struct pv *key)
{
	bool found;

	switch ((enum pv_type)v->type) {
	case PV_ARR:
		if (key->type != PV_NUM || key->is_text || key->i < 0 || key->i >= v->len)
			return NULL;
		return v->at[key->i];
	case PV_OBJ:
		return pv_obj_get(v, key);
	case PV_SET: {
		uint32_t i = pv_find(v, key, &found);

		return found ? v->at[i] : NULL;
	}
	default:
		return NULL;
	}
}

const char *pv_type_name(const struct pv *v)
{
	static const char *const names[] = { "null",  "boolean", "number", "string",
		                             "array", "object",  "set" };

	return names[v->type];
}

const struct pv *pv_copy(struct cf_arena *a, const struct pv *v)
{
	if (v->type == PV_STR)
		return pv_str(a, pv_view(v));
	if (v->type == PV_NUM)
		return v->is_text ? number_copy(a, v) : pv_int(a, v->i);
	if (!pv_is_composite(v))
		return v->type == PV_NULL ? &pv_null : pv_bool(v->b);
	size_t n = v->type == PV_OBJ ? 2 * (size_t)v->len : v->len;
	const struct pv **at = cf_arena_try(a, n, sizeof(*at));
	if (!at)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		at[i] = pv_copy(a, v->at[i]);
		if (!at[i])
			return NULL;
	}
	return seal(a, v->type, at, n);
}

/* ---- writing ---- */

const struct pv *pv_obj_put(struct cf_arena *a, const struct pv *o, const struct pv *key,
                            const struct pv *val)
{
	struct pv_vec v = pv_vec(a);

	for (uint32_t i = 0; i < o->len; i++)
		pv_vec_add_pair(&v, pv_obj_key(o, i), pv_obj_val(o, i));
	pv_vec_add_pair(&v, key, val);
	return pv_vec_object(&v);
}

const struct pv *pv_obj_drop(struct cf_arena *a, const struct pv *o, const struct pv *key)
{
	struct pv_vec v = pv_vec(a);

	for (uint32_t i = 0; i < o->len; i++)
		if (!pv_eq(pv_obj_key(o, i), key))
			pv_vec_add_pair(&v, pv_obj_key(o, i), pv_obj_val(o, i));
	return pv_vec_object(&v);
}

/* ---- string builder ---- */

void pv_sb_add(struct pv_sb *b, struct cf_view v)
{
	if (b->is_bad || !v.size)
		return;
	if (v.size > POLICY_STRING_MAX || b->size + v.size > POLICY_STRING_MAX ||
	    !cf_arena_grow(b->arena, &b->data, &b->cap, b->size + v.size + 1)) {
		b->is_bad = true;
		b->arena->is_over = true;
		return;
	}
	memcpy(b->data + b->size, v.data, v.size);
	b->size += v.size;
	b->data[b->size] = '\0';
}

void pv_sb_str(struct pv_sb *b, const char *s)
{
	pv_sb_add(b, cf_view_str(s));
}

void pv_sb_byte(struct pv_sb *b, char c)
{
	pv_sb_add(b, cf_view(&c, 1));
}

void pv_sb_rune(struct pv_sb *b, uint32_t r)
{
	uint8_t out[4];

	pv_sb_add(b, cf_view(out, cf_utf8_encode(r, out)));
}

void pv_sb_fmt(struct pv_sb *b, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n > 0)
		pv_sb_add(b, cf_view(text, CF_MIN((size_t)n, sizeof(text) - 1)));
}

const struct pv *pv_sb_done(struct pv_sb *b)
{
	if (b->is_bad)
		return NULL;
	return pv_str_static(b->arena, cf_view(b->data, b->size));
}

size_t pv_rune_count(struct cf_view v)
{
	size_t n = 0;

	for (size_t pos = 0; pos < v.size; n++)
		cf_utf8_next(v, &pos);
	return n;
}
