/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Numbers: exact integers up to POLICY_BIGINT_BITS, decimals that keep the text they were written
 * with, and binary floats with a 64-bit mantissa for arithmetic on fractions (what OPA computes
 * with). Equal by value: 1, 1.0 and 10e-1 are one number.
 */
#include "policy/big.h"
#include "policy/value.h"

#define POLICY_BIGINT_BITS  1024u   /* of an integer that arithmetic makes */
#define POLICY_NUMBER_EXP   100000  /* decimal exponent in text */
#define POLICY_NUMBER_BYTES 100000u /* text of one number */

/* A float: (-1)^neg × mant × 2^exp; mant has its top bit set, or is zero. */
struct fp {
	bool is_neg;
	uint64_t mant;
	int32_t exp;
};

/*
 * JSON number syntax, whole text. NULL when it is malformed or beyond the limits (no arena error).
 */
const struct pv *number_parse(struct cf_arena *a, struct cf_view text);
const struct pv *number_copy(struct cf_arena *a, const struct pv *v);
int number_cmp(const struct pv *a, const struct pv *b);
bool number_is_int(const struct pv *v); /* by value: 1.0 is one */
bool number_to_i64(const struct pv *v, int64_t *ret);
double number_to_double(const struct pv *v);
void number_write(struct pv_sb *b, const struct pv *v);

/* false: the number is no integer or too big for a big. */
bool number_to_big(const struct pv *v, struct big *ret);
/* NULL: over POLICY_BIGINT_BITS. */
const struct pv *number_from_big(struct cf_arena *a, struct big *b);

bool number_to_fp(const struct pv *v, struct fp *ret);            /* false: exponent out of reach */
const struct pv *number_from_fp(struct cf_arena *a, struct fp f); /* NULL: out of reach */

enum number_op { NUMBER_ADD, NUMBER_SUB, NUMBER_MUL, NUMBER_DIV, NUMBER_REM };
enum number_fault {
	NUMBER_FINE,
	NUMBER_DIV_ZERO,
	NUMBER_REM_ZERO,
	NUMBER_REM_FLOAT,
	NUMBER_TOO_BIG, /* a limit: aborts the evaluation */
};
const struct pv *number_arith(struct cf_arena *a, enum number_op op, const struct pv *x,
                              const struct pv *y, enum number_fault *fault);
enum number_round { NUMBER_ROUND, NUMBER_CEIL, NUMBER_FLOOR };
const struct pv *number_round(struct cf_arena *a, enum number_round how, const struct pv *x);
const struct pv *number_abs(struct cf_arena *a, const struct pv *x);
