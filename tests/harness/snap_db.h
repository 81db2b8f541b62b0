/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* For tests of coffer-snapshotter that change its records behind its back. */
#include "snapshotter/snap_rows.h"
#include "tests/harness/test.h"

/* Runs @fn on the closed store at @path, which some store has opened before. */
static inline void snap_db_edit(const char *path, cf_db_fn fn, void *user)
{
	struct cf_db_opts opts = { .path = path,
		                   .migrations = snap_rows_migrations,
		                   .migration_count = snap_rows_migration_count };
	cf_cleanup(cf_db_closep) struct cf_db *db = NULL;
	struct cf_err err;

	EXPECT_OK(cf_db_open(&opts, &db, &err), &err);
	EXPECT_OK(cf_db_write(db, fn, user, &err), &err);
}

/* A new store that holds what @fn writes: how opening it ends. */
static inline int snap_db_opened_with(cf_db_fn fn, void *user)
{
	static int next;
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir(); /* one for the whole test */
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/forged-%d.sqlite", dir, next++);
	cf_cleanup(snap_store_closep) struct snap_store *st = NULL;
	struct cf_err err;

	EXPECT_OK(snap_store_open(path, true, &st, &err), &err);
	st = snap_store_close(st);
	snap_db_edit(path, fn, user);
	return snap_store_open(path, true, &st, &err);
}
