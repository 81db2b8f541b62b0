/* SPDX-License-Identifier: Apache-2.0 */
/* Comparison, set operators, membership, types and casts. */
#include "policy/builtin.h"

static const struct pv *bi_equal(struct bcall *c, const struct pv *const *a)
{
	(void)c;
	return pv_bool(pv_eq(a[0], a[1]));
}

static const struct pv *bi_neq(struct bcall *c, const struct pv *const *a)
{
	(void)c;
	return pv_bool(!pv_eq(a[0], a[1]));
}

static const struct pv *bi_lt(struct bcall *c, const struct pv *const *a)
{
	(void)c;
	return pv_bool(pv_cmp(a[0], a[1]) < 0);
}

static const struct pv *bi_lte(struct bcall *c, const struct pv *const *a)
{
	(void)c;
	return pv_bool(pv_cmp(a[0], a[1]) <= 0);
}

static const struct pv *bi_gt(struct bcall *c, const struct pv *const *a)
{
	(void)c;
	return pv_bool(pv_cmp(a[0], a[1]) > 0);
}

static const struct pv *bi_gte(struct bcall *c, const struct pv *const *a)
{
	(void)c;
	return pv_bool(pv_cmp(a[0], a[1]) >= 0);
}

/* ---- sets ---- */

static bool are_sets(struct bcall *c, const struct pv *const *a)
{
	return builtin_is(c, a, 1, PV_SET) && builtin_is(c, a, 2, PV_SET);
}

static const struct pv *bi_and(struct bcall *c, const struct pv *const *a)
{
	struct pv_vec v = pv_vec(c->arena);

	if (!are_sets(c, a))
		return NULL;
	builtin_charge(c, 64 * (size_t)a[0]->len);
	for (uint32_t i = 0; i < a[0]->len; i++)
		if (pv_set_has(a[1], a[0]->at[i]))
			pv_vec_add(&v, a[0]->at[i]);
	return pv_vec_set(&v);
}

static const struct pv *bi_or(struct bcall *c, const struct pv *const *a)
{
	struct pv_vec v = pv_vec(c->arena);

	if (!are_sets(c, a))
		return NULL;
	for (unsigned k = 0; k < 2; k++) {
		builtin_charge(c, 64 * (size_t)a[k]->len);
		for (uint32_t i = 0; i < a[k]->len; i++)
			pv_vec_add(&v, a[k]->at[i]);
	}
	return pv_vec_set(&v);
}

static bool is_set_of_sets(struct bcall *c, const struct pv *const *a)
{
	if (!builtin_is(c, a, 1, PV_SET))
		return false;
	for (uint32_t i = 0; i < a[0]->len; i++)
		if (a[0]->at[i]->type != PV_SET) {
			builtin_bad_type(c, 1, "set of sets", a[0]->at[i]);
			return false;
		}
	return true;
}

static const struct pv *bi_union(struct bcall *c, const struct pv *const *a)
{
	struct pv_vec v = pv_vec(c->arena);

	if (!is_set_of_sets(c, a))
		return NULL;
	for (uint32_t i = 0; i < a[0]->len; i++)
		for (uint32_t k = 0; k < a[0]->at[i]->len; k++)
			pv_vec_add(&v, a[0]->at[i]->at[k]);
	builtin_charge(c, 64 * v.count);
	return pv_vec_set(&v);
}

static const struct pv *bi_intersection(struct bcall *c, const struct pv *const *a)
{
	if (!is_set_of_sets(c, a))
		return NULL;
	const struct pv *r = a[0]->len ? a[0]->at[0] : &pv_empty_set;
	for (uint32_t i = 1; r && i < a[0]->len; i++)
		r = bi_and(c, (const struct pv *const[]){ r, a[0]->at[i] });
	return r;
}

static const struct pv *bi_set_diff(struct bcall *c, const struct pv *const *a)
{
	struct pv_vec v = pv_vec(c->arena);

	if (!are_sets(c, a))
		return NULL;
	builtin_charge(c, 64 * (size_t)a[0]->len);
	for (uint32_t i = 0; i < a[0]->len; i++)
		if (!pv_set_has(a[1], a[0]->at[i]))
			pv_vec_add(&v, a[0]->at[i]);
	return pv_vec_set(&v);
}

/* ---- in ---- */

static const struct pv *bi_member_2(struct bcall *c, const struct pv *const *a)
{
	const struct pv *xs = a[1];

	if (xs->type == PV_SET)
		return pv_bool(pv_set_has(xs, a[0]));
	if (!pv_is_composite(xs))
		return &pv_false;
	builtin_charge(c, 16 * (size_t)xs->len);
	for (uint32_t i = 0; i < xs->len; i++)
		if (pv_eq(xs->type == PV_OBJ ? pv_obj_val(xs, i) : xs->at[i], a[0]))
			return &pv_true;
	return &pv_false;
}

static const struct pv *bi_member_3(struct bcall *c, const struct pv *const *a)
{
	const struct pv *v = pv_is_composite(a[2]) ? pv_get(a[2], a[0]) : NULL;

	(void)c;
	return pv_bool(v && pv_eq(v, a[1]));
}

/* ---- types ---- */

static const struct pv *bi_type_name(struct bcall *c, const struct pv *const *a)
{
	return pv_str_static(c->arena, cf_view_str(pv_type_name(a[0])));
}

#define IS_TYPE(fn, t)                                                                             \
	static const struct pv *fn(struct bcall *c, const struct pv *const *a)                     \
	{                                                                                          \
		(void)c;                                                                           \
		return pv_bool(a[0]->type == (t));                                                 \
	}
IS_TYPE(bi_is_array, PV_ARR)
IS_TYPE(bi_is_boolean, PV_BOOL)
IS_TYPE(bi_is_null, PV_NULL)
IS_TYPE(bi_is_number, PV_NUM)
IS_TYPE(bi_is_object, PV_OBJ)
IS_TYPE(bi_is_set, PV_SET)
IS_TYPE(bi_is_string, PV_STR)

static const struct pv *bi_cast_array(struct bcall *c, const struct pv *const *a)
{
	struct pv_vec v = pv_vec(c->arena);

	if (!builtin_is_list(c, a, 1))
		return NULL;
	for (uint32_t i = 0; i < a[0]->len; i++)
		pv_vec_add(&v, a[0]->at[i]);
	return pv_vec_array(&v);
}

static const struct pv *bi_cast_set(struct bcall *c, const struct pv *const *a)
{
	struct pv_vec v = pv_vec(c->arena);

	if (!builtin_is_list(c, a, 1))
		return NULL;
	for (uint32_t i = 0; i < a[0]->len; i++)
		pv_vec_add(&v, a[0]->at[i]);
	return pv_vec_set(&v);
}

#define CAST(fn, t)                                                                                \
	static const struct pv *fn(struct bcall *c, const struct pv *const *a)                     \
	{                                                                                          \
		return builtin_is(c, a, 1, t) ? a[0] : NULL;                                       \
	}
CAST(bi_cast_string, PV_STR)
CAST(bi_cast_boolean, PV_BOOL)
CAST(bi_cast_null, PV_NULL)
CAST(bi_cast_object, PV_OBJ)

static const struct pv *bi_all(struct bcall *c, const struct pv *const *a)
{
	if (!builtin_is_list(c, a, 1))
		return NULL;
	for (uint32_t i = 0; i < a[0]->len; i++)
		if (!pv_eq(a[0]->at[i], &pv_true))
			return &pv_false;
	return &pv_true;
}

static const struct pv *bi_any(struct bcall *c, const struct pv *const *a)
{
	if (!builtin_is_list(c, a, 1))
		return NULL;
	for (uint32_t i = 0; i < a[0]->len; i++)
		if (pv_eq(a[0]->at[i], &pv_true))
			return &pv_true;
	return &pv_false;
}

/* ---- print and trace ---- */

static const struct pv *bi_trace(struct bcall *c, const struct pv *const *a)
{
	return builtin_is(c, a, 1, PV_STR) ? &pv_true : NULL;
}

const struct builtin builtins_core[] = {
	{ "equal", 2, 0, bi_equal, NULL },
	{ "eq", 2, 0, bi_equal, NULL },
	{ "neq", 2, 0, bi_neq, NULL },
	{ "lt", 2, 0, bi_lt, NULL },
	{ "lte", 2, 0, bi_lte, NULL },
	{ "gt", 2, 0, bi_gt, NULL },
	{ "gte", 2, 0, bi_gte, NULL },
	{ "and", 2, 0, bi_and, "ee" },
	{ "or", 2, 0, bi_or, "ee" },
	{ "union", 1, 0, bi_union, "e" },
	{ "intersection", 1, 0, bi_intersection, "e" },
	{ "set_diff", 2, BUILTIN_V0_ONLY, bi_set_diff, "ee" },
	{ "internal.member_2", 2, 0, bi_member_2, NULL },
	{ "internal.member_3", 3, 0, bi_member_3, NULL },
	{ "type_name", 1, 0, bi_type_name, NULL },
	{ "is_array", 1, 0, bi_is_array, NULL },
	{ "is_boolean", 1, 0, bi_is_boolean, NULL },
	{ "is_null", 1, 0, bi_is_null, NULL },
	{ "is_number", 1, 0, bi_is_number, NULL },
	{ "is_object", 1, 0, bi_is_object, NULL },
	{ "is_set", 1, 0, bi_is_set, NULL },
	{ "is_string", 1, 0, bi_is_string, NULL },
	{ "cast_array", 1, BUILTIN_V0_ONLY, bi_cast_array, NULL },
	{ "cast_set", 1, BUILTIN_V0_ONLY, bi_cast_set, NULL },
	{ "cast_string", 1, BUILTIN_V0_ONLY, bi_cast_string, NULL },
	{ "cast_boolean", 1, BUILTIN_V0_ONLY, bi_cast_boolean, NULL },
	{ "cast_null", 1, BUILTIN_V0_ONLY, bi_cast_null, NULL },
	{ "cast_object", 1, BUILTIN_V0_ONLY, bi_cast_object, NULL },
	{ "all", 1, BUILTIN_V0_ONLY, bi_all, "l" },
	{ "any", 1, BUILTIN_V0_ONLY, bi_any, "l" },
	{ "trace", 1, 0, bi_trace, "s" },
	{ "print", 0, BUILTIN_VOID, NULL, NULL },
	{ .name = NULL },
};
