/* SPDX-License-Identifier: Apache-2.0 */
/* Objects. */
#include "policy/builtin.h"

#include <stdio.h>

static bool is_object(struct bcall *c, const struct pv *const *a, unsigned operand)
{
	return builtin_is(c, a, operand, PV_OBJ);
}

static const struct pv *bi_get(struct bcall *c, const struct pv *const *a)
{
	const struct pv *v = a[0];

	if (!is_object(c, a, 1))
		return NULL;
	if (a[1]->type != PV_ARR) {
		v = pv_obj_get(a[0], a[1]);
		return v ? v : a[2];
	}
	for (uint32_t i = 0; v && i < a[1]->len; i++)
		v = pv_get(v, a[1]->at[i]);
	return v ? v : a[2];
}

static const struct pv *bi_keys(struct bcall *c, const struct pv *const *a)
{
	struct pv_vec v = pv_vec(c->arena);

	if (!is_object(c, a, 1))
		return NULL;
	builtin_charge(c, 16 * (size_t)a[0]->len);
	for (uint32_t i = 0; i < a[0]->len; i++)
		pv_vec_add(&v, pv_obj_key(a[0], i));
	return pv_vec_set(&v);
}

/* The second operand of remove and filter as a set of keys. */
static const struct pv *key_set(struct bcall *c, const struct pv *const *a)
{
	struct pv_vec v = pv_vec(c->arena);

	if (!pv_is_composite(a[1])) {
		builtin_bad_type(c, 2, "one of {object, set, array}", a[1]);
		return NULL;
	}
	for (uint32_t i = 0; i < a[1]->len; i++)
		pv_vec_add(&v, a[1]->type == PV_OBJ ? pv_obj_key(a[1], i) : a[1]->at[i]);
	builtin_charge(c, 64 * v.count);
	return pv_vec_set(&v);
}

static const struct pv *picked(struct bcall *c, const struct pv *const *a, bool keeps)
{
	struct pv_vec v = pv_vec(c->arena);
	const struct pv *keys = is_object(c, a, 1) ? key_set(c, a) : NULL;

	if (!keys)
		return NULL;
	builtin_charge(c, 64 * (size_t)a[0]->len);
	for (uint32_t i = 0; i < a[0]->len; i++)
		if (pv_set_has(keys, pv_obj_key(a[0], i)) == keeps)
			pv_vec_add_pair(&v, pv_obj_key(a[0], i), pv_obj_val(a[0], i));
	return pv_vec_object(&v);
}

static const struct pv *bi_remove(struct bcall *c, const struct pv *const *a)
{
	return picked(c, a, false);
}

static const struct pv *bi_filter(struct bcall *c, const struct pv *const *a)
{
	return picked(c, a, true);
}

/* Deep: where both sides are objects their members are merged, elsewhere @b wins. */
static const struct pv *merged(struct bcall *c, const struct pv *a, const struct pv *b)
{
	struct pv_vec v = pv_vec(c->arena);
	uint32_t i = 0, k = 0;

	if (a->type != PV_OBJ || b->type != PV_OBJ)
		return b;
	builtin_charge(c, 32 * ((size_t)a->len + b->len));
	while (i < a->len || k < b->len) {
		int cmp = i == a->len   ? 1
		          : k == b->len ? -1
		                        : pv_cmp(pv_obj_key(a, i), pv_obj_key(b, k));

		if (cmp < 0)
			pv_vec_add_pair(&v, pv_obj_key(a, i), pv_obj_val(a, i));
		else if (cmp > 0)
			pv_vec_add_pair(&v, pv_obj_key(b, k), pv_obj_val(b, k));
		else
			pv_vec_add_pair(&v, pv_obj_key(a, i),
			                merged(c, pv_obj_val(a, i), pv_obj_val(b, k)));
		i += cmp <= 0;
		k += cmp >= 0;
	}
	return pv_vec_object(&v);
}

static const struct pv *bi_union(struct bcall *c, const struct pv *const *a)
{
	return is_object(c, a, 1) && is_object(c, a, 2) ? merged(c, a[0], a[1]) : NULL;
}

static const struct pv *bi_union_n(struct bcall *c, const struct pv *const *a)
{
	const struct pv *r = &pv_empty_obj;

	if (!builtin_is(c, a, 1, PV_ARR))
		return NULL;
	for (uint32_t i = 0; i < a[0]->len; i++)
		if (a[0]->at[i]->type != PV_OBJ) {
			c->fault = BUILTIN_TYPE;
			snprintf(c->msg, sizeof(c->msg),
			         "%s: operand 1 must be array of objects but got array containing "
			         "%s",
			         c->name, pv_type_name(a[0]->at[i]));
			return NULL;
		}
	for (uint32_t i = 0; r && i < a[0]->len; i++)
		r = merged(c, r, a[0]->at[i]);
	return r;
}

/* ---- subset ---- */

static bool set_in_set(const struct pv *super, const struct pv *sub)
{
	for (uint32_t i = 0; i < sub->len; i++)
		if (!pv_set_has(super, sub->at[i]))
			return false;
	return true;
}

static bool run_in_array(struct bcall *c, const struct pv *super, const struct pv *sub)
{
	for (uint32_t at = 0; at + (uint64_t)sub->len <= super->len; at++) {
		uint32_t k = 0;

		builtin_charge(c, 64);
		while (k < sub->len && pv_eq(super->at[at + k], sub->at[k]))
			k++;
		if (k == sub->len)
			return true;
	}
	return false;
}

static bool set_in_array(const struct pv *super, const struct pv *sub)
{
	for (uint32_t i = 0; i < sub->len; i++) {
		uint32_t k = 0;

		while (k < super->len && !pv_eq(super->at[k], sub->at[i]))
			k++;
		if (k == super->len)
			return false;
	}
	return true;
}

static bool subset(struct bcall *c, const struct pv *super, const struct pv *sub)
{
	if (super->type == PV_SET && sub->type == PV_SET)
		return set_in_set(super, sub);
	if (super->type == PV_ARR && sub->type == PV_ARR)
		return run_in_array(c, super, sub);
	if (super->type == PV_ARR && sub->type == PV_SET)
		return set_in_array(super, sub);
	if (super->type != PV_OBJ || sub->type != PV_OBJ)
		return pv_eq(super, sub);
	for (uint32_t i = 0; i < sub->len; i++) {
		const struct pv *own = pv_obj_get(super, pv_obj_key(sub, i));

		if (!own || !subset(c, own, pv_obj_val(sub, i)))
			return false;
	}
	return true;
}

static const struct pv *bi_subset(struct bcall *c, const struct pv *const *a)
{
	bool fits = (a[0]->type == a[1]->type && pv_is_composite(a[0])) ||
	            (a[0]->type == PV_ARR && a[1]->type == PV_SET);

	if (!fits) {
		c->fault = BUILTIN_ERROR;
		snprintf(c->msg, sizeof(c->msg),
		         "object.subset: both arguments object.subset must be of the same type or "
		         "array and set");
		return NULL;
	}
	builtin_charge(c, 16 * ((size_t)a[0]->weight + a[1]->weight));
	if (a[0]->type != PV_OBJ)
		builtin_charge(c, (size_t)a[0]->len * a[1]->len);
	return pv_bool(subset(c, a[0], a[1]));
}

const struct builtin builtins_object[] = {
	{ "object.get", 3, 0, bi_get, "o" },        { "object.keys", 1, 0, bi_keys, "o" },
	{ "object.remove", 2, 0, bi_remove, "o" },  { "object.filter", 2, 0, bi_filter, "o" },
	{ "object.union", 2, 0, bi_union, "oo" },   { "object.union_n", 1, 0, bi_union_n, "a" },
	{ "object.subset", 2, 0, bi_subset, NULL }, { .name = NULL },
};
