/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Extended attributes of one inode: which are kept, and their encoding behind the inode. Names and
 * values are hostile. Internal to this folder.
 */
#include "erofs/layer_format.h"
#include "erofs/tar_reader.h"

#define LAYER_XATTR_VALUE_MAX 65535u /* bytes; longer values are dropped */
#define LAYER_XATTR_NAME_MAX  255u   /* bytes behind the namespace */
#define LAYER_XATTR_AREA_MAX                                                                       \
	(64u << 10) /* bytes of one inode's area; what goes beyond is dropped */

struct layer_xattr {
	uint8_t index;       /* enum xattr_index */
	struct cf_view name; /* without the namespace; empty for ACLs */
	struct cf_view value;
	size_t order; /* layer_xattr_encode's own */
};

/*
 * What an image may carry: user.*, security.*, trusted.* and POSIX ACLs. Not: overlayfs' own names,
 * our marks, unknown namespaces, empty names, values that are too long. Return: kept or not.
 */
bool layer_xattr_from_tar(const struct tar_xattr *from, struct layer_xattr *ret);

/*
 * Sorts by index and name, keeps the last of equal ones, encodes into @area (reset first; left
 * empty when nothing is there). @dropped (may be NULL) grows by what did not fit.
 */
void layer_xattr_encode(struct layer_xattr *items, size_t count, struct cf_buf *area,
                        uint64_t *dropped);

/* Walks an encoded area. *@at starts at XATTR_HEADER_BYTES. False at the end; *@bad: malformed. */
bool layer_xattr_next(struct cf_view area, size_t *at, struct layer_xattr *ret, bool *bad);
