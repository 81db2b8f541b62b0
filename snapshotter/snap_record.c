/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_record.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

/* ---- slabs ---- */

#define SLAB_BYTES  (128u << 10)
#define SLAB_RECORD (SLAB_BYTES / 8) /* larger ones have memory of their own */

struct snap_slab {
	_Atomic unsigned refs; /* its records, and whoever makes more of them */
	size_t used;
};

struct snap_slab *snap_slab_unref(struct snap_slab *slab)
{
	if (slab && atomic_fetch_sub(&slab->refs, 1) == 1)
		munmap(slab, SLAB_BYTES);
	return NULL;
}

/* All its pages at once: a fault for each would cost more than what is written to it. */
static struct snap_slab *slab_new(void)
{
	struct snap_slab *slab = mmap(NULL, SLAB_BYTES, PROT_READ | PROT_WRITE,
	                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (slab == MAP_FAILED)
		abort(); /* as cf_zalloc() */
	atomic_init(&slab->refs, 1);
	slab->used = sizeof(*slab);
	return slab;
}

/* NULL: @size is too large for a slab. */
static void *slab_take(struct snap_slab **at, size_t size)
{
	const size_t align = _Alignof(struct snap_record);

	size = (size + align - 1) / align * align;
	if (size > SLAB_RECORD)
		return NULL;
	if (!*at || (*at)->used + size > SLAB_BYTES) {
		snap_slab_unref(*at);
		*at = slab_new();
	}
	struct snap_slab *slab = *at;
	void *memory = (char *)slab + slab->used;

	slab->used += size;
	atomic_fetch_add(&slab->refs, 1);
	return memory;
}

/* ---- records ---- */

static char *put(char **at, struct cf_view text)
{
	char *here = *at;

	if (text.size)
		memcpy(here, text.data, text.size);
	here[text.size] = '\0';
	*at += text.size + 1;
	return here;
}

/* One allocation holds the record and its texts: there are as many as there are layers on a node. */
struct snap_record *snap_record_new(const struct snap_record *head, struct cf_view name,
                                    const char *parent, struct cf_view labels,
                                    struct snap_slab **slab_at)
{
	assert(!labels.size || labels.data[labels.size - 1] == 0);
	struct cf_view parent_view = cf_view_str(parent);
	size_t size = sizeof(struct snap_record) + name.size + parent_view.size + labels.size + 3;
	struct snap_record *rec = slab_at ? slab_take(slab_at, size) : NULL;
	struct snap_slab *slab = rec ? *slab_at : NULL;

	if (!rec)
		rec = cf_zalloc(size);
	char *at = (char *)(rec + 1);

	*rec = (struct snap_record){
		.id = head->id,
		.parent_id = head->parent_id,
		.parent_hash = head->parent_hash,
		.kind = head->kind,
		.flags = head->flags,
		.created_ns = head->created_ns,
		.updated_ns = head->updated_ns,
		.size = head->size,
		.inodes = head->inodes,
		.sum = head->sum,
		.slab = slab,
	};
	atomic_init(&rec->refs, 1);
	rec->name = put(&at, name);
	rec->parent = put(&at, parent_view);
	rec->labels = cf_view(put(&at, labels), labels.size);
	return rec;
}

void snap_record_put_on(struct snap_record *rec, struct snap_record *below)
{
	assert(!rec->below && !rec->parent[0]);
	rec->below = snap_record_ref(below);
	rec->parent = below->name;
}

struct snap_record *snap_record_ref(struct snap_record *rec)
{
	atomic_fetch_add(&rec->refs, 1);
	return rec;
}

struct snap_record *snap_record_unref(struct snap_record *rec)
{
	while (rec && atomic_fetch_sub(&rec->refs, 1) == 1) {
		struct snap_record *below = rec->below;

		if (rec->slab)
			snap_slab_unref(rec->slab);
		else
			free(rec);
		rec = below;
	}
	return NULL;
}

bool snap_record_next_label(const struct snap_record *rec, size_t *at, const char **ret_key,
                            const char **ret_value)
{
	if (*at >= rec->labels.size)
		return false;
	const char *key = (const char *)rec->labels.data + *at;
	const char *value = key + strlen(key) + 1;

	*at += (size_t)(value - key) + strlen(value) + 1;
	*ret_key = snap_labels_text(key, rec->name);
	*ret_value = snap_labels_text(value, rec->name);
	return true;
}

size_t snap_record_label_count(const struct snap_record *rec)
{
	const char *key, *value;
	size_t n = 0;

	for (size_t at = 0; snap_record_next_label(rec, &at, &key, &value);)
		n++;
	return n;
}

const char *snap_record_label(const struct snap_record *rec, const char *key)
{
	const char *has, *value;
	size_t at = 0;

	while (snap_record_next_label(rec, &at, &has, &value))
		if (strcmp(has, key) == 0)
			return value;
	return NULL;
}
