/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the stages of the compiler share. Each stage is one file; compile.c runs them in order. */
#include "policy/program.h"

#define POLICY_SLOTS_MAX 16384u /* variables of one rule, those of the compiler included */

struct compiler {
	struct policy *policy;
	struct cf_arena *arena; /* the policy's */
	const struct policy_options *opt;
	struct cf_err *err;
	unsigned error_count;
	int failed;    /* what policy_compile() will return */
	char code[32]; /* of the first error */
	char text[400];
	struct loc loc;
};

void compile_error(struct compiler *c, const struct module *m, struct loc loc, const char *code,
                   const char *fmt, ...) cf_printf(5, 6);
void compile_warning(struct compiler *c, const struct module *m, struct loc loc, const char *fmt,
                     ...) cf_printf(4, 5);

/* A rule as the tree knows it before its bodies are lowered. */
struct pending {
	struct rule *rule;
	struct group *group;
	uint32_t
		prefix; /* elements of the head's ref that the tree holds; the rest is the suffix */
};
struct pending_list {
	struct pending *items;
	uint32_t count, cap;
};

/* tree.c: every rule gets its place. */
bool tree_build(struct compiler *c, struct pending_list *ret);
struct tree *tree_package(const struct compiler *c, const struct module *m);

/* ---- scopes ---- */

enum seen { SEEN_IMPLICIT, SEEN_USED, SEEN_ASSIGNED, SEEN_DECLARED, SEEN_ARG };

struct scope_var {
	struct cf_view name;
	uint32_t slot;
	uint8_t seen;
	bool must_be_used, is_used; /* declared by some or every */
	struct loc loc;
};

struct scope {
	struct scope *parent;
	struct scope_var *vars;
	uint32_t count, cap;
	struct cf_view *declared; /* names that some and := make in this body */
	uint32_t declared_count, declared_cap;
	struct cf_view *direct; /* names that occur in it, until scope_settle() */
	uint32_t direct_count, direct_cap;
	bool is_args;
};

/* Literals lowered: ops that stay together, and closures in them still to be ordered. */
struct op_group {
	struct op **ops;
	uint32_t count, cap;
	struct loc loc;
	uint32_t *needs; /* slots that have to be bound before any of this */
	uint32_t need_count, need_cap;
};

struct op_list {
	struct op_group **groups;
	uint32_t count, cap;
};

struct lower {
	struct compiler *c;
	const struct module *module; /* NULL package path: a query */
	const struct rule *rule;
	struct scope *scope;
	struct op_list *list;      /* where finished groups go */
	struct op_group *out;      /* where extracted ops go */
	struct op_group *recorder; /* collects the outer variables a negation uses */
	uint32_t recorder_first;   /* … which have slots below this one */
	uint32_t slot_count;
	const char **slot_names; /* NULL: made by the compiler */
	uint32_t slot_cap;
	const struct lit *lit; /* the literal being lowered */
	bool captures;
	struct node **captured;
	uint32_t captured_count, captured_cap;
};

struct scope *scope_push(struct lower *l);
void scope_pop(struct lower *l);
uint32_t lower_slot(struct lower *l, struct cf_view name);
/* Finds names that occur directly in @b and belong to no other scope, and declares them here. */
void scope_collect_body(struct lower *l, const struct body *b);
void scope_collect_term(struct lower *l, const struct term *t);
void scope_settle(struct lower *l);
/* The variable @name stands for here, or NULL when it is global; makes an implicit one if nothing is. */
struct scope_var *scope_use(struct lower *l, struct cf_view name);
uint32_t scope_declare(struct lower *l, const struct term *var, enum seen how);
/* The variable just declared has to be read somewhere in its scope. */
void scope_demand(struct lower *l, const struct term *var);
bool name_is_global(const struct lower *l, struct cf_view name);
bool name_is_rule(const struct lower *l, struct cf_view name);
const struct import *name_import(const struct lower *l, struct cf_view name);

/* ---- lowering ---- */

struct op *lower_op(struct lower *l, enum op_kind kind, struct loc loc);
void lower_emit(struct lower *l, struct op_group *g, struct op *op);
struct node *node_new(struct lower *l, enum node_kind kind);
struct node *node_const(struct lower *l, const struct pv *v);
struct node *node_slot(struct lower *l, uint32_t slot);
struct node *node_temp(struct lower *l);
/* A term to a node; references, calls and closures in it become ops of l->out. NULL: error. */
struct node *lower_term(struct lower *l, const struct term *t);

/* A term whose calls are out but whose reference at the top is still one. */
struct operand {
	bool is_ref;
	struct node *node;
	uint8_t base; /* is_ref */
	struct node *head;
	const struct term **path; /* of a reference, still to be lowered */
	uint32_t path_count;
	const struct term *composite; /* an array, set or object, still to be lowered */
	const struct term *origin;
};
cf_must_use bool lower_operand(struct lower *l, const struct term *t, struct operand *ret);
/* The operand as a node; its own reference becomes an op. */
struct node *operand_node(struct lower *l, struct operand *o);
/* The operand's reference as an op, not yet emitted. */
struct op *operand_ref(struct lower *l, struct operand *o);
/* A copy of @t whose arguments have their calls taken out. */
const struct term *lower_expanded_args(struct lower *l, const struct term *t);
/* a = b for nodes, split into members where both sides show their shape. */
void lower_match(struct lower *l, struct op_group *g, struct node *a, struct node *b,
                 bool is_strict);
/* A call's op, not emitted; .dst is set when the call names its result as an extra operand. */
struct op *lower_call(struct lower *l, const struct term *t);
bool callee_find(struct lower *l, const struct term *fn, struct callee *ret);
unsigned callee_arity(const struct callee *fn);
void term_path_name(const struct term *t, char *out, size_t size);

struct op_group *group_new(struct lower *l, struct loc loc);
void group_done(struct lower *l, struct op_group *g); /* appends it to l->list */
/* A literal without its "not"; calls in it come out in front, into the list at hand. */
bool lower_positive(struct lower *l, const struct lit *lit, struct op_group *main);
bool lower_negated(struct lower *l, const struct lit *lit);
bool lower_literals(struct lower *l, const struct body *b);

/* A closure of an op: its literals wait in .list until the order of the outer body is known. */
struct closure {
	struct block block; /* first: op->blocks points to it */
	struct op_list list;
};
/* What has to be put back when a closure is left. */
struct closure_state {
	struct op_list *list;
	struct op_group *out;
	uint32_t first_slot;
};
struct closure *closure_open(struct lower *l, struct op *op, struct closure_state *st);
void closure_close(struct lower *l, struct op *op, struct closure *k,
                   const struct closure_state *st);
bool lower_rule(struct compiler *c, const struct pending *p);
/* A query's body as a clause without a head; *names tells the variables to show. */
struct clause *lower_query(struct compiler *c, const struct module *m, const struct body *b,
                           bool captures, struct lower *l);

/* order.c: safe order of @list into @block. @bound: slots known before; NULL: none. */
struct bitset {
	uint64_t *words;
	uint32_t count;
};
bool order_block(struct lower *l, const struct op_list *list, struct block *block,
                 struct bitset *bound);
struct bitset bitset_new(struct lower *l);
static inline bool bitset_has(const struct bitset *b, uint32_t i)
{
	return b->words[i / 64] >> (i % 64) & 1;
}
static inline void bitset_add(struct bitset *b, uint32_t i)
{
	b->words[i / 64] |= 1ull << (i % 64);
}

/* check.c */
void check_tree(struct compiler *c, const struct pending_list *list);
void check_recursion(struct compiler *c);
void check_imports(struct compiler *c, const struct module *m);
void check_call_types(struct lower *l, const struct term *t, const struct callee *fn,
                      struct node *const *args, uint32_t count);
