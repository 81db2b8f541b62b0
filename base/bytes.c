/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

bool cf_view_eq(struct cf_view a, struct cf_view b)
{
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool cf_view_eq_str(struct cf_view a, const char *s)
{
	return cf_view_eq(a, cf_view_str(s));
}

bool cf_view_starts_with(struct cf_view v, const char *prefix)
{
	size_t n = strlen(prefix);

	return v.size >= n && (n == 0 || memcmp(v.data, prefix, n) == 0);
}

struct cf_view cf_view_sub(struct cf_view v, size_t from, size_t n)
{
	if (from >= v.size)
		return cf_view(NULL, 0);
	return cf_view(v.data + from, CF_MIN(n, v.size - from));
}

ssize_t cf_view_find(struct cf_view v, uint8_t byte)
{
	const uint8_t *p = v.size ? memchr(v.data, byte, v.size) : NULL;

	return p ? p - v.data : -1;
}

bool cf_view_has_nul(struct cf_view v)
{
	return cf_view_find(v, 0) >= 0;
}

char *cf_view_dup(struct cf_view v)
{
	assert(!cf_view_has_nul(v));
	char *s = cf_zalloc(v.size + 1);
	if (v.size)
		memcpy(s, v.data, v.size);
	return s;
}

/* Length of the UTF-8 sequence at @p (of @n bytes), or 0 when it is malformed. */
static size_t utf8_len(const uint8_t *p, size_t n)
{
	uint8_t lo = 0x80, hi = 0xbf;
	size_t len;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (n < len)
		return 0;
	if (p[0] == 0xe0)
		lo = 0xa0;
	if (p[0] == 0xed)
		hi = 0x9f;
	if (p[0] == 0xf0)
		lo = 0x90;
	if (p[0] == 0xf4)
		hi = 0x8f;
	if (p[1] < lo || p[1] > hi)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

bool cf_view_is_utf8(struct cf_view v)
{
	for (size_t i = 0; i < v.size;) {
		size_t len = utf8_len(v.data + i, v.size - i);
		if (len == 0)
			return false;
		i += len;
	}
	return true;
}

uint32_t cf_utf8_next(struct cf_view v, size_t *pos)
{
	size_t i = (*pos)++;
	uint8_t c = v.data[i];
	unsigned more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
	static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };

	if (c < 0x80)
		return c;
	if (c < 0xc2 || c > 0xf4 || i + more >= v.size)
		return 0xfffd;
	uint32_t r = c & (0x3fu >> more);
	for (unsigned k = 1; k <= more; k++) {
		if ((v.data[i + k] & 0xc0) != 0x80)
			return 0xfffd;
		r = r << 6 | (v.data[i + k] & 0x3f);
	}
	if (r < least[more] || r > 0x10ffff || (r >= 0xd800 && r <= 0xdfff))
		return 0xfffd;
	*pos = i + more + 1;
	return r;
}

size_t cf_utf8_encode(uint32_t rune, uint8_t out[4])
{
	if (rune > 0x10ffff || (rune >= 0xd800 && rune <= 0xdfff))
		rune = 0xfffd;
	if (rune < 0x80) {
		out[0] = (uint8_t)rune;
		return 1;
	}
	size_t size = rune < 0x800 ? 2 : rune < 0x10000 ? 3 : 4;

	for (size_t i = size - 1; i; i--, rune >>= 6)
		out[i] = (uint8_t)(0x80 | (rune & 0x3f));
	out[0] = (uint8_t)(0xf00 >> size | rune); /* as many ones as bytes, then a zero */
	return size;
}

bool cf_equal_ct(struct cf_view a, struct cf_view b)
{
	volatile uint8_t diff = 0;

	if (a.size != b.size)
		return false;
	for (size_t i = 0; i < a.size; i++)
		diff |= a.data[i] ^ b.data[i];
	return diff == 0;
}

/* ---- buf ---- */

void cf_buf_fini(struct cf_buf *b)
{
	free(b->data);
	*b = (struct cf_buf){ .max = b->max };
}

void cf_buf_wipe(struct cf_buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->cap);
	cf_buf_fini(b);
}

void cf_buf_reset(struct cf_buf *b)
{
	b->size = 0;
	b->bad = false;
	if (b->data)
		b->data[0] = 0;
}

uint8_t *cf_buf_reserve(struct cf_buf *b, size_t n)
{
	size_t max = b->max ? b->max : CF_BUF_MAX_DEFAULT;

	if (b->bad || n > max || b->size > max - n) {
		b->bad = true;
		return NULL;
	}
	if (b->size + n + 1 > b->cap) {
		size_t cap = b->cap ? b->cap : 64;
		while (cap < b->size + n + 1)
			cap += cap / 2 + 16;
		/* Not realloc(): it may leave a copy of a secret behind that cf_buf_wipe() never sees. */
		uint8_t *data = malloc(cap);
		if (!data) {
			b->bad = true;
			return NULL;
		}
		if (b->data) {
			memcpy(data, b->data, b->size);
			explicit_bzero(b->data, b->size);
			free(b->data);
		}
		b->data = data;
		b->cap = cap;
	}
	b->data[b->size + n] = 0;
	return b->data + b->size;
}

void cf_buf_add(struct cf_buf *b, const void *data, size_t size)
{
	uint8_t *p = cf_buf_reserve(b, size);

	if (!p)
		return;
	if (size)
		memcpy(p, data, size);
	b->size += size;
}

void cf_buf_add_view(struct cf_buf *b, struct cf_view v)
{
	cf_buf_add(b, v.data, v.size);
}

void cf_buf_add_str(struct cf_buf *b, const char *s)
{
	cf_buf_add(b, s, strlen(s));
}

void cf_buf_add_byte(struct cf_buf *b, uint8_t byte)
{
	cf_buf_add(b, &byte, 1);
}

void cf_buf_add_rune(struct cf_buf *b, uint32_t rune)
{
	uint8_t out[4];

	cf_buf_add(b, out, cf_utf8_encode(rune, out));
}

void cf_buf_add_zero(struct cf_buf *b, size_t n)
{
	uint8_t *p = cf_buf_reserve(b, n);

	if (!p)
		return;
	memset(p, 0, n);
	b->size += n;
}

void cf_buf_printf(struct cf_buf *b, const char *fmt, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	uint8_t *p = n < 0 ? NULL : cf_buf_reserve(b, (size_t)n);
	if (p) {
		vsnprintf((char *)p, (size_t)n + 1, fmt, again);
		b->size += (size_t)n;
	}
	va_end(again);
}

static void add_int(struct cf_buf *b, uint64_t v, size_t bytes, bool big)
{
	uint8_t out[8];

	for (size_t i = 0; i < bytes; i++)
		out[big ? bytes - 1 - i : i] = (uint8_t)(v >> (8 * i));
	cf_buf_add(b, out, bytes);
}

void cf_buf_add_u16be(struct cf_buf *b, uint16_t v)
{
	add_int(b, v, 2, true);
}

void cf_buf_add_u32be(struct cf_buf *b, uint32_t v)
{
	add_int(b, v, 4, true);
}

void cf_buf_add_u64be(struct cf_buf *b, uint64_t v)
{
	add_int(b, v, 8, true);
}

void cf_buf_add_u16le(struct cf_buf *b, uint16_t v)
{
	add_int(b, v, 2, false);
}

void cf_buf_add_u32le(struct cf_buf *b, uint32_t v)
{
	add_int(b, v, 4, false);
}

void cf_buf_add_u64le(struct cf_buf *b, uint64_t v)
{
	add_int(b, v, 8, false);
}

static void add_json_char(struct cf_buf *b, uint8_t c)
{
	switch (c) {
	case '"':
		cf_buf_add_str(b, "\\\"");
		return;
	case '\\':
		cf_buf_add_str(b, "\\\\");
		return;
	case '\n':
		cf_buf_add_str(b, "\\n");
		return;
	case '\r':
		cf_buf_add_str(b, "\\r");
		return;
	case '\t':
		cf_buf_add_str(b, "\\t");
		return;
	default:
		if (c < 0x20 || c == 0x7f)
			cf_buf_printf(b, "\\u%04x", c);
		else
			cf_buf_add_byte(b, c);
	}
}

void cf_buf_add_json_str(struct cf_buf *b, struct cf_view v)
{
	cf_buf_add_byte(b, '"');
	for (size_t i = 0; i < v.size;) {
		size_t len = utf8_len(v.data + i, v.size - i);

		if (len == 0) {
			cf_buf_add_str(b, "\\ufffd");
			i++;
			continue;
		}
		if (len == 1)
			add_json_char(b, v.data[i]);
		else
			cf_buf_add(b, v.data + i, len);
		i += len;
	}
	cf_buf_add_byte(b, '"');
}

void cf_buf_consume(struct cf_buf *b, size_t n)
{
	assert(n <= b->size);
	if (n == 0)
		return;
	b->size -= n;
	memmove(b->data, b->data + n, b->size + 1);
}

char *cf_buf_take_str(struct cf_buf *b)
{
	if (!cf_buf_reserve(b, 0))
		return NULL;
	char *s = (char *)cf_take(&b->data);
	*b = (struct cf_buf){ .max = b->max };
	return s;
}

int cf_buf_check(const struct cf_buf *b, const char *what, struct cf_err *err)
{
	if (!b->bad)
		return 0;
	return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%s: over the limit of %zu bytes", what,
	               b->max ? b->max : (size_t)CF_BUF_MAX_DEFAULT);
}

/* ---- rd ---- */

struct cf_view cf_rd_bytes(struct cf_rd *rd, size_t n)
{
	if (rd->bad || n > cf_rd_left(rd)) {
		rd->bad = true;
		return cf_view(NULL, 0);
	}
	struct cf_view v = cf_view(rd->in.data ? rd->in.data + rd->pos : NULL, n);
	rd->pos += n;
	return v;
}

void cf_rd_skip(struct cf_rd *rd, size_t n)
{
	cf_rd_bytes(rd, n);
}

static uint64_t rd_int(struct cf_rd *rd, size_t bytes, bool big)
{
	struct cf_view v = cf_rd_bytes(rd, bytes);
	uint64_t out = 0;

	for (size_t i = 0; i < v.size; i++)
		out |= (uint64_t)v.data[big ? v.size - 1 - i : i] << (8 * i);
	return out;
}

uint8_t cf_rd_u8(struct cf_rd *rd)
{
	return (uint8_t)rd_int(rd, 1, false);
}

uint16_t cf_rd_u16le(struct cf_rd *rd)
{
	return (uint16_t)rd_int(rd, 2, false);
}

uint32_t cf_rd_u32le(struct cf_rd *rd)
{
	return (uint32_t)rd_int(rd, 4, false);
}

uint64_t cf_rd_u64le(struct cf_rd *rd)
{
	return rd_int(rd, 8, false);
}

uint16_t cf_rd_u16be(struct cf_rd *rd)
{
	return (uint16_t)rd_int(rd, 2, true);
}

uint32_t cf_rd_u32be(struct cf_rd *rd)
{
	return (uint32_t)rd_int(rd, 4, true);
}

uint64_t cf_rd_u64be(struct cf_rd *rd)
{
	return rd_int(rd, 8, true);
}

/* ---- text codings ---- */

void cf_hex_encode(struct cf_view in, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < in.size; i++) {
		*out++ = digits[in.data[i] >> 4];
		*out++ = digits[in.data[i] & 15];
	}
	*out = '\0';
}

char *cf_hex_dup(struct cf_view in)
{
	char *out = cf_zalloc(2 * in.size + 1);

	cf_hex_encode(in, out);
	return out;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int cf_hex_decode(struct cf_view text, uint8_t *out, size_t size, struct cf_err *err)
{
	if (text.size != 2 * size)
		return cf_fail(err, CF_INVALID_ARGUMENT, "%zu hex digits where %zu are due",
		               text.size, 2 * size);
	for (size_t i = 0; i < text.size; i++)
		if (hex_digit(text.data[i]) < 0)
			return cf_fail(err, CF_INVALID_ARGUMENT, "byte %zu is no hex digit", i);
	for (size_t i = 0; i < size; i++)
		out[i] = (uint8_t)(hex_digit(text.data[2 * i]) << 4 |
		                   hex_digit(text.data[2 * i + 1]));
	return 0;
}

int cf_hex_decode_buf(struct cf_view text, struct cf_buf *ret, struct cf_err *err)
{
	if (text.size % 2)
		return cf_fail(err, CF_INVALID_ARGUMENT, "odd number of hex digits");
	uint8_t *out = cf_buf_reserve(ret, text.size / 2);
	if (!out)
		return cf_buf_check(ret, "hex text", err);
	int r = cf_hex_decode(text, out, text.size / 2, err);
	if (r < 0)
		return r;
	ret->size += text.size / 2;
	return 0;
}

static const char b64_std[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char b64_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void cf_b64_encode(enum cf_b64 kind, struct cf_view in, struct cf_buf *out)
{
	const char *abc = kind == CF_B64_STD ? b64_std : b64_url;
	size_t full = (in.size + 2) / 3 * 4;
	uint8_t *p = cf_buf_reserve(out, full);
	size_t pad = (3 - in.size % 3) % 3;

	if (!p)
		return;
	for (size_t i = 0; i < in.size; i += 3) {
		uint32_t v = (uint32_t)in.data[i] << 16;

		if (i + 1 < in.size)
			v |= (uint32_t)in.data[i + 1] << 8;
		if (i + 2 < in.size)
			v |= in.data[i + 2];
		for (int k = 0; k < 4; k++)
			*p++ = (uint8_t)abc[v >> (18 - 6 * k) & 63];
	}
	for (size_t i = 0; i < pad; i++)
		p[-1 - (ssize_t)i] = '=';
	out->size += kind == CF_B64_URL ? full - pad : full;
	out->data[out->size] = 0;
}

static int b64_digit(enum cf_b64 kind, uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == (kind == CF_B64_STD ? '+' : '-'))
		return 62;
	if (c == (kind == CF_B64_STD ? '/' : '_'))
		return 63;
	return -1;
}

/* The digits of @text without its padding; false when the padding is not what @kind wants. */
static bool b64_strip(enum cf_b64 kind, struct cf_view *text)
{
	size_t pad = 0;

	while (pad < 2 && pad < text->size && text->data[text->size - 1 - pad] == '=')
		pad++;
	size_t n = text->size - pad;
	size_t due = (4 - n % 4) % 4;
	text->size = n;
	if (n % 4 == 1)
		return false;
	switch (kind) {
	case CF_B64_STD:
		return pad == due || pad == 0;
	case CF_B64_URL:
		return pad == 0;
	case CF_B64_URL_PAD:
		return pad == due;
	}
	return false;
}

int cf_b64_decode(enum cf_b64 kind, struct cf_view text, struct cf_buf *ret, struct cf_err *err)
{
	uint32_t acc = 0;
	size_t bits = 0;

	if (!b64_strip(kind, &text))
		return cf_fail(err, CF_INVALID_ARGUMENT, "base64: wrong length or padding");
	uint8_t *p = cf_buf_reserve(ret, text.size * 3 / 4);
	if (!p)
		return cf_buf_check(ret, "base64 text", err);
	for (size_t i = 0; i < text.size; i++) {
		int d = b64_digit(kind, text.data[i]);

		if (d < 0)
			return cf_fail(err, CF_INVALID_ARGUMENT,
			               "base64: byte %zu is not in the alphabet", i);
		acc = acc << 6 | (uint32_t)d;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			*p++ = (uint8_t)(acc >> bits);
		}
	}
	if (acc & ((1u << bits) - 1))
		return cf_fail(err, CF_INVALID_ARGUMENT, "base64: trailing bits are not zero");
	ret->size += text.size * 3 / 4;
	return 0;
}
