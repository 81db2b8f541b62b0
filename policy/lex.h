/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Lexer: Rego text to tokens. White space is dropped, but each token knows whether a space or a
 * newline stood in front of it, since both mean something to the grammar.
 */
#include "base/arena.h"

#define POLICY_TEXT_MAX   (16u << 20) /* bytes of one module */
#define POLICY_LINE_MAX   (1u << 20)  /* bytes of one line */
#define POLICY_LINES_MAX  200000u
#define POLICY_TOKENS_MAX (4u << 20) /* of one module */

enum tok {
	TOK_EOF,
	TOK_IDENT, /* keywords too: the parser knows which words are reserved when */
	TOK_NUMBER,
	TOK_STRING,   /* .text is the decoded string */
	TOK_TEMPLATE, /* .text is the raw text between the quotes; .is_raw says which quotes */
	TOK_ASSIGN,   /* := */
	TOK_UNIFY,    /* = */
	TOK_EQ,
	TOK_NEQ,
	TOK_LT,
	TOK_LE,
	TOK_GT,
	TOK_GE,
	TOK_PLUS,
	TOK_MINUS,
	TOK_MUL,
	TOK_DIV,
	TOK_REM,
	TOK_AND,
	TOK_OR,
	TOK_COMMA,
	TOK_COLON,
	TOK_SEMI,
	TOK_DOT,
	TOK_LPAREN,
	TOK_RPAREN,
	TOK_LBRACK,
	TOK_RBRACK,
	TOK_LBRACE,
	TOK_RBRACE,
};

struct loc {
	uint16_t file;
	uint32_t line, col; /* from 1; columns count bytes */
};

struct token {
	uint8_t kind;
	bool is_spaced;  /* white space or a comment in front */
	bool is_newline; /* a newline in front */
	bool is_raw;
	struct loc loc;
	uint32_t at, size;   /* bytes in the module text */
	struct cf_view text; /* identifiers, numbers, strings */
};

struct token_list {
	struct token *items; /* the last one is TOK_EOF */
	uint32_t count, cap;
};

/*
 * @start: place of the text's first byte (templates are lexed a second time, from their middle)
 * Return: 0; -CF_INVALID_ARGUMENT with *ret_loc and a bare message; -CF_RESOURCE_EXHAUSTED.
 */
cf_must_use int lex(struct cf_arena *a, struct cf_view text, struct loc start,
                    struct token_list *ret, struct loc *ret_loc, struct cf_err *err);
/* Bytes up to the brace that closes the expression at @text's start; SIZE_MAX: none does. */
size_t lex_template_expr(struct cf_view text);
