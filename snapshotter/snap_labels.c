/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_labels.h"

#include "base/str.h"

static size_t size_of(const char *key, const char *value)
{
	return strlen(key) + strlen(value) + 2;
}

static void item_free(struct snap_labels *l, struct snap_label *item)
{
	l->bytes -= size_of(item->key, item->value);
	free(item->key);
	free(item->value);
}

void snap_labels_fini(struct snap_labels *l)
{
	for (size_t i = 0; i < l->count; i++)
		item_free(l, &l->items[i]);
	free(l->items);
	*l = (struct snap_labels){ 0 };
}

/* Where @key is, or where it belongs. */
static size_t place_of(const struct snap_labels *l, const char *key, bool *found)
{
	size_t low = 0, high = l->count;

	*found = false;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = strcmp(l->items[mid].key, key);

		if (c == 0) {
			*found = true;
			return mid;
		}
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

void snap_labels_del(struct snap_labels *l, const char *key)
{
	bool found;
	size_t i = place_of(l, key, &found);

	if (!found)
		return;
	item_free(l, &l->items[i]);
	l->count--;
	memmove(&l->items[i], &l->items[i + 1], (l->count - i) * sizeof(l->items[0]));
}

const char *snap_labels_get(const struct snap_labels *l, const char *key)
{
	bool found;
	size_t i = place_of(l, key, &found);

	return found ? l->items[i].value : NULL;
}

static void insert(struct snap_labels *l, const char *key, const char *value)
{
	bool found;
	size_t i = place_of(l, key, &found);

	cf_grow(&l->items, &l->cap, l->count + 1);
	memmove(&l->items[i + 1], &l->items[i], (l->count - i) * sizeof(l->items[0]));
	l->items[i] = (struct snap_label){ cf_strdup(key), cf_strdup(value) };
	l->count++;
	l->bytes += size_of(key, value);
}

int snap_labels_set(struct snap_labels *l, const char *key, const char *value, struct cf_err *err)
{
	if (!key[0] || strlen(key) > SNAP_LABEL_KEY_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "label keys have 1 to %u bytes",
		               SNAP_LABEL_KEY_MAX);
	const char *had = snap_labels_get(l, key);
	size_t bytes = l->bytes - (had ? size_of(key, had) : 0) + size_of(key, value);

	if (bytes > SNAP_LABELS_BYTES_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "labels of more than %u bytes",
		               SNAP_LABELS_BYTES_MAX);
	snap_labels_del(l, key);
	if (value[0])
		insert(l, key, value);
	return 0;
}

/* ---- as stored ---- */

/* Their places are in files: add at the end. */
static const char *const known[] = {
	SNAP_LABEL_REF,         SNAP_LABEL_IMAGE_REF,  SNAP_LABEL_LAYER,       SNAP_LABEL_MANIFEST,
	SNAP_LABEL_DIFF_ID,     SNAP_LABEL_PROXY_MODE, SNAP_LABEL_OUR_MODE,    SNAP_LABEL_TAKEN_UP,
	SNAP_LABEL_UID_MAPPING, "guest-pull",          SNAP_LABEL_GID_MAPPING, "true",
};
#define KNOWN_FIRST  0x01
#define THE_NAME     0x1e
#define AS_IT_STANDS 0x1f /* before a text that begins with one of these */
_Static_assert(KNOWN_FIRST + CF_ARRAY_LEN(known) <= THE_NAME, "one byte for each");

void snap_labels_encode_text(const char *text, const char *name, struct cf_buf *out)
{
	uint8_t code = 0;

	for (size_t i = 0; !code && i < CF_ARRAY_LEN(known); i++)
		if (cf_streq(text, known[i]))
			code = (uint8_t)(KNOWN_FIRST + i);
	if (!code && text[0] && cf_streq(text, name))
		code = THE_NAME;
	if (!code && text[0] > 0 && text[0] <= AS_IT_STANDS)
		cf_buf_add_byte(out, AS_IT_STANDS);
	if (code)
		cf_buf_add_byte(out, code);
	else
		cf_buf_add_str(out, text);
	cf_buf_add_byte(out, 0);
}

const char *snap_labels_text(const char *stored, const char *name)
{
	uint8_t code = (uint8_t)stored[0];

	if (code > AS_IT_STANDS)
		return stored;
	if (code == AS_IT_STANDS)
		return stored + 1;
	if (code == THE_NAME)
		return name;
	return code >= KNOWN_FIRST && code - KNOWN_FIRST < (int)CF_ARRAY_LEN(known)
	               ? known[code - KNOWN_FIRST]
	               : stored;
}

void snap_labels_encode(const struct snap_labels *l, const char *name, struct cf_buf *out)
{
	for (size_t i = 0; i < l->count; i++) {
		snap_labels_encode_text(l->items[i].key, name, out);
		snap_labels_encode_text(l->items[i].value, name, out);
	}
}

static const char *next_text(struct cf_view *in, const char *name)
{
	ssize_t n = cf_view_find(*in, 0);
	const char *stored = (const char *)in->data;

	if (n < 0)
		return NULL;
	*in = cf_view_sub(*in, (size_t)n + 1, in->size);
	return snap_labels_text(stored, name);
}

int snap_labels_decode(struct cf_view in, const char *name, struct snap_labels *ret,
                       struct cf_err *err)
{
	while (in.size) {
		const char *key = next_text(&in, name);
		const char *value = key ? next_text(&in, name) : NULL;

		if (!value)
			return cf_fail(err, CF_DATA_LOSS, "stored labels are cut short");
		int r = snap_labels_set(ret, key, value, err);

		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- id mappings ---- */

static bool parse_map(struct cf_view one, uint64_t ret[3])
{
	cf_cleanup(cf_strv_fini) struct cf_strv parts = { 0 };
	struct cf_err ignored;

	cf_strv_split(&parts, one, ':');
	for (size_t i = 0; i < parts.count && i < 3; i++)
		if (cf_parse_u64(cf_view_str(parts.items[i]), UINT32_MAX, &ret[i], &ignored) < 0)
			return false;
	return parts.count == 3;
}

uint32_t snap_labels_root_of(const char *mapping)
{
	cf_cleanup(cf_strv_fini) struct cf_strv maps = { 0 };
	uint64_t m[3];

	if (!mapping)
		return SNAP_NO_ID;
	cf_strv_split(&maps, cf_view_str(mapping), ',');
	for (size_t i = 0; i < maps.count; i++) {
		if (!parse_map(cf_view_str(maps.items[i]), m))
			return SNAP_NO_ID;
		if (m[0] == 0 && m[2] > 0)
			return (uint32_t)m[1];
	}
	return SNAP_NO_ID;
}
