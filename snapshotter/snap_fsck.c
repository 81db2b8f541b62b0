/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_fsck.h"

#include "base/str.h"
#include "snapshotter/snap_name.h"

static void row_fini(struct snap_fsck_row *row)
{
	free(row->ns);
	free(row->key);
	free(row->name);
	free(row->parent_key);
}

void snap_fsck_rows_fini(struct snap_fsck_rows *rows)
{
	for (size_t i = 0; i < rows->count; i++)
		row_fini(&rows->items[i]);
	free(rows->items);
	cf_strv_fini(&rows->snapshotters);
	*rows = (struct snap_fsck_rows){ 0 };
}

/* ---- containerd's file. Source: containerd, core/metadata/buckets.go ---- */

struct reading {
	struct snap_fsck_rows *rows;
	const char *snapshotter;
	const char *ns;
};

static int take_text(struct cf_view v, char **ret, struct cf_err *err)
{
	if (v.size > SNAP_KEY_MAX || cf_view_has_nul(v) || !cf_view_is_utf8(v))
		return cf_fail(err, CF_DATA_LOSS, "a name that is no UTF-8, or too long");
	free(*ret);
	*ret = cf_view_dup(v);
	return 0;
}

static int take_field(const struct bolt_item *item, void *user, struct cf_err *err)
{
	struct snap_fsck_row *row = user;

	if (cf_view_eq_str(item->key, "name"))
		return take_text(item->value, &row->name, err);
	if (cf_view_eq_str(item->key, "parent"))
		return take_text(item->value, &row->parent_key, err);
	return 0;
}

static int take_snapshot(const struct bolt_item *item, void *user, struct cf_err *err)
{
	struct reading *rd = user;
	struct snap_fsck_rows *rows = rd->rows;

	if (!item->is_bucket)
		return 0;
	if (rows->count == SNAP_FSCK_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "over %u snapshots", SNAP_FSCK_MAX);
	cf_grow(&rows->items, &rows->cap, rows->count + 1);
	struct snap_fsck_row *row = &rows->items[rows->count++];

	*row = (struct snap_fsck_row){ .ns = cf_strdup(rd->ns),
		                       .name = cf_strdup(""),
		                       .parent_key = cf_strdup(""),
		                       .parent = -1 };
	int r = take_text(item->key, &row->key, err);

	return r < 0 ? r : bolt_each(&item->bucket, take_field, row, err);
}

static int take_snapshotter(const struct bolt_item *item, void *user, struct cf_err *err)
{
	struct reading *rd = user;
	cf_cleanup(cf_freep) char *name = NULL;
	int r = item->is_bucket ? take_text(item->key, &name, err) : 0;

	if (r < 0 || !name)
		return r;
	if (!cf_strv_has(&rd->rows->snapshotters, name))
		cf_strv_add(&rd->rows->snapshotters, name);
	if (!rd->snapshotter || !cf_streq(name, rd->snapshotter))
		return 0;
	return bolt_each(&item->bucket, take_snapshot, rd, err);
}

static int take_namespace(const struct bolt_item *item, void *user, struct cf_err *err)
{
	struct reading *rd = user;
	cf_cleanup(cf_freep) char *ns = NULL;
	struct bolt_bucket snapshots;

	if (!item->is_bucket)
		return 0;
	int r = take_text(item->key, &ns, err);

	if (r == 0)
		r = bolt_bucket_in(&item->bucket, "snapshots", &snapshots, err);
	if (r < 0)
		return r == -CF_NOT_FOUND || r == -CF_FAILED_PRECONDITION ? 0 : r;
	rd->ns = ns;
	r = bolt_each(&snapshots, take_snapshotter, rd, err);
	rd->ns = NULL;
	return r;
}

/* ---- parents ---- */

static int by_key(const void *a, const void *b)
{
	const struct snap_fsck_row *x = a, *y = b;
	int c = strcmp(x->ns, y->ns);

	return c ? c : strcmp(x->key, y->key);
}

static void link_parents(struct snap_fsck_rows *rows)
{
	if (!rows->count)
		return;
	qsort(rows->items, rows->count, sizeof(rows->items[0]), by_key);
	for (size_t i = 0; i < rows->count; i++) {
		struct snap_fsck_row *row = &rows->items[i];
		struct snap_fsck_row want = { .ns = row->ns, .key = row->parent_key };
		struct snap_fsck_row *parent = row->parent_key[0]
		                                       ? bsearch(&want, rows->items, rows->count,
		                                                 sizeof(rows->items[0]), by_key)
		                                       : NULL;

		if (!parent)
			continue;
		row->parent = parent - rows->items;
		parent->is_parent = true;
	}
}

int snap_fsck_read(struct bolt *meta, const char *snapshotter, struct snap_fsck_rows *ret,
                   struct cf_err *err)
{
	struct bolt_bucket root = bolt_root(meta), v1;
	struct reading rd = { .rows = ret, .snapshotter = snapshotter };
	int r = bolt_bucket_in(&root, "v1", &v1, err);

	*ret = (struct snap_fsck_rows){ 0 };
	if (r == 0)
		r = bolt_each(&v1, take_namespace, &rd, err);
	if (r < 0) {
		snap_fsck_rows_fini(ret);
		return r;
	}
	link_parents(ret);
	return 0;
}

/* ---- comparing ---- */

struct fsck {
	struct snap_fsck_rows *rows;
	struct snap_store *st;
	bool repair;
	void (*say)(const char *line, void *user);
	void *user;
	struct snap_fsck_result *result;
};

static void say(struct fsck *f, const char *what, const struct snap_fsck_row *row)
{
	cf_cleanup(cf_freep) char *line =
		cf_asprintf("%s: %s (%s: %s)", what, row->name, row->ns, row->key);

	f->say(line, f->user);
}

static const char *parent_name(const struct fsck *f, const struct snap_fsck_row *row)
{
	return row->parent < 0 ? "" : f->rows->items[row->parent].name;
}

/* What others are built on was committed, and so was what carries a layer's name. */
static bool is_committed(const struct snap_fsck_row *row)
{
	return row->is_parent || snap_name_is_layer(row->name) || snap_name_is_layer(row->key);
}

static int add_active(struct fsck *f, const char *key, const char *parent, struct cf_err *err)
{
	struct snap_labels none = { 0 };
	struct snap_new in = { .key = key,
		               .parent = parent,
		               .kind = SNAP_ACTIVE,
		               .flags = SNAP_HAS_DIR | SNAP_KATA,
		               .labels = &none };
	struct snap_record *rec = NULL;
	int r = snap_store_add(f->st, &in, &rec, err);

	snap_record_unref(rec);
	return r;
}

static int add_committed(struct fsck *f, const struct snap_fsck_row *row, const char *parent,
                         struct cf_err *err)
{
	cf_cleanup(cf_freep) char *key = cf_asprintf("fsck/%s", row->name);
	cf_cleanup(snap_labels_fini) struct snap_labels labels = { 0 };
	struct snap_commit in = { .key = key,
		                  .name = row->name,
		                  .parent = "",
		                  .labels = &labels,
		                  .flags_add = SNAP_GUEST_PULL,
		                  .flags_del = SNAP_HAS_DIR | SNAP_KATA };
	int r = snap_labels_set(&labels, SNAP_LABEL_PROXY_MODE, "true", err);

	if (r == 0)
		r = snap_labels_set(&labels, SNAP_LABEL_OUR_MODE, "guest-pull", err);
	/* containerd finds a layer again by this label. */
	if (r == 0 && snap_name_is_layer(row->key))
		r = snap_labels_set(&labels, SNAP_LABEL_REF, row->key, err);
	if (r == 0)
		r = add_active(f, key, parent, err);
	return r < 0 ? r : snap_store_commit(f->st, &in, err);
}

static int put_back(struct fsck *f, size_t i, unsigned depth, struct cf_err *err)
{
	struct snap_fsck_row *row = &f->rows->items[i];
	cf_cleanup(snap_record_unrefp) struct snap_record *known = snap_store_get(f->st, row->name);
	int r = 0;

	if (known || row->is_done || !row->name[0])
		return 0;
	row->is_done = true;
	if (depth == SNAP_CHAIN_MAX)
		return cf_fail(err, CF_DATA_LOSS, "over %u layers", SNAP_CHAIN_MAX);
	if (row->parent >= 0)
		r = put_back(f, (size_t)row->parent, depth + 1, err);
	if (r == 0)
		r = is_committed(row) ? add_committed(f, row, parent_name(f, row), err)
		                      : add_active(f, row->name, parent_name(f, row), err);
	if (r == 0)
		f->result->repaired++;
	return r;
}

static int compare_row(struct fsck *f, size_t i, struct cf_err *err)
{
	struct snap_fsck_row *row = &f->rows->items[i];
	cf_cleanup(snap_record_unrefp) struct snap_record *rec = snap_store_get(f->st, row->name);

	if (!rec) {
		f->result->missing++;
		say(f, "missing here", row);
		return f->repair ? put_back(f, i, 0, err) : 0;
	}
	if (row->is_done)
		f->result->missing++; /* was put back for its child */
	else if (cf_streq(rec->parent, parent_name(f, row)))
		f->result->agreed++;
	else {
		f->result->other_parent++;
		say(f, "has another parent here", row);
	}
	return 0;
}

static int text_order(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return strcmp(*x, *y);
}

static void find_surplus(struct fsck *f)
{
	cf_cleanup(snap_list_fini) struct snap_list ours = { 0 };
	size_t n = f->rows->count;
	cf_cleanup(cf_freep) const char **names = cf_zalloc_n(n + 1, sizeof(names[0]));

	for (size_t i = 0; i < n; i++)
		names[i] = f->rows->items[i].name;
	qsort(names, n, sizeof(names[0]), text_order);
	snap_store_list(f->st, &ours);
	for (size_t i = 0; i < ours.count; i++) {
		const char *name = ours.items[i]->name;

		if (bsearch(&name, names, n, sizeof(names[0]), text_order))
			continue;
		cf_cleanup(cf_freep) char *line = cf_asprintf("unknown to containerd: %s", name);

		f->result->surplus++;
		f->say(line, f->user);
	}
}

int snap_fsck_compare(struct snap_fsck_rows *rows, struct snap_store *st, bool repair,
                      void (*tell)(const char *line, void *user), void *user,
                      struct snap_fsck_result *ret, struct cf_err *err)
{
	struct fsck f = { rows, st, repair, tell, user, ret };
	int r = 0;

	*ret = (struct snap_fsck_result){ 0 };
	for (size_t i = 0; r == 0 && i < rows->count; i++)
		r = compare_row(&f, i, err);
	if (r == 0)
		find_surplus(&f);
	return r;
}
