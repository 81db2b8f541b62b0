/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * An EROFS image being written in one pass: data blocks are appended in the order they come, and
 * inodes go into extents of metadata blocks that are reserved when the current one is full and
 * written when the next one begins. Internal to this folder.
 *
 * Block 0 holds the superblock and the root inode and is written last, so that an unfinished image
 * is no EROFS image. Bytes never written are zero.
 */
#include "erofs/layer_format.h"

#define LAYER_META_EXTENT_MIN 4u            /* blocks */
#define LAYER_META_EXTENT_MAX 128u          /* blocks; this much stays in memory */
#define LAYER_WRITE_BUFFER    (256u << 10)  /* bytes gathered before a write */
#define LAYER_IMAGE_MAX       (96ull << 30) /* bytes; keeps nids and blocks in 32 bits */

struct layer_out;

/* @fd is borrowed: an empty file, readable and writable. @reserved_blocks follow block 0. */
struct layer_out *layer_out_new(int fd, uint32_t reserved_blocks);
struct layer_out *layer_out_free(struct layer_out *o);
CF_DEFINE_CLEANUP(struct layer_out *, layer_out_free);

/* @count whole blocks at the end of the image. -CF_RESOURCE_EXHAUSTED over LAYER_IMAGE_MAX. */
cf_must_use int layer_out_blocks(struct layer_out *o, uint64_t count, uint32_t *ret,
                                 struct cf_err *err);
/*
 * Writes into blocks that were given out. Calls that go on where the last one stopped are gathered;
 * long runs go to the file straight from @v.
 */
cf_must_use int layer_out_write(struct layer_out *o, uint64_t at, struct cf_view v,
                                struct cf_err *err);
/*
 * Room for an inode and the @size - LAYER_INODE_BYTES bytes behind it. Within one block when it
 * fits in one, otherwise from a block's start on. @ret_bytes (zeroed, may be NULL when the caller
 * fills it later with layer_out_patch) is valid until the next call on @o.
 */
cf_must_use int layer_out_inode(struct layer_out *o, uint32_t size, uint32_t *ret_nid,
                                uint8_t **ret_bytes, struct cf_err *err);
/* Overwrites bytes of metadata, wherever they are by now. */
cf_must_use int layer_out_patch(struct layer_out *o, uint64_t at, struct cf_view v,
                                struct cf_err *err);
/* Reads bytes of metadata back. */
cf_must_use int layer_out_peek(struct layer_out *o, uint64_t at, uint8_t *out, size_t size,
                               struct cf_err *err);
/* Writes what is gathered and block 0 (superblock from @s, blocks filled in), sets the file's size. */
cf_must_use int layer_out_finish(struct layer_out *o, struct layer_super *s, uint8_t *block0,
                                 struct cf_err *err);
/* Bytes of the image so far. */
uint64_t layer_out_size(const struct layer_out *o);
