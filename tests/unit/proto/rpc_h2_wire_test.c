/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/rpc_h2_wire.h"

#include "proto/containerd_types.pb-c.h"
#include "tests/harness/test.h"

/* ---- messages ---- */

static const struct cf_view three = CF_VIEW_LIT("\0\0\0\0\3abc"
                                                "\0\0\0\0\0"
                                                "\0\0\0\0\1z");

static void expect_next(struct rpc_h2_msg *m, const char *want)
{
	struct cf_view v;

	EXPECT(rpc_h2_msg_next(m, &v));
	EXPECT(cf_view_eq_str(v, want));
}

static void expect_no_more(struct rpc_h2_msg *m)
{
	struct cf_view v;

	EXPECT(!rpc_h2_msg_next(m, &v));
}

static bool is_border(size_t cut)
{
	return cut == 0 || cut == 8 || cut == 13 || cut == three.size;
}

CF_TEST(h2_messages_are_read_at_every_cut)
{
	static const char *const want[] = { "abc", "", "z" };

	for (size_t cut = 0; cut <= three.size; cut++) {
		struct rpc_h2_msg m = { 0 };
		struct cf_view v;
		struct cf_err err;
		size_t n = 0;

		EXPECT_OK(rpc_h2_msg_feed(&m, cf_view_sub(three, 0, cut), &err), &err);
		EXPECT(rpc_h2_msg_is_between(&m) == is_border(cut));
		for (; rpc_h2_msg_next(&m, &v); n++)
			EXPECT(cf_view_eq_str(v, want[n]));
		EXPECT_INT(n, (cut >= 8) + (cut >= 13) + (cut == three.size));
		EXPECT(rpc_h2_msg_is_between(&m) == is_border(cut));
		EXPECT_OK(rpc_h2_msg_feed(&m, cf_view_sub(three, cut, three.size), &err), &err);
		for (; n < 3; n++)
			expect_next(&m, want[n]);
		expect_no_more(&m);
		EXPECT(rpc_h2_msg_is_between(&m));
		rpc_h2_msg_fini(&m);
	}
}

CF_TEST(h2_messages_are_read_byte_by_byte_and_wait_to_be_taken)
{
	struct rpc_h2_msg m = { 0 };
	struct cf_err err;

	EXPECT(rpc_h2_msg_is_between(&m));
	expect_no_more(&m);
	for (size_t i = 0; i < three.size; i++)
		EXPECT_OK(rpc_h2_msg_feed(&m, cf_view_sub(three, i, 1), &err), &err);
	expect_next(&m, "abc");
	EXPECT_OK(rpc_h2_msg_feed(&m, three, &err), &err); /* the first was taken, two wait */
	expect_next(&m, "");
	expect_next(&m, "z");
	expect_next(&m, "abc");
	rpc_h2_msg_fini(&m);
	EXPECT(rpc_h2_msg_is_between(&m));
}

CF_TEST(h2_messages_with_any_flag_are_refused)
{
	for (unsigned flag = 1; flag < 256; flag++) {
		const uint8_t in[] = { 0, 0, 0, 0, 1, 'x', (uint8_t)flag, 0, 0, 0, 0 };
		struct rpc_h2_msg m = { 0 };
		struct cf_err err;
		enum cf_code want = flag == 1 ? CF_UNIMPLEMENTED : CF_INVALID_ARGUMENT;

		EXPECT_FAILS(rpc_h2_msg_feed(&m, cf_view(in, sizeof(in)), &err), want);
		EXPECT(!rpc_h2_msg_is_between(&m));
		expect_next(&m, "x"); /* was whole before */
		expect_no_more(&m);
		EXPECT_FAILS(rpc_h2_msg_feed(&m, three, &err), want);
		expect_no_more(&m);
		rpc_h2_msg_fini(&m);
	}
}

static const struct cf_view lies[] = {
	CF_VIEW_LIT("\0\1\0\0\1"), /* a byte over RPC_MESSAGE_MAX */
	CF_VIEW_LIT("\0\xff\xff\xff\xff"),
	CF_VIEW_LIT("\0\x80\0\0\0"),
};

CF_TEST(h2_messages_over_the_limit_are_refused_from_their_prefix)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(lies); i++) {
		struct rpc_h2_msg m = { 0 };
		struct cf_err err;

		EXPECT_OK(rpc_h2_msg_feed(&m, cf_view_sub(lies[i], 0, 4), &err), &err);
		EXPECT_FAILS(rpc_h2_msg_feed(&m, cf_view_sub(lies[i], 4, 1), &err),
		             CF_RESOURCE_EXHAUSTED);
		EXPECT(m.in.cap < 1024);
		rpc_h2_msg_fini(&m);
	}
}

CF_TEST(h2_message_that_is_only_announced_takes_no_memory)
{
	struct rpc_h2_msg m = { 0 };
	struct cf_err err;

	EXPECT_OK(rpc_h2_msg_feed(&m, cf_view("\0\1\0\0\0abc", 8), &err), &err);
	EXPECT(m.in.cap < 1024 && !rpc_h2_msg_is_between(&m));
	expect_no_more(&m);
	rpc_h2_msg_fini(&m);
}

CF_TEST(h2_messages_nobody_takes_reach_a_limit)
{
	uint8_t *piece = cf_zalloc(RPC_H2_FRAMED_MAX);
	struct cf_view v = cf_view(piece, RPC_H2_FRAMED_MAX), got;
	struct rpc_h2_msg m = { 0 };
	struct cf_err err;

	piece[1] = 1; /* 16 MiB, the most */
	EXPECT_OK(rpc_h2_msg_feed(&m, v, &err), &err);
	EXPECT_OK(rpc_h2_msg_feed(&m, v, &err), &err);
	EXPECT_FAILS(rpc_h2_msg_feed(&m, cf_view_sub(v, 0, 1), &err), CF_RESOURCE_EXHAUSTED);
	for (int i = 0; i < 2; i++)
		EXPECT(rpc_h2_msg_next(&m, &got) && got.size == RPC_MESSAGE_MAX);
	expect_no_more(&m);
	rpc_h2_msg_fini(&m);
	free(piece);
}

CF_TEST(h2_pack_puts_what_feed_takes)
{
	Containerd__Types__Mount msg = CONTAINERD__TYPES__MOUNT__INIT;
	struct cf_buf out = { .max = RPC_H2_FRAMED_MAX };
	struct rpc_h2_msg m = { 0 };
	struct cf_err err;
	struct cf_view v;

	msg.source = (char *)(uintptr_t) "here";
	rpc_h2_pack(&msg.base, &out);
	EXPECT(out.size == 11 && memcmp(out.data, "\0\0\0\0\6\x12\4here", 11) == 0);
	msg.source = (char *)(uintptr_t) "";
	rpc_h2_pack(&msg.base, &out); /* an empty message is a prefix alone */
	EXPECT(out.size == 16);
	EXPECT_OK(rpc_h2_msg_feed(&m, cf_buf_view(&out), &err), &err);
	EXPECT(rpc_h2_msg_next(&m, &v) && v.size == 6);
	EXPECT(rpc_h2_msg_next(&m, &v) && v.size == 0);
	rpc_h2_msg_fini(&m);
	cf_buf_fini(&out);
}

CF_TEST(h2_pack_takes_a_message_of_the_limit_and_none_above)
{
	Containerd__Types__Mount msg = CONTAINERD__TYPES__MOUNT__INIT;
	struct cf_buf out = { .max = RPC_H2_FRAMED_MAX };
	char *big = cf_zalloc(RPC_MESSAGE_MAX);

	memset(big, 'x', RPC_MESSAGE_MAX - 1);
	msg.source = big;
	big[RPC_MESSAGE_MAX - 5] = '\0'; /* tag and length take five */
	rpc_h2_pack(&msg.base, &out);
	EXPECT(!out.bad && out.size == RPC_H2_FRAMED_MAX);
	cf_buf_reset(&out);
	big[RPC_MESSAGE_MAX - 5] = 'x';
	rpc_h2_pack(&msg.base, &out);
	EXPECT(out.bad && out.size == 0);
	cf_buf_fini(&out);
	free(big);
}

/* ---- grpc-message ---- */

static const struct {
	const char *plain, *coded;
} texts[] = {
	{ "", "" },
	{ "a plain text: 5 < 6 ~", "a plain text: 5 < 6 ~" },
	{ "100%", "100%25" },
	{ "%41", "%2541" },
	{ "one\ntwo\r\x7f", "one%0Atwo%0D%7F" },
	{ "h\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80", "h%C3%A4 %E2%82%AC %F0%9F%98%80" },
	{ " blanks  at the ends ", "%20blanks  at the ends%20" },
	{ " ", "%20" },
	{ "  ", "%20%20" },
};

static void expect_decoded(const char *coded, const char *want)
{
	cf_cleanup(cf_freep) char *got = rpc_h2_text_decode(cf_view_str(coded));

	EXPECT_STR(got, want);
}

CF_TEST(h2_text_is_coded_both_ways)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(texts); i++) {
		cf_cleanup(cf_freep) char *coded = rpc_h2_text_encode(texts[i].plain);

		EXPECT_STR(coded, texts[i].coded);
		expect_decoded(coded, texts[i].plain);
	}
	cf_cleanup(cf_freep) char *none = rpc_h2_text_encode(NULL);

	EXPECT_STR(none, "");
}

CF_TEST(h2_text_of_every_byte_comes_out_as_a_header_may_hold_it)
{
	char plain[256];

	for (unsigned i = 1; i < 256; i++)
		plain[i - 1] = (char)i;
	plain[255] = '\0';
	cf_cleanup(cf_freep) char *coded = rpc_h2_text_encode(plain);

	for (const char *p = coded; *p; p++)
		EXPECT(*p >= ' ' && *p <= '~');
	EXPECT(strstr(coded, "%7F%EF%BF%BD%EF%BF%BD")); /* 0x80 and on: no UTF-8 */
}

CF_TEST(h2_text_is_cut_between_two_characters)
{
	char text[RPC_H2_TEXT_MAX + 8];

	for (size_t lead = 0; lead < 8; lead++) {
		memset(text, 'x', sizeof(text));
		memcpy(text + RPC_H2_TEXT_MAX - lead, "\xf0\x9f\x98\x80", 4);
		text[RPC_H2_TEXT_MAX + 4] = '\0';
		cf_cleanup(cf_freep) char *coded = rpc_h2_text_encode(text);
		cf_cleanup(cf_freep) char *back = rpc_h2_text_decode(cf_view_str(coded));
		size_t size = strlen(back);

		EXPECT(size == (lead > 0 && lead < 4 ? RPC_H2_TEXT_MAX - lead : RPC_H2_TEXT_MAX));
		EXPECT(strncmp(back, text, size) == 0);
	}
}

CF_TEST(h2_text_decodes_whatever_comes)
{
	expect_decoded("%c3%a4", "\xc3\xa4");
	expect_decoded("%", "%");
	expect_decoded("%4", "%4");
	expect_decoded("%4g%g4%%41", "%4g%g4%A");
	expect_decoded("50% off%2", "50% off%2");
	expect_decoded("a%00b", "a\xef\xbf\xbd"
	                        "b");
	expect_decoded("%C3", "\xef\xbf\xbd");
	expect_decoded("%ED%A0%80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
	expect_decoded("\xff", "\xef\xbf\xbd");
	expect_decoded("\xc3\xa4", "\xc3\xa4"); /* raw UTF-8: lenient */
	cf_cleanup(cf_freep) char *nul = rpc_h2_text_decode(cf_view("a\0b", 3));

	EXPECT_STR(nul, "a\xef\xbf\xbd"
	                "b");
}

/* ---- grpc-timeout ---- */

static const struct {
	const char *text;
	int64_t ms;
} timeouts[] = {
	{ "0n", 0 },
	{ "1n", 1 },
	{ "999999n", 1 },
	{ "1000000n", 1 },
	{ "1000001n", 2 },
	{ "99999999n", 100 },
	{ "1u", 1 },
	{ "1000u", 1 },
	{ "1001u", 2 },
	{ "99999999u", 100000 },
	{ "100m", 100 },
	{ "00000100m", 100 },
	{ "99999999m", 99999999 },
	{ "1S", 1000 },
	{ "99999999S", 99999999000 },
	{ "2M", 120000 },
	{ "99999999M", 5999999940000 },
	{ "8H", 28800000 },
	{ "99999999H", 359999996400000 },
};

static const struct cf_view no_timeouts[] = {
	CF_VIEW_LIT(""),           CF_VIEW_LIT("1"),
	CF_VIEW_LIT("S"),          CF_VIEW_LIT("1s"),
	CF_VIEW_LIT("1h"),         CF_VIEW_LIT("1N"),
	CF_VIEW_LIT("-1S"),        CF_VIEW_LIT("+1S"),
	CF_VIEW_LIT(" 1S"),        CF_VIEW_LIT("1 S"),
	CF_VIEW_LIT("1S "),        CF_VIEW_LIT("1.5S"),
	CF_VIEW_LIT("0x1S"),       CF_VIEW_LIT("123456789S"),
	CF_VIEW_LIT("000000001S"), CF_VIEW_LIT("1S\0"),
	CF_VIEW_LIT("1\0"),        CF_VIEW_LIT("\0S"),
	CF_VIEW_LIT("1mS"),        CF_VIEW_LIT("99999999999999999999S"),
};

CF_TEST(h2_timeouts_of_every_unit_are_read)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(timeouts); i++) {
		int64_t ms = -1;

		EXPECT(rpc_h2_timeout_parse(cf_view_str(timeouts[i].text), &ms));
		EXPECT_INT(ms, timeouts[i].ms);
	}
	for (size_t i = 0; i < CF_ARRAY_LEN(no_timeouts); i++) {
		int64_t ms = -1;

		EXPECT(!rpc_h2_timeout_parse(no_timeouts[i], &ms) && ms == -1);
	}
}

static const struct {
	int64_t ms;
	const char *text;
} formatted[] = {
	{ INT64_MIN, "1n" },
	{ -1, "1n" },
	{ 0, "1n" },
	{ 1, "1m" },
	{ 20000, "20000m" },
	{ 99999999, "99999999m" },
	{ 100000000, "100000S" },
	{ 100000001, "100001S" },
	{ 99999999000, "99999999S" },
	{ 99999999001, "1666667M" },
	{ 5999999940000, "99999999M" },
	{ 5999999940001, "1666667H" },
	{ 359999996400000, "99999999H" },
	{ 359999996400001, "99999999H" },
	{ INT64_MAX, "99999999H" },
};

CF_TEST(h2_timeouts_are_written_in_eight_digits_and_never_shorter)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(formatted); i++) {
		char out[RPC_H2_TIMEOUT_SIZE];
		int64_t back;

		rpc_h2_timeout_format(formatted[i].ms, out);
		EXPECT_STR(out, formatted[i].text);
		EXPECT(rpc_h2_timeout_parse(cf_view_str(out), &back));
		EXPECT(back >= CF_MIN(formatted[i].ms, 359999996400000));
	}
}

/* ---- content-type ---- */

CF_TEST(h2_content_type_is_grpc_with_protobuf)
{
	static const char *const ours[] = { "application/grpc", "application/grpc+proto",
		                            "application/grpc;charset=utf-8",
		                            "application/grpc+proto;x=y" };
	static const char *const not_ours[] = { "",
		                                "application/grp",
		                                "application/grpcx",
		                                "application/grpc+json",
		                                "application/grpc+protobuf",
		                                "application/grpc-web",
		                                "text/html",
		                                "application/grpc " };

	for (size_t i = 0; i < CF_ARRAY_LEN(ours); i++)
		EXPECT(rpc_h2_is_grpc(cf_view_str(ours[i])));
	for (size_t i = 0; i < CF_ARRAY_LEN(not_ours); i++)
		EXPECT(!rpc_h2_is_grpc(cf_view_str(not_ours[i])));
}
