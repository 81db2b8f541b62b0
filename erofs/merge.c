/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/merge.h"

#include "erofs/layer_build.h"
#include "erofs/layer_dirs.h"
#include "erofs/layer_image.h"
#include "erofs/layer_map.h"

#include "base/str.h"

#include <assert.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* Pages of the layers are given back each time this many inodes were read. */
#define FORGET_AFTER 1024u

/* Something that is no directory, in one of the layers. */
struct source {
	uint32_t nid; /* in its layer */
	uint16_t layer;
	uint8_t kind;
	uint32_t links; /* names in the merged tree */
	uint32_t out;   /* its nid in the merged image; 0: not written yet */
};

/* A directory being walked. */
struct frame {
	struct layer_name_iter names;
	uint32_t node;
};

struct merge {
	const struct layer_merge_input *inputs;
	struct layer_image *images;
	size_t count;
	const uint8_t *uuid;
	struct layer_tree tree;
	struct source *sources;
	size_t source_count, source_cap;
	struct layer_out *out;
	struct layer_merge_stats stats;
	uint64_t names;      /* read so far, of all layers */
	unsigned remembered; /* inodes read since pages were given back */

	/* of the layer at hand */
	uint16_t layer;
	struct layer_map
		links; /* inodes that say they have several names: nid → index of the source */
	uint32_t *pending; /* what its hard links to lower layers lead to, in the walk's order */
	size_t pending_count, pending_cap, pending_next;
	struct frame *frames; /* TAR_DEPTH_MAX + 1 */
};

/* ---- marks ---- */

struct marks {
	bool opaque, implicit;
	struct cf_view pending; /* path; empty: none */
};

/*
 * Reads the marks of an inode. What a layer must not say (overlayfs' control attributes) is refused:
 * our own builder never writes it.
 */
static int read_marks(const struct layer_file *f, struct marks *ret, struct cf_err *err)
{
	size_t at = XATTR_HEADER_BYTES;
	struct layer_xattr x;
	bool bad = false;

	*ret = (struct marks){ 0 };
	while (layer_xattr_next(f->area, &at, &x, &bad)) {
		bool trusted = x.index == XATTR_TRUSTED;

		if (trusted && f->kind == KIND_DIR && cf_view_eq_str(x.name, XATTR_OPAQUE))
			ret->opaque = true;
		else if (trusted && f->kind == KIND_DIR && cf_view_eq_str(x.name, XATTR_IMPLICIT))
			ret->implicit = true;
		else if (trusted && f->kind == KIND_DIR && cf_view_eq_str(x.name, XATTR_ORIGIN))
			continue;
		else if (trusted && f->kind == KIND_FILE && cf_view_eq_str(x.name, XATTR_PENDING))
			ret->pending = x.value;
		else if ((trusted || x.index == XATTR_USER) &&
		         (cf_view_starts_with(x.name, "overlay.") ||
		          (trusted && cf_view_starts_with(x.name, "coffer."))))
			return cf_fail(err, CF_INVALID_ARGUMENT, "merge: a forged mark");
	}
	return 0;
}

/* The attributes of a directory without its marks, into @area. */
static void strip_marks(struct cf_view from, struct cf_buf *area)
{
	struct layer_xattr *items = cf_zalloc_n(from.size / XATTR_ENTRY_BYTES + 1, sizeof(*items));
	size_t count = 0, at = XATTR_HEADER_BYTES;
	bool bad = false;

	while (layer_xattr_next(from, &at, &items[count], &bad)) {
		bool is_mark = items[count].index == XATTR_TRUSTED &&
		               (cf_view_eq_str(items[count].name, XATTR_OPAQUE) ||
		                cf_view_eq_str(items[count].name, XATTR_ORIGIN) ||
		                cf_view_eq_str(items[count].name, XATTR_IMPLICIT));

		count += !is_mark;
	}
	layer_xattr_encode(items, count, area, NULL);
	free(items);
}

/* ---- the merged tree ---- */

static int drop_source(void *ctx, uint32_t node, struct cf_err *err)
{
	struct merge *m = ctx;
	const struct layer_node *n = layer_node(&m->tree, node);

	(void)err;
	if (n->kind != KIND_NONE)
		m->sources[n->ref].links--;
	return 0;
}

/* The node of that name, made when missing. What it is stays. */
static int name_node(struct merge *m, uint32_t parent, struct cf_view name, uint32_t *ret,
                     struct cf_err *err)
{
	*ret = layer_tree_find(&m->tree, parent, name);
	return *ret ? 0 : layer_tree_add(&m->tree, parent, name, ret, err);
}

static int set_dir(struct merge *m, uint32_t node, const struct layer_file *f,
                   const struct marks *marks, struct cf_err *err)
{
	struct layer_dir *dir = layer_tree_dir(&m->tree, node);
	struct cf_buf area = { 0 };
	int r;

	/* A parent that no member named has made-up attributes: what is below knows better. */
	if (marks->implicit)
		return 0;
	dir->implicit = false;
	dir->mode = f->inode.mode & 07777;
	dir->uid = f->inode.uid;
	dir->gid = f->inode.gid;
	dir->mtime = f->inode.mtime;
	dir->mtime_nsec = f->inode.mtime_nsec;
	strip_marks(f->area, &area);
	r = layer_tree_set_xattrs(&m->tree, node, cf_buf_view(&area), err);
	cf_buf_fini(&area);
	return r;
}

/* ---- parents that are symbolic links below ---- */

/*
 * "lib/x" in a layer that never names lib, over a layer where lib is a symbolic link to usr/lib:
 * who unpacks layers one over the other puts x into usr/lib. So does the merge, in the tree it has;
 * a layer that does name lib as a directory replaces the link.
 */
#define FOLLOW_LINKS_MAX 40u /* as the kernel */
#define FOLLOW_PATH_MAX  (2 * TAR_PATH_MAX)

/* What is still to walk, with the link's target put in front. False when that gets too long. */
static bool prepend(struct cf_buf *rest, struct cf_view target)
{
	struct cf_buf longer = { .max = FOLLOW_PATH_MAX };

	cf_buf_add_view(&longer, target);
	cf_buf_add_byte(&longer, '/');
	cf_buf_add_view(&longer, cf_buf_view(rest));
	cf_buf_fini(rest);
	*rest = longer;
	return !longer.bad;
}

static bool link_target(const struct merge *m, uint32_t node, struct cf_view *ret)
{
	const struct source *s = &m->sources[layer_node(&m->tree, node)->ref];
	struct layer_file f;

	if (layer_image_file(&m->images[s->layer], s->nid, &f, NULL) < 0)
		return false;
	*ret = f.content;
	return true;
}

/* One component from directory @at; 0: there is none. */
static uint32_t step_down(const struct merge *m, uint32_t at, struct cf_view name)
{
	if (!name.size || cf_view_eq_str(name, "."))
		return at;
	if (cf_view_eq_str(name, ".."))
		return layer_node(&m->tree, at)->parent;
	return layer_tree_find(&m->tree, at, name);
}

/* The directory that link @node leads to, inside the root; 0 when it leads to none. */
static uint32_t follow(const struct merge *m, uint32_t node)
{
	uint32_t at = layer_node(&m->tree, node)->parent, links = 0;
	struct cf_buf rest = { .max = FOLLOW_PATH_MAX };
	struct cf_view target;
	bool ok = link_target(m, node, &target) && prepend(&rest, target);

	if (ok && cf_view_starts_with(target, "/"))
		at = NODE_ROOT;
	while (ok && at && rest.size) {
		ssize_t slash = cf_view_find(cf_buf_view(&rest), '/');
		size_t n = slash < 0 ? rest.size : (size_t)slash;
		uint32_t next = step_down(m, at, cf_view(rest.data, n));

		cf_buf_consume(&rest, CF_MIN(n + 1, rest.size));
		if (next && layer_node(&m->tree, next)->kind == KIND_SYMLINK) {
			ok = ++links < FOLLOW_LINKS_MAX && link_target(m, next, &target) &&
			     prepend(&rest, target);
			at = ok && cf_view_starts_with(target, "/") ? NODE_ROOT : at;
			continue;
		}
		at = next && layer_node(&m->tree, next)->kind == KIND_DIR ? next : 0;
	}
	cf_buf_fini(&rest);
	return ok ? at : 0;
}

/* @f is a directory of the layer at hand; *@node is where it goes, or where a link there leads. */
static int merge_dir(struct merge *m, uint32_t *node, const struct layer_file *f,
                     struct cf_err *err)
{
	uint8_t kind = layer_node(&m->tree, *node)->kind;
	struct marks marks;
	int r = read_marks(f, &marks, err);

	if (r < 0)
		return r;
	if (kind == KIND_SYMLINK && marks.implicit) {
		uint32_t target = follow(m, *node);

		if (target) {
			*node = target;
			kind = KIND_DIR;
		}
	}
	if (kind != KIND_DIR) {
		r = drop_source(m, *node, err);
		layer_tree_make_dir(&m->tree, *node);
	} else if (marks.opaque) {
		r = layer_tree_clear(&m->tree, *node, drop_source, m, err);
	}
	return r < 0 ? r : set_dir(m, *node, f, &marks, err);
}

static uint32_t new_source(struct merge *m, uint32_t nid, uint8_t kind)
{
	cf_grow(&m->sources, &m->source_cap, m->source_count + 1);
	m->sources[m->source_count] =
		(struct source){ .nid = nid, .layer = m->layer, .kind = kind };
	return (uint32_t)m->source_count++;
}

/* Names of one inode share one source. */
static uint32_t source_of(struct merge *m, uint32_t nid, const struct layer_file *f)
{
	uint32_t *known;

	if (f->inode.nlink < 2)
		return new_source(m, nid, (uint8_t)f->kind);
	known = layer_map_at(&m->links, nid); /* the index is never 0 */
	if (!*known)
		*known = new_source(m, nid, (uint8_t)f->kind);
	return *known;
}

static int merge_source(struct merge *m, uint32_t parent, struct cf_view name, uint32_t source,
                        struct cf_err *err)
{
	struct layer_node *n;
	uint32_t node;
	int r = name_node(m, parent, name, &node, err);

	if (r < 0)
		return r;
	m->sources[source].links++; /* before anything goes: it may be the same */
	n = layer_node(&m->tree, node);
	r = n->kind == KIND_DIR ? layer_tree_clear(&m->tree, node, drop_source, m, err)
	                        : drop_source(m, node, err);
	n->kind = m->sources[source].kind;
	n->ref = source;
	return r;
}

static int merge_whiteout(struct merge *m, uint32_t parent, struct cf_view name, struct cf_err *err)
{
	uint32_t node = layer_tree_find(&m->tree, parent, name);

	if (!node)
		return 0;
	m->stats.whiteouts++;
	return layer_tree_remove(&m->tree, node, drop_source, m, err);
}

/*
 * Inodes lie scattered over an image, and each brings its page and the pages around it: without this
 * a merge would hold the metadata of all layers at once. What is needed again comes from the file.
 */
static void forget_pages(struct merge *m)
{
	if (++m->remembered < FORGET_AFTER)
		return;
	m->remembered = 0;
	for (size_t i = 0; i < m->count; i++) {
		struct cf_view v = m->inputs[i].image;

		if (m->inputs[i].is_mapped)
			madvise((void *)(uintptr_t)v.data, v.size, MADV_DONTNEED);
	}
}

/* ---- walking a layer ---- */

typedef int visit_fn(struct merge *m, uint32_t parent, const struct layer_name *name,
                     const struct layer_file *f, uint32_t *ret_node, struct cf_err *err);

static int walk_names(struct merge *m, visit_fn *visit, size_t *depth, struct cf_err *err)
{
	const struct layer_image *img = &m->images[m->layer];
	struct frame *top = &m->frames[*depth - 1];
	struct layer_name name;
	struct layer_file f;
	uint32_t node = 0;
	const struct layer_node *dir = layer_node(&m->tree, top->node);
	int r = layer_name_next(&top->names, &name, err);

	if (r < 0)
		return r;
	if (r == 0) {
		--*depth;
		return 0;
	}
	/* Through a link that leads upwards a layer can take away the directory it is in. */
	if (dir->kind != KIND_DIR || dir->flags & NODE_DEAD)
		return cf_fail(err, CF_INVALID_ARGUMENT, "merge: a directory replaces itself");
	if (++m->names > LAYER_MERGE_NAMES_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "merge: more than %u names",
		               LAYER_MERGE_NAMES_MAX);
	forget_pages(m);
	r = layer_image_file(img, name.nid, &f, err);
	if (r == 0 && f.kind != name.kind)
		r = cf_fail(err, CF_INVALID_ARGUMENT, "merge: a name and its inode differ in kind");
	if (r == 0)
		r = visit(m, top->node, &name, &f, &node, err);
	if (r < 0 || f.kind != KIND_DIR)
		return r;
	/* Also what ends a directory that contains itself. */
	if (*depth > TAR_DEPTH_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "merge: directories too deep");
	m->frames[(*depth)++] = (struct frame){ layer_image_names(&f), node };
	return 0;
}

/* Depth first, without recursion: the depth is bounded, and so is the number of names. */
static int walk_layer(struct merge *m, const struct layer_file *root, visit_fn *visit,
                      struct cf_err *err)
{
	size_t depth = 1;
	int r = 0;

	m->frames[0] = (struct frame){ layer_image_names(root), NODE_ROOT };
	while (r == 0 && depth)
		r = walk_names(m, visit, &depth, err);
	return r;
}

static int visit_merge(struct merge *m, uint32_t parent, const struct layer_name *name,
                       const struct layer_file *f, uint32_t *ret_node, struct cf_err *err)
{
	struct marks marks;
	int r;

	if (f->kind == KIND_DIR) {
		r = name_node(m, parent, name->name, ret_node, err);
		return r < 0 ? r : merge_dir(m, ret_node, f, err);
	}
	if (f->kind == KIND_CHAR && f->inode.start == 0)
		return merge_whiteout(m, parent, name->name, err);
	r = read_marks(f, &marks, err);
	if (r < 0)
		return r;
	if (!marks.pending.size)
		return merge_source(m, parent, name->name, source_of(m, (uint32_t)name->nid, f),
		                    err);
	if (m->pending_next == m->pending_count)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "merge: a hard link that was not announced");
	m->stats.linked_below++;
	return merge_source(m, parent, name->name, m->pending[m->pending_next++], err);
}

/* What a hard link leads to in the layers below; directories and nothing are refused. */
static int resolve_below(const struct merge *m, struct cf_view path, uint32_t *ret_source,
                         struct cf_err *err)
{
	struct cf_view rest = path;
	uint32_t at = NODE_ROOT;

	while (at && rest.size) {
		ssize_t slash = cf_view_find(rest, '/');
		size_t n = slash < 0 ? rest.size : (size_t)slash;
		bool is_dir = layer_node(&m->tree, at)->kind == KIND_DIR;

		at = is_dir ? layer_tree_find(&m->tree, at, cf_view_sub(rest, 0, n)) : 0;
		rest = cf_view_sub(rest, n + 1, rest.size);
	}
	if (!at || layer_node(&m->tree, at)->kind == KIND_DIR)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "merge: a hard link to '%.*s', which no lower layer has",
		               (int)CF_MIN(path.size, 300u), (const char *)path.data);
	*ret_source = layer_node(&m->tree, at)->ref;
	return 0;
}

/* Before anything of the layer is applied: its links mean the tree as the layers below left it. */
static int visit_resolve(struct merge *m, uint32_t parent, const struct layer_name *name,
                         const struct layer_file *f, uint32_t *ret_node, struct cf_err *err)
{
	struct marks marks;
	uint32_t source;
	int r = read_marks(f, &marks, err);

	(void)parent;
	(void)name;
	*ret_node = NODE_ROOT;
	if (r < 0 || !marks.pending.size)
		return r;
	r = resolve_below(m, marks.pending, &source, err);
	if (r < 0)
		return r;
	cf_grow(&m->pending, &m->pending_cap, m->pending_count + 1);
	m->pending[m->pending_count++] = source;
	return 0;
}

static int apply_layer(struct merge *m, struct cf_err *err)
{
	const struct layer_image *img = &m->images[m->layer];
	uint32_t top = NODE_ROOT;
	struct layer_file root;
	int r = layer_image_file(img, LAYER_ROOT_NID, &root, err);

	m->pending_count = m->pending_next = 0;
	layer_map_clear(&m->links);
	if (r == 0 && root.kind != KIND_DIR)
		r = cf_fail(err, CF_INVALID_ARGUMENT, "merge: the root is no directory");
	if (r == 0 && img->has_pending)
		r = walk_layer(m, &root, visit_resolve, err);
	if (r == 0)
		r = merge_dir(m, &top, &root, err);
	return r < 0 ? r : walk_layer(m, &root, visit_merge, err);
}

/* ---- writing ---- */

static unsigned chunk_bits(uint64_t blocks)
{
	unsigned bits = 0;

	while (blocks > 1ull << bits)
		bits++;
	return bits;
}

/* A file whose bytes stay in its layer: one chunk, as long as the file. */
static int write_chunked(struct merge *m, const struct source *s, const struct layer_file *f,
                         struct layer_inode *inode, uint32_t *ret_nid, struct cf_err *err)
{
	uint64_t blocks = (f->inode.size + LAYER_BLOCK_BYTES - 1) / LAYER_BLOCK_BYTES;
	uint32_t index_at = (LAYER_INODE_BYTES + inode->xattr_bytes + 7) & ~7u;
	uint8_t *p;
	int r = layer_out_inode(m->out, index_at + CHUNK_INDEX_BYTES, ret_nid, &p, err);

	if (r < 0)
		return r;
	inode->layout = LAYOUT_CHUNKS;
	inode->start = CHUNK_INDEXES | chunk_bits(blocks);
	layer_inode_put(inode, p);
	if (f->area.size)
		memcpy(p + LAYER_INODE_BYTES, f->area.data, f->area.size);
	put_u16(p + index_at, 0);
	put_u16(p + index_at + 2, (uint16_t)(s->layer + 1));
	put_u32(p + index_at + 4, f->inode.start);
	return 0;
}

/* Everything else is copied: small files, link targets, device numbers. */
static int write_copied(struct merge *m, const struct layer_file *f, struct layer_inode *inode,
                        uint32_t *ret_nid, struct cf_err *err)
{
	uint32_t head = LAYER_INODE_BYTES + inode->xattr_bytes, first;
	bool fits = head + f->content.size <= LAYER_BLOCK_BYTES;
	uint32_t tail = fits ? (uint32_t)f->content.size : 0;
	uint8_t *p;
	int r;

	if (f->content.size) {
		inode->layout = fits ? LAYOUT_INLINE : LAYOUT_PLAIN;
		inode->start = INODE_NO_START;
	}
	if (f->content.size && !fits) {
		r = layer_out_blocks(m->out, 1, &first, err);
		if (r == 0)
			r = layer_out_write(m->out, (uint64_t)first * LAYER_BLOCK_BYTES, f->content,
			                    err);
		if (r < 0)
			return r;
		inode->start = first;
	}
	r = layer_out_inode(m->out, head + tail, ret_nid, &p, err);
	if (r < 0)
		return r;
	layer_inode_put(inode, p);
	if (f->area.size)
		memcpy(p + LAYER_INODE_BYTES, f->area.data, f->area.size);
	if (tail)
		memcpy(p + head, f->content.data, tail);
	return 0;
}

static int write_source(struct merge *m, struct source *s, struct cf_err *err)
{
	struct layer_inode inode;
	struct layer_file f;
	int r = layer_image_file(&m->images[s->layer], s->nid, &f, err);

	forget_pages(m);
	if (r < 0)
		return r;
	inode = f.inode;
	inode.layout = LAYOUT_PLAIN;
	inode.nlink = s->links;
	inode.ino = (uint32_t)++m->stats.inodes;
	if (f.kind == KIND_FILE && f.content.size && f.inode.layout == LAYOUT_PLAIN)
		return write_chunked(m, s, &f, &inode, &s->out, err);
	if (f.kind == KIND_FILE && !f.content.size)
		inode.start = INODE_NO_START;
	return write_copied(m, &f, &inode, &s->out, err);
}

static int write_sources(struct merge *m, struct cf_err *err)
{
	for (uint32_t i = NODE_ROOT + 1; i < m->tree.count; i++) {
		struct layer_node *n = layer_node(&m->tree, i);
		struct source *s;
		int r = 0;

		if (n->flags & NODE_DEAD || n->kind == KIND_DIR)
			continue;
		s = &m->sources[n->ref];
		if (!s->out)
			r = write_source(m, s, err);
		if (r < 0)
			return cf_wrap(err, r, "layer %u", s->layer + 1u);
		n->ref = s->out;
	}
	return 0;
}

static int write_devices(struct merge *m, struct cf_err *err)
{
	for (size_t i = 0; i < m->count; i++) {
		struct cf_view id = m->inputs[i].diff_id;
		ssize_t colon = cf_view_find(id, ':');
		struct cf_view tag = cf_view_sub(id, colon < 0 ? 0 : (size_t)colon + 1, 64);
		uint8_t slot[LAYER_DEVICE_BYTES] = { 0 };
		int r;

		if (tag.size)
			memcpy(slot, tag.data, tag.size);
		put_u32(slot + 64, m->images[i].blocks);
		r = layer_out_write(m->out, LAYER_BLOCK_BYTES + i * LAYER_DEVICE_BYTES,
		                    cf_view(slot, sizeof(slot)), err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int write_image(struct merge *m, struct cf_err *err)
{
	uint8_t block0[LAYER_BLOCK_BYTES] = { 0 };
	struct layer_super super = {
		.devices = (uint16_t)m->count,
		.device_slot = LAYER_BLOCK_BYTES / LAYER_DEVICE_BYTES,
	};
	int r = write_sources(m, err);

	if (r == 0)
		r = layer_dirs_write(&m->tree, m->out, 0, &m->stats.inodes, block0, err);
	if (r == 0)
		r = write_devices(m, err);
	if (r < 0)
		return r;
	super.inodes = m->stats.inodes;
	memcpy(super.uuid, m->uuid, sizeof(super.uuid));
	r = layer_out_finish(m->out, &super, block0, err);
	m->stats.image_bytes = layer_out_size(m->out);
	return r;
}

static void merge_fini(struct merge *m)
{
	free(m->images);
	layer_tree_fini(&m->tree);
	free(m->sources);
	layer_out_free(m->out);
	layer_map_fini(&m->links);
	free(m->pending);
	free(m->frames);
}

static int merge_all(struct merge *m, struct cf_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->count; i++) {
		m->layer = (uint16_t)i;
		r = layer_image_open(&m->images[i], m->inputs[i].image, err);
		if (r == 0)
			r = apply_layer(m, err);
		if (r < 0)
			r = cf_wrap(err, r, "layer %zu", i + 1);
	}
	return r < 0 ? r : write_image(m, err);
}

int layer_merge(const struct layer_merge_input *layers, size_t count,
                const uint8_t uuid[LAYER_UUID_SIZE], int fd, struct layer_merge_stats *ret,
                struct cf_err *err)
{
	struct merge m = { .inputs = layers, .count = count, .uuid = uuid };
	uint32_t table;
	int r;

	if (count == 0 || count > LAYER_MERGE_LAYERS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "merge: %zu layers, 1 to %u can be",
		               count, LAYER_MERGE_LAYERS_MAX);
	table = ((uint32_t)count * LAYER_DEVICE_BYTES + LAYER_BLOCK_BYTES - 1) / LAYER_BLOCK_BYTES;
	m.images = cf_zalloc_n(count, sizeof(*m.images));
	m.frames = cf_zalloc_n(TAR_DEPTH_MAX + 1, sizeof(*m.frames));
	m.out = layer_out_new(fd, table);
	layer_tree_init(&m.tree, 0);
	new_source(&m, 0, KIND_NONE); /* index 0 stands for none */
	r = merge_all(&m, err);
	if (r == 0 && ret)
		*ret = m.stats;
	merge_fini(&m);
	return r;
}
