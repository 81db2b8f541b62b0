/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/layer_out.h"

#include "base/fd.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

/* From here on a copy costs more than a system call. */
#define STRAIGHT_BYTES (64u << 10)

struct layer_out {
	int fd;
	uint64_t next_block;

	uint8_t *buffer; /* LAYER_WRITE_BUFFER bytes, allocated at the first use */
	size_t gathered;
	uint64_t buffer_at; /* where buffer[0] belongs */

	uint8_t *meta;      /* the current extent */
	uint64_t meta_at;   /* its first byte's place in the image */
	uint32_t meta_size; /* bytes of it */
	uint32_t meta_used;
	uint64_t meta_blocks; /* of all extents so far */
};

struct layer_out *layer_out_new(int fd, uint32_t reserved_blocks)
{
	struct layer_out *o = cf_zalloc(sizeof(*o));

	o->fd = fd;
	o->next_block = 1ull + reserved_blocks;
	return o;
}

struct layer_out *layer_out_free(struct layer_out *o)
{
	if (!o)
		return NULL;
	free(o->buffer);
	free(o->meta);
	free(o);
	return NULL;
}

uint64_t layer_out_size(const struct layer_out *o)
{
	return o->next_block * LAYER_BLOCK_BYTES;
}

int layer_out_blocks(struct layer_out *o, uint64_t count, uint32_t *ret, struct cf_err *err)
{
	if (count > LAYER_IMAGE_MAX / LAYER_BLOCK_BYTES - o->next_block)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "image: over %llu GiB",
		               LAYER_IMAGE_MAX >> 30);
	*ret = (uint32_t)o->next_block;
	o->next_block += count;
	return 0;
}

static int put(struct layer_out *o, struct cf_view v, uint64_t at, struct cf_err *err)
{
	int r = cf_pwrite_full(o->fd, v.data, v.size, (off_t)at, err);

	if (r < 0 && err->sys == ENOSPC)
		return cf_wrap(err, r, "the store is full at %llu bytes of this image",
		               (unsigned long long)at);
	return r < 0 ? cf_wrap(err, r, "image") : 0;
}

static int flush(struct layer_out *o, struct cf_err *err)
{
	struct cf_view v = cf_view(o->buffer, o->gathered);

	o->gathered = 0;
	return v.size ? put(o, v, o->buffer_at, err) : 0;
}

/* A gap smaller than a block is the padding of a file's last block: zeroes cost less than a write. */
static void bridge_gap(struct layer_out *o, uint64_t at)
{
	uint64_t end = o->buffer_at + o->gathered;

	if (o->gathered && at > end && at - end < LAYER_BLOCK_BYTES &&
	    at - end < LAYER_WRITE_BUFFER - o->gathered) {
		memset(o->buffer + o->gathered, 0, (size_t)(at - end));
		o->gathered += (size_t)(at - end);
	}
}

int layer_out_write(struct layer_out *o, uint64_t at, struct cf_view v, struct cf_err *err)
{
	int r;

	if (!o->buffer)
		o->buffer = cf_zalloc(LAYER_WRITE_BUFFER);
	bridge_gap(o, at);
	if (at != o->buffer_at + o->gathered) {
		r = flush(o, err);
		if (r < 0)
			return r;
	}
	while (v.size) {
		if (o->gathered == 0)
			o->buffer_at = at;
		if (o->gathered == 0 && v.size >= STRAIGHT_BYTES)
			return put(o, v, at, err);
		size_t n = CF_MIN(v.size, LAYER_WRITE_BUFFER - o->gathered);
		memcpy(o->buffer + o->gathered, v.data, n);
		o->gathered += n;
		at += n;
		v = cf_view_sub(v, n, v.size);
		if (o->gathered == LAYER_WRITE_BUFFER) {
			r = flush(o, err);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int close_extent(struct layer_out *o, struct cf_err *err)
{
	uint32_t unused = (o->meta_size - o->meta_used) / LAYER_BLOCK_BYTES * LAYER_BLOCK_BYTES;

	if (!o->meta_size)
		return 0;
	/* Nothing came behind it: give its unused blocks back. */
	if (o->meta_at + o->meta_size == layer_out_size(o)) {
		o->next_block -= unused / LAYER_BLOCK_BYTES;
		o->meta_size -= unused;
	}
	return put(o, cf_view(o->meta, o->meta_size), o->meta_at, err);
}

/* As many blocks as there are already, so that big images have few and long extents. */
static int open_extent(struct layer_out *o, uint32_t size, struct cf_err *err)
{
	uint64_t blocks =
		CF_MIN(CF_MAX(o->meta_blocks, LAYER_META_EXTENT_MIN), LAYER_META_EXTENT_MAX);
	uint32_t first = 0;
	int r;

	blocks = CF_MAX(blocks, (uint64_t)(size + LAYER_BLOCK_BYTES - 1) / LAYER_BLOCK_BYTES);
	r = close_extent(o, err);
	if (r == 0)
		r = layer_out_blocks(o, blocks, &first, err);
	if (r < 0)
		return r;
	o->meta_size = (uint32_t)blocks * LAYER_BLOCK_BYTES;
	o->meta = cf_realloc_n(o->meta, 1, o->meta_size);
	memset(o->meta, 0, o->meta_size);
	o->meta_at = (uint64_t)first * LAYER_BLOCK_BYTES;
	o->meta_used = 0;
	o->meta_blocks += blocks;
	return 0;
}

/* Where @size bytes go in the current extent. */
static uint32_t place(uint32_t used, uint32_t size)
{
	uint32_t at = (used + LAYER_NID_BYTES - 1) / LAYER_NID_BYTES * LAYER_NID_BYTES;

	if (at % LAYER_BLOCK_BYTES + size > LAYER_BLOCK_BYTES)
		at = (at + LAYER_BLOCK_BYTES - 1) / LAYER_BLOCK_BYTES * LAYER_BLOCK_BYTES;
	return at;
}

int layer_out_inode(struct layer_out *o, uint32_t size, uint32_t *ret_nid, uint8_t **ret_bytes,
                    struct cf_err *err)
{
	uint32_t at = place(o->meta_used, size);

	if (at > o->meta_size || size > o->meta_size - at) {
		int r = open_extent(o, size, err);

		if (r < 0)
			return r;
		at = 0;
	}
	o->meta_used = at + size;
	*ret_nid = (uint32_t)((o->meta_at + at) / LAYER_NID_BYTES);
	if (ret_bytes)
		*ret_bytes = o->meta + at;
	return 0;
}

static uint8_t *in_extent(const struct layer_out *o, uint64_t at, size_t size)
{
	if (at < o->meta_at || at - o->meta_at >= o->meta_size)
		return NULL;
	assert(size <= o->meta_size - (at - o->meta_at));
	return o->meta + (at - o->meta_at);
}

int layer_out_patch(struct layer_out *o, uint64_t at, struct cf_view v, struct cf_err *err)
{
	uint8_t *p = in_extent(o, at, v.size);

	if (!p)
		return put(o, v, at, err);
	memcpy(p, v.data, v.size);
	return 0;
}

int layer_out_peek(struct layer_out *o, uint64_t at, uint8_t *out, size_t size, struct cf_err *err)
{
	const uint8_t *p = in_extent(o, at, size);

	if (!p)
		return cf_pread_full(o->fd, out, size, (off_t)at, err);
	memcpy(out, p, size);
	return 0;
}

int layer_out_finish(struct layer_out *o, struct layer_super *s, uint8_t *block0,
                     struct cf_err *err)
{
	int r = flush(o, err);

	if (r == 0)
		r = close_extent(o, err);
	if (r < 0)
		return r;
	if (ftruncate(o->fd, (off_t)layer_out_size(o)) < 0)
		return cf_fail_errno(err, errno, "image");
	s->blocks = (uint32_t)o->next_block;
	layer_super_put(s, block0);
	return put(o, cf_view(block0, LAYER_BLOCK_BYTES), 0, err);
}
