/* SPDX-License-Identifier: Apache-2.0 */
/* Dates, and time zones from the system's TZif files (RFC 8536). */
#include "policy/civil.h"

#include "base/fd.h"
#include "base/str.h"

#include <stdio.h>

#define NS_PER_SEC    1000000000ll
#define ZONE_FILE_MAX (256u << 10)

/* Days since 1970-01-01 of a proleptic Gregorian date; the month may be out of range. */
static int64_t days_from_civil(int64_t y, int64_t m, int64_t d)
{
	y += (m - 1) / 12;
	m = (m - 1) % 12 + 1;
	if (m <= 0) {
		m += 12;
		y--;
	}
	y -= m <= 2;
	int64_t era = (y >= 0 ? y : y - 399) / 400, yoe = y - era * 400;
	int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5;
	int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

	return era * 146097 + doe - 719468 + d - 1;
}

static void civil_from_days(int64_t days, struct civil *c)
{
	days += 719468;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097, doe = days - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;

	c->day = (int)(doy - (153 * mp + 2) / 5 + 1);
	c->month = (int)(mp < 10 ? mp + 3 : mp - 9);
	c->year = yoe + era * 400 + (c->month <= 2);
}

/* ---- zones ---- */

struct zone_type {
	int32_t offset;
	char name[16];
};

struct zone {
	uint32_t count; /* transitions */
	int64_t *at;    /* seconds */
	uint8_t *type;
	uint32_t type_count;
	struct zone_type types[256];
	struct cf_buf file;
};

void zone_free(struct zone *z)
{
	if (!z)
		return;
	cf_buf_fini(&z->file);
	free(z->at);
	free(z->type);
	free(z);
}

static bool is_zone_name(struct cf_view name)
{
	for (size_t i = 0; i < name.size; i++) {
		uint8_t c = name.data[i];

		if (!(c == '_' || c == '+' || c == '-' || c == '/' || (c >= '0' && c <= '9') ||
		      ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')))
			return false;
	}
	return name.size > 0 && name.size < 64 && name.data[0] != '/';
}

struct tzif_counts {
	uint32_t isut, isstd, leap, time, type, chars;
};

static bool read_header(struct cf_rd *rd, struct tzif_counts *n)
{
	if (!cf_view_eq_str(cf_rd_bytes(rd, 4), "TZif"))
		return false;
	cf_rd_skip(rd, 16);
	n->isut = cf_rd_u32be(rd);
	n->isstd = cf_rd_u32be(rd);
	n->leap = cf_rd_u32be(rd);
	n->time = cf_rd_u32be(rd);
	n->type = cf_rd_u32be(rd);
	n->chars = cf_rd_u32be(rd);
	return !rd->bad && n->time < 10000 && n->type <= 256 && n->type && n->chars < 4096;
}

static bool read_block(struct cf_rd *rd, const struct tzif_counts *n, struct zone *z)
{
	z->at = cf_zalloc_n(n->time + 1, sizeof(*z->at));
	z->type = cf_zalloc(n->time + 1);
	z->count = n->time;
	z->type_count = n->type;
	for (uint32_t i = 0; i < n->time; i++)
		z->at[i] = (int64_t)cf_rd_u64be(rd);
	for (uint32_t i = 0; i < n->time; i++) {
		z->type[i] = cf_rd_u8(rd);
		if (z->type[i] >= n->type)
			return false;
	}
	uint8_t name_at[256];
	for (uint32_t i = 0; i < n->type; i++) {
		z->types[i].offset = (int32_t)cf_rd_u32be(rd);
		cf_rd_skip(rd, 1);
		name_at[i] = cf_rd_u8(rd);
		if (z->types[i].offset > 93600 || z->types[i].offset < -93600)
			return false;
	}
	struct cf_view names = cf_rd_bytes(rd, n->chars);
	for (uint32_t i = 0; !rd->bad && i < n->type; i++) {
		struct cf_view s = cf_view_sub(names, name_at[i], sizeof(z->types[i].name) - 1);
		ssize_t end = cf_view_find(s, 0);

		memcpy(z->types[i].name, s.data, end < 0 ? s.size : (size_t)end);
	}
	return !rd->bad;
}

static bool zone_parse(struct cf_view file, struct zone *z)
{
	struct cf_rd rd = { .in = file };
	struct tzif_counts n;

	if (!read_header(&rd, &n))
		return false;
	/* The first block has 32-bit times; the one with 64 follows. */
	cf_rd_skip(&rd, (size_t)n.time * 5 + (size_t)n.type * 6 + n.chars + (size_t)n.leap * 8 +
	                        n.isstd + n.isut);
	return read_header(&rd, &n) && read_block(&rd, &n, z);
}

struct zone *zone_open(struct cf_view name)
{
	struct zone *z = cf_zalloc(sizeof(*z));

	if (!name.size || cf_view_eq_str(name, "UTC") || cf_view_eq_str(name, "Local")) {
		z->type_count = 1;
		strncpy(z->types[0].name, "UTC", sizeof(z->types[0].name) - 1);
		return z;
	}
	if (is_zone_name(name)) {
		cf_cleanup(cf_freep) char *path = cf_asprintf(
			"/usr/share/zoneinfo/%.*s", (int)name.size, (const char *)name.data);

		if (cf_read_file(path, ZONE_FILE_MAX, &z->file, NULL) == 0 &&
		    zone_parse(cf_buf_view(&z->file), z))
			return z;
	}
	zone_free(z);
	return NULL;
}

static const struct zone_type *zone_at(const struct zone *z, int64_t sec)
{
	uint32_t lo = 0, hi = z->count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (z->at[mid] <= sec)
			lo = mid + 1;
		else
			hi = mid;
	}
	return &z->types[lo ? z->type[lo - 1] : 0];
}

/* ---- conversions ---- */

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

void civil_from_ns(int64_t ns, const struct zone *z, struct civil *c)
{
	int64_t sec = floor_div(ns, NS_PER_SEC);
	const struct zone_type *t = zone_at(z, sec);

	*c = (struct civil){ .nsec = (int)(ns - sec * NS_PER_SEC), .offset = t->offset };
	memcpy(c->zone, t->name, sizeof(c->zone));
	sec += t->offset;
	int64_t days = floor_div(sec, 86400), rest = sec - days * 86400;
	civil_from_days(days, c);
	c->hour = (int)(rest / 3600);
	c->min = (int)(rest / 60 % 60);
	c->sec = (int)(rest % 60);
	c->weekday = (int)(((days + 4) % 7 + 7) % 7);
	c->yearday = (int)(days - days_from_civil(c->year, 1, 1)) + 1;
}

static bool add_up(const struct civil *c, __int128 *sec)
{
	if (c->year > 100000 || c->year < -100000)
		return false;
	*sec = (__int128)days_from_civil(c->year, c->month, 1) + c->day - 1;
	*sec = *sec * 86400 + (int64_t)c->hour * 3600 + (int64_t)c->min * 60 + c->sec - c->offset;
	return true;
}

bool civil_to_ns(const struct civil *c, int64_t *ret)
{
	__int128 sec;

	if (!add_up(c, &sec))
		return false;
	__int128 ns = sec * NS_PER_SEC + c->nsec;
	if (ns > INT64_MAX || ns < INT64_MIN)
		return false;
	*ret = (int64_t)ns;
	return true;
}

bool civil_local_to_ns(const struct civil *c, const struct zone *z, int64_t *ret)
{
	struct civil utc = *c;
	__int128 sec;

	utc.offset = 0;
	if (!add_up(&utc, &sec) || sec > INT64_MAX / 2 || sec < INT64_MIN / 2)
		return false;
	/* Guess with the offset at that reading, then look again. */
	utc.offset = zone_at(z, (int64_t)sec)->offset;
	utc.offset = zone_at(z, (int64_t)sec - utc.offset)->offset;
	return civil_to_ns(&utc, ret);
}
