/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The policies in force, compiled. A set is made from the store once and never changes; calls take
 * it on the loop, judge with it on a worker and give it back on the loop, so it needs no lock. A new
 * set replaces the old one when a call, or another process, changed the store.
 *
 * Policy texts are the owner's, authenticated when they were uploaded. One that does not compile is
 * not taken; one in the store that does not compile (any more) denies whatever it would judge.
 */
#include "kbs/store.h"
#include "policy/policy.h"

#define POLICIES_STEPS        1000000u
#define POLICIES_MEMORY       (16u << 20)
#define POLICIES_WALL_MS      200u
#define POLICIES_GLOBAL_ID    "resource-policy" /* for resources whose repository has none */
#define POLICIES_DEFAULT_ID   "default"         /* of attestation: default_cpu, default_gpu … */
#define POLICIES_EXPLAIN_MAX  (16u << 10)       /* bytes of an explanation kept */
#define POLICIES_MESSAGES_MAX 2000u             /* bytes of compile errors told */

struct policy_entry {
	enum store_policy_kind kind;
	char *id;
	char *file; /* "resource-policy.rego": the name in messages */
	int64_t version;
	char *time;
	char sha256[65]; /* of .text */
	struct cf_buf text;
	struct policy *policy; /* NULL: does not compile, and .broken says why */
	char *broken;
};

struct policy_set; /* immutable; counted, by the loop alone */

cf_must_use int policy_set_load(struct store *store, struct policy_set **ret, struct cf_err *err);
struct policy_set *policy_set_ref(struct policy_set *s);
struct policy_set *policy_set_unref(struct policy_set *s); /* NULL is fine; returns NULL */
CF_DEFINE_CLEANUP(struct policy_set *, policy_set_unref);
int64_t policy_set_epoch(const struct policy_set *s);
size_t policy_set_count(const struct policy_set *s);
const struct policy_entry *policy_set_at(const struct policy_set *s, size_t i);
/* NULL: none of that name. */
const struct policy_entry *policy_set_find(const struct policy_set *s, enum store_policy_kind kind,
                                           const char *id);
/* The one for repository/type/tag: of its repository, else the global one; NULL: the built-in rule. */
const struct policy_entry *policy_set_for_path(const struct policy_set *s, const char *path);
/* The one for "cpu0": default_cpu; NULL: the verifier's own appraisal. */
const struct policy_entry *policy_set_for_submod(const struct policy_set *s, const char *submod);

/*
 * Compiles a text as it would be used. Return: 0, -CF_INVALID_ARGUMENT: err holds every message,
 * "file:line:col: code: text" each; -CF_RESOURCE_EXHAUSTED. @ret_warnings (may be NULL) is appended.
 */
cf_must_use int policies_compile(const char *file, struct cf_view text, struct policy **ret,
                                 struct cf_buf *ret_warnings, struct cf_err *err);

/* Policies that come with the program, by name: "affirming", "default_cpu". NULL: no such. */
struct policies_shipped {
	enum store_policy_kind kind;
	const char *name;
	const uint8_t *text;
	size_t size;
};
extern const struct policies_shipped policies_shipped[]; /* ended by a row without name */
const struct policies_shipped *policies_find_shipped(enum store_policy_kind kind, const char *name);

/* ---- asking ---- */

enum policy_answer_kind { POLICY_DENIED, POLICY_ALLOWED, POLICY_FAILED };

/* What a policy said, and why, for the owner. Holds claims of the guest: hostile text, no secrets. */
struct policy_answer {
	enum policy_answer_kind kind;
	char *why;     /* of a failure: the engine's words; else NULL */
	char *explain; /* of anything but a yes; NULL: none could be made */
};
void policy_answer_fini(struct policy_answer *a);

/*
 * May these claims read this path? A yes is the value true of data.policy.allow and nothing else: no
 * value, another value, a budget that ran out, a broken policy are none.
 * @claims: JSON of a verified token; @query_json: the request's query as an object; empty: {}
 */
void policy_ask_resource(const struct policy_entry *e, struct cf_view claims, const char *path,
                         struct cf_view query_json, struct policy_answer *ret);
/* data.policy.allow over any input and data: what policy_ask_resource() does with its own. */
void policy_ask_allow(const struct policy_entry *e, struct cf_view input, struct cf_view data,
                      struct policy_answer *ret);

#define POLICY_TRUST_MAX 8u

/* What an attestation policy found. */
struct policy_trust {
	struct {
		const char *name; /* static: "executables" */
		int value;
	} claims[POLICY_TRUST_MAX];
	size_t count;
	struct cf_buf extensions; /* JSON array of {"name","key","value"}; empty: none */
	char *explain;            /* of the claims that are not affirming; may be NULL */
};
void policy_trust_fini(struct policy_trust *t);
/*
 * data.policy.trust_claims and data.policy.extensions over the evidence's claims. @references: JSON
 * object behind query_reference_value(); what is not in it is null.
 * Return: 0; negative: the policy gave no usable answer (err says it in one line), which is no
 * verdict at all. -CF_INVALID_ARGUMENT, -CF_RESOURCE_EXHAUSTED, -CF_DEADLINE_EXCEEDED,
 * -CF_FAILED_PRECONDITION.
 */
cf_must_use int policy_ask_trust(const struct policy_entry *e, struct cf_view input,
                                 struct cf_view references, struct policy_trust *ret,
                                 struct cf_err *err);
