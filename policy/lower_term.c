/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lowering of terms. A literal's calls come out first, left to right and inside out, then the
 * references in what is left; both become ops in front of the op that uses their results.
 */
#include "policy/compile.h"

#include "policy/builtin.h"

struct op *lower_op(struct lower *l, enum op_kind kind, struct loc loc)
{
	struct op *op = CF_ARENA_NEW(l->c->arena, struct op);

	op->kind = (uint8_t)kind;
	op->loc = loc;
	if (l->lit) {
		op->span = l->lit->span;
		op->loc = loc.line ? loc : l->lit->loc;
	}
	return op;
}

void lower_emit(struct lower *l, struct op_group *g, struct op *op)
{
	if (op && cf_arena_grow(l->c->arena, &g->ops, &g->cap, g->count + 1))
		g->ops[g->count++] = op;
}

struct node *node_new(struct lower *l, enum node_kind kind)
{
	struct node *n = CF_ARENA_NEW(l->c->arena, struct node);

	n->kind = (uint8_t)kind;
	return n;
}

struct node *node_const(struct lower *l, const struct pv *v)
{
	struct node *n = node_new(l, NODE_CONST);

	n->value = v;
	return n;
}

struct node *node_slot(struct lower *l, uint32_t slot)
{
	struct node *n = node_new(l, NODE_SLOT);

	n->slot = slot;
	return n;
}

struct node *node_temp(struct lower *l)
{
	return node_slot(l, lower_slot(l, (struct cf_view){ 0 }));
}

/* ---- closures ---- */

struct closure *closure_open(struct lower *l, struct op *op, struct closure_state *st)
{
	struct closure *k = CF_ARENA_NEW(l->c->arena, struct closure);

	*st = (struct closure_state){ .list = l->list, .out = l->out, .first_slot = l->slot_count };
	struct block **grown = cf_arena_alloc(l->c->arena, (op->block_count + 1) * sizeof(*grown));
	if (op->block_count)
		memcpy(grown, op->blocks, op->block_count * sizeof(*grown));
	grown[op->block_count++] = &k->block;
	op->blocks = grown;
	l->list = &k->list;
	l->out = NULL;
	return k;
}

static void add_free(struct lower *l, struct op *op, uint32_t slot)
{
	for (uint32_t i = 0; i < op->free_count; i++)
		if (op->frees[i] == slot)
			return;
	uint32_t cap = op->free_count;
	if (cf_arena_grow(l->c->arena, &op->frees, &cap, op->free_count + 1))
		op->frees[op->free_count++] = slot;
}

static void node_frees(struct lower *l, struct op *op, const struct node *n, uint32_t below)
{
	if (!n)
		return;
	if (n->kind == NODE_SLOT && n->slot < below)
		add_free(l, op, n->slot);
	for (uint32_t i = 0; i < n->count; i++)
		node_frees(l, op, n->kids[i], below);
}

static void op_frees(struct lower *l, struct op *to, const struct op *op, uint32_t below)
{
	node_frees(l, to, op->dst, below);
	node_frees(l, to, op->src, below);
	node_frees(l, to, op->key, below);
	node_frees(l, to, op->value, below);
	for (uint32_t i = 0; i < op->arg_count; i++)
		node_frees(l, to, op->args[i], below);
	for (uint32_t i = 0; i < op->mod_count; i++)
		node_frees(l, to, op->mods[i].value, below);
	for (uint32_t i = 0; i < op->free_count; i++)
		if (op->frees[i] < below)
			add_free(l, to, op->frees[i]);
	if (op->kind != OP_WITH)
		return;
	const struct op_list *list = &((const struct closure *)op->blocks[0])->list;
	for (uint32_t g = 0; g < list->count; g++)
		for (uint32_t i = 0; i < list->groups[g]->count; i++)
			op_frees(l, to, list->groups[g]->ops[i], below);
}

void closure_close(struct lower *l, struct op *op, struct closure *k,
                   const struct closure_state *st)
{
	l->list = st->list;
	l->out = st->out;
	if (op->kind == OP_WITH) /* no closure: its variables are the body's */
		return;
	for (uint32_t g = 0; g < k->list.count; g++)
		for (uint32_t i = 0; i < k->list.groups[g]->count; i++)
			op_frees(l, op, k->list.groups[g]->ops[i], st->first_slot);
	node_frees(l, op, k->block.result, st->first_slot);
}

struct op_group *group_new(struct lower *l, struct loc loc)
{
	struct op_group *g = CF_ARENA_NEW(l->c->arena, struct op_group);

	g->loc = loc;
	return g;
}

void group_done(struct lower *l, struct op_group *g)
{
	if (g->count &&
	    cf_arena_grow(l->c->arena, &l->list->groups, &l->list->cap, l->list->count + 1))
		l->list->groups[l->list->count++] = g;
}

/* A term lowered behind the literals of a closure, as its last group. */
static struct node *lower_tail(struct lower *l, const struct term *t)
{
	struct op_group *saved = l->out, *g = group_new(l, t->loc);

	l->out = g;
	struct node *n = lower_term(l, t);
	group_done(l, g);
	l->out = saved;
	return n;
}

/* ---- comprehensions and templates ---- */

static struct node *lower_collect(struct lower *l, const struct term *t)
{
	struct op *op = lower_op(l, OP_COLLECT, t->loc);
	struct closure_state st;
	struct closure *k = closure_open(l, op, &st);

	op->collect = t->kind == TERM_ARRAY_OF ? PV_ARR : t->kind == TERM_SET_OF ? PV_SET : PV_OBJ;
	scope_push(l);
	scope_collect_term(l, t->head);
	scope_collect_term(l, t->value_term);
	scope_collect_body(l, t->body);
	scope_settle(l);
	bool ok = lower_literals(l, t->body);
	struct node *head = lower_tail(l, t->head);
	struct node *val = t->value_term ? lower_tail(l, t->value_term) : NULL;
	scope_pop(l);
	op->key = t->kind == TERM_OBJECT_OF ? head : NULL;
	op->value = t->kind == TERM_OBJECT_OF ? val : head;
	closure_close(l, op, k, &st);
	node_frees(l, op, op->key, st.first_slot);
	node_frees(l, op, op->value, st.first_slot);
	if (!ok || !op->value)
		return NULL;
	op->dst = node_temp(l);
	lower_emit(l, l->out, op);
	return node_slot(l, op->dst->slot);
}

/* An operand that may be undefined without harm: a closure that gives its value. */
static bool lower_soft_operand(struct lower *l, struct op *op, const struct term *t)
{
	struct closure_state st;
	struct closure *k = closure_open(l, op, &st);

	k->block.result = lower_tail(l, t);
	closure_close(l, op, k, &st);
	return k->block.result != NULL;
}

static struct node *lower_template(struct lower *l, const struct term *t)
{
	struct op *op = lower_op(l, OP_TEMPLATE, t->loc);
	const struct pv *text = NULL;

	op->texts = cf_arena_alloc(l->c->arena, (t->arg_count + 1) * sizeof(*op->texts));
	for (uint32_t i = 0; i < t->arg_count; i++) {
		const struct term *part = t->args[i];

		if (part->is_text) {
			text = part->value;
			continue;
		}
		op->texts[op->block_count] = text;
		text = NULL;
		if (!lower_soft_operand(l, op, part))
			return NULL;
	}
	op->texts[op->block_count] = text;
	op->dst = node_temp(l);
	lower_emit(l, l->out, op);
	return node_slot(l, op->dst->slot);
}

/* ---- references ---- */

/* Prepends the path that a global name stands for. false: error. */
static bool global_path(struct lower *l, const struct term *head, struct operand *o, uint32_t room)
{
	const struct import *imp = name_import(l, head->name);
	struct cf_arena *a = l->c->arena;

	if (cf_view_eq_str(head->name, "input") || cf_view_eq_str(head->name, "data")) {
		o->base = cf_view_eq_str(head->name, "input") ? BASE_INPUT : BASE_DATA;
		o->path = cf_arena_alloc(a, (room + 1) * sizeof(*o->path));
		return true;
	}
	if (name_is_rule(l, head->name)) {
		o->base = BASE_DATA;
		o->path = cf_arena_alloc(a, (l->module->path_count + room + 2) * sizeof(*o->path));
		for (uint32_t i = 0; i < l->module->path_count; i++) {
			struct term *t = CF_ARENA_NEW(a, struct term);

			t->kind = TERM_CONST;
			t->value = l->module->path[i];
			o->path[o->path_count++] = t;
		}
		struct term *t = CF_ARENA_NEW(a, struct term);
		t->kind = TERM_CONST;
		t->value = pv_str_static(a, head->name);
		o->path[o->path_count++] = t;
		return true;
	}
	const struct term *root = imp->path->kind == TERM_REF ? imp->path->head : imp->path;
	uint32_t n = imp->path->kind == TERM_REF ? imp->path->arg_count : 0;
	o->base = cf_view_eq_str(root->name, "input") ? BASE_INPUT : BASE_DATA;
	o->path = cf_arena_alloc(a, (n + room + 1) * sizeof(*o->path));
	for (uint32_t i = 0; i < n; i++)
		o->path[o->path_count++] = imp->path->args[i];
	return true;
}

static bool operand_var(struct lower *l, const struct term *t, struct operand *o, uint32_t room)
{
	if (cf_view_eq_str(t->name, "_")) {
		o->node = node_temp(l);
		return true;
	}
	struct scope_var *v = scope_use(l, t->name);
	if (v) {
		o->node = node_slot(l, v->slot);
		return true;
	}
	o->is_ref = true;
	return global_path(l, t, o, room);
}

/* Calls, comprehensions and templates anywhere in the path come out now. */
static const struct term *expanded(struct lower *l, const struct term *t);

static bool operand_ref_term(struct lower *l, const struct term *t, struct operand *o)
{
	if (t->head->kind == TERM_VAR) {
		if (!operand_var(l, t->head, o, t->arg_count))
			return false;
	} else {
		o->node = lower_term(l, t->head);
		if (!o->node)
			return false;
	}
	if (o->node) {
		o->base = BASE_NODE;
		o->head = o->node;
		o->node = NULL;
		o->path = cf_arena_alloc(l->c->arena, (t->arg_count + 1) * sizeof(*o->path));
	}
	o->is_ref = true;
	for (uint32_t i = 0; i < t->arg_count; i++) {
		const struct term *step = expanded(l, t->args[i]);

		if (!step)
			return false;
		o->path[o->path_count++] = step;
	}
	return true;
}

/* A node in a term's clothes, for what was lowered already. */
static const struct term *wrap_node(struct lower *l, struct node *n, const struct term *origin)
{
	if (!n)
		return NULL;
	struct term *t = CF_ARENA_NEW(l->c->arena, struct term);
	t->kind = TERM_LOWERED;
	t->loc = origin->loc;
	t->lowered = n;
	return t;
}

const struct term *lower_expanded_args(struct lower *l, const struct term *t)
{
	struct term *copy = CF_ARENA_NEW(l->c->arena, struct term);

	*copy = *t;
	copy->args = cf_arena_try(l->c->arena, t->arg_count + 1, sizeof(*copy->args));
	for (uint32_t i = 0; copy->args && i < t->arg_count; i++) {
		const struct term *x = expanded(l, t->args[i]);

		if (!x)
			return NULL;
		copy->args[i] = CF_ARENA_NEW(l->c->arena, struct term);
		*copy->args[i] = *x;
	}
	if (t->kind == TERM_REF && t->head->kind != TERM_VAR) {
		const struct term *head = expanded(l, t->head);

		if (!head)
			return NULL;
		copy->head = CF_ARENA_NEW(l->c->arena, struct term);
		*copy->head = *head;
	}
	return copy->args ? copy : NULL;
}

static struct node *call_node(struct lower *l, const struct term *t)
{
	struct op_group *saved = l->out, *g = group_new(l, t->loc);

	l->out = g;
	struct op *op = lower_call(l, t);
	if (op && !op->dst) {
		op->dst = node_temp(l);
	} else if (op) {
		compile_error(l->c, l->module, t->loc, "rego_type_error", "%s: too many arguments",
		              op->fn.name);
		op = NULL;
	}
	lower_emit(l, g, op);
	group_done(l, g);
	l->out = saved;
	return op ? node_slot(l, op->dst->slot) : NULL;
}

static const struct term *expanded(struct lower *l, const struct term *t)
{
	switch ((int)t->kind) {
	case TERM_CALL:
		return wrap_node(l, call_node(l, t), t);
	case TERM_REF:
	case TERM_ARRAY:
	case TERM_SET:
	case TERM_OBJECT:
		return lower_expanded_args(l, t);
	default:
		return t;
	}
}

static bool operand_expanded(struct lower *l, const struct term *t, struct operand *o)
{
	switch ((int)t->kind) {
	case TERM_LOWERED:
		o->node = t->lowered;
		return true;
	case TERM_CONST:
		o->node = node_const(l, t->value);
		return true;
	case TERM_VAR:
		return operand_var(l, t, o, 0);
	case TERM_REF:
		return operand_ref_term(l, t, o);
	case TERM_ARRAY_OF:
	case TERM_SET_OF:
	case TERM_OBJECT_OF:
		o->node = lower_collect(l, t);
		return o->node != NULL;
	case TERM_TEMPLATE:
		o->node = lower_template(l, t);
		return o->node != NULL;
	default:
		o->composite = t;
		return true;
	}
}

bool lower_operand(struct lower *l, const struct term *t, struct operand *ret)
{
	*ret = (struct operand){ .origin = t };
	const struct term *x = expanded(l, t);
	return x && operand_expanded(l, x, ret);
}

static struct node *lower_expanded(struct lower *l, const struct term *t)
{
	struct operand o = { .origin = t };

	return operand_expanded(l, t, &o) ? operand_node(l, &o) : NULL;
}

static bool is_const_node(const struct node *n)
{
	return n->kind == NODE_CONST;
}

static struct node *fold_const(struct lower *l, struct node *n, enum term_kind kind)
{
	struct pv_vec v = pv_vec(l->c->arena);

	for (uint32_t i = 0; i < n->count; i++)
		if (!is_const_node(n->kids[i]))
			return n;
	for (uint32_t i = 0; i < n->count; i++)
		pv_vec_add(&v, n->kids[i]->value);
	const struct pv *val = kind == TERM_ARRAY    ? pv_vec_array(&v)
	                       : kind == TERM_OBJECT ? pv_vec_object(&v)
	                                             : pv_vec_set(&v);
	return val ? node_const(l, val) : NULL;
}

static struct node *lower_composite(struct lower *l, const struct term *t)
{
	struct node *n = node_new(l, t->kind == TERM_ARRAY    ? NODE_ARRAY
	                             : t->kind == TERM_OBJECT ? NODE_OBJECT
	                                                      : NODE_SET);

	n->kids = cf_arena_try(l->c->arena, t->arg_count + 1, sizeof(*n->kids));
	if (!n->kids)
		return NULL;
	for (uint32_t i = 0; i < t->arg_count; i++) {
		n->kids[n->count] = lower_expanded(l, t->args[i]);
		if (!n->kids[n->count++])
			return NULL;
	}
	return fold_const(l, n, t->kind);
}

/* As far as the path is constant, the place in the rule tree is known now. */
static void resolve_tree(struct lower *l, struct op *op)
{
	op->tree = &l->c->policy->root;
	while (op->tree_depth < op->arg_count && op->args[op->tree_depth]->kind == NODE_CONST &&
	       !op->tree->group) {
		struct tree *kid = tree_find(op->tree, op->args[op->tree_depth]->value);

		if (!kid)
			break;
		op->tree = kid;
		op->tree_depth++;
	}
}

struct op *operand_ref(struct lower *l, struct operand *o)
{
	struct op *op = lower_op(l, OP_REF, o->origin->loc);

	op->base = o->base;
	op->src = o->head;
	op->args = cf_arena_try(l->c->arena, o->path_count + 1, sizeof(*op->args));
	if (!op->args)
		return NULL;
	for (uint32_t i = 0; i < o->path_count; i++) {
		op->args[op->arg_count] = lower_expanded(l, o->path[i]);
		if (!op->args[op->arg_count++])
			return NULL;
	}
	if (op->base == BASE_DATA)
		resolve_tree(l, op);
	if (op->base == BASE_DATA && op->tree->group && op->tree->group->is_function && l->rule) {
		compile_error(l->c, l->module, o->origin->loc, "rego_type_error",
		              "function used as a value");
		return NULL;
	}
	return op;
}

struct node *operand_node(struct lower *l, struct operand *o)
{
	if (o->composite)
		return lower_composite(l, o->composite);
	if (!o->is_ref)
		return o->node;
	struct op *op = operand_ref(l, o);
	if (!op)
		return NULL;
	op->dst = node_temp(l);
	lower_emit(l, l->out, op);
	return node_slot(l, op->dst->slot);
}

struct node *lower_term(struct lower *l, const struct term *t)
{
	struct operand o;

	return lower_operand(l, t, &o) ? operand_node(l, &o) : NULL;
}
