/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/ttrpc_frame.h"

#include "proto/vserial.h"
#include "proto/wire_field.h"

#include <assert.h>

#define ROOM_BYTES (64u << 10)
#define KEEP_BYTES (256u << 10) /* a larger buffer is given back when it runs empty */
#define TEXT_MAX   2048u
#define VARINT_MAX 10u

/* ---- the reader ---- */

void ttrpc_reader_init(struct ttrpc_reader *rd, size_t payload_max)
{
	assert(payload_max > 0 && payload_max <= TTRPC_PAYLOAD_MAX);
	*rd = (struct ttrpc_reader){ .payload_max = payload_max };
	rd->in.max = 2 * (TTRPC_HEADER_BYTES + TTRPC_PAYLOAD_MAX) + ROOM_BYTES;
}

void ttrpc_reader_fini(struct ttrpc_reader *rd)
{
	cf_buf_fini(&rd->in);
}

void ttrpc_reader_reset(struct ttrpc_reader *rd)
{
	cf_buf_reset(&rd->in);
	rd->pos = 0;
	rd->discard = 0;
}

struct cf_view ttrpc_reader_pending(const struct ttrpc_reader *rd)
{
	return cf_view_sub(cf_buf_view(&rd->in), rd->pos, rd->in.size);
}

void ttrpc_reader_skip(struct ttrpc_reader *rd, size_t size)
{
	assert(size <= rd->in.size - rd->pos);
	rd->pos += size;
}

/* Drops what was handed out. Views into the buffer die here. */
static void compact(struct ttrpc_reader *rd)
{
	if (rd->pos == 0)
		return;
	if (rd->pos < rd->in.size) {
		cf_buf_consume(&rd->in, rd->pos);
	} else if (rd->in.cap > KEEP_BYTES) {
		size_t max = rd->in.max;

		cf_buf_fini(&rd->in);
		rd->in.max = max;
	} else {
		cf_buf_reset(&rd->in);
	}
	rd->pos = 0;
}

uint8_t *ttrpc_reader_room(struct ttrpc_reader *rd, size_t *ret_size)
{
	compact(rd);
	/* At most doubling: a length that was only claimed buys no memory. */
	size_t size = CF_MAX(ROOM_BYTES, rd->in.size);
	uint8_t *p = cf_buf_reserve(&rd->in, size);

	/* .in.max holds two whole frames: only a caller that never takes frames out gets here. */
	assert(p);
	*ret_size = size;
	return p;
}

void ttrpc_reader_added(struct ttrpc_reader *rd, size_t size)
{
	rd->in.size += size;
}

void ttrpc_reader_put(struct ttrpc_reader *rd, struct cf_view v)
{
	cf_buf_add_view(&rd->in, v);
	assert(!rd->in.bad);
}

static bool drop_oversize(struct ttrpc_reader *rd)
{
	size_t n = CF_MIN(rd->discard, rd->in.size - rd->pos);

	rd->pos += n;
	rd->discard -= n;
	return rd->discard == 0;
}

int ttrpc_reader_next(struct ttrpc_reader *rd, struct ttrpc_frame *ret)
{
	if (!drop_oversize(rd))
		return 0;
	/* As a length the mark is over a gigabyte: no frame that we would take begins with it. */
	if (rd->has_marks && cf_view_starts_with(ttrpc_reader_pending(rd), VSERIAL_MARK)) {
		rd->pos += VSERIAL_MARK_BYTES;
		return TTRPC_MARK;
	}
	struct cf_rd in = { .in = ttrpc_reader_pending(rd) };
	size_t length = cf_rd_u32be(&in);
	struct ttrpc_frame f = { .stream_id = cf_rd_u32be(&in) };

	f.type = cf_rd_u8(&in);
	f.flags = cf_rd_u8(&in);
	if (in.bad)
		return 0;
	f.is_oversize = length > rd->payload_max;
	if (f.is_oversize) {
		rd->discard = length;
		rd->pos += TTRPC_HEADER_BYTES;
		*ret = f;
		return TTRPC_FRAME;
	}
	f.payload = cf_rd_bytes(&in, length);
	if (in.bad)
		return 0;
	rd->pos += TTRPC_HEADER_BYTES + length;
	*ret = f;
	return TTRPC_FRAME;
}

/* ---- the envelopes, in protobuf's wire form ---- */

static bool is_text(struct cf_view v)
{
	return !cf_view_has_nul(v) && cf_view_is_utf8(v);
}

static int parse_pair(struct cf_view in, struct ttrpc_pair *ret, struct cf_err *err)
{
	struct cf_rd rd = { .in = in };
	struct ttrpc_pair p = { 0 };

	for (struct wire_field f; wire_field_next(&rd, &f);) {
		if (f.type == WIRE_BYTES && f.no == 1)
			p.key = f.bytes;
		else if (f.type == WIRE_BYTES && f.no == 2)
			p.value = f.bytes;
	}
	if (rd.bad || !is_text(p.key) || !is_text(p.value))
		return cf_fail(err, CF_INVALID_ARGUMENT, "ttrpc: malformed metadata");
	*ret = p;
	return 0;
}

static int add_pair(struct ttrpc_request *req, size_t *bytes, struct cf_view in, struct cf_err *err)
{
	*bytes += in.size;
	if (req->meta_count == TTRPC_META_MAX || *bytes > TTRPC_META_BYTES)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED,
		               "ttrpc: more than %u metadata entries or %u bytes", TTRPC_META_MAX,
		               TTRPC_META_BYTES);
	int r = parse_pair(in, &req->meta[req->meta_count], err);

	if (r == 0)
		req->meta_count++;
	return r;
}

int ttrpc_request_parse(struct cf_view in, struct ttrpc_request *ret, struct cf_err *err)
{
	struct cf_rd rd = { .in = in };
	size_t meta_bytes = 0;
	int r = 0;

	ret->service = ret->method = ret->payload = cf_view(NULL, 0);
	ret->timeout_ns = 0;
	ret->meta_count = 0;
	for (struct wire_field f; r == 0 && wire_field_next(&rd, &f);) {
		if (f.type == WIRE_BYTES && f.no == 1)
			ret->service = f.bytes;
		else if (f.type == WIRE_BYTES && f.no == 2)
			ret->method = f.bytes;
		else if (f.type == WIRE_BYTES && f.no == 3)
			ret->payload = f.bytes;
		else if (f.type == WIRE_VARINT && f.no == 4)
			ret->timeout_ns = (int64_t)f.number;
		else if (f.type == WIRE_BYTES && f.no == 5)
			r = add_pair(ret, &meta_bytes, f.bytes, err);
	}
	if (r < 0)
		return r;
	if (rd.bad || !is_text(ret->service) || !is_text(ret->method))
		return cf_fail(err, CF_INVALID_ARGUMENT, "ttrpc: malformed request");
	return 0;
}

static bool parse_status(struct cf_view in, struct ttrpc_response *ret)
{
	struct cf_rd rd = { .in = in };

	for (struct wire_field f; wire_field_next(&rd, &f);) {
		if (f.type == WIRE_VARINT && f.no == 1)
			ret->code = (int32_t)f.number;
		else if (f.type == WIRE_BYTES && f.no == 2)
			ret->text = f.bytes;
	}
	return !rd.bad;
}

int ttrpc_response_parse(struct cf_view in, struct ttrpc_response *ret, struct cf_err *err)
{
	struct cf_rd rd = { .in = in };
	struct ttrpc_response res = { 0 };

	for (struct wire_field f; wire_field_next(&rd, &f);) {
		if (f.type == WIRE_BYTES && f.no == 1)
			rd.bad |= !parse_status(f.bytes, &res);
		else if (f.type == WIRE_BYTES && f.no == 2)
			res.payload = f.bytes;
	}
	if (rd.bad)
		return cf_fail(err, CF_INVALID_ARGUMENT, "ttrpc: malformed response");
	*ret = res;
	return 0;
}

/* ---- writing ---- */

static size_t varint_size(uint64_t v)
{
	size_t n = 1;

	for (; v >= 0x80; v >>= 7)
		n++;
	return n;
}

static void put_varint(struct cf_buf *b, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		cf_buf_add_byte(b, (uint8_t)(v | 0x80));
	cf_buf_add_byte(b, (uint8_t)v);
}

/* Every field number of the envelopes is below 16: a key is one byte. */
static size_t bytes_field_size(size_t size)
{
	return 1 + varint_size(size) + size;
}

static void put_key_len(struct cf_buf *b, unsigned no, size_t size)
{
	cf_buf_add_byte(b, (uint8_t)(no << 3 | WIRE_BYTES));
	put_varint(b, size);
}

static void put_bytes(struct cf_buf *b, unsigned no, struct cf_view v)
{
	put_key_len(b, no, v.size);
	cf_buf_add_view(b, v);
}

static void put_packed(struct cf_buf *b, const ProtobufCMessage *msg, size_t size)
{
	uint8_t *p = cf_buf_reserve(b, size);

	if (p)
		b->size += protobuf_c_message_pack(msg, p);
}

/* Makes room for a frame of @length payload bytes and writes its header. */
static int put_header(struct cf_buf *b, size_t length, uint32_t stream_id, enum ttrpc_type type,
                      uint8_t flags, size_t payload_max, struct cf_err *err)
{
	size_t max = b->max ? b->max : CF_BUF_MAX_DEFAULT;

	if (length > payload_max)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED,
		               "ttrpc: a message of %zu bytes is over the limit of %zu", length,
		               payload_max);
	/* Checked here, so that a full buffer refuses this frame instead of going bad for all. */
	if (b->bad || length + TTRPC_HEADER_BYTES + VARINT_MAX > max - b->size)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "ttrpc: the send queue is full");
	cf_buf_add_u32be(b, (uint32_t)length);
	cf_buf_add_u32be(b, stream_id);
	cf_buf_add_byte(b, (uint8_t)type);
	cf_buf_add_byte(b, flags);
	return 0;
}

static size_t packed_size(const ProtobufCMessage *msg)
{
	return msg ? protobuf_c_message_get_packed_size(msg) : 0;
}

static size_t pair_size(const struct ttrpc_meta *m)
{
	return bytes_field_size(strlen(m->key)) + bytes_field_size(strlen(m->value));
}

int ttrpc_put_request(struct cf_buf *out, uint32_t stream_id, uint8_t flags, const char *service,
                      const char *method, const ProtobufCMessage *msg, int64_t timeout_ns,
                      const struct ttrpc_meta *meta, size_t meta_count, size_t payload_max,
                      struct cf_err *err)
{
	size_t body = packed_size(msg);
	size_t length = bytes_field_size(strlen(service)) + bytes_field_size(strlen(method));

	if (body)
		length += bytes_field_size(body);
	if (timeout_ns > 0)
		length += 1 + varint_size((uint64_t)timeout_ns);
	for (size_t i = 0; i < meta_count; i++)
		length += bytes_field_size(pair_size(&meta[i]));

	int r = put_header(out, length, stream_id, TTRPC_REQUEST, flags, payload_max, err);

	if (r < 0)
		return r;
	put_bytes(out, 1, cf_view_str(service));
	put_bytes(out, 2, cf_view_str(method));
	if (body) {
		put_key_len(out, 3, body);
		put_packed(out, msg, body);
	}
	if (timeout_ns > 0) {
		cf_buf_add_byte(out, 4 << 3 | WIRE_VARINT);
		put_varint(out, (uint64_t)timeout_ns);
	}
	for (size_t i = 0; i < meta_count; i++) {
		put_key_len(out, 5, pair_size(&meta[i]));
		put_bytes(out, 1, cf_view_str(meta[i].key));
		put_bytes(out, 2, cf_view_str(meta[i].value));
	}
	return cf_buf_check(out, "ttrpc send queue", err);
}

/* At most TEXT_MAX bytes of @text, not cutting a character in two. */
static struct cf_view short_text(const char *text)
{
	struct cf_view v = cf_view_str(text);

	if (v.size <= TEXT_MAX)
		return v;
	v.size = TEXT_MAX;
	while (v.size && (v.data[v.size] & 0xc0) == 0x80)
		v.size--;
	return v;
}

int ttrpc_put_response(struct cf_buf *out, uint32_t stream_id, const ProtobufCMessage *msg,
                       int32_t code, const char *text, size_t payload_max, struct cf_err *err)
{
	size_t body = packed_size(msg);
	struct cf_view says = short_text(text);
	/* A negative int32 is ten bytes on the wire, as protobuf has it. */
	size_t status = 1 + varint_size((uint64_t)(int64_t)code);
	size_t length = body ? bytes_field_size(body) : 0;

	if (says.size)
		status += bytes_field_size(says.size);
	if (code)
		length += bytes_field_size(status);
	int r = put_header(out, length, stream_id, TTRPC_RESPONSE, 0, payload_max, err);

	if (r < 0)
		return r;
	if (code) {
		put_key_len(out, 1, status);
		cf_buf_add_byte(out, 1 << 3 | WIRE_VARINT);
		put_varint(out, (uint64_t)(int64_t)code);
		if (says.size)
			put_bytes(out, 2, says);
	}
	if (body) {
		put_key_len(out, 2, body);
		put_packed(out, msg, body);
	}
	return cf_buf_check(out, "ttrpc send queue", err);
}

int ttrpc_put_data(struct cf_buf *out, uint32_t stream_id, uint8_t flags,
                   const ProtobufCMessage *msg, size_t payload_max, struct cf_err *err)
{
	size_t body = packed_size(msg);
	int r = put_header(out, body, stream_id, TTRPC_DATA, flags, payload_max, err);

	if (r < 0)
		return r;
	if (body)
		put_packed(out, msg, body);
	return cf_buf_check(out, "ttrpc send queue", err);
}
