/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The compiled form: what the evaluator walks. Made once, never changed afterwards, shared by threads.
 *
 * A body is a block: an array of ops that run one after another; an op that has several solutions
 * runs the rest of the block once for each. Variables are slots of the rule's frame. Since the order
 * is fixed, every occurrence of a variable knows whether it binds the slot or reads it.
 */
#include "policy/ast.h"
#include "policy/policy.h"

struct builtin;
struct group;

/* ---- nodes: terms without references and calls; a value to make or a pattern to match ---- */

enum node_kind { NODE_CONST, NODE_SLOT, NODE_ARRAY, NODE_OBJECT, NODE_SET };

struct node {
	uint8_t kind;
	bool is_binding; /* this occurrence, or one inside, gives a slot its value */
	uint32_t slot;
	uint32_t count; /* kids; objects: pairs × 2 */
	const struct pv *value;
	struct node **kids;
};

/* ---- the rule tree ---- */

struct tree {
	const struct pv *key; /* NULL at the root, "data" */
	struct tree *parent;
	struct tree **kids; /* sorted by key */
	uint32_t kid_count, kid_cap;
	struct group *group; /* rules that end here, or whose variable part starts here */
	bool is_package;     /* on the path of a package */
	bool is_rule;        /* the first name of a rule's head */
	uint32_t depth;      /* elements below data */
	uint32_t id;
	uint8_t mark; /* recursion check */
};

/* ---- ops ---- */

enum op_kind {
	OP_MATCH,   /* .src into the pattern .dst */
	OP_TEST,    /* .src is not false */
	OP_REF,     /* .base[.args…] into .dst, or tested when there is none */
	OP_CALL,    /* .fn(.args) into .dst, or tested */
	OP_COLLECT, /* a comprehension into .dst: .key, .value over .blocks[0] */
	OP_NOT,     /* .blocks[0] has no solution */
	OP_EVERY,   /* for each .key, .value of .src .blocks[0] has a solution */
	OP_OR,      /* one of .blocks has a solution */
	OP_WITH,    /* the ops up to the matching OP_WITH_END run in a changed world */
	OP_WITH_END,
	OP_TEMPLATE, /* .blocks and texts joined into .dst */
	OP_PRINT,
	OP_FAIL,
};

enum base_kind { BASE_NODE, BASE_INPUT, BASE_DATA };

/* What a call calls. */
struct callee {
	const struct builtin *builtin;
	struct group *group;
	const struct policy_hook *hook;
	const char *name; /* for messages */
};

enum with_kind { WITH_INPUT, WITH_DATA, WITH_FUNCTION };

struct with_mod {
	uint8_t kind;
	const struct pv **path; /* below input or data */
	uint32_t path_count;
	struct tree *tree;    /* data: the rules hidden by it, or NULL */
	struct callee target; /* function */
	struct callee by;     /* a function in its stead, or … */
	bool by_function;
	struct node *value; /* … this value */
};

struct block {
	struct op **ops;
	uint32_t count, cap;
	struct node *result; /* templates and prints: the operand's value */
};

struct op {
	uint8_t kind;
	uint8_t base;
	uint8_t collect; /* enum pv_type of the comprehension */
	bool is_strict;  /* == : both sides are known beforehand */
	bool is_scan;    /* OP_REF: some element of the path is not known: many solutions */
	struct loc loc;
	struct span span; /* of the literal, for explanations */
	uint32_t index;   /* position in its block */
	struct node *dst, *src, *key, *value;
	struct node **args;
	uint32_t arg_count;
	struct tree *tree;   /* BASE_DATA: as far as the path is known at compile time … */
	uint32_t tree_depth; /* … this many elements */
	struct callee fn;
	struct block **blocks;
	uint32_t block_count;
	const struct pv **texts; /* templates: before block i; NULL: none. One more than blocks */
	struct with_mod *mods;
	uint32_t mod_count;
	uint32_t skip;   /* OP_WITH: index of its end */
	uint32_t *frees; /* closures: outer slots that have to be bound */
	uint32_t free_count;
};

/* ---- rules ---- */

/* One body of a rule with its head. */
struct clause {
	struct group *group;
	const struct module *module;
	struct loc loc;
	struct span span;
	struct block block;
	struct node *
		*args; /* function argument patterns are slots 0…; matched by the block's start */
	uint32_t arg_count;
	struct node **suffix; /* the variable part of the head's path */
	uint32_t suffix_count;
	struct node *value; /* complete: the value; set: the element */
	uint32_t slot_count;
	bool is_set, is_default;
	const struct pv *const_value; /* the value when it is known */
	struct clause *els;
};

struct group {
	struct tree *tree;
	uint32_t id;
	bool is_function, is_partial; /* partial: some clause has a suffix or is a set */
	bool is_set;                  /* every clause is a set element without suffix */
	bool is_finished;             /* the next line and the index are known */
	bool is_constant;             /* all clauses have one and the same constant value */
	uint32_t arity;
	struct clause **clauses;
	uint32_t clause_count, clause_cap;
	struct clause *fallback; /* the default of a complete rule or function */
	struct rule_index *index;
};

struct policy {
	_Atomic unsigned refs;
	struct cf_arena arena;
	struct module **modules;
	uint32_t module_count;
	struct tree root;
	uint32_t tree_count, group_count;
	const struct policy_hook *hooks;
	size_t hook_count;
	bool is_strict_builtins;
};

/* The tree node at @path (data not counted), or NULL. */
struct tree *tree_find(const struct tree *t, const struct pv *key);
