/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Unicode 15: simple case mapping and folding, white space, general categories. */
#include "base/bytes.h"

uint32_t cf_unicode_lower(uint32_t r);
uint32_t cf_unicode_upper(uint32_t r);
bool cf_unicode_is_space(uint32_t r);
/*
 * The next rune that differs from @r in case only, going round: k, KELVIN SIGN, K, and k again. @r
 * itself when there is none.
 */
uint32_t cf_unicode_fold(uint32_t r);
/* The first rune from @r on that may have such others; UINT32_MAX: none. */
uint32_t cf_unicode_next_folded(uint32_t r);

struct cf_unicode_range {
	uint32_t lo, hi;
};
/*
 * The @index-th set of ranges that a general category stands for: one for "Lu", several for "L". NULL
 * past the last one.
 */
const struct cf_unicode_range *cf_unicode_category(const char *name, size_t index, size_t *count);
