/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Big integers of a fixed room, on the caller's stack. Every operation that could outgrow the room
 * says so by returning false. Magnitude and sign apart; zero is never negative.
 */
#include "base/arena.h"

#define BIG_LIMBS 1100u /* 35 200 bits: the exact work behind decimal ↔ binary floats */

struct big {
	bool is_neg;
	uint32_t n;            /* limbs in use; 0: zero */
	uint32_t d[BIG_LIMBS]; /* least significant first; only [0,n) is set */
};

void big_set_i64(struct big *b, int64_t v);
void big_set_u64(struct big *b, uint64_t v);
/* Decimal digits only. */
cf_must_use bool big_set_digits(struct big *b, const char *digits, size_t n);
bool big_to_i64(const struct big *b, int64_t *ret);
uint32_t big_bits(const struct big *b); /* of the magnitude */
void big_copy(struct big *dst, const struct big *src);

int big_cmp_mag(const struct big *a, const struct big *b);
cf_must_use bool big_add(const struct big *a, const struct big *b, struct big *ret);
cf_must_use bool big_sub(const struct big *a, const struct big *b, struct big *ret);
cf_must_use bool big_mul(const struct big *a, const struct big *b, struct big *ret);
cf_must_use bool big_mul_small(struct big *b, uint32_t m);
cf_must_use bool big_mul_pow10(struct big *b, uint32_t k);
cf_must_use bool big_shl(struct big *b, uint32_t bits);
void big_shr_mag(struct big *b, uint32_t bits, bool *ret_lost); /* towards zero; were ones lost? */
/* Truncating division; the remainder has the sign of @a. @b is not zero. */
cf_must_use bool big_divmod(const struct big *a, const struct big *b, struct big *quot,
                            struct big *rem);
/* Divides the magnitude in place, returns the remainder. */
uint32_t big_div_small(struct big *b, uint32_t m);

enum big_bitop { BIG_AND, BIG_OR, BIG_XOR };
/* Two's complement of unlimited width. */
cf_must_use bool big_bitop(enum big_bitop op, const struct big *a, const struct big *b,
                           struct big *ret);
