/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Calendar time: nanoseconds since 1970 to dates and back, zones, and Go's layouts. */
#include "policy/value.h"

struct civil {
	int64_t year;
	int month, day; /* from 1 */
	int hour, min, sec;
	int nsec;
	int weekday; /* 0: Sunday */
	int yearday; /* from 1 */
	int offset;  /* seconds east of UTC */
	char zone[16];
};

struct zone; /* rules of one time zone */

/* NULL: unknown. "" and "UTC" are UTC. Free with zone_free(). */
struct zone *zone_open(struct cf_view name);
void zone_free(struct zone *z);

void civil_from_ns(int64_t ns, const struct zone *z, struct civil *ret);
/* Out-of-range fields carry over. false: not within int64 nanoseconds. */
bool civil_to_ns(const struct civil *c, int64_t *ret);
/* As civil_to_ns(), the fields being local time in @z (its offset at that time). */
bool civil_local_to_ns(const struct civil *c, const struct zone *z, int64_t *ret);

void layout_format(struct pv_sb *b, struct cf_view layout, const struct civil *c);
/* false: @text is not of the layout. */
bool layout_parse(struct cf_view layout, struct cf_view text, struct civil *ret);
