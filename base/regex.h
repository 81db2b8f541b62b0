/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Regular expressions in RE2's language, as Go's regexp takes them: leftmost-first, runes of UTF-8, no
 * look-around and no backreferences. A match costs at most text × program steps, whatever the pattern:
 * a machine runs all ways at once and never goes back. Pattern and text may both be hostile; who takes
 * them from strangers also bounds the steps (struct cf_regex_run) and adds up the programs.
 *
 *   . [a-z] [^a] \d \D \s \S \w \W [[:alpha:]] \pL \p{Greek} \P{Lu}   one rune
 *   xy x|y x* x+ x? x{n} x{n,} x{n,m}, each with ? behind it: lazy       of several
 *   (x) (?P<name>x) (?<name>x) (?:x) (?i-s) (?i-s:x), flags i m s U      groups
 *   ^ $ \A \z \b \B                                                      places
 *   \a \f \n \r \t \v \123 \x7F \x{10FFFF} \Q...\E                      literals
 *
 * Of scripts \p knows the commonest eight. Source: https://github.com/google/re2/wiki/Syntax.
 */
#include "base/arena.h"

#define CF_REGEX_PATTERN_MAX (64u << 10) /* bytes */
#define CF_REGEX_PROGRAM_MAX 32768u      /* instructions */
#define CF_REGEX_MEMORY_MAX                                                                        \
	(32u << 20)               /* bytes of a compiled pattern, and again while it compiles */
#define CF_REGEX_NEST_MAX   500u  /* groups in groups */
#define CF_REGEX_REPEAT_MAX 1000u /* of {n}, and the product of nested ones */
#define CF_REGEX_GROUPS_MAX 1000u
#define CF_REGEX_FOLDS_MAX  (1u << 18)  /* runes whose cases (?i) looks up */
#define CF_REGEX_RUN_MAX    (64u << 20) /* bytes of scratch memory of a match */

struct cf_regex; /* never changes once compiled: any thread may match with it */

/*
 * @pattern: UTF-8, borrowed for the call. The caller owns *@ret.
 * Return: 0; -CF_INVALID_ARGUMENT: not of the language; -CF_RESOURCE_EXHAUSTED: over a limit above.
 */
cf_must_use int cf_regex_new(struct cf_view pattern, struct cf_regex **ret, struct cf_err *err);
struct cf_regex *cf_regex_free(struct cf_regex *re);
CF_DEFINE_CLEANUP(struct cf_regex *, cf_regex_free);

/* Instructions: the steps that one rune of text costs at the most. */
uint32_t cf_regex_size(const struct cf_regex *re);
/* Bytes of memory that it holds. */
size_t cf_regex_bytes(const struct cf_regex *re);
/* Groups that are kept, without the whole match. */
uint32_t cf_regex_groups(const struct cf_regex *re);
/* The number of the group called @name, from 1 on; 0: none. */
uint32_t cf_regex_group(const struct cf_regex *re, struct cf_view name);

/*
 * What a match may use: steps, which it counts down, and scratch memory, which is kept for the next
 * one. Starts zeroed but for .steps_left. One thread's.
 */
struct cf_regex_run {
	uint64_t steps_left; /* instructions and runes looked at */
	bool is_over;        /* steps or memory were used up: the last answer says nothing */
	struct cf_arena arena;
};
void cf_regex_run_fini(struct cf_regex_run *run);

/* Bytes of the text, the end not included. A group that took no part starts at SIZE_MAX. */
struct cf_regex_span {
	size_t start, end;
};

/*
 * Looks for the leftmost match in @text from byte @from on (at most its size); bytes that are no UTF-8
 * count as U+FFFD each. @spans: cf_regex_groups() + 1 of them, set when there is a match, the whole
 * match first; NULL when only the answer counts, which is quicker.
 */
bool cf_regex_match(const struct cf_regex *re, struct cf_regex_run *run, struct cf_view text,
                    size_t from, struct cf_regex_span *spans);
