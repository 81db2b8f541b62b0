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

/* ---- a row's bytes ---- */

/* Little-endian; behind it name, NUL and labels as snap_labels_encode() writes them. */
struct row_head {
	int64_t sum; /* of the id and all that follows */
	int64_t parent_id, created_ns, updated_ns, size, inodes;
	uint32_t kind, flags;
	uint32_t name_size, unused; /* 0 */
};
_Static_assert(sizeof(struct row_head) == 64, "on disk");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the row's head is read as it stands");

int64_t snap_rows_sum(int64_t id, struct cf_view row)
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
	return (int64_t)mix(mix(mix(mix(mix(a, b), c), d), data.size), (uint64_t)id);
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
		                 .name_size = (uint32_t)name_size };

	cf_buf_add(out, &head, sizeof(head));
	cf_buf_add(out, rec->name, name_size + 1);
	cf_buf_add_view(out, rec->labels);
	if (out->bad)
		return 0;
	int64_t sum = snap_rows_sum(rec->id, cf_buf_view(out));

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

/* A sum finds damage, not what somebody wrote with care: shapes are looked at in any case. */
int snap_rows_decode(int64_t id, struct cf_view data, struct snap_slab **slab_at,
                     struct snap_record **ret, struct cf_err *err)
{
	struct cf_rd rd = { .in = data };
	struct cf_view first = cf_rd_bytes(&rd, sizeof(struct row_head));
	struct row_head head = { 0 };

	if (!rd.bad)
		memcpy(&head, first.data, sizeof(head));
	struct cf_view name = cf_rd_bytes(&rd, head.name_size);
	bool is_ended = cf_rd_u8(&rd) == 0;
	struct cf_view labels = cf_rd_bytes(&rd, cf_rd_left(&rd));

	if (rd.bad || !is_ended || head.unused || !name_is_sound(name) ||
	    !labels_are_sound(labels) || head.kind < SNAP_VIEW || head.kind > SNAP_COMMITTED ||
	    head.sum != snap_rows_sum(id, data))
		return cf_fail(err, CF_DATA_LOSS, "record %lld is damaged", (long long)id);
	struct snap_record rec = { .id = id,
		                   .parent_id = head.parent_id,
		                   .kind = (enum snap_kind)head.kind,
		                   .flags = head.flags,
		                   .created_ns = head.created_ns,
		                   .updated_ns = head.updated_ns,
		                   .size = head.size,
		                   .inodes = head.inodes,
		                   .sum = head.sum };

	*ret = snap_record_new(&rec, name, "", labels, slab_at);
	return 0;
}

/* ---- writing ---- */

int snap_rows_put(struct cf_db_tx *tx, struct snap_record *rec, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf data = { .max = SNAP_ROW_MAX };

	rec->sum = snap_rows_encode(rec, &data);
	int r = cf_buf_check(&data, "record", err);

	return r < 0 ? r
	             : cf_db_exec(tx, err, "INSERT OR REPLACE INTO record(id, data) VALUES(?, ?)",
	                          CF_DB_INT(rec->id), CF_DB_BLOB(cf_buf_view(&data)));
}

int snap_rows_delete(struct cf_db_tx *tx, int64_t id, struct cf_err *err)
{
	return cf_db_exec(tx, err, "DELETE FROM record WHERE id = ?", CF_DB_INT(id));
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

int snap_rows_query(struct cf_db_tx *tx, int64_t from, int64_t until, struct cf_db_rows *ret,
                    struct cf_err *err)
{
	return cf_db_query(tx, ret, err,
	                   "SELECT id, data FROM record WHERE id >= ? AND id < ? ORDER BY id",
	                   CF_DB_INT(from), CF_DB_INT(until));
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

/* ---- rows of version 2: a column for each number ---- */

int snap_rows_has_old(struct cf_db_tx *tx, bool *ret, struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query(tx, &rows, err, "SELECT 1 FROM sqlite_schema WHERE name = 'record_v2'");

	if (r == 0)
		r = cf_db_next(&rows, err);
	*ret = r == CF_DB_ROW;
	return r < 0 ? r : 0;
}

static int convert_row(struct cf_db_tx *tx, const struct cf_db_rows *row,
                       struct snap_rows_total *total, struct cf_err *err)
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
	cf_cleanup(snap_record_unrefp) struct snap_record *rec =
		snap_record_new(&head, name, "", cf_buf_view(&coded), NULL);
	int r = snap_rows_put(tx, rec, err);

	total->count++;
	total->sum ^= rec->sum;
	return r;
}

static int convert_rows(struct cf_db_tx *tx, struct snap_rows_total *total, struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query(tx, &rows, err,
	                    "SELECT id, parent, kind, flags, created, updated, size, inodes, name,"
	                    " labels FROM record_v2");

	while (r == 0 && (r = cf_db_next(&rows, err)) == CF_DB_ROW)
		r = convert_row(tx, &rows, total, err);
	return r;
}

int snap_rows_convert(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	struct snap_rows_total was, total = { 0 };
	int r = snap_rows_get_total(tx, &was, err);

	(void)user;
	if (r == 0)
		r = convert_rows(tx, &total, err);
	/* None at all: the file is new, or what is missing is found when the rows of today are read. */
	if (r == 0 && total.count && total.count != was.count)
		return cf_fail(err, CF_DATA_LOSS, "%lld records are not the %lld that were written",
		               (long long)total.count, (long long)was.count);
	total.next = was.next;
	if (r == 0 && total.count)
		r = snap_rows_put_total(tx, &total, err);
	return r < 0 ? r : cf_db_exec(tx, err, "DROP TABLE record_v2");
}
