/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Tar headers, written: ustar where a member fits it, with a pax extended header before it where it
 * does not. It is how the content of a snapshot goes to the sandboxed process that makes an image
 * of it (snap_erofs.h). Names, targets and attributes are a container's: any bytes without NUL.
 */
#include "base/bytes.h"

#define SNAP_TAR_BLOCK   512u
#define SNAP_TAR_PAX_MAX (1u << 20) /* bytes of one extended header, as readers limit it */

struct snap_tar_xattr {
	struct cf_view name; /* "user.mime" */
	struct cf_view value;
};

struct snap_tar_extent { /* of a sparse file: bytes that are there */
	uint64_t offset, size;
};

struct snap_tar_member {
	char type; /* as in the header: '0' file, '1' hard link, … '6' FIFO */
	const char *path;
	const char *link; /* types '1' and '2' */
	unsigned mode;    /* permission bits */
	uint32_t uid, gid;
	int64_t mtime; /* seconds since 1970, may be negative */
	uint32_t mtime_nsec;
	uint64_t size; /* of a file, holes included */
	unsigned dev_major, dev_minor;
	bool is_socket; /* type '6': says SCHILY.filetype=socket */
	bool is_sparse; /* type '0': GNU format 1.0; only @extents follow, in their order */
	const struct snap_tar_extent *extents; /* ascending, not touching */
	size_t extent_count;
	const struct snap_tar_xattr *xattrs;
	size_t xattr_count;
};

/*
 * Appends what comes before the content. The content is then size bytes (of a sparse file: those of
 * its extents), and snap_tar_padding() zero bytes of what it returns in *ret_stored.
 * Return: 0, -CF_RESOURCE_EXHAUSTED (SNAP_TAR_PAX_MAX).
 */
cf_must_use int snap_tar_header(const struct snap_tar_member *m, struct cf_buf *out,
                                uint64_t *ret_stored, struct cf_err *err);
/* Zero bytes behind @stored bytes of content. */
static inline size_t snap_tar_padding(uint64_t stored)
{
	return (size_t)(-stored & (SNAP_TAR_BLOCK - 1));
}
void snap_tar_end(struct cf_buf *out);
