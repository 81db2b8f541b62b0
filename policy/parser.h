/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the two halves of the parser share: parse.c reads modules and rules, parse_term.c the rest. */
#include "policy/parse.h"

enum { WORD_IF = 1, WORD_CONTAINS = 2, WORD_IN = 4, WORD_EVERY = 8 }; /* opt-in keywords */
#define WORD_ALL (WORD_IF | WORD_CONTAINS | WORD_IN | WORD_EVERY)

struct parser {
	struct cf_arena *arena;
	struct module *module;
	struct token *toks;
	uint32_t at;
	unsigned words; /* active WORD_* */
	bool has_not, has_and, has_or;
	unsigned depth, backtracks;
	unsigned joins; /* of and, or, in the literal at hand */
	int failed;     /* negative once something was wrong: the first error stays */
	struct parse_fault *fault;
	struct cf_err *err;
};

static inline const struct token *parser_tok(const struct parser *p)
{
	return &p->toks[p->at];
}
static inline bool parser_is(const struct parser *p, enum tok kind)
{
	return p->toks[p->at].kind == kind;
}
bool parser_take(struct parser *p, enum tok kind);
bool parser_expect(struct parser *p, enum tok kind, const char *what);
/* The word stands here as a keyword: active, and not the head of a ref such as if.foo. */
bool parser_is_word(const struct parser *p, const char *word);
bool parser_take_word(struct parser *p, const char *word);
bool parser_is_reserved(const struct parser *p, struct cf_view word);
void *parser_bad(struct parser *p, const char *fmt, ...) cf_printf(2, 3); /* NULL */
void *parser_bad_at(struct parser *p, struct loc loc, const char *text);

struct term *parser_term_new(struct parser *p, enum term_kind kind);
void parser_span_end(const struct parser *p, struct span *span);
void parser_arg_add(struct parser *p, struct term *t, struct term *arg, uint32_t *cap);

struct term *parse_term(struct parser *p);                        /* no operators */
struct term *parse_expr(struct parser *p);                        /* with operators and x, y in z */
struct term *parse_expr_in_list(struct parser *p);                /* no two-operand "in" */
struct term *parse_ref_tail(struct parser *p, struct term *head); /* .word and [expr] */
struct lit *parse_literal(struct parser *p);
struct body *parse_body(struct parser *p, enum tok end); /* takes @end */
struct term *parse_template(struct parser *p);
