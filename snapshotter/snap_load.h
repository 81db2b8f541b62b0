/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Brings the records from the disk into the index: several threads read a range of keys each, and what
 * they made is put together.
 */
#include "snapshotter/snap_index.h"
#include "snapshotter/snap_rows.h"

/* The totals, after rows of a version before were written anew. */
cf_must_use int snap_load_total(struct cf_db *db, struct snap_rows_total *ret, struct cf_err *err);
/*
 * All of it into an empty @ix. -CF_DATA_LOSS: not what we wrote. Nobody may write meanwhile; @ix is of use
 * for nothing but snap_index_free() then.
 */
cf_must_use int snap_load(struct cf_db *db, const struct snap_rows_total *total,
                          struct snap_index *ix, struct cf_err *err);
/* One of them: as snap_rows_get(). */
cf_must_use int snap_load_one(struct cf_db *db, const char *name, struct snap_record **ret,
                              struct cf_err *err);
