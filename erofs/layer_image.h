/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Reads an EROFS image of the kind that layer_build() or layer_merge() writes, and nothing else:
 * plain or inlined contents or one chunk in a device, extended inodes, 4 KiB blocks. The image comes from a process that parsed a stranger's
 * tar, so every byte of it is hostile: all offsets are checked, nothing is followed twice.
 * Internal to this folder.
 */
#include "erofs/layer_format.h"
#include "erofs/layer_xattr.h"

struct layer_image {
	struct cf_view bytes;          /* the whole file, borrowed */
	const struct cf_view *devices; /* of a merged image: the layer images, borrowed */
	size_t device_count;
	uint32_t blocks;
	uint64_t inodes;
	bool has_pending; /* it says that it has hard links to lower layers */
};

/* -CF_INVALID_ARGUMENT: no image of ours. */
cf_must_use int layer_image_open(struct layer_image *img, struct cf_view bytes, struct cf_err *err);

/* A merged image over its layers, bottom first. -CF_INVALID_ARGUMENT, also when it has other layers. */
cf_must_use int layer_image_open_merged(struct layer_image *img, struct cf_view bytes,
                                        const struct cf_view *devices, size_t count,
                                        struct cf_err *err);

struct layer_file {
	struct layer_inode inode;
	enum file_kind kind;
	struct cf_view area;    /* encoded attributes, checked; empty: none */
	struct cf_view content; /* of a file or symlink, whole; of a directory: its full blocks */
	struct cf_view tail;    /* of a directory: the part behind the inode */
};
/* -CF_INVALID_ARGUMENT when anything of it lies outside the image or is of a kind we never write. */
cf_must_use int layer_image_file(const struct layer_image *img, uint64_t nid,
                                 struct layer_file *ret, struct cf_err *err);

struct layer_name_iter {
	struct cf_view blocks, tail; /* what is still to read */
	struct cf_view block;        /* the one at hand */
	size_t index, count;
	struct cf_view previous;
};
struct layer_name {
	struct cf_view name;
	uint64_t nid;
	uint8_t kind;
};
struct layer_name_iter layer_image_names(const struct layer_file *dir);
/*
 * The next name but "." and "..". Return: 1 there is one, 0 the end, negative: malformed (names out
 * of order, empty, with a slash).
 */
cf_must_use int layer_name_next(struct layer_name_iter *it, struct layer_name *ret,
                                struct cf_err *err);
