/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The records on disk: one table in the order of ids and nothing beside it, so that a change writes
 * few pages and a start reads the file once. Who has which name, layer or parent is the index's to
 * know (snap_index.h), and checked before a row is written.
 *
 * Each row carries a sum of its fields, and one row of its own says how many there are and what
 * their sums come to: what changed or went missing on the disk is found when the store is opened.
 */
#include "base/db.h"
#include "snapshotter/snap_index.h"

extern const char *const snap_rows_migrations[];
extern const size_t snap_rows_migration_count;

/* Of the record as it is; @labels as snap_labels_encode() has them. Never 0. */
int64_t snap_rows_sum(const struct snap_record *rec, struct cf_view labels);
/* Writes a new row, or the row with the record's id anew. */
cf_must_use int snap_rows_insert(struct cf_db_tx *tx, const struct snap_record *rec,
                                 struct cf_view labels, struct cf_err *err);
cf_must_use int snap_rows_replace(struct cf_db_tx *tx, const struct snap_record *rec,
                                  struct cf_view labels, struct cf_err *err);
cf_must_use int snap_rows_delete(struct cf_db_tx *tx, int64_t id, struct cf_err *err);
/* What is true of all rows together. */
struct snap_rows_total {
	int64_t next;  /* no id from here on was ever given out */
	int64_t count; /* of rows */
	int64_t sum;   /* their sums, all of them XORed */
};
cf_must_use int snap_rows_put_total(struct cf_db_tx *tx, const struct snap_rows_total *total,
                                    struct cf_err *err);

/* Reads all of it into an empty @ix. -CF_DATA_LOSS: not what we wrote. */
cf_must_use int snap_rows_load(struct cf_db_tx *tx, struct snap_index *ix,
                               struct snap_rows_total *ret, struct cf_err *err);
