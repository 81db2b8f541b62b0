/* SPDX-License-Identifier: Apache-2.0 */
/* Go's reference-time layouts: "2006-01-02T15:04:05Z07:00" shows how the same moment is written. */
#include "policy/civil.h"

#include <stdio.h>
#include <strings.h>

enum part {
	P_NONE,
	P_LONG_MONTH,
	P_MONTH,
	P_NUM_MONTH,
	P_ZERO_MONTH,
	P_LONG_WEEKDAY,
	P_WEEKDAY,
	P_DAY,
	P_UNDER_DAY,
	P_ZERO_DAY,
	P_UNDER_YEARDAY,
	P_ZERO_YEARDAY,
	P_LONG_YEAR,
	P_YEAR, /* dates end here */
	P_HOUR,
	P_HOUR12,
	P_ZERO_HOUR12,
	P_MINUTE,
	P_ZERO_MINUTE,
	P_SECOND,
	P_ZERO_SECOND,
	P_PM,
	P_LOWER_PM,
	P_ZONE,
	P_Z_OFFSET, /* Z for UTC */
	P_OFFSET,
	P_FRACTION,      /* .000: all digits */
	P_FRACTION_TRIM, /* .999: without trailing zeros */
};

static const struct {
	const char *text;
	uint8_t part;
} parts[] = {
	/* longest first where one begins another */
	{ "January", P_LONG_MONTH },
	{ "Jan", P_MONTH },
	{ "Monday", P_LONG_WEEKDAY },
	{ "Mon", P_WEEKDAY },
	{ "MST", P_ZONE },
	{ "2006", P_LONG_YEAR },
	{ "__2", P_UNDER_YEARDAY },
	{ "002", P_ZERO_YEARDAY },
	{ "_2", P_UNDER_DAY },
	{ "01", P_ZERO_MONTH },
	{ "02", P_ZERO_DAY },
	{ "03", P_ZERO_HOUR12 },
	{ "04", P_ZERO_MINUTE },
	{ "05", P_ZERO_SECOND },
	{ "06", P_YEAR },
	{ "15", P_HOUR },
	{ "PM", P_PM },
	{ "pm", P_LOWER_PM },
	{ "-07:00:00", P_OFFSET },
	{ "-070000", P_OFFSET },
	{ "-07:00", P_OFFSET },
	{ "-0700", P_OFFSET },
	{ "-07", P_OFFSET },
	{ "Z07:00:00", P_Z_OFFSET },
	{ "Z070000", P_Z_OFFSET },
	{ "Z07:00", P_Z_OFFSET },
	{ "Z0700", P_Z_OFFSET },
	{ "Z07", P_Z_OFFSET },
	{ "1", P_NUM_MONTH },
	{ "2", P_DAY },
	{ "3", P_HOUR12 },
	{ "4", P_MINUTE },
	{ "5", P_SECOND },
};

static const char *const months[] = { "January",   "February", "March",    "April",
	                              "May",       "June",     "July",     "August",
	                              "September", "October",  "November", "December" };
static const char *const weekdays[] = { "Sunday",   "Monday", "Tuesday", "Wednesday",
	                                "Thursday", "Friday", "Saturday" };

static bool is_digit_at(struct cf_view v, size_t i)
{
	return i < v.size && v.data[i] >= '0' && v.data[i] <= '9';
}

/* .000 or .999 that no digit follows. */
static size_t fraction_at(struct cf_view l, size_t i, enum part *part)
{
	size_t n = 1;

	if ((l.data[i] != '.' && l.data[i] != ',') || i + 1 >= l.size ||
	    (l.data[i + 1] != '0' && l.data[i + 1] != '9'))
		return 0;
	while (i + n < l.size && l.data[i + n] == l.data[i + 1])
		n++;
	if (is_digit_at(l, i + n) || n > 10)
		return 0;
	*part = l.data[i + 1] == '0' ? P_FRACTION : P_FRACTION_TRIM;
	return n;
}

/* The part of the layout at @i and its size; 0: plain text. */
static size_t part_at(struct cf_view l, size_t i, enum part *part)
{
	size_t n = fraction_at(l, i, part);

	for (size_t k = 0; !n && k < CF_ARRAY_LEN(parts); k++) {
		size_t size = strlen(parts[k].text);

		if (!cf_view_eq_str(cf_view_sub(l, i, size), parts[k].text))
			continue;
		/* "Jan" and "Mon" do not start a longer word; "_2006" is "_" and a year. */
		if ((parts[k].part == P_MONTH || parts[k].part == P_WEEKDAY) && i + size < l.size &&
		    l.data[i + size] >= 'a' && l.data[i + size] <= 'z')
			continue;
		if (parts[k].part == P_UNDER_DAY &&
		    cf_view_eq_str(cf_view_sub(l, i + 1, 4), "2006"))
			continue;
		*part = (enum part)parts[k].part;
		return size;
	}
	return n;
}

/* ---- writing ---- */

static void write_offset(struct pv_sb *b, struct cf_view form, int offset)
{
	bool colon = cf_view_find(form, ':') >= 0;
	unsigned abs = (unsigned)(offset < 0 ? -offset : offset);
	size_t digits = form.size - (colon ? (form.size == 9 ? 2 : 1) : 0) - 1;

	pv_sb_fmt(b, "%c%02u", offset < 0 ? '-' : '+', abs / 3600);
	if (digits >= 4)
		pv_sb_fmt(b, "%s%02u", colon ? ":" : "", abs / 60 % 60);
	if (digits >= 6)
		pv_sb_fmt(b, "%s%02u", colon ? ":" : "", abs % 60);
}

static void write_fraction(struct pv_sb *b, struct cf_view form, bool trims, int nsec)
{
	char text[16];
	size_t n = form.size - 1;

	snprintf(text, sizeof(text), "%09d", nsec);
	while (trims && n && text[n - 1] == '0')
		n--;
	if (!n)
		return;
	pv_sb_byte(b, (char)form.data[0]);
	pv_sb_add(b, cf_view(text, n));
}

/* Parts that are one number, or one word. */
static bool write_date(struct pv_sb *b, enum part part, const struct civil *c)
{
	switch (part) {
	case P_LONG_MONTH:
		pv_sb_str(b, months[c->month - 1]);
		return true;
	case P_MONTH:
		pv_sb_fmt(b, "%.3s", months[c->month - 1]);
		return true;
	case P_NUM_MONTH:
	case P_ZERO_MONTH:
		pv_sb_fmt(b, part == P_NUM_MONTH ? "%d" : "%02d", c->month);
		return true;
	case P_LONG_WEEKDAY:
		pv_sb_str(b, weekdays[c->weekday]);
		return true;
	case P_WEEKDAY:
		pv_sb_fmt(b, "%.3s", weekdays[c->weekday]);
		return true;
	case P_DAY:
	case P_UNDER_DAY:
	case P_ZERO_DAY:
		pv_sb_fmt(b, part == P_DAY ? "%d" : part == P_UNDER_DAY ? "%2d" : "%02d", c->day);
		return true;
	case P_UNDER_YEARDAY:
	case P_ZERO_YEARDAY:
		pv_sb_fmt(b, part == P_UNDER_YEARDAY ? "%3d" : "%03d", c->yearday);
		return true;
	case P_LONG_YEAR:
		pv_sb_fmt(b, "%04lld", (long long)c->year);
		return true;
	case P_YEAR:
		pv_sb_fmt(b, "%02d", (int)(c->year % 100));
		return true;
	default:
		return false;
	}
}

static bool write_time(struct pv_sb *b, enum part part, const struct civil *c)
{
	int hour12 = c->hour % 12 ? c->hour % 12 : 12;
	bool is_pm = c->hour >= 12;

	switch (part) {
	case P_HOUR:
		pv_sb_fmt(b, "%02d", c->hour);
		return true;
	case P_HOUR12:
	case P_ZERO_HOUR12:
		pv_sb_fmt(b, part == P_HOUR12 ? "%d" : "%02d", hour12);
		return true;
	case P_MINUTE:
	case P_ZERO_MINUTE:
		pv_sb_fmt(b, part == P_MINUTE ? "%d" : "%02d", c->min);
		return true;
	case P_SECOND:
	case P_ZERO_SECOND:
		pv_sb_fmt(b, part == P_SECOND ? "%d" : "%02d", c->sec);
		return true;
	case P_PM:
		pv_sb_str(b, is_pm ? "PM" : "AM");
		return true;
	case P_LOWER_PM:
		pv_sb_str(b, is_pm ? "pm" : "am");
		return true;
	default:
		return false;
	}
}

static void write_part(struct pv_sb *b, enum part part, struct cf_view form, const struct civil *c)
{
	if (write_date(b, part, c) || write_time(b, part, c))
		return;
	if (part == P_ZONE)
		pv_sb_str(b, c->zone);
	else if (part == P_Z_OFFSET && !c->offset)
		pv_sb_byte(b, 'Z');
	else if (part == P_Z_OFFSET || part == P_OFFSET)
		write_offset(b, form, c->offset);
	else if (part == P_FRACTION || part == P_FRACTION_TRIM)
		write_fraction(b, form, part == P_FRACTION_TRIM, c->nsec);
}

void layout_format(struct pv_sb *b, struct cf_view layout, const struct civil *c)
{
	for (size_t i = 0; i < layout.size && !b->is_bad;) {
		enum part part = P_NONE;
		size_t n = part_at(layout, i, &part);

		if (n)
			write_part(b, part, cf_view_sub(layout, i, n), c);
		else
			pv_sb_byte(b, (char)layout.data[i]);
		i += n ? n : 1;
	}
}

/* ---- reading ---- */

struct reading {
	struct cf_view text;
	size_t pos;
	struct civil *c;
	bool is_pm, has_pm, has_yearday;
};

/* @min to @max digits; a blank may stand for the first of two. */
static bool read_num(struct reading *r, unsigned min, unsigned max, int *ret)
{
	unsigned n = 0;

	*ret = 0;
	for (; n < max && is_digit_at(r->text, r->pos); n++)
		*ret = *ret * 10 + (r->text.data[r->pos++] - '0');
	return n >= min;
}

static bool read_name(struct reading *r, const char *const *names, unsigned count, size_t size,
                      int *ret)
{
	for (unsigned i = 0; i < count; i++) {
		size_t n = size ? size : strlen(names[i]);
		struct cf_view s = cf_view_sub(r->text, r->pos, n);

		if (s.size == n && strncasecmp((const char *)s.data, names[i], n) == 0) {
			r->pos += n;
			*ret = (int)i;
			return true;
		}
	}
	return false;
}

static bool read_fraction(struct reading *r, size_t want)
{
	int scale = 100000000, ns = 0;
	size_t n = 0;

	if (r->pos >= r->text.size || (r->text.data[r->pos] != '.' && r->text.data[r->pos] != ','))
		return !want;
	if (!is_digit_at(r->text, r->pos + 1))
		return !want;
	r->pos++;
	for (; is_digit_at(r->text, r->pos); n++, scale /= 10)
		ns += (r->text.data[r->pos++] - '0') * scale;
	r->c->nsec = ns;
	return !want || n == want;
}

static bool read_offset(struct reading *r, struct cf_view form, bool may_be_z)
{
	int h, m = 0, s = 0;
	bool colon = cf_view_find(form, ':') >= 0;
	size_t digits = form.size - (colon ? (form.size == 9 ? 2 : 1) : 0) - 1;
	uint8_t sign = r->pos < r->text.size ? r->text.data[r->pos++] : 0;

	if (may_be_z && sign == 'Z')
		return true;
	if ((sign != '+' && sign != '-') || !read_num(r, 2, 2, &h))
		return false;
	if (digits >= 4) {
		if (colon && (r->pos >= r->text.size || r->text.data[r->pos++] != ':'))
			return false;
		if (!read_num(r, 2, 2, &m))
			return false;
	}
	if (digits >= 6) {
		if (colon && (r->pos >= r->text.size || r->text.data[r->pos++] != ':'))
			return false;
		if (!read_num(r, 2, 2, &s))
			return false;
	}
	r->c->offset = (h * 3600 + m * 60 + s) * (sign == '-' ? -1 : 1);
	return h <= 24 && m < 60 && s < 60;
}

static bool read_zone(struct reading *r)
{
	size_t n = 0;

	while (r->pos + n < r->text.size && r->text.data[r->pos + n] >= 'A' &&
	       r->text.data[r->pos + n] <= 'Z')
		n++;
	r->pos += n;
	return n >= 3 && n <= 5;
}

static void skip_blank(struct reading *r)
{
	while (r->pos < r->text.size && r->text.data[r->pos] == ' ')
		r->pos++;
}

static bool read_year2(struct reading *r)
{
	int v;

	if (!read_num(r, 2, 2, &v))
		return false;
	r->c->year = v >= 69 ? 1900 + v : 2000 + v;
	return true;
}

static bool read_pm(struct reading *r)
{
	static const char *const names[] = { "AM", "PM" };
	int v = 0;
	bool ok = read_name(r, names, 2, 0, &v);

	r->has_pm = true;
	r->is_pm = v == 1;
	return ok;
}

static bool read_month_name(struct reading *r, bool is_long)
{
	int v = 0;
	bool ok = read_name(r, months, 12, is_long ? 0 : 3, &v);

	r->c->month = v + 1;
	return ok;
}

static bool read_yearday(struct reading *r, bool is_padded)
{
	skip_blank(r);
	r->has_yearday = true;
	return read_num(r, is_padded ? 3 : 1, 3, &r->c->yearday) && r->c->yearday;
}

static bool read_date(struct reading *r, enum part part)
{
	struct civil *c = r->c;
	int v = 0;

	switch (part) {
	case P_LONG_MONTH:
	case P_MONTH:
		return read_month_name(r, part == P_LONG_MONTH);
	case P_NUM_MONTH:
	case P_ZERO_MONTH:
		return read_num(r, part == P_ZERO_MONTH ? 2 : 1, 2, &c->month) && c->month >= 1 &&
		       c->month <= 12;
	case P_LONG_WEEKDAY:
	case P_WEEKDAY:
		return read_name(r, weekdays, 7, part == P_WEEKDAY ? 3 : 0, &v);
	case P_DAY:
	case P_UNDER_DAY:
	case P_ZERO_DAY:
		if (part == P_UNDER_DAY)
			skip_blank(r);
		return read_num(r, part == P_ZERO_DAY ? 2 : 1, 2, &c->day);
	case P_UNDER_YEARDAY:
	case P_ZERO_YEARDAY:
		return read_yearday(r, part == P_ZERO_YEARDAY);
	case P_LONG_YEAR:
		if (!read_num(r, 4, 4, &v))
			return false;
		c->year = v;
		return true;
	case P_YEAR:
		return read_year2(r);
	default:
		return false;
	}
}

static bool read_time(struct reading *r, enum part part, struct cf_view form)
{
	struct civil *c = r->c;

	switch (part) {
	case P_HOUR:
		return read_num(r, 2, 2, &c->hour) && c->hour < 24;
	case P_HOUR12:
	case P_ZERO_HOUR12:
		return read_num(r, part == P_ZERO_HOUR12 ? 2 : 1, 2, &c->hour) && c->hour <= 12;
	case P_MINUTE:
	case P_ZERO_MINUTE:
		return read_num(r, part == P_ZERO_MINUTE ? 2 : 1, 2, &c->min) && c->min < 60;
	case P_SECOND:
	case P_ZERO_SECOND:
		return read_num(r, part == P_ZERO_SECOND ? 2 : 1, 2, &c->sec) && c->sec < 60;
	case P_PM:
	case P_LOWER_PM:
		return read_pm(r);
	case P_ZONE:
		return read_zone(r);
	case P_Z_OFFSET:
	case P_OFFSET:
		return read_offset(r, form, part == P_Z_OFFSET);
	case P_FRACTION:
		return read_fraction(r, form.size - 1);
	case P_FRACTION_TRIM:
		return read_fraction(r, 0);
	default:
		return false;
	}
}

static bool read_part(struct reading *r, enum part part, struct cf_view form)
{
	return part <= P_YEAR ? read_date(r, part) : read_time(r, part, form);
}

static bool is_date(const struct reading *r)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	const struct civil *c = r->c;
	bool leap = c->year % 4 == 0 && (c->year % 100 != 0 || c->year % 400 == 0);

	return c->day >= 1 && c->day <= days[c->month - 1] + (leap && c->month == 2);
}

/* Seconds may be followed by a fraction that the layout does not name. */
static bool after_seconds(struct reading *r, struct cf_view rest)
{
	enum part next = P_NONE;

	if (rest.size && part_at(rest, 0, &next) && (next == P_FRACTION || next == P_FRACTION_TRIM))
		return true;
	return read_fraction(r, 0);
}

bool layout_parse(struct cf_view layout, struct cf_view text, struct civil *ret)
{
	struct reading r = { .text = text, .c = ret };

	*ret = (struct civil){ .month = 1, .day = 1 };
	for (size_t i = 0; i < layout.size;) {
		enum part part = P_NONE;
		size_t n = part_at(layout, i, &part);

		if (!n) {
			if (r.pos >= text.size || text.data[r.pos] != layout.data[i])
				return false;
			r.pos++;
			i++;
			continue;
		}
		if (!read_part(&r, part, cf_view_sub(layout, i, n)))
			return false;
		i += n;
		if ((part == P_SECOND || part == P_ZERO_SECOND) &&
		    !after_seconds(&r, cf_view_sub(layout, i, layout.size)))
			return false;
	}
	if (r.pos != text.size)
		return false;
	if (r.has_pm && r.is_pm && ret->hour < 12)
		ret->hour += 12;
	else if (r.has_pm && !r.is_pm && ret->hour == 12)
		ret->hour = 0;
	if (r.has_yearday) {
		ret->month = 1;
		ret->day = ret->yearday;
		return true;
	}
	return is_date(&r);
}
