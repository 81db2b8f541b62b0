/* SPDX-License-Identifier: Apache-2.0 */
/* What no honest gRPC client sends, and how connections end: the server's side of it. */
#include "tests/fakes/h2_peer.h"

/* ---- requests ---- */

static const struct {
	const char *verb, *method;
	const char *more[5]; /* headers beside gRPC's own, … */
	const char *body;    /* … unless there is none */
	size_t size;
	const char *status, *grpc_status, *why;
} odd[] = {
	/* the good one */
	{ "POST", "Echo", { 0 }, "\0\0\0\0\0", 5, "200", "0", "" },
	{ "POST", "Echo", { "grpc-timeout", "5S" }, "\0\0\0\0\0", 5, "200", "0", "" },
	{ "POST", "Echo", { "grpc-encoding", "identity" }, "\0\0\0\0\0", 5, "200", "0", "" },
	/* not gRPC */
	{ "GET", "Echo", { 0 }, "\0\0\0\0\0", 5, "405", "3", "a gRPC request is a POST" },
	{ "POST", "Echo", { "content-type", "text/plain" }, "\0\0\0\0\0", 5, "415", "3", "" },
	{ "POST", "Echo", { "content-type", "application/grpc-web" }, "", 0, "415", "3", "" },
	/* nothing that we have */
	{ "POST", "", { 0 }, "\0\0\0\0\0", 5, "200", "12", "unknown service or method" },
	{ "POST", "Nothing", { 0 }, "\0\0\0\0\0", 5, "200", "12", "unknown service or method" },
	{ "POST", "Echo/", { 0 }, "\0\0\0\0\0", 5, "200", "12", "unknown service or method" },
	{ "POST", "echo", { 0 }, "\0\0\0\0\0", 5, "200", "12", "unknown service or method" },
	{ "POST", "Echo", { "grpc-timeout", "soon" }, "\0\0\0\0\0", 5, "200", "3", "" },
	/* no message, half of one, more than one */
	{ "POST", "Echo", { 0 }, "", 0, "200", "3", "no request message" },
	{ "POST", "Echo", { 0 }, "\0\0\0", 3, "200", "3", "the request ends within its message" },
	{ "POST",
	  "Echo",
	  { 0 },
	  "\0\0\0\0\7\x12\5br",
	  9,
	  "200",
	  "3",
	  "the request ends within its message" },
	{ "POST",
	  "Echo",
	  { 0 },
	  "\0\0\0\0\0\0\0\0\0\0",
	  10,
	  "200",
	  "3",
	  "more than one request message" },
	{ "POST", "Echo", { 0 }, "\0\0\0\0\0!", 6, "200", "3", "more than one request message" },
	/* no message that we take */
	{ "POST", "Echo", { 0 }, "\1\0\0\0\0", 5, "200", "12", "" },
	{ "POST", "Echo", { 0 }, "\2\0\0\0\0", 5, "200", "3", "" },
	{ "POST", "Echo", { 0 }, "\0\1\0\0\1", 5, "200", "8", "" },
	{ "POST", "Echo", { 0 }, "\0\xff\xff\xff\xff", 5, "200", "8", "" },
	{ "POST", "Echo", { 0 }, "\0\0\0\0\2\x12\5", 7, "200", "3", "" },
	{ "POST", "Echo", { 0 }, "\0\0\0\0\4\x12\2a\0", 9, "200", "3", "" },
};

static void put_odd(struct cf_buf *to, size_t i, uint32_t id)
{
	struct cf_buf block = { 0 };
	unsigned end = odd[i].size ? 0 : NGHTTP2_FLAG_END_STREAM;

	put_head(&block, odd[i].verb, odd[i].method);
	if (!cf_streq(odd[i].more[0], "content-type"))
		put_pairs(&block, raw_grpc);
	put_pairs(&block, odd[i].more);
	put_frame(to, NGHTTP2_HEADERS, end | NGHTTP2_FLAG_END_HEADERS, id, cf_buf_view(&block));
	if (odd[i].size)
		put_data(to, id, NGHTTP2_FLAG_END_STREAM, cf_view(odd[i].body, odd[i].size));
	cf_buf_fini(&block);
}

static void expect_odd(size_t i, const struct raw_answer *a)
{
	if (!a->is_ended || !cf_streq(a->status, odd[i].status) ||
	    !cf_streq(a->grpc_status, odd[i].grpc_status))
		print_error("request %zu: ended %d reset %d status %s grpc-status %s %s\n", i,
		            a->is_ended, a->is_reset, a->status, a->grpc_status, a->message);
	EXPECT(a->is_ended && !a->is_reset && !a->is_goaway);
	EXPECT_STR(a->status, odd[i].status);
	EXPECT_STR(a->grpc_status, odd[i].grpc_status);
	if (odd[i].why[0])
		EXPECT_STR(a->message, odd[i].why);
}

CF_TEST(h2_server_answers_each_odd_request_and_goes_on)
{
	struct world *w = world_start(NULL);
	struct raw r = hello(w);
	uint32_t id = 1;

	for (size_t i = 0; i < CF_ARRAY_LEN(odd); i++, id += 2) {
		struct cf_buf b = { 0 };

		put_odd(&b, i, id);
		struct raw_answer a = ask(&r, id, &b);

		expect_odd(i, &a);
		cf_buf_fini(&a.data);
	}
	echo_on(&r, id);
	EXPECT_INT(rpc_grpc_server_calls(w->srv), CF_ARRAY_LEN(odd) + 1);
	raw_close(&r);
	world_free(w);
}

/* The same, each frame cut into pieces of one byte, and all streams at once. */
CF_TEST(h2_server_takes_requests_byte_by_byte)
{
	struct world *w = world_start(NULL);
	struct raw r = hello(w);
	struct cf_buf b = { 0 };

	for (size_t i = 0; i < CF_ARRAY_LEN(odd); i++)
		put_odd(&b, i, (uint32_t)(2 * i + 1));
	for (size_t i = 0; i < b.size; i++)
		EXPECT(send(r.fd, b.data + i, 1, MSG_NOSIGNAL) == 1);
	cf_buf_fini(&b);
	echo_on(&r, 2 * CF_ARRAY_LEN(odd) + 1);
	raw_close(&r);
	world_free(w);
}

/* Each byte of two messages in a frame of its own: what follows the first is one too many. */
CF_TEST(h2_server_refuses_what_follows_the_message)
{
	struct world *w = world_start(NULL);
	struct raw r = hello(w);
	struct cf_view two = cf_view("\0\0\0\0\2\x12\0\0\0\0\0\0", 12);

	for (size_t n = 0; n <= two.size; n++) {
		uint32_t id = 2 * (uint32_t)n + 1;
		struct cf_buf b = { 0 };

		put_request(&b, id, 0, "Echo", NULL);
		for (size_t i = 0; i < n; i++)
			put_data(&b, id, 0, cf_view_sub(two, i, 1));
		put_data(&b, id, NGHTTP2_FLAG_END_STREAM, cf_view(NULL, 0));
		struct raw_answer a = ask(&r, id, &b);

		EXPECT(a.is_ended);
		EXPECT_STR(a.grpc_status, n == 7 ? "0" : "3");
		if (n > 7)
			EXPECT_STR(a.message, "more than one request message");
		cf_buf_fini(&a.data);
	}
	raw_close(&r);
	world_free(w);
}

CF_TEST(h2_server_answers_before_the_end_of_what_it_does_not_want)
{
	struct world *w = world_start(NULL);
	struct raw r = hello(w);
	struct cf_buf b = { 0 };

	put_request(&b, 1, 0, "Nothing", NULL); /* and no end */
	struct raw_answer a = ask(&r, 1, &b);

	EXPECT(a.is_ended);
	EXPECT_STR(a.grpc_status, "12");
	/* What was under way before the client heard of it is let pass. */
	put_data(&b, 1, 0, cf_view("\0\0\0\0\1x", 6));
	EXPECT(raw_send(&r, &b));
	echo_on(&r, 3);
	raw_close(&r);
	world_free(w);
}

/* ---- metadata ---- */

/* A request whose headers are @block, which is given up, and whose message is empty. */
static struct raw_answer ask_with(struct raw *r, uint32_t id, struct cf_buf *block)
{
	struct cf_buf b = { 0 };

	put_frame(&b, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, id, cf_buf_view(block));
	cf_buf_fini(block);
	put_data(&b, id, NGHTTP2_FLAG_END_STREAM, cf_view("\0\0\0\0\0", 5));
	return ask(r, id, &b);
}

static struct raw_answer who(struct raw *r, uint32_t id, struct cf_view name, struct cf_view value)
{
	struct cf_buf block = { 0 };

	put_head(&block, "POST", "Who");
	put_pairs(&block, raw_grpc);
	cf_buf_add_byte(&block, 0);
	put_text(&block, name);
	put_text(&block, value);
	return ask_with(r, id, &block);
}

static bool has(const struct raw_answer *a, const char *text)
{
	return memmem(a->data.data, a->data.size, text, strlen(text)) != NULL;
}

CF_TEST(h2_server_keeps_metadata_that_is_text)
{
	struct world *w = world_start(NULL);
	struct raw r = hello(w);
	struct raw_answer a = who(&r, 1, cf_view_str("x-test"), cf_view("seen\xc3\xa4", 6));

	EXPECT(a.is_ended && has(&a, "seen\xc3\xa4") && has(&a, "none"));
	cf_buf_fini(&a.data);
	a = who(&r, 3, cf_view_str("containerd-namespace"), cf_view_str("k8s.io"));
	EXPECT(a.is_ended && has(&a, "k8s.io"));
	cf_buf_fini(&a.data);
	a = who(&r, 5, cf_view_str("x-test"), cf_view("seen\xc3", 5));
	EXPECT(a.is_ended && !has(&a, "seen"));
	cf_buf_fini(&a.data);
	raw_close(&r);
	world_free(w);
}

/* Older clients in Go, grpc 1.50 is one, put the socket's path there. */
CF_TEST(h2_server_takes_any_authority)
{
	static const char *const names[] = {
		"localhost", "/run/x.sock", "%2Frun%2Fx.sock", "unix:///run/x.sock", "",
		"a b",       "\x01",
	};
	static const char *const pairs[] = { ":method", "POST", ":path", "/test.Service/Echo",
		                             NULL };
	struct world *w = world_start(NULL);
	struct raw r = hello(w);

	for (uint32_t i = 0; i <= CF_ARRAY_LEN(names); i++) {
		struct cf_buf block = { 0 };

		put_pairs(&block, pairs);
		if (i < CF_ARRAY_LEN(names)) /* the last has none, as all of them have no :scheme */
			put_pair(&block, ":authority", cf_view_str(names[i]));
		put_pairs(&block, raw_grpc);
		struct raw_answer a = ask_with(&r, 2 * i + 1, &block);

		EXPECT(a.is_ended && !a.is_reset);
		EXPECT_STR(a.grpc_status, "0");
		cf_buf_fini(&a.data);
	}
	raw_close(&r);
	world_free(w);
}

#define BYTES(text)                                                                                \
	{                                                                                          \
		(const uint8_t *)(text), sizeof(text) - 1                                          \
	}

/* No handler sees any of it, nor a header of its parts. */
CF_TEST(h2_server_passes_over_headers_that_http2_forbids)
{
	static const struct {
		struct cf_view name, value;
	} bad[] = {
		{ BYTES("x-test\0seen\0y"), BYTES("v") }, { BYTES("y\0x-test\0seen"), BYTES("v") },
		{ BYTES("X-Test"), BYTES("seen") },       { BYTES(""), BYTES("x-test\0seen") },
		{ BYTES("y"), BYTES("v\0x-test\0seen") }, { BYTES("x-test"), BYTES("seen\0") },
		{ BYTES("x-test"), BYTES("seen\n") },     { BYTES(":x-test"), BYTES("seen") },
	};
	struct world *w = world_start(NULL);
	struct raw r = hello(w);

	for (uint32_t i = 0; i < CF_ARRAY_LEN(bad); i++) {
		struct raw_answer a = who(&r, 2 * i + 1, bad[i].name, bad[i].value);

		EXPECT(a.is_ended && !has(&a, "seen"));
		EXPECT_STR(a.grpc_status, "0");
		cf_buf_fini(&a.data);
	}
	echo_on(&r, 2 * CF_ARRAY_LEN(bad) + 1);
	raw_close(&r);
	world_free(w);
}

/* @pairs headers whose values are of @size bytes. */
static struct raw_answer with_headers(struct raw *r, uint32_t id, unsigned pairs, size_t size)
{
	cf_cleanup(cf_freep) char *value = cf_zalloc(size + 1);
	struct cf_buf b = { 0 }, block = { 0 };

	memset(value, 'v', size);
	put_head(&block, "POST", "Echo");
	put_pairs(&block, raw_grpc);
	for (unsigned i = 0; i < pairs; i++)
		put_pair(&block, "x", cf_view_str(value));
	struct cf_view all = cf_buf_view(&block);
	unsigned type = NGHTTP2_HEADERS;

	for (size_t at = 0; at < all.size; at += MAX_OF_A_FRAME, type = NGHTTP2_CONTINUATION)
		put_frame(&b, type, at + MAX_OF_A_FRAME < all.size ? 0 : NGHTTP2_FLAG_END_HEADERS,
		          id, cf_view_sub(all, at, MAX_OF_A_FRAME));
	cf_buf_fini(&block);
	put_data(&b, id, NGHTTP2_FLAG_END_STREAM, cf_view("\0\0\0\0\0", 5));
	return ask(r, id, &b);
}

CF_TEST(h2_server_refuses_too_much_metadata)
{
	struct world *w = world_start(NULL);
	struct raw r = hello(w);
	struct raw_answer a = with_headers(&r, 1, RPC_H2_META_PAIRS - 6, 1);

	EXPECT_STR(a.grpc_status, "0");
	cf_buf_fini(&a.data);
	a = with_headers(&r, 3, RPC_H2_META_PAIRS - 5, 1);
	EXPECT_STR(a.grpc_status, "8");
	a = with_headers(&r, 5, 1, RPC_H2_META_MAX - 1000);
	EXPECT_STR(a.grpc_status, "0");
	cf_buf_fini(&a.data);
	a = with_headers(&r, 7, 1, RPC_H2_META_MAX);
	EXPECT_STR(a.grpc_status, "8");
	EXPECT_STR(a.message, "too much metadata");
	a = with_headers(&r, 9, 4, RPC_H2_META_MAX);
	EXPECT_STR(a.grpc_status, "8");
	echo_on(&r, 11);
	raw_close(&r);
	world_free(w);
}

/* A header of 3 KiB in the table, and then a thousand times its one byte. */
CF_TEST(h2_server_refuses_a_header_bomb)
{
	struct world *w = world_start(NULL);
	struct raw r = hello(w);
	cf_cleanup(cf_freep) char *value = cf_zalloc(3001);
	struct cf_buf b = { 0 }, block = { 0 };

	memset(value, 'v', 3000);
	put_head(&block, "POST", "Echo");
	put_pairs(&block, raw_grpc);
	cf_buf_add_byte(&block, 0x40); /* a literal that the table keeps, */
	put_text(&block, cf_view_str("x"));
	put_text(&block, cf_view_str(value));
	for (int i = 0; i < 1000; i++)
		cf_buf_add_byte(&block, 0x80 | 62); /* … its newest */
	put_frame(&b, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 1,
	          cf_buf_view(&block));
	cf_buf_fini(&block);
	struct raw_answer a = ask(&r, 1, &b);

	EXPECT_STR(a.grpc_status, "8");
	echo_on(&r, 3);
	raw_close(&r);
	world_free(w);
}

CF_TEST(h2_server_ends_headers_without_an_end)
{
	struct world *w = world_start(NULL);
	struct raw r = hello(w);
	struct cf_buf b = { 0 };

	put_frame(&b, NGHTTP2_HEADERS, 0, 1, cf_view("\x82", 1)); /* :method GET */
	for (int i = 0; i < 5000; i++)
		put_frame(&b, NGHTTP2_CONTINUATION, 0, 1, cf_view("\x82", 1));
	(void)!raw_send(&r, &b);
	EXPECT(raw_answer_of(&r, 0, false).is_eof);
	raw_close(&r);
	echo(w);
	world_free(w);
}

/* ---- connections ---- */

CF_TEST(h2_server_closes_what_speaks_no_http2)
{
	static const char *const first[] = { "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
		                             "PRI * HTTP/2.0\r\n\r\nSM\r\n\n\r",
		                             "\x16\x03\x01\x02\x01 no TLS either" };
	struct world *w = world_start(NULL);
	struct raw half = raw_open(w->path);
	struct cf_buf b = { 0 };

	cf_buf_add(&b, RAW_PREFACE, 10);
	EXPECT(raw_send(&half, &b));
	for (size_t i = 0; i < CF_ARRAY_LEN(first); i++) {
		struct raw r = raw_open(w->path);

		cf_buf_add_str(&b, first[i]);
		EXPECT(raw_send(&r, &b));
		EXPECT(raw_answer_of(&r, 0, false).is_eof);
		raw_close(&r);
	}
	/* Something else than SETTINGS first. */
	struct raw r = raw_open(w->path);

	cf_buf_add_str(&b, RAW_PREFACE);
	put_call(&b, 1, "Echo");
	EXPECT(raw_send(&r, &b));
	EXPECT(raw_answer_of(&r, 0, false).is_eof);
	raw_close(&r);
	echo(w);
	cf_buf_add_str(&b, &RAW_PREFACE[10]);
	put_frame(&b, NGHTTP2_SETTINGS, 0, 0, cf_view(NULL, 0));
	EXPECT(raw_send(&half, &b));
	echo_on(&half, 1);
	raw_close(&half);
	world_free(w);
}

CF_TEST(h2_server_lets_unknown_frames_and_padding_pass)
{
	struct world *w = world_start(NULL);
	struct raw r = hello(w);
	struct cf_buf b = { 0 }, block = { 0 };
	cf_cleanup(cf_freep) uint8_t *big = cf_zalloc(MAX_OF_A_FRAME);

	for (unsigned type = 0x10; type < 0x40; type++)
		put_frame(&b, type, type, type & 1, cf_view(big, type * 100u));
	put_frame(&b, NGHTTP2_PRIORITY, 0, 7, cf_view("\0\0\0\5\x10", 5));
	put_frame(&b, NGHTTP2_SETTINGS, 0, 0, cf_view("\x42\x42\xff\xff\xff\xff", 6));
	/* Padding of 3 and a priority, which says nothing to us. */
	cf_buf_add(&block, "\3\0\0\0\0\x10", 6);
	put_head(&block, "POST", "Echo");
	put_pairs(&block, raw_grpc);
	cf_buf_add_zero(&block, 3);
	put_frame(&b, NGHTTP2_HEADERS,
	          NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_PADDED | NGHTTP2_FLAG_PRIORITY, 1,
	          cf_buf_view(&block));
	cf_buf_fini(&block);
	put_data(&b, 1, NGHTTP2_FLAG_PADDED, cf_view("\2\0\0\0..", 6));
	put_data(&b, 1, 0, cf_view(NULL, 0));
	put_data(&b, 1, 0, cf_view("\0\0", 2));
	/* Trailers end a request as well as anything. */
	put_frame(&b, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 1,
	          cf_view("\0\1a\1b", 5));
	struct raw_answer a = ask(&r, 1, &b);

	EXPECT(a.is_ended);
	EXPECT_STR(a.grpc_status, "0");
	cf_buf_fini(&a.data);
	echo_on(&r, 9);
	raw_close(&r);
	world_free(w);
}

CF_TEST(h2_server_survives_frames_out_of_order)
{
	static const struct {
		unsigned type, flags;
		uint32_t id;
		struct cf_view payload;
	} bad[] = {
		{ NGHTTP2_DATA, 0, 1, CF_VIEW_LIT("\0\0\0\0\0") }, /* after END_STREAM */
		{ NGHTTP2_DATA, 0, 0, CF_VIEW_LIT("x") },          /* of no stream */
		{ NGHTTP2_DATA, 0, 9, CF_VIEW_LIT("x") },          /* … that was never begun */
		{ NGHTTP2_DATA, 8, 1, CF_VIEW_LIT("\xff\0") },     /* padded beyond its end */
		{ NGHTTP2_HEADERS, 4, 2, CF_VIEW_LIT("\x82") },    /* our kind of id */
		{ NGHTTP2_HEADERS, 4, 0, CF_VIEW_LIT("\x82") },
		{ NGHTTP2_HEADERS, 5, 3, CF_VIEW_LIT("\x82\xff\xff\xff\xff\xff") }, /* no HPACK */
		{ NGHTTP2_HEADERS, 5, 3, CF_VIEW_LIT("\x82") },  /* pseudo-headers missing */
		{ NGHTTP2_CONTINUATION, 4, 1, CF_VIEW_LIT("") }, /* of nothing */
		{ NGHTTP2_PUSH_PROMISE, 4, 1, CF_VIEW_LIT("\0\0\0\2") }, /* a server's */
		{ NGHTTP2_RST_STREAM, 0, 11, CF_VIEW_LIT("\0\0\0\1") },
		{ NGHTTP2_RST_STREAM, 0, 1, CF_VIEW_LIT("\0") },
		{ NGHTTP2_SETTINGS, 0, 0, CF_VIEW_LIT("\0\4\xff\xff\xff\xff") }, /* too wide */
		{ NGHTTP2_SETTINGS, 0, 0, CF_VIEW_LIT("\0\4\0") },
		{ NGHTTP2_SETTINGS, 1, 0, CF_VIEW_LIT("\0\0\0\0\0\0") }, /* an ack with something */
		{ NGHTTP2_SETTINGS, 0, 1, CF_VIEW_LIT("") },
		{ NGHTTP2_WINDOW_UPDATE, 0, 0, CF_VIEW_LIT("\0\0\0\0") },
		{ NGHTTP2_WINDOW_UPDATE, 0, 0, CF_VIEW_LIT("\x7f\xff\xff\xff") },
		{ NGHTTP2_PING, 0, 0, CF_VIEW_LIT("short") },
		{ NGHTTP2_GOAWAY, 0, 0, CF_VIEW_LIT("\0\0\0\0\0\0\0\0") },
		{ NGHTTP2_GOAWAY, 0, 1, CF_VIEW_LIT("\0\0\0\0\0\0\0\0") },
	};
	struct world *w = world_start(NULL);

	for (size_t i = 0; i < CF_ARRAY_LEN(bad); i++) {
		struct raw r = hello(w);
		struct cf_buf b = { 0 };

		put_call(&b, 1, "Keep");
		EXPECT(raw_send(&r, &b));
		while (!w->svc.kept)
			poll(NULL, 0, 1);
		/* The connection may go on or end; either way the kept call is answered. */
		put_frame(&b, bad[i].type, bad[i].flags, bad[i].id, bad[i].payload);
		EXPECT(raw_send(&r, &b));
		echo(w);
		raw_close(&r);
		rpc_reply(atomic_exchange(&w->svc.kept, NULL), NULL);
	}
	world_free(w);
}

/* ---- ends ---- */

/* An exchange that is cut at each of its bytes: handlers end, and nothing is left behind. */
CF_TEST(h2_server_copes_with_connections_cut_anywhere)
{
	struct world *w = world_start(NULL);
	struct cf_buf b = { 0 };

	w->svc.stream_bytes = 100u << 10;
	w->svc.stream_count = 1000000;
	put_hello(&b);
	put_call(&b, 1, "EchoInline");
	put_call(&b, 3, "Hold");
	put_call(&b, 5, "Stream");
	put_u32_frame(&b, NGHTTP2_WINDOW_UPDATE, 5, 300000);
	put_u32_frame(&b, NGHTTP2_WINDOW_UPDATE, 0, 300000);
	for (size_t n = 0; n <= b.size; n++) {
		struct raw r = raw_open(w->path);

		EXPECT(send(r.fd, b.data, n, MSG_NOSIGNAL) == (ssize_t)n);
		if (n % 2) {
			shutdown(r.fd, SHUT_WR);
			EXPECT(raw_answer_of(&r, 0, false).is_eof);
		}
		raw_close(&r);
	}
	cf_buf_fini(&b);
	echo(w);
	world_free(w);
}

CF_TEST(h2_server_lets_calls_end_before_it_does)
{
	struct world *w = world_start(NULL);
	struct raw r = hello(w), idle = raw_open(w->path), quiet = hello(w);
	struct cf_buf b = { 0 };

	w->drain_ms = 20000;
	put_call(&b, 1, "Keep");
	EXPECT(raw_send(&r, &b));
	echo_on(&quiet, 1);
	while (!w->svc.kept)
		poll(NULL, 0, 1);
	world_stop(w);
	EXPECT(raw_answer_of(&idle, 0, false).is_eof);
	/* Nobody new, neither here nor there; whoever is in is heard to the end. */
	struct raw_answer a = call_once(&quiet, 3, "Echo");

	EXPECT_STR(a.grpc_status, "14");
	EXPECT(access(w->path, F_OK) < 0);
	rpc_reply(atomic_exchange(&w->svc.kept, NULL), NULL);
	a = raw_answer_of(&r, 1, false);
	EXPECT_STR(a.grpc_status, "0");
	EXPECT(raw_answer_of(&r, 0, false).is_eof);
	EXPECT(raw_answer_of(&quiet, 0, false).is_eof);
	raw_close(&r);
	raw_close(&idle);
	raw_close(&quiet);
	world_free(w);
}

CF_TEST(h2_server_ends_though_calls_do_not)
{
	struct world *w = world_start(NULL);
	struct raw r = hello(w), slow = hello_wide(w);
	struct cf_buf b = { 0 };

	w->drain_ms = 50;
	w->svc.too_large_bytes = 1u << 20;
	put_call(&b, 1, "TooLarge");
	EXPECT(raw_send(&slow, &b));
	put_call(&b, 1, "Hold");
	put_request(&b, 3, 0, "Echo", NULL); /* whose message is still to come */
	EXPECT(raw_send(&r, &b));
	echo(w);
	int64_t from = cf_now_ms();

	world_free(w);
	EXPECT(cf_now_ms() - from < 3000);
	EXPECT(raw_answer_of(&r, 0, false).is_eof);
	raw_close(&r);
	raw_close(&slow);
}
