/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Reads a bbolt database: the file format in which nydus-snapshotter keeps its snapshots and
 * containerd its metadata. Reading only; nothing is ever written there.
 *
 * The bytes may be hostile or torn: every offset is checked against the file, keys must ascend,
 * trees have a greatest depth, and a reader has a budget of elements that is a multiple of what the
 * file can hold, so that pages which refer to each other in circles end in an error.
 * Source: go.etcd.io/bbolt, page.go, meta.go, bucket.go (format version 2). Little-endian hosts.
 */
#include "base/bytes.h"
#include "base/err.h"

#define BOLT_SIZE_MAX  (4ull << 30) /* bytes of a file */
#define BOLT_DEPTH_MAX 32u          /* branch pages above a leaf */
#define BOLT_KEY_MAX   32768u       /* bbolt's own */

struct bolt {
	struct cf_view file; /* borrowed */
	uint32_t page_size;
	uint64_t page_count; /* pages below the high-water mark that the file holds */
	uint64_t root;
	uint64_t budget; /* elements that may still be looked at */
};

struct bolt_bucket {
	struct bolt *db;
	uint64_t root;              /* page, or 0: inline */
	struct cf_view inline_page; /* borrowed from the file */
	uint64_t sequence;
};

/* Finds the newest sound meta page. -CF_DATA_LOSS: this is no bbolt file, or it is damaged. */
cf_must_use int bolt_open(struct cf_view file, struct bolt *ret, struct cf_err *err);
struct bolt_bucket bolt_root(struct bolt *db);

struct bolt_item { /* borrowed from the file */
	struct cf_view key;
	struct cf_view value; /* empty for a bucket */
	bool is_bucket;
	struct bolt_bucket bucket;
};

/*
 * Calls @fn for each item, keys ascending. Negative from @fn ends the walk and is returned;
 * positive ends it, and 0 is returned. -CF_DATA_LOSS: damaged.
 */
cf_must_use int bolt_each(const struct bolt_bucket *b,
                          int (*fn)(const struct bolt_item *item, void *user, struct cf_err *err),
                          void *user, struct cf_err *err);
/* -CF_NOT_FOUND, -CF_FAILED_PRECONDITION (a value, not a bucket), -CF_DATA_LOSS. */
cf_must_use int bolt_bucket_in(const struct bolt_bucket *b, const char *name,
                               struct bolt_bucket *ret, struct cf_err *err);
/* A value; -CF_NOT_FOUND, -CF_FAILED_PRECONDITION (a bucket), -CF_DATA_LOSS. */
cf_must_use int bolt_value(const struct bolt_bucket *b, const char *name, struct cf_view *ret,
                           struct cf_err *err);

/* ---- values as containerd and nydus-snapshotter write them ---- */

/* Go's binary.PutUvarint and PutVarint; -CF_DATA_LOSS when it is none. */
cf_must_use int bolt_uvarint(struct cf_view v, uint64_t *ret, struct cf_err *err);
cf_must_use int bolt_varint(struct cf_view v, int64_t *ret, struct cf_err *err);
/* Go's time.MarshalBinary, as nanoseconds since 1970, UTC; clipped to what fits. */
cf_must_use int bolt_time(struct cf_view v, int64_t *ret, struct cf_err *err);

/* A file mapped for reading, with bbolt's own lock held, so that no writer has it open. */
struct bolt_file {
	int fd;
	void *map;
	size_t size;
	struct bolt db;
};
/*
 * -CF_NOT_FOUND, -CF_UNAVAILABLE (another process has it open), -CF_DATA_LOSS. Close it with
 * bolt_file_close().
 */
cf_must_use int bolt_file_open(const char *path, struct bolt_file *ret, struct cf_err *err);
void bolt_file_close(struct bolt_file *f);
