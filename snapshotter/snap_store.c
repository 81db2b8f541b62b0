/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_store.h"

#include "base/str.h"
#include "snapshotter/snap_index.h"
#include "snapshotter/snap_record.h"

#include <pthread.h>
#include <time.h>

static const char *const migrations[] = {
	"CREATE TABLE snapshot("
	" id INTEGER PRIMARY KEY AUTOINCREMENT," /* never used twice */
	" name TEXT NOT NULL UNIQUE,"
	" parent INTEGER REFERENCES snapshot(id),"         /* NULL: none */
	" kind INTEGER NOT NULL CHECK(kind IN (1, 2, 3))," /* view, active, committed */
	" flags INTEGER NOT NULL,"
	" created INTEGER NOT NULL, updated INTEGER NOT NULL," /* ns since 1970 */
	" size INTEGER NOT NULL, inodes INTEGER NOT NULL,"
	" ref TEXT,"              /* the label snapshot.ref */
	" labels BLOB NOT NULL);" /* key NUL value NUL … */
	"CREATE INDEX snapshot_parent ON snapshot(parent);"
	"CREATE INDEX snapshot_ref ON snapshot(ref, parent) WHERE ref IS NOT NULL;",
};

struct snap_store {
	struct cf_db *db;
	pthread_rwlock_t lock; /* the index; written by the database's writer thread alone */
	struct snap_index *index;
};

/* One mutation: what it found, and what it changes in the index once it is durable. */
struct change {
	struct snap_store *st;
	const void *in;
	int64_t take_id;         /* leaves the index; 0: none */
	struct snap_record *put; /* enters it */
	struct snap_record *took;
	bool flag;
};

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- rows ---- */

#define ROW                                                                                        \
	"SELECT s.id, s.parent, s.kind, s.flags, s.created, s.updated, s.size, s.inodes, s.name,"  \
	" p.name, s.labels FROM snapshot s LEFT JOIN snapshot p ON p.id = s.parent"

static bool labels_are_sound(struct cf_view v)
{
	size_t nuls = 0;

	for (size_t i = 0; i < v.size; i++)
		nuls += v.data[i] == 0;
	return nuls % 2 == 0 && (v.size == 0 || v.data[v.size - 1] == 0);
}

static int record_of_row(const struct cf_db_rows *row, struct snap_record **ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *name = cf_db_col_dup(row, 8);
	cf_cleanup(cf_freep) char *parent = cf_db_col_dup(row, 9);
	struct cf_view labels = cf_db_col_view(row, 10);
	struct snap_record head = {
		.id = cf_db_col_int(row, 0),
		.parent_id = cf_db_col_int(row, 1),
		.kind = (enum snap_kind)cf_db_col_int(row, 2),
		.flags = (unsigned)cf_db_col_int(row, 3),
		.created_ns = cf_db_col_int(row, 4),
		.updated_ns = cf_db_col_int(row, 5),
		.size = cf_db_col_int(row, 6),
		.inodes = cf_db_col_int(row, 7),
	};

	if (!name || !labels_are_sound(labels))
		return cf_fail(err, CF_DATA_LOSS, "record %lld is damaged", (long long)head.id);
	*ret = snap_record_new(&head, name, parent ? parent : "", labels);
	return 0;
}

/* *ret NULL: there is none. */
static int row_get(struct cf_db_tx *tx, const char *name, struct snap_record **ret,
                   struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query(tx, &rows, err, ROW " WHERE s.name = ?", CF_DB_TEXT(name));

	*ret = NULL;
	if (r == 0)
		r = cf_db_next(&rows, err);
	return r == CF_DB_ROW ? record_of_row(&rows, ret, err) : r;
}

static int row_exists(struct cf_db_tx *tx, const char *name, bool *ret, struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query(tx, &rows, err, "SELECT 1 FROM snapshot WHERE name = ?",
	                    CF_DB_TEXT(name));

	if (r == 0)
		r = cf_db_next(&rows, err);
	*ret = r == CF_DB_ROW;
	return r < 0 ? r : 0;
}

static int next_id(struct cf_db_tx *tx, int64_t *ret, struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query(tx, &rows, err,
	                    "SELECT seq FROM sqlite_sequence WHERE name = 'snapshot'");

	if (r == 0)
		r = cf_db_next(&rows, err);
	*ret = r == CF_DB_ROW ? cf_db_col_int(&rows, 0) + 1 : 1;
	return r < 0 ? r : 0;
}

static int row_put(struct cf_db_tx *tx, const struct snap_record *rec, struct cf_view labels,
                   struct cf_err *err)
{
	const char *ref =
		rec->kind == SNAP_COMMITTED ? snap_record_label(rec, SNAP_LABEL_REF) : NULL;
	struct cf_db_arg parent = rec->parent_id ? CF_DB_INT(rec->parent_id) : CF_DB_NULL;

	return cf_db_exec(tx, err,
	                  "INSERT INTO snapshot(id, name, parent, kind, flags, created,"
	                  " updated, size, inodes, ref, labels)"
	                  " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	                  CF_DB_INT(rec->id), CF_DB_TEXT(rec->name), parent, CF_DB_INT(rec->kind),
	                  CF_DB_INT(rec->flags), CF_DB_INT(rec->created_ns),
	                  CF_DB_INT(rec->updated_ns), CF_DB_INT(rec->size), CF_DB_INT(rec->inodes),
	                  CF_DB_TEXT(ref), CF_DB_BLOB(labels));
}

static int row_update(struct cf_db_tx *tx, const struct snap_record *rec, struct cf_view labels,
                      struct cf_err *err)
{
	const char *ref =
		rec->kind == SNAP_COMMITTED ? snap_record_label(rec, SNAP_LABEL_REF) : NULL;
	struct cf_db_arg parent = rec->parent_id ? CF_DB_INT(rec->parent_id) : CF_DB_NULL;

	return cf_db_exec(tx, err,
	                  "UPDATE snapshot SET name = ?, parent = ?, kind = ?, flags = ?,"
	                  " created = ?, updated = ?, size = ?, inodes = ?, ref = ?, labels = ?"
	                  " WHERE id = ?",
	                  CF_DB_TEXT(rec->name), parent, CF_DB_INT(rec->kind),
	                  CF_DB_INT(rec->flags), CF_DB_INT(rec->created_ns),
	                  CF_DB_INT(rec->updated_ns), CF_DB_INT(rec->size), CF_DB_INT(rec->inodes),
	                  CF_DB_TEXT(ref), CF_DB_BLOB(labels), CF_DB_INT(rec->id));
}

/* ---- the index follows what is durable; database's writer thread ---- */

static void apply(void *user, int r, const struct cf_err *err)
{
	struct change *c = user;

	(void)err;
	if (r < 0 || (!c->take_id && !c->put))
		return;
	pthread_rwlock_wrlock(&c->st->lock);
	if (c->take_id)
		c->took = snap_index_take(c->st->index, c->take_id);
	if (c->put)
		snap_index_add(c->st->index, snap_record_ref(c->put));
	pthread_rwlock_unlock(&c->st->lock);
}

static void change_fini(struct change *c)
{
	snap_record_unref(c->put);
	snap_record_unref(c->took);
}

/* ---- adding ---- */

static int check_key(const char *key, const char *what, struct cf_err *err)
{
	if (!key[0] || strlen(key) > SNAP_KEY_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s must have 1 to %u bytes", what,
		               SNAP_KEY_MAX);
	return 0;
}

/* *ret_id 0 for "". */
static int parent_id(struct cf_db_tx *tx, const char *parent, enum cf_code not_committed,
                     int64_t *ret_id, struct cf_err *err)
{
	cf_cleanup(snap_record_unrefp) struct snap_record *p = NULL;

	*ret_id = 0;
	if (!parent[0])
		return 0;
	int r = row_get(tx, parent, &p, err);

	if (r < 0)
		return r;
	if (!p)
		return cf_fail(err, CF_NOT_FOUND, "parent snapshot %s does not exist", parent);
	if (p->kind != SNAP_COMMITTED)
		return cf_fail(err, not_committed, "parent snapshot %s is not committed", parent);
	*ret_id = p->id;
	return 0;
}

static struct snap_record *make(struct snap_record head, const char *name, const char *parent,
                                const struct snap_labels *labels, struct cf_buf *encoded)
{
	encoded->max = SNAP_LABELS_BYTES_MAX;
	snap_labels_encode(labels, encoded);
	return snap_record_new(&head, name, parent, cf_buf_view(encoded));
}

static int insert(struct cf_db_tx *tx, struct change *c, struct snap_record head, const char *name,
                  const char *parent, const struct snap_labels *labels, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf encoded = { 0 };

	head.created_ns = head.updated_ns = now_ns();
	c->put = make(head, name, parent, labels, &encoded);
	return row_put(tx, c->put, cf_buf_view(&encoded), err);
}

static int do_add(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	struct change *c = user;
	const struct snap_new *in = c->in;
	struct snap_record head = { .kind = in->kind, .flags = in->flags };
	bool exists;
	int r = parent_id(tx, in->parent, CF_INVALID_ARGUMENT, &head.parent_id, err);

	if (r == 0)
		r = row_exists(tx, in->key, &exists, err);
	if (r < 0)
		return r;
	if (exists)
		return cf_fail(err, CF_ALREADY_EXISTS, "snapshot %s already exists", in->key);
	r = next_id(tx, &head.id, err);
	return r < 0 ? r : insert(tx, c, head, in->key, in->parent, in->labels, err);
}

int snap_store_add(struct snap_store *st, const struct snap_new *in, struct snap_record **ret,
                   struct cf_err *err)
{
	cf_cleanup(change_fini) struct change c = { .st = st, .in = in };
	int r = check_key(in->key, "key", err);

	if (r == 0)
		r = cf_db_write_done(st->db, do_add, apply, &c, err);
	if (r == 0)
		*ret = cf_take(&c.put);
	return r;
}

struct layer_in {
	const char *ref, *parent;
	const struct snap_labels *labels;
};

static int ref_exists(struct cf_db_tx *tx, const char *ref, int64_t parent, bool *ret,
                      struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	struct cf_db_arg p = parent ? CF_DB_INT(parent) : CF_DB_NULL;
	int r = cf_db_query(tx, &rows, err, "SELECT 1 FROM snapshot WHERE ref = ? AND parent IS ?",
	                    CF_DB_TEXT(ref), p);

	if (r == 0)
		r = cf_db_next(&rows, err);
	*ret = r == CF_DB_ROW;
	return r < 0 ? r : 0;
}

static int do_add_layer(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	struct change *c = user;
	const struct layer_in *in = c->in;
	struct snap_record head = { .kind = SNAP_COMMITTED, .flags = SNAP_GUEST_PULL };
	bool known = false, taken = false;
	int r = parent_id(tx, in->parent, CF_INVALID_ARGUMENT, &head.parent_id, err);

	if (r == 0)
		r = ref_exists(tx, in->ref, head.parent_id, &known, err);
	if (r < 0 || known)
		return r;
	r = row_exists(tx, in->ref, &taken, err);
	if (r == 0)
		r = next_id(tx, &head.id, err);
	if (r < 0)
		return r;
	cf_cleanup(cf_freep) char *name =
		taken ? cf_asprintf("%s#%lld", in->ref, (long long)head.id) : cf_strdup(in->ref);

	c->flag = true;
	return insert(tx, c, head, name, in->parent, in->labels, err);
}

int snap_store_add_layer(struct snap_store *st, const char *ref, const char *parent,
                         const struct snap_labels *labels, bool *ret_is_new, struct cf_err *err)
{
	struct layer_in in = { ref, parent, labels };
	cf_cleanup(change_fini) struct change c = { .st = st, .in = &in };
	int r = check_key(ref, SNAP_LABEL_REF, err);

	if (r == 0)
		r = cf_db_write_done(st->db, do_add_layer, apply, &c, err);
	if (r == 0)
		*ret_is_new = c.flag;
	return r;
}

static void now_text(char out[32])
{
	time_t t = time(NULL);
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static int do_take_up(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	struct change *c = user;
	const char *name = c->in;
	struct snap_record head = { .kind = SNAP_COMMITTED, .flags = SNAP_GUEST_PULL };
	cf_cleanup(snap_labels_fini) struct snap_labels labels = { 0 };
	char when[32];
	bool exists;
	int r = row_exists(tx, name, &exists, err);

	if (r < 0 || exists)
		return r;
	now_text(when);
	r = snap_labels_set(&labels, SNAP_LABEL_PROXY_MODE, "true", err);
	if (r == 0)
		r = snap_labels_set(&labels, SNAP_LABEL_TAKEN_UP, when, err);
	if (r == 0)
		r = next_id(tx, &head.id, err);
	c->flag = true;
	return r < 0 ? r : insert(tx, c, head, name, "", &labels, err);
}

int snap_store_take_up(struct snap_store *st, const char *name, bool *ret_is_new,
                       struct cf_err *err)
{
	cf_cleanup(change_fini) struct change c = { .st = st, .in = name };
	int r = check_key(name, "name", err);

	if (r == 0)
		r = cf_db_write_done(st->db, do_take_up, apply, &c, err);
	if (r == 0)
		*ret_is_new = c.flag;
	return r;
}

/* ---- commit ---- */

/* The parent that a commit brings with it, where the active one had none. */
static int rebase(struct cf_db_tx *tx, const struct snap_commit *in, struct snap_record *head,
                  const char **parent, struct cf_err *err)
{
	if (!in->parent || !in->parent[0] || cf_streq(in->parent, *parent))
		return 0;
	if ((*parent)[0])
		return cf_fail(err, CF_INVALID_ARGUMENT, "snapshot %s has another parent already",
		               in->key);
	*parent = in->parent;
	return parent_id(tx, in->parent, CF_FAILED_PRECONDITION, &head->parent_id, err);
}

static int check_commit(struct cf_db_tx *tx, const struct snap_commit *in,
                        const struct snap_record *key, struct cf_err *err)
{
	bool taken;

	if (!key)
		return cf_fail(err, CF_NOT_FOUND, "snapshot %s does not exist", in->key);
	int r = row_exists(tx, in->name, &taken, err);

	if (r < 0)
		return r;
	if (taken)
		return cf_fail(err, CF_ALREADY_EXISTS, "snapshot %s already exists", in->name);
	if (key->kind != SNAP_ACTIVE)
		return cf_fail(err, CF_FAILED_PRECONDITION, "snapshot %s is not active", in->key);
	return 0;
}

static int replace(struct cf_db_tx *tx, struct change *c, const struct snap_record *head,
                   const char *name, const char *parent, const struct snap_labels *labels,
                   struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf encoded = { 0 };

	c->take_id = head->id;
	c->put = make(*head, name, parent, labels, &encoded);
	return row_update(tx, c->put, cf_buf_view(&encoded), err);
}

static int do_commit(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	struct change *c = user;
	const struct snap_commit *in = c->in;
	cf_cleanup(snap_record_unrefp) struct snap_record *key = NULL;
	int r = row_get(tx, in->key, &key, err);

	if (r == 0)
		r = check_commit(tx, in, key, err);
	if (r < 0)
		return r;
	const char *parent = key->parent;
	struct snap_record head = {
		.id = key->id,
		.parent_id = key->parent_id,
		.kind = SNAP_COMMITTED,
		.flags = (key->flags & ~in->flags_del) | in->flags_add,
		.created_ns = now_ns(),
		.size = in->size,
		.inodes = in->inodes,
	};

	head.updated_ns = head.created_ns;
	r = rebase(tx, in, &head, &parent, err);
	return r < 0 ? r : replace(tx, c, &head, in->name, parent, in->labels, err);
}

int snap_store_commit(struct snap_store *st, const struct snap_commit *in, struct cf_err *err)
{
	cf_cleanup(change_fini) struct change c = { .st = st, .in = in };
	int r = check_key(in->name, "name", err);

	return r < 0 ? r : cf_db_write_done(st->db, do_commit, apply, &c, err);
}

/* ---- remove ---- */

static int has_children(struct cf_db_tx *tx, int64_t id, bool *ret, struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query(tx, &rows, err, "SELECT 1 FROM snapshot WHERE parent = ? LIMIT 1",
	                    CF_DB_INT(id));

	if (r == 0)
		r = cf_db_next(&rows, err);
	*ret = r == CF_DB_ROW;
	return r < 0 ? r : 0;
}

static int do_remove(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	struct change *c = user;
	const char *key = c->in;
	cf_cleanup(snap_record_unrefp) struct snap_record *rec = NULL;
	bool parented = false;
	int r = row_get(tx, key, &rec, err);

	if (r < 0)
		return r;
	if (!rec)
		return cf_fail(err, CF_NOT_FOUND, "snapshot %s does not exist", key);
	r = has_children(tx, rec->id, &parented, err);
	if (r < 0)
		return r;
	/* containerd's suite looks for the word "remove". */
	if (parented)
		return cf_fail(err, CF_FAILED_PRECONDITION,
		               "cannot remove snapshot %s: another one has it as parent", key);
	c->take_id = rec->id;
	return cf_db_exec(tx, err, "DELETE FROM snapshot WHERE id = ?", CF_DB_INT(rec->id));
}

int snap_store_remove(struct snap_store *st, const char *key, struct snap_record **ret,
                      struct cf_err *err)
{
	cf_cleanup(change_fini) struct change c = { .st = st, .in = key };
	int r = cf_db_write_done(st->db, do_remove, apply, &c, err);

	if (r == 0)
		*ret = cf_take(&c.took);
	return r;
}

/* ---- update ---- */

struct update_in {
	const char *key;
	const struct snap_labels *labels;
	char *const *paths;
	size_t path_count;
};

static int copy_labels(const struct snap_label *from, size_t count, struct snap_labels *to,
                       struct cf_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++)
		r = snap_labels_set(to, from[i].key, from[i].value, err);
	return r;
}

static int apply_path(const struct update_in *in, const char *path, struct snap_labels *labels,
                      struct cf_err *err)
{
	const char *key = cf_after(path, "labels.");

	if (cf_streq(path, "labels")) {
		snap_labels_fini(labels);
		return copy_labels(in->labels->items, in->labels->count, labels, err);
	}
	if (!key || !key[0])
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "cannot update %s of snapshot %s: only labels change", path,
		               in->key);
	const char *value = snap_labels_get(in->labels, key);

	return snap_labels_set(labels, key, value ? value : "", err);
}

static int new_labels(const struct update_in *in, const struct snap_record *rec,
                      struct snap_labels *ret, struct cf_err *err)
{
	if (in->path_count == 0)
		return copy_labels(in->labels->items, in->labels->count, ret, err);
	int r = copy_labels(rec->labels, rec->label_count, ret, err);

	for (size_t i = 0; r == 0 && i < in->path_count; i++)
		r = apply_path(in, in->paths[i], ret, err);
	return r;
}

static int do_update(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	struct change *c = user;
	const struct update_in *in = c->in;
	cf_cleanup(snap_record_unrefp) struct snap_record *rec = NULL;
	cf_cleanup(snap_labels_fini) struct snap_labels labels = { 0 };
	int r = row_get(tx, in->key, &rec, err);

	if (r < 0)
		return r;
	if (!rec)
		return cf_fail(err, CF_NOT_FOUND, "snapshot %s does not exist", in->key);
	r = new_labels(in, rec, &labels, err);
	if (r < 0)
		return r;
	rec->updated_ns = now_ns();
	return replace(tx, c, rec, rec->name, rec->parent, &labels, err);
}

int snap_store_update(struct snap_store *st, const char *key, const struct snap_labels *labels,
                      char *const *paths, size_t path_count, struct snap_record **ret,
                      struct cf_err *err)
{
	struct update_in in = { key, labels, paths, path_count };
	cf_cleanup(change_fini) struct change c = { .st = st, .in = &in };
	int r = cf_db_write_done(st->db, do_update, apply, &c, err);

	if (r == 0)
		*ret = cf_take(&c.put);
	return r;
}

/* ---- taking over ---- */

struct import_in {
	struct snap_store *st;
	const struct snap_store_import *rows;
	struct snap_record **made;
	size_t count;
	int64_t last_id;
};

static int import_row(struct cf_db_tx *tx, struct import_in *in, size_t i, struct cf_err *err)
{
	const struct snap_store_import *row = &in->rows[i];
	cf_cleanup(cf_buf_fini) struct cf_buf encoded = { 0 };

	in->made[i] = make(row->head, row->name, row->parent, row->labels, &encoded);
	int r = cf_buf_check(&encoded, "labels", err);

	return r < 0 ? r : row_put(tx, in->made[i], cf_buf_view(&encoded), err);
}

static int do_import(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	struct import_in *in = user;
	int r = 0;

	for (size_t i = 0; r == 0 && i < in->count; i++)
		r = import_row(tx, in, i, err);
	if (r == 0)
		r = cf_db_exec(tx, err, "DELETE FROM sqlite_sequence WHERE name = 'snapshot'");
	if (r == 0)
		r = cf_db_exec(tx, err,
		               "INSERT INTO sqlite_sequence(name, seq) VALUES('snapshot',"
		               " max(?, (SELECT coalesce(max(id), 0) FROM snapshot)))",
		               CF_DB_INT(in->last_id));
	return r;
}

static void import_done(void *user, int r, const struct cf_err *err)
{
	struct import_in *in = user;

	(void)err;
	if (r < 0)
		return;
	pthread_rwlock_wrlock(&in->st->lock);
	for (size_t i = 0; i < in->count; i++)
		snap_index_add(in->st->index, snap_record_ref(in->made[i]));
	pthread_rwlock_unlock(&in->st->lock);
}

int snap_store_import(struct snap_store *st, const struct snap_store_import *rows, size_t count,
                      int64_t last_id, struct cf_err *err)
{
	struct import_in in = { .st = st,
		                .rows = rows,
		                .made = cf_zalloc_n(count + 1, sizeof(in.made[0])),
		                .count = count,
		                .last_id = last_id };
	int r = cf_db_write_done(st->db, do_import, import_done, &in, err);

	for (size_t i = 0; i < count; i++)
		snap_record_unref(in.made[i]);
	free(in.made);
	return r;
}

static int never_used(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query(tx, &rows, err,
	                    "SELECT 1 FROM sqlite_sequence WHERE name = 'snapshot'");

	if (r == 0)
		r = cf_db_next(&rows, err);
	*(bool *)user = r == 0;
	return r < 0 ? r : 0;
}

int snap_store_is_new(struct snap_store *st, bool *ret, struct cf_err *err)
{
	return cf_db_read(st->db, never_used, ret, err);
}

/* ---- reading ---- */

struct snap_record *snap_store_get(struct snap_store *st, const char *name)
{
	pthread_rwlock_rdlock(&st->lock);
	struct snap_record *rec = snap_index_get(st->index, name);

	if (rec)
		snap_record_ref(rec);
	pthread_rwlock_unlock(&st->lock);
	return rec;
}

struct snap_record *snap_store_find_ref(struct snap_store *st, const char *ref, const char *parent)
{
	pthread_rwlock_rdlock(&st->lock);
	struct snap_record *rec = snap_index_find_ref(st->index, ref, parent);

	if (rec)
		snap_record_ref(rec);
	pthread_rwlock_unlock(&st->lock);
	return rec;
}

void snap_list_fini(struct snap_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		snap_record_unref(l->items[i]);
	free(l->items);
	*l = (struct snap_list){ 0 };
}

static void list_add(struct snap_record *rec, void *user)
{
	struct snap_list *l = user;

	cf_grow(&l->items, &l->cap, l->count + 1);
	l->items[l->count++] = snap_record_ref(rec);
}

void snap_store_list(struct snap_store *st, struct snap_list *ret)
{
	pthread_rwlock_rdlock(&st->lock);
	snap_index_each(st->index, list_add, ret);
	pthread_rwlock_unlock(&st->lock);
}

void snap_store_chain(struct snap_store *st, const struct snap_record *rec, struct snap_list *ret)
{
	pthread_rwlock_rdlock(&st->lock);
	struct snap_record *p =
		rec->parent_id ? snap_index_get_id(st->index, rec->parent_id) : NULL;

	while (p && ret->count < SNAP_CHAIN_MAX) {
		list_add(p, ret);
		p = p->parent_id ? snap_index_get_id(st->index, p->parent_id) : NULL;
	}
	pthread_rwlock_unlock(&st->lock);
}

bool snap_store_has_id(struct snap_store *st, int64_t id)
{
	pthread_rwlock_rdlock(&st->lock);
	bool there = snap_index_get_id(st->index, id) != NULL;

	pthread_rwlock_unlock(&st->lock);
	return there;
}

size_t snap_store_count(struct snap_store *st)
{
	pthread_rwlock_rdlock(&st->lock);
	size_t n = snap_index_count(st->index);

	pthread_rwlock_unlock(&st->lock);
	return n;
}

void snap_store_stats(struct snap_store *st, struct cf_db_stats *ret)
{
	cf_db_stats(st->db, ret);
}

/* ---- life ---- */

static int load(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	struct snap_store *st = user;
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query(tx, &rows, err, ROW);

	while (r == 0 && (r = cf_db_next(&rows, err)) == CF_DB_ROW) {
		struct snap_record *rec = NULL;

		r = record_of_row(&rows, &rec, err);
		if (r == 0)
			snap_index_add(st->index, rec);
	}
	return r;
}

int snap_store_open(const char *path, bool relaxed, struct snap_store **ret, struct cf_err *err)
{
	cf_cleanup(snap_store_closep) struct snap_store *st = cf_zalloc(sizeof(*st));
	struct cf_db_opts opts = { .path = path,
		                   .migrations = migrations,
		                   .migration_count = CF_ARRAY_LEN(migrations),
		                   .relaxed = relaxed };

	pthread_rwlock_init(&st->lock, NULL);
	st->index = snap_index_new();
	int r = cf_db_open(&opts, &st->db, err);

	if (r == 0)
		r = cf_db_read(st->db, load, st, err);
	if (r < 0)
		return r;
	*ret = cf_take(&st);
	return 0;
}

struct snap_store *snap_store_close(struct snap_store *st)
{
	if (!st)
		return NULL;
	cf_db_close(st->db);
	snap_index_free(st->index);
	pthread_rwlock_destroy(&st->lock);
	free(st);
	return NULL;
}
