/* SPDX-License-Identifier: Apache-2.0 */
/* units.parse and units.parse_bytes: "1.5Gi" to a number, exactly. */
#include "policy/units.h"

#include <stdio.h>

#define UNIT_EXP_DIGITS 6u /* of an exponent */

struct amount {
	struct cf_view number, unit;
};

static const struct {
	const char *name;
	uint8_t binary_power;  /* × 2^(10 n) … */
	uint8_t decimal_power; /* … or × 10^(3 n) */
} scales[] = {
	{ "", 0, 0 },   { "k", 0, 1 },  { "ki", 1, 0 }, { "m", 0, 2 },  { "mi", 2, 0 },
	{ "g", 0, 3 },  { "gi", 3, 0 }, { "t", 0, 4 },  { "ti", 4, 0 }, { "p", 0, 5 },
	{ "pi", 5, 0 }, { "e", 0, 6 },  { "ei", 6, 0 },
};

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* The number ends where the unit's letters begin; an "e" belongs to it when digits follow. */
static struct amount split(struct cf_view s)
{
	size_t sign = s.size && s.data[0] == '-', n = sign;

	while (n < s.size && (is_digit(s.data[n]) || s.data[n] == '.'))
		n++;
	if (n == sign)
		n = 0;
	if (n && n < s.size && (s.data[n] | 0x20) == 'e') {
		size_t exp = n + 1;

		if (exp < s.size && (s.data[exp] == '+' || s.data[exp] == '-'))
			exp++;
		size_t from = exp;
		while (exp < s.size && is_digit(s.data[exp]))
			exp++;
		if (exp > from && exp - from <= UNIT_EXP_DIGITS)
			n = exp;
	}
	return (struct amount){ .number = cf_view_sub(s, 0, n), .unit = cf_view_sub(s, n, s.size) };
}

static int scale_of(const char *unit)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(scales); i++)
		if (strcmp(scales[i].name, unit) == 0)
			return (int)i;
	return -1;
}

/* ".5" and "5." are numbers here. */
static const struct pv *number_of(struct bcall *c, struct cf_view s)
{
	struct pv_sb b = pv_sb(c->arena);
	size_t i = s.size && s.data[0] == '-';

	if (i)
		pv_sb_byte(&b, '-');
	while (i + 1 < s.size && s.data[i] == '0' && is_digit(s.data[i + 1]))
		i++;
	if (i < s.size && s.data[i] == '.')
		pv_sb_byte(&b, '0');
	for (; i < s.size; i++) {
		pv_sb_byte(&b, (char)s.data[i]);
		if (s.data[i] == '.' && (i + 1 == s.size || !is_digit(s.data[i + 1])))
			pv_sb_byte(&b, '0');
	}
	return number_parse(c->arena, cf_view(b.data, b.size));
}

/* num / den as text: an integer, or ten decimals, rounded half away from zero. */
static const struct pv *ratio(struct bcall *c, struct big *num, struct big *den, bool truncates)
{
	struct big quot, rem, twice;

	if (!big_divmod(num, den, &quot, &rem))
		return NULL;
	if (!rem.n || truncates)
		return number_from_big(c->arena, &quot);
	if (!big_mul_pow10(num, 10) || !big_divmod(num, den, &quot, &rem))
		return NULL;
	big_copy(&twice, &rem);
	struct big one;
	big_set_u64(&one, 1);
	if (!big_shl(&twice, 1) || (big_cmp_mag(&twice, den) >= 0 && !big_add(&quot, &one, &quot)))
		return NULL;
	const struct pv *digits = number_from_big(c->arena, &quot);
	struct pv_sb text = pv_sb(c->arena), out = pv_sb(c->arena);
	if (!digits)
		return NULL;
	number_write(&text, digits);
	for (size_t i = text.size; i < 11; i++)
		pv_sb_byte(&out, '0');
	pv_sb_add(&out, cf_view(text.data, text.size));
	struct pv_sb all = pv_sb(c->arena);
	pv_sb_add(&all, cf_view(out.data, out.size - 10));
	pv_sb_byte(&all, '.');
	pv_sb_add(&all, cf_view(out.data + out.size - 10, 10));
	return number_parse(c->arena, cf_view(all.data, all.size));
}

/* value × the unit's scale, or / 1000 for "m". */
static const struct pv *scaled(struct bcall *c, const struct pv *v, int scale, bool is_milli,
                               bool truncates)
{
	struct big num, den;
	char room[24];
	const char *digits = room;
	uint32_t count;
	int64_t ten = 0;

	if (v->is_text) {
		digits = v->num->digits;
		count = v->num->digit_count;
		ten = (int64_t)v->num->exp - count;
	} else {
		count = (uint32_t)snprintf(room, sizeof(room), "%lld",
		                           (long long)(v->i < 0 ? -v->i : v->i));
	}
	bool is_neg = v->is_text ? v->num->is_neg : v->i < 0;
	ten += 3 * (is_milli ? -1 : scales[scale].decimal_power);
	if (count > 3000 || ten > 3000 || ten < -3000 || !big_set_digits(&num, digits, count))
		return NULL;
	big_set_u64(&den, 1);
	if (!big_shl(&num, 10u * (is_milli ? 0 : scales[scale].binary_power)) ||
	    !big_mul_pow10(&num, ten > 0 ? (uint32_t)ten : 0) ||
	    !big_mul_pow10(&den, ten < 0 ? (uint32_t)-ten : 0))
		return NULL;
	num.is_neg = is_neg && num.n && truncates;
	const struct pv *r = ratio(c, &num, &den, truncates);
	if (!r || !is_neg || truncates)
		return r;
	enum number_fault fault;
	return number_arith(c->arena, NUMBER_SUB, pv_int(c->arena, 0), r, &fault);
}

static struct cf_view without_quotes(struct bcall *c, struct cf_view s)
{
	struct pv_sb b = pv_sb(c->arena);

	for (size_t i = 0; i < s.size; i++)
		if (s.data[i] != '"')
			pv_sb_byte(&b, (char)s.data[i]);
	return cf_view(b.data, b.size);
}

/* Case matters for a first m and M alone; bytes take it as mega, and may end in b. */
static int unit_scale(struct cf_view unit, bool is_bytes, bool *is_milli)
{
	char name[4] = { 0 };

	*is_milli = !is_bytes && cf_view_eq_str(unit, "m");
	if (unit.size > 3)
		return -1;
	for (size_t i = 0; i < unit.size; i++)
		name[i] = (char)(unit.data[i] >= 'A' && unit.data[i] <= 'Z' ? unit.data[i] + 32
		                                                            : unit.data[i]);
	if (is_bytes && unit.size > 1 && name[unit.size - 1] == 'b')
		name[unit.size - 1] = '\0';
	return scale_of(name);
}

const struct pv *units_parse(struct bcall *c, struct cf_view text, bool is_bytes)
{
	const char *what = is_bytes ? "byte amount" : "amount";
	struct cf_view s = without_quotes(c, text);
	bool is_milli;

	for (size_t i = 0; i < s.size; i++)
		if (s.data[i] == ' ')
			return builtin_bad(c, "spaces not allowed in resource strings");
	struct amount a = split(s);
	if (!a.number.size)
		return builtin_bad(c, "no %s provided", what);
	int scale = unit_scale(a.unit, is_bytes, &is_milli);
	if (scale < 0)
		return builtin_bad(c, "%s %.*s not recognized", is_bytes ? "byte unit" : "unit",
		                   (int)a.unit.size, (const char *)a.unit.data);
	const struct pv *v = number_of(c, a.number);
	if (!v)
		return builtin_bad(c, "could not parse %s to a number", what);
	const struct pv *r = scaled(c, v, scale, is_milli, is_bytes);
	return r ? r : builtin_abort(c, "number beyond %u bits", POLICY_BIGINT_BITS);
}
