/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The door to SQLite: one file, one writer, durable when acknowledged.
 *
 * The database runs in WAL mode with synchronous=FULL: when cf_db_write() returns 0 the change
 * survives a power cut. One writer thread owns the writing connection and merges all mutations that
 * wait (at most CF_DB_GROUP_MAX of them or CF_DB_GROUP_MS of work) into one transaction, so that
 * many callers share one sync. Each mutation runs in a savepoint of its own: one that fails is
 * undone alone and the others of its group go on. Reads run on read-only connections beside it.
 *
 * Statements are static SQL texts with ? places; they are prepared once per connection and kept.
 * Texts and blobs are bound, never pasted.
 *
 *   static int put(struct cf_db_tx *tx, void *user, struct cf_err *err)
 *   {
 *           const struct thing *t = user;
 *
 *           return cf_db_exec(tx, err, "INSERT INTO thing(name, size) VALUES(?, ?)",
 *                             CF_DB_TEXT(t->name), CF_DB_INT(t->size));
 *   }
 *   r = cf_db_write(db, put, &thing, err);
 *
 *   cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
 *
 *   r = cf_db_query(tx, &rows, err, "SELECT name, size FROM thing WHERE size > ?", CF_DB_INT(9));
 *   while (r == 0 && (r = cf_db_next(&rows, err)) == CF_DB_ROW) {
 *           struct cf_view name = cf_db_col_view(&rows, 0);
 *           …
 *           r = 0;
 *   }
 *
 * Error codes: a UNIQUE or PRIMARY KEY conflict is ALREADY_EXISTS; any other broken constraint
 * FAILED_PRECONDITION; a full disk RESOURCE_EXHAUSTED; a damaged file DATA_LOSS; a lock held by
 * somebody else UNAVAILABLE; the rest INTERNAL.
 */
#include "base/bytes.h"

#define CF_DB_GROUP_MAX   64u   /* mutations in one transaction */
#define CF_DB_GROUP_MS    2u    /* … or this many milliseconds of them */
#define CF_DB_QUEUE_MAX   4096u /* waiting mutations; more are RESOURCE_EXHAUSTED */
#define CF_DB_STMT_MAX    128u  /* distinct SQL texts per connection (asserted) */
#define CF_DB_READERS_MAX 4u    /* concurrent reads; more wait */
#define CF_DB_BUSY_MS     5000u /* wait for a foreign process's lock */

struct cf_db;    /* any thread */
struct cf_db_tx; /* only inside the function that was given it */

struct cf_db_opts {
	const char *path; /* created 0600 when absent; its directory exists */
	/*
	 * @migrations[i] brings schema version i to i + 1 (user_version); each runs in one
	 * transaction. Never change one that was released. Before an existing file is migrated a
	 * copy is kept beside it as PATH.v<version>.
	 */
	const char *const *migrations;
	size_t migration_count;
	bool relaxed; /* synchronous=NORMAL: faster, the last moments may be lost on power cut */
	/* No quick_check: the caller reads all of it and knows by sums of its own what is missing. */
	bool is_checked_by_caller;
};

/*
 * Opens, checks (quick_check, or the caller) and migrates. -CF_DATA_LOSS: the file is damaged;
 * -CF_FAILED_PRECONDITION: made by a newer version of the program.
 */
cf_must_use int cf_db_open(const struct cf_db_opts *opts, struct cf_db **ret, struct cf_err *err);
/* Finishes what waits, then closes. No call may run or come any more. NULL is fine; returns NULL. */
struct cf_db *cf_db_close(struct cf_db *db);
CF_DEFINE_CLEANUP(struct cf_db *, cf_db_close);

/* A mutation or a reading. Return: 0 or negative; negative undoes what this call changed. */
typedef int (*cf_db_fn)(struct cf_db_tx *tx, void *user, struct cf_err *err);
/*
 * The end of a mutation, called on the writer thread after the commit (@r 0) or the failure, in the
 * order of the mutations. Short, never blocks, never calls cf_db_write().
 */
typedef void (*cf_db_done)(void *user, int r, const struct cf_err *err);

/* Runs @fn on the writer thread and returns when it is durable. Not from inside a cf_db_fn. */
cf_must_use int cf_db_write(struct cf_db *db, cf_db_fn fn, void *user, struct cf_err *err);
/*
 * Queues @fn; @done (may be NULL) always follows exactly once when 0 was returned.
 * -CF_RESOURCE_EXHAUSTED: CF_DB_QUEUE_MAX mutations wait; @done is not called then.
 */
cf_must_use int cf_db_write_async(struct cf_db *db, cf_db_fn fn, cf_db_done done, void *user,
                                  struct cf_err *err);
/* As cf_db_write(), and calls @done on the writer thread before it returns. */
cf_must_use int cf_db_write_done(struct cf_db *db, cf_db_fn fn, cf_db_done done, void *user,
                                 struct cf_err *err);
/* Runs @fn on this thread over a read-only connection, in one consistent view. */
cf_must_use int cf_db_read(struct cf_db *db, cf_db_fn fn, void *user, struct cf_err *err);

/* Since opening; for metrics. */
struct cf_db_stats {
	uint64_t commits;   /* transactions made durable */
	uint64_t mutations; /* in them */
	uint64_t commit_us; /* time spent in COMMIT, microseconds */
};
void cf_db_stats(struct cf_db *db, struct cf_db_stats *ret);

/* ---- statements ---- */

struct cf_db_arg {
	enum { CF_DBA_NULL, CF_DBA_TEXT, CF_DBA_BLOB, CF_DBA_INT } kind;
	struct cf_view v;
	int64_t i;
};
/* Borrowed until the statement's next run or its rows' end. CF_DB_TEXT(NULL) binds NULL. */
#define CF_DB_TEXT(s)      cf_db_arg_text(s)
#define CF_DB_TEXT_VIEW(x) ((struct cf_db_arg){ .kind = CF_DBA_TEXT, .v = (x) })
#define CF_DB_BLOB(x)      ((struct cf_db_arg){ .kind = CF_DBA_BLOB, .v = (x) })
#define CF_DB_INT(x)       ((struct cf_db_arg){ .kind = CF_DBA_INT, .i = (x) })
#define CF_DB_NULL         ((struct cf_db_arg){ .kind = CF_DBA_NULL })
static inline struct cf_db_arg cf_db_arg_text(const char *s)
{
	return (struct cf_db_arg){ .kind = s ? CF_DBA_TEXT : CF_DBA_NULL, .v = cf_view_str(s) };
}

struct cf_db_rows {
	void *stmt; /* NULL: nothing open */
	struct cf_db_tx *tx;
};
#define CF_DB_ROW 1

/* Runs a statement that gives no rows. @sql is static text. */
#define cf_db_exec(tx, err, sql, ...)                                                              \
	cf_db_exec_args((tx), (sql), (const struct cf_db_arg[]){ { 0 }, ##__VA_ARGS__ },           \
	                sizeof((const struct cf_db_arg[]){ { 0 }, ##__VA_ARGS__ }) /               \
	                                sizeof(struct cf_db_arg) -                                 \
	                        1,                                                                 \
	                (err))
/* Starts a statement with rows. The bound views stay valid until cf_db_rows_fini(). */
#define cf_db_query(tx, rows, err, sql, ...)                                                       \
	cf_db_query_args((tx), (rows), (sql), (const struct cf_db_arg[]){ { 0 }, ##__VA_ARGS__ },  \
	                 sizeof((const struct cf_db_arg[]){ { 0 }, ##__VA_ARGS__ }) /              \
	                                 sizeof(struct cf_db_arg) -                                \
	                         1,                                                                \
	                 (err))
cf_must_use int cf_db_exec_args(struct cf_db_tx *tx, const char *sql, const struct cf_db_arg *args,
                                size_t count, struct cf_err *err);
cf_must_use int cf_db_query_args(struct cf_db_tx *tx, struct cf_db_rows *ret, const char *sql,
                                 const struct cf_db_arg *args, size_t count, struct cf_err *err);
/* CF_DB_ROW: a row is there; 0: no more; negative. */
cf_must_use int cf_db_next(struct cf_db_rows *rows, struct cf_err *err);
/* Ends a query early or late; an empty one is fine. Works as a cf_cleanup(). */
void cf_db_rows_fini(struct cf_db_rows *rows);

/* Columns count from 0; views are borrowed until the next cf_db_next(). NULL reads as 0, empty. */
int64_t cf_db_col_int(const struct cf_db_rows *rows, int col);
struct cf_view cf_db_col_view(const struct cf_db_rows *rows, int col);
char *cf_db_col_dup(const struct cf_db_rows *rows,
                    int col); /* text; cut at a NUL; NULL for NULL; free it */
bool cf_db_col_is_null(const struct cf_db_rows *rows, int col);

int64_t cf_db_last_id(struct cf_db_tx *tx); /* rowid of the last INSERT */
int64_t cf_db_changes(struct cf_db_tx *tx); /* rows touched by the last statement */
