/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * policy: compile Rego source once, evaluate it often, and say why the answer is what it is.
 *
 * The policy text is its owner's; input and data are hostile. A compiled policy never changes: any
 * number of threads may evaluate it, each with a policy_eval of its own. A budget that runs out, a
 * failing hook and a cancellation are errors, never "undefined": they cannot turn into a yes.
 */
#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"

struct policy;      /* compiled, immutable, counted */
struct policy_eval; /* one thread's scratch memory; reused from one evaluation to the next */
struct pv;          /* a value, immutable; borrowed from its policy_eval until its next run */

/* ---- limits ---- */

#define POLICY_MODULES_MAX        64u
#define POLICY_RULES_MAX          65536u /* bodies in one policy */
#define POLICY_VARS_MAX           1024u  /* named variables of one rule */
#define POLICY_ERRORS_MAX         10u
#define POLICY_STEPS_DEFAULT      10000000u
#define POLICY_MEMORY_DEFAULT     (64u << 20)
#define POLICY_WALL_DEFAULT       2000u       /* ms */
#define POLICY_DEPTH_MAX          2048u       /* rule calls in rule calls */
#define POLICY_PRINT_MAX          (64u << 10) /* bytes of one evaluation */
#define POLICY_COMPILE_MEMORY_MAX (512u << 20)

/* ---- compiling ---- */

enum policy_version {
	POLICY_REGO_AUTO, /* v1; v0 if the text cannot be read as v1 */
	POLICY_REGO_V1,
	POLICY_REGO_V0,
};

struct policy_source {
	const char *name; /* file name, for messages */
	struct cf_view text;
};

/*
 * A function that policies may call and the caller answers, such as query_reference_value.
 * Return: 0 and *ret (made with the policy_value_* calls below); POLICY_E_UNDEFINED for no value;
 * negative aborts the evaluation.
 */
struct policy_hook {
	const char *name;
	unsigned arity;
	int (*call)(void *user, struct policy_eval *ev, const struct pv *const *args,
	            const struct pv **ret, struct cf_err *err);
};

/* A place in a policy and what is wrong there. */
struct policy_message {
	const char *file;
	unsigned line, col;
	const char *code; /* rego_parse_error, rego_compile_error, … ; "warning" */
	const char *text;
};

struct policy_options {
	enum policy_version version;
	const struct policy_hook *hooks; /* borrowed for the life of the policy */
	size_t hook_count;
	bool is_strict_builtins; /* a builtin's error aborts instead of being undefined */
	/* Each error (up to POLICY_ERRORS_MAX) and each warning; may be NULL. Valid during the call. */
	void (*message)(void *user, const struct policy_message *m);
	void *message_user;
};

/**
 * policy_compile() - parse, check and compile
 * @sources:  borrowed for the call
 * @opt:      NULL stands for all defaults
 * @ret:      set on success only; the caller owns it (policy_unref)
 *
 * Return: 0; -CF_INVALID_ARGUMENT: err is "file:line:col: code: text" of the first error;
 * -CF_RESOURCE_EXHAUSTED: over one of the limits.
 */
cf_must_use int policy_compile(const struct policy_source *sources, size_t count,
                               const struct policy_options *opt, struct policy **ret,
                               struct cf_err *err);
struct policy *policy_ref(struct policy *p);
struct policy *policy_unref(struct policy *p); /* NULL is fine; returns NULL */
CF_DEFINE_CLEANUP(struct policy *, policy_unref);

bool policy_has_rule(const struct policy *p, const char *path); /* "data.policy.extensions" */
/* Calls @each with the path of every rule whose name starts with @prefix: "data.t.test_x". */
void policy_each_rule(const struct policy *p, const char *prefix,
                      void (*each)(void *user, const char *path), void *user);
/* Constant arguments, as JSON, with which the policy calls @hook: to be fetched beforehand. */
void policy_hook_constants(const struct policy *p, const char *hook,
                           void (*each)(void *user, struct cf_view json), void *user);

/* ---- evaluating ---- */

struct policy_budget {
	uint64_t steps;      /* a literal tried, a member visited, 64 bytes handled by a builtin */
	size_t memory_bytes; /* of values; one builtin may overdraw it by at most 16 MiB */
	uint32_t depth;
	uint32_t wall_ms;
	size_t print_bytes;
}; /* 0: the default */

cf_must_use int policy_eval_new(const struct policy_budget *budget, struct policy_eval **ret,
                                struct cf_err *err);
struct policy_eval *policy_eval_free(struct policy_eval *ev);
CF_DEFINE_CLEANUP(struct policy_eval *, policy_eval_free);
/* From another thread or a signal handler: the run under way ends with -CF_CANCELLED. */
void policy_eval_cancel(struct policy_eval *ev);

enum policy_trace_kind {
	POLICY_TRACE_ENTER, /* a body of the rule .text */
	POLICY_TRACE_TRY,   /* the literal .text */
	POLICY_TRACE_FAIL,  /* … has no value, or the wrong one */
	POLICY_TRACE_EXIT,  /* of the body: .value, or NULL for none */
};
struct policy_trace { /* borrowed for the call */
	enum policy_trace_kind kind;
	unsigned depth; /* rules in rules */
	const char *file;
	unsigned line, col;
	struct cf_view text;
	const struct pv *value;
};

struct policy_request {
	struct cf_view input_json, data_json; /* size 0: undefined, {} */
	const struct pv *input, *data;        /* instead of the texts: already values */
	const char *query;                    /* "data.policy.allow", or any body */
	int64_t now_ns;                       /* time.now_ns(); 0: the clock */
	void *hook_user;
	void (*print)(void *user, const char *file, unsigned line, struct cf_view text);
	void *print_user;
	/* Every step, as it is made; NULL: none. As many as the budget has steps: bound what you keep. */
	void (*trace)(void *user, const struct policy_trace *t);
	void *trace_user;
	bool wants_explain;
	bool refuses_duplicate_keys; /* in input_json */
	bool captures;               /* policy_query(): keep the value of each expression */
};

#define POLICY_E_UNDEFINED 1

/**
 * policy_run() - the value of one rule path
 * @rq:   .query is a reference such as data.policy.allow
 * @ret:  borrowed from @ev until the next run
 *
 * Return: 0; POLICY_E_UNDEFINED: no value; -CF_RESOURCE_EXHAUSTED: out of budget;
 * -CF_DEADLINE_EXCEEDED; -CF_CANCELLED; -CF_FAILED_PRECONDITION: a conflict, or a builtin error when
 * those are strict (err is "file:line: code: text"); -CF_INVALID_ARGUMENT: bad JSON or query; hook errors
 * as they came.
 */
cf_must_use int policy_run(const struct policy *p, struct policy_eval *ev,
                           const struct policy_request *rq, const struct pv **ret,
                           struct cf_err *err);

/* One solution of a query. */
struct policy_solution {
	const struct pv *bindings; /* object: variable → value */
	const struct pv
		*expressions; /* array: the value of each expression; empty unless captured */
};
/**
 * policy_query() - all solutions of a body
 * @each:  called per solution, in order; not 0 stops
 * Return: as policy_run(); POLICY_E_UNDEFINED when there was no solution.
 */
cf_must_use int policy_query(const struct policy *p, struct policy_eval *ev,
                             const struct policy_request *rq,
                             int (*each)(void *user, const struct policy_solution *s), void *user,
                             struct cf_err *err);
/* The code of the last run's failure as OPA names it ("eval_conflict_error"), or "". */
const char *policy_eval_code(const struct policy_eval *ev);
/* The last run's failure: code, text and place. Borrowed until the next run. */
struct policy_message policy_eval_message(const struct policy_eval *ev);

/* ---- values ---- */

bool policy_value_is_true(const struct pv *v);
cf_must_use int policy_value_json(const struct pv *v, struct cf_buf *out, struct cf_err *err);
/* JSON into a value that lives until @ev's next run; for hooks. */
cf_must_use int policy_value_read(struct policy_eval *ev, struct cf_view json,
                                  const struct pv **ret, struct cf_err *err);
/* The bytes of a string value; an empty view and false for anything else. */
bool policy_value_string(const struct pv *v, struct cf_view *ret);
/* Member of an object, or NULL. */
const struct pv *policy_value_get(const struct pv *v, const char *key);
bool policy_value_int(const struct pv *v, int64_t *ret);
/* Calls @each for the members of an array, set or object (key NULL unless an object). */
void policy_value_each(const struct pv *v,
                       void (*each)(void *user, const struct pv *key, const struct pv *val),
                       void *user);

/* A value that outlives evaluations, such as the guest's state between two requests. */
struct policy_document;
cf_must_use int policy_document_read(struct cf_view json, struct policy_document **ret,
                                     struct cf_err *err);
struct policy_document *policy_document_free(struct policy_document *d);
CF_DEFINE_CLEANUP(struct policy_document *, policy_document_free);
const struct pv *policy_document_value(const struct policy_document *d);
/*
 * A hook's .call over the document in hook_user (an object, or NULL): the member that the string in
 * args[0] names, null when there is none; -CF_INVALID_ARGUMENT: no string.
 */
cf_must_use int policy_document_lookup(void *user, struct policy_eval *ev,
                                       const struct pv *const *args, const struct pv **ret,
                                       struct cf_err *err);
/**
 * policy_document_patch() - RFC 6902 on a document; all of it or nothing
 * @ops:     array of operations, from policy_value_verdict(); NULL: none
 * @prefix:  every path must start with it ("/pstate/"); NULL: any
 * Return: 0; -CF_PERMISSION_DENIED: another path; -CF_INVALID_ARGUMENT: the patch does not apply;
 * -CF_RESOURCE_EXHAUSTED.
 */
cf_must_use int policy_document_patch(struct policy_document *d, const struct pv *ops,
                                      const char *prefix, struct cf_err *err);

/*
 * A guest policy's answer: a boolean, or {"allowed": bool, "ops": [..]}. *ret_ops is NULL when there
 * are none. -CF_INVALID_ARGUMENT: neither.
 */
cf_must_use int policy_value_verdict(const struct pv *v, bool *ret_allowed,
                                     const struct pv **ret_ops, struct cf_err *err);

/* Why: of the last run with wants_explain. Text for people, JSON for machines; appended to @out. */
cf_must_use int policy_explain(const struct policy_eval *ev, bool as_json, struct cf_buf *out,
                               struct cf_err *err);
