/* SPDX-License-Identifier: Apache-2.0 */
/* A database of the real nydus-snapshotter, small ones made by hand, and damage of every kind. */
#include "base/fd.h"
#include "snapshotter/snap_import.h"
#include "tests/harness/test.h"

#include <sys/file.h>
#include <unistd.h>

static struct cf_buf read_tree(const char *rel)
{
	cf_cleanup(cf_freep) char *path = cf_test_source(rel);

	return cf_test_read(path);
}

#define NYDUS "tests/vectors/bolt/nydus-metadata.db"
#define SMALL "tests/fuzz/corpus/bolt/two-leaves"

static int read_rows(struct cf_view file, struct snap_import_rows *ret, struct cf_err *err)
{
	struct bolt db;
	int r = bolt_open(file, &db, err);

	return r < 0 ? r : snap_import_read(&db, ret, err);
}

CF_TEST(bolt_reader_reads_what_nydus_snapshotter_wrote)
{
	struct cf_buf file = read_tree(NYDUS);
	struct snap_import_rows rows = { 0 };
	struct cf_err err;

	EXPECT_OK(read_rows(cf_buf_view(&file), &rows, &err), &err);
	EXPECT(rows.count == 7 && rows.sequence == 7);
	const struct snap_import_row *layer = &rows.items[2], *pod = &rows.items[3];

	EXPECT(layer->id == 3 && layer->kind == SNAP_COMMITTED);
	EXPECT(cf_starts_with(layer->name, "sha256:000") && cf_ends_with(layer->name, "3"));
	EXPECT(cf_streq(layer->parent, rows.items[1].name));
	EXPECT(cf_streq(snap_labels_get(&layer->labels, SNAP_LABEL_IMAGE_REF),
	                "docker.io/library/x:1"));
	EXPECT(cf_streq(snap_labels_get(&layer->labels, SNAP_LABEL_PROXY_MODE), "true"));
	EXPECT(layer->created_ns > 1700000000000000000);
	EXPECT(layer->size == 4096 && layer->inodes == 1);
	EXPECT(pod->kind == SNAP_ACTIVE && cf_streq(pod->name, "k8s.io/10/pod1"));
	EXPECT(cf_streq(pod->parent, layer->name) && pod->labels.count == 0);
	EXPECT(rows.items[5].kind == SNAP_VIEW);
	snap_import_rows_fini(&rows);
	cf_buf_fini(&file);
}

CF_TEST(bolt_reader_follows_branches_and_overflow)
{
	struct cf_buf file = read_tree(SMALL);
	struct snap_import_rows rows = { 0 };
	struct cf_err err;

	EXPECT_OK(read_rows(cf_buf_view(&file), &rows, &err), &err);
	EXPECT(rows.count == 3 && rows.sequence == 9);
	EXPECT(cf_streq(rows.items[2].name, "k") && cf_streq(rows.items[2].parent, "b"));
	EXPECT(rows.items[0].created_ns == 1700000000000000005);
	EXPECT(rows.items[0].size == 4096 && rows.items[0].inodes == 1);
	snap_import_rows_fini(&rows);
	cf_buf_fini(&file);
}

CF_TEST(bolt_reader_refuses_circles)
{
	struct cf_buf file = read_tree("tests/fuzz/corpus/bolt/circle");
	struct snap_import_rows rows = { 0 };
	struct cf_err err;

	EXPECT(read_rows(cf_buf_view(&file), &rows, &err) == -CF_DATA_LOSS);
	EXPECT(rows.count == 0);
	cf_buf_fini(&file);
}

CF_TEST(bolt_reader_refuses_every_truncation)
{
	struct cf_buf file = read_tree(SMALL);

	for (size_t n = 0; n + 1 < file.size; n++) {
		/* A copy of this size, so that the sanitizer sees a byte too many. */
		cf_cleanup(cf_freep) uint8_t *copy = cf_zalloc(n + 1);
		struct snap_import_rows rows = { 0 };
		struct cf_err err;

		memcpy(copy, file.data, n);
		EXPECT(read_rows(cf_view(copy, n), &rows, &err) < 0);
	}
	cf_buf_fini(&file);
}

/* Whatever byte is wrong: an answer or a typed refusal, never a read out of bounds. */
CF_TEST(bolt_reader_survives_any_wrong_byte)
{
	static const uint8_t values[] = { 0, 1, 0x7f, 0xff };
	struct cf_buf file = read_tree(SMALL);

	for (size_t i = 0; i < file.size * CF_ARRAY_LEN(values); i++) {
		struct snap_import_rows rows = { 0 };
		size_t at = i / CF_ARRAY_LEN(values);
		uint8_t was = file.data[at];
		struct cf_err err;

		file.data[at] = values[i % CF_ARRAY_LEN(values)];
		int r = read_rows(cf_buf_view(&file), &rows, &err);

		EXPECT(r == 0 || r == -CF_DATA_LOSS || r == -CF_FAILED_PRECONDITION ||
		       r == -CF_INVALID_ARGUMENT);
		snap_import_rows_fini(&rows);
		file.data[at] = was;
	}
	cf_buf_fini(&file);
}

CF_TEST(bolt_reader_takes_the_other_meta_page_when_the_newest_is_torn)
{
	struct cf_buf file = read_tree(NYDUS);
	struct snap_import_rows rows = { 0 };
	struct cf_err err;

	file.data[4096 + 40] ^= 1; /* the newer one: txid 11 */
	EXPECT_OK(read_rows(cf_buf_view(&file), &rows, &err), &err);
	EXPECT(rows.count == 6); /* as it was before the last change */
	snap_import_rows_fini(&rows);
	file.data[40] ^= 1;
	EXPECT(read_rows(cf_buf_view(&file), &rows, &err) == -CF_DATA_LOSS);
	cf_buf_fini(&file);
}

CF_TEST(bolt_values_are_read_as_go_writes_them)
{
	static const struct cf_view number = CF_VIEW_LIT("\x96\x01");
	static const struct cf_view negative = CF_VIEW_LIT("\x03");
	static const struct cf_view endless =
		CF_VIEW_LIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
	static const struct cf_view cut = CF_VIEW_LIT("\x80");
	uint64_t u = 0;
	int64_t i = 0;
	struct cf_err err;

	EXPECT(bolt_uvarint(number, &u, &err) == 0 && u == 150);
	EXPECT(bolt_varint(negative, &i, &err) == 0 && i == -2);
	EXPECT(bolt_uvarint(endless, &u, &err) == -CF_DATA_LOSS);
	EXPECT(bolt_uvarint(cut, &u, &err) == -CF_DATA_LOSS);
	EXPECT(bolt_uvarint((struct cf_view){ 0 }, &u, &err) == -CF_DATA_LOSS);
	EXPECT(bolt_time(cut, &i, &err) == -CF_DATA_LOSS);
}

/* ---- into a store ---- */

struct world {
	char *dir, *db;
	struct snap_store *st;
};

static struct world world_new(void)
{
	struct world w = { .dir = cf_test_tmpdir() };
	cf_cleanup(cf_freep) char *to = cf_asprintf("%s/" SNAP_IMPORT_FILE, w.dir);
	cf_cleanup(cf_buf_fini) struct cf_buf file = read_tree(NYDUS);
	struct cf_err err;

	w.db = cf_asprintf("%s/metadata.sqlite", w.dir);
	EXPECT_OK(cf_write_file_atomic(to, cf_buf_view(&file), 0600, &err), &err);
	EXPECT_OK(snap_store_open(w.db, false, &w.st, &err), &err);
	return w;
}

static void world_free(struct world *w)
{
	snap_store_close(w->st);
	free(w->dir);
	free(w->db);
}

CF_TEST(import_keeps_ids_names_and_parents)
{
	struct world w = world_new();
	struct snap_imported done;
	struct cf_err err;

	EXPECT_OK(snap_import(w.dir, SNAP_MODE_GUEST_PULL, w.st, &done, &err), &err);
	EXPECT(done.records == 7 && done.orphans == 0 && snap_store_count(w.st) == 7);
	struct snap_record *pod = snap_store_get(w.st, "k8s.io/10/pod1");

	EXPECT(pod && pod->id == 4 && pod->parent_id == 3 && pod->kind == SNAP_ACTIVE);
	EXPECT(pod->flags == (SNAP_HAS_DIR | SNAP_KATA));
	struct snap_record *layer = snap_store_get(w.st, pod->parent);

	EXPECT(layer && layer->flags == SNAP_GUEST_PULL); /* there is no directory here */
	snap_record_unref(layer);
	snap_record_unref(pod);

	/* Ids go on behind the last one that was given away. */
	struct snap_labels none = { 0 };
	struct snap_new in = { .key = "x", .parent = "", .kind = SNAP_ACTIVE, .labels = &none };
	struct snap_record *rec = NULL;

	EXPECT_OK(snap_store_add(w.st, &in, &rec, &err), &err);
	EXPECT(rec->id == 8);
	snap_record_unref(rec);
	world_free(&w);
}

CF_TEST(import_happens_once)
{
	struct world w = world_new();
	struct snap_imported done;
	struct snap_record *rec = NULL;
	struct cf_err err;

	EXPECT_OK(snap_import(w.dir, SNAP_MODE_GUEST_PULL, w.st, &done, &err), &err);
	EXPECT_OK(snap_store_remove(w.st, "k8s.io/10/pod1", &rec, &err), &err);
	snap_record_unref(rec);
	snap_store_close(w.st);
	EXPECT_OK(snap_store_open(w.db, false, &w.st, &err), &err);
	EXPECT_OK(snap_import(w.dir, SNAP_MODE_GUEST_PULL, w.st, &done, &err), &err);
	EXPECT(done.records == 0 && snap_store_count(w.st) == 6);
	world_free(&w);
}

CF_TEST(import_refuses_while_the_other_snapshotter_runs)
{
	struct world w = world_new();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/" SNAP_IMPORT_FILE, w.dir);
	struct snap_imported done;
	struct cf_err err;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	EXPECT(fd >= 0 && flock(fd, LOCK_EX) == 0); /* as bbolt does */
	EXPECT(snap_import(w.dir, SNAP_MODE_GUEST_PULL, w.st, &done, &err) == -CF_UNAVAILABLE);
	close(fd);
	EXPECT_OK(snap_import(w.dir, SNAP_MODE_GUEST_PULL, w.st, &done, &err), &err);
	EXPECT(done.records == 7);
	world_free(&w);
}

CF_TEST(import_of_a_damaged_file_takes_nothing)
{
	struct world w = world_new();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/" SNAP_IMPORT_FILE, w.dir);
	struct snap_imported done;
	struct cf_err err;

	EXPECT(truncate(path, 20000) == 0);
	EXPECT(snap_import(w.dir, SNAP_MODE_GUEST_PULL, w.st, &done, &err) == -CF_DATA_LOSS);
	EXPECT(snap_store_count(w.st) == 0);
	world_free(&w);
}

CF_TEST(import_keeps_layers_that_have_content)
{
	struct world w = world_new();
	cf_cleanup(cf_freep) char *file = cf_asprintf("%s/snapshots/7/fs/etc", w.dir);
	struct snap_imported done;
	struct cf_err err;

	EXPECT_OK(cf_mkdir_p(file, 0755, &err), &err);
	EXPECT_OK(snap_import(w.dir, SNAP_MODE_GUEST_PULL, w.st, &done, &err), &err);
	struct snap_record *plain = snap_store_get(w.st, "k8s.io/13/plain");

	EXPECT(plain && plain->flags == SNAP_HAS_DIR);
	snap_record_unref(plain);
	world_free(&w);
}
