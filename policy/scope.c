/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scopes: what a name means where it stands. In a body a name is a variable if "some" or ":=" make
 * it one, if an outer body or an argument has it, or if nothing global is called so.
 */
#include "policy/compile.h"

struct scope *scope_push(struct lower *l)
{
	struct scope *s = CF_ARENA_NEW(l->c->arena, struct scope);

	s->parent = l->scope;
	l->scope = s;
	return s;
}

void scope_pop(struct lower *l)
{
	for (uint32_t i = 0; i < l->scope->count; i++) {
		const struct scope_var *v = &l->scope->vars[i];

		if (v->must_be_used && !v->is_used)
			compile_error(l->c, l->module, v->loc, "rego_compile_error",
			              "declared var %.*s unused", (int)v->name.size,
			              (const char *)v->name.data);
	}
	l->scope = l->scope->parent;
}

uint32_t lower_slot(struct lower *l, struct cf_view name)
{
	uint32_t slot = l->slot_count;

	if (!cf_arena_grow(l->c->arena, &l->slot_names, &l->slot_cap, slot + 1))
		return 0;
	l->slot_names[slot] = name.size ? cf_arena_copy(l->c->arena, name) : NULL;
	l->slot_count++;
	return slot;
}

static struct scope_var *find_in(const struct scope *s, struct cf_view name)
{
	for (uint32_t i = s->count; i-- > 0;)
		if (cf_view_eq(s->vars[i].name, name))
			return &s->vars[i];
	return NULL;
}

static bool is_declared_in(const struct scope *s, struct cf_view name)
{
	for (uint32_t i = 0; i < s->declared_count; i++)
		if (cf_view_eq(s->declared[i], name))
			return true;
	return false;
}

static struct scope_var *add_var(struct lower *l, struct scope *s, struct cf_view name,
                                 enum seen seen)
{
	if (!cf_arena_grow(l->c->arena, &s->vars, &s->cap, s->count + 1))
		return NULL;
	s->vars[s->count] = (struct scope_var){ .name = name,
		                                .slot = lower_slot(l, name),
		                                .seen = (uint8_t)seen };
	return &s->vars[s->count++];
}

/* ---- globals ---- */

bool name_is_rule(const struct lower *l, struct cf_view name)
{
	if (!l->module || !l->module->path_count)
		return false;
	const struct tree *t = tree_package(l->c, l->module);
	const struct pv key = { .type = PV_STR,
		                .weight = 1,
		                .len = (uint32_t)name.size,
		                .s = (const char *)name.data };
	t = t ? tree_find(t, &key) : NULL;
	return t && t->is_rule;
}

const struct import *name_import(const struct lower *l, struct cf_view name)
{
	for (uint32_t i = 0; l->module && i < l->module->import_count; i++)
		if (cf_view_eq(l->module->imports[i].alias, name))
			return &l->module->imports[i];
	return NULL;
}

bool name_is_global(const struct lower *l, struct cf_view name)
{
	return cf_view_eq_str(name, "input") || cf_view_eq_str(name, "data") ||
	       name_is_rule(l, name) || name_import(l, name);
}

/* ---- what a body mentions ---- */

static void add_name(struct lower *l, struct cf_view **names, uint32_t *count, uint32_t *cap,
                     struct cf_view name)
{
	if (cf_view_eq_str(name, "_"))
		return;
	for (uint32_t i = 0; i < *count; i++)
		if (cf_view_eq((*names)[i], name))
			return;
	if (cf_arena_grow(l->c->arena, names, cap, *count + 1))
		(*names)[(*count)++] = name;
}

static void add_direct(struct lower *l, struct cf_view name)
{
	struct scope *s = l->scope;

	add_name(l, &s->direct, &s->direct_count, &s->direct_cap, name);
}

void scope_collect_term(struct lower *l, const struct term *t)
{
	if (!t)
		return;
	switch ((enum term_kind)t->kind) {
	case TERM_VAR:
		add_direct(l, t->name);
		return;
	case TERM_CONST:
	case TERM_LOWERED:
	case TERM_ARRAY_OF:
	case TERM_SET_OF:
	case TERM_OBJECT_OF:
		return;
	case TERM_REF:
		scope_collect_term(l, t->head);
		break;
	case TERM_CALL:
	case TERM_ARRAY:
	case TERM_SET:
	case TERM_OBJECT:
	case TERM_TEMPLATE:
		break;
	}
	for (uint32_t i = 0; i < t->arg_count; i++)
		scope_collect_term(l, t->args[i]);
}

/* The variables of a pattern on the left of := or in some … in. */
static void collect_declared(struct lower *l, const struct term *t)
{
	struct scope *s = l->scope;

	if (!t)
		return;
	if (t->kind == TERM_VAR)
		add_name(l, &s->declared, &s->declared_count, &s->declared_cap, t->name);
	if (t->kind == TERM_ARRAY)
		for (uint32_t i = 0; i < t->arg_count; i++)
			collect_declared(l, t->args[i]);
	if (t->kind == TERM_OBJECT)
		for (uint32_t i = 1; i < t->arg_count; i += 2)
			collect_declared(l, t->args[i]);
}

static void collect_literal(struct lower *l, const struct lit *lit)
{
	switch ((enum lit_kind)lit->kind) {
	case LIT_SOME:
		for (uint32_t i = 0; i < lit->var_count; i++)
			collect_declared(l, lit->vars[i]);
		break;
	case LIT_SOME_IN:
		collect_declared(l, lit->key);
		collect_declared(l, lit->a);
		scope_collect_term(l, lit->b);
		break;
	case LIT_ASSIGN:
		collect_declared(l, lit->a);
		scope_collect_term(l, lit->b);
		break;
	case LIT_EVERY:
		scope_collect_term(l, lit->b);
		break;
	case LIT_EXPR:
	case LIT_UNIFY:
		scope_collect_term(l, lit->a);
		scope_collect_term(l, lit->b);
		break;
	case LIT_BODY:
	case LIT_OR:
		break;
	case LIT_AND:
		scope_collect_body(l, lit->body);
		scope_collect_body(l, lit->body2);
		break;
	}
	for (uint32_t i = 0; i < lit->with_count; i++)
		scope_collect_term(l, lit->withs[i].value);
}

void scope_collect_body(struct lower *l, const struct body *b)
{
	for (uint32_t i = 0; b && i < b->count; i++)
		collect_literal(l, b->lits[i]);
}

static bool is_known(const struct lower *l, struct cf_view name)
{
	for (const struct scope *s = l->scope; s; s = s->parent)
		if (find_in(s, name))
			return true;
	return false;
}

static bool is_blocked(const struct lower *l, struct cf_view name)
{
	for (const struct scope *s = l->scope; s; s = s->parent)
		if (is_declared_in(s, name))
			return true;
	return false;
}

void scope_settle(struct lower *l)
{
	struct scope *s = l->scope;

	for (uint32_t i = 0; i < s->direct_count; i++) {
		struct cf_view name = s->direct[i];

		if (is_declared_in(s, name) || is_known(l, name))
			continue;
		if (is_blocked(l, name) || !name_is_global(l, name))
			add_var(l, s, name, SEEN_IMPLICIT);
	}
	s->direct_count = 0;
}

/* ---- use and declaration ---- */

static void record(struct lower *l, uint32_t slot)
{
	struct op_group *g = l->recorder;

	if (g && slot < l->recorder_first &&
	    cf_arena_grow(l->c->arena, &g->needs, &g->need_cap, g->need_count + 1))
		g->needs[g->need_count++] = slot;
}

struct scope_var *scope_use(struct lower *l, struct cf_view name)
{
	struct scope_var *v = NULL;

	for (struct scope *s = l->scope; s && !v; s = s->parent)
		v = find_in(s, name);
	if (!v && (is_blocked(l, name) || !name_is_global(l, name)))
		v = add_var(l, l->scope, name, SEEN_USED);
	if (v) {
		v->is_used = true;
		record(l, v->slot);
	}
	return v;
}

void scope_demand(struct lower *l, const struct term *var)
{
	struct scope_var *v = find_in(l->scope, var->name);

	if (v) {
		v->must_be_used = true;
		v->loc = var->loc;
	}
}

uint32_t scope_declare(struct lower *l, const struct term *var, enum seen how)
{
	struct scope_var *v = find_in(l->scope, var->name);
	const char *what = NULL;
	int n = (int)var->name.size;
	const char *name = (const char *)var->name.data;

	if (l->module && l->module->is_strict &&
	    (cf_view_eq_str(var->name, "input") || cf_view_eq_str(var->name, "data")))
		compile_error(l->c, l->module, var->loc, "rego_compile_error",
		              "variables must not shadow %.*s (use a different variable name)", n,
		              name);
	if (!v && l->scope->parent && l->scope->parent->is_args &&
	    find_in(l->scope->parent, var->name))
		compile_error(l->c, l->module, var->loc, "rego_compile_error",
		              "arg %.*s redeclared", n, name);
	if (!v) {
		v = add_var(l, l->scope, var->name, how);
		return v ? v->slot : 0;
	}
	switch ((enum seen)v->seen) {
	case SEEN_IMPLICIT:
	case SEEN_USED:
		what = "referenced";
		break;
	case SEEN_ASSIGNED:
		what = "assigned";
		break;
	case SEEN_DECLARED:
		what = "declared";
		break;
	case SEEN_ARG:
		break;
	}
	if (what)
		compile_error(l->c, l->module, var->loc, "rego_compile_error", "var %.*s %s above",
		              n, name, what);
	return v->slot;
}
