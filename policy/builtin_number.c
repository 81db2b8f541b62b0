/* SPDX-License-Identifier: Apache-2.0 */
/* Arithmetic, aggregates over numbers, ranges, bits. */
#include "policy/builtin.h"

#include <stdio.h>
#include <strings.h>

#define POLICY_SHIFT_MAX 1024 /* bits */

static const struct pv *arith(struct bcall *c, enum number_op op, const struct pv *x,
                              const struct pv *y)
{
	enum number_fault fault;
	const struct pv *r = number_arith(c->arena, op, x, y, &fault);

	switch (fault) {
	case NUMBER_FINE:
		return r;
	case NUMBER_DIV_ZERO:
		return builtin_bad(c, "divide by zero");
	case NUMBER_REM_ZERO:
		return builtin_bad(c, "modulo by zero");
	case NUMBER_REM_FLOAT:
		return builtin_bad(c, "modulo on floating-point number");
	case NUMBER_TOO_BIG:
		break;
	}
	return builtin_abort(c, "number beyond %u bits", POLICY_BIGINT_BITS);
}

static const struct pv *binary(struct bcall *c, enum number_op op, const struct pv *const *a)
{
	if (!builtin_is(c, a, 1, PV_NUM) || !builtin_is(c, a, 2, PV_NUM))
		return NULL;
	return arith(c, op, a[0], a[1]);
}

static const struct pv *bi_plus(struct bcall *c, const struct pv *const *a)
{
	return binary(c, NUMBER_ADD, a);
}

static const struct pv *set_minus(struct bcall *c, const struct pv *const *a)
{
	struct pv_vec v = pv_vec(c->arena);

	builtin_charge(c, 64 * (size_t)a[0]->len);
	for (uint32_t i = 0; i < a[0]->len; i++)
		if (!pv_set_has(a[1], a[0]->at[i]))
			pv_vec_add(&v, a[0]->at[i]);
	return pv_vec_set(&v);
}

static const struct pv *bi_minus(struct bcall *c, const struct pv *const *a)
{
	if (a[0]->type == PV_SET && a[1]->type == PV_SET)
		return set_minus(c, a);
	if (a[0]->type != PV_NUM && a[0]->type != PV_SET)
		return builtin_bad_type(c, 1, "one of {number, set}", a[0]);
	if (a[0]->type == PV_SET || a[1]->type != PV_NUM)
		return builtin_bad_type(c, 2, pv_type_name(a[0]), a[1]);
	return arith(c, NUMBER_SUB, a[0], a[1]);
}

static const struct pv *bi_mul(struct bcall *c, const struct pv *const *a)
{
	return binary(c, NUMBER_MUL, a);
}

static const struct pv *bi_div(struct bcall *c, const struct pv *const *a)
{
	return binary(c, NUMBER_DIV, a);
}

static const struct pv *bi_rem(struct bcall *c, const struct pv *const *a)
{
	return binary(c, NUMBER_REM, a);
}

static const struct pv *rounded(struct bcall *c, enum number_round how, const struct pv *const *a)
{
	if (!builtin_is(c, a, 1, PV_NUM))
		return NULL;
	const struct pv *r = number_round(c->arena, how, a[0]);
	return r ? r : builtin_abort(c, "number beyond %u bits", POLICY_BIGINT_BITS);
}

static const struct pv *bi_round(struct bcall *c, const struct pv *const *a)
{
	return rounded(c, NUMBER_ROUND, a);
}

static const struct pv *bi_ceil(struct bcall *c, const struct pv *const *a)
{
	return rounded(c, NUMBER_CEIL, a);
}

static const struct pv *bi_floor(struct bcall *c, const struct pv *const *a)
{
	return rounded(c, NUMBER_FLOOR, a);
}

static const struct pv *bi_abs(struct bcall *c, const struct pv *const *a)
{
	if (!builtin_is(c, a, 1, PV_NUM))
		return NULL;
	const struct pv *r = number_abs(c->arena, a[0]);
	return r ? r : builtin_abort(c, "number beyond %u bits", POLICY_BIGINT_BITS);
}

/* ---- aggregates ---- */

static const struct pv *bi_count(struct bcall *c, const struct pv *const *a)
{
	if (a[0]->type == PV_STR) {
		builtin_charge(c, a[0]->len);
		return pv_int(c->arena, (int64_t)pv_rune_count(pv_view(a[0])));
	}
	if (!pv_is_composite(a[0]))
		return builtin_bad_type(c, 1, "one of {array, object, set, string}", a[0]);
	return pv_int(c->arena, a[0]->len);
}

static const struct pv *fold(struct bcall *c, enum number_op op, int64_t start,
                             const struct pv *const *a)
{
	const struct pv *r = pv_int(c->arena, start);

	if (!builtin_is_list(c, a, 1))
		return NULL;
	builtin_charge(c, 64 * (size_t)a[0]->len);
	for (uint32_t i = 0; r && i < a[0]->len; i++) {
		if (a[0]->at[i]->type != PV_NUM) {
			c->fault = BUILTIN_TYPE;
			snprintf(c->msg, sizeof(c->msg),
			         "%s: operand 1 must be %s of numbers but got %s containing %s",
			         c->name, pv_type_name(a[0]), pv_type_name(a[0]),
			         pv_type_name(a[0]->at[i]));
			return NULL;
		}
		r = arith(c, op, r, a[0]->at[i]);
	}
	return r;
}

static const struct pv *bi_sum(struct bcall *c, const struct pv *const *a)
{
	return fold(c, NUMBER_ADD, 0, a);
}

static const struct pv *bi_product(struct bcall *c, const struct pv *const *a)
{
	return fold(c, NUMBER_MUL, 1, a);
}

static const struct pv *extreme(struct bcall *c, int sign, const struct pv *const *a)
{
	const struct pv *best = NULL;

	if (!builtin_is_list(c, a, 1))
		return NULL;
	builtin_charge(c, 16 * (size_t)a[0]->len);
	for (uint32_t i = 0; i < a[0]->len; i++)
		if (!best || pv_cmp(a[0]->at[i], best) * sign > 0)
			best = a[0]->at[i];
	return best;
}

static const struct pv *bi_max(struct bcall *c, const struct pv *const *a)
{
	return extreme(c, 1, a);
}

static const struct pv *bi_min(struct bcall *c, const struct pv *const *a)
{
	return extreme(c, -1, a);
}

/* ---- ranges ---- */

/* An integer operand of any size. */
static bool is_big(struct bcall *c, const struct pv *const *a, unsigned operand, struct big *ret)
{
	if (!builtin_is(c, a, operand, PV_NUM))
		return false;
	if (!number_is_int(a[operand - 1])) {
		c->fault = BUILTIN_TYPE;
		snprintf(c->msg, sizeof(c->msg),
		         "%s: operand %u must be integer number but got floating-point number",
		         c->name, operand);
		return false;
	}
	if (number_to_big(a[operand - 1], ret))
		return true;
	builtin_abort(c, "number beyond %u bits", POLICY_BIGINT_BITS);
	return false;
}

/* Both ends included, up or down; the limit is on the count, not on the numbers. */
static const struct pv *range(struct bcall *c, const struct pv *const *a, const struct pv *stride)
{
	struct pv_vec v = pv_vec(c->arena);
	struct big from, to, by, span, n, rest;
	int64_t count;

	if (!is_big(c, a, 1, &from) || !is_big(c, a, 2, &to) || !number_to_big(stride, &by) ||
	    !big_sub(&to, &from, &span))
		return NULL;
	if (!big_divmod(&span, &by, &n, &rest))
		return builtin_abort(c, "number beyond %u bits", POLICY_BIGINT_BITS);
	bool is_down = span.is_neg;
	n.is_neg = false;
	if (!big_to_i64(&n, &count) || count >= (int64_t)POLICY_RANGE_MAX)
		return builtin_abort(c, "more than %u elements", POLICY_RANGE_MAX);
	builtin_charge(c, 64 * ((size_t)count + 1));
	const struct pv *at = number_from_big(c->arena, &from);
	for (int64_t i = 0; at; i++) {
		pv_vec_add(&v, at);
		if (i == count)
			return pv_vec_array(&v);
		at = arith(c, is_down ? NUMBER_SUB : NUMBER_ADD, at, stride);
	}
	return NULL;
}

static const struct pv *bi_range(struct bcall *c, const struct pv *const *a)
{
	return range(c, a, pv_int(c->arena, 1));
}

static const struct pv *bi_range_step(struct bcall *c, const struct pv *const *a)
{
	struct big from, to, by;

	if (!is_big(c, a, 1, &from) || !is_big(c, a, 2, &to) || !is_big(c, a, 3, &by))
		return NULL;
	if (by.is_neg || !by.n)
		return builtin_bad(c, "step must be a positive integer");
	return range(c, a, a[2]);
}

/* ---- bits ---- */

static const struct pv *big_value(struct bcall *c, struct big *b)
{
	const struct pv *v = number_from_big(c->arena, b);

	return v ? v : builtin_abort(c, "number beyond %u bits", POLICY_BIGINT_BITS);
}

static const struct pv *bitop(struct bcall *c, enum big_bitop op, const struct pv *const *a)
{
	struct big x, y, r;

	if (!is_big(c, a, 1, &x) || !is_big(c, a, 2, &y))
		return NULL;
	if (!big_bitop(op, &x, &y, &r))
		return builtin_abort(c, "number beyond %u bits", POLICY_BIGINT_BITS);
	return big_value(c, &r);
}

static const struct pv *bi_bits_and(struct bcall *c, const struct pv *const *a)
{
	return bitop(c, BIG_AND, a);
}

static const struct pv *bi_bits_or(struct bcall *c, const struct pv *const *a)
{
	return bitop(c, BIG_OR, a);
}

static const struct pv *bi_bits_xor(struct bcall *c, const struct pv *const *a)
{
	return bitop(c, BIG_XOR, a);
}

/* -x - 1 */
static const struct pv *bi_bits_negate(struct bcall *c, const struct pv *const *a)
{
	struct big x, one;

	if (!is_big(c, a, 1, &x))
		return NULL;
	big_set_u64(&one, 1);
	if (!big_add(&x, &one, &x))
		return builtin_abort(c, "number beyond %u bits", POLICY_BIGINT_BITS);
	x.is_neg = x.n && !x.is_neg;
	return big_value(c, &x);
}

static bool shift_count(struct bcall *c, const struct pv *const *a, int64_t *n)
{
	struct big b;

	if (!is_big(c, a, 2, &b))
		return false;
	if (!big_to_i64(&b, n))
		*n = b.is_neg ? -1 : POLICY_SHIFT_MAX + 1;
	if (*n < 0) {
		c->fault = BUILTIN_TYPE;
		snprintf(c->msg, sizeof(c->msg),
		         "%s: operand 2 must be an unsigned integer number but got a negative "
		         "integer",
		         c->name);
		return false;
	}
	if (*n > POLICY_SHIFT_MAX) {
		builtin_abort(c, "shift of more than %d bits", POLICY_SHIFT_MAX);
		return false;
	}
	return true;
}

static const struct pv *bi_lsh(struct bcall *c, const struct pv *const *a)
{
	struct big x;
	int64_t n;

	if (!is_big(c, a, 1, &x) || !shift_count(c, a, &n))
		return NULL;
	if (!big_shl(&x, (uint32_t)n))
		return builtin_abort(c, "number beyond %u bits", POLICY_BIGINT_BITS);
	return big_value(c, &x);
}

/* Towards minus infinity, as two's complement shifts. */
static const struct pv *bi_rsh(struct bcall *c, const struct pv *const *a)
{
	static const struct pv far = { .type = PV_NUM, .weight = 1, .i = POLICY_SHIFT_MAX + 1 };
	struct big x, one;
	int64_t n;
	bool lost;

	if (!is_big(c, a, 1, &x))
		return NULL;
	if (a[1]->type == PV_NUM && number_is_int(a[1]) && number_cmp(a[1], &far) >= 0)
		n = far.i; /* nothing is left of any number */
	else if (!shift_count(c, a, &n))
		return NULL;
	bool is_neg = x.is_neg;
	big_shr_mag(&x, (uint32_t)n, &lost);
	x.is_neg = is_neg && x.n;
	big_set_i64(&one, is_neg && lost ? -1 : 0);
	if (!big_add(&x, &one, &x))
		return builtin_abort(c, "number beyond %u bits", POLICY_BIGINT_BITS);
	return big_value(c, &x);
}

/* ---- text ---- */

/* What Go reads as a float and Rego does not: inf, nan and hexadecimal. */
static bool is_odd_float(struct cf_view s)
{
	static const char *const words[] = { "inf", "infinity", "nan" };
	size_t from = s.size && (s.data[0] == '-' || s.data[0] == '+');

	for (size_t i = 0; i < CF_ARRAY_LEN(words); i++)
		if (s.size - from == strlen(words[i]) &&
		    strncasecmp((const char *)s.data + from, words[i], strlen(words[i])) == 0)
			return true;
	return s.size > from + 2 && s.data[from] == '0' && (s.data[from + 1] | 0x20) == 'x';
}

static const struct pv *bi_to_number(struct bcall *c, const struct pv *const *a)
{
	struct cf_view s;

	switch ((enum pv_type)a[0]->type) {
	case PV_NULL:
		return pv_int(c->arena, 0);
	case PV_BOOL:
		return pv_int(c->arena, a[0]->b);
	case PV_NUM:
		return a[0];
	case PV_STR:
		break;
	default:
		return builtin_bad_type(c, 1, "one of {null, boolean, number, string}", a[0]);
	}
	/* Go's ParseFloat allows a sign, ".5", "5." and leading zeros where JSON does not. */
	s = pv_view(a[0]);
	struct pv_sb b = pv_sb(c->arena);
	size_t i = 0;
	if (s.size && (s.data[0] == '-' || s.data[0] == '+')) {
		if (s.data[0] == '-')
			pv_sb_byte(&b, '-');
		i = 1;
	}
	while (i + 1 < s.size && s.data[i] == '0' && s.data[i + 1] >= '0' && s.data[i + 1] <= '9')
		i++;
	if (i < s.size && s.data[i] == '.' && i + 1 < s.size)
		pv_sb_byte(&b, '0');
	for (; i < s.size; i++) {
		bool ends = i + 1 == s.size || (s.data[i + 1] | 0x20) == 'e';

		pv_sb_byte(&b, (char)s.data[i]);
		if (s.data[i] == '.' && ends)
			pv_sb_byte(&b, '0');
	}
	const struct pv *v = number_parse(c->arena, cf_view(b.data, b.size));
	if (v)
		return v;
	if (is_odd_float(s))
		return builtin_bad_type(c, 1, "a number in decimal notation", a[0]);
	return builtin_bad(c, "invalid syntax");
}

static const struct pv *bi_format_int(struct bcall *c, const struct pv *const *a)
{
	struct pv_sb out = pv_sb(c->arena);
	struct big b;
	int64_t base;
	char digits[POLICY_BIGINT_BITS + 8];
	size_t at = sizeof(digits);

	if (!builtin_is(c, a, 1, PV_NUM) || !builtin_is_int(c, a, 2, &base))
		return NULL;
	if (base != 2 && base != 8 && base != 10 && base != 16) {
		c->fault = BUILTIN_TYPE;
		snprintf(c->msg, sizeof(c->msg), "%s: operand 2 must be one of {2, 8, 10, 16}",
		         c->name);
		return NULL;
	}
	bool is_neg = a[0]->is_text ? a[0]->num->is_neg : a[0]->i < 0;
	const struct pv *whole = number_round(c->arena, is_neg ? NUMBER_CEIL : NUMBER_FLOOR, a[0]);
	if (!whole || !number_to_big(whole, &b) || big_bits(&b) > POLICY_BIGINT_BITS)
		return builtin_abort(c, "number beyond %u bits", POLICY_BIGINT_BITS);
	do {
		digits[--at] = "0123456789abcdef"[big_div_small(&b, (uint32_t)base)];
	} while (b.n);
	if (is_neg && !(at == sizeof(digits) - 1 && digits[at] == '0'))
		pv_sb_byte(&out, '-');
	pv_sb_add(&out, cf_view(digits + at, sizeof(digits) - at));
	return pv_sb_done(&out);
}

const struct builtin builtins_number[] = {
	{ "plus", 2, 0, bi_plus, "nn" },
	{ "minus", 2, 0, bi_minus, NULL },
	{ "mul", 2, 0, bi_mul, "nn" },
	{ "div", 2, 0, bi_div, "nn" },
	{ "rem", 2, 0, bi_rem, "nn" },
	{ "round", 1, 0, bi_round, "n" },
	{ "ceil", 1, 0, bi_ceil, "n" },
	{ "floor", 1, 0, bi_floor, "n" },
	{ "abs", 1, 0, bi_abs, "n" },
	{ "count", 1, 0, bi_count, "c" },
	{ "sum", 1, 0, bi_sum, "l" },
	{ "product", 1, 0, bi_product, "l" },
	{ "max", 1, 0, bi_max, "l" },
	{ "min", 1, 0, bi_min, "l" },
	{ "numbers.range", 2, 0, bi_range, "nn" },
	{ "numbers.range_step", 3, 0, bi_range_step, "nnn" },
	{ "bits.and", 2, 0, bi_bits_and, "nn" },
	{ "bits.or", 2, 0, bi_bits_or, "nn" },
	{ "bits.xor", 2, 0, bi_bits_xor, "nn" },
	{ "bits.negate", 1, 0, bi_bits_negate, "n" },
	{ "bits.lsh", 2, 0, bi_lsh, "nn" },
	{ "bits.rsh", 2, 0, bi_rsh, "nn" },
	{ "to_number", 1, 0, bi_to_number, NULL },
	{ "cast_number", 1, BUILTIN_V0_ONLY, bi_to_number, NULL },
	{ "format_int", 2, 0, bi_format_int, "nn" },
	{ .name = NULL },
};
