/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The tree between the regex parser and its compiler. */
#include "policy/regex.h"

enum re_kind {
	RE_EMPTY,
	RE_CHAR,   /* .rune */
	RE_CLASS,  /* .class */
	RE_ASSERT, /* .rune: enum regex_assert */
	RE_CAT,    /* .kids */
	RE_ALT,
	RE_REPEAT, /* .kids[0], .min to .max (-1: no end) */
	RE_GROUP,  /* .kids[0]; .group 0: not captured */
};

struct re_node {
	uint8_t kind;
	bool is_lazy;
	uint32_t rune, klass, group;
	int min, max;
	struct re_node **kids;
	uint32_t count, cap;
};

cf_must_use int regex_parse(struct regex *re, struct cf_view pattern, struct arena *tree,
                            struct re_node **ret, struct cf_err *err);
cf_must_use int regex_compile(struct regex *re, const struct re_node *tree, struct cf_err *err);

/* ---- class.c: sets of runes while they are built ---- */

struct re_set {
	struct arena *arena;
	uint32_t (*ranges)[2];
	uint32_t count, cap;
};

void re_set_add(struct re_set *s, uint32_t lo, uint32_t hi);
void re_set_fold(struct re_set *s); /* adds the other cases of what is in it */
void re_set_negate(struct re_set *s);
bool re_set_named(struct re_set *s, struct cf_view name, bool negated); /* \p{name} */
bool re_set_posix(struct re_set *s, struct cf_view name, bool negated); /* [:name:] */
bool re_set_perl(struct re_set *s, uint8_t letter);                     /* \d \S … */
/* Sorts, joins, and keeps it in @re; its number. */
uint32_t re_set_done(struct re_set *s, struct regex *re);
