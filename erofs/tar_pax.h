/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The records of a pax extended header. Internal to the tar reader; every byte is hostile.
 * Source: POSIX.1-2017 pax "pax Extended Header"; GNU tar manual "Storing Sparse Files".
 */
#include "erofs/tar_sparse.h"

struct pax_xattr {
	size_t name_at, name_size; /* in tar_pax.arena */
	size_t value_at, value_size;
};

struct tar_pax {
	bool has_size, has_uid, has_gid, has_mtime;
	bool is_socket;
	uint64_t size;
	uint32_t uid, gid;
	int64_t mtime;
	uint32_t mtime_nsec;
	struct cf_buf path, link; /* empty: not given */
	struct cf_buf arena;      /* what the xattrs point into */
	struct pax_xattr *xattrs;
	size_t xattr_count, xattr_cap;

	/* GNU.sparse.* */
	bool has_sparse_major, has_sparse_size;
	uint64_t sparse_major, sparse_minor, sparse_size;
	struct cf_buf sparse_name;
	struct tar_sparse sparse; /* the map of forms 0.0 and 0.1 */
	bool has_sparse_map;
	bool sparse_wants_bytes; /* form 0.0: an offset came, its length did not */
	uint64_t sparse_offset;
};

void tar_pax_fini(struct tar_pax *p);
void tar_pax_reset(
	struct tar_pax *p); /* as if nothing was read; memory of any size is given back */

/*
 * All records of one extended header. @is_global: names, sizes and maps are refused there.
 * Return: 0, -CF_INVALID_ARGUMENT, -CF_RESOURCE_EXHAUSTED (more than TAR_SPARSE_MAX extents).
 */
cf_must_use int tar_pax_parse(struct tar_pax *p, struct cf_view records, bool is_global,
                              struct cf_err *err);
