/* SPDX-License-Identifier: Apache-2.0 */
#include "base/db.h"

#include "base/fd.h"
#include "base/loop.h"
#include "base/str.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <time.h>
#include <unistd.h>

#define READER_CACHE_KIB 64
#define WAL_PAGES        64 /* then they go to the database: a start has to read what is in the log */

struct stmt_slot {
	const char *sql; /* static text: compared by address first */
	sqlite3_stmt *st;
};

/* One connection with its prepared statements. Used by one thread at a time. */
struct cf_db_tx {
	sqlite3 *conn;
	struct stmt_slot slots[CF_DB_STMT_MAX];
	size_t slot_count;
	bool busy; /* readers: handed out */
};

struct job {
	cf_db_fn fn;
	cf_db_done done;
	void *user;
	struct cf_err *err; /* the waiter's; NULL for async jobs */
	int r;
	bool waits; /* somebody waits for .finished and owns the job's memory */
	bool finished;
	struct job *next;
};

struct cf_db {
	char *path;
	struct cf_db_tx writer;
	pthread_t thread;
	bool started;

	pthread_mutex_t lock; /* the queue, .stop, .stats, every job's .finished */
	pthread_cond_t work;  /* the queue grew or .stop was set */
	pthread_cond_t ended; /* a waited-for job finished */
	struct job *head;
	struct job **tail;
	size_t waiting;
	bool stop;
	struct cf_db_stats stats;

	pthread_mutex_t readers_lock;
	pthread_cond_t reader_back;
	struct cf_db_tx *readers[CF_DB_READERS_MAX];
	bool relaxed;
};

/* ---- errors ---- */

static enum cf_code code_of(int rc)
{
	switch (rc) {
	case SQLITE_CONSTRAINT_UNIQUE:
	case SQLITE_CONSTRAINT_PRIMARYKEY:
	case SQLITE_CONSTRAINT_ROWID:
		return CF_ALREADY_EXISTS;
	default:
		break;
	}
	switch (rc & 0xff) {
	case SQLITE_CONSTRAINT:
		return CF_FAILED_PRECONDITION;
	case SQLITE_FULL:
	case SQLITE_TOOBIG:
	case SQLITE_NOMEM:
		return CF_RESOURCE_EXHAUSTED;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return CF_DATA_LOSS;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return CF_UNAVAILABLE;
	case SQLITE_CANTOPEN:
		return CF_NOT_FOUND;
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return CF_PERMISSION_DENIED;
	default:
		return CF_INTERNAL;
	}
}

static int fail_sql(sqlite3 *conn, const char *what, struct cf_err *err)
{
	return cf_fail(err, code_of(sqlite3_extended_errcode(conn)), "database: %s: %s", what,
	               sqlite3_errmsg(conn));
}

/* ---- statements ---- */

static int prepare(struct cf_db_tx *tx, const char *sql, sqlite3_stmt **ret, struct cf_err *err)
{
	for (size_t i = 0; i < tx->slot_count; i++) {
		struct stmt_slot *s = &tx->slots[i];

		if (s->sql != sql && strcmp(s->sql, sql) != 0)
			continue;
		if (sqlite3_stmt_busy(s->st))
			return cf_fail(err, CF_INTERNAL, "database: statement is still open: %s",
			               sql);
		*ret = s->st;
		return 0;
	}
	assert(tx->slot_count < CF_DB_STMT_MAX);
	sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v3(tx->conn, sql, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL) !=
	    SQLITE_OK)
		return fail_sql(tx->conn, sql, err);
	tx->slots[tx->slot_count++] = (struct stmt_slot){ .sql = sql, .st = st };
	*ret = st;
	return 0;
}

static int bind_one(sqlite3_stmt *st, int place, const struct cf_db_arg *a)
{
	/* An empty view has no address, and SQLite reads no address as NULL. */
	const char *data = a->v.data ? (const char *)a->v.data : "";

	switch (a->kind) {
	case CF_DBA_TEXT:
		return sqlite3_bind_text64(st, place, data, a->v.size, SQLITE_STATIC, SQLITE_UTF8);
	case CF_DBA_BLOB:
		return sqlite3_bind_blob64(st, place, data, a->v.size, SQLITE_STATIC);
	case CF_DBA_INT:
		return sqlite3_bind_int64(st, place, a->i);
	case CF_DBA_NULL:
		break;
	}
	return sqlite3_bind_null(st, place);
}

static void stmt_rest(sqlite3_stmt *st)
{
	sqlite3_reset(st);
	sqlite3_clear_bindings(st); /* the bound views die with the caller */
}

int cf_db_query_args(struct cf_db_tx *tx, struct cf_db_rows *ret, const char *sql,
                     const struct cf_db_arg *args, size_t count, struct cf_err *err)
{
	sqlite3_stmt *st = NULL;
	int r = prepare(tx, sql, &st, err);

	if (r < 0)
		return r;
	if ((size_t)sqlite3_bind_parameter_count(st) != count)
		return cf_fail(err, CF_INTERNAL, "database: %zu values for: %s", count, sql);
	for (size_t i = 0; i < count; i++) {
		/* args[0] is the macro's placeholder, so that an empty list is a list. */
		if (bind_one(st, (int)i + 1, &args[i + 1]) != SQLITE_OK) {
			r = fail_sql(tx->conn, sql, err);
			stmt_rest(st);
			return r;
		}
	}
	*ret = (struct cf_db_rows){ .stmt = st, .tx = tx };
	return 0;
}

int cf_db_next(struct cf_db_rows *rows, struct cf_err *err)
{
	sqlite3_stmt *st = rows->stmt;
	int rc = sqlite3_step(st);

	if (rc == SQLITE_ROW)
		return CF_DB_ROW;
	if (rc == SQLITE_DONE)
		return 0;
	return fail_sql(rows->tx->conn, sqlite3_sql(st), err);
}

void cf_db_rows_fini(struct cf_db_rows *rows)
{
	if (rows->stmt)
		stmt_rest(rows->stmt);
	rows->stmt = NULL;
}

int cf_db_exec_args(struct cf_db_tx *tx, const char *sql, const struct cf_db_arg *args,
                    size_t count, struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query_args(tx, &rows, sql, args, count, err);

	if (r < 0)
		return r;
	r = cf_db_next(&rows, err);
	if (r == CF_DB_ROW)
		return cf_fail(err, CF_INTERNAL, "database: rows nobody reads: %s", sql);
	return r;
}

int64_t cf_db_col_int(const struct cf_db_rows *rows, int col)
{
	return sqlite3_column_int64(rows->stmt, col);
}

struct cf_view cf_db_col_view(const struct cf_db_rows *rows, int col)
{
	const void *data = sqlite3_column_blob(rows->stmt, col);
	int size = sqlite3_column_bytes(rows->stmt, col);

	return cf_view(data, data ? (size_t)size : 0);
}

char *cf_db_col_dup(const struct cf_db_rows *rows, int col)
{
	if (cf_db_col_is_null(rows, col))
		return NULL;
	struct cf_view v = cf_db_col_view(rows, col);
	ssize_t nul = cf_view_find(v, 0);

	return cf_view_dup(nul < 0 ? v : cf_view_sub(v, 0, (size_t)nul));
}

bool cf_db_col_is_null(const struct cf_db_rows *rows, int col)
{
	return sqlite3_column_type(rows->stmt, col) == SQLITE_NULL;
}

int64_t cf_db_last_id(struct cf_db_tx *tx)
{
	return sqlite3_last_insert_rowid(tx->conn);
}

int64_t cf_db_changes(struct cf_db_tx *tx)
{
	return sqlite3_changes64(tx->conn);
}

/* ---- connections ---- */

static void conn_close(struct cf_db_tx *tx)
{
	for (size_t i = 0; i < tx->slot_count; i++)
		sqlite3_finalize(tx->slots[i].st);
	tx->slot_count = 0;
	sqlite3_close(tx->conn);
	tx->conn = NULL;
}

static int run_script(sqlite3 *conn, const char *sql, struct cf_err *err)
{
	if (sqlite3_exec(conn, sql, NULL, NULL, NULL) != SQLITE_OK)
		return fail_sql(conn, sql, err);
	return 0;
}

/* Counting every allocation would make the connections wait for one another. */
static void configure(void)
{
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static int conn_open(const char *path, int flags, struct cf_db_tx *tx, struct cf_err *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, configure);
	int rc = sqlite3_open_v2(path, &tx->conn, flags | SQLITE_OPEN_NOMUTEX, NULL);

	if (rc != SQLITE_OK) {
		int r = cf_fail(err, code_of(rc), "database %s: %s", path,
		                tx->conn ? sqlite3_errmsg(tx->conn) : sqlite3_errstr(rc));

		conn_close(tx);
		return r;
	}
	sqlite3_extended_result_codes(tx->conn, 1);
	sqlite3_busy_timeout(tx->conn, CF_DB_BUSY_MS);
	sqlite3_db_config(tx->conn, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(tx->conn, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	return run_script(tx->conn,
	                  "PRAGMA cell_size_check=ON; PRAGMA foreign_keys=ON;"
	                  "PRAGMA wal_autocheckpoint=" CF_STR(WAL_PAGES),
	                  err);
}

static int pragma_int(struct cf_db_tx *tx, const char *sql, int64_t *ret, struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query(tx, &rows, err, sql);

	if (r == 0)
		r = cf_db_next(&rows, err);
	if (r < 0)
		return r;
	*ret = r == CF_DB_ROW ? cf_db_col_int(&rows, 0) : 0;
	return 0;
}

static int quick_check(struct cf_db_tx *tx, struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query(tx, &rows, err, "PRAGMA quick_check(1)");

	if (r == 0)
		r = cf_db_next(&rows, err);
	if (r < 0)
		return r;
	cf_cleanup(cf_freep) char *says = r == CF_DB_ROW ? cf_db_col_dup(&rows, 0) : NULL;

	if (cf_streq(says, "ok"))
		return 0;
	return cf_fail(err, CF_DATA_LOSS, "database is damaged: %s", says ? says : "no answer");
}

/* ---- opening ---- */

static int keep_copy(struct cf_db *db, int64_t version, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *copy = cf_asprintf("%s.v%lld", db->path, (long long)version);

	if (unlink(copy) < 0 && errno != ENOENT)
		return cf_fail_errno(err, errno, "unlink %s", copy);
	return cf_db_exec(&db->writer, err, "VACUUM INTO ?", CF_DB_TEXT(copy));
}

static int migrate_one(struct cf_db *db, const char *script, size_t to, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *stamp = cf_asprintf("PRAGMA user_version=%zu; COMMIT", to);
	int r = run_script(db->writer.conn, "BEGIN IMMEDIATE", err);

	if (r == 0)
		r = run_script(db->writer.conn, script, err);
	if (r == 0)
		r = run_script(db->writer.conn, stamp, err);
	if (r < 0 && !sqlite3_get_autocommit(db->writer.conn))
		sqlite3_exec(db->writer.conn, "ROLLBACK", NULL, NULL, NULL);
	return r < 0 ? cf_wrap(err, r, "migration to version %zu", to) : 0;
}

static int migrate(struct cf_db *db, const struct cf_db_opts *opts, struct cf_err *err)
{
	int64_t version = 0;
	int r = pragma_int(&db->writer, "PRAGMA user_version", &version, err);

	if (r < 0)
		return r;
	if (version < 0 || (uint64_t)version > opts->migration_count)
		return cf_fail(err, CF_FAILED_PRECONDITION,
		               "schema version %lld is newer than this program's %zu",
		               (long long)version, opts->migration_count);
	if (version > 0 && (size_t)version < opts->migration_count)
		r = keep_copy(db, version, err);
	for (size_t v = (size_t)version; r == 0 && v < opts->migration_count; v++)
		r = migrate_one(db, opts->migrations[v], v + 1, err);
	return r;
}

static int open_writer(struct cf_db *db, const struct cf_db_opts *opts, struct cf_err *err)
{
	/*
	 * Made by us, so that it and the -wal and -shm beside it, which copy its mode, are 0600. Closed
	 * before SQLite opens it: closing any descriptor of a file drops the locks that this process
	 * holds on it, and then another process would take itself for the last and delete the WAL.
	 */
	int fd = open(db->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return cf_fail_errno(err, errno, "open");
	cf_close(&fd);
	int r = conn_open(db->path, SQLITE_OPEN_READWRITE, &db->writer, err);

	if (r == 0)
		r = run_script(db->writer.conn,
		               opts->relaxed ? "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"
		                             : "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
		               err);
	if (r == 0 && !opts->is_checked_by_caller)
		r = quick_check(&db->writer, err);
	if (r == 0)
		r = migrate(db, opts, err);
	return r;
}

static struct cf_db *db_free(struct cf_db *db)
{
	for (size_t i = 0; i < CF_DB_READERS_MAX; i++) {
		if (db->readers[i])
			conn_close(db->readers[i]);
		free(db->readers[i]);
	}
	conn_close(&db->writer); /* last: it checkpoints and removes the WAL */
	pthread_cond_destroy(&db->reader_back);
	pthread_mutex_destroy(&db->readers_lock);
	pthread_cond_destroy(&db->ended);
	pthread_cond_destroy(&db->work);
	pthread_mutex_destroy(&db->lock);
	free(db->path);
	free(db);
	return NULL;
}

static void *writer_main(void *arg);

int cf_db_open(const struct cf_db_opts *opts, struct cf_db **ret, struct cf_err *err)
{
	cf_cleanup(cf_db_closep) struct cf_db *db = cf_zalloc(sizeof(*db));

	pthread_mutex_init(&db->lock, NULL);
	pthread_mutex_init(&db->readers_lock, NULL);
	pthread_cond_init(&db->work, NULL);
	pthread_cond_init(&db->ended, NULL);
	pthread_cond_init(&db->reader_back, NULL);
	db->tail = &db->head;
	db->path = cf_strdup(opts->path);
	db->relaxed = opts->relaxed;

	int r = open_writer(db, opts, err);

	if (r < 0)
		return cf_wrap(err, r, "%s", opts->path);
	int e = pthread_create(&db->thread, NULL, writer_main, db);

	if (e != 0)
		return cf_fail_errno(err, e, "database writer thread");
	db->started = true;
	*ret = cf_take(&db);
	return 0;
}

struct cf_db *cf_db_close(struct cf_db *db)
{
	if (!db)
		return NULL;
	if (db->started) {
		pthread_mutex_lock(&db->lock);
		db->stop = true;
		pthread_cond_signal(&db->work);
		pthread_mutex_unlock(&db->lock);
		pthread_join(db->thread, NULL);
	}
	return db_free(db);
}

/* ---- the writer ---- */

/* The next job, or NULL: at once when @wait is false, at the end of everything otherwise. */
static struct job *next_job(struct cf_db *db, bool wait)
{
	pthread_mutex_lock(&db->lock);
	while (wait && !db->head && !db->stop)
		pthread_cond_wait(&db->work, &db->lock);
	struct job *j = db->head;

	if (j) {
		db->head = j->next;
		if (!db->head)
			db->tail = &db->head;
		db->waiting--;
		j->next = NULL;
	}
	pthread_mutex_unlock(&db->lock);
	return j;
}

struct group_entry {
	struct job *job;
	struct cf_err err;
};

static void run_job(struct cf_db *db, struct group_entry *g)
{
	struct job *j = g->job;
	int r = cf_db_exec(&db->writer, &g->err, "SAVEPOINT one");

	if (r < 0) {
		j->r = r;
		return;
	}
	j->r = j->fn(&db->writer, j->user, &g->err);
	assert(j->r <= 0);
	struct cf_err undo;

	if (j->r < 0 && cf_db_exec(&db->writer, &undo, "ROLLBACK TO one") < 0)
		return; /* the whole transaction is gone; COMMIT will say so */
	r = cf_db_exec(&db->writer, &undo, "RELEASE one");
	if (r < 0 && j->r == 0) {
		j->r = r;
		g->err = undo;
	}
}

static void end_job(struct cf_db *db, struct group_entry *g)
{
	struct job *j = g->job;

	if (j->done)
		j->done(j->user, j->r, j->r < 0 ? &g->err : NULL);
	if (!j->waits) {
		free(j);
		return;
	}
	if (j->r < 0 && j->err)
		*j->err = g->err;
	pthread_mutex_lock(&db->lock);
	j->finished = true;
	pthread_cond_broadcast(&db->ended);
	pthread_mutex_unlock(&db->lock);
}

static int commit_group(struct cf_db *db, size_t count, struct cf_err *err)
{
	uint64_t from = (uint64_t)cf_now_us();
	int r = cf_db_exec(&db->writer, err, "COMMIT");

	if (r < 0 && !sqlite3_get_autocommit(db->writer.conn))
		sqlite3_exec(db->writer.conn, "ROLLBACK", NULL, NULL, NULL);
	if (r < 0)
		return r;
	pthread_mutex_lock(&db->lock);
	db->stats.commits++;
	db->stats.mutations += count;
	db->stats.commit_us += (uint64_t)cf_now_us() - from;
	pthread_mutex_unlock(&db->lock);
	return 0;
}

/* @r < 0: what the transaction as a whole came to; it is everybody's result then. */
static void end_group(struct cf_db *db, struct group_entry *group, size_t count, int r,
                      const struct cf_err *err)
{
	for (size_t i = 0; i < count; i++) {
		if (r < 0 && group[i].job->r == 0) {
			group[i].job->r = r;
			group[i].err = *err;
		}
		end_job(db, &group[i]);
	}
}

static void run_group(struct cf_db *db, struct job *first, struct group_entry *group)
{
	struct cf_err err;
	uint64_t until = (uint64_t)cf_now_us() + CF_DB_GROUP_MS * 1000u;
	size_t count = 0;
	int r = cf_db_exec(&db->writer, &err, "BEGIN IMMEDIATE");

	for (struct job *j = first; j;) {
		group[count].job = j;
		if (r == 0)
			run_job(db, &group[count]);
		count++;
		/* A full disk makes SQLite undo the whole transaction: nobody's change is there. */
		if (r == 0 && sqlite3_get_autocommit(db->writer.conn))
			r = fail_sql(db->writer.conn, "transaction was undone", &err);
		bool more = count < CF_DB_GROUP_MAX && (uint64_t)cf_now_us() < until;

		j = more ? next_job(db, false) : NULL;
	}
	if (r == 0)
		r = commit_group(db, count, &err);
	end_group(db, group, count, r, &err);
}

static void *writer_main(void *arg)
{
	struct cf_db *db = arg;
	struct group_entry *group = cf_zalloc_n(CF_DB_GROUP_MAX, sizeof(*group));

	for (struct job *j; (j = next_job(db, true));)
		run_group(db, j, group);
	free(group);
	return NULL;
}

static int submit(struct cf_db *db, struct job *j, struct cf_err *err)
{
	int r = 0;

	pthread_mutex_lock(&db->lock);
	if (db->waiting >= CF_DB_QUEUE_MAX) {
		r = cf_fail(err, CF_RESOURCE_EXHAUSTED, "database: %u changes wait already",
		            CF_DB_QUEUE_MAX);
	} else {
		*db->tail = j;
		db->tail = &j->next;
		db->waiting++;
		pthread_cond_signal(&db->work);
	}
	pthread_mutex_unlock(&db->lock);
	return r;
}

int cf_db_write_done(struct cf_db *db, cf_db_fn fn, cf_db_done done, void *user, struct cf_err *err)
{
	struct job j = { .fn = fn, .done = done, .user = user, .err = err, .waits = true };
	int r = submit(db, &j, err);

	if (r < 0)
		return r;
	pthread_mutex_lock(&db->lock);
	while (!j.finished)
		pthread_cond_wait(&db->ended, &db->lock);
	pthread_mutex_unlock(&db->lock);
	return j.r;
}

int cf_db_write(struct cf_db *db, cf_db_fn fn, void *user, struct cf_err *err)
{
	return cf_db_write_done(db, fn, NULL, user, err);
}

int cf_db_write_async(struct cf_db *db, cf_db_fn fn, cf_db_done done, void *user,
                      struct cf_err *err)
{
	struct job *j = cf_zalloc(sizeof(*j));

	*j = (struct job){ .fn = fn, .done = done, .user = user };
	int r = submit(db, j, err);

	if (r < 0)
		free(j);
	return r;
}

void cf_db_stats(struct cf_db *db, struct cf_db_stats *ret)
{
	pthread_mutex_lock(&db->lock);
	*ret = db->stats;
	pthread_mutex_unlock(&db->lock);
}

/* ---- reading ---- */

/* A reader that nobody uses, waiting when all are out; its connection may still have to be opened. */
static struct cf_db_tx *reader_take(struct cf_db *db)
{
	struct cf_db_tx *got = NULL;

	pthread_mutex_lock(&db->readers_lock);
	while (!got) {
		for (size_t i = 0; i < CF_DB_READERS_MAX && !got; i++) {
			if (!db->readers[i])
				db->readers[i] = cf_zalloc(sizeof(*db->readers[i]));
			if (!db->readers[i]->busy)
				got = db->readers[i];
		}
		if (!got)
			pthread_cond_wait(&db->reader_back, &db->readers_lock);
	}
	got->busy = true;
	pthread_mutex_unlock(&db->readers_lock);
	return got;
}

static void reader_give(struct cf_db *db, struct cf_db_tx *tx)
{
	pthread_mutex_lock(&db->readers_lock);
	tx->busy = false;
	pthread_cond_signal(&db->reader_back);
	pthread_mutex_unlock(&db->readers_lock);
}

/* Mostly whole tables are read, once: the kernel's cache is enough. */
static int reader_open(struct cf_db *db, struct cf_db_tx *tx, struct cf_err *err)
{
	int r = conn_open(db->path, SQLITE_OPEN_READONLY, tx, err);

	return r < 0 ? r
	             : run_script(tx->conn, "PRAGMA cache_size=-" CF_STR(READER_CACHE_KIB), err);
}

int cf_db_read(struct cf_db *db, cf_db_fn fn, void *user, struct cf_err *err)
{
	struct cf_db_tx *tx = reader_take(db);
	int r = tx->conn ? 0 : reader_open(db, tx, err);

	if (r == 0)
		r = cf_db_exec(tx, err, "BEGIN");
	if (r == 0) {
		struct cf_err end;

		r = fn(tx, user, err);
		if (cf_db_exec(tx, &end, "COMMIT") < 0)
			sqlite3_exec(tx->conn, "ROLLBACK", NULL, NULL, NULL);
	}
	reader_give(db, tx);
	return r;
}
