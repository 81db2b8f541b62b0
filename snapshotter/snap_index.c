/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_index.h"

#include "base/str.h"

#include <assert.h>

#define BUCKETS_MIN          256u
#define BLOCK_ENTRIES        128u
#define BUCKETS_EXPECTED_MAX (1u << 20) /* whatever the disk promises */

struct entry {
	struct snap_record *rec;
	int64_t id;
	uint64_t name_hash, ref_hash;
	size_t children;                        /* records with this one as parent */
	struct entry *by_name, *by_ref, *by_id; /* next in the bucket */
	struct entry *next_file, **file_link;   /* of those with files */
	bool has_ref;
};

struct table {
	struct entry **buckets;
};

/* Entries come in blocks, and are used again: there are many, all of one size. */
struct block {
	struct block *next;
	struct entry entries[];
};

struct snap_index {
	struct table names, refs, ids;
	struct entry *files; /* whose record has SNAP_FILES */
	struct entry *spare; /* not in use, linked by by_name */
	struct block *blocks;
	size_t buckets; /* a power of two, the same for all three */
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

static void add_block(struct snap_index *ix, size_t entries)
{
	struct block *b = cf_zalloc(sizeof(*b) + entries * sizeof(b->entries[0]));

	b->next = ix->blocks;
	ix->blocks = b;
	for (size_t i = entries; i-- > 0;) {
		b->entries[i].by_name = ix->spare;
		ix->spare = &b->entries[i];
	}
}

static struct entry *entry_take(struct snap_index *ix)
{
	if (!ix->spare)
		add_block(ix, BLOCK_ENTRIES);
	struct entry *e = ix->spare;

	ix->spare = e->by_name;
	return e;
}

static void entry_give(struct snap_index *ix, struct entry *e)
{
	*e = (struct entry){ .by_name = ix->spare };
	ix->spare = e;
}

static void link_entry(struct snap_index *ix, struct entry *e)
{
	size_t mask = ix->buckets - 1;
	struct entry **name = &ix->names.buckets[e->name_hash & mask];
	struct entry **ref = &ix->refs.buckets[e->ref_hash & mask];
	struct entry **id = &ix->ids.buckets[hash_id(e->id) & mask];

	e->by_name = *name;
	*name = e;
	e->by_id = *id;
	*id = e;
	if (e->has_ref) {
		e->by_ref = *ref;
		*ref = e;
	}
}

static void link_file(struct snap_index *ix, struct entry *e)
{
	if (!(e->rec->flags & SNAP_FILES))
		return;
	e->next_file = ix->files;
	e->file_link = &ix->files;
	if (ix->files)
		ix->files->file_link = &e->next_file;
	ix->files = e;
}

static void unlink_file(struct entry *e)
{
	*e->file_link = e->next_file;
	if (e->next_file)
		e->next_file->file_link = e->file_link;
}

static void tables_make(struct snap_index *ix, size_t buckets)
{
	ix->buckets = buckets;
	ix->names.buckets = cf_zalloc_n(buckets, sizeof(struct entry *));
	ix->refs.buckets = cf_zalloc_n(buckets, sizeof(struct entry *));
	ix->ids.buckets = cf_zalloc_n(buckets, sizeof(struct entry *));
}

static void resize(struct snap_index *ix, size_t buckets)
{
	struct snap_index old = *ix;

	tables_make(ix, buckets);
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

void snap_index_expect(struct snap_index *ix, size_t count)
{
	size_t buckets = ix->buckets;

	while (buckets < count && buckets < BUCKETS_EXPECTED_MAX)
		buckets *= 2;
	if (buckets > ix->buckets)
		resize(ix, buckets);
	if (count > BLOCK_ENTRIES)
		add_block(ix, CF_MIN(count, (size_t)BUCKETS_EXPECTED_MAX));
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
		for (struct entry *e = ix->names.buckets[i]; e; e = e->by_name)
			snap_record_unref(e->rec);
	}
	for (struct block *b = ix->blocks, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	free(ix->names.buckets);
	free(ix->refs.buckets);
	free(ix->ids.buckets);
	free(ix);
	return NULL;
}

static struct entry *find_id(const struct snap_index *ix, int64_t id)
{
	struct entry *e = ix->ids.buckets[hash_id(id) & (ix->buckets - 1)];

	while (e && e->id != id)
		e = e->by_id;
	return e;
}

static struct entry *find_name(const struct snap_index *ix, uint64_t h, const char *name)
{
	struct entry *e = ix->names.buckets[h & (ix->buckets - 1)];

	while (e && (e->name_hash != h || !cf_streq(e->rec->name, name)))
		e = e->by_name;
	return e;
}

struct snap_index_item snap_index_item(struct snap_record *rec)
{
	const char *ref =
		rec->kind == SNAP_COMMITTED ? snap_record_label(rec, SNAP_LABEL_REF) : NULL;
	struct snap_index_item item = { .rec = rec,
		                        .name_hash = hash_name(rec->name),
		                        .has_ref = ref != NULL };

	if (ref) /* mostly its name, and the same text then */
		item.ref_hash = ref == rec->name ? item.name_hash : hash_name(ref);
	return item;
}

bool snap_index_try_add(struct snap_index *ix, const struct snap_index_item *item)
{
	struct snap_record *rec = item->rec;

	if (find_name(ix, item->name_hash, rec->name))
		return false;
	struct entry *parent = rec->parent_id ? find_id(ix, rec->parent_id) : NULL;
	struct entry *e = entry_take(ix);

	if (ix->count >= ix->buckets)
		resize(ix, ix->buckets * 2);
	*e = (struct entry){
		.rec = rec, .id = rec->id, .name_hash = item->name_hash, .has_ref = item->has_ref
	};
	if (item->has_ref)
		e->ref_hash = hash_ref(item->ref_hash,
		                       parent ? parent->name_hash : hash_name(rec->parent));
	if (parent)
		parent->children++;
	link_entry(ix, e);
	link_file(ix, e);
	ix->count++;
	return true;
}

void snap_index_add(struct snap_index *ix, struct snap_record *rec_take)
{
	struct snap_index_item item = snap_index_item(rec_take);
	bool is_new = snap_index_try_add(ix, &item);

	assert(is_new);
	(void)is_new;
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
	if (e->file_link)
		unlink_file(e);
	struct snap_record *rec = e->rec;
	struct entry *parent = rec->parent_id ? find_id(ix, rec->parent_id) : NULL;

	if (parent)
		parent->children--;
	entry_give(ix, e);
	ix->count--;
	return rec;
}

void snap_index_swap(struct snap_index *ix, struct snap_record *rec_take, struct snap_record **ret)
{
	struct entry *e = find_id(ix, rec_take->id);
	size_t children = e ? e->children : 0;

	*ret = snap_index_take(ix, rec_take->id);
	snap_index_add(ix, rec_take);
	find_id(ix, rec_take->id)->children = children;
}

size_t snap_index_children(const struct snap_index *ix, int64_t id)
{
	struct entry *e = find_id(ix, id);

	return e ? e->children : 0;
}

struct snap_record *snap_index_get(const struct snap_index *ix, const char *name)
{
	struct entry *e = find_name(ix, hash_name(name), name);

	return e ? e->rec : NULL;
}

struct snap_record *snap_index_get_id(const struct snap_index *ix, int64_t id)
{
	struct entry *e = find_id(ix, id);

	return e ? e->rec : NULL;
}

struct snap_record *snap_index_find_ref(const struct snap_index *ix, const char *ref,
                                        const char *parent)
{
	uint64_t h = hash_ref(hash_name(ref), hash_name(parent));

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

void snap_index_each_file(const struct snap_index *ix,
                          void (*fn)(struct snap_record *rec, void *user), void *user)
{
	for (struct entry *e = ix->files; e; e = e->next_file)
		fn(e->rec, user);
}
