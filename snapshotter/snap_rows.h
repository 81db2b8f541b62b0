/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The records on disk: one table in the order of ids and nothing beside it, so that a change writes
 * few pages and a start reads the file once. Who has which name, layer or parent is the index's to
 * know (snap_index.h), and checked before a row is written.
 *
 * A row is an id and bytes: a start takes thousands of them, and columns of its own for each number
 * would be most of that work. Each row carries a sum, and one row of its own says how many there are
 * and what their sums come to: what changed or went missing on the disk is found when the store is
 * opened.
 */
#include "base/db.h"
#include "snapshotter/snap_record.h"

#define SNAP_NAME_MAX (SNAP_KEY_MAX + 32) /* a layer's may carry its id */
#define SNAP_ROW_MAX  (SNAP_LABELS_BYTES_MAX + SNAP_NAME_MAX + 128)

extern const char *const snap_rows_migrations[];
extern const size_t snap_rows_migration_count;

/* Writes the record's row, new or anew, and notes its sum in @rec. */
cf_must_use int snap_rows_put(struct cf_db_tx *tx, struct snap_record *rec, struct cf_err *err);
cf_must_use int snap_rows_delete(struct cf_db_tx *tx, int64_t id, struct cf_err *err);
/* What is true of all rows together. */
struct snap_rows_total {
	int64_t next;  /* no id from here on was ever given out */
	int64_t count; /* of rows */
	int64_t sum;   /* their sums, all of them XORed */
};
cf_must_use int snap_rows_put_total(struct cf_db_tx *tx, const struct snap_rows_total *total,
                                    struct cf_err *err);
cf_must_use int snap_rows_get_total(struct cf_db_tx *tx, struct snap_rows_total *ret,
                                    struct cf_err *err);

/*
 * The rows of the ids from @from until before @until, in their order. *ret is a record without its parent
 * (snap_record_put_on()), the caller's; NULL: no more. -CF_DATA_LOSS: not what we wrote. @slab_at as for
 * snap_record_new().
 */
cf_must_use int snap_rows_query(struct cf_db_tx *tx, int64_t from, int64_t until,
                                struct cf_db_rows *ret, struct cf_err *err);
cf_must_use int snap_rows_next(struct cf_db_rows *rows, struct snap_slab **slab_at,
                               struct snap_record **ret, struct cf_err *err);
/* One row's bytes, as snap_rows_put() writes and snap_rows_next() reads them; a row begins with its sum. */
int64_t snap_rows_encode(const struct snap_record *rec, struct cf_buf *out);
int64_t snap_rows_sum(int64_t id, struct cf_view row);
cf_must_use int snap_rows_decode(int64_t id, struct cf_view data, struct snap_slab **slab_at,
                                 struct snap_record **ret, struct cf_err *err);

/* Whether there are rows of the version before, and a cf_db_fn that makes rows of today of them. */
cf_must_use int snap_rows_has_old(struct cf_db_tx *tx, bool *ret, struct cf_err *err);
cf_must_use int snap_rows_convert(struct cf_db_tx *tx, void *user, struct cf_err *err);
