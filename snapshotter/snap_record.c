/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_record.h"
#include "base/str.h"

#include <assert.h>

/* The texts of @encoded (key NUL value NUL …) are even in number and all ended: ours, see below. */
static size_t count_texts(struct cf_view encoded)
{
	size_t n = 0;

	if (!encoded.size)
		return 0;
	for (const uint8_t *p = encoded.data, *end = p + encoded.size; p < end; n++)
		p = (const uint8_t *)memchr(p, 0, (size_t)(end - p)) + 1;
	return n;
}

/* Texts that nearly every record has: one for all of them. */
#define SHARED(text)                                                                               \
	{                                                                                          \
		text, sizeof(text) - 1                                                             \
	}
static const struct {
	const char *text;
	size_t size;
} shared[] = {
	SHARED("true"),
	SHARED("guest-pull"),
	SHARED(SNAP_LABEL_REF),
	SHARED(SNAP_LABEL_IMAGE_REF),
	SHARED(SNAP_LABEL_LAYER),
	SHARED(SNAP_LABEL_MANIFEST),
	SHARED(SNAP_LABEL_DIFF_ID),
	SHARED(SNAP_LABEL_PROXY_MODE),
	SHARED(SNAP_LABEL_OUR_MODE),
	SHARED(SNAP_LABEL_TAKEN_UP),
};

/* A layer's snapshot.ref is its name, mostly. */
static const char *same_text(struct cf_view text, struct cf_view name)
{
	if (cf_view_eq(text, name))
		return (const char *)name.data;
	for (size_t i = 0; i < CF_ARRAY_LEN(shared); i++)
		if (shared[i].size == text.size &&
		    memcmp(shared[i].text, text.data, text.size) == 0)
			return shared[i].text;
	return NULL;
}

static char *put(char **at, struct cf_view text)
{
	char *here = *at;

	if (text.size)
		memcpy(here, text.data, text.size); /* the NUL behind it is there already */
	*at += text.size + 1;
	return here;
}

static struct cf_view next_text(struct cf_view *in)
{
	struct cf_view text = cf_view_sub(*in, 0, strlen((const char *)in->data));

	*in = cf_view_sub(*in, text.size + 1, in->size);
	return text;
}

static size_t own_bytes(struct cf_view labels, size_t texts, struct cf_view name)
{
	size_t own = 0;

	for (size_t i = 0; i < texts; i++) {
		struct cf_view text = next_text(&labels);

		own += same_text(text, name) ? 0 : text.size + 1;
	}
	return own;
}

/* One allocation holds the record, its labels' table and the texts that are its own. */
struct snap_record *snap_record_new(const struct snap_record *head, struct cf_view name,
                                    const char *parent, struct cf_view labels)
{
	assert(!labels.size || labels.data[labels.size - 1] == 0);
	struct cf_view parent_view = cf_view_str(parent);
	size_t texts = count_texts(labels);
	size_t own = name.size + parent_view.size + 2 + own_bytes(labels, texts, name);
	struct snap_record *rec =
		cf_zalloc(sizeof(*rec) + texts / 2 * sizeof(struct snap_label) + own);
	struct snap_label *table = (struct snap_label *)(rec + 1);
	char *at = (char *)(table + texts / 2);

	rec->id = head->id;
	rec->parent_id = head->parent_id;
	rec->kind = head->kind;
	rec->flags = head->flags;
	rec->created_ns = head->created_ns;
	rec->updated_ns = head->updated_ns;
	rec->size = head->size;
	rec->inodes = head->inodes;
	rec->sum = head->sum;
	atomic_init(&rec->refs, 1);
	rec->name = put(&at, name);
	rec->parent = put(&at, parent_view);
	for (size_t i = 0; i < texts; i++) {
		struct cf_view text = next_text(&labels);
		const char *same = same_text(text, cf_view(rec->name, name.size));
		/* The table is of the same type as a list's, whose texts may change; these not. */
		char *stays = same ? (char *)(uintptr_t)same : put(&at, text);

		*(i % 2 ? &table[i / 2].value : &table[i / 2].key) = stays;
	}
	rec->labels = table;
	rec->label_count = texts / 2;
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
