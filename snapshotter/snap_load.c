/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_load.h"

#include "snapshotter/snap_record.h"

#include <pthread.h>
#include <sched.h>

#define THREADS_MAX CF_DB_READERS_MAX /* each reads over a connection of its own */
#define ALONE_MAX   500               /* records that one thread reads before another has begun */
#define RANGES      16u /* more than threads: ids may lie closer at one end than at the other */

struct records {
	struct snap_record **items;
	size_t count, cap;
};

struct range {
	int64_t from, to; /* keys */
	struct records records;
	int64_t sum; /* theirs, XORed */
	_Atomic bool is_read;
};

struct loading {
	struct cf_db *db;
	struct snap_index *ix;
	struct snap_rows_total total;
	struct range ranges[RANGES];
	_Atomic size_t next; /* range that nobody has taken yet */

	/* The first thread's: */
	size_t taken_in; /* ranges whose records are in the index */
	int64_t last_id; /* of those */
};

struct reader {
	struct loading *load;
	pthread_t thread;
	bool is_thread, is_first;
	int r;
	struct cf_err err;
};

static void records_add(struct records *to, struct snap_record *rec_take)
{
	cf_grow(&to->items, &to->cap, to->count + 1);
	to->items[to->count++] = rec_take;
}

static void loading_fini(struct loading *l)
{
	for (size_t i = 0; i < RANGES; i++) {
		for (size_t j = 0; j < l->ranges[i].records.count; j++)
			snap_record_unref(l->ranges[i].records.items[j]);
		free(l->ranges[i].records.items);
	}
}

/* ---- putting together ---- */

static int take_in(struct loading *l, const struct records *from, struct cf_err *err)
{
	for (size_t i = 0; i < from->count; i++) {
		struct snap_record *rec = from->items[i];

		if (!snap_index_put(l->ix, rec))
			return cf_fail(err, CF_DATA_LOSS,
			               "record %lld: its name or its id is another's too",
			               (long long)rec->id);
		snap_record_ref(rec);
		l->last_id = CF_MAX(l->last_id, rec->id);
	}
	return 0;
}

/* The ranges that are read, up to the first that is not. */
static int take_in_ranges(struct loading *l, struct cf_err *err)
{
	int r = 0;

	for (; r == 0 && l->taken_in < RANGES && l->ranges[l->taken_in].is_read; l->taken_in++)
		r = take_in(l, &l->ranges[l->taken_in].records, err);
	return r;
}

static int join(struct snap_index *ix, struct snap_record *rec, struct cf_err *err)
{
	struct snap_record *below = rec->parent_id ? snap_index_get_id(ix, rec->parent_id) : NULL;

	if (rec->parent_id && !below)
		return cf_fail(err, CF_DATA_LOSS, "record %lld: its parent is missing",
		               (long long)rec->id);
	if (below && below->kind != SNAP_COMMITTED)
		return cf_fail(err, CF_DATA_LOSS, "record %lld: its parent is not committed",
		               (long long)rec->id);
	if (below)
		snap_record_put_on(rec, below);
	snap_index_join(ix, rec, below);
	return 0;
}

/* Whoever stands on itself, by however many others, was not written by us. */
static int find_root(struct snap_record *rec, size_t count, struct cf_err *err)
{
	size_t n = 0;

	for (const struct snap_record *at = rec; at && !at->place.is_rooted; at = at->below)
		if (++n > count)
			return cf_fail(err, CF_DATA_LOSS, "record %lld is its own parent's parent",
			               (long long)rec->id);
	for (struct snap_record *at = rec; at && !at->place.is_rooted; at = at->below)
		at->place.is_rooted = true;
	return 0;
}

/* Where they stand on each other in a circle, none would ever go. */
static void part(struct snap_record *rec)
{
	rec->parent = "";
	rec->below = snap_record_unref(rec->below);
}

static int join_all(struct loading *l, struct cf_err *err)
{
	int r = 0;

	for (size_t i = 0; i < RANGES; i++)
		for (size_t j = 0; r == 0 && j < l->ranges[i].records.count; j++)
			r = join(l->ix, l->ranges[i].records.items[j], err);
	for (size_t i = 0; i < RANGES; i++)
		for (size_t j = 0; r == 0 && j < l->ranges[i].records.count; j++)
			r = find_root(l->ranges[i].records.items[j], snap_index_count(l->ix), err);
	for (size_t i = 0; r < 0 && i < RANGES; i++)
		for (size_t j = 0; j < l->ranges[i].records.count; j++)
			part(l->ranges[i].records.items[j]);
	return r;
}

/* ---- reading, several threads ---- */

static int read_range(struct cf_db_tx *tx, struct range *to, struct snap_slab **slab_at,
                      struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	struct snap_record *rec = NULL;
	int r = snap_rows_query(tx, to->from, to->to, &rows, err);

	while (r == 0 && (r = snap_rows_next(&rows, slab_at, &rec, err)) == 0 && rec) {
		snap_index_prepare(rec);
		records_add(&to->records, rec);
		to->sum ^= rec->sum;
	}
	return r;
}

static int read_ranges(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	const struct reader *rd = user;
	struct loading *l = rd->load;
	struct snap_slab *slab = NULL;
	size_t i;
	int r = 0;

	while (r == 0 && (i = atomic_fetch_add(&l->next, 1)) < RANGES) {
		r = read_range(tx, &l->ranges[i], &slab, err);
		l->ranges[i].is_read = r == 0;
		if (r == 0 && rd->is_first)
			r = take_in_ranges(l, err);
	}
	snap_slab_unref(slab);
	return r;
}

static void *reader_main(void *arg)
{
	struct reader *rd = arg;

	rd->r = cf_db_read(rd->load->db, read_ranges, rd, &rd->err);
	return NULL;
}

static size_t threads_for(int64_t count)
{
	cpu_set_t cpus;

	if (count <= ALONE_MAX || sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
		return 1;
	return CF_MIN((size_t)CPU_COUNT(&cpus), (size_t)THREADS_MAX);
}

/* A thread that cannot be had leaves its work to the others. */
static int read_all(struct loading *l, struct cf_err *err)
{
	struct reader readers[THREADS_MAX] = { 0 };
	size_t n = threads_for(l->total.count);
	int r = 0;

	for (size_t i = 0; i < n; i++)
		readers[i].load = l;
	for (size_t i = 1; i < n; i++)
		readers[i].is_thread =
			pthread_create(&readers[i].thread, NULL, reader_main, &readers[i]) == 0;
	snap_index_expect(l->ix, l->total.count > 0 ? (size_t)l->total.count : 0);
	readers[0].is_first = true;
	reader_main(&readers[0]);
	for (size_t i = 0; i < n; i++) {
		if (readers[i].is_thread)
			pthread_join(readers[i].thread, NULL);
		if (r == 0 && readers[i].r < 0) {
			r = readers[i].r;
			*err = readers[i].err;
		}
	}
	return r;
}

static int check_total(const struct loading *l, struct cf_err *err)
{
	const struct snap_rows_total *total = &l->total;
	int64_t count = 0, sum = 0;

	for (size_t i = 0; i < RANGES; i++) {
		sum ^= l->ranges[i].sum;
		count += (int64_t)l->ranges[i].records.count;
	}
	if (count != total->count || sum != total->sum)
		return cf_fail(err, CF_DATA_LOSS, "%lld records are not the %lld that were written",
		               (long long)count, (long long)total->count);
	if (l->last_id >= total->next)
		return cf_fail(err, CF_DATA_LOSS, "the next id is behind record %lld",
		               (long long)l->last_id);
	return 0;
}

/* ---- all of it ---- */

struct head {
	struct snap_rows_total total;
	bool has_old;
};

static int read_head(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	struct head *head = user;
	int r = snap_rows_get_total(tx, &head->total, err);

	return r < 0 ? r : snap_rows_has_old(tx, &head->has_old, err);
}

int snap_load_total(struct cf_db *db, struct snap_rows_total *ret, struct cf_err *err)
{
	struct head head = { 0 };
	int r = cf_db_read(db, read_head, &head, err);

	if (r == 0 && head.has_old)
		r = cf_db_write(db, snap_rows_convert, NULL, err);
	if (r == 0 && head.has_old)
		r = cf_db_read(db, read_head, &head, err);
	*ret = head.total;
	return r;
}

/* Whatever the disk says of ids, the first and the last range take what lies beyond. */
static void share_out(struct loading *l)
{
	int64_t next = l->total.next;
	int64_t step = next > 0 && next <= SNAP_ID_MAX ? next / RANGES + 1 : 1;

	for (size_t i = 0; i < RANGES; i++) {
		l->ranges[i].from = i ? snap_rows_first_key((int64_t)i * step) : INT64_MIN;
		l->ranges[i].to = i + 1 < RANGES ? snap_rows_first_key((int64_t)(i + 1) * step) - 1
		                                 : INT64_MAX;
	}
}

int snap_load(struct cf_db *db, const struct snap_rows_total *total, struct snap_index *ix,
              struct cf_err *err)
{
	cf_cleanup(loading_fini) struct loading l = { .db = db, .ix = ix, .total = *total };

	share_out(&l);
	int r = read_all(&l, err);

	if (r == 0)
		r = take_in_ranges(&l, err);
	if (r == 0)
		r = check_total(&l, err);
	return r < 0 ? r : join_all(&l, err);
}

struct one {
	const char *name;
	struct snap_record *found;
};

static int read_one(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	struct one *in = user;

	return snap_rows_get(tx, in->name, &in->found, err);
}

int snap_load_one(struct cf_db *db, const char *name, struct snap_record **ret, struct cf_err *err)
{
	struct one in = { .name = name };
	int r = cf_db_read(db, read_one, &in, err);

	*ret = in.found;
	return r;
}
