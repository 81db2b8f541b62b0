/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The syntax tree: what the parser found, before any name is looked up. Lives in the compile arena. */
#include "policy/lex.h"
#include "policy/value.h"

struct node;

enum term_kind {
	TERM_CONST,    /* .value */
	TERM_VAR,      /* .name; "_" is a wildcard */
	TERM_REF,      /* .head, then .args: constants for .word, any term for [term] */
	TERM_CALL,     /* .name is the dotted function name, or .head its ref; .args */
	TERM_ARRAY,    /* .args */
	TERM_SET,      /* .args */
	TERM_OBJECT,   /* .args: key, value, key, value */
	TERM_ARRAY_OF, /* comprehensions: .head | .body */
	TERM_SET_OF,
	TERM_OBJECT_OF, /* .head : .value_term | .body */
	TERM_TEMPLATE,  /* .args: texts (.is_text) and expressions */
	TERM_LOWERED,   /* only inside the compiler: .lowered */
};

struct span {
	uint32_t at, size; /* bytes in the module text */
};

struct term {
	uint8_t kind;
	bool is_infix;   /* a call written with an operator and without parentheses around it */
	bool is_dotted;  /* a constant in a ref that was written .word */
	bool is_text;    /* a constant in a template that stands outside braces */
	uint16_t height; /* operators in operators, at most POLICY_NEST_MAX */
	uint32_t arg_count;
	struct loc loc;
	struct span span;
	struct cf_view name;
	const struct pv *value;
	struct term *head;
	struct term *value_term;
	struct term **args;
	struct body *body;
	struct node *lowered;
};

enum lit_kind {
	LIT_EXPR,    /* .a */
	LIT_UNIFY,   /* .a = .b */
	LIT_ASSIGN,  /* .a := .b */
	LIT_SOME,    /* .vars */
	LIT_SOME_IN, /* .key (may be NULL), .a in .b */
	LIT_EVERY,   /* .key (may be NULL), .a in .b { .body } */
	LIT_BODY,    /* only negated: not { .body } */
	LIT_OR,      /* .body or .body2: one of the two has a solution */
	LIT_AND,
};

struct with {
	struct term *target, *value;
};

struct lit {
	uint8_t kind;
	bool is_negated;
	struct loc loc;
	struct span span;
	struct term *key, *a, *b;
	struct term **vars;
	uint32_t var_count, with_count;
	struct with *withs;
	struct body *body, *body2;
};

struct body {
	struct lit **lits;
	uint32_t count, cap;
};

struct rule {
	struct loc loc;
	struct span span;
	struct module *module;
	struct term *ref; /* TERM_VAR or TERM_REF */
	struct term **args;
	uint32_t arg_count;
	bool is_function, is_default, is_set; /* is_set: .key is the element */
	bool is_test_body;                    /* written with a body */
	struct term *key, *value;             /* value NULL: true */
	struct body *body;                    /* NULL: always */
	struct rule *els;                     /* the next in the chain */
};

struct import {
	struct loc loc;
	struct term *path; /* ref */
	struct cf_view alias;
};

enum policy_syntax { SYNTAX_V1, SYNTAX_V0 };

struct module {
	const char *file;
	uint16_t index;
	struct cf_view text;
	enum policy_syntax syntax;
	bool is_strict; /* v1, or import rego.v1: the v1 checks hold */
	bool has_future_not;
	struct loc loc;
	const struct pv **path; /* package path without "data" */
	uint32_t path_count;
	struct import *imports;
	uint32_t import_count, import_cap;
	struct rule **rules;
	uint32_t rule_count, rule_cap;
};
