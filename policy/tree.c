/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rule tree: data's packages and rules by path. A rule whose head holds variables sits where the
 * constant part of its path ends; what lies below such a place is folded into it, so that a place
 * either has children or rules, never both.
 */
#include "policy/compile.h"

static uint32_t kid_at(const struct tree *t, const struct pv *key, bool *found)
{
	uint32_t lo = 0, hi = t->kid_count;

	*found = false;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int c = pv_cmp(t->kids[mid]->key, key);

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

struct tree *tree_find(const struct tree *t, const struct pv *key)
{
	bool found;
	uint32_t i = kid_at(t, key, &found);

	return found ? t->kids[i] : NULL;
}

static struct tree *tree_put(struct compiler *c, struct tree *t, const struct pv *key)
{
	bool found;
	uint32_t i = kid_at(t, key, &found);

	if (found)
		return t->kids[i];
	struct tree *kid = CF_ARENA_NEW(c->arena, struct tree);
	kid->key = key;
	kid->parent = t;
	kid->depth = t->depth + 1;
	kid->id = ++c->policy->tree_count;
	if (!cf_arena_grow(c->arena, &t->kids, &t->kid_cap, t->kid_count + 1))
		return kid;
	memmove(&t->kids[i + 1], &t->kids[i], (t->kid_count - i) * sizeof(struct tree *));
	t->kids[i] = kid;
	t->kid_count++;
	return kid;
}

struct tree *tree_package(const struct compiler *c, const struct module *m)
{
	struct tree *t = &c->policy->root;

	for (uint32_t i = 0; t && i < m->path_count; i++)
		t = tree_find(t, m->path[i]);
	return t;
}

static struct group *group_at(struct compiler *c, struct tree *t)
{
	if (!t->group) {
		t->group = CF_ARENA_NEW(c->arena, struct group);
		t->group->tree = t;
		t->group->id = c->policy->group_count++;
	}
	return t->group;
}

static bool is_constant_step(const struct term *t)
{
	return t->kind == TERM_CONST && !pv_is_composite(t->value);
}

static void place_rule(struct compiler *c, struct rule *r, struct pending_list *list)
{
	struct tree *t = tree_package(c, r->module);
	const struct term *name = r->ref->kind == TERM_REF ? r->ref->head : r->ref;
	uint32_t steps = r->ref->kind == TERM_REF ? r->ref->arg_count : 0, prefix = 0;

	t = tree_put(c, t, pv_str_static(c->arena, name->name));
	t->is_rule = true;
	while (prefix < steps && is_constant_step(r->ref->args[prefix]))
		t = tree_put(c, t, r->ref->args[prefix++]->value);
	if (!cf_arena_grow(c->arena, &list->items, &list->cap, list->count + 1))
		return;
	list->items[list->count++] =
		(struct pending){ .rule = r, .group = group_at(c, t), .prefix = prefix };
}

static uint32_t suffix_of(const struct pending *p)
{
	return (p->rule->ref->kind == TERM_REF ? p->rule->ref->arg_count : 0) - p->prefix;
}

/* The topmost place above @t, or @t, that holds rules with a variable part. */
static struct tree *folding_place(struct tree *t)
{
	struct tree *top = t;

	for (struct tree *up = t; up; up = up->parent)
		if (up->group && up->group->is_partial && !up->group->is_set && !up->is_package)
			top = up;
	return top;
}

static void drop_kids(struct tree *t)
{
	for (uint32_t i = 0; i < t->kid_count; i++)
		drop_kids(t->kids[i]);
	t->kid_count = 0;
}

static void fold(struct pending_list *list)
{
	for (uint32_t i = 0; i < list->count; i++)
		if (suffix_of(&list->items[i]))
			list->items[i].group->is_partial = true;
	for (uint32_t i = 0; i < list->count; i++) {
		struct pending *p = &list->items[i];
		struct tree *from = p->group->tree, *to = folding_place(from);

		if (from != to) {
			p->prefix -= from->depth - to->depth;
			p->group = to->group;
		}
	}
	for (uint32_t i = 0; i < list->count; i++)
		if (list->items[i].group->is_partial && !list->items[i].group->tree->is_package)
			drop_kids(list->items[i].group->tree);
}

static void mark_kinds(struct pending_list *list)
{
	for (uint32_t i = 0; i < list->count; i++) {
		struct group *g = list->items[i].group;

		g->is_set = true;
		g->is_function |= list->items[i].rule->is_function;
	}
	for (uint32_t i = 0; i < list->count; i++) {
		struct pending *p = &list->items[i];

		if (!p->rule->is_set || suffix_of(p))
			p->group->is_set = false;
	}
	for (uint32_t i = 0; i < list->count; i++)
		if (list->items[i].group->is_set)
			list->items[i].group->is_partial = true;
}

bool tree_build(struct compiler *c, struct pending_list *ret)
{
	for (uint32_t i = 0; i < c->policy->module_count; i++) {
		const struct module *m = c->policy->modules[i];
		struct tree *t = &c->policy->root;

		for (uint32_t k = 0; k < m->path_count; k++) {
			t = tree_put(c, t, m->path[k]);
			t->is_package = true;
		}
	}
	for (uint32_t i = 0; i < c->policy->module_count; i++)
		for (uint32_t k = 0; k < c->policy->modules[i]->rule_count; k++)
			place_rule(c, c->policy->modules[i]->rules[k], ret);
	fold(ret);
	mark_kinds(ret);
	return !c->arena->is_over;
}
