/* SPDX-License-Identifier: Apache-2.0 */
/* containerd's records against ours: what is missing is put back with its parents. */
#include "snapshotter/snap_fsck.h"
#include "tests/harness/test.h"

#define META  "tests/fuzz/corpus/bolt/containerd-meta"
#define LAYER "sha256:000000000000000000000000000000000000000000000000000000000000000"

struct world {
	char *dir;
	struct cf_buf file;
	struct bolt db;
	struct snap_store *st;
	struct snap_fsck_rows rows;
	struct snap_fsck_result result;
	unsigned lines;
};

static struct world world_new(void)
{
	struct world w = { .dir = cf_test_tmpdir() };
	cf_cleanup(cf_freep) char *path = cf_test_source(META);
	cf_cleanup(cf_freep) char *db = cf_asprintf("%s/db", w.dir);
	struct cf_err err;

	w.file = cf_test_read(path);
	EXPECT_OK(bolt_open(cf_buf_view(&w.file), &w.db, &err), &err);
	EXPECT_OK(snap_store_open(db, true, &w.st, &err), &err);
	return w;
}

static void world_free(struct world *w)
{
	snap_fsck_rows_fini(&w->rows);
	snap_store_close(w->st);
	cf_buf_fini(&w->file);
	free(w->dir);
}

static void count_line(const char *line, void *user)
{
	struct world *w = user;

	(void)line;
	w->lines++;
}

static void compare(struct world *w, bool repair)
{
	struct cf_err err;

	snap_fsck_rows_fini(&w->rows);
	w->lines = 0;
	EXPECT_OK(snap_fsck_read(&w->db, "nydus", &w->rows, &err), &err);
	EXPECT_OK(snap_fsck_compare(&w->rows, w->st, repair, count_line, w, &w->result, &err),
	          &err);
}

CF_TEST(fsck_reads_one_snapshotter_of_all_namespaces)
{
	struct world w = world_new();
	struct cf_err err;

	EXPECT_OK(snap_fsck_read(&w.db, "overlayfs", &w.rows, &err), &err);
	EXPECT(w.rows.count == 1 && w.rows.snapshotters.count == 2);
	snap_fsck_rows_fini(&w.rows);
	EXPECT_OK(snap_fsck_read(&w.db, NULL, &w.rows, &err), &err);
	EXPECT(w.rows.count == 0 && w.rows.snapshotters.count == 2);
	world_free(&w);
}

CF_TEST(fsck_names_what_is_missing_and_changes_nothing)
{
	struct world w = world_new();

	compare(&w, false);
	EXPECT(w.result.missing == 3 && w.result.agreed == 0 && w.result.repaired == 0);
	EXPECT(w.lines == 3 && snap_store_count(w.st) == 0);
	world_free(&w);
}

CF_TEST(fsck_puts_back_layers_and_containers_with_their_parents)
{
	struct world w = world_new();

	compare(&w, true);
	EXPECT(w.result.missing == 3 && w.result.repaired == 3);
	struct snap_record *pod = snap_store_get(w.st, "k8s.io/9/pod1");
	struct snap_record *top = snap_store_get(w.st, "k8s.io/4/" LAYER "2");

	EXPECT(pod && pod->kind == SNAP_ACTIVE && cf_streq(pod->parent, top->name));
	EXPECT(top && top->kind == SNAP_COMMITTED && cf_streq(top->parent, LAYER "1"));
	EXPECT(top->flags == SNAP_GUEST_PULL && pod->flags == (SNAP_HAS_DIR | SNAP_KATA));
	/* As containerd looks for it when the image is pulled again. */
	struct snap_record *found = snap_store_find_ref(w.st, LAYER "2", LAYER "1");

	EXPECT(found && found->id == top->id);
	snap_record_unref(found);
	snap_record_unref(pod);
	snap_record_unref(top);
	compare(&w, false);
	EXPECT(w.result.agreed == 3 && w.result.missing == 0 && w.lines == 0);
	world_free(&w);
}

CF_TEST(fsck_tells_what_containerd_does_not_know)
{
	struct world w = world_new();
	bool is_new;
	struct cf_err err;

	compare(&w, true);
	EXPECT_OK(snap_store_take_up(w.st, LAYER "7", &is_new, &err), &err);
	compare(&w, true);
	EXPECT(w.result.surplus == 1 && w.result.agreed == 3);
	EXPECT(snap_store_count(w.st) == 4);
	world_free(&w);
}
