/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Regular expressions of RE2's language, matched in time linear in the text: a parser to a tree, a
 * compiler to a small program, and a machine that runs all ways at once. No backtracking, hence no
 * look-around and no backreferences. Pattern and text may both be hostile.
 *
 * Source: https://github.com/google/re2/wiki/Syntax; leftmost-first, as Go's regexp.
 */
#include "policy/arena.h"

#define REGEX_PATTERN_MAX (64u << 10) /* bytes */
#define REGEX_PROGRAM_MAX 32768u      /* instructions */
#define REGEX_NEST_MAX    500u
#define REGEX_REPEAT_MAX  1000
#define REGEX_GROUPS_MAX  1000u

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

struct regex {
	struct arena arena;
	struct regex_inst *prog;
	uint32_t count, cap;
	struct regex_class *classes;
	uint32_t class_count, class_cap;
	uint32_t group_count;  /* without the whole match */
	char **names;          /* of group i + 1; NULL: none */
	struct cf_view prefix; /* literal bytes every match starts with; empty: unknown */
	bool is_anchored;      /* only at the start of the text */
};

/* Return: 0; -CF_INVALID_ARGUMENT: not of the language; -CF_RESOURCE_EXHAUSTED: over a limit. */
cf_must_use int regex_new(struct cf_view pattern, struct regex **ret, struct cf_err *err);
struct regex *regex_free(struct regex *re);

/* A group that took no part has start SIZE_MAX. */
struct regex_span {
	size_t start, end;
};

/* Scratch memory of a match, to be reused; starts zeroed. */
struct regex_run {
	struct arena arena;
	uint64_t budget; /* machine steps left; the caller sets it */
	bool is_over;    /* the budget was used up: the answer says nothing */
};

/*
 * The leftmost match from @from on. @spans: group_count + 1 of them, or NULL when only the answer
 * counts.
 */
bool regex_match(const struct regex *re, struct regex_run *run, struct cf_view text, size_t from,
                 struct regex_span *spans);
void regex_run_fini(struct regex_run *run);
