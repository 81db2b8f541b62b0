/* SPDX-License-Identifier: Apache-2.0 */
#include "base/db.h"

#include "base/fd.h"
#include "tests/harness/test.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const v1[] = {
	"CREATE TABLE thing(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
	" data BLOB, parent INTEGER REFERENCES thing(id))",
};
static const char *const v2[] = {
	"CREATE TABLE thing(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
	" data BLOB, parent INTEGER REFERENCES thing(id))",
	"ALTER TABLE thing ADD COLUMN size INTEGER NOT NULL DEFAULT 7",
};

static struct cf_db *open_at(const char *path, const char *const *migrations, size_t n)
{
	struct cf_db_opts opts = { .path = path, .migrations = migrations, .migration_count = n };
	struct cf_db *db = NULL;
	struct cf_err err;

	EXPECT_OK(cf_db_open(&opts, &db, &err), &err);
	return db;
}

static int put(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	return cf_db_exec(tx, err, "INSERT INTO thing(name) VALUES(?)",
	                  CF_DB_TEXT((const char *)user));
}

static int put_and_fail(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	int r = put(tx, user, err);

	return r < 0 ? r : cf_fail(err, CF_ABORTED, "on purpose");
}

static int count(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query(tx, &rows, err, "SELECT count(*) FROM thing");

	if (r == 0)
		r = cf_db_next(&rows, err);
	if (r < 0)
		return r;
	*(int64_t *)user = cf_db_col_int(&rows, 0);
	return 0;
}

static int64_t things(struct cf_db *db)
{
	struct cf_err err;
	int64_t n = -1;

	EXPECT_OK(cf_db_read(db, count, &n, &err), &err);
	return n;
}

struct seen {
	struct cf_view name, data;
	bool data_is_null;
	int64_t id;
};

static int put_typed(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	struct seen *s = user;
	int r = cf_db_exec(tx, err, "INSERT INTO thing(name, data, parent) VALUES(?, ?, ?)",
	                   CF_DB_TEXT_VIEW(s->name), CF_DB_BLOB(s->data), CF_DB_NULL);

	s->id = cf_db_last_id(tx);
	return r;
}

static int check_typed(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	const struct seen *s = user;
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query(tx, &rows, err, "SELECT name, data, parent FROM thing WHERE id = ?",
	                    CF_DB_INT(s->id));

	EXPECT(r == 0 && cf_db_next(&rows, err) == CF_DB_ROW);
	EXPECT(cf_view_eq(cf_db_col_view(&rows, 0), s->name));
	EXPECT(cf_view_eq(cf_db_col_view(&rows, 1), s->data) && !cf_db_col_is_null(&rows, 1));
	EXPECT(cf_db_col_is_null(&rows, 2) && cf_db_col_dup(&rows, 2) == NULL);
	EXPECT(cf_db_next(&rows, err) == 0);
	return 0;
}

CF_TEST(db_keeps_bytes_as_they_are)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/db", dir);
	cf_cleanup(cf_db_closep) struct cf_db *db = open_at(path, v1, 1);
	struct seen s = { .name = CF_VIEW_LIT("a'); DROP TABLE thing; --"),
		          .data = CF_VIEW_LIT("\0\1\0") };
	struct seen empty = { .name = CF_VIEW_LIT(""), .data = CF_VIEW_LIT("") };
	struct cf_err err;
	struct stat st;

	EXPECT_OK(cf_db_write(db, put_typed, &s, &err), &err);
	EXPECT_OK(cf_db_read(db, check_typed, &s, &err), &err);
	EXPECT_OK(cf_db_write(db, put_typed, &empty, &err), &err);
	EXPECT_OK(cf_db_read(db, check_typed, &empty, &err), &err);
	EXPECT(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600);
}

CF_TEST(db_a_failing_change_is_undone_alone)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/db", dir);
	cf_cleanup(cf_db_closep) struct cf_db *db = open_at(path, v1, 1);
	struct cf_err err;

	EXPECT_OK(cf_db_write(db, put, (void *)(uintptr_t) "a", &err), &err);
	EXPECT_FAILS(cf_db_write(db, put_and_fail, (void *)(uintptr_t) "b", &err), CF_ABORTED);
	EXPECT_FAILS(cf_db_write(db, put, (void *)(uintptr_t) "a", &err), CF_ALREADY_EXISTS);
	EXPECT(err.code == CF_ALREADY_EXISTS && strstr(err.msg, "UNIQUE"));
	EXPECT_INT(things(db), 1);
}

static int orphan(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	(void)user;
	return cf_db_exec(tx, err, "INSERT INTO thing(name, parent) VALUES('x', 99)");
}

static int wrong_count(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	(void)user;
	return cf_db_exec(tx, err, "INSERT INTO thing(name) VALUES(?)");
}

static int write_in_read(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	return put(tx, user, err);
}

CF_TEST(db_names_what_went_wrong)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/db", dir);
	cf_cleanup(cf_db_closep) struct cf_db *db = open_at(path, v1, 1);
	struct cf_err err;

	EXPECT_FAILS(cf_db_write(db, orphan, NULL, &err), CF_FAILED_PRECONDITION);
	EXPECT_FAILS(cf_db_write(db, wrong_count, NULL, &err), CF_INTERNAL);
	EXPECT_FAILS(cf_db_read(db, write_in_read, (void *)(uintptr_t) "z", &err),
	             CF_PERMISSION_DENIED);
}

#define MANY 300

struct tally {
	int ended;
	int last;
	bool in_order;
};
struct async_job {
	struct tally *tally;
	char name[16];
	int i;
};

static int put_async(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	struct async_job *j = user;

	return j->i % 10 == 9 ? cf_fail(err, CF_ABORTED, "every tenth") : put(tx, j->name, err);
}

static void count_end(void *user, int r, const struct cf_err *err)
{
	struct async_job *j = user;

	j->tally->in_order &= j->i == j->tally->last + 1;
	j->tally->last = j->i;
	j->tally->ended++;
	EXPECT((r == -CF_ABORTED) == (j->i % 10 == 9));
	EXPECT((err != NULL) == (r < 0));
	free(j);
}

CF_TEST(db_merges_what_waits_and_ends_it_in_order)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/db", dir);
	struct cf_db *db = open_at(path, v1, 1);
	struct tally tally = { .last = -1, .in_order = true };
	struct cf_err err;
	struct cf_db_stats stats;

	for (int i = 0; i < MANY; i++) {
		struct async_job *j = cf_zalloc(sizeof(*j));

		*j = (struct async_job){ .tally = &tally, .i = i };
		snprintf(j->name, sizeof(j->name), "n%d", i);
		EXPECT_OK(cf_db_write_async(db, put_async, count_end, j, &err), &err);
	}
	EXPECT_OK(cf_db_write(db, put, (void *)(uintptr_t) "last", &err), &err);
	EXPECT(tally.ended == MANY && tally.in_order);
	EXPECT_INT(things(db), MANY - MANY / 10 + 1);
	cf_db_stats(db, &stats);
	EXPECT(stats.mutations == MANY + 1 && stats.commits < MANY);
	cf_db_close(db);
}

static void *writer(void *user)
{
	struct cf_db *db = user;
	char name[40];

	for (int i = 0; i < 50; i++) {
		struct cf_err err;

		snprintf(name, sizeof(name), "%lx-%d", (unsigned long)pthread_self(), i);
		EXPECT_OK(cf_db_write(db, put, name, &err), &err);
		EXPECT(things(db) > i);
	}
	return NULL;
}

CF_TEST(db_serves_many_threads)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/db", dir);
	struct cf_db *db = open_at(path, v1, 1);
	pthread_t t[8];

	for (size_t i = 0; i < CF_ARRAY_LEN(t); i++)
		EXPECT(pthread_create(&t[i], NULL, writer, db) == 0);
	for (size_t i = 0; i < CF_ARRAY_LEN(t); i++)
		EXPECT(pthread_join(t[i], NULL) == 0);
	EXPECT_INT(things(db), 8 * 50);
	cf_db_close(db);
}

CF_TEST(db_migrates_and_keeps_a_copy)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/db", dir);
	cf_cleanup(cf_freep) char *copy = cf_asprintf("%s/db.v1", dir);
	struct cf_db *db = open_at(path, v1, 1);
	struct cf_err err;

	EXPECT_OK(cf_db_write(db, put, (void *)(uintptr_t) "old", &err), &err);
	cf_db_close(db);
	EXPECT(access(copy, F_OK) < 0);
	db = open_at(path, v2, 2);
	EXPECT_INT(things(db), 1);
	cf_db_close(db);
	EXPECT(access(copy, F_OK) == 0);

	struct cf_db_opts older = { .path = path, .migrations = v1, .migration_count = 1 };

	EXPECT_FAILS(cf_db_open(&older, &db, &err), CF_FAILED_PRECONDITION);
}

CF_TEST(db_refuses_a_broken_migration_whole)
{
	static const char *const broken[] = { "CREATE TABLE a(x); CREATE TABLE a(y)" };
	static const char *const fine[] = { "CREATE TABLE a(x)" };
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/db", dir);
	struct cf_db_opts opts = { .path = path, .migrations = broken, .migration_count = 1 };
	struct cf_db *db = NULL;
	struct cf_err err;

	EXPECT_FAILS(cf_db_open(&opts, &db, &err), CF_INTERNAL);
	EXPECT(!db);
	cf_db_close(open_at(path, fine, 1));
}

CF_TEST(db_refuses_a_damaged_file)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/db", dir);
	struct cf_db_opts opts = { .path = path, .migrations = v1, .migration_count = 1 };
	struct cf_db *db = NULL;
	struct cf_err err;

	EXPECT_OK(cf_write_file_atomic(path, cf_view_str("this is no database, not at all"), 0600,
	                               &err),
	          &err);
	EXPECT_FAILS(cf_db_open(&opts, &db, &err), CF_DATA_LOSS);
	opts.path = "/nonexistent/dir/db";
	EXPECT_FAILS(cf_db_open(&opts, &db, &err), CF_NOT_FOUND);
}

/* A child writes and tells each acknowledged number; it is killed; all told ones must be there. */
CF_TEST(db_what_was_acknowledged_survives_a_kill)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/db", dir);
	int p[2];
	int64_t told = 0;

	EXPECT(pipe(p) == 0);
	pid_t pid = fork();

	if (pid == 0) {
		struct cf_db *db = open_at(path, v1, 1);

		for (int i = 0;; i++) {
			char name[20];
			struct cf_err err;

			snprintf(name, sizeof(name), "%d", i);
			if (cf_db_write(db, put, name, &err) < 0 || write(p[1], "x", 1) != 1)
				_exit(1);
		}
	}
	close(p[1]);
	for (char c; told < 200 && read(p[0], &c, 1) == 1;)
		told++;
	EXPECT(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
	for (char c; read(p[0], &c, 1) == 1;)
		told++;
	close(p[0]);
	struct cf_db *db = open_at(path, v1, 1);

	EXPECT(told >= 200 && things(db) >= told);
	cf_db_close(db);
}

/* In a process of its own: opens the same file, adds one thing, closes. */
static void add_from_outside(const char *path, int go)
{
	struct cf_db *db;
	char byte;

	if (read(go, &byte, 1) != 1)
		_exit(1);
	db = open_at(path, v1, 1);
	if (cf_db_write(db, put, (void *)(uintptr_t) "outside", NULL) < 0)
		_exit(1);
	cf_db_close(db);
	_exit(0);
}

CF_TEST(db_survives_another_process_that_opens_and_closes_it)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/x.db", dir);
	cf_cleanup(cf_freep) char *wal = cf_asprintf("%s/x.db-wal", dir);
	struct cf_err err;
	int go[2], status;

	EXPECT(pipe(go) == 0);
	pid_t pid = fork(); /* before there is a thread */
	if (pid == 0)
		add_from_outside(path, go[0]);
	struct cf_db *db = open_at(path, v1, 1);
	EXPECT_OK(cf_db_write(db, put, (void *)(uintptr_t) "one", &err), &err);
	EXPECT(write(go[1], "x", 1) == 1);
	EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
	/* We still hold it open, so the other was not the last and has left the WAL alone. */
	EXPECT(access(wal, F_OK) == 0);
	EXPECT(things(db) == 2);
	EXPECT_OK(cf_db_write(db, put, (void *)(uintptr_t) "two", &err), &err);
	cf_db_close(db);
	db = open_at(path, v1, 1);
	EXPECT(things(db) == 3);
	cf_db_close(db);
	close(go[0]);
	close(go[1]);
}
