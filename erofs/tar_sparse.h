/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The map of a sparse file: which pieces of it the archive holds. Internal to the tar reader; every
 * number is hostile.
 */
#include "erofs/tar_reader.h"

struct tar_extent {
	uint64_t offset, size; /* bytes */
};

struct tar_sparse {
	struct tar_extent *items;
	size_t count, cap;
};

void tar_sparse_fini(struct tar_sparse *s);
/* -CF_RESOURCE_EXHAUSTED over TAR_SPARSE_MAX. */
cf_must_use int tar_sparse_add(struct tar_sparse *s, uint64_t offset, uint64_t size,
                               struct cf_err *err);
/* Ascending, without overlap, inside @file_size, and exactly @stored bytes in sum. */
cf_must_use int tar_sparse_check(const struct tar_sparse *s, uint64_t file_size, uint64_t stored,
                                 struct cf_err *err);
/* The four or 21 pairs of an old GNU header, from @at on; stops at the first empty one. */
cf_must_use int tar_sparse_add_pairs(struct tar_sparse *s, struct cf_view block, size_t at,
                                     size_t pairs, struct cf_err *err);

/* The map in front of the data of a 1.0 sparse file: a count, then offsets and sizes, a line each. */
struct tar_sparse_text {
	uint64_t number;
	bool any_digit;
	bool has_count, has_offset, complete;
	uint64_t count, offset;
};
/* The next block of the map; .complete when the last number was read. */
cf_must_use int tar_sparse_text_feed(struct tar_sparse_text *x, struct tar_sparse *s,
                                     struct cf_view block, struct cf_err *err);
