/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The node's cache of layer blobs, as a guest sees it (proto/PROTOCOL-blobcache.md): a place that may
 * have a blob and may take one. It is one more stranger: its bytes are hashed like the registry's,
 * it is given no more time than a registry that answers slowly, and when anything is odd the pull
 * goes on without it. Any thread; one exchange at a time.
 */
#include "proto/oci_source.h"

#define BLOB_CACHE_REPLY_MS     2000  /* one frame and its answer */
#define BLOB_CACHE_FINISH_MS    10000 /* the last frame of an offer: the host's disk has it then */
#define BLOB_CACHE_RETRY_MS     30000 /* after a failure it is left alone so long */
#define BLOB_CACHE_GRACE_MS     3000  /* of waiting for it, then … */
#define BLOB_CACHE_BYTES_PER_MS (4u << 10) /* … it must have given this much on the average */
#define BLOB_CACHE_RESYNC_MAX   (4u << 20) /* bytes of earlier sessions that are skipped */

struct blob_cache;

/*
 * @path: a unix socket or a character device. Nothing is opened yet. @is_plain_offered: layers that
 * are not encrypted are offered to the host too, which could not read them so far.
 */
struct blob_cache *blob_cache_new(const char *path, bool is_plain_offered);
struct blob_cache *blob_cache_free(struct blob_cache *c); /* NULL is fine; returns NULL */
CF_DEFINE_CLEANUP(struct blob_cache *, blob_cache_free);
/* Where a guest's cache is: $COFFER_BLOB_CACHE, else the VM's port; NULL: there is none. */
char *blob_cache_path(void);

enum {
	BLOB_CACHE_MISS = 1, /* not there, or no cache: @sink saw nothing */
	BLOB_CACHE_BROKEN =
		2, /* @sink saw bytes that are not the blob: begin anew without a cache */
};
/*
 * Streams a blob to @sink: 0 when it was whole and its digest held. Negative: what @sink said, who
 * may have choked on false bytes: begin anew without a cache then too.
 */
int blob_cache_fetch(struct blob_cache *c, const struct oci_descriptor *d, oci_sink *sink,
                     void *arg, struct cf_err *err);

/* A blob on its way to the cache; NULL when it is not wanted there. Never fails, only gives up. */
struct blob_offer;
struct blob_offer *blob_cache_offer(struct blob_cache *c, const struct oci_descriptor *d,
                                    bool is_encrypted);
void blob_offer_piece(struct blob_offer *o, struct cf_view piece); /* NULL is fine */
/* @is_good: all of it was offered and its digest held. Frees. */
void blob_offer_end(struct blob_offer *o, bool is_good);
