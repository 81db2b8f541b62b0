/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Bytes: borrowed views, owned buffers with a maximum, sticky cursors, and the text codings of bytes.
 * All pointer arithmetic of the project lives behind this header; everything read through it may be
 * hostile.
 */
#include "base/err.h"
#include "base/mem.h"

#include <string.h>
#include <sys/types.h>

/* ---- views: borrowed, never NUL-terminated by promise ---- */

struct cf_view {
	const uint8_t *data;
	size_t size;
};

#define CF_VIEW_LIT(s)                                                                             \
	{                                                                                          \
		(const uint8_t *)(s), sizeof(s) - 1                                                \
	}

static inline struct cf_view cf_view(const void *data, size_t size)
{
	return (struct cf_view){ (const uint8_t *)data, size };
}
/* View of a C string without its NUL; NULL gives an empty view. */
static inline struct cf_view cf_view_str(const char *s)
{
	return cf_view(s, s ? strlen(s) : 0);
}
bool cf_view_eq(struct cf_view a, struct cf_view b);
bool cf_view_eq_str(struct cf_view a, const char *s);
bool cf_view_starts_with(struct cf_view v, const char *prefix);
/* @v from @from on, at most @n bytes; clipped to what is there. */
struct cf_view cf_view_sub(struct cf_view v, size_t from, size_t n);
/* Index of the first @byte, or -1. */
ssize_t cf_view_find(struct cf_view v, uint8_t byte);
/* A NUL-terminated copy; the caller frees. @v must hold no NUL (asserted): check first when hostile. */
char *cf_view_dup(struct cf_view v);
bool cf_view_has_nul(struct cf_view v);
bool cf_view_is_utf8(struct cf_view v); /* strict: no surrogates, no overlong, ≤ U+10FFFF */

/* Constant time in the content; false at once when the sizes differ. */
bool cf_equal_ct(struct cf_view a, struct cf_view b);

/* ---- buf: owned, grows up to .max, errors stick ---- */

#define CF_BUF_MAX_DEFAULT (16u << 20)

struct cf_buf {
	uint8_t *data; /* always followed by one NUL byte once anything was added */
	size_t size;
	size_t cap;
	size_t max; /* 0 stands for CF_BUF_MAX_DEFAULT */
	bool bad;   /* an append was refused: over max or no memory; later appends do nothing */
};

void cf_buf_fini(struct cf_buf *b);  /* frees; leaves an empty buffer */
void cf_buf_wipe(struct cf_buf *b);  /* as fini, contents wiped first */
void cf_buf_reset(struct cf_buf *b); /* size 0, memory kept, bad cleared */
void cf_buf_add(struct cf_buf *b, const void *data, size_t size);
void cf_buf_add_view(struct cf_buf *b, struct cf_view v);
void cf_buf_add_str(struct cf_buf *b, const char *s);
void cf_buf_add_byte(struct cf_buf *b, uint8_t byte);
void cf_buf_add_zero(struct cf_buf *b, size_t n);
void cf_buf_printf(struct cf_buf *b, const char *fmt, ...) cf_printf(2, 3);
void cf_buf_add_u16be(struct cf_buf *b, uint16_t v);
void cf_buf_add_u32be(struct cf_buf *b, uint32_t v);
void cf_buf_add_u64be(struct cf_buf *b, uint64_t v);
void cf_buf_add_u16le(struct cf_buf *b, uint16_t v);
void cf_buf_add_u32le(struct cf_buf *b, uint32_t v);
void cf_buf_add_u64le(struct cf_buf *b, uint64_t v);
/* @v as a JSON string with quotes; bytes that are no UTF-8 become U+FFFD. */
void cf_buf_add_json_str(struct cf_buf *b, struct cf_view v);
/* Room for @n bytes at the end, to be filled by the caller, who then adds to .size. NULL: bad. */
uint8_t *cf_buf_reserve(struct cf_buf *b, size_t n);
/* Drops the first @n bytes. */
void cf_buf_consume(struct cf_buf *b, size_t n);
static inline struct cf_view cf_buf_view(const struct cf_buf *b)
{
	return cf_view(b->data, b->size);
}
/* Gives the bytes away as a NUL-terminated string (never NULL unless bad); the buffer is left empty. */
char *cf_buf_take_str(struct cf_buf *b);
/* 0, or -CF_RESOURCE_EXHAUSTED when the buffer went bad; @what names the thing for the message. */
cf_must_use int cf_buf_check(const struct cf_buf *b, const char *what, struct cf_err *err);

/* ---- rd: a sticky reading cursor; read all fields, check .bad once ---- */

struct cf_rd {
	struct cf_view in;
	size_t pos;
	bool bad; /* a read went past the end; all later reads give zeroes */
};

static inline size_t cf_rd_left(const struct cf_rd *rd)
{
	return rd->in.size - rd->pos;
}
uint8_t cf_rd_u8(struct cf_rd *rd);
uint16_t cf_rd_u16le(struct cf_rd *rd);
uint32_t cf_rd_u32le(struct cf_rd *rd);
uint64_t cf_rd_u64le(struct cf_rd *rd);
uint16_t cf_rd_u16be(struct cf_rd *rd);
uint32_t cf_rd_u32be(struct cf_rd *rd);
uint64_t cf_rd_u64be(struct cf_rd *rd);
/* The next @n bytes, borrowed from the input; an empty view and .bad when they are not there. */
struct cf_view cf_rd_bytes(struct cf_rd *rd, size_t n);
void cf_rd_skip(struct cf_rd *rd, size_t n);

/* ---- text codings ---- */

/*
 * The rune at @v's offset *@pos, which must lie inside and moves on past it; U+FFFD, and on by one
 * byte, where the bytes are no UTF-8.
 */
uint32_t cf_utf8_next(struct cf_view v, size_t *pos);
/* Writes @rune's 1 to 4 bytes and returns how many; U+FFFD for what is no code point of text. */
size_t cf_utf8_encode(uint32_t rune, uint8_t out[4]);
void cf_buf_add_rune(struct cf_buf *b, uint32_t rune); /* as cf_utf8_encode() */

void cf_hex_encode(struct cf_view in, char *out); /* writes 2 × size + 1 characters, lower case */
char *cf_hex_dup(struct cf_view in);              /* the caller frees */
/* Exactly @size bytes from 2 × @size hex digits (either case). -CF_INVALID_ARGUMENT otherwise. */
cf_must_use int cf_hex_decode(struct cf_view text, uint8_t *out, size_t size, struct cf_err *err);
/* Any even number of digits, appended to @ret. */
cf_must_use int cf_hex_decode_buf(struct cf_view text, struct cf_buf *ret, struct cf_err *err);

enum cf_b64 {
	CF_B64_STD,     /* + / padded */
	CF_B64_URL,     /* - _ without padding */
	CF_B64_URL_PAD, /* - _ padded */
};
void cf_b64_encode(enum cf_b64 kind, struct cf_view in, struct cf_buf *out);
/*
 * Strict: the alphabet of @kind only, no white space, zero trailing bits, padding exactly as @kind
 * says (CF_B64_STD also takes input without padding). Appends to @ret, which must own its max.
 * Return: 0, -CF_INVALID_ARGUMENT, -CF_RESOURCE_EXHAUSTED.
 */
cf_must_use int cf_b64_decode(enum cf_b64 kind, struct cf_view text, struct cf_buf *ret,
                              struct cf_err *err);
