/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Builtins: the registry and what a builtin sees. A builtin returns a value, or NULL: undefined when
 * nothing else was said, else the error it reported. Operands are checked in order.
 */
#include "policy/number.h"
#include "policy/value.h"

struct policy_eval;

#define POLICY_RANGE_MAX 100000u /* elements of a range */

enum builtin_fault {
	BUILTIN_FINE,
	BUILTIN_TYPE,  /* eval_type_error: an operand of the wrong type */
	BUILTIN_ERROR, /* eval_builtin_error: everything else */
	BUILTIN_ABORT, /* a limit: ends the evaluation, strict or not */
};

struct bcall {
	struct cf_arena *arena;
	struct policy_eval *ev; /* time, regex cache */
	const char *name;
	uint8_t fault;
	char msg[400];
};

typedef const struct pv *(*builtin_fn)(struct bcall *c, const struct pv *const *args);

enum builtin_flags {
	BUILTIN_V0_ONLY = 1,  /* deprecated: not in v1 */
	BUILTIN_RELATION = 2, /* returns an array of solutions */
	BUILTIN_NEVER = 4,    /* known, and refused at compile time */
	BUILTIN_VOID = 8,     /* print */
};

struct builtin {
	const char *name;
	uint8_t arity;
	uint8_t flags;
	builtin_fn fn;
	/*
	 * Operand types a literal can be checked against at compile time, one letter each: n number, s string,
	 * b boolean, o object, a array, e set, c any collection, * anything.
	 */
	const char *types;
};

const struct builtin *builtin_find(struct cf_view name);

/* Each returns NULL, so that a builtin can return it. */
const struct pv *builtin_bad_type(struct bcall *c, unsigned operand, const char *want,
                                  const struct pv *got);
const struct pv *builtin_bad(struct bcall *c, const char *fmt, ...) cf_printf(2, 3);
const struct pv *builtin_abort(struct bcall *c, const char *fmt, ...) cf_printf(2, 3);
/* Charges @bytes of work to the budget. */
void builtin_charge(struct bcall *c, size_t bytes);

/* false: the error is set. Operands count from 1. */
bool builtin_is(struct bcall *c, const struct pv *const *args, unsigned operand, enum pv_type type);
bool builtin_is_string(struct bcall *c, const struct pv *const *args, unsigned operand,
                       struct cf_view *ret);
/* An integer number that fits; otherwise "must be integer number but got floating-point number". */
bool builtin_is_int(struct bcall *c, const struct pv *const *args, unsigned operand, int64_t *ret);
/* "must be one of {array, set} but got string" */
bool builtin_is_list(struct bcall *c, const struct pv *const *args, unsigned operand);

/* Base64 as Go reads it: CR and LF are skipped. *ret_bad: the byte that was refused. */
bool base64_bytes(struct cf_view s, bool is_url, bool may_lack_padding, struct cf_buf *ret,
                  size_t *ret_bad);

/* One table per file of builtins, ended by a NULL name. */
extern const struct builtin builtins_core[], builtins_number[], builtins_string[],
	builtins_collection[], builtins_object[], builtins_json[], builtins_encode[],
	builtins_jwt[], builtins_jwt_verify[], builtins_regex[], builtins_time[], builtins_misc[],
	builtins_net[], builtins_digest[];
