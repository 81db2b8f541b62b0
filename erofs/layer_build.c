/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/layer_build.h"

#include "erofs/layer_dirs.h"
#include "erofs/layer_xattr.h"

#include "base/str.h"

#include <assert.h>
#include <sys/stat.h>

#define WHITEOUT      ".wh."
#define WHITEOUT_META ".wh..wh."
#define OPAQUE_NAME   ".wh..wh..opq"
#define OPAQUE_XATTR  "trusted." XATTR_OPAQUE

/* Where the content of the member at hand goes. */
enum content {
	CONTENT_NONE,   /* there is none, or nobody wants it */
	CONTENT_INLINE, /* into b->small, then behind the inode */
	CONTENT_BLOCKS, /* into blocks of its own */
};

struct layer_build {
	struct layer_build_opts opts;
	struct layer_stats stats;
	struct layer_tree tree;
	struct layer_out *out;
	struct tar_reader *tar;

	/* the member at hand */
	uint32_t node;
	bool wants_inode;
	enum content content;
	struct layer_inode inode;
	uint8_t small[LAYER_BLOCK_BYTES];
	uint32_t small_size;
	uint64_t at; /* CONTENT_BLOCKS: where the next byte goes in the image */
	struct cf_buf area;
	struct layer_xattr *xattrs;
	size_t xattr_cap;
};

static int refuse(struct cf_view path, const char *why, struct cf_err *err)
{
	return cf_fail(err, CF_INVALID_ARGUMENT, "layer: '%.*s': %s",
	               (int)CF_MIN(path.size, (size_t)300), (const char *)path.data, why);
}

/* ---- names ---- */

/* Takes the first component off @rest. */
static struct cf_view next_component(struct cf_view *rest)
{
	ssize_t slash = cf_view_find(*rest, '/');
	struct cf_view name = cf_view_sub(*rest, 0, slash < 0 ? rest->size : (size_t)slash);

	*rest = cf_view_sub(*rest, name.size + 1, rest->size);
	return name;
}

static int count_link(struct layer_build *b, uint32_t nid, int by, struct cf_err *err)
{
	uint64_t at = (uint64_t)nid * LAYER_NID_BYTES;
	uint8_t raw[LAYER_INODE_BYTES];
	uint32_t nlink;
	int r = layer_out_peek(b->out, at, raw, sizeof(raw), err);

	if (r < 0)
		return r;
	nlink = get_u32(raw + INODE_NLINK) + (uint32_t)by;
	if (nlink == 0)
		b->stats.dead_bytes += get_u64(raw + INODE_SIZE);
	put_u32(raw + INODE_NLINK, nlink);
	return layer_out_patch(b->out, at + INODE_NLINK, cf_view(raw + INODE_NLINK, 4), err);
}

static int drop_node(void *ctx, uint32_t node, struct cf_err *err)
{
	struct layer_build *b = ctx;
	const struct layer_node *n = layer_node(&b->tree, node);

	return n->kind == KIND_NONE ? 0 : count_link(b, n->ref, -1, err);
}

/* Takes away what node @i is so far; the name stays. */
static int vacate(struct layer_build *b, uint32_t i, struct cf_err *err)
{
	struct layer_node *n = layer_node(&b->tree, i);
	int r = n->kind == KIND_DIR ? layer_tree_clear(&b->tree, i, drop_node, b, err)
	                            : drop_node(b, i, err);

	n->kind = KIND_NONE;
	n->flags &= (uint8_t)~NODE_WHITEOUT;
	return r;
}

/* @parent's directory of that name; makes one, in place of anything else, when there is none. */
static int enter_dir(struct layer_build *b, uint32_t parent, struct cf_view name, uint32_t *ret,
                     struct cf_err *err)
{
	uint32_t i = layer_tree_find(&b->tree, parent, name);
	bool hides;
	int r;

	if (!i) {
		r = layer_tree_add(&b->tree, parent, name, &i, err);
		if (r < 0)
			return r;
		layer_tree_make_dir(&b->tree, i);
	}
	*ret = i;
	if (layer_node(&b->tree, i)->kind == KIND_DIR)
		return 0;
	/* What was here hid a lower directory of this name; so must the directory that takes its place. */
	hides = layer_node(&b->tree, i)->flags & NODE_WHITEOUT ||
	        layer_node(&b->tree, i)->kind != KIND_NONE;
	r = vacate(b, i, err);
	layer_tree_make_dir(&b->tree, i);
	layer_tree_dir(&b->tree, i)->opaque = hides;
	return r;
}

static bool is_mark(struct cf_view name)
{
	return cf_view_starts_with(name, WHITEOUT);
}

/* What a name means. */
enum meaning {
	NAME_PLAIN,
	NAME_WHITEOUT,
	NAME_OPAQUE,
	NAME_IGNORED, /* aufs' own bookkeeping */
};

/* Looks at all components before anything is changed. */
static int judge_path(const struct layer_build *b, struct cf_view path, enum meaning *ret,
                      struct cf_err *err)
{
	struct cf_view rest = path, hidden;

	*ret = NAME_PLAIN;
	if (b->opts.is_upper)
		return 0;
	while (rest.size) {
		struct cf_view name = next_component(&rest);

		if (!is_mark(name))
			continue;
		if (!rest.size && cf_view_eq_str(name, OPAQUE_NAME)) {
			*ret = NAME_OPAQUE;
			return 0;
		}
		if (cf_view_starts_with(name, WHITEOUT_META)) {
			*ret = NAME_IGNORED;
			return 0;
		}
		if (rest.size)
			return refuse(path, "a whiteout used as a directory", err);
		hidden = cf_view_sub(name, strlen(WHITEOUT), name.size);
		if (!hidden.size || cf_view_eq_str(hidden, ".") || cf_view_eq_str(hidden, ".."))
			return refuse(path, "a whiteout of no name", err);
		*ret = NAME_WHITEOUT;
	}
	return 0;
}

/* The directory that holds the last component of @path, made when missing. */
static int enter_parents(struct layer_build *b, struct cf_view path, uint32_t *ret_parent,
                         struct cf_view *ret_name, struct cf_err *err)
{
	uint32_t at = NODE_ROOT;
	struct cf_view rest = path, name = next_component(&rest);

	while (rest.size) {
		uint32_t i = layer_tree_find(&b->tree, at, name);
		bool in_the_way = i && layer_node(&b->tree, i)->kind != KIND_DIR &&
		                  layer_node(&b->tree, i)->kind != KIND_NONE;
		int r;

		if (in_the_way && b->opts.strict)
			return refuse(path, "a parent is no directory", err);
		b->stats.replaced_parents += in_the_way;
		r = enter_dir(b, at, name, &at, err);
		if (r < 0)
			return r;
		name = next_component(&rest);
	}
	*ret_parent = at;
	*ret_name = name;
	return 0;
}

/* ---- attributes ---- */

static bool says_opaque(const struct layer_build *b, const struct tar_xattr *x)
{
	return b->opts.is_upper && cf_view_eq_str(x->name, OPAQUE_XATTR) &&
	       cf_view_eq_str(x->value, "y");
}

static int encode_xattrs(struct layer_build *b, const struct tar_entry *e, struct cf_err *err)
{
	size_t count = 0;

	cf_grow(&b->xattrs, &b->xattr_cap, e->xattr_count + 1);
	for (size_t i = 0; i < e->xattr_count; i++) {
		if (layer_xattr_from_tar(&e->xattrs[i], &b->xattrs[count]))
			count++;
		else if (!says_opaque(b, &e->xattrs[i]))
			b->stats.dropped_xattrs++;
	}
	layer_xattr_encode(b->xattrs, count, &b->area, &b->stats.dropped_xattrs);
	return cf_buf_check(&b->area, "attributes", err);
}

static int set_dir_attributes(struct layer_build *b, uint32_t i, const struct tar_entry *e,
                              struct cf_err *err)
{
	struct layer_dir *dir = layer_tree_dir(&b->tree, i);
	int r = encode_xattrs(b, e, err);

	if (r < 0)
		return r;
	dir->implicit = false;
	for (size_t k = 0; k < e->xattr_count; k++)
		dir->opaque |= says_opaque(b, &e->xattrs[k]);
	dir->mode = e->mode;
	dir->uid = e->uid;
	dir->gid = e->gid;
	dir->mtime = e->mtime;
	dir->mtime_nsec = e->mtime_nsec;
	return layer_tree_set_xattrs(&b->tree, i, cf_buf_view(&b->area), err);
}

/* ---- members ---- */

static int on_dir(struct layer_build *b, const struct tar_entry *e, struct cf_err *err)
{
	uint32_t i = NODE_ROOT;

	if (e->path.size) {
		uint32_t parent;
		struct cf_view name;
		int r = enter_parents(b, e->path, &parent, &name, err);

		if (r == 0)
			r = enter_dir(b, parent, name, &i, err);
		if (r < 0)
			return r;
	}
	return set_dir_attributes(b, i, e, err);
}

/* Hides @path in the layers below; @skip bytes of its last component are not part of the name. */
static int hide(struct layer_build *b, struct cf_view path, size_t skip, struct cf_err *err)
{
	struct cf_view name;
	uint32_t parent, i;
	int r = enter_parents(b, path, &parent, &name, err);

	if (r < 0)
		return r;
	name = cf_view_sub(name, skip, name.size);
	i = layer_tree_find(&b->tree, parent, name);
	if (i && layer_node(&b->tree, i)->kind == KIND_DIR)
		layer_tree_dir(&b->tree, i)->opaque = true;
	if (i)
		return 0; /* anything else hides by being there */
	r = layer_tree_add(&b->tree, parent, name, &i, err);
	if (r == 0)
		layer_node(&b->tree, i)->flags |= NODE_WHITEOUT;
	return r;
}

static int on_whiteout(struct layer_build *b, const struct tar_entry *e, struct cf_err *err)
{
	if (e->type == TAR_HARDLINK)
		return refuse(e->path, "a whiteout that is a hard link", err);
	return hide(b, e->path, strlen(WHITEOUT), err);
}

static int on_opaque(struct layer_build *b, const struct tar_entry *e, struct cf_err *err)
{
	struct cf_view name;
	uint32_t parent;
	int r;

	if (e->type == TAR_HARDLINK)
		return refuse(e->path, "an opaque marker that is a hard link", err);
	r = enter_parents(b, e->path, &parent, &name, err);
	if (r == 0)
		layer_tree_dir(&b->tree, parent)->opaque = true;
	return r;
}

/* The node for a new member that is no directory, vacated. */
static int claim_name(struct layer_build *b, struct cf_view path, uint32_t *ret, struct cf_err *err)
{
	struct cf_view name;
	uint32_t parent;
	int r = enter_parents(b, path, &parent, &name, err);

	if (r < 0)
		return r;
	*ret = layer_tree_find(&b->tree, parent, name);
	if (*ret)
		return vacate(b, *ret, err);
	return layer_tree_add(&b->tree, parent, name, ret, err);
}

/* 0 when the layer has no such name (yet). A whiteout counts as a name. */
static uint32_t look_up(const struct layer_build *b, struct cf_view path)
{
	uint32_t at = NODE_ROOT;

	while (at && path.size) {
		struct cf_view name = next_component(&path);

		at = layer_node(&b->tree, at)->kind == KIND_DIR
		             ? layer_tree_find(&b->tree, at, name)
		             : 0;
	}
	return at;
}

/* A hard link to a lower layer's file: an empty file with a mark that the merge resolves. */
static int on_pending_link(struct layer_build *b, const struct tar_entry *e, struct cf_err *err)
{
	struct layer_xattr mark = { XATTR_TRUSTED, CF_VIEW_LIT(XATTR_PENDING), e->link, 0 };

	if (!b->opts.for_merge)
		return cf_fail(
			err, CF_INVALID_ARGUMENT,
			"layer: '%.*s': a hard link to '%.*s', which the layer does not have",
			(int)CF_MIN(e->path.size, 200u), (const char *)e->path.data,
			(int)CF_MIN(e->link.size, 200u), (const char *)e->link.data);
	b->stats.pending_links++;
	layer_xattr_encode(&mark, 1, &b->area, NULL);
	b->inode = (struct layer_inode){
		.mode = S_IFREG,
		.start = INODE_NO_START,
		.nlink = 1,
		.xattr_bytes = (uint32_t)b->area.size,
	};
	b->wants_inode = true;
	return claim_name(b, e->path, &b->node, err);
}

static int on_hardlink(struct layer_build *b, const struct tar_entry *e, struct cf_err *err)
{
	uint32_t target = look_up(b, e->link), node;
	enum meaning meaning;
	uint8_t kind;
	uint32_t nid;
	int r = judge_path(b, e->link, &meaning, err);

	if (r == 0 && meaning != NAME_PLAIN)
		r = refuse(e->path, "a hard link to a whiteout", err);
	if (r < 0)
		return r;
	if (!target)
		return on_pending_link(b, e, err);
	if (layer_node(&b->tree, target)->kind == KIND_DIR)
		return refuse(e->path, "a hard link to a directory", err);
	if (layer_node(&b->tree, target)->kind == KIND_NONE)
		return refuse(e->path, "a hard link to what this layer takes away", err);
	kind = layer_node(&b->tree, target)->kind;
	nid = layer_node(&b->tree, target)->ref;
	if (look_up(b, e->path) == target)
		return 0;
	/* First the new link, so that the inode lives even when claiming the name takes the old one. */
	r = count_link(b, nid, 1, err);
	if (r == 0)
		r = claim_name(b, e->path, &node, err);
	if (r < 0)
		return r;
	layer_node(&b->tree, node)->kind = kind;
	layer_node(&b->tree, node)->ref = nid;
	return 0;
}

static const uint16_t type_bits[] = {
	[TAR_FILE] = S_IFREG,  [TAR_SYMLINK] = S_IFLNK, [TAR_CHAR] = S_IFCHR,
	[TAR_BLOCK] = S_IFBLK, [TAR_FIFO] = S_IFIFO,
};

static uint16_t type_of(const struct layer_build *b, const struct tar_entry *e)
{
	return b->opts.is_upper && e->is_socket ? S_IFSOCK : type_bits[e->type];
}

/* Decides where @size bytes of content go. */
static int plan_content(struct layer_build *b, uint64_t size, uint32_t inline_max,
                        struct cf_err *err)
{
	uint32_t first;
	int r;

	b->small_size = 0;
	b->content = CONTENT_NONE;
	b->inode.size = size;
	if (!size)
		return 0;
	if (size <= inline_max && LAYER_INODE_BYTES + b->area.size + size <= LAYER_BLOCK_BYTES) {
		b->content = CONTENT_INLINE;
		b->inode.layout = LAYOUT_INLINE;
		return 0;
	}
	r = layer_out_blocks(b->out, (size + LAYER_BLOCK_BYTES - 1) / LAYER_BLOCK_BYTES, &first,
	                     err);
	if (r < 0)
		return r;
	b->content = CONTENT_BLOCKS;
	b->inode.start = first;
	b->at = (uint64_t)first * LAYER_BLOCK_BYTES;
	return 0;
}

static int add_content(struct layer_build *b, struct cf_view v, struct cf_err *err)
{
	int r = 0;

	switch (b->content) {
	case CONTENT_NONE:
		break;
	case CONTENT_INLINE:
		assert(v.size <= sizeof(b->small) - b->small_size);
		memcpy(b->small + b->small_size, v.data, v.size);
		b->small_size += (uint32_t)v.size;
		break;
	case CONTENT_BLOCKS:
		r = layer_out_write(b->out, b->at, v, err);
		b->at += v.size;
		break;
	}
	return r;
}

static int on_inode(struct layer_build *b, const struct tar_entry *e, struct cf_err *err)
{
	uint64_t size = e->type == TAR_SYMLINK ? e->link.size : e->size;
	uint32_t inline_max = e->type == TAR_SYMLINK ? TAR_PATH_MAX : LAYER_INLINE_MAX;
	bool is_device = e->type == TAR_CHAR || e->type == TAR_BLOCK;
	int r;

	if (e->type == TAR_CHAR && !e->dev_major && !e->dev_minor)
		return b->opts.is_upper
		               ? hide(b, e->path, 0, err)
		               : refuse(e->path, "a character device 0:0 would act as a whiteout",
		                        err);
	r = encode_xattrs(b, e, err);
	if (r == 0)
		r = claim_name(b, e->path, &b->node, err);
	if (r < 0)
		return r;
	b->wants_inode = true;
	b->inode = (struct layer_inode){
		/* Linux knows no permissions of links: whatever the tar says, unpacking gives 0777. */
		.mode = (uint16_t)(type_of(b, e) | (e->type == TAR_SYMLINK ? 0777 : e->mode)),
		.start = is_device             ? layer_device_number(e->dev_major, e->dev_minor)
		         : e->type == TAR_FIFO ? 0
		                               : INODE_NO_START,
		.uid = e->uid,
		.gid = e->gid,
		.mtime = e->mtime,
		.mtime_nsec = e->mtime_nsec,
		.nlink = 1,
		.xattr_bytes = (uint32_t)b->area.size,
	};
	r = plan_content(b, size, inline_max, err);
	if (r == 0 && e->type == TAR_SYMLINK)
		r = add_content(b, e->link, err);
	return r;
}

/* ---- the sink ---- */

static int sink_entry(void *ctx, const struct tar_entry *e, struct cf_err *err)
{
	struct layer_build *b = ctx;
	enum meaning meaning;
	int r = judge_path(b, e->path, &meaning, err);

	b->wants_inode = false;
	b->content = CONTENT_NONE;
	if (r < 0 || meaning == NAME_IGNORED)
		return r;
	if (meaning == NAME_WHITEOUT)
		return on_whiteout(b, e, err);
	if (meaning == NAME_OPAQUE)
		return on_opaque(b, e, err);
	if (e->type == TAR_DIR)
		return on_dir(b, e, err);
	return e->type == TAR_HARDLINK ? on_hardlink(b, e, err) : on_inode(b, e, err);
}

static int sink_data(void *ctx, struct cf_view v, struct cf_err *err)
{
	return add_content(ctx, v, err);
}

/* Blocks never written read as zeroes; the file stays sparse where the file system can. */
static int sink_hole(void *ctx, uint64_t n, struct cf_err *err)
{
	struct layer_build *b = ctx;

	(void)err;
	if (b->content == CONTENT_INLINE) {
		assert(n <= sizeof(b->small) - b->small_size);
		memset(b->small + b->small_size, 0, (size_t)n);
		b->small_size += (uint32_t)n;
	}
	b->at += n;
	return 0;
}

static int write_inode(struct layer_build *b, uint32_t *ret_nid, struct cf_err *err)
{
	uint32_t tail = b->content == CONTENT_INLINE ? b->small_size : 0;
	uint8_t *p;
	int r = layer_out_inode(b->out, LAYER_INODE_BYTES + b->inode.xattr_bytes + tail, ret_nid,
	                        &p, err);

	if (r < 0)
		return r;
	b->inode.ino = (uint32_t)++b->stats.inodes;
	layer_inode_put(&b->inode, p);
	p += LAYER_INODE_BYTES;
	if (b->inode.xattr_bytes)
		memcpy(p, b->area.data, b->inode.xattr_bytes);
	memcpy(p + b->inode.xattr_bytes, b->small, tail);
	return 0;
}

static int sink_done(void *ctx, struct cf_err *err)
{
	struct layer_build *b = ctx;
	struct layer_node *n = layer_node(&b->tree, b->node);
	uint32_t nid;
	int r;

	if (!b->wants_inode)
		return 0;
	r = write_inode(b, &nid, err);
	if (r < 0)
		return r;
	n->ref = nid;
	n->kind = (uint8_t)layer_kind_of(b->inode.mode);
	return 0;
}

static const struct tar_sink sink = { sink_entry, sink_data, sink_hole, sink_done };

/* ---- lifecycle ---- */

struct layer_build *layer_build_new(int fd, const struct layer_build_opts *opts)
{
	struct layer_build *b = cf_zalloc(sizeof(*b));
	uint64_t entries;

	if (opts)
		b->opts = *opts;
	entries = b->opts.limits.entries_max ? b->opts.limits.entries_max : TAR_ENTRIES_DEFAULT;
	layer_tree_init(&b->tree, CF_MIN(entries * 2 + 16, (uint64_t)LAYER_NODES_DEFAULT));
	b->out = layer_out_new(fd, 0);
	b->tar = tar_reader_new(&b->opts.limits, &sink, b);
	return b;
}

struct layer_build *layer_build_free(struct layer_build *b)
{
	if (!b)
		return NULL;
	layer_tree_fini(&b->tree);
	layer_out_free(b->out);
	tar_reader_free(b->tar);
	cf_buf_fini(&b->area);
	free(b->xattrs);
	free(b);
	return NULL;
}

int layer_build_feed(struct layer_build *b, struct cf_view in, struct cf_err *err)
{
	return tar_reader_feed(b->tar, in, err);
}

static int write_whiteouts(struct layer_build *b, struct cf_err *err)
{
	b->content = CONTENT_NONE;
	for (uint32_t i = NODE_ROOT + 1; i < b->tree.count; i++) {
		struct layer_node *n = layer_node(&b->tree, i);
		int r;

		if (n->flags & NODE_DEAD || !(n->flags & NODE_WHITEOUT))
			continue;
		b->inode = (struct layer_inode){ .mode = S_IFCHR, .nlink = 1 };
		r = write_inode(b, &n->ref, err);
		if (r < 0)
			return r;
		n->kind = KIND_CHAR;
		layer_tree_dir(&b->tree, n->parent)->has_whiteouts = true;
		b->stats.whiteouts++;
	}
	return 0;
}

static void count_opaque(struct layer_build *b)
{
	for (uint32_t i = NODE_ROOT; i < b->tree.count; i++) {
		const struct layer_node *n = layer_node(&b->tree, i);

		if (n->kind == KIND_DIR && !(n->flags & NODE_DEAD))
			b->stats.opaque += layer_tree_dir(&b->tree, i)->opaque;
	}
}

int layer_build_finish(struct layer_build *b, const uint8_t uuid[LAYER_UUID_SIZE],
                       struct layer_stats *ret, struct cf_err *err)
{
	unsigned marks = LAYER_MARK_OVERLAY | (b->opts.for_merge ? LAYER_MARK_IMPLICIT : 0);
	uint8_t block0[LAYER_BLOCK_BYTES] = { 0 };
	struct layer_super super = { 0 };
	int r = tar_reader_finish(b->tar, err);

	if (r == 0)
		r = write_whiteouts(b, err);
	if (r == 0)
		r = layer_dirs_write(&b->tree, b->out, marks, &b->stats.inodes, block0, err);
	if (r < 0)
		return r;
	super.inodes = b->stats.inodes;
	super.has_pending = b->stats.pending_links > 0;
	memcpy(super.uuid, uuid, sizeof(super.uuid));
	r = layer_out_finish(b->out, &super, block0, err);
	if (r < 0)
		return r;
	count_opaque(b);
	b->stats.tar = *tar_reader_stats(b->tar);
	b->stats.image_bytes = layer_out_size(b->out);
	if (ret)
		*ret = b->stats;
	return 0;
}
