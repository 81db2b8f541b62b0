/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_rows.h"

#include "base/str.h"
#include "snapshotter/snap_record.h"

#include <endian.h>

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
};
const size_t snap_rows_migration_count = CF_ARRAY_LEN(snap_rows_migrations);

/* ---- sums: FNV-1a over words, against damage and not against people ---- */

static uint64_t mix_word(uint64_t h, uint64_t word)
{
	h = (h ^ word) * 1099511628211u;
	return h ^ h >> 32; /* else a word's high bits would reach high bits only */
}

static uint64_t mix(uint64_t h, const void *data, size_t size)
{
	const uint8_t *p = data;
	uint64_t word;

	for (; size >= sizeof(word); p += sizeof(word), size -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		h = mix_word(h, le64toh(word));
	}
	word = 0;
	if (size)
		memcpy(&word, p, size);
	return mix_word(h, le64toh(word));
}

static int64_t sum_fields(const struct snap_record *rec, struct cf_view name, struct cf_view labels)
{
	int64_t numbers[] = { rec->id,    rec->parent_id,  rec->kind,
		              rec->flags, rec->created_ns, rec->updated_ns,
		              rec->size,  rec->inodes,     (int64_t)name.size };
	uint64_t h = 14695981039346656037u;

	for (size_t i = 0; i < CF_ARRAY_LEN(numbers); i++)
		h = mix_word(h, (uint64_t)numbers[i]);
	h = mix(h, name.data, name.size);
	h = mix(h, labels.data, labels.size);
	return h ? (int64_t)h : 1;
}

int64_t snap_rows_sum(const struct snap_record *rec, struct cf_view labels)
{
	return sum_fields(rec, cf_view_str(rec->name), labels);
}

/* ---- writing ---- */

int snap_rows_insert(struct cf_db_tx *tx, const struct snap_record *rec, struct cf_view labels,
                     struct cf_err *err)
{
	return cf_db_exec(
		tx, err,
		"INSERT INTO record(id, name, parent, kind, flags, created, updated, size,"
		" inodes, labels, sum) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		CF_DB_INT(rec->id), CF_DB_TEXT(rec->name), CF_DB_INT(rec->parent_id),
		CF_DB_INT(rec->kind), CF_DB_INT(rec->flags), CF_DB_INT(rec->created_ns),
		CF_DB_INT(rec->updated_ns), CF_DB_INT(rec->size), CF_DB_INT(rec->inodes),
		CF_DB_BLOB(labels), CF_DB_INT(rec->sum));
}

int snap_rows_replace(struct cf_db_tx *tx, const struct snap_record *rec, struct cf_view labels,
                      struct cf_err *err)
{
	return cf_db_exec(
		tx, err,
		"UPDATE record SET name = ?, parent = ?, kind = ?, flags = ?, created = ?,"
		" updated = ?, size = ?, inodes = ?, labels = ?, sum = ? WHERE id = ?",
		CF_DB_TEXT(rec->name), CF_DB_INT(rec->parent_id), CF_DB_INT(rec->kind),
		CF_DB_INT(rec->flags), CF_DB_INT(rec->created_ns), CF_DB_INT(rec->updated_ns),
		CF_DB_INT(rec->size), CF_DB_INT(rec->inodes), CF_DB_BLOB(labels),
		CF_DB_INT(rec->sum), CF_DB_INT(rec->id));
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

/* A row whose parent has not been read yet: it was given one at its commit, which had a later id. */
struct row {
	struct snap_record head;
	char *name;
	struct cf_buf labels;
};

struct row_list {
	struct row *items;
	size_t count, cap;
};

static void row_list_fini(struct row_list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		free(l->items[i].name);
		cf_buf_fini(&l->items[i].labels);
	}
	free(l->items);
}

static void keep(struct row_list *l, const struct snap_record *head, struct cf_view name,
                 struct cf_view labels)
{
	cf_grow(&l->items, &l->cap, l->count + 1);
	struct row *row = &l->items[l->count++];

	*row = (struct row){ .head = *head, .name = cf_view_dup(name) };
	row->labels.max = SNAP_LABELS_BYTES_MAX;
	cf_buf_add_view(&row->labels, labels);
}

static bool labels_are_sound(struct cf_view v)
{
	size_t nuls = 0;

	for (struct cf_view left = v; left.size; nuls++) {
		const uint8_t *nul = memchr(left.data, 0, left.size);

		if (!nul)
			return false;
		left = cf_view_sub(left, (size_t)(nul - left.data) + 1, left.size);
	}
	return v.size <= SNAP_LABELS_BYTES_MAX && nuls % 2 == 0;
}

/* A sum finds damage, not what somebody wrote with care: shapes are looked at in any case. */
static bool is_sound(const struct snap_record *head, struct cf_view name, struct cf_view labels)
{
	return name.size > 0 && name.size <= SNAP_KEY_MAX + 32 && cf_view_find(name, 0) < 0 &&
	       head->kind >= SNAP_VIEW && head->kind <= SNAP_COMMITTED &&
	       labels_are_sound(labels) &&
	       (head->sum == 0 || head->sum == sum_fields(head, name, labels));
}

static int add(struct snap_index *ix, const struct snap_record *head, struct cf_view name,
               const struct snap_record *parent, struct cf_view labels, struct cf_err *err)
{
	if (parent && parent->kind != SNAP_COMMITTED)
		return cf_fail(err, CF_DATA_LOSS, "record %lld: its parent is not committed",
		               (long long)head->id);
	cf_cleanup(snap_record_unrefp) struct snap_record *rec =
		snap_record_new(head, name, parent ? parent->name : "", labels);

	if (!snap_index_try_add(ix, rec))
		return cf_fail(err, CF_DATA_LOSS, "record %lld: its name is another's too",
		               (long long)head->id);
	snap_record_ref(rec);
	return 0;
}

static int load_row(const struct cf_db_rows *row, struct snap_index *ix, struct row_list *later,
                    struct snap_rows_total *seen, struct cf_err *err)
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
		.sum = cf_db_col_int(row, 10),
	};

	if (!is_sound(&head, name, labels))
		return cf_fail(err, CF_DATA_LOSS, "record %lld is damaged", (long long)head.id);
	seen->next = head.id + 1;
	seen->count++;
	seen->sum ^= head.sum;
	struct snap_record *parent = head.parent_id ? snap_index_get_id(ix, head.parent_id) : NULL;

	if (head.parent_id && !parent) {
		keep(later, &head, name, labels);
		return 0;
	}
	return add(ix, &head, name, parent, labels, err);
}

/* One pass over those that wait; what still waits moves to the front. */
static int load_later(struct snap_index *ix, struct row_list *l, struct cf_err *err)
{
	size_t left = 0;
	int r = 0;

	for (size_t i = 0; i < l->count; i++) {
		struct row *row = &l->items[i], swap = l->items[left];
		struct snap_record *parent = snap_index_get_id(ix, row->head.parent_id);

		if (r == 0 && parent) {
			r = add(ix, &row->head, cf_view_str(row->name), parent,
			        cf_buf_view(&row->labels), err);
			continue;
		}
		l->items[left++] = *row;
		l->items[i] = swap;
	}
	for (size_t i = left; i < l->count; i++) {
		free(l->items[i].name);
		cf_buf_fini(&l->items[i].labels);
	}
	l->count = left;
	return r;
}

static int load_rest(struct snap_index *ix, struct row_list *l, struct cf_err *err)
{
	while (l->count) {
		size_t before = l->count;
		int r = load_later(ix, l, err);

		if (r < 0)
			return r;
		if (l->count == before)
			return cf_fail(err, CF_DATA_LOSS, "record %lld: its parent is missing",
			               (long long)l->items[0].head.id);
	}
	return 0;
}

static int load_total(struct cf_db_tx *tx, struct snap_rows_total *ret, struct cf_err *err)
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

static int load_rows(struct cf_db_tx *tx, struct snap_index *ix, struct snap_rows_total *seen,
                     struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	cf_cleanup(row_list_fini) struct row_list later = { 0 };
	int r = cf_db_query(tx, &rows, err,
	                    "SELECT id, parent, kind, flags, created, updated, size, inodes, name,"
	                    " labels, sum FROM record ORDER BY id");

	while (r == 0 && (r = cf_db_next(&rows, err)) == CF_DB_ROW)
		r = load_row(&rows, ix, &later, seen, err);
	return r < 0 ? r : load_rest(ix, &later, err);
}

int snap_rows_load(struct cf_db_tx *tx, struct snap_index *ix, struct snap_rows_total *ret,
                   struct cf_err *err)
{
	struct snap_rows_total total, seen = { .next = 1 };
	int r = load_total(tx, &total, err);

	if (r < 0)
		return r;
	snap_index_expect(ix, total.count > 0 ? (size_t)total.count : 0);
	r = load_rows(tx, ix, &seen, err);
	if (r < 0)
		return r;
	if (seen.count != total.count || seen.sum != total.sum)
		return cf_fail(err, CF_DATA_LOSS, "%lld records are not the %lld that were written",
		               (long long)seen.count, (long long)total.count);
	if (seen.next > total.next)
		return cf_fail(err, CF_DATA_LOSS, "the next id is behind record %lld",
		               (long long)seen.next - 1);
	*ret = total;
	return 0;
}
