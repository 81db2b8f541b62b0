/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/tar_sparse.h"

#include "erofs/tar_field.h"

void tar_sparse_fini(struct tar_sparse *s)
{
	free(s->items);
	*s = (struct tar_sparse){ 0 };
}

int tar_sparse_add(struct tar_sparse *s, uint64_t offset, uint64_t size, struct cf_err *err)
{
	if (s->count == TAR_SPARSE_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED,
		               "tar: more than %u extents in a sparse file", TAR_SPARSE_MAX);
	cf_grow(&s->items, &s->cap, s->count + 1);
	s->items[s->count++] = (struct tar_extent){ offset, size };
	return 0;
}

int tar_sparse_check(const struct tar_sparse *s, uint64_t file_size, uint64_t stored,
                     struct cf_err *err)
{
	uint64_t end = 0, sum = 0;

	for (size_t i = 0; i < s->count; i++) {
		const struct tar_extent *e = &s->items[i];

		if (e->offset < end || e->offset > file_size || e->size > file_size - e->offset)
			return cf_fail(err, CF_INVALID_ARGUMENT,
			               "tar: sparse map: extent %zu is misplaced", i);
		end = e->offset + e->size;
		sum += e->size; /* no overlap, so at most file_size */
	}
	if (sum != stored)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "tar: sparse map: %llu bytes mapped, %llu stored",
		               (unsigned long long)sum, (unsigned long long)stored);
	return 0;
}

#define PAIR_BYTES  24u
#define FIELD_BYTES 12u

int tar_sparse_add_pairs(struct tar_sparse *s, struct cf_view block, size_t at, size_t pairs,
                         struct cf_err *err)
{
	for (size_t i = 0; i < pairs; i++) {
		struct cf_view from = cf_view_sub(block, at + i * PAIR_BYTES, FIELD_BYTES);
		struct cf_view size =
			cf_view_sub(block, at + i * PAIR_BYTES + FIELD_BYTES, FIELD_BYTES);
		int64_t offset_n, size_n;
		int r;

		if (!from.data[0] || !size.data[0])
			return 0;
		if (!tar_field_number(from, &offset_n) || !tar_field_number(size, &size_n) ||
		    offset_n < 0 || size_n < 0)
			return cf_fail(err, CF_INVALID_ARGUMENT,
			               "tar: sparse map: malformed number");
		r = tar_sparse_add(s, (uint64_t)offset_n, (uint64_t)size_n, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int text_number(struct tar_sparse_text *x, struct tar_sparse *s, struct cf_err *err)
{
	uint64_t n = x->number;

	x->number = 0;
	x->any_digit = false;
	if (!x->has_count) {
		if (n > TAR_SPARSE_MAX)
			return cf_fail(err, CF_RESOURCE_EXHAUSTED,
			               "tar: more than %u extents in a sparse file",
			               TAR_SPARSE_MAX);
		x->has_count = true;
		x->count = n;
	} else if (!x->has_offset) {
		x->has_offset = true;
		x->offset = n;
	} else {
		x->has_offset = false;
		int r = tar_sparse_add(s, x->offset, n, err);
		if (r < 0)
			return r;
	}
	x->complete = !x->has_offset && s->count == x->count;
	return 0;
}

int tar_sparse_text_feed(struct tar_sparse_text *x, struct tar_sparse *s, struct cf_view block,
                         struct cf_err *err)
{
	for (size_t i = 0; i < block.size && !x->complete; i++) {
		uint8_t c = block.data[i];
		int r = 0;

		if (c == '\n' && x->any_digit)
			r = text_number(x, s, err);
		else if (c < '0' || c > '9' || x->number > UINT64_MAX / 16)
			r = cf_fail(err, CF_INVALID_ARGUMENT, "tar: sparse map: malformed number");
		else {
			x->number = x->number * 10 + (uint64_t)(c - '0');
			x->any_digit = true;
		}
		if (r < 0)
			return r;
	}
	return 0;
}
