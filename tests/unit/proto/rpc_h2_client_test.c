/* SPDX-License-Identifier: Apache-2.0 */
/* A client against servers that lie, break off or say nothing: HTTP/2 frames written by hand. */
#include "proto/containerd_types.pb-c.h"
#include "proto/rpc_grpc.h"
#include "proto/rpc_h2_client_session.h"
#include "tests/fakes/h2_server.h"

#include <signal.h>
#include <stdio.h>

/* ---- a client ---- */

typedef Containerd__Types__Mount Mount;

static struct rpc_grpc_client *client_new(const struct fake *f)
{
	struct rpc_grpc_client *c = NULL;
	struct cf_err err;

	EXPECT_OK(rpc_grpc_client_new(f->path, &c, &err), &err);
	return c;
}

static const Mount question = { PROTOBUF_C_MESSAGE_INIT(&containerd__types__mount__descriptor),
	                        .type = (char *)"", .source = (char *)"there",
	                        .target = (char *)"" };

static struct rpc_grpc_req request(int64_t timeout_ms)
{
	return (struct rpc_grpc_req){ .service = "test.Service",
		                      .method = "Echo",
		                      .msg = &question.base,
		                      .out = &containerd__types__mount__descriptor,
		                      .timeout_ms = timeout_ms };
}

static int ask(struct rpc_grpc_client *c, int64_t timeout_ms, struct cf_err *err)
{
	struct rpc_grpc_req req = request(timeout_ms);
	Mount *res = NULL;
	int r = rpc_grpc_call(c, &req, (ProtobufCMessage **)&res, err);

	EXPECT((r == 0) == (res != NULL));
	if (r == 0) {
		EXPECT_STR(res->source, "here");
		containerd__types__mount__free_unpacked(res, NULL);
	}
	return r;
}

static int ask_once(const struct fake *f, int64_t timeout_ms, struct cf_err *err)
{
	struct rpc_grpc_client *c = client_new(f);
	int r = ask(c, timeout_ms, err);

	rpc_grpc_client_free(c);
	return r;
}

/* ---- answers and what they mean ---- */

static const struct {
	const char *what;
	enum cf_code code;
	const char *text; /* somewhere in the error's */
	struct step steps[STEPS_MAX];
} answers[] = {
	{ "a good one", CF_OK, "", { HEAD, ANSWER, GOOD_END } },
	{ "in two pieces",
	  CF_OK,
	  "",
	  { HEAD, { DATA, 0, LIT("\0\0\0") }, { DATA, 0, LIT("\0\6\x12\4here") }, GOOD_END } },
	{ "after a 1xx",
	  CF_OK,
	  "",
	  { { HEADERS, END_HEADERS, LIT(HTTP("103")) }, HEAD, ANSWER, GOOD_END } },
	{ "with pings between",
	  CF_OK,
	  "",
	  { HEAD, { PING, 0, LIT("12345678") }, ANSWER, { PING, 0, LIT("12345678") }, GOOD_END } },
	{ "with a frame of no known type",
	  CF_OK,
	  "",
	  { HEAD, { 0x42, 0, LIT("x") }, ANSWER, GOOD_END } },
	{ "with lines nobody asked for",
	  CF_OK,
	  "",
	  { { HEADERS, END_HEADERS, LIT("\x88" GRPC LINE("\1x", "\1y")) }, ANSWER, GOOD_END } },

	{ "a refusal",
	  CF_NOT_FOUND,
	  "no h\xc3\xa4m: 5%",
	  { TRAILERS("\x88" GRPC STATUS("\0015") TEXT("\17no h%C3%A4m: 5%")) } },
	{ "a refusal after a message",
	  CF_ABORTED,
	  "enough",
	  { HEAD, ANSWER, TRAILERS(STATUS("\00210") TEXT("\6enough")) } },
	{ "a refusal after what is no message",
	  CF_ABORTED,
	  "enough",
	  { HEAD,
	    { DATA, 0, LIT("\0\0\0\0\2\x12\4") },
	    TRAILERS(STATUS("\00210") TEXT("\6enough")) } },
	{ "a refusal without a text",
	  CF_UNAUTHENTICATED,
	  "",
	  { TRAILERS("\x88" GRPC STATUS("\00216")) } },
	{ "blanks around the text",
	  CF_INTERNAL,
	  " a b ",
	  { TRAILERS("\x88" GRPC STATUS("\00213") TEXT("\5 a b ")) } },

	{ "no status at all",
	  CF_UNKNOWN,
	  "without a status",
	  { HEAD, ANSWER, { DATA, END_STREAM, LIT("") } } },
	{ "trailers without one",
	  CF_UNKNOWN,
	  "without a status",
	  { HEAD, ANSWER, TRAILERS(TEXT("\1x")) } },
	{ "one at the wrong place",
	  CF_UNKNOWN,
	  "without a status",
	  { { HEADERS, END_HEADERS, LIT("\x88" GRPC STATUS("\0010")) },
	    ANSWER,
	    { DATA, END_STREAM, LIT("") } } },
	{ "a status out of range",
	  CF_UNKNOWN,
	  "odd",
	  { TRAILERS("\x88" GRPC STATUS("\00217") TEXT("\3odd")) } },
	{ "a status below zero", CF_UNKNOWN, "", { TRAILERS("\x88" GRPC STATUS("\2-1")) } },
	{ "a status of letters", CF_UNKNOWN, "", { TRAILERS("\x88" GRPC STATUS("\2OK")) } },
	{ "a status in escapes", CF_UNKNOWN, "", { HEAD, ANSWER, TRAILERS(STATUS("\3%30")) } },
	{ "an empty status", CF_UNKNOWN, "", { TRAILERS("\x88" GRPC STATUS("\0")) } },

	{ "503 and a page",
	  CF_UNAVAILABLE,
	  "HTTP status 503, text/html",
	  { { HEADERS, END_HEADERS, LIT(HTTP("503") HTML) },
	    { DATA, END_STREAM, LIT("<html>") } } },
	{ "400", CF_INTERNAL, "400", { TRAILERS(HTTP("400") GRPC) } },
	{ "401", CF_UNAUTHENTICATED, "401", { TRAILERS(HTTP("401") GRPC) } },
	{ "403", CF_PERMISSION_DENIED, "403", { TRAILERS(HTTP("403") GRPC) } },
	{ "404", CF_UNIMPLEMENTED, "404, no content type", { TRAILERS(HTTP("404")) } },
	{ "429", CF_UNAVAILABLE, "429", { TRAILERS(HTTP("429") GRPC) } },
	{ "502", CF_UNAVAILABLE, "502", { TRAILERS(HTTP("502") GRPC) } },
	{ "504", CF_UNAVAILABLE, "504", { TRAILERS(HTTP("504") GRPC) } },
	{ "500", CF_UNKNOWN, "500", { TRAILERS(HTTP("500") GRPC) } },
	{ "200 and a page",
	  CF_UNKNOWN,
	  "HTTP status 200, text/html",
	  { TRAILERS("\x88" HTML STATUS("\0010")) } },
	{ "a type of bytes",
	  CF_UNKNOWN,
	  "200, ?",
	  { TRAILERS("\x88" LINE("\14content-type", "\2\xff\xfe")) } },
	{ "nothing but a 1xx", CF_INTERNAL, "", { TRAILERS(HTTP("100")) } },

	{ "a compressed message",
	  CF_UNIMPLEMENTED,
	  "compressed",
	  { HEAD, { DATA, 0, LIT("\1\0\0\0\1x") } } },
	{ "a flag that is none",
	  CF_INVALID_ARGUMENT,
	  "flag 2",
	  { HEAD, { DATA, 0, LIT("\2\0\0\0\1x") } } },
	{ "a length over the limit",
	  CF_RESOURCE_EXHAUSTED,
	  "over",
	  { HEAD, { DATA, 0, LIT("\0\1\0\0\1x") } } },
	{ "an end within a message",
	  CF_INTERNAL,
	  "within a message",
	  { HEAD, { DATA, 0, LIT("\0\0\0\0\7\x12\4here") }, GOOD_END } },
	{ "an end within a prefix",
	  CF_INTERNAL,
	  "within a message",
	  { HEAD, { DATA, 0, LIT("\0\0\0\0") }, GOOD_END } },
	{ "no message", CF_INTERNAL, "no answer message", { HEAD, GOOD_END } },
	{ "no message and no head",
	  CF_INTERNAL,
	  "no answer message",
	  { TRAILERS("\x88" GRPC STATUS("\0010")) } },
	{ "two messages", CF_INTERNAL, "more than one", { HEAD, ANSWER, ANSWER, GOOD_END } },
	{ "no protobuf",
	  CF_INVALID_ARGUMENT,
	  "Mount",
	  { HEAD, { DATA, 0, LIT("\0\0\0\0\2\x12\4") }, GOOD_END } },
	{ "text that is none",
	  CF_INVALID_ARGUMENT,
	  "UTF-8",
	  { HEAD, { DATA, 0, LIT("\0\0\0\0\3\x12\1\xff") }, GOOD_END } },

	{ "RST, refused", CF_UNAVAILABLE, "REFUSED", { { RST, 0, LIT("\0\0\0\7") } } },
	{ "RST, cancelled", CF_CANCELLED, "CANCEL", { HEAD, { RST, 0, LIT("\0\0\0\x8") } } },
	{ "RST, calm", CF_RESOURCE_EXHAUSTED, "", { HEAD, ANSWER, { RST, 0, LIT("\0\0\0\xb") } } },
	{ "RST, security", CF_PERMISSION_DENIED, "", { { RST, 0, LIT("\0\0\0\xc") } } },
	{ "RST, internal", CF_INTERNAL, "", { { RST, 0, LIT("\0\0\0\2") } } },
	{ "RST, no error", CF_INTERNAL, "", { HEAD, ANSWER, { RST, 0, LIT("\0\0\0\0") } } },
	{ "RST, HTTP/1.1", CF_UNKNOWN, "", { { RST, 0, LIT("\0\0\0\xd") } } },
	{ "RST, of no known code", CF_INTERNAL, "", { { RST, 0, LIT("\xff\0\0\0") } } },
	{ "RST after the end", CF_OK, "", { HEAD, ANSWER, GOOD_END, { RST, 0, LIT("\0\0\0\0") } } },
	{ "GOAWAY before the call was seen",
	  CF_UNAVAILABLE,
	  "",
	  { { GOAWAY, 0, LIT("\0\0\0\0\0\0\0\0") } } },
	{ "GOAWAY amid",
	  CF_OK,
	  "",
	  { HEAD, { GOAWAY, 0, LIT("\0\0\0\1\0\0\0\0") }, ANSWER, GOOD_END } },
	{ "GOAWAY after the call",
	  CF_OK,
	  "",
	  { HEAD, ANSWER, GOOD_END, { GOAWAY, 0, LIT("\0\0\0\1\0\0\0\0") } } },

	{ "no :status", CF_INTERNAL, "PROTOCOL", { TRAILERS(GRPC STATUS("\0010")) } },
	{ "a :status of letters",
	  CF_INTERNAL,
	  "PROTOCOL",
	  { TRAILERS(LINE("\7:status", "\3two") GRPC) } },
	{ "trailers that are no end",
	  CF_INTERNAL,
	  "PROTOCOL",
	  { HEAD, ANSWER, { HEADERS, END_HEADERS, LIT(STATUS("\0010")) } } },
	{ "data before the head", CF_UNAVAILABLE, "protocol", { ANSWER, HEAD, GOOD_END } },
	{ "headers that are no HPACK",
	  CF_UNAVAILABLE,
	  "protocol",
	  { { HEADERS, END_HEADERS, LIT("\xff\xff\xff\xff\xff\xff") } } },
	{ "a promise is no head",
	  CF_UNKNOWN,
	  "200, no content type",
	  { { PUSH, END_HEADERS, LIT("\0\0\0\2" PUSHED) },
	    { HEADERS, END_HEADERS, LIT("\x88") },
	    ANSWER,
	    GOOD_END } },
	{ "a promise after it was told not to",
	  CF_UNAVAILABLE,
	  "protocol",
	  { { SETTINGS, ACK, LIT("") }, { PUSH, END_HEADERS, LIT("\0\0\0\2\x88") } } },
	{ "a promise before it could know",
	  CF_OK,
	  "",
	  { { PUSH, END_HEADERS, LIT("\0\0\0\2" PUSHED) }, HEAD, ANSWER, GOOD_END } },
	{ "a frame over the limit",
	  CF_UNAVAILABLE,
	  "protocol",
	  { { -1, 0, LIT("\xff\xff\xff\0\0\0\0\0\1") } } },
	{ "HTTP/1.1",
	  CF_UNAVAILABLE,
	  "",
	  { { -1, 0, LIT("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n") } } },
};

/* Asks a server of each row; tells which ones were not understood as the row says. */
static int ask_all(bool is_held)
{
	int wrong = 0;

	for (size_t i = 0; i < CF_ARRAY_LEN(answers); i++) {
		struct fake f = { .is_held = is_held };
		struct cf_err err = { 0 };

		fake_start(&f, answers[i].steps);
		int r = ask_once(&f, is_held ? 2000 : 0, &err);

		fake_stop(&f);
		if (r == -(int)answers[i].code && strstr(err.msg, answers[i].text))
			continue;
		print_error("%s: %d %s\n", answers[i].what, r, err.msg);
		wrong++;
	}
	return wrong;
}

CF_TEST(h2_client_reads_answers_as_grpc_says)
{
	EXPECT_INT(ask_all(false), 0);
}

/* From a server that then says no more and does not close either. */
CF_TEST(h2_client_does_not_wait_when_nothing_more_can_come)
{
	EXPECT_INT(ask_all(true), 0);
}

CF_TEST(h2_client_reads_answers_cut_at_every_byte)
{
	static const struct step good[STEPS_MAX] = { HEAD, ANSWER, GOOD_END };
	cf_cleanup(cf_buf_fini) struct cf_buf whole = { 0 };

	for (size_t i = 0; i < 3; i++)
		put_frame(&whole, &good[i], 1);
	for (size_t n = 0; n <= whole.size; n++) {
		struct step cut[STEPS_MAX] = { { -1, 0, cf_view_sub(cf_buf_view(&whole), 0, n) } };
		struct fake f = { 0 };
		struct cf_err err;
		enum cf_code want = n == whole.size ? CF_OK : CF_UNAVAILABLE;

		fake_start(&f, cut);
		EXPECT_INT(ask_once(&f, 0, &err), -(int)want);
		EXPECT(n == whole.size || strstr(err.msg, f.path));
		fake_stop(&f);
	}
}

CF_TEST(h2_client_sends_its_message_with_a_prefix)
{
	static const struct step good[STEPS_MAX] = { HEAD, ANSWER, GOOD_END };
	struct fake f = { 0 };
	struct cf_err err;

	fake_start(&f, good);
	EXPECT_OK(ask_once(&f, HELD_MS, &err), &err);
	EXPECT(f.request.size == 12 && memcmp(f.request.data, "\0\0\0\0\7\x12\5there", 12) == 0);
	fake_stop(&f);
}

/* ---- limits ---- */

static void put_headers(struct cf_buf *to, int type, uint8_t flags, const struct cf_buf *block)
{
	struct step s = { type, flags, cf_buf_view(block) };

	put_frame(to, &s, 1);
}

static void fill_block(struct cf_buf *block, size_t lines)
{
	for (size_t i = 0; i < lines; i++)
		cf_buf_add(block, LINE("\1x", "\1y"), 5);
}

static int ask_headers(size_t lines_each, size_t frames, bool has_end)
{
	static const char head[] = "\x88" GRPC STATUS("\0015");
	cf_cleanup(cf_buf_fini) struct cf_buf block = { 0 };
	struct fake f = { .is_held = true };
	struct cf_err err;

	fake_init(&f);
	cf_buf_add(&block, head, sizeof(head) - 1);
	for (size_t i = 0; i < frames; i++) {
		fill_block(&block, lines_each);
		bool is_last = has_end && i == frames - 1;

		put_headers(&f.answer, i ? CONTINUATION : HEADERS,
		            (uint8_t)((i ? 0 : END_STREAM) | (is_last ? END_HEADERS : 0)), &block);
		cf_buf_reset(&block);
	}
	EXPECT(pthread_create(&f.thread, NULL, fake_main, &f) == 0);
	int r = ask_once(&f, HELD_MS, &err);

	fake_stop(&f);
	return r;
}

CF_TEST(h2_client_takes_so_much_metadata_and_no_more)
{
	EXPECT_INT(ask_headers(470, 1, true), -CF_NOT_FOUND);
	EXPECT_INT(ask_headers(500, 1, true), -CF_RESOURCE_EXHAUSTED);
	EXPECT_INT(ask_headers(100, 4, true), -CF_NOT_FOUND);
	EXPECT_INT(ask_headers(100, 6, true), -CF_RESOURCE_EXHAUSTED);
	EXPECT_INT(ask_headers(3000, 50, false), -CF_RESOURCE_EXHAUSTED); /* and no end of it */
}

static bool count_items(void *user, const ProtobufCMessage *msg)
{
	EXPECT(msg);
	++*(size_t *)user;
	return true;
}

CF_TEST(h2_client_hands_out_many_messages_of_one_frame)
{
	struct fake f = { 0 };
	struct rpc_grpc_req req = request(HELD_MS);
	cf_cleanup(cf_buf_fini) struct cf_buf data = { 0 };
	static const struct step head = HEAD, end = TRAILERS(STATUS("\0019") TEXT("\4late"));
	struct cf_err err;
	size_t n = 0;

	fake_init(&f);
	put_frame(&f.answer, &head, 1);
	cf_buf_add_zero(&data, 16000); /* 3200 messages of no bytes */
	put_headers(&f.answer, DATA, 0, &data);
	put_frame(&f.answer, &end, 1);
	EXPECT(pthread_create(&f.thread, NULL, fake_main, &f) == 0);
	struct rpc_grpc_client *c = client_new(&f);

	EXPECT_FAILS(rpc_grpc_call_stream(c, &req, count_items, &n, &err), CF_FAILED_PRECONDITION);
	EXPECT_STR(err.msg, "late");
	EXPECT(n == 3200); /* what came before the failure was handed out */
	rpc_grpc_client_free(c);
	fake_stop(&f);
}

/* Sends more than the window although told not to. */
CF_TEST(h2_client_ends_a_flood)
{
	struct fake f = { .is_held = true };
	struct rpc_grpc_req req = request(HELD_MS);
	cf_cleanup(cf_buf_fini) struct cf_buf data = { 0 };
	static const struct step head = HEAD, ping = { PING, 0, LIT("12345678") };
	struct cf_err err;
	size_t n = 0;

	fake_init(&f);
	put_frame(&f.answer, &head, 1);
	cf_buf_add(&data, "\0\1\0\0", 5); /* 16 MiB are to come */
	cf_buf_add_zero(&data, 16000);
	for (int i = 0; i < 3000; i++)
		put_frame(&f.answer, &ping, 0);
	for (int i = 0; i < 2000; i++)
		put_headers(&f.answer, DATA, 0, &data);
	EXPECT(pthread_create(&f.thread, NULL, fake_main, &f) == 0);
	struct rpc_grpc_client *c = client_new(&f);
	int r = rpc_grpc_call_stream(c, &req, count_items, &n, &err);

	EXPECT(r == -CF_UNAVAILABLE || r == -CF_INVALID_ARGUMENT);
	EXPECT(n <= 1);
	rpc_grpc_client_free(c);
	fake_stop(&f);
}

/* ---- time ---- */

CF_TEST(h2_client_gives_up_at_the_deadline_and_says_so)
{
	struct fake f = { .is_held = true };
	struct cf_err err;
	int64_t from = cf_now_ms();

	fake_start(&f, NULL);
	EXPECT_FAILS(ask_once(&f, 100, &err), CF_DEADLINE_EXCEEDED);
	EXPECT(cf_now_ms() - from >= 100 && cf_now_ms() - from < 5000);
	fake_stop(&f);
	EXPECT(f.resets == 1 && f.reset_code == 8);
}

CF_TEST(h2_client_gives_up_on_a_server_that_says_nothing_or_too_slowly)
{
	static const struct step good[STEPS_MAX] = { HEAD, ANSWER, GOOD_END };
	struct fake mute = { .is_held = true, .is_mute = true };
	struct fake slow = { .drip_ms = 5 }, patient = { .drip_ms = 1 };
	struct cf_err err;

	fake_start(&mute, NULL);
	EXPECT_FAILS(ask_once(&mute, 50, &err), CF_DEADLINE_EXCEEDED);
	fake_stop(&mute);
	fake_start(&slow, good);
	EXPECT_FAILS(ask_once(&slow, 60, &err), CF_DEADLINE_EXCEEDED);
	fake_stop(&slow);
	fake_start(&patient, good);
	EXPECT_OK(ask_once(&patient, 0, &err), &err);
	fake_stop(&patient);
}

static bool first_only(void *user, const ProtobufCMessage *msg)
{
	(void)user;
	return !msg;
}

CF_TEST(h2_client_that_has_enough_says_so)
{
	static const struct step endless[STEPS_MAX] = { HEAD, ANSWER, ANSWER };
	struct fake f = { .is_held = true };
	struct rpc_grpc_req req = request(0);
	struct cf_err err;

	fake_start(&f, endless);
	struct rpc_grpc_client *c = client_new(&f);

	EXPECT_FAILS(rpc_grpc_call_stream(c, &req, first_only, NULL, &err), CF_CANCELLED);
	while (!f.gone) /* the connection goes along: who still sends must not wait for a reader */
		poll(NULL, 0, 1);
	rpc_grpc_client_free(c);
	fake_stop(&f);
	EXPECT(f.resets == 1 && f.reset_code == 8);
}

/* The server's clock may be the one that rings first. */
CF_TEST(h2_session_takes_a_late_cancel_for_the_deadline)
{
	static const struct step cancel = { RST, 0, LIT("\0\0\0\x8") };
	struct rpc_grpc_req req = request(0);

	for (int is_late = 0; is_late < 2; is_late++) {
		int64_t deadline = cf_now_ms() + (is_late ? 0 : HELD_MS);
		struct rpc_h2_stream st = { .deadline_ms = deadline };
		cf_cleanup(cf_buf_fini) struct cf_buf in = { 0 }, out = { 0 };
		struct rpc_h2_session *s = NULL;
		struct cf_err err;

		put_settings(&in);
		put_frame(&in, &cancel, 1);
		EXPECT_OK(rpc_h2_session_new(&s, &err), &err);
		EXPECT_OK(rpc_h2_session_start(s, &req, &st, &err), &err);
		EXPECT_OK(rpc_h2_session_out(s, &out, &err), &err);
		EXPECT_OK(rpc_h2_session_in(s, cf_buf_view(&in), &err), &err);
		EXPECT_FAILS(rpc_h2_stream_outcome(&st, &err),
		             is_late ? CF_DEADLINE_EXCEEDED : CF_CANCELLED);
		rpc_h2_session_end(s);
		rpc_h2_session_free(s);
		rpc_h2_stream_fini(&st);
	}
}

struct waiter {
	struct rpc_grpc_client *c;
	int r;
};

static void *waiter_main(void *arg)
{
	struct waiter *w = arg;
	struct cf_err err;

	w->r = ask(w->c, 2000, &err);
	return NULL;
}

CF_TEST(h2_client_counts_the_wait_for_its_turn)
{
	struct fake f = { .is_held = true };
	struct cf_err err;
	pthread_t t;

	fake_start(&f, NULL);
	struct waiter w = { .c = client_new(&f) };

	EXPECT(pthread_create(&t, NULL, waiter_main, &w) == 0);
	while (!f.calls)
		poll(NULL, 0, 1);
	EXPECT_FAILS(ask(w.c, 50, &err), CF_DEADLINE_EXCEEDED);
	pthread_join(t, NULL);
	EXPECT(w.r == -CF_DEADLINE_EXCEEDED);
	rpc_grpc_client_free(w.c);
	fake_stop(&f);
	EXPECT(f.calls == 1);
}

static bool ask_again(void *user, const ProtobufCMessage *msg)
{
	struct cf_err err;

	(void)msg;
	EXPECT_FAILS(ask(user, 0, &err), CF_FAILED_PRECONDITION);
	return true;
}

CF_TEST(h2_client_refuses_a_call_within_its_own_item)
{
	static const struct step good[STEPS_MAX] = { HEAD, ANSWER, GOOD_END };
	struct fake f = { 0 };
	struct rpc_grpc_req req = request(0);
	struct cf_err err;

	fake_start(&f, good);
	struct rpc_grpc_client *c = client_new(&f);

	EXPECT_OK(rpc_grpc_call_stream(c, &req, ask_again, c, &err), &err);
	rpc_grpc_client_free(c);
	fake_stop(&f);
}

/* ---- connections ---- */

CF_TEST(h2_client_keeps_its_connection_and_makes_it_anew)
{
	static const struct step good[STEPS_MAX] = { HEAD, ANSWER, GOOD_END };
	struct fake f = { .calls_per_conn = 3 };
	struct cf_err err;

	fake_start(&f, good);
	struct rpc_grpc_client *c = client_new(&f);

	for (int i = 0; i < 6; i++) {
		EXPECT_OK(ask(c, HELD_MS, &err), &err);
		EXPECT_INT(f.conns, i / 3 + 1);
		if (i == 2)
			poll(NULL, 0,
			     50); /* the server closes; the client does not look until it calls */
	}
	rpc_grpc_client_free(c);
	fake_stop(&f);
}

CF_TEST(h2_client_goes_elsewhere_after_a_goodbye)
{
	static const struct step bye[STEPS_MAX] = {
		HEAD, ANSWER, { GOAWAY, 0, LIT("\0\0\0\1\0\0\0\0") }, GOOD_END
	};
	struct fake f = { .is_held = true };
	struct cf_err err;

	fake_start(&f, bye);
	struct rpc_grpc_client *c = client_new(&f);

	EXPECT_OK(ask(c, HELD_MS, &err), &err);
	EXPECT_OK(ask(c, HELD_MS, &err), &err);
	EXPECT(f.conns == 2);
	rpc_grpc_client_free(c);
	fake_stop(&f);
}

CF_TEST(h2_client_says_who_is_not_there_and_finds_him_later)
{
	static const struct step good[STEPS_MAX] = { HEAD, ANSWER, GOOD_END };
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/nobody", dir);
	struct fake f = { 0 };
	struct rpc_grpc_client *c = NULL;
	struct cf_err err;

	EXPECT_OK(rpc_grpc_client_new(path, &c, &err), &err);
	EXPECT_FAILS(ask(c, HELD_MS, &err), CF_UNAVAILABLE);
	EXPECT(strstr(err.msg, path) && strstr(err.msg, "No such file"));
	fake_start(&f, good);
	EXPECT(rename(f.path, path) == 0);
	EXPECT_OK(ask(c, HELD_MS, &err), &err);
	rpc_grpc_client_free(c);
	fake_stop(&f);
}

CF_TEST(h2_client_survives_a_server_that_hangs_up)
{
	struct fake f = { .is_rude = true };
	struct cf_err err;

	signal(SIGPIPE, SIG_DFL); /* would end us */
	fake_start(&f, NULL);
	for (int i = 0; i < 200; i++)
		EXPECT_FAILS(ask_once(&f, HELD_MS, &err), CF_UNAVAILABLE);
	fake_stop(&f);
}

CF_TEST(h2_client_refuses_a_promise_at_once)
{
	static const struct step push[STEPS_MAX] = {
		{ PUSH, END_HEADERS, LIT("\0\0\0\2" PUSHED) }, HEAD, ANSWER, GOOD_END
	};
	struct fake f = { .is_held = true };
	struct cf_err err;

	fake_start(&f, push);
	EXPECT_OK(ask_once(&f, HELD_MS, &err), &err);
	fake_stop(&f);
	EXPECT_INT(f.resets, 1);
}

/* ---- what is asked ---- */

static int ask_with(const struct fake *f, const char *const *meta)
{
	struct rpc_grpc_client *c = client_new(f);
	struct rpc_grpc_req req = request(HELD_MS);
	struct cf_err err;

	req.meta = meta;
	int r = rpc_grpc_call(c, &req, NULL, &err);

	rpc_grpc_client_free(c);
	return r;
}

CF_TEST(h2_client_refuses_metadata_that_is_none)
{
	static const struct step good[STEPS_MAX] = { HEAD, ANSWER, GOOD_END };
	static const char *const bad[][3] = {
		{ "Upper", "x" }, { "", "x" },         { ":path", "/x" }, { "grpc-timeout", "1S" },
		{ "x-bin", "x" }, { "x", "one\ntwo" }, { "x", "blank " }, { "with blank", "x" },
		{ "x\r", "x" },   { "x", "\x7f" },
	};
	const char *many[2 * 17 + 1] = { 0 };
	const char *big[3] = { "x", NULL, NULL };
	struct fake f = { 0 };

	fake_start(&f, good);
	for (size_t i = 0; i < CF_ARRAY_LEN(bad); i++)
		EXPECT_INT(ask_with(&f, bad[i]), -CF_INVALID_ARGUMENT);
	for (size_t i = 0; i < 2 * 17; i++)
		many[i] = "x";
	EXPECT_INT(ask_with(&f, many), -CF_RESOURCE_EXHAUSTED);
	many[2 * 16] = NULL;
	EXPECT_INT(ask_with(&f, many), 0);
	char *value = cf_zalloc((16u << 10) + 1);

	memset(value, 'x', 16u << 10);
	big[1] = value;
	EXPECT_INT(ask_with(&f, big), -CF_RESOURCE_EXHAUSTED);
	value[15u << 10] = '\0';
	EXPECT_INT(ask_with(&f, big), 0);
	free(value);
	fake_stop(&f);
}
