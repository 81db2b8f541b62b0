/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The evaluator's shared parts. Everything returns EVAL_GO (go on, or: no more solutions), EVAL_STOP
 * (the sink has seen enough) or a negative error that ends the run.
 */
#include "policy/builtin.h"
#include "policy/program.h"

#define POLICY_STACK_MAX   (1u << 20) /* bytes of C stack; three times that under sanitizers */
#define POLICY_FRAMES_MAX  (1u << 18) /* slots of all frames under way */
#define POLICY_CLOCK_STEPS 4096u      /* steps between two looks at the clock */

enum { EVAL_GO = 0, EVAL_STOP = 1 };

struct sink;
struct frame {
	const struct pv **slots;
	const struct clause *clause;
	struct attempt *attempt; /* explain: the record of this body, or NULL */
};

/* What happens at the end of a block: once per solution. */
struct sink {
	int (*solution)(struct policy_eval *ev, struct frame *fr, struct sink *sink);
};

/* ---- worlds: what "with" changes ---- */

struct memo_entry {
	const struct group *group;
	const struct pv *key;   /* partial rules: the one key asked for; NULL: everything */
	const struct pv *value; /* NULL: undefined */
};

struct mock {
	const struct mock *next;
	struct callee target, by;
	bool by_function;
	const struct pv *value;
};

struct mask {
	const struct mask *next;
	const struct tree *tree;
};

struct world {
	struct world *outer;
	const struct pv *input; /* NULL: undefined */
	const struct pv *base;  /* data without rules */
	const struct mask *masks;
	const struct mock *mocks;
	struct memo_entry *memo;
	uint32_t memo_count, memo_cap;
};

struct policy_eval {
	struct policy_budget budget;
	struct cf_arena arena;
	struct cf_arena scratch; /* of queries: compiled text */
	const struct policy *policy;
	const struct policy_request *rq;
	struct world *world;
	struct cf_err *err;
	char code[40];
	char text[512]; /* of the failure, without place and code */
	const char *file;
	struct loc loc;
	uint64_t steps, clock_at;
	int64_t deadline_ms;
	int64_t now_ns;
	uint64_t kept; /* grows when something made now has to stay */
	const char *stack_base;
	unsigned depth;
	const struct pv **frames;
	size_t frame_top;
	size_t print_bytes;
	bool prints_cut;
	_Atomic bool is_cancelled;
	struct explain *explain; /* NULL: not wanted */
	struct attempt *attempt; /* the body being tried */
	struct regex_cache *regexes;
	const struct op *op; /* being run: for error places */
	const struct frame *frame;
};

/* ---- eval.c ---- */

int eval_block(struct policy_eval *ev, struct frame *fr, const struct block *block, uint32_t pc,
               struct sink *sink);
/* Has @block a solution? *ret is set on EVAL_GO. */
int eval_any(struct policy_eval *ev, struct frame *fr, const struct block *block, bool *ret);
/* Counts one step; negative when a budget is used up. */
int eval_tick(struct policy_eval *ev);
int eval_charge(struct policy_eval *ev, uint64_t steps);
/* Ends the run. @code as OPA names it. */
int eval_abort(struct policy_eval *ev, enum cf_code code, const char *name, const char *fmt, ...)
	cf_printf(4, 5);
/* Slots for a frame, all NULL; NULL when there are too many. Given back by eval_frame_pop(). */
bool eval_frame_push(struct policy_eval *ev, struct frame *fr, const struct clause *cl);
void eval_frame_pop(struct policy_eval *ev, struct frame *fr);

/* ---- nodes ---- */

/* NULL when the arena is over. */
const struct pv *node_value(struct policy_eval *ev, const struct frame *fr, const struct node *n);
bool node_match(struct policy_eval *ev, struct frame *fr, const struct node *n, const struct pv *v);

/* ---- doc.c: references into data ---- */

/* The one value of a reference whose elements are all known; *ret NULL: undefined. */
int doc_value(struct policy_eval *ev, struct frame *fr, const struct op *op, const struct pv **ret);
/* All values of one with unknown elements; each goes on with the block behind @pc. */
int doc_scan(struct policy_eval *ev, struct frame *fr, const struct block *block, uint32_t pc,
             struct sink *sink);

/* ---- rule.c ---- */

int rule_value(struct policy_eval *ev, const struct group *g, const struct pv **ret);
/* A partial rule's extent; with @key only as much of it as lies under that key. */
int rule_extent(struct policy_eval *ev, const struct group *g, const struct pv *key,
                const struct pv **ret);
int rule_call(struct policy_eval *ev, const struct group *g, const struct pv *const *args,
              const struct pv **ret);

/* ---- world.c ---- */

int world_push(struct policy_eval *ev, struct frame *fr, const struct op *op, bool *ret_defined);
bool world_hides(const struct policy_eval *ev, const struct tree *t);
const struct mock *world_mock(const struct policy_eval *ev, const struct callee *fn);
/* The world without mocks, for what runs in a mock's place. */
void world_unmock(struct policy_eval *ev, struct world *room);
const struct memo_entry *memo_find(const struct policy_eval *ev, const struct group *g,
                                   const struct pv *key);
void memo_put(struct policy_eval *ev, const struct group *g, const struct pv *key,
              const struct pv *value);

/* ---- call.c ---- */

/* *ret NULL: undefined. */
int call_value(struct policy_eval *ev, struct frame *fr, const struct op *op,
               const struct pv **ret);
int call_print(struct policy_eval *ev, struct frame *fr, const struct op *op);
int call_template(struct policy_eval *ev, struct frame *fr, const struct op *op,
                  const struct pv **ret);

/* ---- explain.c ---- */

void explain_begin(struct policy_eval *ev);
void explain_drop(struct policy_eval *ev);
struct attempt *explain_open(struct policy_eval *ev, const struct clause *cl);
void explain_close(struct policy_eval *ev, struct attempt *at, bool has_solution);
/* @op had no solution in the body of @fr. */
void explain_failure(struct policy_eval *ev, struct frame *fr, const struct op *op);
void explain_builtin_error(struct policy_eval *ev, const struct op *op, const char *text);
void explain_result(struct policy_eval *ev, const struct group *g, const struct pv *value,
                    bool by_default);

/* "data.policy.allow", appended. */
void explain_rule_name(const struct tree *t, struct cf_buf *out);

/* ---- trace.c: only when the request wants a trace ---- */

static inline bool trace_is_on(const struct policy_eval *ev)
{
	return ev->rq && ev->rq->trace;
}
void trace_enter(struct policy_eval *ev, const struct clause *cl);
void trace_exit(struct policy_eval *ev, const struct clause *cl, const struct pv *value);
void trace_try(struct policy_eval *ev, const struct frame *fr, const struct block *block,
               uint32_t pc);
void trace_fail(struct policy_eval *ev, const struct frame *fr, const struct op *op);

/* ---- regex_cache.c ---- */

void eval_regex_drop(struct policy_eval *ev);
