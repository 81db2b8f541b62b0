/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers, dates and words of TOML, from their text alone. */
#include "base/toml_tree.h"

#include <math.h>

#define SCALAR_MAX 128 /* characters of a number, date or word */

int toml_hex_digit(int c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool is_digit_of(int c, int base)
{
	int d = toml_hex_digit(c);

	return d >= 0 && d < base;
}

static bool all_digits(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] < '0' || s[i] > '9')
			return false;
	return n > 0;
}

static unsigned two(const char *s)
{
	return (unsigned)(s[0] - '0') * 10 + (unsigned)(s[1] - '0');
}

static unsigned month_days(unsigned year, unsigned month)
{
	static const unsigned days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return month == 2 && leap ? 29 : days[month - 1];
}

/* "1979-05-27"; the number of characters, or 0 when it is no date. */
static size_t scan_date(const char *s, size_t n)
{
	if (n < 10 || !all_digits(s, 4) || s[4] != '-' || !all_digits(s + 5, 2) || s[7] != '-' ||
	    !all_digits(s + 8, 2))
		return 0;

	unsigned month = two(s + 5), day = two(s + 8);
	unsigned year = two(s) * 100 + two(s + 2);

	if (month < 1 || month > 12 || day < 1 || day > month_days(year, month))
		return 0;
	return 10;
}

/* "07:32:00.999"; the number of characters, or 0. */
static size_t scan_time(const char *s, size_t n)
{
	size_t at = 8;

	if (n < 8 || !all_digits(s, 2) || s[2] != ':' || !all_digits(s + 3, 2) || s[5] != ':' ||
	    !all_digits(s + 6, 2) || two(s) > 23 || two(s + 3) > 59 || two(s + 6) > 60)
		return 0;
	if (n > 8 && s[8] == '.') {
		for (at = 9; at < n && s[at] >= '0' && s[at] <= '9'; at++)
			;
		if (at == 9)
			return 0;
	}
	return at;
}

static bool is_offset(const char *s, size_t n)
{
	if (n == 1)
		return *s == 'Z' || *s == 'z';
	return n == 6 && (*s == '+' || *s == '-') && all_digits(s + 1, 2) && s[3] == ':' &&
	       all_digits(s + 4, 2) && two(s + 1) < 24 && two(s + 4) < 60;
}

static bool is_datetime(const char *s, size_t n)
{
	size_t date = scan_date(s, n);

	if (!date)
		return scan_time(s, n) == n && n > 0;
	if (date == n)
		return true;
	if (s[date] != 'T' && s[date] != 't' && s[date] != ' ')
		return false;

	size_t time = scan_time(s + date + 1, n - date - 1);
	size_t used = date + 1 + time;

	return time && (used == n || is_offset(s + used, n - used));
}

/* Drops underscores that stand between two digits; false when one stands elsewhere. */
static bool strip_underscores(const char *s, size_t n, char *out)
{
	int base = n > 2 && s[0] == '0' && s[1] == 'x' ? 16 : 10;
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		if (s[i] != '_') {
			out[k++] = s[i];
			continue;
		}
		if (i == 0 || i + 1 == n || !is_digit_of(s[i - 1], base) ||
		    !is_digit_of(s[i + 1], base))
			return false;
	}
	out[k] = 0;
	return true;
}

static bool scan_based_int(const char *s, int64_t *ret)
{
	unsigned base = s[1] == 'x' ? 16 : s[1] == 'o' ? 8 : 2;
	uint64_t v = 0;

	if (!s[2])
		return false;
	for (s += 2; *s; s++) {
		int d = toml_hex_digit(*s);

		if (d < 0 || (unsigned)d >= base || v > ((uint64_t)INT64_MAX - (unsigned)d) / base)
			return false;
		v = v * base + (unsigned)d;
	}
	*ret = (int64_t)v;
	return true;
}

/* Decimal, with sign, no leading zero. */
static bool scan_int(const char *s, int64_t *ret)
{
	bool minus = *s == '-';
	uint64_t v = 0, max = minus ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;

	if (*s == '-' || *s == '+')
		s++;
	if (!all_digits(s, strlen(s)) || (s[0] == '0' && s[1]))
		return false;
	for (; *s; s++) {
		unsigned d = (unsigned)(*s - '0');

		if (v > (max - d) / 10)
			return false;
		v = v * 10 + d;
	}
	*ret = minus ? (int64_t)(0 - v) : (int64_t)v;
	return true;
}

static size_t digits_at(const char *s)
{
	size_t n = 0;

	while (s[n] >= '0' && s[n] <= '9')
		n++;
	return n;
}

/* strtod() alone would take hex floats, blanks and more: the form is checked first. */
static bool is_float(const char *s)
{
	size_t n;

	if (*s == '-' || *s == '+')
		s++;
	n = digits_at(s);
	if (n == 0 || (n > 1 && *s == '0'))
		return false;
	s += n;
	if (*s != '.' && *s != 'e' && *s != 'E')
		return false;
	if (*s == '.') {
		n = digits_at(++s);
		if (n == 0)
			return false;
		s += n;
	}
	if (*s == 'e' || *s == 'E') {
		s++;
		if (*s == '-' || *s == '+')
			s++;
		n = digits_at(s);
		if (n == 0)
			return false;
		s += n;
	}
	return *s == 0;
}

static bool scan_special_float(const char *s, double *ret)
{
	double sign = *s == '-' ? -1 : 1;

	if (*s == '-' || *s == '+')
		s++;
	if (cf_streq(s, "inf"))
		*ret = sign * (double)INFINITY;
	else if (cf_streq(s, "nan"))
		*ret = copysign((double)NAN, sign);
	else
		return false;
	return true;
}

static bool scan_number(const char *s, struct cf_toml *v)
{
	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'o' || s[1] == 'b')) {
		v->kind = CF_TOML_INT;
		return scan_based_int(s, &v->i);
	}
	if (scan_int(s, &v->i)) {
		v->kind = CF_TOML_INT;
		return true;
	}
	v->kind = CF_TOML_FLOAT;
	if (scan_special_float(s, &v->f))
		return true;
	if (!is_float(s))
		return false;
	v->f = strtod(s, NULL);
	return true;
}

bool toml_scan_scalar(const char *s, size_t n, struct cf_toml *v)
{
	char clean[SCALAR_MAX + 1];
	struct cf_toml found = *v;

	if (n > SCALAR_MAX)
		return false;
	if (is_datetime(s, n)) {
		v->kind = CF_TOML_DATETIME;
		v->text = cf_strndup(s, n);
		return true;
	}
	if (!strip_underscores(s, n, clean))
		return false;
	if (cf_streq(clean, "true") || cf_streq(clean, "false")) {
		v->kind = CF_TOML_BOOL;
		v->b = *clean == 't';
		return true;
	}
	if (!scan_number(clean, &found))
		return false;
	*v = found;
	return true;
}
