/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The names of a layer or of a merged image, in memory: directories with their attributes, and one
 * small node per name. Attributes of everything else go into the image at once and are not kept.
 * Names are hostile: lookups use a hash that is seeded per process. Internal to this folder.
 */
#include "erofs/layer_format.h"

#define LAYER_NAMES_MAX      (512ull << 20) /* bytes of all names */
#define LAYER_DIR_XATTRS_MAX (16u << 20)    /* bytes of all directories' attributes */
#define LAYER_NODES_DEFAULT  2500000u       /* names, implicit parents included */

enum {
	NODE_ROOT = 1, /* 0 is no node */
};

enum node_flag {
	NODE_DEAD = 1,     /* replaced; only its place in lists is left */
	NODE_HIDES = 2,    /* whatever lower layers have under this name is gone */
	NODE_WHITEOUT = 4, /* nothing but the hiding */
};

struct layer_node {
	uint32_t parent;
	uint32_t name_at;
	uint32_t hash_next;
	uint32_t sibling; /* next name of the same directory */
	uint32_t ref; /* KIND_DIR: index of its layer_dir; otherwise the owner's: a nid, an index */
	uint8_t name_size;
	uint8_t kind;  /* enum file_kind; KIND_NONE until the owner says */
	uint8_t flags; /* enum node_flag */
};

struct layer_dir {
	uint32_t first, last; /* names, in the order they came; 0: none */
	uint32_t uid, gid, mtime_nsec;
	uint16_t mode; /* permission bits */
	bool implicit; /* no member named it */
	bool opaque;   /* lower layers' names in it are gone */
	bool has_whiteouts;
	int64_t mtime;
	uint32_t xattr_at, xattr_size; /* the encoded area, in layer_tree.dir_xattrs */
	/* set while the directories are written */
	uint32_t nid, start, subdirs;
	uint64_t size;
};

struct layer_tree {
	struct layer_node *nodes;
	size_t count, cap; /* node 0 is unused */
	size_t nodes_max;
	struct layer_dir *dirs;
	size_t dir_count, dir_cap;
	uint8_t *names;
	size_t names_size, names_cap;
	uint32_t *hash;
	size_t hash_size; /* a power of two */
	uint64_t seed[2];
	struct cf_buf dir_xattrs;
};

/* A tree with a root, 0755, implicit. @nodes_max 0: LAYER_NODES_DEFAULT. */
void layer_tree_init(struct layer_tree *t, size_t nodes_max);
void layer_tree_fini(struct layer_tree *t);

static inline struct layer_node *layer_node(const struct layer_tree *t, uint32_t i)
{
	return &t->nodes[i];
}
static inline struct layer_dir *layer_tree_dir(const struct layer_tree *t, uint32_t i)
{
	return &t->dirs[t->nodes[i].ref];
}
struct cf_view layer_node_name(const struct layer_tree *t,
                               uint32_t i); /* borrowed until the next add */

uint32_t layer_tree_find(const struct layer_tree *t, uint32_t parent,
                         struct cf_view name); /* or 0 */
/* A new name of no kind; there is none of that name yet. -CF_RESOURCE_EXHAUSTED over the limits. */
cf_must_use int layer_tree_add(struct layer_tree *t, uint32_t parent, struct cf_view name,
                               uint32_t *ret, struct cf_err *err);
/* Makes node @i a directory without names. */
void layer_tree_make_dir(struct layer_tree *t, uint32_t i);
/* Keeps the encoded attributes of directory @i. */
cf_must_use int layer_tree_set_xattrs(struct layer_tree *t, uint32_t i, struct cf_view area,
                                      struct cf_err *err);

/*
 * Takes a name away, with all below it. @drop hears of each node that is no directory and may fail.
 */
typedef int layer_drop_fn(void *ctx, uint32_t node, struct cf_err *err);
cf_must_use int layer_tree_remove(struct layer_tree *t, uint32_t i, layer_drop_fn *drop, void *ctx,
                                  struct cf_err *err);
/* The same for all names in directory @i; the directory stays. */
cf_must_use int layer_tree_clear(struct layer_tree *t, uint32_t i, layer_drop_fn *drop, void *ctx,
                                 struct cf_err *err);
/* Sorts the names of directory @i bytewise and forgets dead ones. */
void layer_tree_sort(struct layer_tree *t, uint32_t i);
/* "a/b/c"; the caller frees. For messages. */
char *layer_tree_path(const struct layer_tree *t, uint32_t i);
