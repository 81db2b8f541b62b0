/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_index.h"

#include "base/str.h"

#include <assert.h>

#define BUCKETS_MIN 256u

struct entry {
	struct snap_record *rec;
	uint64_t name_hash, ref_hash;
	struct entry *by_name, *by_ref, *by_id; /* next in the bucket */
	bool has_ref;
};

struct table {
	struct entry **buckets;
};

struct snap_index {
	struct table names, refs, ids;
	size_t buckets; /* a power of two, the same for all three */
	size_t count;
};

/* FNV-1a. Collisions cost time, nothing else; names come from containerd, which runs as root. */
static uint64_t hash_text(uint64_t h, const char *s)
{
	for (; *s; s++)
		h = (h ^ (uint8_t)*s) * 1099511628211u;
	return h;
}
#define HASH_START 14695981039346656037u

static uint64_t hash_ref(const char *ref, const char *parent)
{
	return hash_text(hash_text(HASH_START, ref) * 31, parent);
}

static uint64_t hash_id(int64_t id)
{
	return (uint64_t)id * 11400714819323198485u >> 20;
}

static void link_entry(struct snap_index *ix, struct entry *e)
{
	size_t mask = ix->buckets - 1;
	struct entry **name = &ix->names.buckets[e->name_hash & mask];
	struct entry **ref = &ix->refs.buckets[e->ref_hash & mask];
	struct entry **id = &ix->ids.buckets[hash_id(e->rec->id) & mask];

	e->by_name = *name;
	*name = e;
	e->by_id = *id;
	*id = e;
	if (e->has_ref) {
		e->by_ref = *ref;
		*ref = e;
	}
}

static void tables_make(struct snap_index *ix, size_t buckets)
{
	ix->buckets = buckets;
	ix->names.buckets = cf_zalloc_n(buckets, sizeof(struct entry *));
	ix->refs.buckets = cf_zalloc_n(buckets, sizeof(struct entry *));
	ix->ids.buckets = cf_zalloc_n(buckets, sizeof(struct entry *));
}

static void grow(struct snap_index *ix)
{
	struct snap_index old = *ix;

	tables_make(ix, old.buckets * 2);
	for (size_t i = 0; i < old.buckets; i++) {
		for (struct entry *e = old.names.buckets[i], *next; e; e = next) {
			next = e->by_name;
			link_entry(ix, e);
		}
	}
	free(old.names.buckets);
	free(old.refs.buckets);
	free(old.ids.buckets);
}

struct snap_index *snap_index_new(void)
{
	struct snap_index *ix = cf_zalloc(sizeof(*ix));

	tables_make(ix, BUCKETS_MIN);
	return ix;
}

struct snap_index *snap_index_free(struct snap_index *ix)
{
	if (!ix)
		return NULL;
	for (size_t i = 0; i < ix->buckets; i++) {
		for (struct entry *e = ix->names.buckets[i], *next; e; e = next) {
			next = e->by_name;
			snap_record_unref(e->rec);
			free(e);
		}
	}
	free(ix->names.buckets);
	free(ix->refs.buckets);
	free(ix->ids.buckets);
	free(ix);
	return NULL;
}

void snap_index_add(struct snap_index *ix, struct snap_record *rec_take)
{
	const char *ref = snap_record_label(rec_take, SNAP_LABEL_REF);
	struct entry *e = cf_zalloc(sizeof(*e));

	assert(!snap_index_get(ix, rec_take->name));
	if (ix->count >= ix->buckets)
		grow(ix);
	e->rec = rec_take;
	e->name_hash = hash_text(HASH_START, rec_take->name);
	e->has_ref = ref && rec_take->kind == SNAP_COMMITTED;
	if (e->has_ref)
		e->ref_hash = hash_ref(ref, rec_take->parent);
	link_entry(ix, e);
	ix->count++;
}

static struct entry *find_id(const struct snap_index *ix, int64_t id)
{
	struct entry *e = ix->ids.buckets[hash_id(id) & (ix->buckets - 1)];

	while (e && e->rec->id != id)
		e = e->by_id;
	return e;
}

#define UNLINK(head, e, next)                                                                      \
	do {                                                                                       \
		struct entry **link_ = (head);                                                     \
		while (*link_ != (e))                                                              \
			link_ = &(*link_)->next;                                                   \
		*link_ = (e)->next;                                                                \
	} while (0)

struct snap_record *snap_index_take(struct snap_index *ix, int64_t id)
{
	struct entry *e = find_id(ix, id);
	size_t mask = ix->buckets - 1;

	if (!e)
		return NULL;
	UNLINK(&ix->ids.buckets[hash_id(id) & mask], e, by_id);
	UNLINK(&ix->names.buckets[e->name_hash & mask], e, by_name);
	if (e->has_ref)
		UNLINK(&ix->refs.buckets[e->ref_hash & mask], e, by_ref);
	struct snap_record *rec = e->rec;

	free(e);
	ix->count--;
	return rec;
}

struct snap_record *snap_index_get(const struct snap_index *ix, const char *name)
{
	uint64_t h = hash_text(HASH_START, name);

	for (struct entry *e = ix->names.buckets[h & (ix->buckets - 1)]; e; e = e->by_name)
		if (e->name_hash == h && cf_streq(e->rec->name, name))
			return e->rec;
	return NULL;
}

struct snap_record *snap_index_get_id(const struct snap_index *ix, int64_t id)
{
	struct entry *e = find_id(ix, id);

	return e ? e->rec : NULL;
}

struct snap_record *snap_index_find_ref(const struct snap_index *ix, const char *ref,
                                        const char *parent)
{
	uint64_t h = hash_ref(ref, parent);

	for (struct entry *e = ix->refs.buckets[h & (ix->buckets - 1)]; e; e = e->by_ref)
		if (e->ref_hash == h && cf_streq(e->rec->parent, parent) &&
		    cf_streq(snap_record_label(e->rec, SNAP_LABEL_REF), ref))
			return e->rec;
	return NULL;
}

size_t snap_index_count(const struct snap_index *ix)
{
	return ix->count;
}

void snap_index_each(const struct snap_index *ix, void (*fn)(struct snap_record *rec, void *user),
                     void *user)
{
	for (size_t i = 0; i < ix->buckets; i++)
		for (struct entry *e = ix->names.buckets[i]; e; e = e->by_name)
			fn(e->rec, user);
}
