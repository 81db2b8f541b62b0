/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Serves a blob_store to guests (proto/PROTOCOL-blobcache.md). One connection is one VM: the VMM
 * connects the guest's virtio-serial port to our socket, or a guest that is no VM connects itself.
 * What comes over it is hostile. A connection has a thread of its own, which is all it can hold up.
 *
 * What a guest may store is bounded by its share, so that no pod throws out all that others use. A
 * share belongs to the process that connected, the VMM, and lasts as long as that lives: a guest can
 * make its connection end and begin anew whenever it likes.
 */
#include "snapshotter/blobcache/blob_store.h"

#define BLOB_SERVE_CONNS_MAX   1024u /* more are closed at once */
#define BLOB_SERVE_SHARES_MAX  4096u /* processes whose shares are remembered */
#define BLOB_SERVE_UPLOADS_MAX 8u    /* under way on one connection */
#define BLOB_SERVE_FRAME_MS    10000 /* a frame that has begun arrives within this */
#define BLOB_SERVE_IDLE_MS     15000 /* after which a connection's memory is given back */
#define BLOB_SERVE_SHARE_PART  2u    /* a guest may store size_max / this in its life, … */
#define BLOB_SERVE_FAILED_MAX  16u   /* … and no more after so many uploads came to nothing */

struct blob_serve;

struct blob_serve_opts {
	struct blob_store *store; /* borrowed */
	uint64_t size_max;        /* the store's, for the shares */
};

struct blob_serve *blob_serve_new(const struct blob_serve_opts *opts);
/* Takes a connected stream socket, also on failure. */
cf_must_use int blob_serve_add(struct blob_serve *s, int fd_take, struct cf_err *err);
/* Ends all connections and waits for their threads. NULL is fine; returns NULL. */
struct blob_serve *blob_serve_free(struct blob_serve *s);

struct blob_serve_stats {
	uint64_t connections; /* now */
	uint64_t turned_away; /* connections, since the start */
	uint64_t stale;       /* uploads that stood still, since the start */
	uint64_t over_share;  /* offers beyond a guest's share, since the start */
};
void blob_serve_stats(struct blob_serve *s, struct blob_serve_stats *ret);

/*
 * One request, for tests and fuzzers: what a connection does with a frame. The reply is appended to
 * @out. @conn from blob_conn_new() has a share of its own.
 */
struct blob_conn;
struct blob_conn *blob_conn_new(const struct blob_serve_opts *opts);
struct blob_conn *blob_conn_free(struct blob_conn *conn);
void blob_conn_answer(struct blob_conn *conn, const struct blobcache_head *head,
                      struct cf_view body, struct cf_buf *out);
