/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/layer_dirs.h"

#include "erofs/layer_xattr.h"

#include <assert.h>
#include <sys/stat.h>

#define NAMES_PER_BLOCK (LAYER_BLOCK_BYTES / (DIRENT_BYTES + 1) + 1)

struct dirs {
	struct layer_tree *tree;
	struct layer_out *out;
	unsigned marks;
	uint8_t *block0;
	struct cf_buf area; /* the attributes of the directory at hand */
	struct cf_buf scratch;
};

/* ---- the names of one directory, "." and ".." at their sorted places ---- */

struct name_walk {
	const struct layer_tree *tree;
	uint32_t dir, child;
	unsigned dots; /* of the two, how many were given out */
};

struct dir_name {
	struct cf_view name;
	uint32_t node;
	bool is_dots;
};

static struct name_walk walk_dir(const struct layer_tree *t, uint32_t dir)
{
	return (struct name_walk){ t, dir, layer_tree_dir(t, dir)->first, 0 };
}

static bool dots_first(struct cf_view dots, struct cf_view name)
{
	int r = memcmp(dots.data, name.data, CF_MIN(dots.size, name.size));

	return r ? r < 0 : dots.size < name.size;
}

static bool peek_name(const struct name_walk *w, struct dir_name *ret)
{
	const struct dir_name dots[] = {
		{ CF_VIEW_LIT("."), w->dir, true },
		{ CF_VIEW_LIT(".."), layer_node(w->tree, w->dir)->parent, true },
	};
	struct dir_name next = { .node = w->child };

	if (w->child)
		next.name = layer_node_name(w->tree, w->child);
	if (w->dots < 2 && (!w->child || dots_first(dots[w->dots].name, next.name)))
		next = dots[w->dots];
	*ret = next;
	return next.node != 0;
}

static void advance(struct name_walk *w, const struct dir_name *given)
{
	if (given->is_dots)
		w->dots++;
	else
		w->child = layer_node(w->tree, w->child)->sibling;
}

/* As many names as one block holds. Return: the bytes they take there, 0 at the end. */
static uint32_t take_block(struct name_walk *w, struct dir_name names[NAMES_PER_BLOCK],
                           size_t *ret_count)
{
	uint32_t bytes = 0;
	size_t count = 0;
	struct dir_name n;

	while (peek_name(w, &n) && bytes + DIRENT_BYTES + n.name.size <= LAYER_BLOCK_BYTES) {
		bytes += DIRENT_BYTES + (uint32_t)n.name.size;
		names[count++] = n;
		advance(w, &n);
	}
	*ret_count = count;
	return bytes;
}

static uint32_t nid_of(const struct layer_tree *t, uint32_t node)
{
	const struct layer_node *n = layer_node(t, node);

	return n->kind == KIND_DIR ? layer_tree_dir(t, node)->nid : n->ref;
}

static void put_block(const struct layer_tree *t, const struct dir_name *names, size_t count,
                      uint8_t *block)
{
	size_t name_at = count * DIRENT_BYTES;

	for (size_t i = 0; i < count; i++) {
		uint8_t *e = block + i * DIRENT_BYTES;

		put_u64(e, nid_of(t, names[i].node));
		put_u16(e + 8, (uint16_t)name_at);
		e[10] = layer_node(t, names[i].node)->kind;
		e[11] = 0;
		memcpy(block + name_at, names[i].name.data, names[i].name.size);
		name_at += names[i].name.size;
	}
}

/* ---- attributes ---- */

#define MARKS_MAX 3u

static size_t list_marks(const struct layer_dir *dir, unsigned marks,
                         struct layer_xattr out[MARKS_MAX])
{
	const struct {
		bool wanted;
		struct layer_xattr x;
	} all[MARKS_MAX] = {
		{ dir->opaque && marks & LAYER_MARK_OVERLAY,
		  { XATTR_TRUSTED, CF_VIEW_LIT(XATTR_OPAQUE), CF_VIEW_LIT("y"), 0 } },
		{ dir->has_whiteouts && marks & LAYER_MARK_OVERLAY,
		  { XATTR_TRUSTED, CF_VIEW_LIT(XATTR_ORIGIN), CF_VIEW_LIT(""), 0 } },
		{ dir->implicit && marks & LAYER_MARK_IMPLICIT,
		  { XATTR_TRUSTED, CF_VIEW_LIT(XATTR_IMPLICIT), CF_VIEW_LIT("y"), 0 } },
	};
	size_t count = 0;

	for (size_t i = 0; i < MARKS_MAX; i++)
		if (all[i].wanted)
			out[count++] = all[i].x;
	return count;
}

/* The kept attributes of @dir with the marks added, into d->area. */
static int dir_area(struct dirs *d, const struct layer_dir *dir, struct cf_err *err)
{
	struct cf_view kept =
		cf_view_sub(cf_buf_view(&d->tree->dir_xattrs), dir->xattr_at, dir->xattr_size);
	struct layer_xattr marks[MARKS_MAX];
	size_t mark_count = list_marks(dir, d->marks, marks);
	size_t count = 0, at = XATTR_HEADER_BYTES;
	struct layer_xattr *items;
	bool bad = false;

	cf_buf_reset(&d->area);
	if (!mark_count) {
		cf_buf_add_view(&d->area, kept);
		return cf_buf_check(&d->area, "attributes", err);
	}
	/* The marks go first: they must never be what does not fit. */
	items = cf_zalloc_n(kept.size / XATTR_ENTRY_BYTES + MARKS_MAX, sizeof(*items));
	for (; count < mark_count; count++)
		items[count] = marks[count];
	while (layer_xattr_next(kept, &at, &items[count], &bad))
		count++;
	layer_xattr_encode(items, count, &d->area, NULL);
	free(items);
	return cf_buf_check(&d->area, "attributes", err);
}

/* ---- first pass: sizes and places ---- */

static uint32_t tail_room(uint32_t node, size_t area)
{
	uint32_t room = node == NODE_ROOT ? LAYER_BLOCK_BYTES - LAYER_ROOT_AT : LAYER_BLOCK_BYTES;

	return room > LAYER_INODE_BYTES + area ? room - LAYER_INODE_BYTES - (uint32_t)area : 0;
}

static uint32_t dir_tail(const struct layer_dir *dir, uint32_t node, size_t area)
{
	uint32_t tail = (uint32_t)(dir->size % LAYER_BLOCK_BYTES);

	return tail <= tail_room(node, area) ? tail : 0;
}

static void measure(struct layer_tree *t, uint32_t node)
{
	struct layer_dir *dir = layer_tree_dir(t, node);
	struct dir_name names[NAMES_PER_BLOCK];
	struct name_walk w = walk_dir(t, node);
	uint32_t bytes, last = 0;
	size_t count;

	dir->size = 0;
	dir->subdirs = 0;
	while ((bytes = take_block(&w, names, &count))) {
		if (last)
			dir->size += LAYER_BLOCK_BYTES;
		last = bytes;
		for (size_t i = 0; i < count; i++)
			dir->subdirs += layer_node(t, names[i].node)->kind == KIND_DIR;
	}
	dir->size += last;
	dir->subdirs -= 2; /* "." and ".." were counted */
}

static int place_dir(struct dirs *d, uint32_t node, struct cf_err *err)
{
	struct layer_dir *dir = layer_tree_dir(d->tree, node);
	uint32_t tail;
	uint64_t blocks;
	int r;

	layer_tree_sort(d->tree, node);
	measure(d->tree, node);
	r = dir_area(d, dir, err);
	if (r < 0)
		return r;
	if (node == NODE_ROOT && d->area.size > LAYER_ROOT_XATTRS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED,
		               "layer: %zu bytes of attributes on the root directory, at most %u",
		               d->area.size, LAYER_ROOT_XATTRS_MAX);
	tail = dir_tail(dir, node, d->area.size);
	blocks = (dir->size - tail + LAYER_BLOCK_BYTES - 1) / LAYER_BLOCK_BYTES;
	dir->start = INODE_NO_START;
	if (blocks)
		r = layer_out_blocks(d->out, blocks, &dir->start, err);
	if (r < 0)
		return r;
	if (node == NODE_ROOT) {
		dir->nid = LAYER_ROOT_NID;
		return 0;
	}
	return layer_out_inode(d->out, LAYER_INODE_BYTES + (uint32_t)d->area.size + tail, &dir->nid,
	                       NULL, err);
}

/* ---- second pass: contents ---- */

/* Full blocks go to their place, the inlined tail behind inode and attributes in d->scratch. */
static int put_names(struct dirs *d, uint32_t node, uint32_t tail, struct cf_err *err)
{
	const struct layer_dir *dir = layer_tree_dir(d->tree, node);
	struct dir_name names[NAMES_PER_BLOCK];
	struct name_walk w = walk_dir(d->tree, node);
	uint64_t at = (uint64_t)dir->start * LAYER_BLOCK_BYTES, left = dir->size;
	uint8_t block[LAYER_BLOCK_BYTES];
	size_t count;

	while (take_block(&w, names, &count)) {
		uint32_t bytes = (uint32_t)CF_MIN(left, (uint64_t)LAYER_BLOCK_BYTES);
		int r;

		memset(block, 0, sizeof(block));
		put_block(d->tree, names, count, block);
		left -= bytes;
		if (!left && tail) {
			cf_buf_add(&d->scratch, block, bytes);
			continue;
		}
		r = layer_out_write(d->out, at, cf_view(block, bytes), err);
		if (r < 0)
			return r;
		at += LAYER_BLOCK_BYTES;
	}
	return cf_buf_check(&d->scratch, "directory", err);
}

static int put_dir(struct dirs *d, uint32_t node, uint64_t ino, struct cf_err *err)
{
	const struct layer_dir *dir = layer_tree_dir(d->tree, node);
	uint8_t head[LAYER_INODE_BYTES];
	struct cf_view whole;
	int r = dir_area(d, dir, err);

	if (r < 0)
		return r;
	uint32_t tail = dir_tail(dir, node, d->area.size);
	const struct layer_inode inode = {
		.layout = tail ? LAYOUT_INLINE : LAYOUT_PLAIN,
		.mode = (uint16_t)(S_IFDIR | dir->mode),
		.size = dir->size,
		.start = dir->start,
		.ino = (uint32_t)ino,
		.uid = dir->uid,
		.gid = dir->gid,
		.mtime = dir->mtime,
		.mtime_nsec = dir->mtime_nsec,
		.nlink = 2 + dir->subdirs,
		.xattr_bytes = (uint32_t)d->area.size,
	};
	layer_inode_put(&inode, head);
	cf_buf_reset(&d->scratch);
	cf_buf_add(&d->scratch, head, sizeof(head));
	cf_buf_add_view(&d->scratch, cf_buf_view(&d->area));
	r = put_names(d, node, tail, err);
	if (r < 0)
		return r;
	whole = cf_buf_view(&d->scratch);
	if (node != NODE_ROOT)
		return layer_out_patch(d->out, (uint64_t)dir->nid * LAYER_NID_BYTES, whole, err);
	assert(whole.size <= LAYER_BLOCK_BYTES - LAYER_ROOT_AT);
	memcpy(d->block0 + LAYER_ROOT_AT, whole.data, whole.size);
	return 0;
}

static bool is_live_dir(const struct layer_tree *t, uint32_t i)
{
	const struct layer_node *n = layer_node(t, i);

	return n->kind == KIND_DIR && !(n->flags & NODE_DEAD);
}

int layer_dirs_write(struct layer_tree *t, struct layer_out *o, unsigned marks, uint64_t *inodes,
                     uint8_t *block0, struct cf_err *err)
{
	struct dirs d = { .tree = t, .out = o, .marks = marks, .block0 = block0 };
	int r = 0;

	for (uint32_t i = NODE_ROOT; r == 0 && i < t->count; i++)
		if (is_live_dir(t, i))
			r = place_dir(&d, i, err);
	for (uint32_t i = NODE_ROOT; r == 0 && i < t->count; i++)
		if (is_live_dir(t, i))
			r = put_dir(&d, i, ++*inodes, err);
	cf_buf_fini(&d.area);
	cf_buf_fini(&d.scratch);
	return r;
}
