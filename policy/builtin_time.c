/* SPDX-License-Identifier: Apache-2.0 */
/* time.* */
#include "policy/builtin.h"
#include "policy/civil.h"
#include "policy/eval.h"

#include <stdio.h>

#define LAYOUT_RFC3339_NANO "2006-01-02T15:04:05.999999999Z07:00"

static const struct {
	const char *name, *layout;
} layouts[] = {
	{ "ANSIC", "Mon Jan _2 15:04:05 2006" },
	{ "UnixDate", "Mon Jan _2 15:04:05 MST 2006" },
	{ "RubyDate", "Mon Jan 02 15:04:05 -0700 2006" },
	{ "RFC822", "02 Jan 06 15:04 MST" },
	{ "RFC822Z", "02 Jan 06 15:04 -0700" },
	{ "RFC850", "Monday, 02-Jan-06 15:04:05 MST" },
	{ "RFC1123", "Mon, 02 Jan 2006 15:04:05 MST" },
	{ "RFC1123Z", "Mon, 02 Jan 2006 15:04:05 -0700" },
	{ "RFC3339", "2006-01-02T15:04:05Z07:00" },
	{ "RFC3339Nano", LAYOUT_RFC3339_NANO },
};

static struct cf_view layout_named(struct cf_view name)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(layouts); i++)
		if (cf_view_eq_str(name, layouts[i].name))
			return cf_view_str(layouts[i].layout);
	return name;
}

static const struct pv *bi_now(struct bcall *c, const struct pv *const *a)
{
	(void)a;
	return pv_int(c->arena, c->ev->now_ns);
}

static const struct pv *parsed(struct bcall *c, struct cf_view layout, struct cf_view text)
{
	struct civil t;
	int64_t ns;

	if (!layout_parse(layout, text, &t))
		return builtin_bad(c, "parsing time \"%.*s\": not as \"%.*s\"", (int)text.size,
		                   (const char *)text.data, (int)layout.size,
		                   (const char *)layout.data);
	if (!civil_to_ns(&t, &ns))
		return builtin_bad(c, "time outside of valid range");
	return pv_int(c->arena, ns);
}

static const struct pv *bi_parse_ns(struct bcall *c, const struct pv *const *a)
{
	struct cf_view layout, text;

	if (!builtin_is_string(c, a, 1, &layout) || !builtin_is_string(c, a, 2, &text))
		return NULL;
	return parsed(c, layout_named(layout), text);
}

static const struct pv *bi_parse_rfc3339(struct bcall *c, const struct pv *const *a)
{
	struct cf_view text;

	if (!builtin_is_string(c, a, 1, &text))
		return NULL;
	return parsed(c, cf_view_str("2006-01-02T15:04:05Z07:00"), text);
}

/* ---- durations ---- */

static int64_t unit_ns(struct cf_view unit)
{
	static const struct {
		const char *name;
		int64_t ns;
	} units[] = { { "ns", 1 },          { "us", 1000 },        { "µs", 1000 },
		      { "μs", 1000 },       { "ms", 1000000 },     { "s", 1000000000 },
		      { "m", 60000000000 }, { "h", 3600000000000 } };

	for (size_t i = 0; i < CF_ARRAY_LEN(units); i++)
		if (cf_view_eq_str(unit, units[i].name))
			return units[i].ns;
	return 0;
}

static size_t digits(struct cf_view s, size_t from)
{
	size_t n = 0;

	while (from + n < s.size && s.data[from + n] >= '0' && s.data[from + n] <= '9')
		n++;
	return n;
}

/* One "1.5h" at @pos. */
static bool duration_part(struct cf_view s, size_t *pos, __int128 *sum)
{
	size_t whole = digits(s, *pos), frac = 0;
	__int128 v = 0;

	for (size_t i = 0; i < whole; i++) {
		v = v * 10 + (s.data[*pos + i] - '0');
		if (v > INT64_MAX)
			return false;
	}
	*pos += whole;
	size_t frac_at = *pos + 1;
	if (*pos < s.size && s.data[*pos] == '.') {
		frac = digits(s, frac_at);
		*pos += 1 + frac;
	}
	if (!whole && !frac)
		return false;
	size_t n = 0;
	while (*pos + n < s.size && s.data[*pos + n] != '.' &&
	       !(s.data[*pos + n] >= '0' && s.data[*pos + n] <= '9'))
		n++;
	int64_t unit = unit_ns(cf_view_sub(s, *pos, n));
	if (!unit)
		return false;
	*pos += n;
	*sum += v * unit;
	__int128 scale = unit;
	for (size_t i = 0; i < frac && i < 19; i++)
		scale *= 10; /* exact up to 19 digits of fraction */
	__int128 part = 0, power = scale;
	for (size_t i = 0; i < frac && i < 19; i++) {
		power /= 10;
		part += power * (s.data[frac_at + i] - '0');
	}
	for (size_t i = 0; i < frac && i < 19; i++)
		part /= 10;
	*sum += part;
	return *sum <= (__int128)INT64_MAX + 1;
}

static const struct pv *bi_parse_duration(struct bcall *c, const struct pv *const *a)
{
	struct cf_view s;
	__int128 sum = 0;
	size_t pos = 0;
	bool ok;

	if (!builtin_is_string(c, a, 1, &s))
		return NULL;
	bool is_neg = s.size && s.data[0] == '-';
	if (s.size && (s.data[0] == '-' || s.data[0] == '+'))
		pos = 1;
	ok = pos < s.size;
	if (cf_view_eq_str(cf_view_sub(s, pos, s.size), "0"))
		return pv_int(c->arena, 0);
	while (ok && pos < s.size)
		ok = duration_part(s, &pos, &sum);
	if (!ok || (!is_neg && sum > INT64_MAX))
		return builtin_bad(c, "time: invalid duration \"%.*s\"", (int)s.size,
		                   (const char *)s.data);
	return pv_int(c->arena, (int64_t)(is_neg ? -sum : sum));
}

/* ---- moments: ns, or [ns, zone], or [ns, zone, layout] ---- */

struct moment {
	int64_t ns;
	struct zone *zone;
	struct cf_view layout;
};

static bool moment_ns(struct bcall *c, const struct pv *v, unsigned operand, int64_t *ret)
{
	if (v->type != PV_NUM) {
		builtin_bad_type(c, operand, "one of {number, array}", v);
		return false;
	}
	if (number_is_int(v) && number_to_i64(v, ret))
		return true;
	builtin_bad(c, "timestamp too big");
	return false;
}

static bool open_moment(struct bcall *c, const struct pv *const *a, unsigned operand,
                        struct moment *m)
{
	const struct pv *v = a[operand - 1];
	struct cf_view zone = { 0 };

	*m = (struct moment){ .layout = cf_view_str(LAYOUT_RFC3339_NANO) };
	if (v->type == PV_ARR) {
		if (v->len < 2 || v->at[1]->type != PV_STR ||
		    (v->len > 2 && v->at[2]->type != PV_STR)) {
			builtin_bad_type(c, operand, "[number, string]", v);
			return false;
		}
		zone = pv_view(v->at[1]);
		if (v->len > 2 && v->at[2]->len)
			m->layout = layout_named(pv_view(v->at[2]));
		v = v->at[0];
	}
	if (!moment_ns(c, v, operand, &m->ns))
		return false;
	m->zone = zone_open(zone);
	if (!m->zone)
		builtin_bad(c, "unknown time zone %.*s", (int)zone.size, (const char *)zone.data);
	return m->zone != NULL;
}

static bool civil_operand(struct bcall *c, const struct pv *const *a, struct civil *t)
{
	struct moment m;

	if (!open_moment(c, a, 1, &m))
		return false;
	civil_from_ns(m.ns, m.zone, t);
	zone_free(m.zone);
	return true;
}

static const struct pv *int_array(struct bcall *c, const int64_t *v, size_t n)
{
	struct pv_vec out = pv_vec(c->arena);

	for (size_t i = 0; i < n; i++)
		pv_vec_add(&out, pv_int(c->arena, v[i]));
	return pv_vec_array(&out);
}

static const struct pv *bi_date(struct bcall *c, const struct pv *const *a)
{
	struct civil t;

	if (!civil_operand(c, a, &t))
		return NULL;
	return int_array(c, (int64_t[]){ t.year, t.month, t.day }, 3);
}

static const struct pv *bi_clock(struct bcall *c, const struct pv *const *a)
{
	struct civil t;

	if (!civil_operand(c, a, &t))
		return NULL;
	return int_array(c, (int64_t[]){ t.hour, t.min, t.sec }, 3);
}

static const struct pv *bi_weekday(struct bcall *c, const struct pv *const *a)
{
	static const char *const names[] = { "Sunday",   "Monday", "Tuesday", "Wednesday",
		                             "Thursday", "Friday", "Saturday" };
	struct civil t;

	return civil_operand(c, a, &t) ? pv_cstr(c->arena, names[t.weekday]) : NULL;
}

static const struct pv *bi_format(struct bcall *c, const struct pv *const *a)
{
	struct pv_sb b = pv_sb(c->arena);
	struct moment m;
	struct civil t;

	if (!open_moment(c, a, 1, &m))
		return NULL;
	civil_from_ns(m.ns, m.zone, &t);
	layout_format(&b, m.layout, &t);
	zone_free(m.zone);
	return pv_sb_done(&b);
}

static const struct pv *bi_add_date(struct bcall *c, const struct pv *const *a)
{
	struct moment m;
	struct civil t;
	int64_t add[3], ns;

	for (unsigned i = 0; i < 3; i++)
		if (!builtin_is_int(c, a, i + 2, &add[i]))
			return NULL;
	if (!open_moment(c, a, 1, &m))
		return NULL;
	civil_from_ns(m.ns, m.zone, &t);
	bool ok = true;
	for (unsigned i = 0; i < 3; i++)
		ok = ok && add[i] < 10000000 && add[i] > -10000000;
	t.year += ok ? add[0] : 0;
	t.month += ok ? (int)add[1] : 0;
	t.day += ok ? (int)add[2] : 0;
	ok = ok && civil_local_to_ns(&t, m.zone, &ns);
	zone_free(m.zone);
	return ok ? pv_int(c->arena, ns) : builtin_bad(c, "time outside of valid range");
}

static int month_days(const struct civil *t)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = t->year % 4 == 0 && (t->year % 100 != 0 || t->year % 400 == 0);

	return days[t->month - 1] + (leap && t->month == 2);
}

/* Years, months, days, hours, minutes and seconds between two moments, in the first's zone. */
static const struct pv *bi_diff(struct bcall *c, const struct pv *const *a)
{
	struct moment m, n;
	struct civil x, y;

	if (!open_moment(c, a, 1, &m))
		return NULL;
	if (!open_moment(c, a, 2, &n)) {
		zone_free(m.zone);
		return NULL;
	}
	civil_from_ns(CF_MIN(m.ns, n.ns), m.zone, &x);
	civil_from_ns(CF_MAX(m.ns, n.ns), m.zone, &y);
	zone_free(m.zone);
	zone_free(n.zone);
	int64_t d[6] = { y.year - x.year, y.month - x.month, y.day - x.day,
		         y.hour - x.hour, y.min - x.min,     y.sec - x.sec };
	const int room[6] = { 0, 12, month_days(&x), 24, 60, 60 };
	for (unsigned i = 5; i > 0; i--)
		if (d[i] < 0) {
			d[i] += room[i];
			d[i - 1]--;
		}
	return int_array(c, d, 6);
}

const struct builtin builtins_time[] = {
	{ "time.now_ns", 0, 0, bi_now, NULL },
	{ "time.parse_ns", 2, 0, bi_parse_ns, "ss" },
	{ "time.parse_rfc3339_ns", 1, 0, bi_parse_rfc3339, "s" },
	{ "time.parse_duration_ns", 1, 0, bi_parse_duration, "s" },
	{ "time.date", 1, 0, bi_date, NULL },
	{ "time.clock", 1, 0, bi_clock, NULL },
	{ "time.weekday", 1, 0, bi_weekday, NULL },
	{ "time.format", 1, 0, bi_format, NULL },
	{ "time.add_date", 4, 0, bi_add_date, NULL },
	{ "time.diff", 2, 0, bi_diff, NULL },
	{ .name = NULL },
};
