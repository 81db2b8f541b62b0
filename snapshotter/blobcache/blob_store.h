/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Layer blobs on the node, by digest, as the registry serves them. Guests bring them, so a blob is
 * kept only after its bytes were hashed here, and is hashed once more before it is first served
 * after a start. A blob is there whole or not at all (temporary file, fsync, rename); what a crash
 * left half done is removed by the next start. Bounded: the least recently used go first, for bytes
 * that came and not for bytes that were announced; a disk that is nearly full takes none. No file
 * stays open between two calls, so what was let go of is no longer on the disk either.
 *
 * All calls may be made from any thread.
 */
#include "proto/blobcache.h"

#define BLOB_STORE_FREE_MIN_PERCENT 5u  /* of the file system, left to others */
#define BLOB_STORE_UPLOADS_MAX      64u /* at a time */
#define BLOB_STORE_TOUCH_SECONDS    60u /* a blob's time of use is written this often at most */
#define BLOB_STORE_CHECK_NOW_MAX    (32u << 20)  /* larger ones are hashed while nobody waits */
#define BLOB_STORE_CHECKS_MAX       64u          /* that wait for that */
#define BLOB_STORE_STALL_MS         30000        /* an upload nobody adds to is over, … */
#define BLOB_STORE_BYTES_PER_S      (256u << 10) /* … and one slower than that after as long */

struct blob_store;
struct blob_upload;

struct blob_store_opts {
	const char *dir;   /* made when absent; held alone by flock(2) */
	uint64_t size_max; /* bytes of all blobs, those under way too */
};

struct blob_store_stats {
	uint64_t blobs, bytes;    /* now */
	uint64_t uploads;         /* under way now */
	uint64_t hits, misses;    /* since the start; those who looked for a blob */
	uint64_t stored, evicted; /* blobs */
	uint64_t refused;         /* offers without room, uploads that were not the blob */
	uint64_t damaged;         /* blobs whose bytes had changed on the disk */
	uint64_t bytes_served, bytes_written; /* of blobs, in whole or in part */
};

/* Return: 0, -CF_ALREADY_EXISTS (another process has @dir), what the disk says. */
cf_must_use int blob_store_open(const struct blob_store_opts *opts, struct blob_store **ret,
                                struct cf_err *err);
/* No upload may be under way any more. NULL is fine; returns NULL. */
struct blob_store *blob_store_close(struct blob_store *st);
CF_DEFINE_CLEANUP(struct blob_store *, blob_store_close);

/*
 * Looks for a blob, and counts that. Return: 0; -CF_NOT_FOUND (also for one that turned out to be
 * damaged: it is gone then); -CF_UNAVAILABLE (it is there and being hashed: ask later).
 */
cf_must_use int blob_store_find(struct blob_store *st, const char *digest, uint64_t *ret_size,
                                struct cf_err *err);
/*
 * Reads from one that was found: at most @size bytes from @offset on, fewer at its end only. Return:
 * as blob_store_find().
 */
cf_must_use int blob_store_read(struct blob_store *st, const char *digest, uint64_t offset,
                                uint8_t *to, size_t size, size_t *ret_size, struct cf_err *err);
void blob_store_stats(struct blob_store *st, struct blob_store_stats *ret);

/*
 * Begins to store a blob of @size bytes. Return: 0; -CF_ALREADY_EXISTS (it is there, or somebody
 * brings it already); -CF_RESOURCE_EXHAUSTED (larger than the cache, no room, too many uploads).
 */
cf_must_use int blob_upload_begin(struct blob_store *st, const char *digest, uint64_t size,
                                  struct blob_upload **ret, struct cf_err *err);
/*
 * The next bytes, for which others make room. -CF_INVALID_ARGUMENT: more than announced;
 * -CF_RESOURCE_EXHAUSTED: the disk is full.
 */
cf_must_use int blob_upload_write(struct blob_upload *up, struct cf_view data, struct cf_err *err);
uint64_t blob_upload_offset(const struct blob_upload *up);
/* True: it stands still, or is so slow that it only keeps others from bringing the blob. */
bool blob_upload_is_stale(const struct blob_upload *up, int64_t now_ms);
/* Keeps it when size and digest are what was announced: -CF_DATA_LOSS otherwise. Free it either way. */
cf_must_use int blob_upload_finish(struct blob_upload *up, struct cf_err *err);
struct blob_upload *blob_upload_free(struct blob_upload *up); /* NULL is fine; returns NULL */
CF_DEFINE_CLEANUP(struct blob_upload *, blob_upload_free);
