/* SPDX-License-Identifier: Apache-2.0 */
/* Checks over the whole policy: rules that contradict each other, recursion, operand types. */
#include "policy/builtin.h"
#include "policy/compile.h"

#include <stdio.h>

#define RECURSION_DEPTH_MAX 8000u /* rules in rules while looking for cycles */

static void tree_name(const struct tree *t, struct cf_buf *b)
{
	if (!t->parent) {
		cf_buf_add_str(b, "data");
		return;
	}
	tree_name(t->parent, b);
	cf_buf_add_byte(b, '.');
	if (t->key->type == PV_STR)
		cf_buf_add_view(b, pv_view(t->key));
	else
		cf_buf_add_str(b, pv_type_name(t->key));
}

static void type_error(struct compiler *c, const struct pending *p, const char *what,
                       const char *after)
{
	struct cf_buf b = { .max = 4096 };

	tree_name(p->group->tree, &b);
	compile_error(c, p->rule->module, p->rule->loc, "rego_type_error", "%s %s %s", what,
	              b.data ? (const char *)b.data : "", after);
	cf_buf_fini(&b);
}

static bool is_bare(const struct pending *p)
{
	return (p->rule->ref->kind == TERM_REF ? p->rule->ref->arg_count : 0) == p->prefix;
}

/* @p against the first rule of its place. */
static void check_pair(struct compiler *c, const struct pending *first, const struct pending *p)
{
	const struct rule *a = first->rule, *b = p->rule;

	if (a->is_function != b->is_function || a->arg_count != b->arg_count) {
		type_error(c, p, "conflicting rules", "found");
		return;
	}
	if (is_bare(first) && is_bare(p) && a->is_set != b->is_set)
		type_error(c, p, "conflicting rules", "found");
	else if (is_bare(first) != is_bare(p) && (is_bare(first) ? a : b)->is_set)
		type_error(c, p, "conflicting rules", "found");
}

void check_tree(struct compiler *c, const struct pending_list *list)
{
	const struct pending **firsts =
		cf_arena_try(c->arena, c->policy->group_count + 1, sizeof(*firsts));
	const struct pending **defaults =
		cf_arena_try(c->arena, c->policy->group_count + 1, sizeof(*defaults));

	for (uint32_t i = 0; firsts && defaults && i < list->count; i++) {
		const struct pending *p = &list->items[i];
		const struct group *g = p->group;

		const struct term *name =
			p->rule->ref->kind == TERM_REF ? p->rule->ref->head : p->rule->ref;
		if (p->rule->module->is_strict &&
		    (cf_view_eq_str(name->name, "input") || cf_view_eq_str(name->name, "data")))
			compile_error(c, p->rule->module, p->rule->loc, "rego_compile_error",
			              "rules must not shadow %.*s (use a different rule name)",
			              (int)name->name.size, (const char *)name->name.data);
		if (!firsts[g->id])
			firsts[g->id] = p;
		else
			check_pair(c, firsts[g->id], p);
		if (p->rule->is_default && is_bare(p) && !g->is_partial) {
			if (defaults[g->id])
				type_error(c, p, "multiple default rules", "found");
			defaults[g->id] = p;
		}
		if (g->tree->is_package)
			type_error(c, p, "rule", "conflicts with a package of that name");
		else if (g->tree->kid_count)
			type_error(c, p, "rule", "conflicts with rules below it");
		p->group->arity = p->rule->arg_count;
	}
}

void check_imports(struct compiler *c, const struct module *m)
{
	for (uint32_t i = 0; m->is_strict && i < m->import_count; i++)
		for (uint32_t k = 0; k < i; k++)
			if (cf_view_eq(m->imports[i].alias, m->imports[k].alias)) {
				compile_error(c, m, m->imports[i].loc, "rego_compile_error",
				              "import must not shadow another import");
				break;
			}
}

/* ---- recursion ---- */

enum { MARK_NEW, MARK_OPEN, MARK_DONE };

struct visit {
	struct compiler *c;
	const struct clause *clause; /* whose ops are looked at */
	unsigned depth;
	bool is_bad;
};

static void visit_tree(struct visit *v, struct tree *t);

static void visit_callee(struct visit *v, const struct callee *fn)
{
	if (fn->group)
		visit_tree(v, fn->group->tree);
}

/* A known name that no rule or package has: the base document alone answers. */
static bool is_base_only(const struct op *op)
{
	return !op->tree->group && op->tree_depth < op->arg_count &&
	       op->args[op->tree_depth]->kind == NODE_CONST;
}

static void visit_block(struct visit *v, const struct block *b)
{
	for (uint32_t i = 0; i < b->count && !v->is_bad; i++) {
		const struct op *op = b->ops[i];

		if (op->kind == OP_REF && op->base == BASE_DATA && !is_base_only(op))
			visit_tree(v, op->tree);
		if (op->kind == OP_CALL)
			visit_callee(v, &op->fn);
		for (uint32_t k = 0; k < op->mod_count; k++)
			visit_callee(v, &op->mods[k].by);
		for (uint32_t k = 0; op->kind != OP_WITH && k < op->block_count; k++)
			visit_block(v, op->blocks[k]);
	}
}

static void visit_clauses(struct visit *v, const struct clause *first)
{
	for (const struct clause *cl = first; cl && !v->is_bad; cl = cl->els) {
		const struct clause *saved = v->clause;

		v->clause = cl;
		visit_block(v, &cl->block);
		v->clause = saved;
	}
}

static void recursion_found(struct visit *v, struct tree *t, const char *what)
{
	struct cf_buf b = { .max = 4096 };

	v->is_bad = true;
	tree_name(t, &b);
	compile_error(v->c, v->clause ? v->clause->module : v->c->policy->modules[0],
	              v->clause ? v->clause->loc : (struct loc){ 0 }, "rego_recursion_error",
	              "rule %s is %s", b.data ? (const char *)b.data : "", what);
	cf_buf_fini(&b);
}

/* A place is open only while its own rules are looked at: packages on the way are no cycle. */
static void visit_tree(struct visit *v, struct tree *t)
{
	if (v->is_bad || t->mark == MARK_DONE)
		return;
	if (t->mark == MARK_OPEN) {
		recursion_found(v, t, "recursive");
		return;
	}
	if (++v->depth > RECURSION_DEPTH_MAX) {
		recursion_found(v, t, "nested too deep in other rules");
		return;
	}
	t->mark = MARK_OPEN;
	for (uint32_t i = 0; t->group && i < t->group->clause_count; i++)
		visit_clauses(v, t->group->clauses[i]);
	if (t->group && t->group->fallback)
		visit_clauses(v, t->group->fallback);
	for (uint32_t i = 0; i < t->kid_count; i++)
		visit_tree(v, t->kids[i]);
	t->mark = MARK_DONE;
	v->depth--;
}

void check_recursion(struct compiler *c)
{
	struct visit v = { .c = c };

	visit_tree(&v, &c->policy->root);
}

/* ---- operand types ---- */

static int node_type(const struct node *n)
{
	switch ((enum node_kind)n->kind) {
	case NODE_CONST:
		return n->value->type;
	case NODE_ARRAY:
		return PV_ARR;
	case NODE_OBJECT:
		return PV_OBJ;
	case NODE_SET:
		return PV_SET;
	case NODE_SLOT:
		break;
	}
	return -1;
}

static bool type_fits(char want, int got)
{
	switch (want) {
	case 'n':
		return got == PV_NUM;
	case 's':
		return got == PV_STR;
	case 'b':
		return got == PV_BOOL;
	case 'o':
		return got == PV_OBJ;
	case 'a':
		return got == PV_ARR;
	case 'e':
		return got == PV_SET;
	case 'l':
		return got == PV_ARR || got == PV_SET;
	case 'c':
		return got >= PV_STR;
	default:
		return true;
	}
}

void check_call_types(struct lower *l, const struct term *t, const struct callee *fn,
                      struct node *const *args, uint32_t count)
{
	const char *types = fn->builtin ? fn->builtin->types : NULL;

	for (uint32_t i = 0; types && i < count && types[i]; i++) {
		int got = node_type(args[i]);

		if (got >= 0 && !type_fits(types[i], got)) {
			compile_error(l->c, l->module, t->loc, "rego_type_error",
			              "%s: invalid argument(s): operand %u is a literal of the "
			              "wrong type",
			              fn->name, i + 1);
			return;
		}
	}
}
