/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The generated tables behind unicode.h. */
#include "base/unicode.h"

struct unicode_name {
	char name[4];
	uint16_t first, count; /* in unicode_ranges */
};
/* Code points lo, lo + step, … hi map to themselves plus delta. */
struct unicode_case {
	uint32_t lo, hi;
	int32_t delta;
	uint8_t step;
};
extern const struct cf_unicode_range unicode_ranges[];
extern const struct unicode_name unicode_names[];
extern const unsigned unicode_name_count;
extern const struct unicode_case unicode_lower_runs[], unicode_upper_runs[];
/* Where the next in a round of cases is neither its lower nor its upper case; sorted. */
extern const uint32_t unicode_rounds[][2];
extern const unsigned unicode_round_count;
extern const unsigned unicode_lower_count, unicode_upper_count;
