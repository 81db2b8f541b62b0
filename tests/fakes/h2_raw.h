/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The client's side of an HTTP/2 connection, frame by frame: it sends whatever it is told to, in any
 * order, and tells what came back for a stream. Header lists are written without a table, one literal
 * after the other, so that a test can see and change each byte.
 */
#include "base/bytes.h"
#include "base/fd.h"
#include "base/str.h"
#include "tests/harness/test.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define RAW_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

struct raw {
	int fd;
	struct cf_buf in; /* read and not taken */
	nghttp2_hd_inflater *inflater;
};

/* What a stream was answered. */
struct raw_answer {
	char status[8], grpc_status[8], message[256];
	struct cf_buf data;
	bool is_ended;  /* END_STREAM */
	bool is_reset;  /* RST_STREAM, before the end */
	bool is_goaway; /* with an error */
	bool is_eof;    /* the connection ended */
	uint32_t error; /* of the two above */
	unsigned data_frames;
};

static inline struct raw raw_open(const char *path)
{
	struct cf_err err;
	struct raw r = { .fd = cf_connect_unix(path, &err), .in = { .max = 64u << 20 } };
	struct timeval t = { 20, 0 };

	EXPECT(r.fd >= 0);
	setsockopt(r.fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	EXPECT(nghttp2_hd_inflate_new(&r.inflater) == 0);
	return r;
}

static inline void raw_close(struct raw *r)
{
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
	cf_buf_fini(&r->in);
	nghttp2_hd_inflate_del(r->inflater);
	r->inflater = NULL;
}

/* ---- what is sent ---- */

static inline void put_frame(struct cf_buf *to, unsigned type, unsigned flags, uint32_t id,
                             struct cf_view payload)
{
	cf_buf_add_byte(to, (uint8_t)(payload.size >> 16));
	cf_buf_add_u16be(to, (uint16_t)payload.size);
	cf_buf_add_byte(to, (uint8_t)type);
	cf_buf_add_byte(to, (uint8_t)flags);
	cf_buf_add_u32be(to, id);
	cf_buf_add_view(to, payload);
}

/* A string of HPACK without Huffman. */
static inline void put_text(struct cf_buf *to, struct cf_view v)
{
	size_t rest = v.size;

	cf_buf_add_byte(to, (uint8_t)CF_MIN(rest, 127u));
	if (rest >= 127) {
		for (rest -= 127; rest >= 128; rest >>= 7)
			cf_buf_add_byte(to, (uint8_t)(rest | 128));
		cf_buf_add_byte(to, (uint8_t)rest);
	}
	cf_buf_add_view(to, v);
}

static inline void put_pair(struct cf_buf *to, const char *name, struct cf_view value)
{
	cf_buf_add_byte(to, 0); /* a literal that no table keeps */
	put_text(to, cf_view_str(name));
	put_text(to, value);
}

static inline void put_pairs(struct cf_buf *to, const char *const *pairs)
{
	for (; pairs && pairs[0]; pairs += 2)
		put_pair(to, pairs[0], cf_view_str(pairs[1]));
}

static inline void put_settings(struct cf_buf *to, uint16_t id, uint32_t value)
{
	struct cf_buf b = { 0 };

	cf_buf_add_u16be(&b, id);
	cf_buf_add_u32be(&b, value);
	put_frame(to, NGHTTP2_SETTINGS, 0, 0, cf_buf_view(&b));
	cf_buf_fini(&b);
}

static inline void put_hello(struct cf_buf *to)
{
	cf_buf_add_str(to, RAW_PREFACE);
	put_frame(to, NGHTTP2_SETTINGS, 0, 0, cf_view(NULL, 0));
}

static inline void put_u32_frame(struct cf_buf *to, unsigned type, uint32_t id, uint32_t value)
{
	uint8_t b[4] = { (uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
		         (uint8_t)value };

	put_frame(to, type, 0, id, cf_view(b, sizeof(b)));
}

/* The pseudo-headers of a call of test.Service's @method, and what gRPC wants beside them. */
static const char *const raw_grpc[] = { "content-type", "application/grpc", "te", "trailers",
	                                NULL };

static inline void put_head(struct cf_buf *to, const char *verb, const char *method)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("/test.Service/%s", method);
	const char *const pairs[] = { ":method", verb,         ":scheme",   "http", ":path",
		                      path,      ":authority", "localhost", NULL };

	put_pairs(to, pairs);
}

static inline void put_request(struct cf_buf *to, uint32_t id, unsigned flags, const char *method,
                               const char *const *more)
{
	struct cf_buf block = { 0 };

	put_head(&block, "POST", method);
	put_pairs(&block, raw_grpc);
	put_pairs(&block, more);
	put_frame(to, NGHTTP2_HEADERS, flags | NGHTTP2_FLAG_END_HEADERS, id, cf_buf_view(&block));
	cf_buf_fini(&block);
}

static inline void put_data(struct cf_buf *to, uint32_t id, unsigned flags, struct cf_view v)
{
	put_frame(to, NGHTTP2_DATA, flags, id, v);
}

/* A whole call with an empty message. */
static inline void put_call(struct cf_buf *to, uint32_t id, const char *method)
{
	put_request(to, id, 0, method, NULL);
	put_data(to, id, NGHTTP2_FLAG_END_STREAM, cf_view("\0\0\0\0\0", 5));
}

/* Sends and forgets @b. False: the other end is closed, or does not read. */
static inline bool raw_send(const struct raw *r, struct cf_buf *b)
{
	struct cf_view v = cf_buf_view(b);
	ssize_t n = 1;

	while (v.size && n > 0) {
		n = send(r->fd, v.data, v.size, MSG_NOSIGNAL);
		if (n > 0)
			v = cf_view_sub(v, (size_t)n, SIZE_MAX);
	}
	cf_buf_fini(b);
	return v.size == 0;
}

/* ---- what comes ---- */

struct raw_frame {
	unsigned type, flags;
	uint32_t id;
	struct cf_view payload; /* borrowed until the next */
};

static inline bool raw_fill(struct raw *r, size_t size)
{
	while (r->in.size < size) {
		uint8_t *p = cf_buf_reserve(&r->in, 64u << 10);
		ssize_t n = recv(r->fd, p, 64u << 10, 0);

		if (n <= 0) {
			EXPECT(n == 0 || errno == ECONNRESET);
			return false;
		}
		r->in.size += (size_t)n;
	}
	return true;
}

/* False: the connection ended. */
static inline bool raw_next(struct raw *r, size_t *taken, struct raw_frame *f)
{
	cf_buf_consume(&r->in, *taken);
	*taken = 0;
	if (!raw_fill(r, 9))
		return false;
	struct cf_rd rd = { .in = cf_buf_view(&r->in) };
	size_t size = (size_t)cf_rd_u8(&rd) << 16;

	size += cf_rd_u16be(&rd);
	f->type = cf_rd_u8(&rd);
	f->flags = cf_rd_u8(&rd);
	f->id = cf_rd_u32be(&rd);
	if (!raw_fill(r, 9 + size))
		return false;
	f->payload = cf_view_sub(cf_buf_view(&r->in), 9, size);
	*taken = 9 + size;
	return true;
}

static inline void raw_keep(const nghttp2_nv *nv, struct raw_answer *a)
{
	struct cf_view name = cf_view(nv->name, nv->namelen);
	struct cf_view value = cf_view(nv->value, nv->valuelen);
	char *to = cf_view_eq_str(name, ":status")        ? a->status
	           : cf_view_eq_str(name, "grpc-status")  ? a->grpc_status
	           : cf_view_eq_str(name, "grpc-message") ? a->message
	                                                  : NULL;
	size_t max = to == a->message ? sizeof(a->message) : sizeof(a->status);

	if (to)
		memcpy(to, value.data, CF_MIN(value.size, max - 1));
}

static inline void raw_inflate(struct raw *r, struct cf_view in, struct raw_answer *a)
{
	int flags = 0;
	nghttp2_nv nv;

	while (!(flags & NGHTTP2_HD_INFLATE_FINAL)) {
		ssize_t n = nghttp2_hd_inflate_hd2(r->inflater, &nv, &flags, in.data, in.size, 1);

		EXPECT(n >= 0);
		in = cf_view_sub(in, (size_t)n, SIZE_MAX);
		if (flags & NGHTTP2_HD_INFLATE_EMIT && a)
			raw_keep(&nv, a);
	}
	nghttp2_hd_inflate_end_headers(r->inflater);
}

static inline uint32_t raw_u32(struct cf_view v, size_t at)
{
	struct cf_rd rd = { .in = v, .pos = at };

	return cf_rd_u32be(&rd);
}

static inline void raw_see(struct raw *r, uint32_t id, const struct raw_frame *f,
                           struct raw_answer *a)
{
	if (f->type == NGHTTP2_GOAWAY) {
		a->error = raw_u32(f->payload, 4);
		a->is_goaway = a->error != 0;
	}
	/* All streams share a table. */
	if (f->type == NGHTTP2_HEADERS)
		raw_inflate(r, f->payload, f->id == id ? a : NULL);
	if (f->id != id)
		return;
	if (f->type == NGHTTP2_DATA) {
		a->data.max = 64u << 20;
		cf_buf_add_view(&a->data, f->payload);
		a->data_frames++;
	}
	if (f->type == NGHTTP2_RST_STREAM && !a->is_ended) {
		a->is_reset = true;
		a->error = raw_u32(f->payload, 0);
	}
	if (f->type == NGHTTP2_DATA || f->type == NGHTTP2_HEADERS)
		a->is_ended = f->flags & NGHTTP2_FLAG_END_STREAM;
}

/*
 * Reads until stream @id is ended, or the connection is; 0 waits for the latter. With @window each DATA
 * is answered by as many bytes of window.
 */
static inline struct raw_answer raw_answer_of(struct raw *r, uint32_t id, bool window)
{
	struct raw_answer a = { 0 };
	struct raw_frame f;
	size_t taken = 0;

	while (!a.is_ended && !a.is_reset && !(id && a.is_goaway)) {
		if (!raw_next(r, &taken, &f)) {
			a.is_eof = true;
			return a;
		}
		raw_see(r, id, &f, &a);
		if (window && f.type == NGHTTP2_DATA && f.payload.size) {
			struct cf_buf b = { 0 };

			put_u32_frame(&b, NGHTTP2_WINDOW_UPDATE, 0, (uint32_t)f.payload.size);
			put_u32_frame(&b, NGHTTP2_WINDOW_UPDATE, f.id, (uint32_t)f.payload.size);
			(void)!raw_send(r, &b);
		}
	}
	cf_buf_consume(&r->in, taken);
	return a;
}

/* Reads until @count streams ended well. Return: the bytes of their DATA. */
static inline size_t raw_read_ends(struct raw *r, size_t count)
{
	struct raw_frame f;
	size_t taken = 0, bytes = 0;

	for (size_t n = 0; n < count;) {
		EXPECT(raw_next(r, &taken, &f));
		EXPECT(f.type != NGHTTP2_GOAWAY && f.type != NGHTTP2_RST_STREAM);
		bytes += f.type == NGHTTP2_DATA ? f.payload.size : 0;
		n += f.type == NGHTTP2_HEADERS && f.flags & NGHTTP2_FLAG_END_STREAM;
	}
	cf_buf_consume(&r->in, taken);
	return bytes;
}
