/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Brings the records from the disk into the index when the store is opened. Nothing is answered before,
 * so this is most of a start's time: several threads read a range of ids each, and what they made is
 * put together in the order of ids.
 */
#include "snapshotter/snap_index.h"
#include "snapshotter/snap_rows.h"

/* All of it into an empty @ix. -CF_DATA_LOSS: not what we wrote. */
cf_must_use int snap_load(struct cf_db *db, struct snap_index *ix, struct snap_rows_total *ret,
                          struct cf_err *err);
