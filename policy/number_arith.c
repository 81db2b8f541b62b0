/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arithmetic. Integers stay exact; anything with a fraction is computed in binary with a 64-bit
 * mantissa, round to nearest even, and printed as the shortest decimal that reads back the same.
 */
#include "policy/number.h"

#include <stdio.h>

#define FP_EXP_MAX 16000 /* |binary exponent| that the exact conversions have room for */

static uint64_t low_limbs(const struct big *b)
{
	return (b->n > 0 ? b->d[0] : 0) | (uint64_t)(b->n > 1 ? b->d[1] : 0) << 32;
}

/* (-1)^neg × b × 2^exp, b's magnitude consumed; @is_sticky: something below b is not zero. */
static struct fp round_big(struct big *b, int32_t exp, bool is_sticky)
{
	struct fp f = { .is_neg = b->is_neg };
	uint32_t bits = big_bits(b);

	if (!bits)
		return (struct fp){ 0 };
	if (bits <= 64) {
		f.mant = low_limbs(b) << (64 - bits);
		f.exp = exp - (int32_t)(64 - bits);
		return f;
	}
	bool lost = false;
	/* 66 bits: mantissa, half, sticky */
	if (bits > 66)
		big_shr_mag(b, bits - 66, &lost);
	else if (!big_shl(b, 66 - bits))
		return (struct fp){ 0 };
	exp += (int32_t)bits - 66;
	bool sticky = lost || is_sticky || (b->d[0] & 1);
	bool half = b->d[0] & 2;
	big_shr_mag(b, 2, NULL);
	f.mant = low_limbs(b);
	f.exp = exp + 2;
	if (half && (sticky || (f.mant & 1)) && ++f.mant == 0) {
		f.mant = 1ull << 63;
		f.exp++;
	}
	return f;
}

/* (-1)^neg × m × 2^exp for a 128-bit m. */
static struct fp round_128(bool is_neg, unsigned __int128 m, int32_t exp, bool is_sticky)
{
	struct big b;

	b.is_neg = is_neg;
	b.n = 4;
	for (uint32_t i = 0; i < 4; i++)
		b.d[i] = (uint32_t)(m >> (32 * i));
	while (b.n && !b.d[b.n - 1])
		b.n--;
	return round_big(&b, exp, is_sticky);
}

bool number_to_fp(const struct pv *v, struct fp *ret)
{
	struct big num, den, quot, rem;

	if (!v->is_text) {
		big_set_i64(&num, v->i);
		*ret = round_big(&num, 0, false);
		return true;
	}
	const struct pv_num *n = v->num;
	int64_t ten = (int64_t)n->exp - n->digit_count;
	if (ten > 4000 || ten < -4000 || n->digit_count > 4000)
		return false;
	if (!big_set_digits(&num, n->digits, n->digit_count))
		return false;
	num.is_neg = n->is_neg;
	if (ten >= 0) {
		if (!big_mul_pow10(&num, (uint32_t)ten))
			return false;
		*ret = round_big(&num, 0, false);
		return true;
	}
	big_set_u64(&den, 1);
	if (!big_mul_pow10(&den, (uint32_t)-ten))
		return false;
	int32_t shift = CF_MAX(0, 68 + (int32_t)big_bits(&den) - (int32_t)big_bits(&num));
	if (!big_shl(&num, (uint32_t)shift) || !big_divmod(&num, &den, &quot, &rem))
		return false;
	*ret = round_big(&quot, -shift, rem.n > 0);
	return true;
}

/* ---- the four operations on floats ---- */

static struct fp fp_mul(struct fp a, struct fp b)
{
	return round_128(a.is_neg != b.is_neg, (unsigned __int128)a.mant * b.mant, a.exp + b.exp,
	                 false);
}

static struct fp fp_div(struct fp a, struct fp b)
{
	unsigned __int128 top = (unsigned __int128)a.mant << 63;
	unsigned __int128 q = top / b.mant, rem = top % b.mant;

	/* q has at least 63 bits; four more make room for rounding */
	q = q << 4 | (rem << 4) / b.mant;
	return round_128(a.is_neg != b.is_neg, q, a.exp - b.exp - 67, (rem << 4) % b.mant != 0);
}

static struct fp fp_add(struct fp a, struct fp b)
{
	struct big x, y;

	if (!a.mant || !b.mant)
		return a.mant ? a : b;
	if (a.exp < b.exp) {
		struct fp t = a;

		a = b;
		b = t;
	}
	int32_t gap = CF_MIN(a.exp - b.exp, 200); /* further off it is only a sticky bit */
	int32_t exp = a.exp - gap;
	big_set_u64(&x, a.mant);
	x.is_neg = a.is_neg;
	big_set_u64(&y, a.exp - b.exp > 200 ? 1 : b.mant);
	y.is_neg = b.is_neg;
	if (!big_shl(&x, (uint32_t)gap) || !big_add(&x, &y, &x))
		return (struct fp){ 0 };
	return round_big(&x, exp, false);
}

/* ---- float to shortest decimal ---- */

/*
 * Digits of r/s in [1/10, 1) until the rest lies within the gap to the neighbours (m_lo, m_hi).
 * Steele and White's free-format algorithm on exact integers. Returns the number of digits.
 */
static int free_format(struct big *r, const struct big *s, struct big *m_lo, struct big *m_hi,
                       bool is_even, char *out, int out_max)
{
	struct big quot, rem, sum;
	int n = 0;

	while (n < out_max) {
		if (!big_mul_small(r, 10) || !big_mul_small(m_lo, 10) || !big_mul_small(m_hi, 10) ||
		    !big_divmod(r, s, &quot, &rem))
			return -1;
		uint32_t digit = quot.n ? quot.d[0] : 0;
		big_copy(r, &rem);
		if (!big_add(r, m_hi, &sum))
			return -1;
		int low = big_cmp_mag(r, m_lo), high = big_cmp_mag(&sum, s);
		bool down = low < 0 || (is_even && low == 0);
		bool up = high > 0 || (is_even && high == 0);
		if (down && up) {
			if (!big_shl(r, 1))
				return -1;
			up = big_cmp_mag(r, s) >= 0;
		}
		out[n++] = (char)('0' + digit + (up ? 1 : 0));
		if (down || up)
			break;
	}
	return n;
}

/* A digit of ten, left by rounding up, is carried to the left. Returns whether the exponent grows. */
static bool carry_digits(char *digits, int *n)
{
	int i = *n - 1;

	while (i > 0 && digits[i] > '9') {
		digits[i--] = '0';
		digits[i]++;
	}
	bool grew = digits[0] > '9';
	if (grew)
		digits[0] = '1';
	while (*n > 1 && digits[*n - 1] == '0')
		(*n)--;
	return grew;
}

/* value = 0.d1d2d3… × 10^*exp10. Returns the number of digits, or -1. */
static int shortest(struct fp f, char *digits, int max, int32_t *exp10)
{
	struct big r, s, lo, hi, sum;
	/* everything doubled, so that half a unit is an integer; four-fold at a power of two */
	uint32_t extra = f.mant == 1ull << 63 ? 2 : 1;

	big_set_u64(&r, f.mant);
	big_set_u64(&s, 1);
	big_set_u64(&lo, 1);
	big_set_u64(&hi, extra);
	uint32_t up = f.exp > 0 ? (uint32_t)f.exp : 0, down = f.exp < 0 ? (uint32_t)-f.exp : 0;
	if (!big_shl(&r, up + extra) || !big_shl(&lo, up) || !big_shl(&hi, up) ||
	    !big_shl(&s, down + extra))
		return -1;
	/* 2^x ≈ 10^(0.30103 x): an estimate that is at most one too small */
	int32_t k = (int32_t)(((int64_t)f.exp + 63) * 30103 / 100000) - 1;
	if (k >= 0) {
		if (!big_mul_pow10(&s, (uint32_t)k))
			return -1;
	} else if (!big_mul_pow10(&r, (uint32_t)-k) || !big_mul_pow10(&lo, (uint32_t)-k) ||
	           !big_mul_pow10(&hi, (uint32_t)-k)) {
		return -1;
	}
	for (;;) { /* until r + hi <= s */
		if (!big_add(&r, &hi, &sum))
			return -1;
		int c = big_cmp_mag(&sum, &s);
		if (c < 0 || (c == 0 && (f.mant & 1)))
			break;
		if (!big_mul_small(&s, 10))
			return -1;
		k++;
	}
	int n = free_format(&r, &s, &lo, &hi, !(f.mant & 1), digits, max);
	if (n > 0 && carry_digits(digits, &n))
		k++;
	*exp10 = k;
	return n;
}

static bool fp_is_int(struct fp f)
{
	return f.exp >= 0 || (f.exp > -64 && !(f.mant & ((1ull << -f.exp) - 1)));
}

static const struct pv *int_from_fp(struct cf_arena *a, struct fp f)
{
	struct big b;

	big_set_u64(&b, f.mant);
	b.is_neg = f.is_neg;
	if (f.exp < 0)
		big_shr_mag(&b, (uint32_t)-f.exp, NULL);
	else if (!big_shl(&b, (uint32_t)f.exp))
		return NULL;
	return number_from_big(a, &b);
}

const struct pv *number_from_fp(struct cf_arena *a, struct fp f)
{
	char digits[40], text[96];
	int32_t exp10 = 0;

	if (!f.mant)
		return pv_int(a, 0);
	if (f.exp > FP_EXP_MAX || f.exp < -FP_EXP_MAX)
		return NULL;
	if (fp_is_int(f))
		return int_from_fp(a, f);
	int n = shortest(f, digits, (int)sizeof(digits), &exp10);
	if (n <= 0)
		return NULL;
	/* Go's %g with the shortest precision: an exponent below -4 or from 6 on, else plain. */
	struct cf_buf b = { .max = sizeof(text) };
	int x = exp10 - 1;
	if (f.is_neg)
		cf_buf_add_byte(&b, '-');
	if (x < -4 || x >= 6) {
		cf_buf_printf(&b, "%c%s%.*se%c%02d", digits[0], n > 1 ? "." : "", n - 1, digits + 1,
		              x < 0 ? '-' : '+', x < 0 ? -x : x);
	} else if (exp10 <= 0) {
		cf_buf_printf(&b, "0.%.*s%.*s", -exp10, "00000000", n, digits);
	} else {
		cf_buf_printf(&b, "%.*s.%.*s", CF_MIN(n, exp10), digits, CF_MAX(0, n - exp10),
		              digits + CF_MIN(n, exp10));
	}
	const struct pv *v = b.bad ? NULL : number_parse(a, cf_buf_view(&b));
	cf_buf_fini(&b);
	return v;
}

/* ---- arithmetic on values ---- */

static const struct pv *small_arith(struct cf_arena *a, enum number_op op, int64_t x, int64_t y)
{
	int64_t r;

	switch (op) {
	case NUMBER_ADD:
		return __builtin_add_overflow(x, y, &r) ? NULL : pv_int(a, r);
	case NUMBER_SUB:
		return __builtin_sub_overflow(x, y, &r) ? NULL : pv_int(a, r);
	case NUMBER_MUL:
		return __builtin_mul_overflow(x, y, &r) ? NULL : pv_int(a, r);
	case NUMBER_DIV:
		return y == -1 || x % y ? NULL : pv_int(a, x / y);
	case NUMBER_REM:
		return pv_int(a, y == -1 ? 0 : x % y);
	}
	return NULL;
}

static const struct pv *big_arith(struct cf_arena *a, enum number_op op, const struct big *x,
                                  const struct big *y, bool *ret_inexact)
{
	struct big r, rem;
	bool ok = false;

	if (op == NUMBER_ADD)
		ok = big_add(x, y, &r);
	else if (op == NUMBER_SUB)
		ok = big_sub(x, y, &r);
	else if (op == NUMBER_MUL)
		ok = big_mul(x, y, &r);
	else
		ok = big_divmod(x, y, &r, &rem);
	if (!ok)
		return NULL;
	if (op == NUMBER_DIV && rem.n) {
		*ret_inexact = true;
		return NULL;
	}
	return number_from_big(a, op == NUMBER_REM ? &rem : &r);
}

static const struct pv *fp_arith(struct cf_arena *a, enum number_op op, const struct pv *x,
                                 const struct pv *y)
{
	struct fp f, g;

	if (!number_to_fp(x, &f) || !number_to_fp(y, &g))
		return NULL;
	if (op == NUMBER_SUB)
		g.is_neg = !g.is_neg;
	if (op == NUMBER_MUL)
		return number_from_fp(a, fp_mul(f, g));
	if (op == NUMBER_DIV)
		return number_from_fp(a, fp_div(f, g));
	return number_from_fp(a, fp_add(f, g));
}

static bool is_zero(const struct pv *v)
{
	return v->is_text ? !v->num->digit_count : v->i == 0;
}

const struct pv *number_arith(struct cf_arena *a, enum number_op op, const struct pv *x,
                              const struct pv *y, enum number_fault *fault)
{
	const struct pv *r = NULL;
	bool is_inexact = false;
	struct big bx, by;

	*fault = NUMBER_FINE;
	if (op == NUMBER_REM && (!number_is_int(x) || !number_is_int(y)))
		*fault = NUMBER_REM_FLOAT;
	else if (op >= NUMBER_DIV && is_zero(y))
		*fault = op == NUMBER_DIV ? NUMBER_DIV_ZERO : NUMBER_REM_ZERO;
	if (*fault)
		return NULL;
	if (!x->is_text && !y->is_text)
		r = small_arith(a, op, x->i, y->i);
	if (!r && number_is_int(x) && number_is_int(y)) {
		if (number_to_big(x, &bx) && number_to_big(y, &by))
			r = big_arith(a, op, &bx, &by, &is_inexact);
		if (!r && !is_inexact)
			*fault = NUMBER_TOO_BIG;
		if (!is_inexact)
			return r;
	}
	if (!r)
		r = fp_arith(a, op, x, y);
	if (!r)
		*fault = NUMBER_TOO_BIG;
	return r;
}
