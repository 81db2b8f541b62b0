/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/layer_image.h"

#include "erofs/layer_out.h"

static int bad(const char *what, struct cf_err *err)
{
	return cf_fail(err, CF_INVALID_ARGUMENT, "layer image: %s", what);
}

static int open_image(struct layer_image *img, struct cf_view bytes, uint32_t incompat,
                      struct cf_err *err)
{
	struct cf_view sb = cf_view_sub(bytes, LAYER_SB_AT, LAYER_SB_BYTES);

	*img = (struct layer_image){ .bytes = bytes };
	if (bytes.size < LAYER_BLOCK_BYTES || get_u32(sb.data + SB_MAGIC) != LAYER_SB_MAGIC)
		return bad("not an EROFS image", err);
	if (sb.data[SB_BLOCK_BITS] != LAYER_BLOCK_BITS || sb.data[SB_EXTSLOTS] ||
	    sb.data[SB_DIR_BITS] || get_u32(sb.data + SB_META_BLOCK) ||
	    get_u32(sb.data + SB_INCOMPAT) != incompat ||
	    get_u16(sb.data + SB_ROOT_NID) != LAYER_ROOT_NID)
		return bad("not of the kind we write", err);
	img->blocks = get_u32(sb.data + SB_BLOCKS);
	img->inodes = get_u64(sb.data + SB_INODES);
	img->has_pending = sb.data[SB_VOLUME_NAME] != 0;
	if ((uint64_t)img->blocks * LAYER_BLOCK_BYTES != bytes.size || bytes.size > LAYER_IMAGE_MAX)
		return bad("its size is not what it says", err);
	return 0;
}

int layer_image_open(struct layer_image *img, struct cf_view bytes, struct cf_err *err)
{
	return open_image(img, bytes, 0, err);
}

int layer_image_open_merged(struct layer_image *img, struct cf_view bytes,
                            const struct cf_view *devices, size_t count, struct cf_err *err)
{
	int r = open_image(img, bytes, LAYER_INCOMPAT_CHUNK | LAYER_INCOMPAT_DEVS, err);

	if (r < 0)
		return r;
	if (get_u16(bytes.data + LAYER_SB_AT + SB_DEVICES) != count)
		return bad("another number of layers", err);
	img->devices = devices;
	img->device_count = count;
	return 0;
}

static int decode_inode(const struct layer_image *img, struct cf_view raw, struct layer_inode *ret,
                        struct cf_err *err)
{
	uint16_t format = get_u16(raw.data + INODE_FORMAT);
	uint16_t icount = get_u16(raw.data + INODE_XATTRS);

	*ret = (struct layer_inode){
		.layout = (enum inode_layout)(format >> 1 & 7),
		.mode = get_u16(raw.data + INODE_MODE),
		.size = get_u64(raw.data + INODE_SIZE),
		.start = get_u32(raw.data + INODE_START),
		.ino = get_u32(raw.data + INODE_INO),
		.uid = get_u32(raw.data + INODE_UID),
		.gid = get_u32(raw.data + INODE_GID),
		.mtime = (int64_t)get_u64(raw.data + INODE_MTIME),
		.mtime_nsec = get_u32(raw.data + INODE_NSEC),
		.nlink = get_u32(raw.data + INODE_NLINK),
		.xattr_bytes = icount ? XATTR_HEADER_BYTES + (icount - 1u) * 4 : 0,
	};
	if (format & ~0xfu || !(format & INODE_EXTENDED) ||
	    (ret->layout != LAYOUT_PLAIN && ret->layout != LAYOUT_INLINE &&
	     (ret->layout != LAYOUT_CHUNKS || !img->device_count)))
		return bad("an inode of a form we never write", err);
	if (ret->mtime_nsec >= 1000000000u || ret->xattr_bytes > LAYER_XATTR_AREA_MAX)
		return bad("an inode with absurd attributes", err);
	return 0;
}

static int check_area(struct cf_view area, struct cf_err *err)
{
	size_t at = XATTR_HEADER_BYTES;
	struct layer_xattr x;
	bool is_cut = false;

	while (layer_xattr_next(area, &at, &x, &is_cut))
		if ((x.name.size == 0) !=
		            (x.index == XATTR_ACL_ACCESS || x.index == XATTR_ACL_DEFAULT) ||
		    x.index == 0 || x.index > XATTR_SECURITY || x.index == 5 ||
		    cf_view_has_nul(x.name))
			return bad("malformed attributes", err);
	return is_cut ? bad("malformed attributes", err) : 0;
}

/* @size bytes at @at of the image, or an empty view. */
static struct cf_view piece(const struct layer_image *img, uint64_t at, uint64_t size)
{
	if (at > img->bytes.size || size > img->bytes.size - at)
		return cf_view(NULL, 0);
	return cf_view_sub(img->bytes, (size_t)at, (size_t)size);
}

/* The one chunk of a merged image's file: its index follows the inode, its bytes are in a layer. */
static int locate_chunk(const struct layer_image *img, uint64_t behind, struct layer_file *f,
                        struct cf_err *err)
{
	struct cf_view index = piece(img, (behind + 7) & ~7ull, CHUNK_INDEX_BYTES);
	unsigned bits = f->inode.start & 0x1f;
	uint64_t size = f->inode.size, blocks = (size + LAYER_BLOCK_BYTES - 1) / LAYER_BLOCK_BYTES;
	struct cf_view layer;
	uint16_t device;
	uint64_t at;

	if (f->kind != KIND_FILE || !index.size || f->inode.start != (CHUNK_INDEXES | bits) ||
	    size > LAYER_IMAGE_MAX || blocks > 1ull << bits)
		return bad("a file of a form we never write", err);
	device = get_u16(index.data + 2);
	if (get_u16(index.data) || !device || device > img->device_count)
		return bad("a file in a layer that is not there", err);
	layer = img->devices[device - 1];
	at = (uint64_t)get_u32(index.data + 4) * LAYER_BLOCK_BYTES;
	if (at > layer.size || size > layer.size - at)
		return bad("content outside its layer", err);
	f->content = cf_view_sub(layer, (size_t)at, (size_t)size);
	return 0;
}

/* Splits the content into what lies in blocks and what lies behind the inode. */
static int locate(const struct layer_image *img, uint64_t behind, struct layer_file *f,
                  struct cf_err *err)
{
	uint64_t size = f->inode.size;
	uint64_t tail = f->inode.layout == LAYOUT_INLINE ? size % LAYER_BLOCK_BYTES : 0;
	uint64_t in_blocks;

	if (f->inode.layout == LAYOUT_CHUNKS)
		return locate_chunk(img, behind, f, err);
	if (size > img->bytes.size)
		return bad("a file longer than the image", err);
	if (tail && behind % LAYER_BLOCK_BYTES + tail > LAYER_BLOCK_BYTES)
		return bad("an inlined tail across blocks", err);
	in_blocks = size - tail;
	f->tail = piece(img, behind, tail);
	if (in_blocks)
		f->content = piece(img, (uint64_t)f->inode.start * LAYER_BLOCK_BYTES, in_blocks);
	if (f->tail.size != tail || f->content.size != in_blocks)
		return bad("content outside the image", err);
	if (f->kind == KIND_DIR)
		return 0;
	if (tail && in_blocks)
		return bad("a file in two pieces", err);
	if (tail)
		f->content = f->tail;
	f->tail = cf_view(NULL, 0);
	return 0;
}

int layer_image_file(const struct layer_image *img, uint64_t nid, struct layer_file *ret,
                     struct cf_err *err)
{
	struct layer_file f = { 0 };
	uint64_t at, behind;
	int r;

	if (nid > LAYER_IMAGE_MAX / LAYER_NID_BYTES)
		return bad("an inode outside the image", err);
	at = nid * LAYER_NID_BYTES;
	struct cf_view raw = piece(img, at, LAYER_INODE_BYTES);
	if (!raw.size)
		return bad("an inode outside the image", err);
	r = decode_inode(img, raw, &f.inode, err);
	if (r < 0)
		return r;
	f.kind = layer_kind_of(f.inode.mode);
	if (f.kind == KIND_NONE)
		return bad("an inode of unknown type", err);
	f.area = piece(img, at + LAYER_INODE_BYTES, f.inode.xattr_bytes);
	if (f.area.size != f.inode.xattr_bytes)
		return bad("attributes outside the image", err);
	r = check_area(f.area, err);
	behind = at + LAYER_INODE_BYTES + f.inode.xattr_bytes;
	if (r == 0 && (f.kind == KIND_FILE || f.kind == KIND_DIR || f.kind == KIND_SYMLINK))
		r = locate(img, behind, &f, err);
	if (r == 0 && f.kind == KIND_SYMLINK &&
	    (!f.content.size || f.content.size >= TAR_PATH_MAX || cf_view_has_nul(f.content)))
		r = bad("a malformed symbolic link", err);
	if (r == 0)
		*ret = f;
	return r;
}

/* ---- names ---- */

struct layer_name_iter layer_image_names(const struct layer_file *dir)
{
	return (struct layer_name_iter){ .blocks = dir->content, .tail = dir->tail };
}

/* Moves to the next block. Return: 1, 0 at the end, negative. */
static int next_block(struct layer_name_iter *it, struct cf_err *err)
{
	uint16_t first;

	if (it->blocks.size) {
		it->block = cf_view_sub(it->blocks, 0, LAYER_BLOCK_BYTES);
		it->blocks = cf_view_sub(it->blocks, LAYER_BLOCK_BYTES, it->blocks.size);
	} else if (it->tail.size) {
		it->block = it->tail;
		it->tail = cf_view(NULL, 0);
	} else {
		return 0;
	}
	if (it->block.size < DIRENT_BYTES)
		return bad("a directory block without names", err);
	first = get_u16(it->block.data + 8);
	if (first < DIRENT_BYTES || first % DIRENT_BYTES || first > it->block.size)
		return bad("a malformed directory block", err);
	it->count = first / DIRENT_BYTES;
	it->index = 0;
	return 1;
}

/* The last name of a block ends at a NUL or with the block. */
static int name_at(const struct layer_name_iter *it, struct cf_view *ret, struct cf_err *err)
{
	const uint8_t *e = it->block.data + it->index * DIRENT_BYTES;
	size_t from = get_u16(e + 8), to = it->block.size;
	ssize_t nul;

	if (it->index + 1 < it->count)
		to = get_u16(e + DIRENT_BYTES + 8);
	if (from < it->count * DIRENT_BYTES || to > it->block.size || from >= to)
		return bad("a malformed name", err);
	*ret = cf_view_sub(it->block, from, to - from);
	nul = cf_view_find(*ret, 0);
	if (nul >= 0 && it->index + 1 == it->count)
		*ret = cf_view_sub(*ret, 0, (size_t)nul);
	if (!ret->size || ret->size > TAR_COMPONENT_MAX || cf_view_find(*ret, '/') >= 0 ||
	    cf_view_has_nul(*ret))
		return bad("a malformed name", err);
	return 0;
}

static bool ascends(struct cf_view a, struct cf_view b)
{
	int r = a.size ? memcmp(a.data, b.data, CF_MIN(a.size, b.size)) : -1;

	return r ? r < 0 : a.size < b.size;
}

int layer_name_next(struct layer_name_iter *it, struct layer_name *ret, struct cf_err *err)
{
	for (;;) {
		const uint8_t *e;
		int r;

		if (it->index == it->count) {
			r = next_block(it, err);
			if (r <= 0)
				return r;
		}
		e = it->block.data + it->index * DIRENT_BYTES;
		r = name_at(it, &ret->name, err);
		if (r < 0)
			return r;
		if (!ascends(it->previous, ret->name))
			return bad("names out of order", err);
		it->previous = ret->name;
		ret->nid = get_u64(e);
		ret->kind = e[10];
		it->index++;
		if (!cf_view_eq_str(ret->name, ".") && !cf_view_eq_str(ret->name, ".."))
			return 1;
	}
}
