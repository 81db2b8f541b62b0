/* SPDX-License-Identifier: Apache-2.0 */
/* What became of the files: cut, changed, of an older version. Nothing answered is lost in silence. */
#include "base/fd.h"
#include "base/str.h"
#include "tests/harness/snap_db.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORDS   120
#define PAGE      4096u
#define WAL_HEAD  32u
#define WAL_FRAME (PAGE + 24u)
#define FILE_MAX  (16u << 20)
#define VALUE                                                                                      \
	"a value of its own, and long enough for most of the file to be records: what is "         \
	"changed at random shall mostly be theirs, and neither free space nor the tables of "      \
	"versions before, which are empty but have pages of their own as long as they are there"

struct files {
	char *dir, *path, *wal;
	struct cf_buf db, log;    /* their bytes, taken while the store was open */
	size_t log_size[RECORDS]; /* the WAL's size when record i had been answered */
};

static void add(struct snap_store *st, int i)
{
	cf_cleanup(snap_labels_fini) struct snap_labels labels = { 0 };
	cf_cleanup(cf_freep) char *ref = cf_asprintf("sha256:%064d", i);
	cf_cleanup(cf_freep) char *parent =
		i % 10 ? cf_asprintf("sha256:%064d", i - 1) : cf_strdup("");
	struct cf_err err;
	bool is_new;

	EXPECT_OK(snap_labels_set(&labels, SNAP_LABEL_REF, ref, &err), &err);
	EXPECT_OK(snap_labels_set(&labels, "k", VALUE, &err), &err);
	EXPECT_OK(snap_store_add_layer(st, ref, parent, &labels, &is_new, &err), &err);
	EXPECT(is_new);
}

/* How many of the first records are there, with parent and labels; none may follow a missing one. */
static int whole(struct snap_store *st)
{
	int n = 0;

	for (int i = 0; i < RECORDS; i++) {
		cf_cleanup(cf_freep) char *ref = cf_asprintf("sha256:%064d", i);
		cf_cleanup(snap_record_unrefp) struct snap_record *rec = snap_store_get(st, ref);

		if (!rec)
			continue;
		EXPECT(n == i && snap_record_label_count(rec) == 2);
		EXPECT(cf_streq(snap_record_label(rec, "k"), VALUE));
		EXPECT(!i || i % 10 == 0 || rec->parent[0]);
		n++;
	}
	EXPECT((size_t)n == snap_store_count(st));
	return n;
}

/* As long as somebody reads what was there before, all that is written stays in the log. */
static sqlite3 *reader_new(const char *path)
{
	sqlite3 *reader = NULL;

	EXPECT(sqlite3_open_v2(path, &reader, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK);
	EXPECT(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM record", NULL, NULL, NULL) ==
	       SQLITE_OK);
	return reader;
}

static struct files files_new(void)
{
	struct files f = { .dir = cf_test_tmpdir(), .db.max = FILE_MAX, .log.max = FILE_MAX };
	struct snap_store *st = NULL;
	struct cf_err err;
	struct stat s;

	f.path = cf_asprintf("%s/db", f.dir);
	f.wal = cf_asprintf("%s-wal", f.path);
	EXPECT_OK(snap_store_open(f.path, false, &st, &err), &err);
	sqlite3 *reader = reader_new(f.path);

	for (int i = 0; i < RECORDS; i++) {
		add(st, i);
		EXPECT(stat(f.wal, &s) == 0);
		f.log_size[i] = (size_t)s.st_size;
	}
	EXPECT_OK(cf_read_file(f.path, FILE_MAX, &f.db, &err), &err);
	EXPECT_OK(cf_read_file(f.wal, FILE_MAX, &f.log, &err), &err);
	sqlite3_close(reader);
	snap_store_close(st);
	return f;
}

static void files_fini(struct files *f)
{
	cf_buf_fini(&f->db);
	cf_buf_fini(&f->log);
	free(f->dir);
	free(f->path);
	free(f->wal);
}

static void lay(const struct files *f, struct cf_view db, struct cf_view log)
{
	cf_cleanup(cf_freep) char *shm = cf_asprintf("%s-shm", f->path);
	struct cf_err err;

	unlink(shm);
	EXPECT_OK(cf_write_file_atomic(f->path, db, 0600, &err), &err);
	unlink(f->wal);
	if (log.size)
		EXPECT_OK(cf_write_file_atomic(f->wal, log, 0600, &err), &err);
}

/* -1: it refused, as damaged. */
static int reopened(const struct files *f)
{
	struct snap_store *st = NULL;
	struct cf_err err;

	if (snap_store_open(f->path, false, &st, &err) < 0) {
		if (err.code != CF_DATA_LOSS)
			fail_msg("%s: %s", cf_code_name(err.code), err.msg);
		return -1;
	}
	int n = whole(st);

	snap_store_close(st);
	return n;
}

static int answered_within(const struct files *f, size_t size)
{
	int n = 0;

	while (n < RECORDS && f->log_size[n] <= size)
		n++;
	return n;
}

static void cut_log(const struct files *f, size_t size)
{
	lay(f, cf_buf_view(&f->db), cf_view_sub(cf_buf_view(&f->log), 0, size));
	int n = reopened(f);

	if (n < answered_within(f, size))
		fail_msg("log cut at %zu: %d records, %d were answered", size, n,
		         answered_within(f, size));
}

CF_TEST(rows_survive_a_log_cut_at_each_page_and_anywhere)
{
	struct files f = files_new();
	unsigned seed = 1;

	EXPECT(f.log.size >= RECORDS * WAL_FRAME);
	for (size_t at = 0; at <= f.log.size; at += at ? WAL_FRAME : WAL_HEAD)
		cut_log(&f, at);
	for (int i = 0; i < 100; i++)
		cut_log(&f, (size_t)rand_r(&seed) % f.log.size);
	files_fini(&f);
}

/* Bytes that change in the database itself: all records are there, or it says that it is damaged. */
CF_TEST(rows_that_changed_on_the_disk_are_found)
{
	struct files f = files_new();
	struct cf_buf db = { .max = FILE_MAX };
	unsigned seed = 2;
	int refused = 0;
	struct cf_err err;

	/* The store was closed in order: everything is in the database. */
	EXPECT_OK(cf_read_file(f.path, FILE_MAX, &db, &err), &err);
	for (int i = 0; i < 600; i++) {
		size_t at = (size_t)rand_r(&seed) % db.size;
		uint8_t was = db.data[at];

		db.data[at] ^= (uint8_t)(1 + rand_r(&seed) % 255);
		lay(&f, cf_buf_view(&db), cf_view(NULL, 0));
		db.data[at] = was;
		struct snap_store *st = NULL;

		if (snap_store_open(f.path, false, &st, &err) < 0) {
			refused++;
			continue;
		}
		if (whole(st) != RECORDS)
			fail_msg("byte %zu: %zu records, in silence", at, snap_store_count(st));
		snap_store_close(st);
	}
	EXPECT(refused > 300); /* else something is not looked at */
	for (size_t at = PAGE; at < db.size; at += PAGE) {
		lay(&f, cf_view_sub(cf_buf_view(&db), 0, at), cf_view(NULL, 0));
		EXPECT(reopened(&f) == -1);
	}
	cf_buf_fini(&db);
	files_fini(&f);
}

static int older(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	int r = cf_db_exec(tx, err,
	                   "INSERT INTO snapshot(id, name, parent, kind, flags, created, updated,"
	                   " size, inodes, ref, labels) VALUES(3, 'base', NULL, 3, 1, 5, 6, 7, 8,"
	                   " 'base', x'6b0076616c756500')");

	(void)user;
	return r < 0 ? r
	             : cf_db_exec(tx, err,
	                          "INSERT INTO snapshot(id, name, parent, kind, flags, created,"
	                          " updated, size, inodes, ref, labels)"
	                          " VALUES(9, 'top', 3, 2, 4, 5, 6, 0, 0, NULL, x'')");
}

static int put_v3(struct cf_db_tx *tx, struct snap_record rec, int64_t *total, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf row = { .max = SNAP_ROW_MAX };

	snap_rows_encode(&rec, &row);
	int64_t sum = snap_rows_sum(rec.id, cf_buf_view(&row));

	memcpy(row.data, &sum, sizeof(sum));
	*total ^= sum;
	return cf_db_exec(tx, err, "INSERT INTO record(id, data) VALUES(?, ?)", CF_DB_INT(rec.id),
	                  CF_DB_BLOB(cf_buf_view(&row)));
}

static int older_v3(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	static const char labels[] = "k\0value"; /* with the NUL that C adds */
	struct snap_record base = { .id = 3,
		                    .kind = SNAP_COMMITTED,
		                    .flags = SNAP_GUEST_PULL,
		                    .size = 7,
		                    .name = "base",
		                    .parent = "",
		                    .labels = cf_view(labels, sizeof(labels)) };
	struct snap_record top = {
		.id = 9, .parent_id = 3, .kind = SNAP_ACTIVE, .name = "top", .parent = "base"
	};
	struct snap_rows_total total = { .next = 10, .count = 2 };
	int r = put_v3(tx, top, &total.sum, err);

	(void)user;
	if (r == 0)
		r = put_v3(tx, base, &total.sum, err);
	if (r == 0)
		r = snap_rows_put_total(tx, &total, err);
	return r < 0 ? r : cf_db_exec(tx, err, "DROP TABLE record_v2"); /* as it was done then */
}

static void expect_taken_over(size_t version, cf_db_fn fill)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/db-%zu", dir, version);
	struct cf_db_opts opts = { .path = path,
		                   .migrations = snap_rows_migrations,
		                   .migration_count = version };
	struct snap_labels none = { 0 };
	struct snap_new in = { "next", "base", SNAP_ACTIVE, 0, &none };
	struct snap_store *st = NULL;
	struct snap_record *rec = NULL;
	struct cf_db *db = NULL;
	struct cf_err err;

	EXPECT_OK(cf_db_open(&opts, &db, &err), &err);
	EXPECT_OK(cf_db_write(db, fill, NULL, &err), &err);
	cf_db_close(db);
	EXPECT_OK(snap_store_open(path, false, &st, &err), &err);
	rec = snap_store_get(st, "top");
	EXPECT(rec && rec->id == 9 && rec->parent_id == 3 && cf_streq(rec->parent, "base"));
	snap_record_unref(rec);
	rec = snap_store_peek(st, "top");
	EXPECT(rec && cf_streq(rec->parent, "base"));
	snap_record_unref(rec);
	rec = snap_store_get(st, "base");
	EXPECT(rec && rec->size == 7 && cf_streq(snap_record_label(rec, "k"), "value"));
	snap_record_unref(rec);
	EXPECT_OK(snap_store_add(st, &in, &rec, &err), &err);
	EXPECT(rec->id == 10); /* ids go on */
	snap_record_unref(rec);
	EXPECT_FAILS(snap_store_remove(st, "base", &rec, &err), CF_FAILED_PRECONDITION);
	EXPECT_OK(snap_store_remove(st, "top", &rec, &err), &err);
	snap_record_unref(rec);
	in.key = "top";
	EXPECT_OK(snap_store_add(st, &in, &rec, &err), &err);
	EXPECT(rec->id == 11);
	snap_record_unref(rec);
	EXPECT_OK(snap_store_remove(st, "top", &rec, &err), &err);
	snap_record_unref(rec);
	snap_store_close(st);
	EXPECT_OK(snap_store_open(path, false, &st, &err), &err);
	EXPECT(snap_store_count(st) == 2);
	snap_store_close(st);
}

CF_TEST(rows_of_the_versions_before_are_taken_over)
{
	expect_taken_over(1, older);
	expect_taken_over(3, older_v3);
}

/* ---- rows that somebody wrote with care ---- */

struct forged {
	const char *name;
	struct cf_view labels;
};

/* The row's sum is right, and so are the totals. */
static int forge(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	const struct forged *in = user;
	struct snap_record rec = { .id = 1,
		                   .kind = SNAP_COMMITTED,
		                   .name = in->name,
		                   .parent = "",
		                   .labels = in->labels };
	int r = snap_rows_put(tx, &rec, err);
	struct snap_rows_total total = { .next = 2, .count = 1, .sum = rec.sum };

	return r < 0 ? r : snap_rows_put_total(tx, &total, err);
}

static int opened_with(struct forged row)
{
	return snap_db_opened_with(forge, &row);
}

CF_TEST(rows_of_a_wrong_shape_are_refused_whatever_their_sum_says)
{
#define LABELS(text) cf_view((const uint8_t *)(text), sizeof(text) - 1)
	EXPECT_INT(opened_with((struct forged){ "n", LABELS("k\0v\0") }), 0);
	EXPECT_INT(opened_with((struct forged){ "n", LABELS("k\0v") }), -CF_DATA_LOSS);
	EXPECT_INT(opened_with((struct forged){ "n", LABELS("k\0") }), -CF_DATA_LOSS);
	EXPECT_INT(opened_with((struct forged){ "n", LABELS("k") }), -CF_DATA_LOSS);
	EXPECT_INT(opened_with((struct forged){ "", LABELS("") }), -CF_DATA_LOSS);
#undef LABELS
}

/* @row is of a buffer of its own, for sanitizers to see what is read behind it. */
static int decoded(int64_t key, struct cf_view row)
{
	struct cf_buf copy = { .max = SNAP_ROW_MAX };
	struct snap_slab *slab = NULL;
	struct snap_record *rec = NULL;
	struct cf_err err;

	cf_buf_add_view(&copy, row);
	int r = snap_rows_decode(key, cf_buf_view(&copy), &slab, &rec, &err);

	if (r == 0)
		snap_record_unref(rec);
	snap_slab_unref(slab);
	cf_buf_fini(&copy);
	return r;
}

CF_TEST(rows_cut_at_any_byte_are_refused)
{
	static const char labels[] = "key\0value\0k\0v"; /* with the NUL that C adds */
	struct snap_record rec = { .id = 1,
		                   .kind = SNAP_COMMITTED,
		                   .name = "name",
		                   .parent = "",
		                   .labels = cf_view(labels, sizeof(labels)) };
	cf_cleanup(cf_buf_fini) struct cf_buf row = { .max = SNAP_ROW_MAX };

	snap_rows_encode(&rec, &row);
	size_t bare = row.size - sizeof(labels), one = bare + sizeof("key\0value");

	int64_t key = snap_rows_key(cf_view_str(rec.name), rec.id);

	EXPECT_INT(decoded(key, cf_buf_view(&row)), 0);
	EXPECT_INT(decoded(key + 1, cf_buf_view(&row)), -CF_DATA_LOSS);
	for (size_t n = 0; n < row.size; n++) {
		struct cf_view cut = cf_view_sub(cf_buf_view(&row), 0, n);

		EXPECT_INT(decoded(key, cut), -CF_DATA_LOSS);
		if (n < sizeof(int64_t))
			continue;
		/* The sum put right: what is left is a row where a label ends, and nowhere else. */
		int64_t was, sum = snap_rows_sum(key, cut);

		memcpy(&was, row.data, sizeof(was));
		memcpy(row.data, &sum, sizeof(sum));
		EXPECT_INT(decoded(key, cut), n == bare || n == one ? 0 : -CF_DATA_LOSS);
		memcpy(row.data, &was, sizeof(was));
	}
}
