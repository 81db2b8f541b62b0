/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/index.h"

static const struct pv *constant(const struct node *n)
{
	return n && n->kind == NODE_CONST ? n->value : NULL;
}

/* The constant that @op compares with, when it is a question an index can answer. */
static const struct pv *asked_constant(const struct clause *cl, const struct op *op)
{
	if (op->kind == OP_REF && op->base == BASE_INPUT) {
		for (uint32_t i = 0; i < op->arg_count; i++)
			if (!constant(op->args[i]))
				return NULL;
		return constant(op->dst);
	}
	if (op->kind != OP_MATCH)
		return NULL;
	bool is_arg = op->src->kind == NODE_SLOT && op->src->slot < cl->arg_count;
	bool is_arg_dst = op->dst->kind == NODE_SLOT && op->dst->slot < cl->arg_count;
	return is_arg ? constant(op->dst) : is_arg_dst ? constant(op->src) : NULL;
}

static uint32_t arg_slot(const struct op *op)
{
	return op->src->kind == NODE_SLOT ? op->src->slot : op->dst->slot;
}

static bool is_same_probe(const struct op *a, const struct op *b)
{
	if (a->kind != b->kind || a->arg_count != b->arg_count)
		return false;
	if (a->kind == OP_MATCH)
		return arg_slot(a) == arg_slot(b);
	for (uint32_t i = 0; i < a->arg_count; i++)
		if (!pv_eq(a->args[i]->value, b->args[i]->value))
			return false;
	return true;
}

/* The op of @cl that asks what @probe asks; with no probe, the first that asks anything. */
static const struct op *question(const struct clause *cl, const struct op *probe)
{
	for (uint32_t i = 0; !cl->els && i < cl->block.count; i++) {
		const struct op *op = cl->block.ops[i];

		if (op->kind == OP_WITH) /* another world */
			return NULL;
		if (asked_constant(cl, op) && (!probe || is_same_probe(op, probe)))
			return op;
	}
	return NULL;
}

static bool is_after(const struct rule_index *x, uint32_t i, const struct pv *v)
{
	return pv_cmp(x->keys[i].value, v) > 0;
}

static void sort_keys(struct rule_index *x, uint32_t from, uint32_t to, void *tmp)
{
	uint32_t mid = from + (to - from) / 2, i = from, j = mid, k = from;
	__typeof__(x->keys) out = tmp;

	if (to - from < 2)
		return;
	sort_keys(x, from, mid, tmp);
	sort_keys(x, mid, to, tmp);
	while (i < mid || j < to) {
		bool is_left = j >= to || (i < mid && !is_after(x, i, x->keys[j].value));

		out[k++] = is_left ? x->keys[i++] : x->keys[j++];
	}
	memcpy(x->keys + from, out + from, (to - from) * sizeof(*x->keys));
}

void index_build(struct cf_arena *a, struct group *g)
{
	const struct op *probe = NULL;

	if (g->clause_count < INDEX_CLAUSES_MIN)
		return;
	for (uint32_t i = 0; !probe && i < g->clause_count; i++)
		probe = question(g->clauses[i], NULL);
	struct rule_index *x = CF_ARENA_NEW(a, struct rule_index);
	x->probe = probe;
	x->keys = cf_arena_try(a, g->clause_count, sizeof(*x->keys));
	x->others = cf_arena_try(a, g->clause_count, sizeof(*x->others));
	void *tmp = cf_arena_try(a, g->clause_count, sizeof(*x->keys));
	if (!probe || !x->keys || !x->others || !tmp)
		return;
	for (uint32_t i = 0; i < g->clause_count; i++) {
		const struct op *op = question(g->clauses[i], probe);

		if (!op) {
			x->others[x->other_count++] = i;
			continue;
		}
		x->keys[x->key_count].value = asked_constant(g->clauses[i], op);
		x->keys[x->key_count++].clause = i;
	}
	if (x->key_count < INDEX_CLAUSES_MIN)
		return;
	sort_keys(x, 0, x->key_count, tmp);
	g->index = x;
}

/* The first key whose value is not less than @v, or with @past greater. */
static uint32_t bound(const struct rule_index *x, const struct pv *v, bool past)
{
	uint32_t lo = 0, hi = x->key_count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int c = pv_cmp(x->keys[mid].value, v);

		if (c < 0 || (past && c == 0))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct index_cursor index_find(const struct rule_index *index, const struct pv *v)
{
	struct index_cursor c = { .index = index };

	if (v) {
		c.key = bound(index, v, false);
		c.key_end = bound(index, v, true);
	}
	return c;
}

uint32_t index_next(struct index_cursor *c)
{
	const struct rule_index *x = c->index;
	uint32_t key = c->key < c->key_end ? x->keys[c->key].clause : UINT32_MAX;
	uint32_t other = c->other < x->other_count ? x->others[c->other] : UINT32_MAX;

	if (key < other) {
		c->key++;
		return key;
	}
	c->other += other != UINT32_MAX;
	return other;
}
