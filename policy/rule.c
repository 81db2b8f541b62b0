/* SPDX-License-Identifier: Apache-2.0 */
/* Rules: their bodies run, their values checked against one another, their results remembered. */
#include "policy/eval.h"
#include "policy/index.h"

/* ---- complete rules and functions ---- */

struct value_sink {
	struct sink sink;
	const struct pv *value;
};

static int conflict(struct policy_eval *ev, const struct group *g)
{
	return eval_abort(ev, CF_FAILED_PRECONDITION, "eval_conflict_error", "%s",
	                  g->is_partial ? "object keys must be unique"
	                  : g->is_function
	                          ? "functions must not produce multiple outputs for same inputs"
	                          : "complete rules must not produce multiple outputs");
}

static int value_solution(struct policy_eval *ev, struct frame *fr, struct sink *sink)
{
	struct value_sink *s = (struct value_sink *)sink;
	const struct pv *v = node_value(ev, fr, fr->clause->value);

	if (!v)
		return eval_tick(ev);
	if (s->value && !pv_eq(s->value, v))
		return conflict(ev, fr->clause->group);
	s->value = v;
	ev->kept++;
	return fr->clause->const_value ? EVAL_STOP : EVAL_GO;
}

/* One clause's block with @sink; arguments are its first slots. */
static int run_clause(struct policy_eval *ev, const struct clause *cl, const struct pv *const *args,
                      struct sink *sink)
{
	struct frame fr = { 0 };
	const struct frame *outer = ev->frame;
	const struct op *op = ev->op;

	if (++ev->depth > ev->budget.depth || !eval_frame_push(ev, &fr, cl))
		return eval_abort(ev, CF_RESOURCE_EXHAUSTED, "eval_budget_error",
		                  "rules nested more than %u deep", ev->budget.depth);
	for (uint32_t i = 0; i < cl->arg_count; i++)
		fr.slots[i] = args[i];
	ev->frame = &fr;
	fr.attempt = ev->explain ? explain_open(ev, cl) : NULL;
	if (trace_is_on(ev))
		trace_enter(ev, cl);
	int r = eval_block(ev, &fr, &cl->block, 0, sink);
	eval_frame_pop(ev, &fr);
	ev->depth--;
	ev->frame = outer;
	ev->op = op;
	return r;
}

/* An else chain: the first clause with a solution decides. */
static int run_chain(struct policy_eval *ev, const struct clause *cl, const struct pv *const *args,
                     const struct pv **ret)
{
	*ret = NULL;
	for (; cl; cl = cl->els) {
		struct value_sink s = { .sink.solution = value_solution };
		struct attempt *outer = ev->attempt;
		int r = run_clause(ev, cl, args, &s.sink);

		if (r >= 0 && trace_is_on(ev))
			trace_exit(ev, cl, s.value);
		/* Defaults, and bodies past the limit of records, have none of their own to close. */
		if (ev->explain && ev->attempt != outer) {
			explain_close(ev, ev->attempt, s.value != NULL);
			ev->attempt = outer;
		}
		if (r < 0)
			return r;
		if (s.value) {
			*ret = s.value;
			return EVAL_GO;
		}
	}
	return EVAL_GO;
}

/* What the index of @g asks, in the world and for the arguments at hand; *ret NULL: undefined. */
static int probe(struct policy_eval *ev, const struct group *g, const struct pv *const *args,
                 const struct pv **ret)
{
	const struct op *op = g->index->probe;
	struct frame fr = { 0 };

	if (op->kind == OP_REF)
		return doc_value(ev, &fr, op, ret);
	*ret = args[op->src->kind == NODE_SLOT ? op->src->slot : op->dst->slot];
	return EVAL_GO;
}

/* One more clause; *done: its value is what every other one would give. */
static int next_chain(struct policy_eval *ev, const struct group *g, uint32_t i,
                      const struct pv *const *args, const struct pv **ret, bool *done)
{
	const struct pv *v;
	int r = run_chain(ev, g->clauses[i], args, &v);

	if (r < 0)
		return r;
	if (v && *ret && !pv_eq(*ret, v))
		return conflict(ev, g);
	if (v)
		*ret = v;
	*done = v && g->is_constant;
	return EVAL_GO;
}

static int all_chains(struct policy_eval *ev, const struct group *g, const struct pv *const *args,
                      const struct pv **ret)
{
	struct index_cursor c;
	const struct pv *key;
	bool done = false;
	int r = EVAL_GO;

	if (!g->index || ev->explain) { /* an explanation wants to see every body fail */
		for (uint32_t i = 0; r >= 0 && !done && i < g->clause_count; i++)
			r = next_chain(ev, g, i, args, ret, &done);
		return r;
	}
	r = probe(ev, g, args, &key);
	if (r < 0)
		return r;
	c = index_find(g->index, key);
	for (uint32_t i; r >= 0 && !done && (i = index_next(&c)) != UINT32_MAX;)
		r = next_chain(ev, g, i, args, ret, &done);
	return r;
}

static int decide(struct policy_eval *ev, const struct group *g, const struct pv *const *args,
                  const struct pv **ret)
{
	*ret = NULL;
	int r = all_chains(ev, g, args, ret);
	bool by_default = r >= 0 && !*ret && g->fallback;

	if (by_default)
		r = run_chain(ev, g->fallback, args, ret);
	if (r >= 0 && ev->explain)
		explain_result(ev, g, *ret, by_default);
	return r;
}

int rule_value(struct policy_eval *ev, const struct group *g, const struct pv **ret)
{
	const struct memo_entry *known = memo_find(ev, g, NULL);

	if (known) {
		*ret = known->value;
		return EVAL_GO;
	}
	int r = decide(ev, g, NULL, ret);
	if (r >= 0)
		memo_put(ev, g, NULL, *ret);
	return r;
}

int rule_call(struct policy_eval *ev, const struct group *g, const struct pv *const *args,
              const struct pv **ret)
{
	struct cf_arena_mark mark = cf_arena_mark(&ev->arena);
	uint64_t kept = ev->kept;
	int r = decide(ev, g, args, ret);

	if (r >= 0 && !*ret && ev->kept == kept && !ev->arena.is_over)
		cf_arena_release(&ev->arena, mark);
	return r;
}

/* ---- partial rules ---- */

/* One solution: a value, or a set's element, under a path. */
struct entry {
	const struct pv *const *path;
	uint32_t depth;
	bool is_set, is_default;
	const struct pv *value;
};

struct entries {
	struct entry *items;
	uint32_t count, cap;
};

struct partial_sink {
	struct sink sink;
	struct entries *all;
	const struct pv *key; /* only solutions under it count */
	bool found;
};

static int partial_solution(struct policy_eval *ev, struct frame *fr, struct sink *sink)
{
	struct partial_sink *s = (struct partial_sink *)sink;
	const struct clause *cl = fr->clause;
	const struct pv **path = cf_arena_alloc(&ev->arena, (cl->suffix_count + 1) * sizeof(*path));

	s->found = true;
	for (uint32_t i = 0; i < cl->suffix_count; i++) {
		path[i] = node_value(ev, fr, cl->suffix[i]);
		if (!path[i])
			return eval_tick(ev);
	}
	if (s->key && cl->suffix_count && !pv_eq(path[0], s->key))
		return EVAL_GO;
	struct entry e = { .path = path,
		           .depth = cl->suffix_count,
		           .is_set = cl->is_set,
		           .is_default = cl->is_default,
		           .value = node_value(ev, fr, cl->value) };
	ev->kept++;
	if (e.value && cf_arena_grow(&ev->arena, &s->all->items, &s->all->cap, s->all->count + 1))
		s->all->items[s->all->count++] = e;
	return EVAL_GO;
}

static int collect_clause(struct policy_eval *ev, const struct clause *cl, const struct pv *key,
                          struct entries *all)
{
	for (; cl; cl = cl->els) {
		struct partial_sink s = { .sink.solution = partial_solution,
			                  .all = all,
			                  .key = key };
		struct attempt *outer = ev->attempt;

		if (key && cl->suffix_count && cl->suffix[0]->kind == NODE_CONST &&
		    !pv_eq(cl->suffix[0]->value, key))
			continue;
		int r = run_clause(ev, cl, NULL, &s.sink);
		if (ev->explain && ev->attempt != outer) {
			explain_close(ev, ev->attempt, s.found);
			ev->attempt = outer;
		}
		if (r < 0 || s.found)
			return r;
	}
	return EVAL_GO;
}

static bool is_covered(const struct entries *all, const struct entry *e)
{
	for (uint32_t i = 0; i < all->count; i++) {
		const struct entry *o = &all->items[i];
		uint32_t n = CF_MIN(o->depth, e->depth), k = 0;

		if (o->is_default)
			continue;
		while (k < n && pv_eq(o->path[k], e->path[k]))
			k++;
		if (k == n)
			return true;
	}
	return false;
}

static void drop_covered_defaults(struct entries *all)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < all->count; i++)
		if (!all->items[i].is_default || !is_covered(all, &all->items[i]))
			all->items[n++] = all->items[i];
	all->count = n;
}

static int build(struct policy_eval *ev, const struct group *g, const struct entry **at, uint32_t n,
                 uint32_t depth, const struct pv **ret);

/* All of @at end here. */
static int build_leaf(struct policy_eval *ev, const struct group *g, const struct entry **at,
                      uint32_t n, uint32_t depth, const struct pv **ret)
{
	struct pv_vec v = pv_vec(&ev->arena);

	*ret = at[0]->value;
	for (uint32_t i = 0; i < n; i++) {
		if (at[i]->depth != depth || at[i]->is_set != at[0]->is_set)
			return conflict(ev, g);
		if (at[i]->is_set)
			pv_vec_add(&v, at[i]->value);
		else if (!pv_eq(at[i]->value, *ret))
			return conflict(ev, g);
	}
	if (at[0]->is_set)
		*ret = pv_vec_set(&v);
	return *ret ? EVAL_GO : eval_tick(ev);
}

static void sort_entries(const struct entry **at, uint32_t n, uint32_t depth,
                         const struct entry **tmp)
{
	uint32_t mid = n / 2, i = 0, j = mid, k = 0;

	if (n < 2)
		return;
	sort_entries(at, mid, depth, tmp);
	sort_entries(at + mid, n - mid, depth, tmp);
	while (i < mid || j < n) {
		bool is_left =
			j >= n || (i < mid && pv_cmp(at[i]->path[depth], at[j]->path[depth]) <= 0);

		tmp[k++] = is_left ? at[i++] : at[j++];
	}
	memcpy(at, tmp, n * sizeof(*at));
}

/* An object from the entries' paths at @depth on. */
static int build(struct policy_eval *ev, const struct group *g, const struct entry **at, uint32_t n,
                 uint32_t depth, const struct pv **ret)
{
	struct pv_vec v = pv_vec(&ev->arena);

	for (uint32_t i = 0; i < n; i++)
		if (at[i]->depth == depth)
			return build_leaf(ev, g, at, n, depth, ret);
	const struct entry **tmp = cf_arena_try(&ev->arena, n + 1, sizeof(*tmp));
	if (!tmp)
		return eval_tick(ev);
	sort_entries(at, n, depth, tmp);
	for (uint32_t from = 0, to; from < n; from = to) {
		const struct pv *member;

		for (to = from + 1; to < n && pv_eq(at[to]->path[depth], at[from]->path[depth]);)
			to++;
		int r = build(ev, g, at + from, to - from, depth + 1, &member);
		if (r >= 0)
			r = eval_tick(ev);
		if (r < 0)
			return r;
		pv_vec_add_pair(&v, at[from]->path[depth], member);
	}
	*ret = pv_vec_object(&v);
	return *ret ? EVAL_GO : eval_tick(ev);
}

static int extent(struct policy_eval *ev, const struct group *g, const struct pv *key,
                  const struct pv **ret)
{
	struct entries all = { 0 };
	int r = EVAL_GO;

	for (uint32_t i = 0; r >= 0 && i < g->clause_count; i++)
		r = collect_clause(ev, g->clauses[i], key, &all);
	if (r < 0)
		return r;
	drop_covered_defaults(&all);
	if (!all.count) {
		*ret = g->is_set ? &pv_empty_set : &pv_empty_obj;
		return eval_tick(ev);
	}
	const struct entry **at = cf_arena_try(&ev->arena, all.count, sizeof(*at));
	if (!at)
		return eval_tick(ev);
	for (uint32_t i = 0; i < all.count; i++)
		at[i] = &all.items[i];
	return build(ev, g, at, all.count, 0, ret);
}

int rule_extent(struct policy_eval *ev, const struct group *g, const struct pv *key,
                const struct pv **ret)
{
	const struct memo_entry *known = memo_find(ev, g, NULL);

	if (!known && key)
		known = memo_find(ev, g, key);
	if (known) {
		*ret = known->value;
		return EVAL_GO;
	}
	int r = extent(ev, g, key, ret);
	if (r >= 0) {
		if (ev->explain)
			explain_result(ev, g, *ret, false);
		memo_put(ev, g, key, *ret);
	}
	return r;
}
