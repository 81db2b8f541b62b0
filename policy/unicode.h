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
/* The ranges of a general category ("L", "Lu", …) or script ("Greek"); NULL: unknown. */
const struct unicode_range *unicode_class(const char *name, size_t *count);
