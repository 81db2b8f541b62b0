/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/ttrpc_frame.h"

#include "proto/containerd_types.pb-c.h"
#include "proto/rpc.h"
#include "proto/ttrpc.pb-c.h"
#include "tests/harness/test.h"

static void feed(struct ttrpc_reader *rd, struct cf_view v)
{
	while (v.size) {
		size_t room;
		uint8_t *p = ttrpc_reader_room(rd, &room);
		size_t n = CF_MIN(room, v.size);

		memcpy(p, v.data, n);
		ttrpc_reader_added(rd, n);
		v = cf_view_sub(v, n, v.size);
	}
}

/* A request as the peer's own library would encode it: through the generated code. */
static void peer_request(struct cf_buf *out, uint32_t id, Ttrpc__Request *req)
{
	size_t size = ttrpc__request__get_packed_size(req);

	cf_buf_add_u32be(out, (uint32_t)size);
	cf_buf_add_u32be(out, id);
	cf_buf_add_byte(out, TTRPC_REQUEST);
	cf_buf_add_byte(out, 0);
	uint8_t *p = cf_buf_reserve(out, size);

	out->size += ttrpc__request__pack(req, p);
}

CF_TEST(ttrpc_frame_is_read_at_every_cut)
{
	static const struct cf_view two = CF_VIEW_LIT("\0\0\0\3\0\0\0\5\1\2abc"
	                                              "\0\0\0\0\0\0\0\7\3\5");

	for (size_t cut = 0; cut <= two.size; cut++) {
		struct ttrpc_reader rd;
		struct ttrpc_frame f;

		ttrpc_reader_init(&rd, 16);
		feed(&rd, cf_view_sub(two, 0, cut));
		bool first = ttrpc_reader_next(&rd, &f) == TTRPC_FRAME;
		bool second = first && ttrpc_reader_next(&rd, &f) == TTRPC_FRAME;

		EXPECT(first == (cut >= 13) && second == (cut == two.size));
		feed(&rd, cf_view_sub(two, cut, two.size));
		if (!first) {
			EXPECT(ttrpc_reader_next(&rd, &f) == TTRPC_FRAME);
			EXPECT(f.stream_id == 5 && f.type == 1 && f.flags == 2);
			EXPECT(cf_view_eq_str(f.payload, "abc") && !f.is_oversize);
		}
		if (!second)
			EXPECT(ttrpc_reader_next(&rd, &f) == TTRPC_FRAME);
		EXPECT(f.stream_id == 7 && f.type == 3 && f.flags == 5 && f.payload.size == 0);
		EXPECT(ttrpc_reader_next(&rd, &f) == 0);
		ttrpc_reader_fini(&rd);
	}
}

CF_TEST(ttrpc_frame_over_the_limit_is_dropped_and_the_next_is_read)
{
	static const struct cf_view in = CF_VIEW_LIT("\0\0\0\5\0\0\0\1\1\0xxxxx"
	                                             "\0\0\0\4\0\0\0\3\1\0good");
	struct ttrpc_reader rd;
	struct ttrpc_frame f;
	size_t frames = 0;

	ttrpc_reader_init(&rd, 4);
	for (size_t i = 0; i < in.size; i++) {
		feed(&rd, cf_view_sub(in, i, 1));
		while (ttrpc_reader_next(&rd, &f) == TTRPC_FRAME)
			EXPECT(f.is_oversize == (frames++ == 0));
	}
	EXPECT(frames == 2 && cf_view_eq_str(f.payload, "good"));
	ttrpc_reader_fini(&rd);
}

CF_TEST(ttrpc_frame_of_the_largest_size_passes)
{
	struct ttrpc_reader rd;
	struct ttrpc_frame f;
	struct cf_buf b = { .max = 8u << 20 };

	cf_buf_add_u32be(&b, TTRPC_PAYLOAD_MAX);
	cf_buf_add(&b, "\0\0\0\1\1\0", 6);
	cf_buf_add_zero(&b, TTRPC_PAYLOAD_MAX);
	ttrpc_reader_init(&rd, TTRPC_PAYLOAD_MAX);
	feed(&rd, cf_view_sub(cf_buf_view(&b), 0, b.size - 1));
	EXPECT(ttrpc_reader_next(&rd, &f) == 0);
	feed(&rd, cf_view_sub(cf_buf_view(&b), b.size - 1, 1));
	EXPECT(ttrpc_reader_next(&rd, &f) == TTRPC_FRAME && f.payload.size == TTRPC_PAYLOAD_MAX);
	ttrpc_reader_fini(&rd);
	cf_buf_fini(&b);
}

CF_TEST(ttrpc_reader_memory_follows_the_bytes_that_came)
{
	struct ttrpc_reader rd;
	struct ttrpc_frame f;

	ttrpc_reader_init(&rd, TTRPC_PAYLOAD_MAX);
	feed(&rd, (struct cf_view)CF_VIEW_LIT("\0\x3f\xff\xff\0\0\0\1\1\0"));
	EXPECT(ttrpc_reader_next(&rd, &f) == 0 && rd.in.cap < 256u << 10);
	ttrpc_reader_fini(&rd);
}

CF_TEST(ttrpc_request_reads_what_the_peer_writes)
{
	char payload[] = "PAYLOAD";
	Ttrpc__KeyValue kv1 = TTRPC__KEY_VALUE__INIT, kv2 = TTRPC__KEY_VALUE__INIT;
	Ttrpc__KeyValue *kvs[] = { &kv1, &kv2 };
	Ttrpc__Request req = TTRPC__REQUEST__INIT;
	struct cf_buf b = { 0 };
	struct ttrpc_request got;
	struct cf_err err;

	kv1.key = (char *)(uintptr_t) "k";
	kv1.value = (char *)(uintptr_t) "v";
	kv2.key = (char *)(uintptr_t) "empty";
	req.service = (char *)(uintptr_t) "a.Service";
	req.method = (char *)(uintptr_t) "Do";
	req.payload = (ProtobufCBinaryData){ sizeof(payload) - 1, (uint8_t *)payload };
	req.timeout_nano = 5000000000;
	req.n_metadata = 2;
	req.metadata = kvs;
	peer_request(&b, 1, &req);
	struct cf_view in = cf_view_sub(cf_buf_view(&b), TTRPC_HEADER_BYTES, b.size);

	EXPECT_OK(ttrpc_request_parse(in, &got, &err), &err);
	EXPECT(cf_view_eq_str(got.service, "a.Service") && cf_view_eq_str(got.method, "Do"));
	EXPECT(cf_view_eq_str(got.payload, "PAYLOAD") && got.timeout_ns == 5000000000);
	EXPECT(got.meta_count == 2 && cf_view_eq_str(got.meta[0].value, "v"));
	EXPECT(cf_view_eq_str(got.meta[1].key, "empty") && got.meta[1].value.size == 0);
	/* No truncation crashes; those inside a field are refused. */
	for (size_t n = 0; n < in.size; n++) {
		struct ttrpc_request cut;
		int r = ttrpc_request_parse(cf_view(in.data, n), &cut, &err);

		EXPECT(r == 0 || r == -CF_INVALID_ARGUMENT);
	}
	cf_buf_fini(&b);
}

CF_TEST(ttrpc_writes_what_the_peer_reads)
{
	Containerd__Types__Mount m = CONTAINERD__TYPES__MOUNT__INIT;
	struct ttrpc_meta meta[] = { { "containerd-namespace-ttrpc", "k8s.io" }, { "x", "" } };
	struct cf_buf b = { 0 };
	struct cf_err err;

	m.type = (char *)(uintptr_t) "overlay";
	EXPECT_OK(ttrpc_put_request(&b, 9, 1, "s", "m", &m.base, 77, meta, 2, 4096, &err), &err);
	EXPECT(b.data[7] == 9 && b.data[8] == TTRPC_REQUEST && b.data[9] == 1);
	Ttrpc__Request *req = ttrpc__request__unpack(NULL, b.size - 10, b.data + 10);

	EXPECT(req && cf_streq(req->service, "s") && cf_streq(req->method, "m"));
	EXPECT(req->timeout_nano == 77 && req->n_metadata == 2 && req->payload.len == 9);
	EXPECT(cf_streq(req->metadata[0]->value, "k8s.io"));
	ttrpc__request__free_unpacked(req, NULL);

	cf_buf_reset(&b);
	EXPECT_OK(ttrpc_put_response(&b, 9, NULL, CF_NOT_FOUND, "gone", 4096, &err), &err);
	Ttrpc__Response *res = ttrpc__response__unpack(NULL, b.size - 10, b.data + 10);

	EXPECT(res && res->status->code == 5 && cf_streq(res->status->message, "gone"));
	ttrpc__response__free_unpacked(res, NULL);

	struct ttrpc_response back;

	EXPECT_OK(ttrpc_response_parse(cf_view(b.data + 10, b.size - 10), &back, &err), &err);
	EXPECT(back.code == 5 && cf_view_eq_str(back.text, "gone"));
	cf_buf_reset(&b);
	EXPECT_FAILS(ttrpc_put_response(&b, 9, &m.base, 0, NULL, 4, &err), CF_RESOURCE_EXHAUSTED);
	EXPECT(b.size == 0 && !b.bad);
	cf_buf_fini(&b);
}

static const struct cf_view bad_requests[] = {
	CF_VIEW_LIT("\x0a\x05"),         /* a field longer than the message */
	CF_VIEW_LIT("\x0a\x02\xff\xfe"), /* service is no UTF-8 */
	CF_VIEW_LIT("\x12\x03"
	            "a\0b"),     /* method has a NUL */
	CF_VIEW_LIT("\x03"),     /* group: no wire type of ours */
	CF_VIEW_LIT("\x00\x00"), /* field number 0 */
	CF_VIEW_LIT("\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), /* varint of 11 bytes */
	CF_VIEW_LIT("\x2a\x02\x0a\x05"), /* metadata entry cut short */
};

CF_TEST(ttrpc_request_refuses_malformed_bytes)
{
	struct ttrpc_request req;
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(bad_requests); i++)
		EXPECT_FAILS(ttrpc_request_parse(bad_requests[i], &req, &err), CF_INVALID_ARGUMENT);
}

CF_TEST(ttrpc_request_limits_metadata)
{
	struct ttrpc_request req;
	struct cf_buf b = { 0 };
	struct cf_err err;

	for (unsigned i = 0; i < TTRPC_META_MAX; i++)
		cf_buf_add(&b, "\x2a\x02\x0a\0", 4);
	EXPECT_OK(ttrpc_request_parse(cf_buf_view(&b), &req, &err), &err);
	EXPECT(req.meta_count == TTRPC_META_MAX);
	cf_buf_add(&b, "\x2a\x02\x0a\0", 4);
	EXPECT_FAILS(ttrpc_request_parse(cf_buf_view(&b), &req, &err), CF_RESOURCE_EXHAUSTED);
	cf_buf_reset(&b);
	cf_buf_add(&b, "\x2a\x81\x80\x01", 4); /* one entry of 16385 bytes */
	cf_buf_add_zero(&b, 16385);
	EXPECT_FAILS(ttrpc_request_parse(cf_buf_view(&b), &req, &err), CF_RESOURCE_EXHAUSTED);
	cf_buf_fini(&b);
}

CF_TEST(rpc_unpack_refuses_what_protobuf_c_lets_pass)
{
	static const struct cf_view nul = CF_VIEW_LIT("\x0a\x03"
	                                              "a\0b");
	static const struct cf_view utf8 = CF_VIEW_LIT("\x22\x01\xff");
	static const struct cf_view cut = CF_VIEW_LIT("\x0a\x03"
	                                              "ab");
	static const struct cf_view good = CF_VIEW_LIT("\x0a\x02"
	                                               "ab"
	                                               "\x22\x01"
	                                               "x");
	ProtobufCMessage *msg = NULL;
	struct cf_err err;
	const ProtobufCMessageDescriptor *type = &containerd__types__mount__descriptor;

	EXPECT_FAILS(rpc_unpack(type, nul.data, nul.size, &msg, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(rpc_unpack(type, utf8.data, utf8.size, &msg, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(rpc_unpack(type, cut.data, cut.size, &msg, &err), CF_INVALID_ARGUMENT);
	EXPECT(!msg);
	EXPECT_OK(rpc_unpack(type, good.data, good.size, &msg, &err), &err);
	EXPECT_STR(((Containerd__Types__Mount *)msg)->options[0], "x");
	protobuf_c_message_free_unpacked(msg, NULL);
}

CF_TEST(rpc_unpack_counts_the_memory_a_message_takes)
{
	ProtobufCMessage *msg = NULL;
	struct cf_buf b = { 0 };
	struct cf_err err;

	/* Empty strings: two bytes on the wire, seventy in memory. */
	for (int i = 0; i < 1 << 20; i++)
		cf_buf_add(&b, "\x22\x00", 2);
	EXPECT_FAILS(rpc_unpack(&containerd__types__mount__descriptor, b.data, b.size, &msg, &err),
	             CF_RESOURCE_EXHAUSTED);
	cf_buf_fini(&b);
}

CF_TEST(rpc_unpack_limits_depth)
{
	ProtobufCMessage *msg = NULL;
	struct cf_buf b = { 0 };
	struct cf_err err;

	/* google.protobuf.Value-like recursion does not occur in our messages: nest by hand. */
	static const ProtobufCFieldDescriptor field = {
		.name = "self",
		.id = 1,
		.label = PROTOBUF_C_LABEL_NONE,
		.type = PROTOBUF_C_TYPE_MESSAGE,
		.offset = sizeof(ProtobufCMessage),
		.descriptor = NULL,
	};
	static ProtobufCFieldDescriptor fields[1];
	static const unsigned by_name[1] = { 0 };
	static const ProtobufCIntRange ranges[2] = { { 1, 0 }, { 0, 1 } };
	static ProtobufCMessageDescriptor type;

	fields[0] = field;
	fields[0].descriptor = &type;
	type = (ProtobufCMessageDescriptor){
		.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
		.name = "T",
		.short_name = "T",
		.c_name = "T",
		.package_name = "",
		.sizeof_message = sizeof(ProtobufCMessage) + sizeof(void *),
		.n_fields = 1,
		.fields = fields,
		.fields_sorted_by_name = by_name,
		.n_field_ranges = 1,
		.field_ranges = ranges,
	};
	for (int depth = 40; depth > 0; depth--) {
		cf_buf_add_byte(&b, 0x0a);
		cf_buf_add_byte(&b, (uint8_t)(2 * (depth - 1)));
	}
	EXPECT_FAILS(rpc_unpack(&type, b.data, b.size, &msg, &err), CF_INVALID_ARGUMENT);
	EXPECT_OK(rpc_unpack(&type, b.data + 2 * 20, b.size - 2 * 20, &msg, &err), &err);
	protobuf_c_message_free_unpacked(msg, NULL);
	cf_buf_fini(&b);
}
