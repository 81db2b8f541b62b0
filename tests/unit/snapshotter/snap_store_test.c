/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_store.h"

#include "base/str.h"
#include "tests/harness/test.h"

static char *db_path;

static struct snap_store *store_new(void)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	struct snap_store *st = NULL;
	struct cf_err err;

	db_path = cf_asprintf("%s/db", dir);
	EXPECT_OK(snap_store_open(db_path, false, &st, &err), &err);
	return st;
}

static void store_end(struct snap_store *st)
{
	snap_store_close(st);
	free(db_path);
}

static int add(struct snap_store *st, const char *key, const char *parent, enum snap_kind kind,
               struct cf_err *err)
{
	struct snap_labels none = { 0 };
	struct snap_new in = { key, parent, kind, SNAP_HAS_DIR, &none };
	struct snap_record *rec = NULL;
	int r = snap_store_add(st, &in, &rec, err);

	if (r == 0) {
		EXPECT(cf_streq(rec->name, key) && cf_streq(rec->parent, parent));
		EXPECT(rec->kind == kind && rec->created_ns == rec->updated_ns && rec->id > 0);
	}
	snap_record_unref(rec);
	return r;
}

static int commit(struct snap_store *st, const char *name, const char *key, const char *parent,
                  struct cf_err *err)
{
	struct snap_labels none = { 0 };
	struct snap_commit in = {
		.key = key, .name = name, .parent = parent, .labels = &none, .size = 7, .inodes = 3
	};

	return snap_store_commit(st, &in, err);
}

static int drop(struct snap_store *st, const char *key, struct cf_err *err)
{
	struct snap_record *rec = NULL;
	int r = snap_store_remove(st, key, &rec, err);

	snap_record_unref(rec);
	return r;
}

CF_TEST(store_walks_the_states)
{
	struct snap_store *st = store_new();
	struct cf_err err;

	EXPECT_OK(add(st, "a", "", SNAP_ACTIVE, &err), &err);
	EXPECT_OK(commit(st, "c", "a", "", &err), &err);
	EXPECT(!snap_store_get(st, "a"));
	struct snap_record *c = snap_store_get(st, "c");

	EXPECT(c && c->kind == SNAP_COMMITTED && c->size == 7 && c->inodes == 3);
	snap_record_unref(c);
	EXPECT_OK(add(st, "a", "c", SNAP_ACTIVE, &err), &err);
	EXPECT_OK(add(st, "v", "c", SNAP_VIEW, &err), &err);
	EXPECT_FAILS(drop(st, "c", &err), CF_FAILED_PRECONDITION);
	EXPECT(strstr(err.msg, "remove"));
	EXPECT_OK(drop(st, "a", &err), &err);
	EXPECT_OK(drop(st, "v", &err), &err);
	EXPECT_OK(drop(st, "c", &err), &err);
	EXPECT(snap_store_count(st) == 0);
	/* Names and keys are free again at once. */
	EXPECT_OK(add(st, "c", "", SNAP_VIEW, &err), &err);
	store_end(st);
}

CF_TEST(store_answers_each_mistake_with_its_code)
{
	struct snap_store *st = store_new();
	char *long_key = cf_zalloc(SNAP_KEY_MAX + 2);
	struct cf_err err;

	memset(long_key, 'k', SNAP_KEY_MAX + 1);
	EXPECT_OK(add(st, "a", "", SNAP_ACTIVE, &err), &err);
	EXPECT_OK(add(st, "v", "", SNAP_VIEW, &err), &err);
	EXPECT_OK(add(st, "b", "", SNAP_ACTIVE, &err), &err);
	EXPECT_OK(commit(st, "c", "b", "", &err), &err);
	EXPECT_FAILS(add(st, "x", "nobody", SNAP_ACTIVE, &err), CF_NOT_FOUND);
	EXPECT_FAILS(add(st, "x", "a", SNAP_ACTIVE, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(add(st, "x", "v", SNAP_VIEW, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(add(st, "a", "", SNAP_ACTIVE, &err), CF_ALREADY_EXISTS);
	EXPECT_FAILS(add(st, "c", "", SNAP_VIEW, &err), CF_ALREADY_EXISTS);
	EXPECT_FAILS(add(st, "a", "nobody", SNAP_ACTIVE, &err), CF_NOT_FOUND); /* parent first */
	EXPECT_FAILS(add(st, "", "", SNAP_ACTIVE, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(add(st, long_key, "", SNAP_ACTIVE, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(commit(st, "d", "nobody", "", &err), CF_NOT_FOUND);
	EXPECT_FAILS(commit(st, "c", "a", "", &err), CF_ALREADY_EXISTS);
	EXPECT_FAILS(commit(st, "c", "nobody", "", &err), CF_NOT_FOUND); /* key first */
	EXPECT_FAILS(commit(st, "d", "v", "", &err), CF_FAILED_PRECONDITION);
	EXPECT_FAILS(commit(st, "d", "c", "", &err), CF_FAILED_PRECONDITION);
	EXPECT_FAILS(commit(st, "c", "v", "", &err), CF_ALREADY_EXISTS); /* name before kind */
	EXPECT_FAILS(commit(st, "d", "a", "nobody", &err), CF_NOT_FOUND);
	EXPECT_FAILS(commit(st, "d", "a", "v", &err), CF_FAILED_PRECONDITION);
	EXPECT_FAILS(drop(st, "nobody", &err), CF_NOT_FOUND);
	EXPECT_OK(commit(st, "d", "a", "c", &err), &err); /* a parent brought by the commit */
	EXPECT_OK(add(st, "e", "d", SNAP_ACTIVE, &err), &err);
	EXPECT_FAILS(commit(st, "f", "e", "c", &err), CF_INVALID_ARGUMENT); /* has another */
	EXPECT_OK(commit(st, "f", "e", "d", &err), &err);
	EXPECT(snap_store_count(st) == 4);
	free(long_key);
	store_end(st);
}

static int add_layer(struct snap_store *st, const char *ref, const char *parent, bool *is_new)
{
	cf_cleanup(snap_labels_fini) struct snap_labels l = { 0 };
	struct cf_err err;

	EXPECT_OK(snap_labels_set(&l, SNAP_LABEL_REF, ref, &err), &err);
	return snap_store_add_layer(st, ref, parent, &l, is_new, &err);
}

CF_TEST(store_keeps_one_record_for_a_layer_on_a_parent)
{
	struct snap_store *st = store_new();
	struct cf_err err;
	bool is_new;

	EXPECT(add_layer(st, "sha256:a", "", &is_new) == 0 && is_new);
	EXPECT(add_layer(st, "sha256:a", "", &is_new) == 0 && !is_new);
	EXPECT(add_layer(st, "sha256:b", "sha256:a", &is_new) == 0 && is_new);
	EXPECT(add_layer(st, "sha256:b", "nobody", &is_new) == -CF_NOT_FOUND);
	/* The same layer on another parent: the name is taken, so it gets one of its own. */
	EXPECT(add_layer(st, "sha256:b", "", &is_new) == 0 && is_new);
	struct snap_record *on_a = snap_store_find_ref(st, "sha256:b", "sha256:a");
	struct snap_record *alone = snap_store_find_ref(st, "sha256:b", "");

	EXPECT_STR(on_a->name, "sha256:b");
	EXPECT(alone && alone != on_a && cf_starts_with(alone->name, "sha256:b#"));
	snap_record_unref(on_a);
	snap_record_unref(alone);
	EXPECT(!snap_store_find_ref(st, "sha256:a", "sha256:b"));
	EXPECT_OK(drop(st, "sha256:b", &err), &err);
	EXPECT(!snap_store_find_ref(st, "sha256:b", "sha256:a"));
	store_end(st);
}

CF_TEST(store_updates_labels_by_mask)
{
	struct snap_store *st = store_new();
	cf_cleanup(snap_labels_fini) struct snap_labels first = { 0 }, second = { 0 };
	char l1[] = "labels.l1", l2[] = "labels.l2", dotted[] = "labels.a.b/c", all[] = "labels";
	char parent[] = "parent";
	char *const some[] = { l1, l2, dotted }, *const whole[] = { all },
		    *const bad[] = { l1, parent };
	struct snap_new in = { "a", "", SNAP_ACTIVE, 0, &first };
	struct snap_record *rec = NULL, *old;
	struct cf_err err;

	EXPECT_OK(snap_labels_set(&first, "l1", "old", &err), &err);
	EXPECT_OK(snap_labels_set(&first, "l2", "old", &err), &err);
	EXPECT_OK(snap_labels_set(&second, "l1", "new", &err), &err);
	EXPECT_OK(snap_labels_set(&second, "l4", "not asked for", &err), &err);
	EXPECT_OK(snap_labels_set(&second, "a.b/c", "dots", &err), &err);
	EXPECT_OK(snap_store_add(st, &in, &old, &err), &err);
	EXPECT_FAILS(snap_store_update(st, "a", &second, bad, 2, &rec, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(snap_store_update(st, "b", &second, some, 3, &rec, &err), CF_NOT_FOUND);
	EXPECT_OK(snap_store_update(st, "a", &second, some, 3, &rec, &err), &err);
	EXPECT_STR(snap_record_label(rec, "l1"), "new");
	EXPECT_STR(snap_record_label(rec, "a.b/c"), "dots");
	EXPECT(!snap_record_label(rec, "l2") && !snap_record_label(rec, "l4"));
	EXPECT(rec->created_ns == old->created_ns && rec->updated_ns > old->updated_ns);
	EXPECT(rec->id == old->id && rec->kind == SNAP_ACTIVE);
	snap_record_unref(rec);
	EXPECT_OK(snap_store_update(st, "a", &first, whole, 1, &rec, &err), &err);
	EXPECT(snap_record_label_count(rec) == 2);
	snap_record_unref(rec);
	EXPECT_OK(snap_store_update(st, "a", &second, NULL, 0, &rec, &err), &err);
	EXPECT(snap_record_label_count(rec) == 3 && !snap_record_label(rec, "l2"));
	snap_record_unref(rec);
	snap_record_unref(old);
	store_end(st);
}

CF_TEST(store_comes_back_as_it_was)
{
	struct snap_store *st = store_new();
	struct cf_err err;
	bool is_new;
	int64_t last_id;

	EXPECT(add_layer(st, "sha256:a", "", &is_new) == 0);
	EXPECT(add_layer(st, "sha256:b", "sha256:a", &is_new) == 0);
	EXPECT_OK(add(st, "k8s.io/1/x y", "sha256:b", SNAP_ACTIVE, &err), &err);
	EXPECT_OK(add(st, "gone", "", SNAP_ACTIVE, &err), &err);
	struct snap_record *gone = snap_store_get(st, "gone");

	last_id = gone->id;
	snap_record_unref(gone);
	EXPECT_OK(drop(st, "gone", &err), &err);
	snap_store_close(st);
	EXPECT_OK(snap_store_open(db_path, false, &st, &err), &err);
	EXPECT(snap_store_count(st) == 3 && !snap_store_get(st, "gone"));
	struct snap_record *b = snap_store_find_ref(st, "sha256:b", "sha256:a");
	struct snap_record *x = snap_store_get(st, "k8s.io/1/x y");
	cf_cleanup(snap_list_fini) struct snap_list chain = { 0 };

	EXPECT(b && x && x->parent_id == b->id);
	snap_store_chain(st, x, &chain);
	EXPECT(chain.count == 2 && chain.items[0] == b &&
	       cf_streq(chain.items[1]->name, "sha256:a"));
	EXPECT_OK(add(st, "next", "", SNAP_ACTIVE, &err), &err);
	struct snap_record *next = snap_store_get(st, "next");

	EXPECT(next->id > last_id); /* ids are never used twice */
	snap_record_unref(next);
	snap_record_unref(b);
	snap_record_unref(x);
	store_end(st);
}

CF_TEST(store_finds_its_way_in_thousands)
{
	struct snap_store *st = store_new();
	struct cf_err err;

	for (int i = 0; i < 1500; i++) {
		cf_cleanup(cf_freep) char *key = cf_asprintf("k%d", i);

		EXPECT_OK(add(st, key, "", SNAP_ACTIVE, &err), &err);
	}
	for (int i = 0; i < 1500; i += 2) {
		cf_cleanup(cf_freep) char *key = cf_asprintf("k%d", i);

		EXPECT_OK(drop(st, key, &err), &err);
	}
	for (int i = 0; i < 1500; i++) {
		cf_cleanup(cf_freep) char *key = cf_asprintf("k%d", i);
		struct snap_record *rec = snap_store_get(st, key);

		EXPECT((rec != NULL) == (i % 2 == 1));
		snap_record_unref(rec);
	}
	cf_cleanup(snap_list_fini) struct snap_list all = { 0 };

	snap_store_list(st, &all);
	EXPECT(all.count == 750);
	store_end(st);
}

CF_TEST(labels_stay_sorted_and_within_limits)
{
	cf_cleanup(snap_labels_fini) struct snap_labels l = { 0 }, back = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf b = { 0 };
	char *big = cf_zalloc(SNAP_LABELS_BYTES_MAX + 1);
	struct cf_err err;

	memset(big, 'x', SNAP_LABELS_BYTES_MAX);
	EXPECT_OK(snap_labels_set(&l, "b", "1", &err), &err);
	EXPECT_OK(snap_labels_set(&l, "a", "2", &err), &err);
	EXPECT_OK(snap_labels_set(&l, "b", "3", &err), &err);
	EXPECT_OK(snap_labels_set(&l, "c", "4", &err), &err);
	EXPECT_OK(snap_labels_set(&l, "c", "", &err), &err);
	EXPECT_FAILS(snap_labels_set(&l, "", "x", &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(snap_labels_set(&l, big, "x", &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(snap_labels_set(&l, "d", big, &err), CF_RESOURCE_EXHAUSTED);
	EXPECT(l.count == 2 && cf_streq(l.items[0].key, "a") && cf_streq(l.items[1].value, "3"));
	snap_labels_encode(&l, "own", &b);
	for (size_t n = 0; n < b.size; n++) {
		cf_cleanup(snap_labels_fini) struct snap_labels cut = { 0 };

		EXPECT((snap_labels_decode(cf_view(b.data, n), "own", &cut, &err) == 0) ==
		       (n == 0 || n == 4));
	}
	EXPECT_OK(snap_labels_decode(cf_buf_view(&b), "own", &back, &err), &err);
	EXPECT(back.count == 2);
	free(big);
}

CF_TEST(labels_are_stored_short_and_read_as_they_were)
{
	static const char *const values[] = { "true", "guest-pull", "the name", "\x01",
		                              "\x1e", "\x1f\x01",   "\x1ftrue", "\x1d",
		                              "\n",   "\x7f",       "trues",    SNAP_LABEL_REF };
	cf_cleanup(snap_labels_fini) struct snap_labels l = { 0 }, back = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf b = { .max = SNAP_LABELS_BYTES_MAX };
	struct cf_err err;

	EXPECT_OK(snap_labels_set(&l, SNAP_LABEL_REF, "the name", &err), &err);
	EXPECT_OK(snap_labels_set(&l, "\x02 key", "v", &err), &err);
	EXPECT_OK(snap_labels_set(&l, "the name", "v", &err), &err);
	for (size_t i = 0; i < CF_ARRAY_LEN(values); i++) {
		cf_cleanup(cf_freep) char *key = cf_asprintf("key-%zu", i);

		EXPECT_OK(snap_labels_set(&l, key, values[i], &err), &err);
	}
	snap_labels_encode(&l, "the name", &b);
	EXPECT_OK(snap_labels_decode(cf_buf_view(&b), "the name", &back, &err), &err);
	EXPECT_INT(back.count, l.count);
	for (size_t i = 0; i < l.count; i++) {
		EXPECT_STR(back.items[i].key, l.items[i].key);
		EXPECT_STR(back.items[i].value, l.items[i].value);
	}
	b.size = 0;
	snap_labels_encode_text(SNAP_LABEL_REF, "the name", &b);
	snap_labels_encode_text("the name", "the name", &b);
	EXPECT_INT(b.size, 4);
	EXPECT_STR(snap_labels_text("\x1d", "n"), "\x1d"); /* of a later version, or damage */
	EXPECT_STR(snap_labels_text("", "n"), "");
}
