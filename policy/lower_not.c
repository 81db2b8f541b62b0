/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Negation. What the compiler takes out of a literal stands in front of its "not", and fails the body
 * when it is missing; with `import future.keywords.not` everything stays inside.
 */
#include "policy/compile.h"

/* ---- what may surprise ---- */

/* What was taken out in front of a negation may be missing, and fails the body then: say so. */
static void warn_about_front(struct lower *l, const struct lit *lit, const struct op_group *g)
{
	for (uint32_t i = 0; i < g->count; i++)
		if (g->ops[i]->kind == OP_REF && g->ops[i]->base == BASE_INPUT) {
			compile_warning(l->c, l->module, lit->loc,
			                "`not` here fails the rule when an operand in input is "
			                "missing; bind it first, or import future.keywords.not");
			return;
		}
}

/* Outside of comprehensions, whose wildcards are their own. */
static bool has_wildcard(const struct term *t)
{
	if (!t || t->body || t->kind == TERM_CONST || t->kind == TERM_LOWERED)
		return false;
	if (t->kind == TERM_VAR)
		return cf_view_eq_str(t->name, "_");
	for (uint32_t i = 0; i < t->arg_count; i++)
		if (has_wildcard(t->args[i]))
			return true;
	return has_wildcard(t->head);
}

static void warn_about_wildcard(struct lower *l, const struct lit *lit)
{
	if (has_wildcard(lit->a) || has_wildcard(lit->b))
		compile_warning(
			l->c, l->module, lit->loc,
			"`_` in a `not`: other engines refuse it as unsafe. Here `not xs[_] "
			"== 1` wants no element to be 1, and `not xs[_] > 1` is content with "
			"one that is not greater; name what is meant in a rule of its own "
			"and negate that");
}

/* ---- lowering ---- */

static bool lower_inside(struct lower *l, const struct lit *lit, struct op_group *main)
{
	bool ok;

	l->out = main;
	if (lit->kind != LIT_BODY)
		return lower_positive(l, lit, main);
	scope_push(l);
	scope_collect_body(l, lit->body);
	scope_settle(l);
	ok = lower_literals(l, lit->body);
	scope_pop(l);
	return ok;
}

static bool lower_around(struct lower *l, const struct lit *lit, struct op_group *main,
                         struct op_group *front, const struct closure_state *outside)
{
	struct op_list *inner = l->list;
	bool ok;

	l->list = outside->list;
	l->out = front;
	ok = lower_positive(l, lit, main);
	l->list = inner;
	return ok;
}

bool lower_negated(struct lower *l, const struct lit *lit)
{
	struct op *op = lower_op(l, OP_NOT, lit->loc);
	struct op_group *front = group_new(l, lit->loc), *saved = l->out;
	struct op_group *main = group_new(l, lit->loc), *recorder = l->recorder;
	uint32_t recorder_first = l->recorder_first;
	struct closure_state st;
	bool ok;

	warn_about_wildcard(l, lit);
	if (!recorder) {
		l->recorder = front;
		l->recorder_first = l->slot_count;
	}
	struct closure *k = closure_open(l, op, &st);
	ok = l->module && l->module->has_future_not ? lower_inside(l, lit, main)
	                                            : lower_around(l, lit, main, front, &st);
	group_done(l, main);
	closure_close(l, op, k, &st);
	l->recorder = recorder;
	l->recorder_first = recorder_first;
	warn_about_front(l, lit, front);
	lower_emit(l, front, op);
	group_done(l, front);
	l->out = saved;
	return ok;
}
