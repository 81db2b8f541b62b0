/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The wire between a guest and the node's cache of layer blobs (PROTOCOL-blobcache.md): frames of a
 * head and a body, big-endian, over a unix socket or a virtio-serial port. Bytes in, bytes out; no
 * I/O. Each side's bytes are hostile to the other.
 */
#include "base/bytes.h"

#define BLOBCACHE_PORT       "io.coffer.blobcache.0" /* the virtio-serial port's name */
#define BLOBCACHE_VERSION    1u
#define BLOBCACHE_HEAD_BYTES 16u
#define BLOBCACHE_DATA_MAX   (256u << 10) /* bytes of a blob in one frame */
#define BLOBCACHE_BODY_MAX   (BLOBCACHE_DATA_MAX + 128u)
#define BLOBCACHE_NONCE      8u
#define BLOBCACHE_DIGEST     71u /* "sha256:" and 64 lower-case hex digits */

enum blobcache_op {
	BLOBCACHE_HELLO = 1,
	BLOBCACHE_STAT,
	BLOBCACHE_READ,
	BLOBCACHE_OFFER,
	BLOBCACHE_WRITE,
	BLOBCACHE_FINISH,
	BLOBCACHE_ABORT,
};

struct blobcache_head {
	uint8_t op;     /* enum blobcache_op */
	uint8_t status; /* replies: enum cf_code; 0 in requests */
	bool is_reply;
	uint32_t id;   /* the client's; its reply carries it back */
	uint32_t size; /* bytes of the body */
};

/* @in has BLOBCACHE_HEAD_BYTES. -CF_INVALID_ARGUMENT: not a head; the stream cannot go on. */
cf_must_use int blobcache_head_parse(struct cf_view in, struct blobcache_head *ret,
                                     struct cf_err *err);
void blobcache_head_put(const struct blobcache_head *h, struct cf_buf *out);

/* The fields that an operation has; the others are ignored when written and zero when read. */
struct blobcache_request {
	uint8_t op;
	uint64_t offset;                   /* READ, WRITE; OFFER: the blob's size */
	uint32_t length;                   /* READ: at most BLOBCACHE_DATA_MAX */
	uint32_t handle;                   /* WRITE, FINISH, ABORT */
	char digest[BLOBCACHE_DIGEST + 1]; /* STAT, READ, OFFER */
	uint8_t nonce[BLOBCACHE_NONCE];    /* HELLO */
	struct cf_view data;               /* WRITE; borrowed from the body */
};

/* -CF_INVALID_ARGUMENT: answer that and go on, the frame's end is known. */
cf_must_use int blobcache_request_parse(const struct blobcache_head *h, struct cf_view body,
                                        struct blobcache_request *ret, struct cf_err *err);
void blobcache_request_put(const struct blobcache_request *r, uint32_t id, struct cf_buf *out);
/* True for "sha256:" and 64 lower-case hex digits. */
bool blobcache_is_digest(struct cf_view text);
