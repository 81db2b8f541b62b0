/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/layer_tree.h"

#include "base/str.h"

#include <sys/auxv.h>

#define HASH_MIN 256u

static uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 m = (unsigned __int128)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* Multiply-and-fold with a secret seed: who cannot see the seed cannot choose collisions. */
static uint64_t hash_of(const struct layer_tree *t, uint32_t parent, struct cf_view name)
{
	uint64_t h = mix(t->seed[0] ^ parent, t->seed[1] ^ name.size);

	for (size_t i = 0; i < name.size; i += 8) {
		uint64_t word = 0;

		memcpy(&word, name.data + i, CF_MIN(name.size - i, 8u));
		h = mix(h ^ word, t->seed[1]);
	}
	return mix(h, t->seed[0]);
}

/* 16 random bytes that the kernel gave this process: no file, no system call. */
static void seed(struct layer_tree *t)
{
	const void *random =
		(const void *)getauxval(AT_RANDOM); /* NOLINT: an address by contract */

	if (random)
		memcpy(t->seed, random, sizeof(t->seed));
	t->seed[0] |= 1;
	t->seed[1] |= 1ull << 63 | 1;
}

void layer_tree_init(struct layer_tree *t, size_t nodes_max)
{
	*t = (struct layer_tree){ .nodes_max = nodes_max ? nodes_max : LAYER_NODES_DEFAULT };
	t->dir_xattrs.max = LAYER_DIR_XATTRS_MAX;
	seed(t);
	t->hash_size = HASH_MIN;
	t->hash = cf_zalloc_n(t->hash_size, sizeof(*t->hash));
	cf_grow(&t->nodes, &t->cap, (size_t)NODE_ROOT + 1);
	t->nodes[0] = t->nodes[NODE_ROOT] = (struct layer_node){ 0 };
	t->nodes[NODE_ROOT].parent = NODE_ROOT;
	t->count = NODE_ROOT + 1;
	layer_tree_make_dir(t, NODE_ROOT);
}

void layer_tree_fini(struct layer_tree *t)
{
	free(t->nodes);
	free(t->dirs);
	free(t->names);
	free(t->hash);
	cf_buf_fini(&t->dir_xattrs);
	*t = (struct layer_tree){ 0 };
}

struct cf_view layer_node_name(const struct layer_tree *t, uint32_t i)
{
	return cf_view(t->names + t->nodes[i].name_at, t->nodes[i].name_size);
}

static uint32_t *bucket(const struct layer_tree *t, uint32_t parent, struct cf_view name)
{
	return &t->hash[hash_of(t, parent, name) & (t->hash_size - 1)];
}

uint32_t layer_tree_find(const struct layer_tree *t, uint32_t parent, struct cf_view name)
{
	uint32_t i = *bucket(t, parent, name);

	while (i && (t->nodes[i].parent != parent || !cf_view_eq(layer_node_name(t, i), name)))
		i = t->nodes[i].hash_next;
	return i;
}

static void hash_insert(struct layer_tree *t, uint32_t i)
{
	uint32_t *b = bucket(t, t->nodes[i].parent, layer_node_name(t, i));

	t->nodes[i].hash_next = *b;
	*b = i;
}

static void hash_remove(struct layer_tree *t, uint32_t i)
{
	uint32_t *at = bucket(t, t->nodes[i].parent, layer_node_name(t, i));

	while (*at != i)
		at = &t->nodes[*at].hash_next;
	*at = t->nodes[i].hash_next;
}

static void hash_grow(struct layer_tree *t)
{
	free(t->hash);
	t->hash_size *= 2;
	t->hash = cf_zalloc_n(t->hash_size, sizeof(*t->hash));
	for (uint32_t i = NODE_ROOT + 1; i < t->count; i++)
		if (!(t->nodes[i].flags & NODE_DEAD))
			hash_insert(t, i);
}

int layer_tree_add(struct layer_tree *t, uint32_t parent, struct cf_view name, uint32_t *ret,
                   struct cf_err *err)
{
	struct layer_dir *dir = layer_tree_dir(t, parent);
	uint32_t i = (uint32_t)t->count;

	if (t->count > t->nodes_max)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "layer: more than %zu names",
		               t->nodes_max);
	if (name.size > LAYER_NAMES_MAX - t->names_size)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "layer: over %llu MiB of names",
		               LAYER_NAMES_MAX >> 20);
	cf_grow(&t->names, &t->names_cap, t->names_size + name.size);
	memcpy(t->names + t->names_size, name.data, name.size);
	cf_grow(&t->nodes, &t->cap, t->count + 1);
	t->nodes[i] = (struct layer_node){
		.parent = parent,
		.name_at = (uint32_t)t->names_size,
		.name_size = (uint8_t)name.size,
	};
	t->names_size += name.size;
	t->count++;
	if (t->count > t->hash_size)
		hash_grow(t); /* takes the new one in */
	else
		hash_insert(t, i);
	if (dir->last)
		t->nodes[dir->last].sibling = i;
	else
		dir->first = i;
	dir->last = i;
	*ret = i;
	return 0;
}

void layer_tree_make_dir(struct layer_tree *t, uint32_t i)
{
	cf_grow(&t->dirs, &t->dir_cap, t->dir_count + 1);
	t->dirs[t->dir_count] = (struct layer_dir){ .mode = 0755, .implicit = true };
	t->nodes[i].kind = KIND_DIR;
	t->nodes[i].ref = (uint32_t)t->dir_count++;
}

int layer_tree_set_xattrs(struct layer_tree *t, uint32_t i, struct cf_view area, struct cf_err *err)
{
	struct layer_dir *dir = layer_tree_dir(t, i);

	dir->xattr_at = (uint32_t)t->dir_xattrs.size;
	dir->xattr_size = (uint32_t)area.size;
	cf_buf_add_view(&t->dir_xattrs, area);
	return cf_buf_check(&t->dir_xattrs, "layer: attributes of directories", err);
}

static int kill_node(struct layer_tree *t, uint32_t i, layer_drop_fn *drop, void *ctx,
                     struct cf_err *err)
{
	hash_remove(t, i);
	t->nodes[i].flags |= NODE_DEAD;
	if (t->nodes[i].kind == KIND_DIR || !drop)
		return 0;
	return drop(ctx, i, err);
}

/*
 * Depth first without recursion: goes down to the first name that lives, kills it, and goes up when
 * a directory has none left. Each node dies once, so all removals together are linear.
 */
int layer_tree_clear(struct layer_tree *t, uint32_t top, layer_drop_fn *drop, void *ctx,
                     struct cf_err *err)
{
	uint32_t at = top;

	for (;;) {
		struct layer_dir *dir = layer_tree_dir(t, at);
		uint32_t child = dir->first;

		if (!child) {
			dir->last = 0;
			if (at == top)
				return 0;
			at = t->nodes[at].parent;
			continue;
		}
		dir->first = t->nodes[child].sibling;
		if (t->nodes[child].flags & NODE_DEAD)
			continue;
		int r = kill_node(t, child, drop, ctx, err);
		if (r < 0)
			return r;
		if (t->nodes[child].kind == KIND_DIR)
			at = child;
	}
}

int layer_tree_remove(struct layer_tree *t, uint32_t i, layer_drop_fn *drop, void *ctx,
                      struct cf_err *err)
{
	int r = kill_node(t, i, drop, ctx, err);

	if (r < 0 || t->nodes[i].kind != KIND_DIR)
		return r;
	return layer_tree_clear(t, i, drop, ctx, err);
}

static int compare(const struct layer_tree *t, uint32_t a, uint32_t b)
{
	struct cf_view x = layer_node_name(t, a), y = layer_node_name(t, b);
	int r = memcmp(x.data, y.data, CF_MIN(x.size, y.size));

	return r ? r : (int)x.size - (int)y.size;
}

/* Takes the first run of at most @n names off the list at *@rest. */
static uint32_t cut_run(struct layer_tree *t, uint32_t *rest, size_t n)
{
	uint32_t head = *rest, last = head;

	if (!head)
		return 0;
	while (--n && t->nodes[last].sibling)
		last = t->nodes[last].sibling;
	*rest = t->nodes[last].sibling;
	t->nodes[last].sibling = 0;
	return head;
}

/* Merges two sorted lists behind *@tail; returns the new tail. */
static uint32_t *merge_runs(struct layer_tree *t, uint32_t a, uint32_t b, uint32_t *tail)
{
	while (a && b) {
		uint32_t *from = compare(t, a, b) <= 0 ? &a : &b;

		*tail = *from;
		tail = &t->nodes[*from].sibling;
		*from = *tail;
	}
	*tail = a ? a : b;
	while (*tail)
		tail = &t->nodes[*tail].sibling;
	return tail;
}

/* Bottom-up merge sort of a list: no memory, n log n whatever the input. */
static uint32_t sort_list(struct layer_tree *t, uint32_t head, size_t count)
{
	for (size_t run = 1; run < count; run *= 2) {
		uint32_t rest = head, *tail = &head;

		while (rest) {
			uint32_t a = cut_run(t, &rest, run);
			uint32_t b = cut_run(t, &rest, run);

			tail = merge_runs(t, a, b, tail);
		}
	}
	return head;
}

void layer_tree_sort(struct layer_tree *t, uint32_t i)
{
	struct layer_dir *dir = layer_tree_dir(t, i);
	uint32_t *at = &dir->first;
	uint32_t previous = 0;
	bool sorted = true; /* most archives are */
	size_t count = 0;

	while (*at) {
		uint32_t child = *at;

		if (t->nodes[child].flags & NODE_DEAD) {
			*at = t->nodes[child].sibling;
			continue;
		}
		sorted = sorted && (!previous || compare(t, previous, child) < 0);
		previous = child;
		count++;
		at = &t->nodes[child].sibling;
	}
	if (!sorted)
		dir->first = sort_list(t, dir->first, count);
	dir->last = 0; /* nothing may be added any more */
}

char *layer_tree_path(const struct layer_tree *t, uint32_t i)
{
	char *path = cf_strdup("");

	for (; i && i != NODE_ROOT; i = t->nodes[i].parent) {
		struct cf_view name = layer_node_name(t, i);
		char *longer = cf_asprintf("%.*s%s%s", (int)name.size, (const char *)name.data,
		                           *path ? "/" : "", path);

		free(path);
		path = longer;
	}
	return path;
}
