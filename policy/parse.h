/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Parser: tokens to a syntax tree. */
#include "policy/ast.h"

#define POLICY_NEST_MAX       512u   /* expressions in expressions */
#define POLICY_BACKTRACKS_MAX 20000u /* second readings of "{a | b" and the like in one module */

/* A refused text: where and why. Return of both: 0, -CF_INVALID_ARGUMENT, -CF_RESOURCE_EXHAUSTED. */
struct parse_fault {
	struct loc loc;
};

/* @m: .file, .index, .text and .syntax are set by the caller. */
cf_must_use int parse_module(struct cf_arena *a, struct module *m, struct parse_fault *fault,
                             struct cf_err *err);
/* A query: literals up to the end of the text. @m lends syntax and future keywords. */
cf_must_use int parse_query(struct cf_arena *a, const struct module *m, struct body **ret,
                            struct parse_fault *fault, struct cf_err *err);
