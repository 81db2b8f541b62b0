/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Serves a blob_store to guests (proto/PROTOCOL-blobcache.md). One connection is one VM: the VMM
 * connects the guest's virtio-serial port to our socket, or a guest that is no VM connects itself.
 * What comes over it is hostile. A connection has a thread of its own, which is all it can hold up;
 * what it may store is bounded by its own budget, so that no pod throws out all that others use.
 */
#include "snapshotter/blobcache/blob_store.h"

#define BLOB_SERVE_CONNS_MAX   256u   /* more are closed at once */
#define BLOB_SERVE_UPLOADS_MAX 8u     /* under way on one connection */
#define BLOB_SERVE_FRAME_MS    10000  /* a frame that has begun arrives within this */
#define BLOB_SERVE_UPLOAD_MS   300000 /* an upload nobody adds to is dropped after this */
#define BLOB_SERVE_BUDGET_PART 2u     /* a connection may store size_max / this, and no more */

struct blob_serve;

struct blob_serve_opts {
	struct blob_store *store; /* borrowed */
	uint64_t size_max;        /* the store's, for the budget */
};

struct blob_serve *blob_serve_new(const struct blob_serve_opts *opts);
/* Takes a connected stream socket, also on failure. */
cf_must_use int blob_serve_add(struct blob_serve *s, int fd_take, struct cf_err *err);
/* Ends all connections and waits for their threads. NULL is fine; returns NULL. */
struct blob_serve *blob_serve_free(struct blob_serve *s);
unsigned blob_serve_conns(struct blob_serve *s);

/*
 * One request, for tests and fuzzers: what a connection does with a frame. The reply is appended to
 * @out. @conn from blob_conn_new().
 */
struct blob_conn;
struct blob_conn *blob_conn_new(const struct blob_serve_opts *opts);
struct blob_conn *blob_conn_free(struct blob_conn *conn);
void blob_conn_answer(struct blob_conn *conn, const struct blobcache_head *head,
                      struct cf_view body, struct cf_buf *out);
