/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/number.h"
#include "tests/unit/policy/engine.h"

#include <stdio.h>

static const struct pv *num(struct cf_arena *a, const char *text)
{
	const struct pv *v = number_parse(a, cf_view_str(text));

	EXPECT(v);
	return v;
}

CF_TEST(number_parse_takes_json_numbers_only)
{
	static const char *const bad[] = { "",    "-",   "01",  "1.",  ".1",       "1e", "+1",
		                           "1e+", "0x1", "1_0", "inf", "1e100001", "1 ", "--1" };
	struct cf_arena a = { 0 };

	for (size_t i = 0; i < CF_ARRAY_LEN(bad); i++)
		EXPECT(!number_parse(&a, cf_view_str(bad[i])));
	cf_arena_fini(&a);
}

CF_TEST(number_order_is_by_value)
{
	static const struct {
		const char *x, *y;
		int want;
	} cases[] = {
		{ "1", "1.0", 0 },     { "10e-1", "1", 0 },
		{ "0", "-0", 0 },      { "0.1", "0.10", 0 },
		{ "-1", "1", -1 },     { "99999999999999999999", "100000000000000000000", -1 },
		{ "1.5", "1.49", 1 },  { "-1.5", "-1.49", -1 },
		{ "1e3", "999.9", 1 }, { "9223372036854775807", "9223372036854775808", -1 },
	};
	struct cf_arena a = { 0 };

	for (size_t i = 0; i < CF_ARRAY_LEN(cases); i++) {
		EXPECT_INT(number_cmp(num(&a, cases[i].x), num(&a, cases[i].y)), cases[i].want);
		EXPECT_INT(number_cmp(num(&a, cases[i].y), num(&a, cases[i].x)), -cases[i].want);
	}
	cf_arena_fini(&a);
}

CF_TEST(number_arithmetic_is_exact_for_integers_and_rounds_like_the_reference)
{
	EXPECT_RUN("p := 9223372036854775807 + 1", "", "9223372036854775808");
	EXPECT_RUN("p := -9223372036854775808 - 1", "", "-9223372036854775809");
	EXPECT_RUN("p := 9223372036854775807 * 9223372036854775807", "",
	           "85070591730234615847396907784232501249");
	EXPECT_RUN("p := 85070591730234615847396907784232501249 / 9223372036854775807", "",
	           "9223372036854775807");
	EXPECT_RUN("p := 85070591730234615847396907784232501249 % 1000000007", "", "737564071");
	EXPECT_RUN("p := [1.1 + 2.2, 1.5 + 1.5, 1 / 3, -7 / 2, 0.1 + 0.7]", "",
	           "[3.3000000000000000002,3,0.33333333333333333334,-3.5,0.8]");
	EXPECT_RUN("p := [1e20 + 0.5, 1234567.5 + 0, 0.00001 / 3]", "",
	           "[100000000000000000000,1.2345675e+06,3.3333333333333333334e-06]");
	EXPECT_RUN("p := [round(2.5), round(-2.5), ceil(-0.5), floor(0.5), abs(-3.25)]", "",
	           "[3,-3,0,0,3.25]");
}

/* Random operations against 128-bit integers. */
CF_TEST(number_arithmetic_agrees_with_wide_integers)
{
	struct cf_arena a = { 0 };
	uint64_t seed = 88172645463325252u;

	for (unsigned i = 0; i < 20000; i++) {
		int64_t v[2];

		for (unsigned k = 0; k < 2; k++) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			v[k] = (int64_t)seed >> (seed % 60);
		}
		enum number_fault fault;
		const struct pv *x = pv_int(&a, v[0]), *y = pv_int(&a, v[1]);
		const struct pv *product = number_arith(&a, NUMBER_MUL, x, y, &fault);
		const struct pv *sum = number_arith(&a, NUMBER_ADD, product, x, &fault);
		__int128 want = (__int128)v[0] * v[1] + v[0];
		struct big b;

		EXPECT(sum && number_to_big(sum, &b));
		unsigned __int128 got = 0;
		for (uint32_t k = b.n; k-- > 0;)
			got = got << 32 | b.d[k];
		EXPECT(got == (unsigned __int128)(want < 0 ? -want : want));
		EXPECT(b.is_neg == (want < 0));
		if (v[1]) {
			const struct pv *rem = number_arith(&a, NUMBER_REM, sum, y, &fault);
			int64_t r;

			EXPECT(rem && number_to_i64(rem, &r) && r == (int64_t)(want % v[1]));
		}
		cf_arena_reset(&a);
	}
	cf_arena_fini(&a);
}
