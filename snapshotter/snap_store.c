/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_store.h"

#include "base/str.h"
#include "snapshotter/snap_index.h"
#include "snapshotter/snap_load.h"
#include "snapshotter/snap_record.h"
#include "snapshotter/snap_rows.h"

#include <assert.h>
#include <pthread.h>
#include <time.h>

/* One mutation: what it replaces, and what enters the index once it is durable. */
struct change {
	struct snap_store *st;
	const void *in;
	struct snap_record *old; /* leaves the index, or is replaced; NULL: none */
	struct snap_record *put; /* NULL: none */
	bool flag;
};

struct snap_store {
	struct cf_db *db;
	pthread_rwlock_t lock; /* the index; written by the database's writer thread alone */
	struct snap_index *index;

	/* The writer thread's alone: */
	const struct change
		*pending[CF_DB_GROUP_MAX]; /* written in this transaction, not durable */
	size_t pending_count;
	struct snap_rows_total total; /* with what is pending */
};

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/*
 * ---- what mutations see: the index, and over it what their own transaction has changed ----
 *
 * All of this runs on the database's writer thread, which alone writes the index: it may read it
 * without the lock. Records are borrowed.
 */

static struct snap_record *find(const struct snap_store *st, const char *name)
{
	for (size_t i = st->pending_count; i-- > 0;) {
		const struct change *c = st->pending[i];

		if (c->put && cf_streq(c->put->name, name))
			return c->put;
		if (c->old && cf_streq(c->old->name, name))
			return NULL;
	}
	return snap_index_get(st->index, name);
}

static bool is_layer(const struct snap_record *rec, const char *ref, const char *parent)
{
	return rec->kind == SNAP_COMMITTED && cf_streq(rec->parent, parent) &&
	       cf_streq(snap_record_label(rec, SNAP_LABEL_REF), ref);
}

static bool has_layer(const struct snap_store *st, const char *ref, const char *parent)
{
	const struct snap_record *known = snap_index_find_ref(st->index, ref, parent);

	for (size_t i = st->pending_count; i-- > 0;) {
		const struct change *c = st->pending[i];

		if (c->put && is_layer(c->put, ref, parent))
			return true;
		if (c->old && c->old == known)
			known = NULL;
	}
	return known != NULL;
}

static bool has_children(const struct snap_store *st, int64_t id)
{
	size_t more = snap_index_children(st->index, id), fewer = 0;

	for (size_t i = 0; i < st->pending_count; i++) {
		more += st->pending[i]->put && st->pending[i]->put->parent_id == id;
		fewer += st->pending[i]->old && st->pending[i]->old->parent_id == id;
	}
	return more > fewer;
}

/* Ids are never used twice, not even one whose change was undone. */
static int64_t next_id(struct snap_store *st)
{
	return st->total.next++;
}

static void add_to_total(struct change *c, int sign)
{
	struct snap_rows_total *t = &c->st->total;

	t->count += sign * ((c->put != NULL) - (c->old != NULL));
	t->sum ^= (c->put ? c->put->sum : 0) ^ (c->old ? c->old->sum : 0);
}

/* The last step of a mutation: its row is written, and nothing but this can fail. */
static int pend(struct cf_db_tx *tx, struct change *c, struct cf_err *err)
{
	struct snap_store *st = c->st;

	assert(st->pending_count < CF_DB_GROUP_MAX);
	add_to_total(c, 1);
	int r = snap_rows_put_total(tx, &st->total, err);

	if (r < 0)
		add_to_total(c, -1);
	else
		st->pending[st->pending_count++] = c;
	return r;
}

/* Whether it was pending. */
static bool unpend(struct change *c)
{
	struct snap_store *st = c->st;
	size_t to = 0, had = st->pending_count;

	for (size_t i = 0; i < had; i++)
		if (st->pending[i] != c)
			st->pending[to++] = st->pending[i];
	st->pending_count = to;
	return to < had;
}

/* The index follows what is durable. */
static void apply(void *user, int r, const struct cf_err *err)
{
	struct change *c = user;
	struct snap_store *st = c->st;
	struct snap_record *out = NULL;

	(void)err;
	if (!unpend(c))
		return; /* it failed, or there was nothing to change */
	if (r < 0) {
		add_to_total(c, -1);
		return;
	}
	pthread_rwlock_wrlock(&st->lock);
	if (c->old && c->put)
		snap_index_swap(st->index, snap_record_ref(c->put), &out);
	else if (c->old)
		out = snap_index_take(st->index, c->old->id);
	else
		snap_index_add(st->index, snap_record_ref(c->put));
	pthread_rwlock_unlock(&st->lock);
	snap_record_unref(out);
}

static void change_fini(struct change *c)
{
	snap_record_unref(c->put);
	snap_record_unref(c->old);
}

/* ---- adding ---- */

static void stand_on(struct snap_record *head, const struct snap_record *parent)
{
	head->parent_id = parent->id;
	head->parent_hash = snap_rows_hash(cf_view_str(parent->name));
}

static int check_key(const char *key, const char *what, struct cf_err *err)
{
	if (!key[0] || strlen(key) > SNAP_KEY_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s must have 1 to %u bytes", what,
		               SNAP_KEY_MAX);
	return 0;
}

/* Notes in @head who @parent is; "" is nobody. */
static int find_parent(const struct snap_store *st, const char *parent, enum cf_code not_committed,
                       struct snap_record *head, struct cf_err *err)
{
	if (!parent[0])
		return 0;
	const struct snap_record *p = find(st, parent);

	if (!p)
		return cf_fail(err, CF_NOT_FOUND, "parent snapshot %s does not exist", parent);
	if (p->kind != SNAP_COMMITTED)
		return cf_fail(err, not_committed, "parent snapshot %s is not committed", parent);
	stand_on(head, p);
	return 0;
}

static int make(const struct snap_record *head, const char *name, const char *parent,
                const struct snap_labels *labels, struct snap_record **ret, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf encoded = { .max = SNAP_LABELS_BYTES_MAX };

	snap_labels_encode(labels, name, &encoded);
	int r = cf_buf_check(&encoded, "labels", err);

	if (r < 0)
		return r;
	*ret = snap_record_new(head, cf_view_str(name), parent, cf_buf_view(&encoded), NULL);
	return 0;
}

/* The record that takes the place of c->old, where there is one. */
static int put(struct cf_db_tx *tx, struct change *c, const struct snap_record *head,
               const char *name, const char *parent, const struct snap_labels *labels,
               struct cf_err *err)
{
	int r = make(head, name, parent, labels, &c->put, err);

	if (r == 0 && c->old && !cf_streq(name, c->old->name))
		r = snap_rows_delete(tx, c->old, err);
	if (r == 0)
		r = snap_rows_put(tx, c->put, err);
	return r < 0 ? r : pend(tx, c, err);
}

static int insert(struct cf_db_tx *tx, struct change *c, struct snap_record head, const char *name,
                  const char *parent, const struct snap_labels *labels, struct cf_err *err)
{
	head.created_ns = head.updated_ns = now_ns();
	return put(tx, c, &head, name, parent, labels, err);
}

static int do_add(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	struct change *c = user;
	const struct snap_new *in = c->in;
	struct snap_record head = { .kind = in->kind, .flags = in->flags };
	int r = find_parent(c->st, in->parent, CF_INVALID_ARGUMENT, &head, err);

	if (r < 0)
		return r;
	if (find(c->st, in->key))
		return cf_fail(err, CF_ALREADY_EXISTS, "snapshot %s already exists", in->key);
	head.id = next_id(c->st);
	return insert(tx, c, head, in->key, in->parent, in->labels, err);
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

static int do_add_layer(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	struct change *c = user;
	const struct layer_in *in = c->in;
	struct snap_record head = { .kind = SNAP_COMMITTED, .flags = SNAP_GUEST_PULL };
	int r = find_parent(c->st, in->parent, CF_INVALID_ARGUMENT, &head, err);

	if (r < 0 || has_layer(c->st, in->ref, in->parent))
		return r;
	head.id = next_id(c->st);
	cf_cleanup(cf_freep) char *name =
		find(c->st, in->ref) ? cf_asprintf("%s#%lld", in->ref, (long long)head.id)
				     : cf_strdup(in->ref);

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

	if (find(c->st, name))
		return 0;
	now_text(when);
	int r = snap_labels_set(&labels, SNAP_LABEL_PROXY_MODE, "true", err);
	if (r == 0)
		r = snap_labels_set(&labels, SNAP_LABEL_TAKEN_UP, when, err);
	head.id = next_id(c->st);
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
static int rebase(const struct snap_store *st, const struct snap_commit *in,
                  struct snap_record *head, const char **parent, struct cf_err *err)
{
	if (!in->parent || !in->parent[0] || cf_streq(in->parent, *parent))
		return 0;
	if ((*parent)[0])
		return cf_fail(err, CF_INVALID_ARGUMENT, "snapshot %s has another parent already",
		               in->key);
	*parent = in->parent;
	return find_parent(st, in->parent, CF_FAILED_PRECONDITION, head, err);
}

static int check_commit(const struct snap_store *st, const struct snap_commit *in,
                        const struct snap_record *key, struct cf_err *err)
{
	if (!key)
		return cf_fail(err, CF_NOT_FOUND, "snapshot %s does not exist", in->key);
	if (find(st, in->name))
		return cf_fail(err, CF_ALREADY_EXISTS, "snapshot %s already exists", in->name);
	if (key->kind != SNAP_ACTIVE)
		return cf_fail(err, CF_FAILED_PRECONDITION, "snapshot %s is not active", in->key);
	return 0;
}

static int do_commit(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	struct change *c = user;
	const struct snap_commit *in = c->in;
	struct snap_record *key = find(c->st, in->key);
	int r = check_commit(c->st, in, key, err);

	if (r < 0)
		return r;
	c->old = snap_record_ref(key);
	const char *parent = key->parent;
	struct snap_record head = {
		.id = key->id,
		.parent_id = key->parent_id,
		.parent_hash = key->parent_hash,
		.kind = SNAP_COMMITTED,
		.flags = (key->flags & ~in->flags_del) | in->flags_add,
		.created_ns = now_ns(),
		.size = in->size,
		.inodes = in->inodes,
	};

	head.updated_ns = head.created_ns;
	r = rebase(c->st, in, &head, &parent, err);
	return r < 0 ? r : put(tx, c, &head, in->name, parent, in->labels, err);
}

int snap_store_commit(struct snap_store *st, const struct snap_commit *in, struct cf_err *err)
{
	cf_cleanup(change_fini) struct change c = { .st = st, .in = in };
	int r = check_key(in->name, "name", err);

	return r < 0 ? r : cf_db_write_done(st->db, do_commit, apply, &c, err);
}

/* ---- remove ---- */

static int do_remove(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	struct change *c = user;
	const char *key = c->in;
	struct snap_record *rec = find(c->st, key);

	if (!rec)
		return cf_fail(err, CF_NOT_FOUND, "snapshot %s does not exist", key);
	/* containerd's suite looks for the word "remove". */
	if (has_children(c->st, rec->id))
		return cf_fail(err, CF_FAILED_PRECONDITION,
		               "cannot remove snapshot %s: another one has it as parent", key);
	c->old = snap_record_ref(rec);
	int r = snap_rows_delete(tx, rec, err);

	return r < 0 ? r : pend(tx, c, err);
}

int snap_store_remove(struct snap_store *st, const char *key, struct snap_record **ret,
                      struct cf_err *err)
{
	cf_cleanup(change_fini) struct change c = { .st = st, .in = key };
	int r = cf_db_write_done(st->db, do_remove, apply, &c, err);

	if (r == 0)
		*ret = cf_take(&c.old);
	return r;
}

/* ---- update ---- */

struct update_in {
	const char *key;
	const struct snap_labels *labels;
	char *const *paths;
	size_t path_count;
};

static int copy_labels(const struct snap_labels *from, struct snap_labels *to, struct cf_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < from->count; i++)
		r = snap_labels_set(to, from->items[i].key, from->items[i].value, err);
	return r;
}

static int apply_path(const struct update_in *in, const char *path, struct snap_labels *labels,
                      struct cf_err *err)
{
	const char *key = cf_after(path, "labels.");

	if (cf_streq(path, "labels")) {
		snap_labels_fini(labels);
		return copy_labels(in->labels, labels, err);
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
		return copy_labels(in->labels, ret, err);
	int r = snap_labels_decode(rec->labels, rec->name, ret, err);

	for (size_t i = 0; r == 0 && i < in->path_count; i++)
		r = apply_path(in, in->paths[i], ret, err);
	return r;
}

static int do_update(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	struct change *c = user;
	const struct update_in *in = c->in;
	cf_cleanup(snap_labels_fini) struct snap_labels labels = { 0 };
	struct snap_record *rec = find(c->st, in->key);

	if (!rec)
		return cf_fail(err, CF_NOT_FOUND, "snapshot %s does not exist", in->key);
	int r = new_labels(in, rec, &labels, err);

	if (r < 0)
		return r;
	c->old = snap_record_ref(rec);
	struct snap_record head = {
		.id = rec->id,
		.parent_id = rec->parent_id,
		.parent_hash = rec->parent_hash,
		.kind = rec->kind,
		.flags = rec->flags,
		.created_ns = rec->created_ns,
		.updated_ns = now_ns(),
		.size = rec->size,
		.inodes = rec->inodes,
	};

	return put(tx, c, &head, rec->name, rec->parent, &labels, err);
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
	struct snap_index *seen; /* the store's, once all of it is durable */
	struct snap_rows_total total;
};

/* @seen: the rows before this one. What does not fit would keep the store from being opened again. */
static int check_import(struct snap_index *seen, struct snap_record *rec, struct cf_err *err)
{
	struct snap_record *parent =
		rec->parent_id ? snap_index_get_id(seen, rec->parent_id) : NULL;

	if (rec->parent_id && (!parent || parent->kind != SNAP_COMMITTED))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "snapshot %s: its parent is not a committed one before it",
		               rec->name);
	snap_index_prepare(rec);
	if (!snap_index_put(seen, rec))
		return cf_fail(err, CF_ALREADY_EXISTS, "snapshot %s: there are two of it",
		               rec->name);
	snap_index_join(seen, snap_record_ref(rec), parent);
	if (parent)
		stand_on(rec, parent);
	return 0;
}

static int import_row(struct cf_db_tx *tx, struct import_in *in, size_t i, struct cf_err *err)
{
	const struct snap_store_import *row = &in->rows[i];
	int r = make(&row->head, row->name, row->parent, row->labels, &in->made[i], err);

	if (r == 0)
		r = check_import(in->seen, in->made[i], err);
	if (r == 0)
		r = snap_rows_put(tx, in->made[i], err);
	if (r < 0)
		return r;
	in->total.count++;
	in->total.sum ^= in->made[i]->sum;
	if (in->total.next <= in->made[i]->id)
		in->total.next = in->made[i]->id + 1;
	return 0;
}

static int do_import(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	struct import_in *in = user;
	struct snap_store *st = in->st;
	int r = 0;

	if (st->total.count || st->pending_count)
		return cf_fail(err, CF_FAILED_PRECONDITION, "the store is not new");
	in->total = st->total;
	if (in->total.next <= in->last_id)
		in->total.next = in->last_id + 1;
	for (size_t i = 0; r == 0 && i < in->count; i++)
		r = import_row(tx, in, i, err);
	return r < 0 ? r : snap_rows_put_total(tx, &in->total, err);
}

static void import_done(void *user, int r, const struct cf_err *err)
{
	struct import_in *in = user;

	(void)err;
	if (r < 0)
		return;
	in->st->total = in->total;
	pthread_rwlock_wrlock(&in->st->lock);
	struct snap_index *empty = in->st->index;

	in->st->index = in->seen;
	in->seen = empty;
	pthread_rwlock_unlock(&in->st->lock);
}

int snap_store_import(struct snap_store *st, const struct snap_store_import *rows, size_t count,
                      int64_t last_id, struct cf_err *err)
{
	struct import_in in = { .st = st,
		                .rows = rows,
		                .made = cf_zalloc_n(count + 1, sizeof(in.made[0])),
		                .count = count,
		                .last_id = last_id,
		                .seen = snap_index_new() };
	int r = cf_db_write_done(st->db, do_import, import_done, &in, err);

	for (size_t i = 0; i < count; i++)
		snap_record_unref(in.made[i]);
	free(in.made);
	snap_index_free(in.seen);
	return r;
}

static int never_used(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query(tx, &rows, err, "SELECT 1 FROM total WHERE next > 1 OR count > 0");

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

static struct snap_record *hand_out(struct snap_store *st, struct snap_record *rec)
{
	if (rec)
		snap_record_ref(rec);
	pthread_rwlock_unlock(&st->lock);
	return rec;
}

struct snap_record *snap_store_get(struct snap_store *st, const char *name)
{
	pthread_rwlock_rdlock(&st->lock);
	return hand_out(st, snap_index_get(st->index, name));
}

struct snap_record *snap_store_get_id(struct snap_store *st, int64_t id)
{
	pthread_rwlock_rdlock(&st->lock);
	return hand_out(st, snap_index_get_id(st->index, id));
}

struct snap_record *snap_store_find_ref(struct snap_store *st, const char *ref, const char *parent)
{
	pthread_rwlock_rdlock(&st->lock);
	return hand_out(st, snap_index_find_ref(st->index, ref, parent));
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

void snap_store_list_files(struct snap_store *st, struct snap_list *ret)
{
	pthread_rwlock_rdlock(&st->lock);
	snap_index_each_file(st->index, list_add, ret);
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

int snap_store_begin(const char *path, bool relaxed, struct snap_store **ret, struct cf_err *err)
{
	cf_cleanup(snap_store_closep) struct snap_store *st = cf_zalloc(sizeof(*st));
	struct cf_db_opts opts = { .path = path,
		                   .migrations = snap_rows_migrations,
		                   .migration_count = snap_rows_migration_count,
		                   .relaxed = relaxed,
		                   .is_checked_by_caller = true };

	pthread_rwlock_init(&st->lock, NULL);
	st->index = snap_index_new();
	int r = cf_db_open(&opts, &st->db, err);

	if (r == 0)
		r = snap_load_total(st->db, &st->total, err);
	if (r < 0)
		return r;
	*ret = cf_take(&st);
	return 0;
}

struct snap_record *snap_store_peek(struct snap_store *st, const char *name)
{
	struct snap_record *rec = NULL;
	struct cf_err err;

	(void)!snap_load_one(st->db, name, &rec, &err); /* what is wrong is found by loading all */
	return rec;
}

int snap_store_load(struct snap_store *st, struct cf_err *err)
{
	return snap_load(st->db, &st->total, st->index, err);
}

int snap_store_open(const char *path, bool relaxed, struct snap_store **ret, struct cf_err *err)
{
	cf_cleanup(snap_store_closep) struct snap_store *st = NULL;
	int r = snap_store_begin(path, relaxed, &st, err);

	if (r == 0)
		r = snap_store_load(st, err);
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
