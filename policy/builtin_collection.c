/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays and sorting; walking a value and a graph. */
#include "policy/builtin.h"

static const struct pv *bi_sort(struct bcall *c, const struct pv *const *a)
{
	struct pv_vec v = pv_vec(c->arena);

	if (!builtin_is_list(c, a, 1))
		return NULL;
	builtin_charge(c, 128 * (size_t)a[0]->len);
	for (uint32_t i = 0; i < a[0]->len; i++)
		pv_vec_add(&v, a[0]->at[i]);
	return pv_vec_sorted(&v);
}

static const struct pv *bi_concat(struct bcall *c, const struct pv *const *a)
{
	struct pv_vec v = pv_vec(c->arena);

	if (!builtin_is(c, a, 1, PV_ARR) || !builtin_is(c, a, 2, PV_ARR))
		return NULL;
	for (unsigned k = 0; k < 2; k++) {
		builtin_charge(c, 16 * (size_t)a[k]->len);
		for (uint32_t i = 0; i < a[k]->len; i++)
			pv_vec_add(&v, a[k]->at[i]);
	}
	return pv_vec_array(&v);
}

static const struct pv *bi_slice(struct bcall *c, const struct pv *const *a)
{
	struct pv_vec v = pv_vec(c->arena);
	int64_t from, to;

	if (!builtin_is(c, a, 1, PV_ARR) || !builtin_is_int(c, a, 2, &from) ||
	    !builtin_is_int(c, a, 3, &to))
		return NULL;
	from = CF_MAX(from, 0);
	to = CF_MIN(to, (int64_t)a[0]->len);
	for (int64_t i = from; i < to; i++)
		pv_vec_add(&v, a[0]->at[i]);
	builtin_charge(c, 16 * v.count);
	return pv_vec_array(&v);
}

static const struct pv *bi_reverse(struct bcall *c, const struct pv *const *a)
{
	struct pv_vec v = pv_vec(c->arena);

	if (!builtin_is(c, a, 1, PV_ARR))
		return NULL;
	builtin_charge(c, 16 * (size_t)a[0]->len);
	for (uint32_t i = a[0]->len; i-- > 0;)
		pv_vec_add(&v, a[0]->at[i]);
	return pv_vec_array(&v);
}

static const struct pv *bi_flatten(struct bcall *c, const struct pv *const *a)
{
	struct pv_vec v = pv_vec(c->arena);

	if (!builtin_is(c, a, 1, PV_ARR))
		return NULL;
	for (uint32_t i = 0; i < a[0]->len; i++) {
		const struct pv *x = a[0]->at[i];

		if (x->type != PV_ARR)
			pv_vec_add(&v, x);
		for (uint32_t k = 0; x->type == PV_ARR && k < x->len; k++)
			pv_vec_add(&v, x->at[k]);
	}
	builtin_charge(c, 16 * v.count);
	return pv_vec_array(&v);
}

/* ---- walk ---- */

struct walk {
	struct bcall *c;
	struct pv_vec out;
	const struct pv *path[POLICY_VALUE_DEPTH_MAX + 1];
	uint32_t depth;
};

static void walk_value(struct walk *w, const struct pv *v)
{
	struct pv_vec path = pv_vec(w->c->arena), pair = pv_vec(w->c->arena);

	if (w->c->arena->is_over)
		return;
	builtin_charge(w->c, 64 + 8 * (size_t)w->depth);
	for (uint32_t i = 0; i < w->depth; i++)
		pv_vec_add(&path, w->path[i]);
	pv_vec_add(&pair, pv_vec_array(&path));
	pv_vec_add(&pair, v);
	pv_vec_add(&w->out, pv_vec_array(&pair));
	for (uint32_t i = 0; pv_is_composite(v) && i < v->len; i++) {
		w->path[w->depth++] = v->type == PV_OBJ   ? pv_obj_key(v, i)
		                      : v->type == PV_SET ? v->at[i]
		                                          : pv_int(w->c->arena, i);
		walk_value(w, v->type == PV_OBJ ? pv_obj_val(v, i) : v->at[i]);
		w->depth--;
	}
}

static const struct pv *bi_walk(struct bcall *c, const struct pv *const *a)
{
	struct walk *w = cf_arena_alloc(c->arena, sizeof(*w));

	w->c = c;
	w->out = pv_vec(c->arena);
	walk_value(w, a[0]);
	return pv_vec_solutions(&w->out);
}

/* ---- graphs ---- */

static bool check_graph(struct bcall *c, const struct pv *const *a)
{
	return builtin_is(c, a, 1, PV_OBJ) && builtin_is_list(c, a, 2);
}

static const struct pv *bi_reachable(struct bcall *c, const struct pv *const *a)
{
	struct pv_vec queue = pv_vec(c->arena), seen = pv_vec(c->arena);
	const struct pv *g = a[0];

	if (!check_graph(c, a))
		return NULL;
	bool *done = cf_arena_try(c->arena, (size_t)g->len + 1, 1);
	for (uint32_t i = 0; i < a[1]->len; i++)
		pv_vec_add(&queue, a[1]->at[i]);
	for (size_t i = 0; done && i < queue.count; i++) {
		bool found;
		uint32_t at = pv_find(g, queue.items[i], &found);

		builtin_charge(c, 64);
		if (!found || done[at])
			continue;
		done[at] = true;
		pv_vec_add(&seen, pv_obj_key(g, at));
		const struct pv *next = pv_obj_val(g, at);
		for (uint32_t k = 0; next->type != PV_OBJ && pv_is_composite(next) && k < next->len;
		     k++)
			pv_vec_add(&queue, next->at[k]);
	}
	return pv_vec_set(&seen);
}

struct paths {
	struct bcall *c;
	const struct pv *graph;
	struct pv_vec out, path;
	bool *reached; /* by the node's place in the graph: not entered a second time */
};

static void emit_path(struct paths *p)
{
	struct pv_vec copy = pv_vec(p->c->arena);

	for (size_t i = 0; i < p->path.count; i++)
		pv_vec_add(&copy, p->path.items[i]);
	builtin_charge(p->c, 64 + 16 * copy.count);
	pv_vec_add(&p->out, pv_vec_array(&copy));
}

static uint32_t edge_count(const struct pv *edges)
{
	return edges->type == PV_ARR || edges->type == PV_SET ? edges->len : 0;
}

static void follow(struct paths *p, const struct pv *node);

/* A path ends where an edge leads to a node that was entered before. */
static void follow_edges(struct paths *p, uint32_t from)
{
	const struct pv *edges = pv_obj_val(p->graph, from);

	for (uint32_t i = 0; i < edge_count(edges); i++) {
		bool found;
		uint32_t to = pv_find(p->graph, edges->at[i], &found);

		if (found && p->reached[to]) {
			emit_path(p);
			continue;
		}
		p->reached[from] = true;
		follow(p, edges->at[i]);
	}
	if (!edge_count(edges))
		emit_path(p);
}

static void follow(struct paths *p, const struct pv *node)
{
	bool found;
	uint32_t at = pv_find(p->graph, node, &found);

	builtin_charge(p->c, 64);
	if (!found || p->path.count >= POLICY_VALUE_DEPTH_MAX) {
		emit_path(p);
		return;
	}
	pv_vec_add(&p->path, node);
	if (!p->c->arena->is_over)
		follow_edges(p, at);
	p->path.count--;
}

/* All paths that begin with the edge from @start to @next. */
static void follow_start(struct paths *p, uint32_t start, const struct pv *next)
{
	memset(p->reached, 0, p->graph->len);
	p->reached[start] = true;
	p->path.count = 0;
	pv_vec_add(&p->path, pv_obj_key(p->graph, start));
	bool found;
	uint32_t to = pv_find(p->graph, next, &found);
	if (found && to == start)
		emit_path(p);
	else
		follow(p, next);
}

static const struct pv *bi_reachable_paths(struct bcall *c, const struct pv *const *a)
{
	struct paths p = {
		.c = c, .graph = a[0], .out = pv_vec(c->arena), .path = pv_vec(c->arena)
	};

	if (!check_graph(c, a))
		return NULL;
	p.reached = cf_arena_try(c->arena, (size_t)a[0]->len + 1, 1);
	for (uint32_t i = 0; p.reached && i < a[1]->len; i++) {
		bool found;
		uint32_t at = pv_find(a[0], a[1]->at[i], &found);

		if (!found)
			continue;
		const struct pv *edges = pv_obj_val(a[0], at);
		builtin_charge(c, (size_t)a[0]->len * (edge_count(edges) + 1));
		for (uint32_t k = 0; k < edge_count(edges); k++)
			follow_start(&p, at, edges->at[k]);
		p.path.count = 0;
		pv_vec_add(&p.path, a[1]->at[i]);
		if (!edge_count(edges))
			emit_path(&p);
	}
	return pv_vec_set(&p.out);
}

const struct builtin builtins_collection[] = {
	{ "sort", 1, 0, bi_sort, "l" },
	{ "array.concat", 2, 0, bi_concat, "aa" },
	{ "array.slice", 3, 0, bi_slice, "ann" },
	{ "array.reverse", 1, 0, bi_reverse, "a" },
	{ "array.flatten", 1, 0, bi_flatten, "a" },
	{ "walk", 1, BUILTIN_RELATION, bi_walk, NULL },
	{ "graph.reachable", 2, 0, bi_reachable, "ol" },
	{ "graph.reachable_paths", 2, 0, bi_reachable_paths, "ol" },
	{ .name = NULL },
};
