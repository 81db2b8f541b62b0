/* SPDX-License-Identifier: Apache-2.0 */
/* Lowering of literals and rules: from the syntax tree to groups of ops, not yet in a safe order. */
#include "policy/compile.h"

#include "policy/builtin.h"

/* ---- equality ---- */

static int static_type(const struct node *n)
{
	static const uint8_t types[] = {
		[NODE_ARRAY] = PV_ARR, [NODE_OBJECT] = PV_OBJ, [NODE_SET] = PV_SET
	};

	if (n->kind == NODE_SLOT)
		return -1;
	return n->kind == NODE_CONST ? n->value->type : types[n->kind];
}

static uint32_t static_count(const struct node *n)
{
	if (n->kind != NODE_CONST)
		return n->count;
	return n->value->type == PV_OBJ ? 2 * n->value->len : n->value->len;
}

/* Member @i of an array or object as a node; @room holds it for constants. */
static const struct node *static_member(const struct node *n, uint32_t i, struct node *room)
{
	if (n->kind != NODE_CONST)
		return n->kids[i];
	*room = (struct node){ .kind = NODE_CONST, .value = n->value->at[i] };
	return room;
}

/* false: the two can never be equal, whatever their variables are; only shapes and types count. */
static bool can_match(const struct node *a, const struct node *b)
{
	int ta = static_type(a), tb = static_type(b);
	struct node ra, rb;

	if (ta < 0 || tb < 0)
		return true;
	if (ta != tb)
		return false;
	if (ta != PV_ARR)
		return true;
	if (static_count(a) != static_count(b))
		return false;
	for (uint32_t i = 0; i < static_count(a); i++)
		if (!can_match(static_member(a, i, &ra), static_member(b, i, &rb)))
			return false;
	return true;
}

/* Two arrays of one length, or two objects of the same constant keys, match member by member. */
static bool split_match(struct lower *l, struct op_group *g, struct node *a, struct node *b)
{
	if (a->kind != b->kind || a->count != b->count ||
	    (a->kind != NODE_ARRAY && a->kind != NODE_OBJECT))
		return false;
	for (uint32_t i = 0; a->kind == NODE_OBJECT && i < a->count; i += 2)
		if (a->kids[i]->kind != NODE_CONST || b->kids[i]->kind != NODE_CONST ||
		    !pv_eq(a->kids[i]->value, b->kids[i]->value))
			return false;
	for (uint32_t i = a->kind == NODE_OBJECT; i < a->count; i += 1 + (a->kind == NODE_OBJECT))
		lower_match(l, g, a->kids[i], b->kids[i], false);
	return true;
}

void lower_match(struct lower *l, struct op_group *g, struct node *a, struct node *b,
                 bool is_strict)
{
	if (!can_match(a, b)) {
		compile_error(l->c, l->module, g->loc, "rego_type_error", "match error");
		return;
	}
	if (!is_strict && split_match(l, g, a, b)) {
		if (!a->count)
			lower_emit(l, g, lower_op(l, OP_TEST, g->loc));
		return;
	}
	struct op *op = lower_op(l, OP_MATCH, g->loc);
	op->dst = a;
	op->src = b;
	op->is_strict = is_strict;
	lower_emit(l, g, op);
}

/* a = b or a == b; references on either side stay in @main. */
static bool lower_equal(struct lower *l, struct op_group *main, struct operand *a,
                        struct operand *b, bool is_strict)
{
	struct op *ra = a->is_ref ? operand_ref(l, a) : NULL;
	struct node *na = a->is_ref ? NULL : operand_node(l, a);
	struct op *rb = b->is_ref ? operand_ref(l, b) : NULL;
	struct node *nb = b->is_ref ? NULL : operand_node(l, b);

	if ((!ra && !na) || (!rb && !nb))
		return false;
	if (ra && rb) {
		ra->dst = node_temp(l);
		rb->dst = node_slot(l, ra->dst->slot);
		lower_emit(l, main, ra);
		lower_emit(l, main, rb);
		return true;
	}
	if (ra || rb) {
		struct op *r = ra ? ra : rb;

		r->dst = ra ? nb : na;
		r->is_strict = is_strict;
		lower_emit(l, main, r);
		return true;
	}
	lower_match(l, main, na, nb, is_strict);
	return true;
}

/* ---- := and some ---- */

static struct node *declare_pattern(struct lower *l, const struct term *t, enum seen how)
{
	struct node *n;

	switch ((int)t->kind) {
	case TERM_VAR:
		if (cf_view_eq_str(t->name, "_"))
			return node_temp(l);
		return node_slot(l, scope_declare(l, t, how));
	case TERM_ARRAY:
	case TERM_OBJECT:
		n = node_new(l, t->kind == TERM_ARRAY ? NODE_ARRAY : NODE_OBJECT);
		n->kids = cf_arena_try(l->c->arena, t->arg_count + 1, sizeof(*n->kids));
		for (uint32_t i = 0; n->kids && i < t->arg_count; i++) {
			bool is_key = t->kind == TERM_OBJECT && i % 2 == 0;

			n->kids[i] = is_key ? lower_term(l, t->args[i])
			                    : declare_pattern(l, t->args[i], how);
			if (!n->kids[i])
				return NULL;
			n->count++;
		}
		return n->kids ? n : NULL;
	case TERM_CONST:
		return node_const(l, t->value);
	default:
		if (how == SEEN_DECLARED)
			return lower_term(l, t);
		compile_error(l->c, l->module, t->loc, "rego_compile_error", "cannot assign to %s",
		              t->kind == TERM_REF    ? "ref"
		              : t->kind == TERM_CALL ? "call"
		                                     : "comprehension or set");
		return NULL;
	}
}

static bool lower_assign(struct lower *l, const struct lit *lit, struct op_group *main)
{
	struct operand b;

	if (lit->a->kind == TERM_CONST) {
		compile_error(l->c, l->module, lit->loc, "rego_compile_error",
		              "cannot assign to %s", pv_type_name(lit->a->value));
		return false;
	}
	if (!lower_operand(l, lit->b, &b))
		return false;
	struct op *ref = b.is_ref ? operand_ref(l, &b) : NULL;
	struct node *val = b.is_ref ? NULL : operand_node(l, &b);
	struct node *pattern = declare_pattern(l, lit->a, SEEN_ASSIGNED);
	if (!pattern || (!ref && !val))
		return false;
	if (ref) {
		ref->dst = pattern;
		lower_emit(l, main, ref);
	} else {
		lower_match(l, main, pattern, val, false);
	}
	return true;
}

/* some k, v in xs: xs[k] matches v. */
static bool lower_some_in(struct lower *l, const struct lit *lit, struct op_group *main)
{
	struct operand xs;

	if (!lower_operand(l, lit->b, &xs))
		return false;
	struct op *op;
	if (xs.is_ref) {
		op = operand_ref(l, &xs);
	} else {
		op = lower_op(l, OP_REF, lit->loc);
		op->base = BASE_NODE;
		op->src = operand_node(l, &xs);
		op->args = cf_arena_alloc(l->c->arena, sizeof(*op->args));
		if (!op->src)
			return false;
	}
	if (!op)
		return false;
	struct node *key = lit->key ? declare_pattern(l, lit->key, SEEN_DECLARED) : node_temp(l);
	struct node *val = declare_pattern(l, lit->a, SEEN_DECLARED);
	struct node **args = cf_arena_alloc(l->c->arena, (op->arg_count + 1) * sizeof(*args));
	if (!key || !val)
		return false;
	memcpy(args, op->args, op->arg_count * sizeof(*args));
	args[op->arg_count++] = key;
	op->args = args;
	op->dst = val;
	lower_emit(l, main, op);
	return true;
}

static bool lower_some(struct lower *l, const struct lit *lit)
{
	for (uint32_t i = 0; i < lit->var_count; i++) {
		scope_declare(l, lit->vars[i], SEEN_DECLARED);
		scope_demand(l, lit->vars[i]);
	}
	return true;
}

static struct node *declare_loop_var(struct lower *l, const struct term *t)
{
	if (!t || cf_view_eq_str(t->name, "_"))
		return node_temp(l);
	uint32_t slot = scope_declare(l, t, SEEN_DECLARED);
	scope_demand(l, t);
	return node_slot(l, slot);
}

static bool lower_every(struct lower *l, const struct lit *lit, struct op_group *main)
{
	struct op *op = lower_op(l, OP_EVERY, lit->loc);
	struct closure_state st;

	op->src = lower_term(l, lit->b);
	if (!op->src)
		return false;
	struct closure *k = closure_open(l, op, &st);
	scope_push(l);
	op->key = declare_loop_var(l, lit->key);
	op->value = declare_loop_var(l, lit->a);
	scope_push(l);
	scope_collect_body(l, lit->body);
	scope_settle(l);
	bool ok = lower_literals(l, lit->body);
	scope_pop(l);
	scope_pop(l);
	closure_close(l, op, k, &st);
	lower_emit(l, main, op);
	return ok;
}

/* ---- expressions ---- */

static bool is_equality(const struct term *t)
{
	return t->kind == TERM_CALL && !t->head && cf_view_eq_str(t->name, "equal");
}

static bool lower_expr(struct lower *l, const struct lit *lit, struct op_group *main)
{
	const struct term *t = lit->a;
	struct operand a, b;

	if (is_equality(t) && !l->captures)
		return lower_operand(l, t->args[0], &a) && lower_operand(l, t->args[1], &b) &&
		       lower_equal(l, main, &a, &b, true);
	if (t->kind == TERM_CALL) {
		struct op *op = lower_call(l, t);

		lower_emit(l, main, op);
		return op != NULL;
	}
	if (!lower_operand(l, t, &a))
		return false;
	if (a.is_ref) {
		struct op *op = operand_ref(l, &a);

		lower_emit(l, main, op);
		return op != NULL;
	}
	struct op *op = lower_op(l, OP_TEST, lit->loc);
	op->src = operand_node(l, &a);
	lower_emit(l, main, op);
	return op->src != NULL;
}

static bool lower_branch(struct lower *l, struct op *op, const struct body *b)
{
	struct closure_state st;
	struct closure *k = closure_open(l, op, &st);

	scope_push(l);
	scope_collect_body(l, b);
	scope_settle(l);
	bool ok = lower_literals(l, b);
	scope_pop(l);
	closure_close(l, op, k, &st);
	return ok;
}

/* What a literal is without "not" and "with"; ops that take its operands out go to l->out. */
bool lower_positive(struct lower *l, const struct lit *lit, struct op_group *main)
{
	struct operand a, b;
	struct op *op;

	switch ((enum lit_kind)lit->kind) {
	case LIT_EXPR:
		return lower_expr(l, lit, main);
	case LIT_UNIFY:
		return lower_operand(l, lit->a, &a) && lower_operand(l, lit->b, &b) &&
		       lower_equal(l, main, &a, &b, false);
	case LIT_ASSIGN:
		return lower_assign(l, lit, main);
	case LIT_SOME:
		return lower_some(l, lit);
	case LIT_SOME_IN:
		return lower_some_in(l, lit, main);
	case LIT_EVERY:
		return lower_every(l, lit, main);
	case LIT_AND:
	case LIT_BODY:
		return lower_literals(l, lit->body) &&
		       (!lit->body2 || lower_literals(l, lit->body2));
	case LIT_OR:
		op = lower_op(l, OP_OR, lit->loc);
		lower_emit(l, main, op);
		return lower_branch(l, op, lit->body) && lower_branch(l, op, lit->body2);
	}
	return false;
}

/* ---- with ---- */

static const struct pv **constant_path(struct lower *l, const struct operand *o)
{
	const struct pv **path = cf_arena_alloc(l->c->arena, (o->path_count + 1) * sizeof(*path));

	for (uint32_t i = 0; i < o->path_count; i++)
		path[i] = o->path[i]->value;
	return path;
}

static struct tree *hidden_tree(struct lower *l, const struct with_mod *m)
{
	struct tree *t = &l->c->policy->root;

	for (uint32_t i = 0; t && i < m->path_count && !t->group; i++)
		t = tree_find(t, m->path[i]);
	return t;
}

static bool lower_target(struct lower *l, const struct term *t, struct with_mod *m)
{
	const struct term *head = t->kind == TERM_REF ? t->head : t;
	struct operand o = { .origin = t };
	bool is_input = cf_view_eq_str(head->name, "input");

	if (!is_input && callee_find(l, t, &m->target)) {
		if (m->target.builtin && (m->target.builtin->flags & BUILTIN_NEVER)) {
			compile_error(l->c, l->module, t->loc, "rego_type_error",
			              "%s is not available", m->target.name);
			return false;
		}
		m->kind = WITH_FUNCTION;
		return true;
	}
	if (!name_is_global(l, head->name)) {
		compile_error(
			l->c, l->module, t->loc, "rego_type_error",
			"with keyword target must reference existing input, data, or a function");
		return false;
	}
	if (!lower_operand(l, t, &o) || !o.is_ref)
		return false;
	m->kind = o.base == BASE_INPUT ? WITH_INPUT : WITH_DATA;
	m->path = constant_path(l, &o);
	m->path_count = o.path_count;
	if (m->kind == WITH_DATA)
		m->tree = hidden_tree(l, m);
	return true;
}

/* A function's name in the place of a value: the function itself is meant. */
static bool is_function_name(struct lower *l, const struct term *t, struct callee *ret)
{
	const struct term *head = t->kind == TERM_REF ? t->head : t;

	if ((t->kind != TERM_VAR && t->kind != TERM_REF) || head->kind != TERM_VAR)
		return false;
	for (uint32_t i = 0; t->kind == TERM_REF && i < t->arg_count; i++)
		if (t->args[i]->kind != TERM_CONST || t->args[i]->value->type != PV_STR)
			return false;
	for (const struct scope *s = l->scope; s; s = s->parent)
		for (uint32_t i = 0; i < s->count; i++)
			if (cf_view_eq(s->vars[i].name, head->name) &&
			    s->vars[i].seen != SEEN_IMPLICIT)
				return false;
	return callee_find(l, t, ret);
}

static bool lower_mod(struct lower *l, const struct with *w, struct with_mod *m)
{
	if (!lower_target(l, w->target, m))
		return false;
	if (m->kind == WITH_FUNCTION && is_function_name(l, w->value, &m->by)) {
		if (callee_arity(&m->by) != callee_arity(&m->target)) {
			compile_error(l->c, l->module, w->value->loc, "rego_type_error",
			              "with keyword replacement: %s has another arity than %s",
			              m->by.name, m->target.name);
			return false;
		}
		m->by_function = true;
		return true;
	}
	m->value = lower_term(l, w->value);
	return m->value != NULL;
}

static bool lower_with(struct lower *l, const struct lit *lit)
{
	struct op *op = lower_op(l, OP_WITH, lit->loc);
	struct op_group *saved = l->out, *g = group_new(l, lit->loc);
	struct closure_state st;
	struct lit inner = *lit;

	l->out = g;
	op->mods = cf_arena_alloc(l->c->arena, lit->with_count * sizeof(*op->mods));
	for (uint32_t i = 0; i < lit->with_count; i++)
		if (!lower_mod(l, &lit->withs[i], &op->mods[op->mod_count++]))
			return false;
	struct closure *k = closure_open(l, op, &st);
	struct op_group *main = group_new(l, lit->loc);
	bool ok;

	inner.with_count = 0;
	l->out = main;
	ok = inner.is_negated ? lower_negated(l, &inner) : lower_positive(l, &inner, main);
	group_done(l, main);
	closure_close(l, op, k, &st);
	lower_emit(l, g, op);
	group_done(l, g);
	l->out = saved;
	return ok;
}

/* ---- bodies ---- */

static void capture(struct lower *l, const struct lit *lit, struct op_group *g)
{
	struct op *last = g->count ? g->ops[g->count - 1] : NULL;
	struct node *n;

	if (lit->kind == LIT_EXPR && last && !last->dst &&
	    (last->kind == OP_REF || last->kind == OP_CALL)) {
		last->dst = node_temp(l);
		n = node_slot(l, last->dst->slot);
	} else if (lit->kind == LIT_EXPR && last && last->kind == OP_TEST && last->src) {
		n = last->src;
		last->src = NULL; /* always true: false is a value too */
	} else {
		n = node_const(l, &pv_true);
	}
	if (cf_arena_grow(l->c->arena, &l->captured, &l->captured_cap, l->captured_count + 1))
		l->captured[l->captured_count++] = n;
}

static bool lower_literal(struct lower *l, const struct lit *lit)
{
	const struct lit *outer = l->lit;
	struct op_group *saved = l->out, *g = group_new(l, lit->loc);
	bool captures = l->captures, ok;

	l->lit = lit;
	if (lit->with_count) {
		l->captures = false;
		ok = lower_with(l, lit);
		l->captures = captures;
	} else if (lit->is_negated) {
		l->captures = false;
		ok = lower_negated(l, lit);
		l->captures = captures;
	} else {
		l->out = g;
		ok = lower_positive(l, lit, g);
		l->out = saved;
	}
	if (captures && ok)
		capture(l, lit, g);
	group_done(l, g);
	l->lit = outer;
	return ok;
}

bool lower_literals(struct lower *l, const struct body *b)
{
	bool ok = true, captures = l->captures;
	bool is_top = !l->lit;

	for (uint32_t i = 0; b && i < b->count; i++) {
		l->captures = captures && is_top;
		ok = lower_literal(l, b->lits[i]) && ok;
	}
	l->captures = captures;
	return ok;
}
