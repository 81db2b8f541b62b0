/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_record.h"
#include "base/str.h"

#include <assert.h>

/* The texts of @encoded (key NUL value NUL …) are even in number and all ended: ours, see below. */
static size_t count_texts(struct cf_view encoded)
{
	size_t n = 0;

	for (size_t i = 0; i < encoded.size; i++)
		n += encoded.data[i] == 0;
	return n;
}

static char *put(char **at, const void *data, size_t size)
{
	char *here = *at;

	if (size)
		memcpy(here, data, size);
	*at += size;
	return here;
}

/* One allocation holds the record, its labels' table and all texts. */
struct snap_record *snap_record_new(const struct snap_record *head, const char *name,
                                    const char *parent, struct cf_view labels)
{
	size_t count = count_texts(labels) / 2;
	size_t texts = strlen(name) + 1 + strlen(parent) + 1 + labels.size;
	struct snap_record *rec =
		cf_zalloc(sizeof(*rec) + count * sizeof(struct snap_label) + texts);
	struct snap_label *table = (struct snap_label *)(rec + 1);
	char *at = (char *)(table + count);

	assert(!labels.size || labels.data[labels.size - 1] == 0);
	rec->id = head->id;
	rec->parent_id = head->parent_id;
	rec->kind = head->kind;
	rec->flags = head->flags;
	rec->created_ns = head->created_ns;
	rec->updated_ns = head->updated_ns;
	rec->size = head->size;
	rec->inodes = head->inodes;
	atomic_init(&rec->refs, 1);
	rec->name = put(&at, name, strlen(name) + 1);
	rec->parent = put(&at, parent, strlen(parent) + 1);
	char *text = put(&at, labels.data, labels.size);

	for (size_t i = 0; i < count; i++) {
		table[i].key = text;
		text += strlen(text) + 1;
		table[i].value = text;
		text += strlen(text) + 1;
	}
	rec->labels = table;
	rec->label_count = count;
	return rec;
}

struct snap_record *snap_record_ref(struct snap_record *rec)
{
	atomic_fetch_add(&rec->refs, 1);
	return rec;
}

struct snap_record *snap_record_unref(struct snap_record *rec)
{
	if (rec && atomic_fetch_sub(&rec->refs, 1) == 1)
		free(rec);
	return NULL;
}

const char *snap_record_label(const struct snap_record *rec, const char *key)
{
	size_t low = 0, high = rec->label_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = strcmp(rec->labels[mid].key, key);

		if (c == 0)
			return rec->labels[mid].value;
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}
