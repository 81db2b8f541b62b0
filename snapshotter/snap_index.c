/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_index.h"

#include "base/str.h"

#include <assert.h>

#define BUCKETS_MIN          256u
#define BUCKETS_EXPECTED_MAX (1u << 20) /* whatever the disk promises */

struct table {
	struct snap_record **buckets;
};

struct snap_index {
	struct table names, refs, ids;
	struct snap_record *files; /* those with SNAP_FILES */
	size_t buckets;            /* a power of two, the same for all three */
	size_t count;
};

/* Collisions cost time, nothing else; names come from containerd, which runs as root. */
static uint64_t hash_text(uint64_t h, const char *s)
{
	size_t size = strlen(s);
	uint64_t word;

	for (; size >= sizeof(word); s += sizeof(word), size -= sizeof(word)) {
		memcpy(&word, s, sizeof(word));
		h = (h ^ word) * 1099511628211u;
		h ^= h >> 32;
	}
	word = size;
	memcpy(&word, s, size);
	h = (h ^ word) * 1099511628211u;
	return h ^ h >> 32;
}
#define HASH_START 14695981039346656037u

static uint64_t hash_name(const char *name)
{
	return hash_text(HASH_START, name);
}

static uint64_t hash_ref(uint64_t ref, uint64_t parent)
{
	uint64_t h = (ref * 31 ^ parent) * 1099511628211u;

	return h ^ h >> 32;
}

static uint64_t hash_id(int64_t id)
{
	return (uint64_t)id * 11400714819323198485u >> 20;
}

static void link_record(struct snap_index *ix, struct snap_record *rec)
{
	size_t mask = ix->buckets - 1;
	struct snap_place *at = &rec->place;
	struct snap_record **name = &ix->names.buckets[at->name_hash & mask];
	struct snap_record **id = &ix->ids.buckets[hash_id(rec->id) & mask];

	at->by_name = *name;
	*name = rec;
	at->by_id = *id;
	*id = rec;
}

static void link_ref(struct snap_index *ix, struct snap_record *rec)
{
	struct snap_place *at = &rec->place;
	struct snap_record **ref = &ix->refs.buckets[at->ref_hash & (ix->buckets - 1)];

	at->by_ref = *ref;
	*ref = rec;
}

static void link_file(struct snap_index *ix, struct snap_record *rec)
{
	if (!(rec->flags & SNAP_FILES))
		return;
	rec->place.next_file = ix->files;
	rec->place.file_link = &ix->files;
	if (ix->files)
		ix->files->place.file_link = &rec->place.next_file;
	ix->files = rec;
}

static void unlink_file(struct snap_record *rec)
{
	*rec->place.file_link = rec->place.next_file;
	if (rec->place.next_file)
		rec->place.next_file->place.file_link = rec->place.file_link;
}

static void tables_make(struct snap_index *ix, size_t buckets)
{
	ix->buckets = buckets;
	ix->names.buckets = cf_zalloc_n(buckets, sizeof(struct snap_record *));
	ix->refs.buckets = cf_zalloc_n(buckets, sizeof(struct snap_record *));
	ix->ids.buckets = cf_zalloc_n(buckets, sizeof(struct snap_record *));
}

static void resize(struct snap_index *ix, size_t buckets)
{
	struct snap_index old = *ix;

	tables_make(ix, buckets);
	for (size_t i = 0; i < old.buckets; i++) {
		for (struct snap_record *rec = old.names.buckets[i], *next; rec; rec = next) {
			next = rec->place.by_name;
			link_record(ix, rec);
			if (rec->place.is_joined && rec->place.has_ref)
				link_ref(ix, rec);
		}
	}
	free(old.names.buckets);
	free(old.refs.buckets);
	free(old.ids.buckets);
}

void snap_index_expect(struct snap_index *ix, size_t count)
{
	size_t buckets = ix->buckets;

	while (buckets < count && buckets < BUCKETS_EXPECTED_MAX)
		buckets *= 2;
	if (buckets > ix->buckets)
		resize(ix, buckets);
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
		for (struct snap_record *rec = ix->names.buckets[i], *next; rec; rec = next) {
			next = rec->place.by_name;
			snap_record_unref(rec);
		}
	}
	free(ix->names.buckets);
	free(ix->refs.buckets);
	free(ix->ids.buckets);
	free(ix);
	return NULL;
}

static struct snap_record *find_name(const struct snap_index *ix, uint64_t h, const char *name)
{
	struct snap_record *rec = ix->names.buckets[h & (ix->buckets - 1)];

	while (rec && (rec->place.name_hash != h || !cf_streq(rec->name, name)))
		rec = rec->place.by_name;
	return rec;
}

void snap_index_prepare(struct snap_record *rec)
{
	const char *ref =
		rec->kind == SNAP_COMMITTED ? snap_record_label(rec, SNAP_LABEL_REF) : NULL;

	rec->place =
		(struct snap_place){ .name_hash = hash_name(rec->name), .has_ref = ref != NULL };
	if (ref) /* mostly its name, and the same text then */
		rec->place.ref_hash = ref == rec->name ? rec->place.name_hash : hash_name(ref);
}

bool snap_index_put(struct snap_index *ix, struct snap_record *rec)
{
	if (find_name(ix, rec->place.name_hash, rec->name) || snap_index_get_id(ix, rec->id))
		return false;
	if (ix->count >= ix->buckets)
		resize(ix, ix->buckets * 2);
	link_record(ix, rec);
	link_file(ix, rec);
	ix->count++;
	return true;
}

void snap_index_join(struct snap_index *ix, struct snap_record *rec, struct snap_record *parent)
{
	struct snap_place *at = &rec->place;

	at->is_joined = true;
	if (parent)
		parent->place.children++;
	if (!at->has_ref)
		return;
	at->ref_hash =
		hash_ref(at->ref_hash, parent ? parent->place.name_hash : hash_name(rec->parent));
	link_ref(ix, rec);
}

void snap_index_add(struct snap_index *ix, struct snap_record *rec_take)
{
	snap_index_prepare(rec_take);
	bool is_new = snap_index_put(ix, rec_take);

	assert(is_new);
	(void)is_new;
	snap_index_join(ix, rec_take,
	                rec_take->parent_id ? snap_index_get_id(ix, rec_take->parent_id) : NULL);
}

#define UNLINK(head, rec, next)                                                                    \
	do {                                                                                       \
		struct snap_record **link_ = (head);                                               \
		while (*link_ != (rec))                                                            \
			link_ = &(*link_)->place.next;                                             \
		*link_ = (rec)->place.next;                                                        \
	} while (0)

struct snap_record *snap_index_take(struct snap_index *ix, int64_t id)
{
	struct snap_record *rec = snap_index_get_id(ix, id);
	size_t mask = ix->buckets - 1;

	if (!rec)
		return NULL;
	UNLINK(&ix->ids.buckets[hash_id(id) & mask], rec, by_id);
	UNLINK(&ix->names.buckets[rec->place.name_hash & mask], rec, by_name);
	if (rec->place.has_ref)
		UNLINK(&ix->refs.buckets[rec->place.ref_hash & mask], rec, by_ref);
	if (rec->place.file_link)
		unlink_file(rec);
	struct snap_record *parent = rec->parent_id ? snap_index_get_id(ix, rec->parent_id) : NULL;

	if (parent)
		parent->place.children--;
	ix->count--;
	return rec;
}

void snap_index_swap(struct snap_index *ix, struct snap_record *rec_take, struct snap_record **ret)
{
	*ret = snap_index_take(ix, rec_take->id);
	snap_index_add(ix, rec_take);
	rec_take->place.children = *ret ? (*ret)->place.children : 0;
}

size_t snap_index_children(const struct snap_index *ix, int64_t id)
{
	const struct snap_record *rec = snap_index_get_id(ix, id);

	return rec ? rec->place.children : 0;
}

struct snap_record *snap_index_get(const struct snap_index *ix, const char *name)
{
	return find_name(ix, hash_name(name), name);
}

struct snap_record *snap_index_get_id(const struct snap_index *ix, int64_t id)
{
	struct snap_record *rec = ix->ids.buckets[hash_id(id) & (ix->buckets - 1)];

	while (rec && rec->id != id)
		rec = rec->place.by_id;
	return rec;
}

struct snap_record *snap_index_find_ref(const struct snap_index *ix, const char *ref,
                                        const char *parent)
{
	uint64_t h = hash_ref(hash_name(ref), hash_name(parent));
	struct snap_record *rec = ix->refs.buckets[h & (ix->buckets - 1)];

	while (rec && (rec->place.ref_hash != h || !cf_streq(rec->parent, parent) ||
	               !cf_streq(snap_record_label(rec, SNAP_LABEL_REF), ref)))
		rec = rec->place.by_ref;
	return rec;
}

size_t snap_index_count(const struct snap_index *ix)
{
	return ix->count;
}

void snap_index_each(const struct snap_index *ix, void (*fn)(struct snap_record *rec, void *user),
                     void *user)
{
	for (size_t i = 0; i < ix->buckets; i++)
		for (struct snap_record *rec = ix->names.buckets[i]; rec; rec = rec->place.by_name)
			fn(rec, user);
}

void snap_index_each_file(const struct snap_index *ix,
                          void (*fn)(struct snap_record *rec, void *user), void *user)
{
	for (struct snap_record *rec = ix->files; rec; rec = rec->place.next_file)
		fn(rec, user);
}
