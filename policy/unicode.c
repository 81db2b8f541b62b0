/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/unicode.h"

#include "policy/unicode_table.h"

static uint32_t mapped(uint32_t r, const struct unicode_case *runs, unsigned count)
{
	unsigned lo = 0, hi = count;

	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;
		const struct unicode_case *c = &runs[mid];

		if (r < c->lo)
			hi = mid;
		else if (r > c->hi)
			lo = mid + 1;
		else
			return (r - c->lo) % c->step ? r : (uint32_t)((int32_t)r + c->delta);
	}
	return r;
}

uint32_t unicode_lower(uint32_t r)
{
	if (r < 0x80)
		return r >= 'A' && r <= 'Z' ? r + 32 : r;
	return mapped(r, unicode_lower_runs, unicode_lower_count);
}

uint32_t unicode_upper(uint32_t r)
{
	if (r < 0x80)
		return r >= 'a' && r <= 'z' ? r - 32 : r;
	return mapped(r, unicode_upper_runs, unicode_upper_count);
}

bool unicode_is_space(uint32_t r)
{
	return (r >= 9 && r <= 13) || r == ' ' || r == 0x85 || r == 0xa0 || r == 0x1680 ||
	       (r >= 0x2000 && r <= 0x200a) || r == 0x2028 || r == 0x2029 || r == 0x202f ||
	       r == 0x205f || r == 0x3000;
}

const struct unicode_range *unicode_category(const char *name, size_t index, size_t *count)
{
	size_t n = strlen(name);

	for (unsigned i = 0; n && n <= 2 && i < unicode_name_count; i++)
		if (strncmp(unicode_names[i].name, name, n) == 0 && !index--) {
			*count = unicode_names[i].count;
			return &unicode_ranges[unicode_names[i].first];
		}
	return NULL;
}
