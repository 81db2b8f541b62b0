/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * ttrpc's bytes, without any I/O: frames and the two envelopes inside them. All input is hostile.
 *
 * Frame, big-endian: length u32 (of the payload), stream id u32, type u8, flags u8, payload.
 * Source: containerd/ttrpc PROTOCOL.md.
 */
#include "base/bytes.h"

#include <protobuf-c/protobuf-c.h>

#define TTRPC_HEADER_BYTES 10u
#define TTRPC_PAYLOAD_MAX  (4u << 20)
#define TTRPC_META_MAX     64u         /* metadata entries in a request */
#define TTRPC_META_BYTES   (16u << 10) /* … and their bytes together */

enum ttrpc_type {
	TTRPC_REQUEST = 1,
	TTRPC_RESPONSE = 2,
	TTRPC_DATA = 3,
};

enum {
	TTRPC_F_REMOTE_CLOSED = 0x01, /* the sender sends nothing more on this stream */
	TTRPC_F_REMOTE_OPEN = 0x02,   /* the sender keeps sending */
	TTRPC_F_NO_DATA = 0x04,       /* an empty payload is no message */
};

struct ttrpc_frame {
	uint32_t stream_id;
	uint8_t type; /* enum ttrpc_type; others are to be ignored */
	uint8_t flags;
	bool is_oversize;       /* the payload was larger than allowed: it is thrown away */
	struct cf_view payload; /* borrowed until the reader's next call */
};

/* Cuts a byte stream into frames. Memory follows the bytes that came, not the length they claim. */
struct ttrpc_reader {
	struct cf_buf in;
	size_t pos;     /* bytes of .in that were handed out already */
	size_t discard; /* bytes of an oversize payload that are still to come */
	size_t payload_max;
	bool has_marks; /* a virtio-serial mark between frames is reported, not taken for a header */
};

void ttrpc_reader_init(struct ttrpc_reader *rd, size_t payload_max); /* at most TTRPC_PAYLOAD_MAX */
void ttrpc_reader_fini(struct ttrpc_reader *rd);
void ttrpc_reader_reset(struct ttrpc_reader *rd); /* forgets all bytes */
/* A place for the next read, never empty; follow with ttrpc_reader_added(). */
uint8_t *ttrpc_reader_room(struct ttrpc_reader *rd, size_t *ret_size);
void ttrpc_reader_added(struct ttrpc_reader *rd, size_t size);
/* Bytes that were read elsewhere; at most what two frames take. */
void ttrpc_reader_put(struct ttrpc_reader *rd, struct cf_view v);
/* TTRPC_FRAME: *ret is a frame; TTRPC_MARK: a mark was skipped; 0: more bytes are needed. */
#define TTRPC_FRAME 1
#define TTRPC_MARK  2
cf_must_use int ttrpc_reader_next(struct ttrpc_reader *rd, struct ttrpc_frame *ret);
/* The bytes that came but were not handed out yet. */
struct cf_view ttrpc_reader_pending(const struct ttrpc_reader *rd);
void ttrpc_reader_skip(struct ttrpc_reader *rd, size_t size); /* at most what is pending */

/* ---- envelopes ---- */

struct ttrpc_pair {
	struct cf_view key, value;
};

/* All views are borrowed from the parsed bytes. */
struct ttrpc_request {
	struct cf_view service, method, payload;
	int64_t timeout_ns; /* ≤ 0: none */
	struct ttrpc_pair meta[TTRPC_META_MAX];
	size_t meta_count;
};
/*
 * Return: 0, -CF_INVALID_ARGUMENT (malformed, a name that is no UTF-8 text without NUL),
 * -CF_RESOURCE_EXHAUSTED (metadata over its limits).
 */
cf_must_use int ttrpc_request_parse(struct cf_view in, struct ttrpc_request *ret,
                                    struct cf_err *err);

struct ttrpc_response {
	int32_t code;        /* google.rpc.Status; 0 is success */
	struct cf_view text; /* its message */
	struct cf_view payload;
};
/* Return: 0, -CF_INVALID_ARGUMENT. */
cf_must_use int ttrpc_response_parse(struct cf_view in, struct ttrpc_response *ret,
                                     struct cf_err *err);

/* ---- writing: a whole frame is appended, or nothing ---- */

struct ttrpc_meta {
	const char *key, *value; /* key in lower case */
};

/* Return: 0, -CF_RESOURCE_EXHAUSTED (payload over @payload_max, or the buffer is full). */
cf_must_use int ttrpc_put_request(struct cf_buf *out, uint32_t stream_id, uint8_t flags,
                                  const char *service, const char *method,
                                  const ProtobufCMessage *msg, int64_t timeout_ns,
                                  const struct ttrpc_meta *meta, size_t meta_count,
                                  size_t payload_max, struct cf_err *err);
/* @msg may be NULL; @code 0 leaves the status out. A longer @text is cut. */
cf_must_use int ttrpc_put_response(struct cf_buf *out, uint32_t stream_id,
                                   const ProtobufCMessage *msg, int32_t code, const char *text,
                                   size_t payload_max, struct cf_err *err);
/* @msg NULL: no payload. */
cf_must_use int ttrpc_put_data(struct cf_buf *out, uint32_t stream_id, uint8_t flags,
                               const ProtobufCMessage *msg, size_t payload_max, struct cf_err *err);
