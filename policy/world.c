/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Worlds: the input, data and functions that "with" puts in the place of others, and the results of
 * rules remembered in each. A result never crosses from one world into another.
 */
#include "policy/eval.h"

static const struct pv *put_path(struct cf_arena *a, const struct pv *v,
                                 const struct pv *const *path, uint32_t n, const struct pv *val)
{
	if (!n)
		return val;
	const struct pv *o = v && v->type == PV_OBJ ? v : &pv_empty_obj;
	const struct pv *kid = put_path(a, pv_obj_get(o, path[0]), path + 1, n - 1, val);
	return kid ? pv_obj_put(a, o, path[0], kid) : NULL;
}

static void add_mask(struct policy_eval *ev, struct world *w, const struct tree *t)
{
	if (!t)
		return;
	struct mask *m = CF_ARENA_NEW(&ev->arena, struct mask);
	m->tree = t;
	m->next = w->masks;
	w->masks = m;
}

static void add_mock(struct policy_eval *ev, struct world *w, const struct with_mod *mod,
                     const struct pv *value)
{
	struct mock *m = CF_ARENA_NEW(&ev->arena, struct mock);

	*m = (struct mock){ .next = w->mocks,
		            .target = mod->target,
		            .by = mod->by,
		            .by_function = mod->by_function,
		            .value = value };
	w->mocks = m;
}

int world_push(struct policy_eval *ev, struct frame *fr, const struct op *op, bool *ret_defined)
{
	struct world *w = CF_ARENA_NEW(&ev->arena, struct world);

	*w = *ev->world;
	w->outer = ev->world;
	w->memo = NULL;
	w->memo_count = w->memo_cap = 0;
	*ret_defined = true;
	for (uint32_t i = 0; i < op->mod_count; i++) {
		const struct with_mod *m = &op->mods[i];
		const struct pv *v = m->value ? node_value(ev, fr, m->value) : NULL;

		if (m->value && !v)
			return eval_tick(ev);
		if (m->kind == WITH_FUNCTION) {
			add_mock(ev, w, m, v);
		} else if (m->kind == WITH_INPUT) {
			w->input = put_path(&ev->arena, w->input, m->path, m->path_count, v);
		} else {
			w->base = put_path(&ev->arena, w->base, m->path, m->path_count, v);
			add_mask(ev, w, m->tree);
		}
	}
	ev->world = w;
	return eval_tick(ev);
}

bool world_hides(const struct policy_eval *ev, const struct tree *t)
{
	for (const struct mask *m = ev->world->masks; m; m = m->next)
		if (m->tree == t)
			return true;
	return false;
}

const struct mock *world_mock(const struct policy_eval *ev, const struct callee *fn)
{
	for (const struct mock *m = ev->world->mocks; m; m = m->next)
		if (m->target.builtin == fn->builtin && m->target.group == fn->group &&
		    m->target.hook == fn->hook)
			return m;
	return NULL;
}

void world_unmock(struct policy_eval *ev, struct world *room)
{
	*room = *ev->world;
	room->outer = ev->world;
	room->mocks = NULL;
	room->memo = NULL;
	room->memo_count = room->memo_cap = 0;
	ev->world = room;
}

/* ---- memo ---- */

static uint32_t hash_of(const struct group *g, const struct pv *key)
{
	uint64_t h = (uintptr_t)g >> 4;

	if (key && key->type == PV_STR)
		for (uint32_t i = 0; i < key->len; i++)
			h = (h ^ (uint8_t)key->s[i]) * 0x100000001b3u;
	else if (key)
		h = (h ^ (key->type == PV_NUM && !key->is_text ? (uint64_t)key->i : key->type)) *
		    0x9e3779b97f4a7c15u;
	return (uint32_t)(h ^ h >> 29);
}

static bool is_entry(const struct memo_entry *e, const struct group *g, const struct pv *key)
{
	return e->group == g && (key && e->key ? pv_eq(key, e->key) : key == e->key);
}

static struct memo_entry *memo_slot(const struct world *w, const struct group *g,
                                    const struct pv *key)
{
	uint32_t i = hash_of(g, key) & (w->memo_cap - 1);

	while (w->memo[i].group && !is_entry(&w->memo[i], g, key))
		i = (i + 1) & (w->memo_cap - 1);
	return &w->memo[i];
}

const struct memo_entry *memo_find(const struct policy_eval *ev, const struct group *g,
                                   const struct pv *key)
{
	const struct world *w = ev->world;

	if (!w->memo_cap)
		return NULL;
	const struct memo_entry *e = memo_slot(w, g, key);
	return e->group ? e : NULL;
}

static bool grow(struct policy_eval *ev, struct world *w)
{
	struct world bigger = *w;

	bigger.memo_cap = w->memo_cap ? w->memo_cap * 2 : 32;
	bigger.memo = cf_arena_try(&ev->arena, bigger.memo_cap, sizeof(*bigger.memo));
	if (!bigger.memo)
		return false;
	for (uint32_t i = 0; i < w->memo_cap; i++)
		if (w->memo[i].group)
			*memo_slot(&bigger, w->memo[i].group, w->memo[i].key) = w->memo[i];
	*w = bigger;
	return true;
}

void memo_put(struct policy_eval *ev, const struct group *g, const struct pv *key,
              const struct pv *value)
{
	struct world *w = ev->world;

	ev->kept++;
	if (w->memo_count * 2 >= w->memo_cap && !grow(ev, w))
		return;
	*memo_slot(w, g, key) = (struct memo_entry){ .group = g, .key = key, .value = value };
	w->memo_count++;
}
