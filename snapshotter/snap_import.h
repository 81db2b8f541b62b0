/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Takes over what nydus-snapshotter left in a state directory: its bbolt file metadata.db, and the
 * directories snapshots/ID it refers to, which keep their ids and so their paths. A node can be
 * swapped while its pods run. The file is only read, so that one can go back.
 *
 * Done once: when our own store never held anything and metadata.db is there.
 */
#include "snapshotter/bolt_reader.h"
#include "snapshotter/snap_service.h"

#define SNAP_IMPORT_FILE "metadata.db"
#define SNAP_IMPORT_MAX  (1u << 20) /* records */

struct snap_imported {
	size_t records;
	size_t orphans; /* whose parent was missing in the file; they are kept without one */
};

/*
 * -CF_UNAVAILABLE: the other snapshotter still runs; -CF_DATA_LOSS: the file is damaged; nothing
 * was taken over then. @ret is all zero when there was nothing to do.
 */
cf_must_use int snap_import(const char *root, enum snap_mode mode, struct snap_store *st,
                            struct snap_imported *ret, struct cf_err *err);

/* ---- the parts, for tests and fsck ---- */

struct snap_import_row {
	int64_t id;
	enum snap_kind kind;
	int64_t created_ns, updated_ns, size, inodes;
	char *name, *parent; /* parent "" when none */
	struct snap_labels labels;
};

struct snap_import_rows {
	struct snap_import_row *items;
	size_t count, cap;
	uint64_t sequence; /* the last id that was given away */
};
void snap_import_rows_fini(struct snap_import_rows *rows);
/* All snapshots of the file, by id. -CF_DATA_LOSS, -CF_RESOURCE_EXHAUSTED. */
cf_must_use int snap_import_read(struct bolt *db, struct snap_import_rows *ret, struct cf_err *err);
