/* SPDX-License-Identifier: Apache-2.0 */
/*
 * References: into values, and into data, where packages and rules lie over the base document. A
 * reference walks the rule tree and the base document side by side until it meets rules or leaves
 * the tree; from there on it walks values.
 */
#include "policy/eval.h"

/* Where a walk stands: in the tree (with the base value there, or NULL), or in a value. */
struct place {
	const struct tree *tree;
	const struct pv *base;
};

static bool is_hidden(const struct policy_eval *ev, const struct tree *t)
{
	return t && ev->world->masks && world_hides(ev, t);
}

/* A member of the base document; a number finds the member of that text. */
static const struct pv *base_get(struct policy_eval *ev, const struct pv *base,
                                 const struct pv *key)
{
	const struct pv *v = base ? pv_get(base, key) : NULL;

	if (v || !base || base->type != PV_OBJ || key->type != PV_NUM)
		return v;
	struct pv_sb text = pv_sb(&ev->arena);
	number_write(&text, key);
	const struct pv *name = pv_sb_done(&text);
	return name ? pv_obj_get(base, name) : NULL;
}

static struct place step(struct policy_eval *ev, struct place at, const struct pv *key)
{
	struct tree *kid = at.tree ? tree_find(at.tree, key) : NULL;

	return (struct place){ .tree = is_hidden(ev, kid) ? NULL : kid,
		               .base = base_get(ev, at.base, key) };
}

/* ---- the whole of a package ---- */

static int tree_extent(struct policy_eval *ev, struct place at, const struct pv **ret);

static int kid_extent(struct policy_eval *ev, const struct tree *kid, const struct pv *base,
                      const struct pv **ret)
{
	*ret = NULL;
	if (is_hidden(ev, kid)) {
		*ret = base;
		return EVAL_GO;
	}
	if (!kid->group)
		return tree_extent(ev, (struct place){ kid, base }, ret);
	if (kid->group->is_function)
		return EVAL_GO;
	return kid->group->is_partial ? rule_extent(ev, kid->group, NULL, ret)
	                              : rule_value(ev, kid->group, ret);
}

/* A package of that name is merged with the base member; a rule gives way to it. */
static bool is_merged(const struct tree *t, const struct pv *key)
{
	const struct tree *kid = tree_find(t, key);

	return kid && !kid->group;
}

static int tree_extent(struct policy_eval *ev, struct place at, const struct pv **ret)
{
	struct pv_vec v = pv_vec(&ev->arena);
	const struct pv *base = at.base && at.base->type == PV_OBJ ? at.base : NULL;

	for (uint32_t i = 0; base && i < base->len; i++)
		if (!is_merged(at.tree, pv_obj_key(base, i)))
			pv_vec_add_pair(&v, pv_obj_key(base, i), pv_obj_val(base, i));
	for (uint32_t i = 0; i < at.tree->kid_count; i++) {
		const struct tree *kid = at.tree->kids[i];
		const struct pv *val;
		const struct pv *own = base ? pv_obj_get(base, kid->key) : NULL;
		int r = eval_tick(ev);

		if (own && kid->group)
			continue;
		if (r >= 0)
			r = kid_extent(ev, kid, own, &val);
		if (r < 0)
			return r;
		if (val)
			pv_vec_add_pair(&v, kid->key, val);
	}
	*ret = pv_vec_object(&v);
	return *ret ? EVAL_GO : eval_tick(ev);
}

/* ---- rules on the way ---- */

/* The value of the rules at @g for a reference whose next element is @i. */
static int group_value(struct policy_eval *ev, struct frame *fr, const struct op *op, uint32_t i,
                       const struct group *g, const struct pv **ret)
{
	const struct pv *key = NULL;

	*ret = NULL;
	if (g->is_function)
		return EVAL_GO;
	if (!g->is_partial)
		return rule_value(ev, g, ret);
	if (!g->is_set && i < op->arg_count && !op->args[i]->is_binding) {
		key = node_value(ev, fr, op->args[i]);
		if (!key)
			return eval_tick(ev);
	}
	return rule_extent(ev, g, key, ret);
}

static struct place start(struct policy_eval *ev, struct frame *fr, const struct op *op,
                          uint32_t *i)
{
	struct place at = { .tree = &ev->policy->root, .base = ev->world->base };

	*i = 0;
	if (op->base == BASE_INPUT)
		return (struct place){ .base = ev->world->input };
	if (op->base == BASE_NODE)
		return (struct place){ .base = node_value(ev, fr, op->src) };
	if (!ev->world->masks && op->tree->group) { /* straight to the rules */
		*i = op->tree_depth;
		return (struct place){ .tree = op->tree };
	}
	if (is_hidden(ev, at.tree))
		at.tree = NULL;
	return at;
}

/* Reads one known element; base documents of data know numbers as names. */
static const struct pv *value_step(struct policy_eval *ev, const struct op *op, bool in_base,
                                   const struct pv *v, const struct pv *key)
{
	return op->base == BASE_DATA && in_base ? base_get(ev, v, key) : pv_get(v, key);
}

int doc_value(struct policy_eval *ev, struct frame *fr, const struct op *op, const struct pv **ret)
{
	uint32_t i;
	struct place at = start(ev, fr, op, &i);
	const struct pv *v = at.base;
	bool in_base = true;
	int r = EVAL_GO;

	*ret = NULL;
	while (at.tree && !at.tree->group && i < op->arg_count) {
		const struct pv *key = node_value(ev, fr, op->args[i++]);

		if (!key)
			return eval_tick(ev);
		at = step(ev, at, key);
		v = at.base;
	}
	if (at.tree && at.tree->group) {
		r = group_value(ev, fr, op, i, at.tree->group, &v);
		in_base = false;
	} else if (at.tree) {
		r = tree_extent(ev, at, &v);
	}
	for (; r >= 0 && v && i < op->arg_count; i++) {
		const struct pv *key = node_value(ev, fr, op->args[i]);

		v = key ? value_step(ev, op, in_base, v, key) : NULL;
	}
	*ret = v;
	return r;
}

/* ---- scanning ---- */

struct scan {
	struct policy_eval *ev;
	struct frame *fr;
	const struct block *block;
	uint32_t pc;
	struct sink *sink;
	const struct op *op;
};

static int scan_value(const struct scan *s, uint32_t i, const struct pv *v);

static int scan_end(const struct scan *s, const struct pv *v)
{
	bool ok = s->op->dst ? node_match(s->ev, s->fr, s->op->dst, v) : v->type != PV_BOOL || v->b;

	if (!ok) {
		if (trace_is_on(s->ev))
			trace_fail(s->ev, s->fr, s->op);
		if (s->ev->explain)
			explain_failure(s->ev, s->fr, s->op);
		return EVAL_GO;
	}
	return eval_block(s->ev, s->fr, s->block, s->pc + 1, s->sink);
}

/* Memory made for a member is given back when nothing of it was kept. */
static int scan_member(const struct scan *s, uint32_t i, const struct pv *key, const struct pv *val)
{
	struct cf_arena_mark mark = cf_arena_mark(&s->ev->arena);
	uint64_t kept = s->ev->kept;
	int r = eval_tick(s->ev);

	if (r == EVAL_GO && node_match(s->ev, s->fr, s->op->args[i], key))
		r = scan_value(s, i + 1, val);
	if (kept == s->ev->kept && !s->ev->arena.is_over)
		cf_arena_release(&s->ev->arena, mark);
	return r;
}

static int scan_members(const struct scan *s, uint32_t i, const struct pv *v)
{
	int r = EVAL_GO;

	for (uint32_t k = 0; pv_is_composite(v) && k < v->len && r == EVAL_GO; k++) {
		if (v->type == PV_OBJ) {
			r = scan_member(s, i, pv_obj_key(v, k), pv_obj_val(v, k));
			continue;
		}
		const struct pv *key = v->type == PV_SET ? v->at[k] : pv_int(&s->ev->arena, k);
		r = scan_member(s, i, key, v->at[k]);
	}
	return r;
}

static int scan_value(const struct scan *s, uint32_t i, const struct pv *v)
{
	for (; i < s->op->arg_count; i++) {
		if (s->op->args[i]->is_binding)
			return scan_members(s, i, v);
		const struct pv *key = node_value(s->ev, s->fr, s->op->args[i]);
		v = key ? value_step(s->ev, s->op, true, v, key) : NULL;
		if (!v)
			return EVAL_GO;
	}
	return scan_end(s, v);
}

static int scan_tree(const struct scan *s, uint32_t i, struct place at);

static int scan_kid(const struct scan *s, uint32_t i, struct place at, const struct pv *key)
{
	int r = eval_tick(s->ev);

	if (r < 0 || !node_match(s->ev, s->fr, s->op->args[i], key))
		return r;
	return scan_tree(s, i + 1, step(s->ev, at, key));
}

/* The members of a package: base members and rules, in the order of their keys. */
static int scan_kids(const struct scan *s, uint32_t i, struct place at)
{
	const struct pv *base = at.base && at.base->type == PV_OBJ ? at.base : NULL;
	uint32_t b = 0, k = 0, n = base ? base->len : 0;
	int r = EVAL_GO;

	while (r == EVAL_GO && (b < n || k < at.tree->kid_count)) {
		const struct pv *from_base = b < n ? pv_obj_key(base, b) : NULL;
		const struct pv *from_tree = k < at.tree->kid_count ? at.tree->kids[k]->key : NULL;
		int c = !from_base ? 1 : !from_tree ? -1 : pv_cmp(from_base, from_tree);

		b += c <= 0;
		k += c >= 0;
		r = scan_kid(s, i, at, c <= 0 ? from_base : from_tree);
	}
	return r;
}

static int scan_tree(const struct scan *s, uint32_t i, struct place at)
{
	const struct pv *v = at.base;
	int r = EVAL_GO;

	while (at.tree && !at.tree->group && i < s->op->arg_count) {
		if (s->op->args[i]->is_binding)
			return scan_kids(s, i, at);
		const struct pv *key = node_value(s->ev, s->fr, s->op->args[i++]);
		if (!key)
			return eval_tick(s->ev);
		at = step(s->ev, at, key);
		v = at.base;
	}
	if (at.tree && at.tree->group)
		r = group_value(s->ev, s->fr, s->op, i, at.tree->group, &v);
	else if (at.tree)
		r = tree_extent(s->ev, at, &v);
	return r < 0 || !v ? r : scan_value(s, i, v);
}

int doc_scan(struct policy_eval *ev, struct frame *fr, const struct block *block, uint32_t pc,
             struct sink *sink)
{
	const struct scan s = {
		.ev = ev, .fr = fr, .block = block, .pc = pc, .sink = sink, .op = block->ops[pc]
	};
	uint32_t i;
	struct place at = start(ev, fr, s.op, &i);

	return scan_tree(&s, i, at);
}
