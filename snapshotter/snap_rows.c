/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_rows.h"

#include "base/str.h"
#include "snapshotter/snap_record.h"

const char *const snap_rows_migrations[] = {
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

	"CREATE TABLE record("
	" id INTEGER PRIMARY KEY, name TEXT NOT NULL,"
	" parent INTEGER NOT NULL," /* 0: none */
	" kind INTEGER NOT NULL, flags INTEGER NOT NULL,"
	" created INTEGER NOT NULL, updated INTEGER NOT NULL,"
	" size INTEGER NOT NULL, inodes INTEGER NOT NULL, labels BLOB NOT NULL,"
	" sum INTEGER);" /* NULL: written before there were sums */
	"INSERT INTO record SELECT id, name, coalesce(parent, 0), kind, flags, created, updated,"
	" size, inodes, labels, NULL FROM snapshot ORDER BY id;"
	"CREATE TABLE total(one INTEGER PRIMARY KEY CHECK(one = 1), next INTEGER NOT NULL,"
	" count INTEGER NOT NULL, sum INTEGER NOT NULL);" /* a row without sum counts as 0 */
	"INSERT INTO total SELECT 1,"
	" coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'snapshot'), 0) + 1,"
	" (SELECT count(*) FROM record), 0;"
	"DROP TABLE snapshot;",

	("ALTER TABLE record RENAME TO record_v2;" /* until snap_rows_convert() */
	 "CREATE TABLE record(id INTEGER PRIMARY KEY, data BLOB NOT NULL);"),

	("ALTER TABLE record RENAME TO record_v3;" /* until snap_rows_convert() */
	 "CREATE TABLE record(key INTEGER PRIMARY KEY, data BLOB NOT NULL);"),
};
const size_t snap_rows_migration_count = CF_ARRAY_LEN(snap_rows_migrations);

/* ---- sums: FNV-1a over words, against damage and not against people ---- */

static uint64_t mix(uint64_t h, uint64_t word)
{
	h = (h ^ word) * 1099511628211u;
	return h ^ h >> 32; /* else a word's high bits would reach high bits only */
}

static uint64_t word_at(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

#define BLOCK 32u /* four words at a time, which do not wait for one another */

/*
 * ---- keys: a run of ids, then some bits of the name's hash, then which of the run ----
 *
 * What is written at one time lies together, so that few pages change; a name is looked for with one step
 * for each run.
 */

#define LOW_BITS  6
#define HASH_BITS 24
#define RUN_SHIFT (LOW_BITS + HASH_BITS)
#define LOW_MASK  ((INT64_C(1) << LOW_BITS) - 1)
#define HASH_MASK ((INT64_C(1) << HASH_BITS) - 1)

_Static_assert(SNAP_ID_MAX >> LOW_BITS == INT64_MAX >> RUN_SHIFT, "every id has a key");

uint32_t snap_rows_hash(struct cf_view name)
{
	uint64_t h = 14695981039346656037u;
	uint8_t last[sizeof(uint64_t)] = { 0 };
	size_t at = 0;

	for (; name.size - at >= sizeof(last); at += sizeof(last))
		h = mix(h, word_at(name.data + at));
	if (at < name.size)
		memcpy(last, name.data + at, name.size - at);
	return (uint32_t)(mix(mix(h, word_at(last)), name.size) & HASH_MASK);
}

static int64_t key_of(uint32_t hash, int64_t id)
{
	return id >> LOW_BITS << RUN_SHIFT | (int64_t)hash << LOW_BITS | (id & LOW_MASK);
}

static int64_t id_of(int64_t key)
{
	return key >> RUN_SHIFT << LOW_BITS | (key & LOW_MASK);
}

static uint32_t hash_of(int64_t key)
{
	return (uint32_t)(key >> LOW_BITS & HASH_MASK);
}

int64_t snap_rows_key(struct cf_view name, int64_t id)
{
	return key_of(snap_rows_hash(name), id);
}

static int64_t key_for(const struct snap_record *rec)
{
	return snap_rows_key(cf_view_str(rec->name), rec->id);
}

int64_t snap_rows_first_key(int64_t id)
{
	return key_of(0, id & ~LOW_MASK);
}

/* ---- a row's bytes ---- */

/* Little-endian; behind it name, NUL and labels as snap_labels_encode() writes them. */
struct row_head {
	int64_t sum; /* of the key and all that follows */
	int64_t parent_id, created_ns, updated_ns, size, inodes;
	uint32_t kind, flags;
	uint32_t name_size, parent_hash;
};
_Static_assert(sizeof(struct row_head) == 64, "on disk");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the row's head is read as it stands");

int64_t snap_rows_sum(int64_t key, struct cf_view row)
{
	struct cf_view data = cf_view_sub(row, sizeof(int64_t), row.size); /* behind the sum */
	uint64_t a = 14695981039346656037u, b = 1, c = 2, d = 3;
	uint8_t last[BLOCK] = { 0 };
	size_t at = 0;

	for (; data.size - at >= BLOCK; at += BLOCK) {
		const uint8_t *p = data.data + at;

		a = mix(a, word_at(p));
		b = mix(b, word_at(p + 8));
		c = mix(c, word_at(p + 16));
		d = mix(d, word_at(p + 24));
	}
	if (at < data.size)
		memcpy(last, data.data + at, data.size - at);
	for (size_t i = 0; i < BLOCK; i += 8)
		a = mix(a, word_at(last + i));
	return (int64_t)mix(mix(mix(mix(mix(a, b), c), d), data.size), (uint64_t)key);
}

int64_t snap_rows_encode(const struct snap_record *rec, struct cf_buf *out)
{
	size_t name_size = strlen(rec->name);
	struct row_head head = { .parent_id = rec->parent_id,
		                 .created_ns = rec->created_ns,
		                 .updated_ns = rec->updated_ns,
		                 .size = rec->size,
		                 .inodes = rec->inodes,
		                 .kind = rec->kind,
		                 .flags = rec->flags,
		                 .name_size = (uint32_t)name_size,
		                 .parent_hash = rec->parent_hash };

	cf_buf_add(out, &head, sizeof(head));
	cf_buf_add(out, rec->name, name_size + 1);
	cf_buf_add_view(out, rec->labels);
	if (out->bad)
		return 0;
	int64_t sum = snap_rows_sum(key_for(rec), cf_buf_view(out));

	memcpy(out->data, &sum, sizeof(sum));
	return sum;
}

/* Of eight bytes. */
static unsigned count_nuls(uint64_t word)
{
	const uint64_t low = 0x7f7f7f7f7f7f7f7fu, ones = 0x0101010101010101u;
	uint64_t nuls = ~(((word & low) + low) | word | low) >> 7; /* 1 in each byte that is one */

	return (unsigned)(nuls * ones >> 56);
}

/* Key NUL value NUL …: the last byte is a NUL and their number even. */
static bool labels_are_sound(struct cf_view v)
{
	size_t nuls = 0, i = 0;

	for (; i + 8 <= v.size; i += 8)
		nuls += count_nuls(word_at(v.data + i));
	for (; i < v.size; i++)
		nuls += v.data[i] == 0;
	return v.size <= SNAP_LABELS_BYTES_MAX && nuls % 2 == 0 &&
	       (v.size == 0 || v.data[v.size - 1] == 0);
}

static bool name_is_sound(struct cf_view name)
{
	return name.size > 0 && name.size <= SNAP_NAME_MAX && cf_view_find(name, 0) < 0;
}

struct row {
	struct row_head head;
	struct cf_view name, labels;
};

/* A sum finds damage, not what somebody wrote with care: shapes are looked at in any case. */
static bool take_row(int64_t key, struct cf_view data, struct row *ret)
{
	struct cf_rd rd = { .in = data };
	struct cf_view first = cf_rd_bytes(&rd, sizeof(ret->head));

	*ret = (struct row){ 0 };
	if (!rd.bad)
		memcpy(&ret->head, first.data, sizeof(ret->head));
	ret->name = cf_rd_bytes(&rd, ret->head.name_size);
	bool is_ended = cf_rd_u8(&rd) == 0;

	ret->labels = cf_rd_bytes(&rd, cf_rd_left(&rd));
	return !rd.bad && is_ended && name_is_sound(ret->name) && labels_are_sound(ret->labels) &&
	       ret->head.kind >= SNAP_VIEW && ret->head.kind <= SNAP_COMMITTED &&
	       ret->head.parent_id >= 0 && ret->head.parent_id <= SNAP_ID_MAX &&
	       ret->head.parent_hash <= HASH_MASK && ret->head.sum == snap_rows_sum(key, data);
}

static struct snap_record *make_record(const struct row *row, int64_t id,
                                       struct snap_slab **slab_at)
{
	struct snap_record rec = { .id = id,
		                   .parent_id = row->head.parent_id,
		                   .parent_hash = row->head.parent_hash,
		                   .kind = (enum snap_kind)row->head.kind,
		                   .flags = row->head.flags,
		                   .created_ns = row->head.created_ns,
		                   .updated_ns = row->head.updated_ns,
		                   .size = row->head.size,
		                   .inodes = row->head.inodes,
		                   .sum = row->head.sum };

	return snap_record_new(&rec, row->name, "", row->labels, slab_at);
}

int snap_rows_decode(int64_t key, struct cf_view data, struct snap_slab **slab_at,
                     struct snap_record **ret, struct cf_err *err)
{
	struct row row;

	if (key < 0 || !take_row(key, data, &row) || snap_rows_key(row.name, id_of(key)) != key)
		return cf_fail(err, CF_DATA_LOSS, "record %lld is damaged", (long long)id_of(key));
	*ret = make_record(&row, id_of(key), slab_at);
	return 0;
}

/* ---- writing ---- */

int snap_rows_put(struct cf_db_tx *tx, struct snap_record *rec, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf data = { .max = SNAP_ROW_MAX };

	if (rec->id < 1 || rec->id > SNAP_ID_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "there is no id %lld",
		               (long long)rec->id);
	rec->sum = snap_rows_encode(rec, &data);
	int r = cf_buf_check(&data, "record", err);

	return r < 0 ? r
	             : cf_db_exec(tx, err, "INSERT OR REPLACE INTO record(key, data) VALUES(?, ?)",
	                          CF_DB_INT(key_for(rec)), CF_DB_BLOB(cf_buf_view(&data)));
}

int snap_rows_delete(struct cf_db_tx *tx, const struct snap_record *rec, struct cf_err *err)
{
	return cf_db_exec(tx, err, "DELETE FROM record WHERE key = ?", CF_DB_INT(key_for(rec)));
}

int snap_rows_put_total(struct cf_db_tx *tx, const struct snap_rows_total *total,
                        struct cf_err *err)
{
	return cf_db_exec(tx, err, "UPDATE total SET next = ?, count = ?, sum = ?",
	                  CF_DB_INT(total->next), CF_DB_INT(total->count), CF_DB_INT(total->sum));
}

/* ---- reading ---- */

int snap_rows_get_total(struct cf_db_tx *tx, struct snap_rows_total *ret, struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query(tx, &rows, err, "SELECT next, count, sum FROM total");

	if (r == 0)
		r = cf_db_next(&rows, err);
	if (r == 0)
		return cf_fail(err, CF_DATA_LOSS, "the row of totals is missing");
	if (r < 0)
		return r;
	*ret = (struct snap_rows_total){ .next = cf_db_col_int(&rows, 0),
		                         .count = cf_db_col_int(&rows, 1),
		                         .sum = cf_db_col_int(&rows, 2) };
	return 0;
}

int snap_rows_query(struct cf_db_tx *tx, int64_t from, int64_t to, struct cf_db_rows *ret,
                    struct cf_err *err)
{
	return cf_db_query(tx, ret, err, "SELECT key, data FROM record WHERE key >= ? AND key <= ?",
	                   CF_DB_INT(from), CF_DB_INT(to));
}

int snap_rows_next(struct cf_db_rows *rows, struct snap_slab **slab_at, struct snap_record **ret,
                   struct cf_err *err)
{
	int r = cf_db_next(rows, err);

	if (r == CF_DB_ROW)
		r = snap_rows_decode(cf_db_col_int(rows, 0), cf_db_col_view(rows, 1), slab_at, ret,
		                     err);
	else if (r == 0)
		*ret = NULL;
	return r;
}

/* The first row from @from on: its key, and the record where the key has @hash. *ret_key -1: none. */
static int step_to(struct cf_db_tx *tx, int64_t from, uint32_t hash, int64_t *ret_key,
                   struct snap_record **ret, struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query(tx, &rows, err,
	                    "SELECT key, data FROM record WHERE key >= ? ORDER BY key LIMIT 1",
	                    CF_DB_INT(from));

	*ret = NULL;
	*ret_key = -1;
	if (r == 0)
		r = cf_db_next(&rows, err);
	if (r != CF_DB_ROW)
		return r;
	*ret_key = cf_db_col_int(&rows, 0);
	return hash_of(*ret_key) == hash
	               ? snap_rows_decode(*ret_key, cf_db_col_view(&rows, 1), NULL, ret, err)
	               : 0;
}

/* Where to look for @hash behind @key, which was the first from @from on; -1: nowhere. */
static int64_t step_behind(int64_t from, int64_t key, uint32_t hash)
{
	int64_t run = key >> RUN_SHIFT;

	if (key == INT64_MAX)
		return -1;
	if (hash_of(key) == hash)
		return key + 1;
	if (run > from >> RUN_SHIFT && hash_of(key) < hash)
		return key_of(hash, run << LOW_BITS);
	return run < INT64_MAX >> RUN_SHIFT ? key_of(hash, (run + 1) << LOW_BITS) : -1;
}

static int get_named(struct cf_db_tx *tx, struct cf_view name, struct snap_record **ret,
                     struct cf_err *err)
{
	uint32_t hash = snap_rows_hash(name);
	int64_t from = key_of(hash, 0), key = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && from >= 0 && i < SNAP_STEPS_MAX; i++) {
		cf_cleanup(snap_record_unrefp) struct snap_record *rec = NULL;

		r = step_to(tx, from, hash, &key, &rec, err);
		if (r < 0 || key < 0)
			break;
		if (rec && cf_view_eq(cf_view_str(rec->name), name)) {
			*ret = cf_take(&rec);
			break;
		}
		from = step_behind(from, key, hash);
	}
	return r;
}

static int get_key(struct cf_db_tx *tx, int64_t key, struct snap_record **ret, struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = snap_rows_query(tx, key, key, &rows, err);

	return r < 0 ? r : snap_rows_next(&rows, NULL, ret, err);
}

int snap_rows_get(struct cf_db_tx *tx, const char *name, struct snap_record **ret,
                  struct cf_err *err)
{
	cf_cleanup(snap_record_unrefp) struct snap_record *rec = NULL;
	cf_cleanup(snap_record_unrefp) struct snap_record *below = NULL;
	int r = get_named(tx, cf_view_str(name), &rec, err);

	*ret = NULL;
	if (r == 0 && rec && rec->parent_id) {
		r = get_key(tx, key_of(rec->parent_hash, rec->parent_id), &below, err);
		if (r == 0 && !below)
			r = cf_fail(err, CF_DATA_LOSS, "record %lld: its parent is missing",
			            (long long)rec->id);
		if (r == 0)
			snap_record_put_on(rec, below);
	}
	if (r == 0)
		*ret = cf_take(&rec);
	return r;
}

/* ---- rows of versions before: 2 had a column for each number, 3 the id alone as key ---- */

static int has_table(struct cf_db_tx *tx, const char *name, bool *ret, struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query(tx, &rows, err, "SELECT 1 FROM sqlite_schema WHERE name = ?",
	                    CF_DB_TEXT(name));

	if (r == 0)
		r = cf_db_next(&rows, err);
	*ret = r == CF_DB_ROW;
	return r < 0 ? r : 0;
}

int snap_rows_has_old(struct cf_db_tx *tx, bool *ret, struct cf_err *err)
{
	return has_table(tx, "record_v3", ret, err);
}

/* All of them, before any is written anew: a parent may have a later id. */
struct old_rows {
	struct snap_record **items;
	size_t count, cap;
};

static void old_rows_fini(struct old_rows *old)
{
	for (size_t i = 0; i < old->count; i++)
		snap_record_unref(old->items[i]);
	free(old->items);
}

static void old_rows_add(struct old_rows *old, struct snap_record *rec_take)
{
	cf_grow(&old->items, &old->cap, old->count + 1);
	old->items[old->count++] = rec_take;
}

static int take_v2(const struct cf_db_rows *row, struct old_rows *old, struct cf_err *err)
{
	struct cf_view name = cf_db_col_view(row, 8), labels = cf_db_col_view(row, 9);
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

	if (!name_is_sound(name) || !labels_are_sound(labels))
		return cf_fail(err, CF_DATA_LOSS, "record %lld is damaged", (long long)head.id);
	cf_cleanup(cf_freep) char *text = cf_view_dup(name);
	cf_cleanup(cf_buf_fini) struct cf_buf coded = { .max = SNAP_LABELS_BYTES_MAX };

	for (size_t at = 0; at < labels.size; at += strlen((const char *)labels.data + at) + 1)
		snap_labels_encode_text((const char *)labels.data + at, text, &coded);
	old_rows_add(old, snap_record_new(&head, name, "", cf_buf_view(&coded), NULL));
	return 0;
}

static int take_v3(const struct cf_db_rows *row, struct old_rows *old, struct cf_err *err)
{
	int64_t id = cf_db_col_int(row, 0);
	struct row bytes;

	/* Its sum was of the id. */
	if (!take_row(id, cf_db_col_view(row, 1), &bytes) || bytes.head.parent_hash)
		return cf_fail(err, CF_DATA_LOSS, "record %lld is damaged", (long long)id);
	old_rows_add(old, make_record(&bytes, id, NULL));
	return 0;
}

static int read_v2(struct cf_db_tx *tx, struct old_rows *old, struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query(tx, &rows, err,
	                    "SELECT id, parent, kind, flags, created, updated, size, inodes, name,"
	                    " labels FROM record_v2");

	while (r == 0 && (r = cf_db_next(&rows, err)) == CF_DB_ROW)
		r = take_v2(&rows, old, err);
	return r;
}

static int read_v3(struct cf_db_tx *tx, struct old_rows *old, struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query(tx, &rows, err, "SELECT id, data FROM record_v3");

	while (r == 0 && (r = cf_db_next(&rows, err)) == CF_DB_ROW)
		r = take_v3(&rows, old, err);
	return r;
}

static int read_old(struct cf_db_tx *tx, struct old_rows *old, struct cf_err *err)
{
	bool has_v2;
	int r = has_table(tx, "record_v2", &has_v2, err);

	if (r == 0 && has_v2)
		r = read_v2(tx, old, err);
	return r < 0 ? r : read_v3(tx, old, err);
}

static int by_id(const void *a, const void *b)
{
	const struct snap_record *x = *(struct snap_record *const *)a;
	const struct snap_record *y = *(struct snap_record *const *)b;

	return (x->id > y->id) - (x->id < y->id);
}

static void note_parent(const struct old_rows *old, struct snap_record *rec)
{
	const struct snap_record key = { .id = rec->parent_id }, *at = &key;
	struct snap_record **below =
		old->count ? bsearch(&at, old->items, old->count, sizeof(at), by_id) : NULL;

	if (rec->parent_id && below) /* who is missing is found when the rows of today are read */
		rec->parent_hash = snap_rows_hash(cf_view_str((*below)->name));
}

static int write_anew(struct cf_db_tx *tx, const struct old_rows *old,
                      struct snap_rows_total *total, struct cf_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < old->count; i++) {
		note_parent(old, old->items[i]);
		r = snap_rows_put(tx, old->items[i], err);
		total->sum ^= old->items[i]->sum;
	}
	return r < 0 ? r : snap_rows_put_total(tx, total, err);
}

int snap_rows_convert(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	cf_cleanup(old_rows_fini) struct old_rows old = { 0 };
	struct snap_rows_total total;
	int r = snap_rows_get_total(tx, &total, err);

	(void)user;
	if (r == 0)
		r = read_old(tx, &old, err);
	if (r == 0 && (int64_t)old.count != total.count)
		r = cf_fail(err, CF_DATA_LOSS, "%zu records are not the %lld that were written",
		            old.count, (long long)total.count);
	total.sum = 0;
	if (old.count)
		qsort(old.items, old.count, sizeof(old.items[0]), by_id);
	if (r == 0)
		r = write_anew(tx, &old, &total, err);
	if (r == 0)
		r = cf_db_exec(tx, err, "DROP TABLE record_v3");
	return r < 0 ? r : cf_db_exec(tx, err, "DROP TABLE IF EXISTS record_v2");
}
