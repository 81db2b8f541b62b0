/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/rpc_h2_wire.h"

#include "base/str.h"

#include <stdio.h>

#define TIMEOUT_DIGITS_MAX 8u
#define TIMEOUT_VALUE_MAX  99999999

/* ---- messages ---- */

void rpc_h2_msg_fini(struct rpc_h2_msg *m)
{
	cf_buf_fini(&m->in);
	*m = (struct rpc_h2_msg){ 0 };
}

static uint32_t length_at(const struct rpc_h2_msg *m, size_t pos)
{
	struct cf_rd rd = { .in = cf_buf_view(&m->in), .pos = pos + 1 };

	return cf_rd_u32be(&rd);
}

static int check_prefix(const struct rpc_h2_msg *m, struct cf_err *err)
{
	uint8_t flag = m->in.data[m->begin];
	uint32_t length = length_at(m, m->begin);

	if (flag == 1)
		return cf_fail(err, CF_UNIMPLEMENTED, "grpc: a compressed message");
	if (flag != 0)
		return cf_fail(err, CF_INVALID_ARGUMENT, "grpc: message flag %u", flag);
	if (length > RPC_MESSAGE_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "grpc: a message of %u bytes, over %u",
		               length, RPC_MESSAGE_MAX);
	return 0;
}

/* Looks at each prefix once, when its last byte has come. */
static int check_prefixes(struct rpc_h2_msg *m, struct cf_err *err)
{
	while (m->begin <= m->in.size && m->in.size - m->begin >= RPC_H2_PREFIX) {
		int r = check_prefix(m, err);

		if (r < 0)
			return r;
		m->begin += RPC_H2_PREFIX + (size_t)length_at(m, m->begin);
	}
	return 0;
}

static void forget_taken(struct rpc_h2_msg *m)
{
	cf_buf_consume(&m->in, m->taken);
	m->begin -= m->taken;
	m->taken = 0;
}

int rpc_h2_msg_feed(struct rpc_h2_msg *m, struct cf_view piece, struct cf_err *err)
{
	if (m->bad)
		return cf_fail(err, m->bad, "grpc: more after a bad message");
	if (m->taken)
		forget_taken(m);
	m->in.max = RPC_H2_UNREAD_MAX;
	cf_buf_add_view(&m->in, piece);
	int r = cf_buf_check(&m->in, "grpc: messages not yet taken", err);

	if (r == 0)
		r = check_prefixes(m, err);
	if (r < 0)
		m->bad = (enum cf_code) - r;
	return r;
}

bool rpc_h2_msg_next(struct rpc_h2_msg *m, struct cf_view *ret)
{
	if (m->taken >= m->begin) /* the prefix of the next was not seen, or is bad */
		return false;
	size_t length = length_at(m, m->taken);

	if (m->in.size - m->taken - RPC_H2_PREFIX < length)
		return false;
	*ret = cf_view_sub(cf_buf_view(&m->in), m->taken + RPC_H2_PREFIX, length);
	m->taken += RPC_H2_PREFIX + length;
	return true;
}

bool rpc_h2_msg_is_between(const struct rpc_h2_msg *m)
{
	return !m->bad && m->begin == m->in.size;
}

void rpc_h2_pack(const ProtobufCMessage *msg, struct cf_buf *to)
{
	size_t size = protobuf_c_message_get_packed_size(msg);

	if (size > RPC_MESSAGE_MAX) {
		to->bad = true;
		return;
	}
	cf_buf_add_byte(to, 0);
	cf_buf_add_u32be(to, (uint32_t)size);
	uint8_t *p = cf_buf_reserve(to, size);

	if (p)
		to->size += protobuf_c_message_pack(msg, p);
}

/* ---- grpc-message ---- */

/* At most RPC_H2_TEXT_MAX bytes of @text, whole characters, all of them UTF-8. */
static void take_text(const char *text, struct cf_buf *to)
{
	struct cf_view v = cf_view_str(text);
	uint8_t c[4];

	for (size_t pos = 0; pos < v.size;) {
		size_t n = cf_utf8_encode(cf_utf8_next(v, &pos), c);

		if (to->size + n > RPC_H2_TEXT_MAX)
			return;
		cf_buf_add(to, c, n);
	}
}

char *rpc_h2_text_encode(const char *text)
{
	cf_cleanup(cf_buf_fini) struct cf_buf plain = { 0 };
	struct cf_buf out = { 0 };

	take_text(text, &plain);
	for (size_t i = 0; i < plain.size; i++) {
		uint8_t c = plain.data[i];
		bool is_edge = i == 0 || i == plain.size - 1;

		if (c < ' ' || c > '~' || c == '%' || (c == ' ' && is_edge))
			cf_buf_printf(&out, "%%%02X", c);
		else
			cf_buf_add_byte(&out, c);
	}
	return cf_buf_take_str(&out);
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte at @pos, which moves on past it or past its escape. */
static uint8_t unescape(struct cf_view v, size_t *pos)
{
	size_t i = (*pos)++;

	if (v.data[i] != '%' || v.size - i < 3)
		return v.data[i];
	int hi = hex_digit(v.data[i + 1]), lo = hex_digit(v.data[i + 2]);

	if (hi < 0 || lo < 0)
		return '%';
	*pos = i + 3;
	return (uint8_t)(hi << 4 | lo);
}

char *rpc_h2_text_decode(struct cf_view v)
{
	cf_cleanup(cf_buf_fini) struct cf_buf bytes = { .max = SIZE_MAX / 4 };
	struct cf_buf out = { .max = SIZE_MAX / 4 };

	for (size_t pos = 0; pos < v.size;)
		cf_buf_add_byte(&bytes, unescape(v, &pos));
	struct cf_view in = cf_buf_view(&bytes);

	for (size_t pos = 0; pos < in.size;) {
		uint32_t rune = cf_utf8_next(in, &pos);

		cf_buf_add_rune(&out, rune ? rune : 0xfffd);
	}
	return cf_buf_take_str(&out);
}

/* ---- grpc-timeout ---- */

/* A unit is @ms milliseconds, or @part of them make one. */
static const struct unit {
	char name;
	int64_t ms, part;
} units[] = {
	{ 'n', 1, 1000000 }, { 'u', 1, 1000 },  { 'm', 1, 1 },
	{ 'S', 1000, 1 },    { 'M', 60000, 1 }, { 'H', 3600000, 1 },
};

static const struct unit *unit_of(uint8_t name)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(units); i++)
		if (units[i].name == (char)name)
			return &units[i];
	return NULL;
}

bool rpc_h2_timeout_parse(struct cf_view v, int64_t *ret_ms)
{
	uint64_t n;

	if (v.size < 2 || v.size > TIMEOUT_DIGITS_MAX + 1)
		return false;
	const struct unit *u = unit_of(v.data[v.size - 1]);

	if (!u || cf_parse_u64(cf_view_sub(v, 0, v.size - 1), TIMEOUT_VALUE_MAX, &n, NULL) < 0)
		return false;
	/* 99999999H is eleven thousand years, and far from an overflow. */
	*ret_ms = ((int64_t)n * u->ms + u->part - 1) / u->part;
	return true;
}

void rpc_h2_timeout_format(int64_t ms, char out[RPC_H2_TIMEOUT_SIZE])
{
	const struct unit *u = unit_of('m');
	const struct unit *last = &units[CF_ARRAY_LEN(units) - 1];

	if (ms <= 0) {
		snprintf(out, RPC_H2_TIMEOUT_SIZE, "1n");
		return;
	}
	while (u < last && (ms - 1) / u->ms + 1 > TIMEOUT_VALUE_MAX)
		u++;
	int64_t n = CF_MIN((ms - 1) / u->ms + 1, TIMEOUT_VALUE_MAX);

	snprintf(out, RPC_H2_TIMEOUT_SIZE, "%u%c", (unsigned)n, u->name);
}

/* ---- content-type ---- */

bool rpc_h2_is_grpc(struct cf_view content_type)
{
	if (!cf_view_starts_with(content_type, RPC_H2_CONTENT_TYPE))
		return false;
	struct cf_view rest =
		cf_view_sub(content_type, sizeof(RPC_H2_CONTENT_TYPE) - 1, content_type.size);

	if (cf_view_starts_with(rest, "+proto"))
		rest = cf_view_sub(rest, sizeof("+proto") - 1, rest.size);
	return rest.size == 0 || rest.data[0] == ';';
}
