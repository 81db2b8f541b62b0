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
	int64_t from, until; /* ids */
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
	size_t linked;          /* ranges whose records are in the index */
	struct records waiting; /* for a parent with a later id; borrowed from the ranges */
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
	free(l->waiting.items);
}

/* ---- putting together ---- */

static int link_record(struct snap_index *ix, struct snap_record *rec, struct snap_record *below,
                       struct cf_err *err)
{
	if (below && below->kind != SNAP_COMMITTED)
		return cf_fail(err, CF_DATA_LOSS, "record %lld: its parent is not committed",
		               (long long)rec->id);
	if (below)
		snap_record_put_on(rec, below);
	if (!snap_index_try_add(ix, rec, below))
		return cf_fail(err, CF_DATA_LOSS, "record %lld: its name is another's too",
		               (long long)rec->id);
	snap_record_ref(rec);
	return 0;
}

/*
 * One pass over @from; what waits for its parent goes to @later: it was given one at its commit, which
 * had a later id.
 */
static int link_records(struct snap_index *ix, const struct records *from, struct records *later,
                        struct cf_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < from->count; i++) {
		struct snap_record *rec = from->items[i];
		struct snap_record *below =
			rec->parent_id ? snap_index_get_id(ix, rec->parent_id) : NULL;

		if (rec->parent_id && !below)
			records_add(later, rec);
		else
			r = link_record(ix, rec, below, err);
	}
	return r;
}

static int link_later(struct snap_index *ix, struct records *waiting, struct cf_err *err)
{
	int r = 0;

	while (r == 0 && waiting->count) {
		struct records left = { 0 };

		r = link_records(ix, waiting, &left, err);
		if (r == 0 && left.count == waiting->count)
			r = cf_fail(err, CF_DATA_LOSS, "record %lld: its parent is missing",
			            (long long)left.items[0]->id);
		free(waiting->items);
		*waiting = left;
	}
	return r;
}

/* In the order of ids: the ranges that are read, up to the first that is not. */
static int link_ranges(struct loading *l, struct cf_err *err)
{
	int r = 0;

	for (; r == 0 && l->linked < RANGES && l->ranges[l->linked].is_read; l->linked++)
		r = link_records(l->ix, &l->ranges[l->linked].records, &l->waiting, err);
	return r;
}

/* ---- reading, several threads ---- */

static int read_range(struct cf_db_tx *tx, struct range *to, struct snap_slab **slab_at,
                      struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	struct snap_record *rec = NULL;
	int r = snap_rows_query(tx, to->from, to->until, &rows, err);

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
			r = link_ranges(l, err);
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
	struct snap_rows_total seen = { .next = 1 };

	for (size_t i = 0; i < RANGES; i++) {
		const struct records *in = &l->ranges[i].records;

		seen.sum ^= l->ranges[i].sum;
		seen.count += (int64_t)in->count;
		if (in->count)
			seen.next = in->items[in->count - 1]->id + 1;
	}
	if (seen.count != total->count || seen.sum != total->sum)
		return cf_fail(err, CF_DATA_LOSS, "%lld records are not the %lld that were written",
		               (long long)seen.count, (long long)total->count);
	if (seen.next > total->next)
		return cf_fail(err, CF_DATA_LOSS, "the next id is behind record %lld",
		               (long long)seen.next - 1);
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

static int get_total(struct cf_db *db, struct snap_rows_total *ret, struct cf_err *err)
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
	int64_t step = l->total.next > 0 ? l->total.next / RANGES + 1 : 1;

	for (size_t i = 0; i < RANGES; i++) {
		l->ranges[i].from = i ? (int64_t)i * step : INT64_MIN;
		l->ranges[i].until = i + 1 < RANGES ? (int64_t)(i + 1) * step : INT64_MAX;
	}
}

int snap_load(struct cf_db *db, struct snap_index *ix, struct snap_rows_total *ret,
              struct cf_err *err)
{
	cf_cleanup(loading_fini) struct loading l = { .db = db, .ix = ix };
	int r = get_total(db, &l.total, err);

	if (r < 0)
		return r;
	share_out(&l);
	r = read_all(&l, err);
	if (r == 0)
		r = check_total(&l, err);
	if (r == 0)
		r = link_ranges(&l, err);
	if (r == 0)
		r = link_later(ix, &l.waiting, err);
	if (r == 0)
		*ret = l.total;
	return r;
}
