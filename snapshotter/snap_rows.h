/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The records on disk: one table and nothing beside it, so that a change writes few pages. Who has which
 * name, layer or parent is the index's to know (snap_index.h), and checked before a row is written.
 *
 * A row is a key and bytes: a start takes thousands of them, and columns of its own for each number
 * would be most of that work. The key holds the id and some bits of the name's hash, so that a record can
 * be found by its name, or by its child, before all were read. Each row carries a sum, and one row of its
 * own says how many there are and what their sums come to: what changed or went missing on the disk is
 * found when all are read.
 */
#include "base/db.h"
#include "snapshotter/snap_record.h"

#define SNAP_NAME_MAX  (SNAP_KEY_MAX + 32) /* a layer's may carry its id */
#define SNAP_ROW_MAX   (SNAP_LABELS_BYTES_MAX + SNAP_NAME_MAX + 128)
#define SNAP_ID_MAX    ((INT64_C(1) << 39) - 1)
#define SNAP_STEPS_MAX 2048u /* a few milliseconds; then reading all is no slower */

extern const char *const snap_rows_migrations[];
extern const size_t snap_rows_migration_count;

/* What children have as snap_record.parent_hash. */
uint32_t snap_rows_hash(struct cf_view name);
int64_t snap_rows_key(struct cf_view name, int64_t id);
/* No record with @id or a later one has a key before this; few earlier ones have one behind it. */
int64_t snap_rows_first_key(int64_t id);

/* Writes the record's row, new or anew under the same name, and notes its sum in @rec. */
cf_must_use int snap_rows_put(struct cf_db_tx *tx, struct snap_record *rec, struct cf_err *err);
cf_must_use int snap_rows_delete(struct cf_db_tx *tx, const struct snap_record *rec,
                                 struct cf_err *err);
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
 * The rows of the keys from @from to @to. *ret is a record without its parent
 * (snap_record_put_on()), the caller's; NULL: no more. -CF_DATA_LOSS: not what we wrote. @slab_at as for
 * snap_record_new().
 */
cf_must_use int snap_rows_query(struct cf_db_tx *tx, int64_t from, int64_t to,
                                struct cf_db_rows *ret, struct cf_err *err);
cf_must_use int snap_rows_next(struct cf_db_rows *rows, struct snap_slab **slab_at,
                               struct snap_record **ret, struct cf_err *err);
/*
 * The record of that name, on its parent, which is on nothing whatever it says. NULL: there is none, or it
 * was not among the first that SNAP_STEPS_MAX steps lead to.
 */
cf_must_use int snap_rows_get(struct cf_db_tx *tx, const char *name, struct snap_record **ret,
                              struct cf_err *err);
/* One row's bytes, as snap_rows_put() writes and snap_rows_next() reads them; a row begins with its sum. */
int64_t snap_rows_encode(const struct snap_record *rec, struct cf_buf *out);
int64_t snap_rows_sum(int64_t key, struct cf_view row);
cf_must_use int snap_rows_decode(int64_t key, struct cf_view data, struct snap_slab **slab_at,
                                 struct snap_record **ret, struct cf_err *err);

/* Whether there are rows of versions before, and a cf_db_fn that makes rows of today of them. */
cf_must_use int snap_rows_has_old(struct cf_db_tx *tx, bool *ret, struct cf_err *err);
cf_must_use int snap_rows_convert(struct cf_db_tx *tx, void *user, struct cf_err *err);
