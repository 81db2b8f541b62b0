/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/test.h"

static const struct {
	enum cf_b64 kind;
	const char *text;
	const char *bytes; /* NULL: refused */
} b64_cases[] = {
	{ CF_B64_STD, "", "" },
	{ CF_B64_STD, "Zg==", "f" },
	{ CF_B64_STD, "Zg", "f" },    /* padding may be absent */
	{ CF_B64_STD, "Zg=", NULL },  /* half a padding */
	{ CF_B64_STD, "Zh==", NULL }, /* trailing bits set */
	{ CF_B64_STD, "Zm9v", "foo" },
	{ CF_B64_STD, "Zm9vYg==", "foob" },
	{ CF_B64_STD, "Zm9v\n", NULL }, /* white space */
	{ CF_B64_STD, "Z", NULL },      /* six bits are no byte */
	{ CF_B64_STD, "_-8=", NULL },   /* the other alphabet */
	{ CF_B64_URL, "_-8", "\xff\xef" },
	{ CF_B64_URL, "_-8=", NULL }, /* padding where none belongs */
	{ CF_B64_URL_PAD, "_-8=", "\xff\xef" },
	{ CF_B64_URL_PAD, "_-8", NULL }, /* padding is due */
	{ CF_B64_STD, "=", NULL },
	{ CF_B64_STD, "====", NULL },
};

CF_TEST(base64_takes_its_own_alphabet_and_padding_only)
{
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(b64_cases); i++) {
		struct cf_buf out = { 0 };
		int r = cf_b64_decode(b64_cases[i].kind, cf_view_str(b64_cases[i].text), &out,
		                      &err);

		if (b64_cases[i].bytes) {
			EXPECT_OK(r, &err);
			EXPECT(cf_view_eq_str(cf_buf_view(&out), b64_cases[i].bytes));
		} else {
			EXPECT(r == -CF_INVALID_ARGUMENT);
			EXPECT(out.size == 0);
		}
		cf_buf_fini(&out);
	}
}

CF_TEST(base64_round_trips_every_length)
{
	uint8_t in[70];
	struct cf_err err;

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 37 + 5);
	for (size_t n = 0; n <= sizeof(in); n++)
		for (int kind = CF_B64_STD; kind <= CF_B64_URL_PAD; kind++) {
			struct cf_buf text = { 0 }, back = { 0 };

			cf_b64_encode((enum cf_b64)kind, cf_view(in, n), &text);
			EXPECT_OK(cf_b64_decode((enum cf_b64)kind, cf_buf_view(&text), &back, &err),
			          &err);
			EXPECT(cf_view_eq(cf_buf_view(&back), cf_view(in, n)));
			cf_buf_fini(&text);
			cf_buf_fini(&back);
		}
}

CF_TEST(buf_refuses_what_is_over_its_max_and_stays_bad)
{
	struct cf_buf b = { .max = 4 };
	struct cf_err err;

	cf_buf_add_str(&b, "abcd");
	EXPECT_OK(cf_buf_check(&b, "thing", &err), &err);
	cf_buf_add_str(&b, "e");
	cf_buf_add_str(&b, "");
	EXPECT(b.bad && b.size == 4);
	EXPECT_FAILS(cf_buf_check(&b, "thing", &err), CF_RESOURCE_EXHAUSTED);
	cf_buf_fini(&b);
}

CF_TEST(buf_strings_end_in_nul)
{
	struct cf_buf b = { 0 };

	cf_buf_printf(&b, "%d-%s", 7, "x");
	EXPECT_STR(b.data, "7-x");
	cf_buf_add_json_str(&b, (struct cf_view)CF_VIEW_LIT("a\"\n\x01\xff"));
	EXPECT_STR(b.data, "7-x\"a\\\"\\n\\u0001\\ufffd\"");
	cf_buf_consume(&b, 2);
	EXPECT_STR(b.data, "x\"a\\\"\\n\\u0001\\ufffd\"");
	cf_buf_fini(&b);
}

CF_TEST(rd_sticks_at_the_end)
{
	struct cf_rd rd = { .in = CF_VIEW_LIT("\1\2\3\4\5") };

	EXPECT(cf_rd_u16be(&rd) == 0x0102);
	EXPECT(cf_rd_u16le(&rd) == 0x0403);
	EXPECT(cf_rd_u16le(&rd) == 0 && rd.bad);
	EXPECT(cf_rd_u8(&rd) == 0);
}

CF_TEST(hex_refuses_odd_and_foreign_digits)
{
	uint8_t out[2];
	struct cf_err err;

	EXPECT_OK(cf_hex_decode(cf_view_str("a0Ff"), out, 2, &err), &err);
	EXPECT(out[0] == 0xa0 && out[1] == 0xff);
	EXPECT_FAILS(cf_hex_decode(cf_view_str("a0f"), out, 2, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(cf_hex_decode(cf_view_str("a0fg"), out, 2, &err), CF_INVALID_ARGUMENT);
}

CF_TEST(utf8_is_strict)
{
	EXPECT(cf_view_is_utf8(cf_view_str("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")));
	EXPECT(!cf_view_is_utf8(cf_view_str("\xc0\x80")));         /* overlong */
	EXPECT(!cf_view_is_utf8(cf_view_str("\xed\xa0\x80")));     /* surrogate */
	EXPECT(!cf_view_is_utf8(cf_view_str("\xf4\x90\x80\x80"))); /* past U+10FFFF */
	EXPECT(!cf_view_is_utf8(cf_view_str("\xe2\x82")));         /* cut */
}

CF_TEST(utf8_is_written_and_read_back)
{
	static const uint32_t runes[] = { 0,     'a',    0x7f,    0x80,    0x7ff,
		                          0x800, 0xffff, 0x10000, 0x10ffff };
	static const uint32_t no_text[] = { 0xd800, 0xdfff, 0x110000, UINT32_MAX };
	uint8_t out[4];

	for (size_t i = 0; i < CF_ARRAY_LEN(runes); i++) {
		size_t n = cf_utf8_encode(runes[i], out), pos = 0;

		EXPECT(cf_view_is_utf8(cf_view(out, n)));
		EXPECT(cf_utf8_next(cf_view(out, n), &pos) == runes[i] && pos == n);
		pos = 0;
		if (n > 1) /* cut off: one byte is left out at a time */
			EXPECT(cf_utf8_next(cf_view(out, n - 1), &pos) == 0xfffd && pos == 1);
	}
	for (size_t i = 0; i < CF_ARRAY_LEN(no_text); i++)
		EXPECT(cf_utf8_encode(no_text[i], out) == 3 && memcmp(out, "\xef\xbf\xbd", 3) == 0);
}
