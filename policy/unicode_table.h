/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The generated tables behind unicode.h. */
#include "policy/unicode.h"

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
extern const struct unicode_range unicode_ranges[];
extern const struct unicode_name unicode_names[];
extern const unsigned unicode_name_count;
extern const struct unicode_case unicode_lower_runs[], unicode_upper_runs[];
extern const unsigned unicode_lower_count, unicode_upper_count;
