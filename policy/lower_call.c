/* SPDX-License-Identifier: Apache-2.0 */
/* Calls: which function a name means, how many operands it takes, and print. */
#include "policy/builtin.h"
#include "policy/compile.h"

#include <stdio.h>

void term_path_name(const struct term *t, char *out, size_t size)
{
	const struct term *head = t->kind == TERM_REF ? t->head : t;
	struct cf_buf b = { .max = size };

	cf_buf_add_view(&b, head->name);
	for (uint32_t i = 0; t->kind == TERM_REF && i < t->arg_count; i++) {
		cf_buf_add_byte(&b, '.');
		cf_buf_add_view(&b, pv_view(t->args[i]->value));
	}
	snprintf(out, size, "%s", b.bad || !b.data ? "" : (const char *)b.data);
	cf_buf_fini(&b);
}

static struct tree *walk(struct tree *t, const struct term *ref, uint32_t from)
{
	for (uint32_t i = from; t && ref->kind == TERM_REF && i < ref->arg_count; i++)
		t = t->group ? NULL : tree_find(t, ref->args[i]->value);
	return t;
}

/* The place in the rule tree that a dotted name means, or NULL. */
static struct tree *rule_named(struct lower *l, const struct term *fn)
{
	const struct term *head = fn->kind == TERM_REF ? fn->head : fn;
	struct tree *root = &l->c->policy->root;
	const struct pv key = { .type = PV_STR,
		                .weight = 1,
		                .len = (uint32_t)head->name.size,
		                .s = (const char *)head->name.data };

	if (cf_view_eq_str(head->name, "data"))
		return walk(root, fn, 0);
	if (name_is_rule(l, head->name))
		return walk(tree_find(tree_package(l->c, l->module), &key), fn, 0);
	const struct import *imp = name_import(l, head->name);
	if (!imp)
		return NULL;
	const struct term *path = imp->path;
	if (path->kind != TERM_REF || !cf_view_eq_str(path->head->name, "data"))
		return NULL;
	struct tree *t = walk(root, path, 0);
	return t && !t->group ? walk(t, fn, 0) : fn->kind == TERM_REF ? NULL : t;
}

static const struct policy_hook *hook_named(const struct policy *p, const char *name)
{
	for (size_t i = 0; i < p->hook_count; i++)
		if (strcmp(p->hooks[i].name, name) == 0)
			return &p->hooks[i];
	return NULL;
}

bool callee_find(struct lower *l, const struct term *fn, struct callee *ret)
{
	char name[256];
	const struct tree *t = rule_named(l, fn);

	term_path_name(fn, name, sizeof(name));
	*ret = (struct callee){ .name = cf_arena_copy(l->c->arena, cf_view_str(name)) };
	if (t && t->group && t->group->is_function) {
		ret->group = t->group;
		return true;
	}
	const struct term *head = fn->kind == TERM_REF ? fn->head : fn;
	if (t || name_is_rule(l, head->name))
		return false;
	ret->builtin = builtin_find(cf_view_str(name));
	if (ret->builtin)
		return true;
	ret->hook = hook_named(l->c->policy, name);
	return ret->hook != NULL;
}

unsigned callee_arity(const struct callee *fn)
{
	return fn->group ? fn->group->arity : fn->builtin ? fn->builtin->arity : fn->hook->arity;
}

static struct op *lower_print(struct lower *l, const struct term *t)
{
	struct op *op = lower_op(l, OP_PRINT, t->loc);

	for (uint32_t i = 0; i < t->arg_count; i++) {
		struct closure_state st;
		struct closure *k = closure_open(l, op, &st);
		struct op_group *g = group_new(l, t->loc);

		l->out = g;
		k->block.result = lower_term(l, t->args[i]);
		group_done(l, g);
		closure_close(l, op, k, &st);
		if (!k->block.result)
			return NULL;
	}
	return op;
}

static bool check_callee(struct lower *l, const struct term *t, const struct callee *fn)
{
	const struct module *m = l->module;

	if (fn->builtin && (fn->builtin->flags & BUILTIN_NEVER)) {
		compile_error(l->c, m, t->loc, "rego_type_error",
		              "%s is not available: policies here may not do I/O, draw random "
		              "numbers or sign",
		              fn->name);
		return false;
	}
	if (fn->builtin && (fn->builtin->flags & BUILTIN_V0_ONLY) && m && m->is_strict) {
		compile_error(l->c, m, t->loc, "rego_type_error",
		              "deprecated built-in function calls in expression: %s", fn->name);
		return false;
	}
	unsigned arity = callee_arity(fn);
	if (t->arg_count != arity && t->arg_count != arity + 1) {
		compile_error(l->c, m, t->loc, "rego_type_error",
		              "%s: arity mismatch: has %u operands, wants %u", fn->name,
		              t->arg_count, arity);
		return false;
	}
	return true;
}

struct op *lower_call(struct lower *l, const struct term *t)
{
	struct callee fn = { 0 };

	if (t->head && !callee_find(l, t->head, &fn)) {
		compile_error(l->c, l->module, t->loc, "rego_type_error", "undefined function %s",
		              fn.name);
		return NULL;
	}
	if (!t->head) { /* an operator */
		fn.builtin = builtin_find(t->name);
		fn.name = fn.builtin->name;
	}
	if (fn.builtin && (fn.builtin->flags & BUILTIN_VOID))
		return lower_print(l, t);
	if (!check_callee(l, t, &fn))
		return NULL;
	struct op *op = lower_op(l, OP_CALL, t->loc);
	op->fn = fn;
	/* Calls among the operands first, all of them; then the references. */
	const struct term *list = lower_expanded_args(l, t);
	if (!list)
		return NULL;
	op->args = cf_arena_try(l->c->arena, t->arg_count + 1, sizeof(*op->args));
	for (uint32_t i = 0; op->args && i < t->arg_count; i++) {
		op->args[i] = lower_term(l, list->args[i]);
		if (!op->args[i])
			return NULL;
	}
	op->arg_count = callee_arity(&fn);
	if (t->arg_count > op->arg_count)
		op->dst = op->args[op->arg_count];
	check_call_types(l, t, &fn, op->args, op->arg_count);
	return op->args ? op : NULL;
}
