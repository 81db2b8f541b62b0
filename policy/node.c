/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes at run time: a value made from slots and constants, or a pattern matched with a value. */
#include "policy/eval.h"

static const struct pv *composite_value(struct policy_eval *ev, const struct frame *fr,
                                        const struct node *n)
{
	struct pv_vec v = pv_vec(&ev->arena);

	for (uint32_t i = 0; i < n->count; i++) {
		const struct pv *x = node_value(ev, fr, n->kids[i]);

		if (!x)
			return NULL;
		pv_vec_add(&v, x);
	}
	if (n->kind == NODE_ARRAY)
		return pv_vec_array(&v);
	return n->kind == NODE_OBJECT ? pv_vec_object(&v) : pv_vec_set(&v);
}

const struct pv *node_value(struct policy_eval *ev, const struct frame *fr, const struct node *n)
{
	if (n->kind == NODE_CONST)
		return n->value;
	if (n->kind == NODE_SLOT)
		return fr->slots[n->slot];
	return composite_value(ev, fr, n);
}

static bool match_array(struct policy_eval *ev, struct frame *fr, const struct node *n,
                        const struct pv *v)
{
	if (v->type != PV_ARR || v->len != n->count)
		return false;
	for (uint32_t i = 0; i < n->count; i++)
		if (!node_match(ev, fr, n->kids[i], v->at[i]))
			return false;
	return true;
}

/* The same keys, no more: keys of the pattern may turn out equal to one another. */
static bool match_object(struct policy_eval *ev, struct frame *fr, const struct node *n,
                         const struct pv *v)
{
	struct pv_vec keys = pv_vec(&ev->arena);

	if (v->type != PV_OBJ || v->len > n->count / 2)
		return false;
	for (uint32_t i = 0; i < n->count; i += 2) {
		const struct pv *key = node_value(ev, fr, n->kids[i]);
		const struct pv *val = key ? pv_obj_get(v, key) : NULL;

		if (!val || !node_match(ev, fr, n->kids[i + 1], val))
			return false;
		pv_vec_add(&keys, key);
	}
	const struct pv *set = pv_vec_set(&keys);
	return set && set->len == v->len;
}

bool node_match(struct policy_eval *ev, struct frame *fr, const struct node *n, const struct pv *v)
{
	const struct pv *own;

	switch ((enum node_kind)n->kind) {
	case NODE_CONST:
		return pv_eq(n->value, v);
	case NODE_SLOT:
		if (!n->is_binding)
			return pv_eq(fr->slots[n->slot], v);
		fr->slots[n->slot] = v;
		return true;
	case NODE_ARRAY:
		return match_array(ev, fr, n, v);
	case NODE_OBJECT:
		return match_object(ev, fr, n, v);
	case NODE_SET:
		own = composite_value(ev, fr, n);
		return own && pv_eq(own, v);
	}
	return false;
}
