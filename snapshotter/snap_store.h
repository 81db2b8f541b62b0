/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the snapshotter knows: the records of all snapshots, on disk before they are acknowledged
 * (SQLite through base/db.h) and in memory for every reading.
 *
 *            prepare(key, parent)                  commit(name, key)
 *   (none) ──────────────────────▶ ACTIVE(key) ─────────────────────▶ COMMITTED(name)
 *      │     view(key, parent)                    a layer of a guest pull ▲
 *      ├──────────────────────▶ VIEW(key)                                 │
 *      └──────────────────────────────────────────────────────────────────┘
 *   remove(any), only while nobody has it as parent
 *
 * Keys and names share one space. A parent is "" or COMMITTED. Ids are never used twice. All calls
 * may be made from any thread; mutations block until they are durable. Codes and the order of
 * checks are containerd's (core/snapshots/storage).
 */
#include "base/db.h"
#include "snapshotter/snap_labels.h"

#include <stdatomic.h>

#define SNAP_KEY_MAX   4096u
#define SNAP_CHAIN_MAX 512u /* layers below a snapshot that are looked at */

enum snap_kind { /* the wire's numbers */
	         SNAP_VIEW = 1,
	         SNAP_ACTIVE = 2,
	         SNAP_COMMITTED = 3,
};

enum {
	SNAP_GUEST_PULL = 1u << 0,   /* a layer whose content never comes to this host */
	SNAP_NULL_EXTRACT = 1u << 1, /* an unpacking that brought no labels; content is not kept */
	SNAP_HAS_DIR = 1u << 2,      /* has snapshots/<id>/ */
	SNAP_KATA = 1u << 3,         /* answered with a Kata volume */
	SNAP_EROFS = 1u << 4,        /* COMMITTED: its content is an image (snap_erofs.h) */
	SNAP_ON_EROFS = 1u << 5,     /* stands on the mount of its parent's images */
	SNAP_HAS_IDENTITY = 1u << 6, /* brings /etc/passwd and /etc/group (snap_identity.h) */

	SNAP_FILES = SNAP_HAS_DIR | SNAP_EROFS | SNAP_ON_EROFS, /* a start has to look after it */
};

/* Where a record stands in the store's index, and nobody else's business (snap_index.h). */
struct snap_place {
	uint64_t name_hash, ref_hash;
	size_t children;                              /* records with this one as parent */
	struct snap_record *by_name, *by_ref, *by_id; /* next in the bucket */
	struct snap_record *next_file, **file_link;   /* of those with files */
	bool has_ref, is_joined, is_rooted;
};

/* Never changes once made, its place aside: share it freely, replace it to change it. */
struct snap_record {
	_Atomic unsigned refs;
	uint32_t parent_hash;  /* the parent's row is found by it */
	int64_t id, parent_id; /* parent_id 0: none */
	enum snap_kind kind;
	unsigned flags;
	int64_t created_ns, updated_ns; /* since 1970, UTC */
	int64_t size, inodes;           /* COMMITTED: usage */
	int64_t sum;                    /* of its row on disk */
	const char *name, *parent;      /* parent "" when none */
	struct snap_record *below;      /* the one whose name @parent is; NULL: a text of its own */
	struct snap_slab *slab;         /* whose memory this is; NULL: of its own */
	struct cf_view labels;          /* as snap_labels_encode() writes them */
	struct snap_place place;
};

struct snap_record *snap_record_ref(struct snap_record *rec);
struct snap_record *snap_record_unref(struct snap_record *rec); /* NULL is fine; returns NULL */
CF_DEFINE_CLEANUP(struct snap_record *, snap_record_unref);
const char *snap_record_label(const struct snap_record *rec, const char *key); /* or NULL */
size_t snap_record_label_count(const struct snap_record *rec);
/* One label after the other; *at is 0 before the first. False: no more. */
bool snap_record_next_label(const struct snap_record *rec, size_t *at, const char **ret_key,
                            const char **ret_value);

struct snap_store;

/* @path: the database file; its directory exists and is locked by the caller. */
cf_must_use int snap_store_open(const char *path, bool relaxed, struct snap_store **ret,
                                struct cf_err *err);
/*
 * The same in two steps, for who has to answer before all records are in memory: between them, nothing but
 * snap_store_peek() and snap_store_is_new() may be called. -CF_DATA_LOSS (of the second): the store can
 * only be closed.
 */
cf_must_use int snap_store_begin(const char *path, bool relaxed, struct snap_store **ret,
                                 struct cf_err *err);
cf_must_use int snap_store_load(struct snap_store *st, struct cf_err *err);
/*
 * From the disk: a reference to a record that is there, at any time, or NULL, which says nothing: that a
 * record is missing is known when all were read and counted. Its chain is not to be had.
 */
struct snap_record *snap_store_peek(struct snap_store *st, const char *name);
struct snap_store *snap_store_close(struct snap_store *st);
CF_DEFINE_CLEANUP(struct snap_store *, snap_store_close);

/* ---- reading: from memory ---- */

struct snap_record *snap_store_get(struct snap_store *st,
                                   const char *name); /* a reference, or NULL */
/* A reference to a layer with this snapshot.ref label and parent, or NULL. */
struct snap_record *snap_store_find_ref(struct snap_store *st, const char *ref, const char *parent);

struct snap_list {
	struct snap_record **items;
	size_t count, cap;
};
void snap_list_fini(struct snap_list *l);
/* All records as of one moment, in no order. */
void snap_store_list(struct snap_store *st, struct snap_list *ret);
/* Those with one of SNAP_FILES. */
void snap_store_list_files(struct snap_store *st, struct snap_list *ret);
/* The committed ones below @rec, nearest first, at most SNAP_CHAIN_MAX. */
void snap_store_chain(struct snap_store *st, const struct snap_record *rec, struct snap_list *ret);
struct snap_record *snap_store_get_id(struct snap_store *st, int64_t id); /* as snap_store_get() */
bool snap_store_has_id(struct snap_store *st, int64_t id);
size_t snap_store_count(struct snap_store *st);
void snap_store_stats(struct snap_store *st, struct cf_db_stats *ret);

/* ---- changing: durable when 0 is returned ---- */

struct snap_new {
	const char *key, *parent;
	enum snap_kind kind; /* ACTIVE or VIEW */
	unsigned flags;
	const struct snap_labels *labels;
};
/*
 * Prepare and View. -CF_NOT_FOUND (parent), -CF_INVALID_ARGUMENT (parent is not committed),
 * -CF_ALREADY_EXISTS (key).
 */
cf_must_use int snap_store_add(struct snap_store *st, const struct snap_new *in,
                               struct snap_record **ret, struct cf_err *err);
/*
 * A layer the guest will pull: one committed record named @ref (or @ref#id when that is taken),
 * unless there is one for the same @ref and @parent already. Codes as snap_store_add() for the
 * parent.
 */
cf_must_use int snap_store_add_layer(struct snap_store *st, const char *ref, const char *parent,
                                     const struct snap_labels *labels, bool *ret_is_new,
                                     struct cf_err *err);

/*
 * Takes up a layer that containerd knows by @name and we do not (a state directory that was wiped):
 * a committed record without parent, marked SNAP_LABEL_TAKEN_UP. One that is there is fine.
 */
cf_must_use int snap_store_take_up(struct snap_store *st, const char *name, bool *ret_is_new,
                                   struct cf_err *err);

struct snap_commit {
	const char *key, *name;
	const char *parent; /* "": as it is */
	const struct snap_labels *labels;
	int64_t size, inodes;
	unsigned flags_add, flags_del;
};
/*
 * -CF_NOT_FOUND (key), -CF_ALREADY_EXISTS (name), -CF_FAILED_PRECONDITION (not active),
 * -CF_INVALID_ARGUMENT (another parent), then the parent's own.
 */
cf_must_use int snap_store_commit(struct snap_store *st, const struct snap_commit *in,
                                  struct cf_err *err);

/* -CF_NOT_FOUND, -CF_FAILED_PRECONDITION (has children). *ret is what was removed. */
cf_must_use int snap_store_remove(struct snap_store *st, const char *key, struct snap_record **ret,
                                  struct cf_err *err);

/*
 * @paths "labels" or "labels.KEY"; none: all labels are replaced. -CF_NOT_FOUND,
 * -CF_INVALID_ARGUMENT (any other path; nothing is changed).
 */
cf_must_use int snap_store_update(struct snap_store *st, const char *key,
                                  const struct snap_labels *labels, char *const *paths,
                                  size_t path_count, struct snap_record **ret, struct cf_err *err);

/* ---- taking over another snapshotter's records ---- */

struct snap_store_import {
	struct snap_record head; /* numbers, kind and flags; name and labels are those below */
	const char *name, *parent;
	const struct snap_labels *labels;
};
/* Whether nothing was ever stored here. */
cf_must_use int snap_store_is_new(struct snap_store *st, bool *ret, struct cf_err *err);
/*
 * All of @rows or none, into a store that is new; parents stand before their children. Ids go on
 * above @last_id. -CF_ALREADY_EXISTS: two of one name or id.
 */
cf_must_use int snap_store_import(struct snap_store *st, const struct snap_store_import *rows,
                                  size_t count, int64_t last_id, struct cf_err *err);
