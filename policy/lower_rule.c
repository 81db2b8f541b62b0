/* SPDX-License-Identifier: Apache-2.0 */
/* Rules and queries: head, arguments and body to a clause. */
#include "policy/compile.h"

static void add_arg_vars(struct lower *l, const struct term *t)
{
	if (t->kind == TERM_VAR) {
		if (cf_view_eq_str(t->name, "_"))
			return;
		for (uint32_t i = 0; i < l->scope->count; i++)
			if (cf_view_eq(l->scope->vars[i].name, t->name))
				return;
		scope_declare(l, t, SEEN_ARG);
		return;
	}
	if (t->kind == TERM_REF && !cf_view_eq_str(t->head->name, "input") &&
	    !cf_view_eq_str(t->head->name, "data"))
		add_arg_vars(l, t->head);
	if (t->kind == TERM_CONST || t->kind >= TERM_ARRAY_OF)
		return;
	for (uint32_t i = 0; i < t->arg_count; i++)
		add_arg_vars(l, t->args[i]);
}

/* Slots 0… hold the arguments; a plain name is the slot itself, anything else is matched with it. */
static void open_args(struct lower *l, const struct rule *r)
{
	struct scope *s = scope_push(l);

	s->is_args = true;
	for (uint32_t i = 0; i < r->arg_count; i++) {
		uint32_t count = s->count;

		if (r->args[i]->kind == TERM_VAR)
			add_arg_vars(l, r->args[i]);
		if (s->count == count)
			lower_slot(l, (struct cf_view){ 0 });
	}
	for (uint32_t i = 0; i < r->arg_count; i++)
		add_arg_vars(l, r->args[i]);
}

static bool match_args(struct lower *l, const struct rule *r)
{
	for (uint32_t i = 0; i < r->arg_count; i++) {
		const struct term *t = r->args[i];
		struct op_group *g = group_new(l, t->loc);

		if (t->kind == TERM_VAR && cf_view_eq_str(t->name, "_"))
			continue;
		l->out = g;
		struct node *n = lower_term(l, t);
		if (!n)
			return false;
		if (n->kind != NODE_SLOT || n->slot != i)
			lower_match(l, g, n, node_slot(l, i), false);
		group_done(l, g);
	}
	return true;
}

/* The head's own terms, computed behind the body. */
static bool lower_head(struct lower *l, const struct pending *p, const struct rule *r,
                       struct clause *cl)
{
	struct op_group *g = group_new(l, r->loc);
	uint32_t steps = r->ref->kind == TERM_REF ? r->ref->arg_count : 0;
	bool ok = true;

	l->out = g;
	cl->suffix = cf_arena_alloc(l->c->arena, (steps + 1) * sizeof(*cl->suffix));
	for (uint32_t i = p->prefix; i < steps; i++) {
		cl->suffix[cl->suffix_count] = lower_term(l, r->ref->args[i]);
		ok = cl->suffix[cl->suffix_count++] && ok;
	}
	if (r->is_set)
		cl->value = lower_term(l, r->key);
	else
		cl->value = r->value ? lower_term(l, r->value) : node_const(l, &pv_true);
	group_done(l, g);
	l->out = NULL;
	return ok && cl->value;
}

static bool is_safe(const struct node *n, const struct bitset *bound, uint32_t *ret_slot)
{
	if (n->kind == NODE_SLOT && !bitset_has(bound, n->slot)) {
		*ret_slot = n->slot;
		return false;
	}
	for (uint32_t i = 0; i < n->count; i++)
		if (!is_safe(n->kids[i], bound, ret_slot))
			return false;
	return true;
}

static bool check_head(struct lower *l, const struct rule *r, const struct clause *cl,
                       const struct bitset *bound)
{
	uint32_t slot = 0;
	bool ok = is_safe(cl->value, bound, &slot);

	for (uint32_t i = 0; ok && i < cl->suffix_count; i++)
		ok = is_safe(cl->suffix[i], bound, &slot);
	if (!ok)
		compile_error(l->c, l->module, r->loc, "rego_unsafe_var_error", "var %s is unsafe",
		              l->slot_names[slot] ? l->slot_names[slot] : "_");
	return ok;
}

static struct clause *clause_new(struct lower *l, const struct pending *p, const struct rule *r)
{
	struct clause *cl = CF_ARENA_NEW(l->c->arena, struct clause);

	cl->group = p->group;
	cl->module = l->module;
	cl->loc = r->loc;
	cl->span = r->span;
	cl->is_set = r->is_set;
	cl->is_default = r->is_default;
	cl->arg_count = r->arg_count;
	return cl;
}

static struct clause *lower_clause(struct compiler *c, const struct pending *p,
                                   const struct rule *r)
{
	struct op_list list = { 0 };
	struct lower l = { .c = c, .module = r->module, .rule = r, .list = &list };
	struct clause *cl = clause_new(&l, p, r);

	open_args(&l, r);
	scope_push(&l);
	scope_collect_body(&l, r->body);
	scope_collect_term(&l, r->ref->kind == TERM_REF ? r->ref : NULL);
	scope_collect_term(&l, r->key);
	scope_collect_term(&l, r->value);
	if (r->ref->kind == TERM_REF) /* the rule's own name is no variable of its body */
		for (uint32_t i = 0; i < l.scope->direct_count; i++)
			if (cf_view_eq(l.scope->direct[i], r->ref->head->name))
				l.scope->direct[i] = cf_view_str("_");
	scope_settle(&l);
	bool ok = match_args(&l, r);
	ok = lower_literals(&l, r->body) && ok;
	ok = lower_head(&l, p, r, cl) && ok;
	scope_pop(&l);
	if (!ok || c->failed)
		return NULL;
	if (l.slot_count > POLICY_SLOTS_MAX) {
		compile_error(c, r->module, r->loc, "rego_compile_error",
		              "rule has more than %u variables", POLICY_SLOTS_MAX);
		return NULL;
	}
	struct bitset bound = bitset_new(&l);
	for (uint32_t i = 0; i < r->arg_count; i++)
		bitset_add(&bound, i);
	if (!order_block(&l, &list, &cl->block, &bound) || !check_head(&l, r, cl, &bound))
		return NULL;
	cl->slot_count = l.slot_count;
	cl->const_value = cl->value->kind == NODE_CONST ? cl->value->value : NULL;
	return cl;
}

bool lower_rule(struct compiler *c, const struct pending *p)
{
	struct clause *first = NULL, **tail = &first;
	struct group *g = p->group;

	for (const struct rule *r = p->rule; r; r = r->els) {
		struct clause *cl = lower_clause(c, p, r);

		if (!cl)
			return false;
		*tail = cl;
		tail = &cl->els;
	}
	if (first->is_default && !g->is_partial) {
		g->fallback = first;
		return true;
	}
	if (cf_arena_grow(c->arena, &g->clauses, &g->clause_cap, g->clause_count + 1))
		g->clauses[g->clause_count++] = first;
	return !c->arena->is_over;
}

struct clause *lower_query(struct compiler *c, const struct module *m, const struct body *b,
                           bool captures, struct lower *l)
{
	struct op_list list = { 0 };

	*l = (struct lower){ .c = c, .module = m, .list = &list, .captures = captures };
	struct clause *cl = CF_ARENA_NEW(c->arena, struct clause);
	cl->module = m;
	scope_push(l);
	scope_collect_body(l, b);
	scope_settle(l);
	if (!lower_literals(l, b) || c->failed)
		return NULL;
	struct bitset bound = bitset_new(l);
	if (!order_block(l, &list, &cl->block, &bound))
		return NULL;
	cl->slot_count = l->slot_count;
	return cl;
}
