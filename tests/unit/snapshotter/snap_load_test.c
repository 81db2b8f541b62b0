/* SPDX-License-Identifier: Apache-2.0 */
/* Enough records for several threads to bring them in, in whatever order their parents come. */
#include "base/str.h"
#include "tests/harness/snap_db.h"

#define MANY       1500 /* of each kind */
#define BIG_LABEL  (40u << 10)
#define EVERY_BIG  100
#define EVERY_GONE 7

struct files {
	char *dir, *path;
	struct snap_store *st;
};

static void open_store(struct files *f)
{
	struct cf_err err;

	f->st = snap_store_close(f->st);
	EXPECT_OK(snap_store_open(f->path, true, &f->st, &err), &err);
}

static struct files files_new(void)
{
	struct files f = { .dir = cf_test_tmpdir() };

	f.path = cf_asprintf("%s/db", f.dir);
	open_store(&f);
	return f;
}

static void files_fini(struct files *f)
{
	snap_store_close(f->st);
	free(f->path);
	free(f->dir);
}

static char *name_of(const char *kind, int i)
{
	return cf_asprintf("%s-%d", kind, i);
}

static void add_active(struct files *f, int i)
{
	cf_cleanup(cf_freep) char *key = name_of("active", i);
	cf_cleanup(snap_record_unrefp) struct snap_record *rec = NULL;
	struct snap_labels none = { 0 };
	struct snap_new in = { key, "", SNAP_ACTIVE, 0, &none };
	struct cf_err err;

	EXPECT_OK(snap_store_add(f->st, &in, &rec, &err), &err);
}

static void add_layer(struct files *f, int i)
{
	cf_cleanup(snap_labels_fini) struct snap_labels labels = { 0 };
	cf_cleanup(cf_freep) char *ref = name_of("layer", i), *parent = name_of("layer", i - 1);
	cf_cleanup(cf_freep) char *big = cf_zalloc(BIG_LABEL + 1);
	struct cf_err err;
	bool is_new;

	memset(big, 'x', i % EVERY_BIG ? 10 : BIG_LABEL);
	EXPECT_OK(snap_labels_set(&labels, SNAP_LABEL_REF, ref, &err), &err);
	EXPECT_OK(snap_labels_set(&labels, "k", big, &err), &err);
	EXPECT_OK(snap_store_add_layer(f->st, ref, i % 10 ? parent : "", &labels, &is_new, &err),
	          &err);
	EXPECT(is_new);
}

/* Its parent has a later id than its own. */
static void commit_on(struct files *f, int i)
{
	cf_cleanup(cf_freep) char *key = name_of("active", i), *name = name_of("top", i);
	cf_cleanup(cf_freep) char *parent = name_of("layer", i);
	struct snap_labels none = { 0 };
	struct snap_commit in = {
		.key = key, .name = name, .parent = parent, .labels = &none, .size = i, .inodes = 1
	};
	struct cf_err err;

	EXPECT_OK(snap_store_commit(f->st, &in, &err), &err);
}

static void remove_named(struct files *f, const char *kind, int i)
{
	cf_cleanup(cf_freep) char *name = name_of(kind, i);
	cf_cleanup(snap_record_unrefp) struct snap_record *rec = NULL;
	struct cf_err err;

	EXPECT_OK(snap_store_remove(f->st, name, &rec, &err), &err);
}

static void fill(struct files *f)
{
	for (int i = 0; i < MANY; i++)
		add_active(f, i);
	for (int i = 0; i < MANY; i++)
		add_layer(f, i);
	for (int i = 0; i < MANY; i++)
		commit_on(f, i);
	for (int i = 0; i < MANY; i += EVERY_GONE)
		remove_named(f, "top", i);
}

static void expect_layer(struct files *f, int i)
{
	cf_cleanup(cf_freep) char *name = name_of("layer", i), *parent = name_of("layer", i - 1);
	cf_cleanup(snap_record_unrefp) struct snap_record *rec = snap_store_get(f->st, name);
	cf_cleanup(snap_record_unrefp) struct snap_record *same =
		snap_store_find_ref(f->st, name, i % 10 ? parent : "");

	EXPECT(rec && same == rec && rec->kind == SNAP_COMMITTED);
	EXPECT_STR(rec->parent, i % 10 ? parent : "");
	EXPECT(strlen(snap_record_label(rec, "k")) == (i % EVERY_BIG ? 10u : BIG_LABEL));
}

static void expect_top(struct files *f, int i)
{
	cf_cleanup(cf_freep) char *name = name_of("top", i), *parent = name_of("layer", i);
	cf_cleanup(snap_record_unrefp) struct snap_record *rec = snap_store_get(f->st, name);

	if (i % EVERY_GONE == 0) {
		EXPECT(!rec);
		return;
	}
	EXPECT(rec && rec->size == i && rec->id == i + 1 && rec->parent_id > rec->id);
	EXPECT_STR(rec->parent, parent);
}

static void expect_all(struct files *f)
{
	for (int i = 0; i < MANY; i++) {
		expect_layer(f, i);
		expect_top(f, i);
	}
	EXPECT_INT(snap_store_count(f->st), 2 * MANY - (MANY + EVERY_GONE - 1) / EVERY_GONE);
}

CF_TEST(load_brings_back_records_whatever_the_order_of_parents)
{
	struct files f = files_new();

	fill(&f);
	expect_all(&f);
	for (int round = 0; round < 3; round++) {
		open_store(&f);
		expect_all(&f);
	}
	files_fini(&f);
}

/* What was brought in together goes one by one, and a parent's name is there as long as its children. */
CF_TEST(load_leaves_records_that_can_be_changed_and_removed)
{
	struct files f = files_new();
	cf_cleanup(snap_labels_fini) struct snap_labels labels = { 0 };
	cf_cleanup(snap_record_unrefp) struct snap_record *kept = NULL;
	struct cf_err err;

	fill(&f);
	open_store(&f);
	EXPECT_OK(snap_labels_set(&labels, "new", "label", &err), &err);
	kept = snap_store_get(f.st, "top-1");
	for (int i = 0; i < MANY; i++) {
		cf_cleanup(cf_freep) char *name = name_of("layer", i);
		cf_cleanup(snap_record_unrefp) struct snap_record *now = NULL;

		EXPECT_OK(snap_store_update(f.st, name, &labels, NULL, 0, &now, &err), &err);
	}
	for (int i = MANY; i-- > 0;) {
		if (i % EVERY_GONE)
			remove_named(&f, "top", i);
		remove_named(&f, "layer", i);
	}
	EXPECT_INT(snap_store_count(f.st), 0);
	EXPECT_STR(kept->parent, "layer-1");
	open_store(&f);
	EXPECT_INT(snap_store_count(f.st), 0);
	files_fini(&f);
}

static int drop_row(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	int id = *(int *)user;
	cf_cleanup(cf_freep) char *name =
		id <= MANY ? name_of("active", id - 1) : name_of("layer", id - MANY - 1);
	struct snap_record rec = { .id = id, .name = name };

	return snap_rows_delete(tx, &rec, err);
}

/* Each of the threads may be the one that finds it. */
CF_TEST(load_misses_a_row_wherever_it_was)
{
	struct files f = files_new();
	int ids[] = { 2, MANY / 2, MANY, MANY + 1, 2 * MANY };
	struct cf_err err;

	for (int i = 0; i < MANY; i++)
		add_active(&f, i);
	for (int i = 0; i < MANY; i++)
		add_layer(&f, i);
	f.st = snap_store_close(f.st);
	for (size_t i = 0; i < CF_ARRAY_LEN(ids); i++) {
		snap_db_edit(f.path, drop_row, &ids[i]);
		EXPECT_FAILS(snap_store_open(f.path, true, &f.st, &err), CF_DATA_LOSS);
	}
	files_fini(&f);
}

/* ---- records that somebody wrote with care ---- */

struct forged {
	int64_t id, parent_id;
	const char *name;
	enum snap_kind kind;
};

static int forge(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	const struct forged *row = user;
	struct snap_rows_total total = { .next = 10 };
	int r = 0;

	for (; r == 0 && row->id; row++) {
		struct snap_record rec = { .id = row->id,
			                   .parent_id = row->parent_id,
			                   .kind = row->kind,
			                   .name = row->name,
			                   .parent = "" };

		r = snap_rows_put(tx, &rec, err);
		total.count++;
		total.sum ^= rec.sum;
	}
	return r < 0 ? r : snap_rows_put_total(tx, &total, err);
}

static int opened_with(struct forged *rows)
{
	return snap_db_opened_with(forge, rows);
}

CF_TEST(load_refuses_records_that_do_not_fit_together)
{
	const enum snap_kind c = SNAP_COMMITTED;

	EXPECT_INT(opened_with((struct forged[]){ { 1, 2, "a", c }, { 2, 0, "b", c }, { 0 } }), 0);
	EXPECT_INT(opened_with((struct forged[]){ { 1, 1, "a", c }, { 0 } }), -CF_DATA_LOSS);
	EXPECT_INT(opened_with((struct forged[]){
			   { 1, 2, "a", c }, { 2, 3, "b", c }, { 3, 1, "c", c }, { 0 } }),
	           -CF_DATA_LOSS);
	EXPECT_INT(opened_with((struct forged[]){
			   { 1, 2, "a", c }, { 2, 3, "b", c }, { 3, 2, "c", c }, { 0 } }),
	           -CF_DATA_LOSS);
	EXPECT_INT(opened_with((struct forged[]){ { 1, 2, "a", c }, { 0 } }), -CF_DATA_LOSS);
	EXPECT_INT(
		opened_with((struct forged[]){ { 1, 2, "a", c }, { 2, 0, "b", SNAP_VIEW }, { 0 } }),
		-CF_DATA_LOSS);
	EXPECT_INT(opened_with((struct forged[]){ { 1, 0, "a", c }, { 1, 0, "b", c }, { 0 } }),
	           -CF_DATA_LOSS);
	EXPECT_INT(opened_with((struct forged[]){ { 1, 0, "a", c }, { 2, 0, "a", c }, { 0 } }),
	           -CF_DATA_LOSS);
	EXPECT_INT(opened_with((struct forged[]){ { 10, 0, "a", c }, { 0 } }), -CF_DATA_LOSS);
}

/* ---- one record before all are read ---- */

static void expect_peeked(struct files *f, const char *name, const char *parent)
{
	cf_cleanup(snap_record_unrefp) struct snap_record *rec = snap_store_peek(f->st, name);

	EXPECT(rec);
	EXPECT_STR(rec->name, name);
	EXPECT_STR(rec->parent, parent);
}

static void expect_all_peeked(struct files *f)
{
	for (int i = 0; i < MANY; i++) {
		cf_cleanup(cf_freep) char *layer = name_of("layer", i), *top = name_of("top", i);
		cf_cleanup(cf_freep) char *below = name_of("layer", i - 1);

		expect_peeked(f, layer, i % 10 ? below : "");
		if (i % EVERY_GONE)
			expect_peeked(f, top, layer);
		else
			EXPECT(!snap_store_peek(f->st, top));
	}
	EXPECT(!snap_store_peek(f->st, "active-1"));
	EXPECT(!snap_store_peek(f->st, ""));
}

CF_TEST(load_is_not_needed_to_find_a_record_by_its_name)
{
	struct files f = files_new();
	struct cf_err err;

	fill(&f);
	expect_all_peeked(&f); /* as they were written */
	f.st = snap_store_close(f.st);
	EXPECT_OK(snap_store_begin(f.path, true, &f.st, &err), &err);
	expect_all_peeked(&f);
	EXPECT_OK(snap_store_load(f.st, &err), &err);
	expect_all(&f);
	files_fini(&f);
}
