/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/big.h"

#include <assert.h>

static void trim(struct big *b)
{
	while (b->n && !b->d[b->n - 1])
		b->n--;
	if (!b->n)
		b->is_neg = false;
}

void big_set_u64(struct big *b, uint64_t v)
{
	b->is_neg = false;
	b->d[0] = (uint32_t)v;
	b->d[1] = (uint32_t)(v >> 32);
	b->n = 2;
	trim(b);
}

void big_set_i64(struct big *b, int64_t v)
{
	big_set_u64(b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
	b->is_neg = v < 0;
}

bool big_set_digits(struct big *b, const char *digits, size_t n)
{
	big_set_u64(b, 0);
	for (size_t i = 0; i < n;) {
		uint32_t chunk = 0, scale = 1;

		for (; i < n && scale < 100000000u; i++, scale *= 10)
			chunk = chunk * 10 + (uint32_t)(digits[i] - '0');
		if (!big_mul_small(b, scale))
			return false;
		struct big add;
		big_set_u64(&add, chunk);
		if (!big_add(b, &add, b))
			return false;
	}
	return true;
}

bool big_to_i64(const struct big *b, int64_t *ret)
{
	if (b->n > 2)
		return false;
	uint64_t v = (b->n > 0 ? b->d[0] : 0) | (uint64_t)(b->n > 1 ? b->d[1] : 0) << 32;
	if (v > (uint64_t)INT64_MAX + (b->is_neg ? 1 : 0))
		return false;
	*ret = (int64_t)(b->is_neg ? 0 - v : v);
	return true;
}

uint32_t big_bits(const struct big *b)
{
	return b->n ? b->n * 32 - (uint32_t)__builtin_clz(b->d[b->n - 1]) : 0;
}

void big_copy(struct big *dst, const struct big *src)
{
	dst->is_neg = src->is_neg;
	dst->n = src->n;
	memmove(dst->d, src->d, src->n * sizeof(src->d[0]));
}

int big_cmp_mag(const struct big *a, const struct big *b)
{
	if (a->n != b->n)
		return a->n < b->n ? -1 : 1;
	for (uint32_t i = a->n; i-- > 0;)
		if (a->d[i] != b->d[i])
			return a->d[i] < b->d[i] ? -1 : 1;
	return 0;
}

static bool add_mag(const struct big *a, const struct big *b, struct big *ret)
{
	uint32_t n = CF_MAX(a->n, b->n);
	uint64_t carry = 0;

	for (uint32_t i = 0; i < n; i++) {
		carry += (i < a->n ? a->d[i] : 0) + (uint64_t)(i < b->n ? b->d[i] : 0);
		ret->d[i] = (uint32_t)carry;
		carry >>= 32;
	}
	if (carry) {
		if (n == BIG_LIMBS)
			return false;
		ret->d[n++] = (uint32_t)carry;
	}
	ret->n = n;
	return true;
}

/* |a| ≥ |b| */
static void sub_mag(const struct big *a, const struct big *b, struct big *ret)
{
	uint32_t n = a->n;
	int64_t borrow = 0;

	for (uint32_t i = 0; i < n; i++) {
		borrow += (int64_t)a->d[i] - (i < b->n ? b->d[i] : 0);
		ret->d[i] = (uint32_t)borrow;
		borrow >>= 32;
	}
	ret->n = n;
}

static bool add_signed(const struct big *a, const struct big *b, bool b_neg, struct big *ret)
{
	bool a_neg = a->is_neg;

	if (a_neg == b_neg) {
		if (!add_mag(a, b, ret))
			return false;
		ret->is_neg = a_neg;
	} else if (big_cmp_mag(a, b) >= 0) {
		sub_mag(a, b, ret);
		ret->is_neg = a_neg;
	} else {
		sub_mag(b, a, ret);
		ret->is_neg = b_neg;
	}
	trim(ret);
	return true;
}

bool big_add(const struct big *a, const struct big *b, struct big *ret)
{
	return add_signed(a, b, b->is_neg, ret);
}

bool big_sub(const struct big *a, const struct big *b, struct big *ret)
{
	return add_signed(a, b, !b->is_neg, ret);
}

bool big_mul(const struct big *a, const struct big *b, struct big *ret)
{
	assert(ret != a && ret != b);
	if (a->n + b->n > BIG_LIMBS)
		return false;
	memset(ret->d, 0, (a->n + b->n) * sizeof(ret->d[0]));
	for (uint32_t i = 0; i < a->n; i++) {
		uint64_t carry = 0;

		for (uint32_t j = 0; j < b->n; j++) {
			carry += (uint64_t)a->d[i] * b->d[j] + ret->d[i + j];
			ret->d[i + j] = (uint32_t)carry;
			carry >>= 32;
		}
		ret->d[i + b->n] = (uint32_t)carry;
	}
	ret->n = a->n + b->n;
	ret->is_neg = a->is_neg != b->is_neg;
	trim(ret);
	return true;
}

bool big_mul_small(struct big *b, uint32_t m)
{
	uint64_t carry = 0;

	for (uint32_t i = 0; i < b->n; i++) {
		carry += (uint64_t)b->d[i] * m;
		b->d[i] = (uint32_t)carry;
		carry >>= 32;
	}
	if (carry) {
		if (b->n == BIG_LIMBS)
			return false;
		b->d[b->n++] = (uint32_t)carry;
	}
	trim(b);
	return true;
}

bool big_mul_pow10(struct big *b, uint32_t k)
{
	for (; k >= 9; k -= 9)
		if (!big_mul_small(b, 1000000000u))
			return false;
	for (; k; k--)
		if (!big_mul_small(b, 10))
			return false;
	return true;
}

bool big_shl(struct big *b, uint32_t bits)
{
	uint32_t limbs = bits / 32, rest = bits % 32;

	if (!b->n)
		return true;
	if (b->n + limbs + 1 > BIG_LIMBS)
		return false;
	b->d[b->n] = 0;
	for (uint32_t i = b->n + 1; i-- > 0;) {
		uint64_t v = (uint64_t)b->d[i] << 32 | (i ? b->d[i - 1] : 0);

		b->d[i + limbs] = (uint32_t)(v << rest >> 32);
	}
	memset(b->d, 0, limbs * sizeof(b->d[0]));
	b->n += limbs + 1;
	trim(b);
	return true;
}

void big_shr_mag(struct big *b, uint32_t bits, bool *ret_lost)
{
	uint32_t limbs = bits / 32, rest = bits % 32;
	uint32_t lost = 0;

	for (uint32_t i = 0; i < CF_MIN(limbs, b->n); i++)
		lost |= b->d[i];
	if (limbs >= b->n) {
		b->n = 0;
	} else {
		lost |= b->d[limbs] & ((1u << rest) - 1);
		for (uint32_t i = limbs; i < b->n; i++) {
			uint64_t v = (uint64_t)(i + 1 < b->n ? b->d[i + 1] : 0) << 32 | b->d[i];

			b->d[i - limbs] = (uint32_t)(v >> rest);
		}
		b->n -= limbs;
	}
	trim(b);
	if (ret_lost)
		*ret_lost = lost != 0;
}

uint32_t big_div_small(struct big *b, uint32_t m)
{
	uint64_t rem = 0;

	for (uint32_t i = b->n; i-- > 0;) {
		rem = rem << 32 | b->d[i];
		b->d[i] = (uint32_t)(rem / m);
		rem %= m;
	}
	trim(b);
	return (uint32_t)rem;
}

/* One quotient limb of Knuth's algorithm D: @rem[j..j+n] minus q × @div. */
static uint32_t div_step(uint32_t *rem, const struct big *div, uint32_t j)
{
	uint32_t n = div->n;
	uint64_t top = (uint64_t)rem[j + n] << 32 | rem[j + n - 1];
	uint64_t q = top / div->d[n - 1], r = top % div->d[n - 1];

	while (q >> 32 || q * div->d[n - 2] > (r << 32 | rem[j + n - 2])) {
		q--;
		r += div->d[n - 1];
		if (r >> 32)
			break;
	}
	int64_t borrow = 0;
	uint64_t carry = 0;
	for (uint32_t i = 0; i < n; i++) {
		carry += q * div->d[i];
		borrow += (int64_t)rem[i + j] - (uint32_t)carry;
		rem[i + j] = (uint32_t)borrow;
		borrow >>= 32;
		carry >>= 32;
	}
	borrow += (int64_t)rem[j + n] - (int64_t)carry;
	rem[j + n] = (uint32_t)borrow;
	if (borrow >= 0)
		return (uint32_t)q;
	carry = 0;
	for (uint32_t i = 0; i < n; i++) {
		carry += (uint64_t)rem[i + j] + div->d[i];
		rem[i + j] = (uint32_t)carry;
		carry >>= 32;
	}
	rem[j + n] += (uint32_t)carry;
	return (uint32_t)q - 1;
}

static bool div_long(const struct big *a, const struct big *b, struct big *quot, struct big *rem)
{
	struct big div;
	uint32_t shift = (uint32_t)__builtin_clz(b->d[b->n - 1]);

	big_copy(&div, b);
	big_copy(rem, a);
	if (!big_shl(&div, shift) || !big_shl(rem, shift) || rem->n + 1 >= BIG_LIMBS)
		return false;
	while (rem->n <= a->n)
		rem->d[rem->n++] = 0;
	quot->n = a->n - b->n + 1;
	for (uint32_t j = quot->n; j-- > 0;)
		quot->d[j] = div_step(rem->d, &div, j);
	trim(quot);
	trim(rem);
	big_shr_mag(rem, shift, NULL);
	return true;
}

bool big_divmod(const struct big *a, const struct big *b, struct big *quot, struct big *rem)
{
	bool q_neg = a->is_neg != b->is_neg, r_neg = a->is_neg;

	assert(b->n && quot != a && quot != b && rem != a && rem != b);
	if (big_cmp_mag(a, b) < 0) {
		big_copy(rem, a);
		big_set_u64(quot, 0);
		return true;
	}
	if (b->n == 1) {
		big_copy(quot, a);
		big_set_u64(rem, big_div_small(quot, b->d[0]));
	} else if (!div_long(a, b, quot, rem)) {
		return false;
	}
	quot->is_neg = q_neg && quot->n;
	rem->is_neg = r_neg && rem->n;
	return true;
}

/* Limb @i of the two's complement of @b; *carry starts at 1. */
static uint32_t twos(const struct big *b, uint32_t i, uint64_t *carry)
{
	uint32_t limb = i < b->n ? b->d[i] : 0;

	if (!b->is_neg)
		return limb;
	*carry += (uint32_t)~limb;
	limb = (uint32_t)*carry;
	*carry >>= 32;
	return limb;
}

bool big_bitop(enum big_bitop op, const struct big *a, const struct big *b, struct big *ret)
{
	uint32_t n = CF_MAX(a->n, b->n) + 1;
	uint64_t ca = 1, cb = 1, cr = 1;

	if (n > BIG_LIMBS)
		return false;
	assert(ret != a && ret != b);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t x = twos(a, i, &ca), y = twos(b, i, &cb);

		ret->d[i] = op == BIG_AND ? x & y : op == BIG_OR ? x | y : x ^ y;
	}
	ret->n = n;
	ret->is_neg = ret->d[n - 1] >> 31;
	for (uint32_t i = 0; ret->is_neg && i < n; i++) {
		cr += (uint32_t)~ret->d[i];
		ret->d[i] = (uint32_t)cr;
		cr >>= 32;
	}
	trim(ret);
	return true;
}
