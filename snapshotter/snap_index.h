/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The records in memory, by name, by id and by (snapshot.ref, parent), with the number of children of
 * each. Its links are in the records (snap_record.place): a record is in one index at most. No locking of
 * its own: the store's.
 */
#include "snapshotter/snap_store.h"

struct snap_index;

struct snap_index *snap_index_new(void);
struct snap_index *snap_index_free(struct snap_index *ix);
/* So many records are to come. */
void snap_index_expect(struct snap_index *ix, size_t count);

/* Takes the reference; name and id must be free (asserted), the parent must be there already. */
void snap_index_add(struct snap_index *ix, struct snap_record *rec_take);
/*
 * The same in three steps, for many records in any order of parents: what can be made ready on any
 * thread; then the record by its name and id, unless one of them is taken (false: the reference stays the
 * caller's); then, when all are there, its parent's part (NULL: it has none) and its (snapshot.ref, parent).
 */
void snap_index_prepare(struct snap_record *rec);
bool snap_index_put(struct snap_index *ix, struct snap_record *rec);
void snap_index_join(struct snap_index *ix, struct snap_record *rec, struct snap_record *parent);
/* Takes a record out by id; its reference goes to the caller. NULL when it is not there. */
struct snap_record *snap_index_take(struct snap_index *ix, int64_t id);
/* Puts a record in the place of the one with its id, whose children are its own then. */
void snap_index_swap(struct snap_index *ix, struct snap_record *rec_take, struct snap_record **ret);
size_t snap_index_children(const struct snap_index *ix, int64_t id);
struct snap_record *snap_index_get(const struct snap_index *ix, const char *name); /* borrowed */
struct snap_record *snap_index_get_id(const struct snap_index *ix, int64_t id);    /* borrowed */
struct snap_record *snap_index_find_ref(const struct snap_index *ix, const char *ref,
                                        const char *parent); /* borrowed */
size_t snap_index_count(const struct snap_index *ix);
/* All of them, borrowed, in no order. */
void snap_index_each(const struct snap_index *ix, void (*fn)(struct snap_record *rec, void *user),
                     void *user);
/* Those with one of SNAP_FILES. */
void snap_index_each_file(const struct snap_index *ix,
                          void (*fn)(struct snap_record *rec, void *user), void *user);
