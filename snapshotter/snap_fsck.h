/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * `coffer-snapshotter fsck`: compares containerd's own records (its bbolt file meta.db) with ours,
 * while both are stopped, and puts back what containerd knows and we do not. While they run nothing
 * of this is needed: layers are taken up again when they are asked for.
 */
#include "snapshotter/bolt_reader.h"
#include "snapshotter/snap_service.h"

#define SNAP_FSCK_MAX (1u << 20) /* snapshots of containerd that are looked at */

/* One snapshot as containerd knows it. */
struct snap_fsck_row {
	char *ns, *key;   /* namespace, and the name its clients use */
	char *name;       /* the one it uses with us */
	char *parent_key; /* "" when none */
	ssize_t parent;   /* index; -1: none, or containerd does not know it either */
	bool is_parent, is_done;
};

struct snap_fsck_rows {
	struct snap_fsck_row *items;
	size_t count, cap;
	struct cf_strv snapshotters; /* all that containerd has snapshots of */
};
void snap_fsck_rows_fini(struct snap_fsck_rows *rows);
/*
 * All snapshots of @snapshotter in all namespaces. NULL: only fills .snapshotters.
 * -CF_DATA_LOSS, -CF_RESOURCE_EXHAUSTED.
 */
cf_must_use int snap_fsck_read(struct bolt *meta, const char *snapshotter,
                               struct snap_fsck_rows *ret, struct cf_err *err);

struct snap_fsck_result {
	size_t agreed, missing, surplus, other_parent;
	size_t repaired;
};
/*
 * Compares; with @repair adds what is missing. @say is told each difference as one line of text.
 * What is surplus stays: containerd's next collection removes it.
 */
cf_must_use int snap_fsck_compare(struct snap_fsck_rows *rows, struct snap_store *st, bool repair,
                                  void (*say)(const char *line, void *user), void *user,
                                  struct snap_fsck_result *ret, struct cf_err *err);

/* argv[0] is "fsck". Returns the exit code: 0 they agree, 1 they differ, 2 usage or failure. */
int snap_fsck_main(int argc, char **argv);
