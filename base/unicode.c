/* SPDX-License-Identifier: Apache-2.0 */
#include "base/unicode.h"

#include "base/unicode_table.h"

/* The first run that ends at @r or behind; @count: none. */
static unsigned run_from(uint32_t r, const struct unicode_case *runs, unsigned count)
{
	unsigned lo = 0, hi = count;

	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;

		if (runs[mid].hi < r)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static uint32_t mapped(uint32_t r, const struct unicode_case *runs, unsigned count)
{
	unsigned at = run_from(r, runs, count);

	if (at == count || r < runs[at].lo || (r - runs[at].lo) % runs[at].step)
		return r;
	return (uint32_t)((int32_t)r + runs[at].delta);
}

/* The first rune from @r on that @runs map. */
static uint32_t next_mapped(uint32_t r, const struct unicode_case *runs, unsigned count)
{
	unsigned at = run_from(r, runs, count);

	if (at == count)
		return UINT32_MAX;
	uint32_t past = r > runs[at].lo ? (r - runs[at].lo) % runs[at].step : 0;

	/* A run ends on one that it maps, so that rounding up stays inside. */
	return CF_MAX(past ? r + runs[at].step - past : r, runs[at].lo);
}

/* The first round from @r on. */
static unsigned round_from(uint32_t r)
{
	unsigned at = 0;

	while (at < unicode_round_count && unicode_rounds[at][0] < r)
		at++;
	return at;
}

uint32_t cf_unicode_lower(uint32_t r)
{
	if (r < 0x80)
		return r >= 'A' && r <= 'Z' ? r + 32 : r;
	return mapped(r, unicode_lower_runs, unicode_lower_count);
}

uint32_t cf_unicode_upper(uint32_t r)
{
	if (r < 0x80)
		return r >= 'a' && r <= 'z' ? r - 32 : r;
	return mapped(r, unicode_upper_runs, unicode_upper_count);
}

uint32_t cf_unicode_fold(uint32_t r)
{
	unsigned at = round_from(r);

	if (at < unicode_round_count && unicode_rounds[at][0] == r)
		return unicode_rounds[at][1];
	uint32_t lower = cf_unicode_lower(r);

	return lower != r ? lower : cf_unicode_upper(r);
}

uint32_t cf_unicode_next_folded(uint32_t r)
{
	unsigned at = round_from(r);
	uint32_t next = at < unicode_round_count ? unicode_rounds[at][0] : UINT32_MAX;

	if (r <= 'Z')
		return CF_MAX(r, (uint32_t)'A');
	if (r <= 'z')
		return CF_MAX(r, (uint32_t)'a');
	next = CF_MIN(next, next_mapped(r, unicode_lower_runs, unicode_lower_count));
	return CF_MIN(next, next_mapped(r, unicode_upper_runs, unicode_upper_count));
}

bool cf_unicode_is_space(uint32_t r)
{
	return (r >= 9 && r <= 13) || r == ' ' || r == 0x85 || r == 0xa0 || r == 0x1680 ||
	       (r >= 0x2000 && r <= 0x200a) || r == 0x2028 || r == 0x2029 || r == 0x202f ||
	       r == 0x205f || r == 0x3000;
}

const struct cf_unicode_range *cf_unicode_category(const char *name, size_t index, size_t *count)
{
	size_t n = strlen(name);

	for (unsigned i = 0; n && n <= 2 && i < unicode_name_count; i++)
		if (strncmp(unicode_names[i].name, name, n) == 0 && !index--) {
			*count = unicode_names[i].count;
			return &unicode_ranges[unicode_names[i].first];
		}
	return NULL;
}
