/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What policies need of Unicode: simple case mapping, white space, general categories. */
#include "base/bytes.h"

uint32_t unicode_lower(uint32_t r);
uint32_t unicode_upper(uint32_t r);
bool unicode_is_space(uint32_t r);

struct unicode_range {
	uint32_t lo, hi;
};
/*
 * The @index-th set of ranges that a general category stands for: one for "Lu", several for "L". NULL
 * past the last one.
 */
const struct unicode_range *unicode_category(const char *name, size_t index, size_t *count);
