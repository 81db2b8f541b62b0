/* SPDX-License-Identifier: Apache-2.0 */
#include "base/unicode.h"

#include "tests/harness/test.h"

CF_TEST(unicode_cases_go_round_and_are_found)
{
	uint32_t next = cf_unicode_next_folded(0), others = 0;

	for (uint32_t r = 0; r <= 0x10ffff; r++) {
		uint32_t f = cf_unicode_fold(r), steps = 1;

		if (r > next)
			next = cf_unicode_next_folded(r);
		EXPECT(f == r || next == r);
		for (; f != r && steps < 5; steps++)
			f = cf_unicode_fold(f);
		EXPECT(f == r);
		others += steps > 1;
	}
	EXPECT(others > 2700 && cf_unicode_next_folded(0x1e944) == UINT32_MAX);
}

CF_TEST(unicode_maps_cases)
{
	EXPECT(cf_unicode_lower('A') == 'a' && cf_unicode_upper('z') == 'Z');
	EXPECT(cf_unicode_lower(0x130) == 'i' && cf_unicode_upper(0x1f80) == 0x1f88);
	EXPECT(cf_unicode_upper(0xdf) == 0xdf && cf_unicode_fold(0xdf) == 0x1e9e);
	EXPECT(cf_unicode_fold('k') == 0x212a && cf_unicode_fold(0x212a) == 'K');
	EXPECT(cf_unicode_lower(0x4e00) == 0x4e00 && cf_unicode_upper(0x110000) == 0x110000);
}

CF_TEST(unicode_categories_have_ranges)
{
	size_t count = 0, sets = 0, runes = 0;
	const struct cf_unicode_range *r = cf_unicode_category("Nd", 0, &count);

	EXPECT(r && count > 60 && r[0].lo == '0' && r[0].hi == '9');
	for (; (r = cf_unicode_category("L", sets, &count)); sets++)
		for (size_t i = 0; i < count; i++)
			runes += r[i].hi - r[i].lo + 1;
	EXPECT(sets == 5 && runes > 130000);
	EXPECT(!cf_unicode_category("", 0, &count) && !cf_unicode_category("Nx", 0, &count));
	EXPECT(!cf_unicode_category("Ndx", 0, &count));
}
