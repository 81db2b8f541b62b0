/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_import.h"

#include "base/str.h"
#include "snapshotter/snap_name.h"
#include "snapshotter/snap_record.h"

#include <dirent.h>
#include <unistd.h>

#define LABEL_GPS "containerd.io/snapshot/guestpull" /* guest-pull-snapshotter's */

static void row_fini(struct snap_import_row *row)
{
	free(row->name);
	free(row->parent);
	snap_labels_fini(&row->labels);
}

void snap_import_rows_fini(struct snap_import_rows *rows)
{
	for (size_t i = 0; i < rows->count; i++)
		row_fini(&rows->items[i]);
	free(rows->items);
	*rows = (struct snap_import_rows){ 0 };
}

/* ---- one record ---- */

static int take_text(struct cf_view v, size_t max, char **ret, struct cf_err *err)
{
	if (v.size > max || cf_view_has_nul(v) || !cf_view_is_utf8(v))
		return cf_fail(err, CF_DATA_LOSS, "a text that is no UTF-8, or too long");
	free(*ret);
	*ret = cf_view_dup(v);
	return 0;
}

static int take_label(const struct bolt_item *item, void *user, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *key = NULL;
	cf_cleanup(cf_freep) char *value = NULL;
	int r = take_text(item->key, SNAP_LABEL_KEY_MAX, &key, err);

	if (r == 0)
		r = take_text(item->value, SNAP_LABELS_BYTES_MAX, &value, err);
	return r < 0 ? r : snap_labels_set(user, key, value, err);
}

static int take_kind(struct cf_view v, struct snap_import_row *row, struct cf_err *err)
{
	if (v.size != 1 || v.data[0] < SNAP_VIEW || v.data[0] > SNAP_COMMITTED)
		return cf_fail(err, CF_DATA_LOSS, "an unknown kind");
	row->kind = (enum snap_kind)v.data[0];
	return 0;
}

static int take_id(struct cf_view v, struct snap_import_row *row, struct cf_err *err)
{
	uint64_t id = 0;
	int r = bolt_uvarint(v, &id, err);

	if (r == 0 && (id == 0 || id > INT64_MAX))
		return cf_fail(err, CF_DATA_LOSS, "an id out of bounds");
	row->id = (int64_t)id;
	return r;
}

/* Source: containerd, core/snapshots/storage/bolt.go. */
static int take_field(const struct bolt_item *item, void *user, struct cf_err *err)
{
	struct snap_import_row *row = user;

	if (cf_view_eq_str(item->key, "labels") && item->is_bucket)
		return bolt_each(&item->bucket, take_label, &row->labels, err);
	if (cf_view_eq_str(item->key, "id"))
		return take_id(item->value, row, err);
	if (cf_view_eq_str(item->key, "kind"))
		return take_kind(item->value, row, err);
	if (cf_view_eq_str(item->key, "parent"))
		return take_text(item->value, SNAP_KEY_MAX, &row->parent, err);
	if (cf_view_eq_str(item->key, "createdat"))
		return bolt_time(item->value, &row->created_ns, err);
	if (cf_view_eq_str(item->key, "updatedat"))
		return bolt_time(item->value, &row->updated_ns, err);
	if (cf_view_eq_str(item->key, "size"))
		return bolt_varint(item->value, &row->size, err);
	if (cf_view_eq_str(item->key, "inodes"))
		return bolt_varint(item->value, &row->inodes, err);
	return 0; /* what later versions add */
}

static int take_row(const struct bolt_item *item, void *user, struct cf_err *err)
{
	struct snap_import_rows *rows = user;

	if (!item->is_bucket)
		return 0;
	if (rows->count == SNAP_IMPORT_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "over %u snapshots", SNAP_IMPORT_MAX);
	cf_grow(&rows->items, &rows->cap, rows->count + 1);
	struct snap_import_row *row = &rows->items[rows->count++];

	*row = (struct snap_import_row){ .parent = cf_strdup("") };
	int r = take_text(item->key, SNAP_KEY_MAX, &row->name, err);

	if (r == 0)
		r = bolt_each(&item->bucket, take_field, row, err);
	if (r < 0)
		return cf_wrap(err, r, "snapshot %s", row->name ? row->name : "?");
	if (!row->id || !row->kind)
		return cf_fail(err, CF_DATA_LOSS, "snapshot %s: no id or kind", row->name);
	return 0;
}

static int by_id(const void *a, const void *b)
{
	const struct snap_import_row *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

int snap_import_read(struct bolt *db, struct snap_import_rows *ret, struct cf_err *err)
{
	struct bolt_bucket root = bolt_root(db), v1, snapshots;
	cf_cleanup(snap_import_rows_fini) struct snap_import_rows rows = { 0 };
	int r = bolt_bucket_in(&root, "v1", &v1, err);

	if (r == 0)
		r = bolt_bucket_in(&v1, "snapshots", &snapshots, err);
	if (r == -CF_NOT_FOUND)
		return 0; /* never used */
	if (r == 0)
		r = bolt_each(&snapshots, take_row, &rows, err);
	if (r < 0)
		return r;
	if (rows.count)
		qsort(rows.items, rows.count, sizeof(rows.items[0]), by_id);
	for (size_t i = 1; i < rows.count; i++)
		if (rows.items[i].id == rows.items[i - 1].id)
			return cf_fail(err, CF_DATA_LOSS, "two snapshots with the id %lld",
			               (long long)rows.items[i].id);
	rows.sequence = snapshots.sequence;
	*ret = rows;
	rows = (struct snap_import_rows){ 0 };
	return 0;
}

/* ---- what a record means here ---- */

struct import {
	const char *root;
	enum snap_mode mode;
	struct snap_import_rows rows;
	struct snap_store_import *out; /* one for each row, in their order */
	struct snap_import_row **by_name;
	struct snap_imported result;
};

static int by_name(const void *a, const void *b)
{
	const struct snap_import_row *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

/* Index of the row, or -1. Parents come before their children: ids ascend. */
static ssize_t index_of(const struct import *im, const char *name, size_t before)
{
	struct snap_import_row key = { .name = (char *)(uintptr_t)name }, *at = &key;
	struct snap_import_row **found =
		bsearch(&at, im->by_name, im->rows.count, sizeof(im->by_name[0]), by_name);

	if (!found)
		return -1;
	size_t i = (size_t)(*found - im->rows.items);

	return i < before ? (ssize_t)i : -1;
}

static bool has_content(const struct import *im, int64_t id, bool *ret_exists)
{
	cf_cleanup(cf_freep) char *path =
		cf_asprintf("%s/snapshots/%lld/fs", im->root, (long long)id);
	DIR *dir = opendir(path);
	unsigned n = 0;

	*ret_exists = dir != NULL;
	while (dir && n < 3 && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n > 2; /* more than "." and ".." */
}

static unsigned committed_flags(const struct import *im, const struct snap_import_row *row)
{
	bool exists;
	bool content = has_content(im, row->id, &exists);
	bool said = snap_labels_get(&row->labels, SNAP_LABEL_PROXY_MODE) ||
	            snap_labels_get(&row->labels, LABEL_GPS);
	unsigned flags = exists ? SNAP_HAS_DIR : 0;

	if (im->mode != SNAP_MODE_GUEST_PULL)
		return SNAP_HAS_DIR;
	/* A layer that was unpacked stays what it is; an empty one is a guest's to pull. */
	return said || !content ? flags | SNAP_GUEST_PULL : SNAP_HAS_DIR;
}

/* As the service decides for new ones. */
static unsigned active_flags(const struct import *im, const struct snap_import_row *row,
                             ssize_t parent)
{
	bool exists;

	if (im->mode != SNAP_MODE_GUEST_PULL)
		return SNAP_HAS_DIR;
	if (row->kind == SNAP_ACTIVE && snap_name_is_extract(row->name))
		return SNAP_HAS_DIR | SNAP_NULL_EXTRACT;
	if (parent < 0)
		return has_content(im, row->id, &exists) ? SNAP_HAS_DIR : SNAP_HAS_DIR | SNAP_KATA;
	for (ssize_t i = parent; i >= 0; i = index_of(im, im->rows.items[i].parent, (size_t)i))
		if (im->out[i].head.flags & SNAP_GUEST_PULL)
			return SNAP_HAS_DIR | SNAP_KATA;
	return SNAP_HAS_DIR;
}

static void convert(struct import *im, size_t i)
{
	const struct snap_import_row *row = &im->rows.items[i];
	ssize_t parent = row->parent[0] ? index_of(im, row->parent, i) : -1;
	struct snap_store_import *to = &im->out[i];

	if (parent >= 0 && im->rows.items[parent].kind != SNAP_COMMITTED)
		parent = -1;
	if (row->parent[0] && parent < 0)
		im->result.orphans++;
	to->name = row->name;
	to->parent = parent < 0 ? "" : im->rows.items[parent].name;
	to->labels = &row->labels;
	to->head = (struct snap_record){
		.id = row->id,
		.parent_id = parent < 0 ? 0 : im->rows.items[parent].id,
		.kind = row->kind,
		.flags = row->kind == SNAP_COMMITTED ? committed_flags(im, row)
		                                     : active_flags(im, row, parent),
		.created_ns = row->created_ns,
		.updated_ns = row->updated_ns,
		.size = row->size,
		.inodes = row->inodes,
	};
	im->result.records++;
}

static int import_all(struct import *im, struct snap_store *st, struct cf_err *err)
{
	size_t n = im->rows.count;

	im->out = cf_zalloc_n(n + 1, sizeof(im->out[0]));
	im->by_name = cf_zalloc_n(n + 1, sizeof(im->by_name[0]));
	for (size_t i = 0; i < n; i++)
		im->by_name[i] = &im->rows.items[i];
	qsort(im->by_name, n, sizeof(im->by_name[0]), by_name);
	for (size_t i = 0; i < n; i++)
		convert(im, i);
	return snap_store_import(st, im->out, n, (int64_t)CF_MIN(im->rows.sequence, INT64_MAX),
	                         err);
}

int snap_import(const char *root, enum snap_mode mode, struct snap_store *st,
                struct snap_imported *ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/" SNAP_IMPORT_FILE, root);
	struct import im = { .root = root, .mode = mode };
	struct bolt_file file;
	bool is_new = false;
	int r = snap_store_is_new(st, &is_new, err);

	*ret = (struct snap_imported){ 0 };
	if (r < 0 || !is_new || access(path, F_OK) < 0)
		return r;
	r = bolt_file_open(path, &file, err);
	if (r < 0)
		return r;
	r = snap_import_read(&file.db, &im.rows, err);
	if (r == 0)
		r = import_all(&im, st, err);
	if (r < 0)
		r = cf_wrap(err, r, "%s", path);
	else
		*ret = im.result;
	bolt_file_close(&file);
	snap_import_rows_fini(&im.rows);
	free(im.by_name);
	free(im.out);
	return r;
}
