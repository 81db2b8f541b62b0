/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Behind regex.h: the program that a pattern becomes, and the tree between its parser and its
 * compiler. For regex_*.c alone.
 */
#include "base/regex.h"

enum regex_op {
	REGEX_CHAR,   /* one rune, .x */
	REGEX_CLASS,  /* one rune of class .x */
	REGEX_SPLIT,  /* .x first, then .y */
	REGEX_JUMP,   /* .x */
	REGEX_SAVE,   /* position into .x */
	REGEX_ASSERT, /* .x of enum regex_assert */
	REGEX_MATCH,
};

enum regex_assert {
	REGEX_LINE_START,
	REGEX_LINE_END,
	REGEX_TEXT_START,
	REGEX_TEXT_END,
	REGEX_WORD,
	REGEX_NO_WORD,
};

struct regex_inst {
	uint8_t op;
	uint32_t x, y;
};

struct regex_class {
	uint32_t (*ranges)[2]; /* sorted, inclusive, apart from each other */
	uint32_t count;
	uint8_t ascii[16]; /* bitmap of the first 128 */
};

struct cf_regex {
	struct cf_arena arena;
	struct regex_inst *prog;
	uint32_t count, cap;
	struct regex_class *classes;
	uint32_t class_count, class_cap;
	uint32_t group_count;  /* without the whole match */
	char **names;          /* of group i + 1; NULL: none */
	struct cf_view prefix; /* literal bytes every match starts with; empty: unknown */
	bool is_anchored;      /* only at the start of the text */
};

/* ---- the tree ---- */

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
	uint32_t copies; /* of the innermost thing that nested {n} ask for */
	struct re_node **kids;
	uint32_t count, cap;
};

cf_must_use int re_parse(struct cf_regex *re, struct cf_view pattern, struct cf_arena *tree,
                         struct re_node **ret, struct cf_err *err);
cf_must_use int re_compile(struct cf_regex *re, const struct re_node *tree, struct cf_err *err);

/* ---- regex_class.c: sets of runes while they are built ---- */

struct re_set {
	struct cf_arena *arena;
	struct cf_arena_mark before; /* what comes behind belongs to the set */
	uint32_t (*ranges)[2];
	uint32_t count, cap;
};

struct re_set re_set_new(struct cf_arena *arena);
void re_set_add(struct re_set *s, uint32_t lo, uint32_t hi);
uint32_t re_set_fold(struct re_set *s); /* adds the other cases of what is in it; the work it was */
void re_set_negate(struct re_set *s);
bool re_set_named(struct re_set *s, struct cf_view name, bool negated); /* \p{name} */
bool re_set_posix(struct re_set *s, struct cf_view name, bool negated); /* [:name:] */
bool re_set_perl(struct re_set *s, uint8_t letter);                     /* \d \S … */
/* Sorts, joins, and keeps it in @re; its number. Its memory in .arena is given back. */
uint32_t re_set_done(struct re_set *s, struct cf_regex *re);
