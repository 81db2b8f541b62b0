/* fuzz: snapshotter */
/* SPDX-License-Identifier: Apache-2.0 */
/* A record's bytes on the disk, with the sum that is right for them: what is taken for one is whole. */
#include "snapshotter/snap_rows.h"

#include <assert.h>
#include <string.h>

#define ID           7
#define NAME_SIZE_AT 56u
#define NAME_AT      64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int64_t key_for(struct cf_view row)
{
	uint32_t size = 0;

	if (row.size >= NAME_AT)
		memcpy(&size, row.data + NAME_SIZE_AT, sizeof(size));
	return snap_rows_key(cf_view_sub(row, NAME_AT, size), ID);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cf_cleanup(cf_buf_fini) struct cf_buf row = { .max = SNAP_ROW_MAX };
	cf_cleanup(cf_buf_fini) struct cf_buf again = { .max = SNAP_ROW_MAX };
	cf_cleanup(snap_record_unrefp) struct snap_record *rec = NULL;
	struct snap_slab *slab = NULL;
	const char *key, *value;
	struct cf_err err;

	cf_buf_add(&row, data, size);
	if (row.bad)
		return 0;
	int64_t row_key = key_for(cf_buf_view(&row));

	if (row.size >= sizeof(int64_t)) {
		int64_t sum = snap_rows_sum(row_key, cf_buf_view(&row));

		memcpy(row.data, &sum, sizeof(sum));
	}
	int r = snap_rows_decode(row_key, cf_buf_view(&row), size % 2 ? &slab : NULL, &rec, &err);

	snap_slab_unref(slab);
	if (r < 0)
		return 0;
	for (size_t at = 0; snap_record_next_label(rec, &at, &key, &value);)
		assert(strlen(key) + strlen(value) <= size + SNAP_KEY_MAX + strlen(rec->name));
	(void)snap_record_label(rec, SNAP_LABEL_REF);
	assert(snap_rows_encode(rec, &again) == rec->sum);
	assert(cf_view_eq(cf_buf_view(&again), cf_buf_view(&row)));
	return 0;
}
