/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/number.h"

#include <stdio.h>

/* ---- text in ---- */

struct number_text {
	bool is_neg;
	size_t int_at, int_count, frac_at, frac_count;
	int64_t exp;
};

static size_t digits_at(struct cf_view t, size_t pos)
{
	size_t n = 0;

	while (pos + n < t.size && t.data[pos + n] >= '0' && t.data[pos + n] <= '9')
		n++;
	return n;
}

static bool scan_exp(struct cf_view t, size_t *pos, int64_t *exp)
{
	bool is_neg = false;

	(*pos)++;
	if (*pos < t.size && (t.data[*pos] == '+' || t.data[*pos] == '-'))
		is_neg = t.data[(*pos)++] == '-';
	size_t n = digits_at(t, *pos);
	if (!n)
		return false;
	for (size_t i = 0; i < n; i++) {
		*exp = *exp * 10 + (t.data[*pos + i] - '0');
		if (*exp > POLICY_NUMBER_EXP)
			return false;
	}
	*pos += n;
	if (is_neg)
		*exp = -*exp;
	return true;
}

static bool scan(struct cf_view t, struct number_text *nt)
{
	size_t pos = 0;

	if (t.size > POLICY_NUMBER_BYTES)
		return false;
	if (pos < t.size && t.data[pos] == '-') {
		nt->is_neg = true;
		pos++;
	}
	nt->int_at = pos;
	nt->int_count = digits_at(t, pos);
	if (!nt->int_count || (nt->int_count > 1 && t.data[pos] == '0'))
		return false;
	pos += nt->int_count;
	if (pos < t.size && t.data[pos] == '.') {
		nt->frac_at = ++pos;
		nt->frac_count = digits_at(t, pos);
		if (!nt->frac_count)
			return false;
		pos += nt->frac_count;
	}
	if (pos < t.size && (t.data[pos] | 0x20) == 'e' && !scan_exp(t, &pos, &nt->exp))
		return false;
	return pos == t.size;
}

/* Up to 18 digits, no fraction, no exponent: the common case. */
static bool as_small(struct cf_view t, const struct number_text *nt, int64_t *ret)
{
	int64_t v = 0;

	if (nt->frac_at || nt->int_count > 18 || nt->int_at + nt->int_count != t.size)
		return false;
	for (size_t i = 0; i < nt->int_count; i++)
		v = v * 10 + (t.data[nt->int_at + i] - '0');
	if (nt->is_neg && !v)
		return false;
	*ret = nt->is_neg ? -v : v;
	return true;
}

static void strip_digits(struct pv_num *n, char *digits, size_t count)
{
	while (count && *digits == '0') {
		digits++;
		count--;
		n->exp--;
	}
	while (count && digits[count - 1] == '0')
		count--;
	n->digits = digits;
	n->digit_count = (uint32_t)count;
	if (!count) {
		n->exp = 0;
		n->is_neg = false;
	}
}

const struct pv *number_parse(struct cf_arena *a, struct cf_view t)
{
	struct number_text nt = { 0 };
	int64_t small;

	if (!scan(t, &nt))
		return NULL;
	if (as_small(t, &nt, &small))
		return pv_int(a, small);
	char *digits = cf_arena_alloc(a, nt.int_count + nt.frac_count + 1);
	memcpy(digits, t.data + nt.int_at, nt.int_count);
	if (nt.frac_count)
		memcpy(digits + nt.int_count, t.data + nt.frac_at, nt.frac_count);
	struct pv_num *n = CF_ARENA_NEW(a, struct pv_num);
	n->is_neg = nt.is_neg;
	n->exp = (int32_t)((int64_t)nt.int_count + nt.exp);
	strip_digits(n, digits, nt.int_count + nt.frac_count);
	n->text_len = (uint32_t)t.size;
	n->text = cf_arena_copy(a, t);
	if (!n->text)
		return NULL;
	/* An integer of 19 digits whose text is plain may still be an int64. */
	struct pv v = { .type = PV_NUM, .is_text = true, .num = n };
	if (!nt.frac_at && nt.int_at + nt.int_count == t.size && number_to_i64(&v, &small) && small)
		return pv_int(a, small);
	struct pv *ret = CF_ARENA_NEW(a, struct pv);
	*ret = (struct pv){ .type = PV_NUM, .is_text = true, .weight = 1, .num = n };
	return ret;
}

const struct pv *number_copy(struct cf_arena *a, const struct pv *v)
{
	return v->is_text ? number_parse(a, cf_view(v->num->text, v->num->text_len))
	                  : pv_int(a, v->i);
}

void number_write(struct pv_sb *b, const struct pv *v)
{
	char text[24];

	if (v->is_text) {
		pv_sb_add(b, cf_view(v->num->text, v->num->text_len));
		return;
	}
	int n = snprintf(text, sizeof(text), "%lld", (long long)v->i);
	pv_sb_add(b, cf_view(text, (size_t)n));
}

/* ---- order ---- */

/* @v in digits; small integers use @room. */
static struct pv_num decimal(const struct pv *v, char room[24])
{
	if (v->is_text)
		return *v->num;
	int n = snprintf(room, 24, "%llu",
	                 (unsigned long long)(v->i < 0 ? 0 - (uint64_t)v->i : (uint64_t)v->i));
	struct pv_num d = { .is_neg = v->i < 0, .exp = n };
	strip_digits(&d, room, (size_t)n);
	return d;
}

static int cmp_magnitude(const struct pv_num *a, const struct pv_num *b)
{
	if (!a->digit_count || !b->digit_count)
		return (int)(a->digit_count > 0) - (int)(b->digit_count > 0);
	if (a->exp != b->exp)
		return a->exp < b->exp ? -1 : 1;
	uint32_t n = CF_MIN(a->digit_count, b->digit_count);
	int c = memcmp(a->digits, b->digits, n);
	if (c)
		return c;
	return a->digit_count < b->digit_count ? -1 : a->digit_count > b->digit_count;
}

int number_cmp(const struct pv *a, const struct pv *b)
{
	char ra[24], rb[24];

	if (!a->is_text && !b->is_text)
		return a->i < b->i ? -1 : a->i > b->i;
	struct pv_num x = decimal(a, ra), y = decimal(b, rb);
	if (x.is_neg != y.is_neg)
		return x.is_neg ? -1 : 1;
	return x.is_neg ? -cmp_magnitude(&x, &y) : cmp_magnitude(&x, &y);
}

/* ---- integers ---- */

bool number_is_int(const struct pv *v)
{
	return !v->is_text || !v->num->digit_count ||
	       (v->num->exp > 0 && v->num->digit_count <= (uint32_t)v->num->exp);
}

bool number_to_big(const struct pv *v, struct big *ret)
{
	if (!v->is_text) {
		big_set_i64(ret, v->i);
		return true;
	}
	const struct pv_num *n = v->num;
	if (!number_is_int(v) || n->exp > 9 * (int32_t)BIG_LIMBS)
		return false;
	if (!big_set_digits(ret, n->digits, n->digit_count) ||
	    (n->digit_count && !big_mul_pow10(ret, (uint32_t)n->exp - n->digit_count)))
		return false;
	ret->is_neg = n->is_neg && ret->n;
	return true;
}

bool number_to_i64(const struct pv *v, int64_t *ret)
{
	struct big b;

	if (!v->is_text) {
		*ret = v->i;
		return true;
	}
	return v->num->exp <= 19 && number_to_big(v, &b) && big_to_i64(&b, ret);
}

const struct pv *number_from_big(struct cf_arena *a, struct big *b)
{
	char text[POLICY_BIGINT_BITS / 3 + 16];
	size_t at = sizeof(text);
	int64_t small;
	bool is_neg = b->is_neg;

	if (big_to_i64(b, &small))
		return pv_int(a, small);
	if (big_bits(b) > POLICY_BIGINT_BITS)
		return NULL;
	while (b->n) {
		uint32_t nine = big_div_small(b, 1000000000u);

		for (int i = 0; i < 9 && (b->n || nine); i++, nine /= 10)
			text[--at] = (char)('0' + nine % 10);
	}
	if (is_neg)
		text[--at] = '-';
	return number_parse(a, cf_view(text + at, sizeof(text) - at));
}

double number_to_double(const struct pv *v)
{
	return v->is_text ? strtod(v->num->text, NULL) : (double)v->i;
}

const struct pv *number_abs(struct cf_arena *a, const struct pv *x)
{
	struct fp f;

	if (!x->is_text && x->i != INT64_MIN)
		return x->i >= 0 ? x : pv_int(a, -x->i);
	if (number_is_int(x)) {
		struct big b;

		if (!number_to_big(x, &b))
			return NULL;
		b.is_neg = false;
		return number_from_big(a, &b);
	}
	if (!number_to_fp(x, &f))
		return NULL;
	f.is_neg = false;
	return number_from_fp(a, f);
}

/* The digits before the point, plus one when @how asks for it. */
const struct pv *number_round(struct cf_arena *a, enum number_round how, const struct pv *x)
{
	struct big b, one;

	if (number_is_int(x)) {
		if (!x->is_text)
			return x;
		return number_to_big(x, &b) ? number_from_big(a, &b) : NULL;
	}
	const struct pv_num *n = x->num;
	uint32_t whole = n->exp > 0 ? (uint32_t)n->exp : 0;
	bool away = how == NUMBER_ROUND  ? n->exp >= 0 && n->digits[whole] >= '5'
	            : how == NUMBER_CEIL ? !n->is_neg
	                                 : n->is_neg;
	if (!big_set_digits(&b, n->digits, whole))
		return NULL;
	big_set_u64(&one, away ? 1 : 0);
	if (!big_add(&b, &one, &b))
		return NULL;
	b.is_neg = n->is_neg && b.n;
	return number_from_big(a, &b);
}
