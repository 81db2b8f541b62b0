/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What tests of the engine share: compile a text, run a rule, compare its JSON. */
#include "policy/policy.h"
#include "tests/harness/test.h"

static inline struct policy *engine_compile(const char *text)
{
	struct policy_source src = { .name = "t.rego", .text = cf_view_str(text) };
	struct policy *p = NULL;
	struct cf_err err;

	EXPECT_OK(policy_compile(&src, 1, NULL, &p, &err), &err);
	return p;
}

static inline int engine_refuses(const char *text, struct cf_err *err)
{
	struct policy_source src = { .name = "t.rego", .text = cf_view_str(text) };
	struct policy *p = NULL;
	int r = policy_compile(&src, 1, NULL, &p, err);

	policy_unref(p);
	return r;
}

/* data.t.p as JSON, "undefined", or the error's message. The caller frees. */
static inline char *engine_run(const char *text, const char *input,
                               const struct policy_budget *budget, int *ret)
{
	cf_cleanup(policy_unrefp) struct policy *p = engine_compile(text);
	cf_cleanup(policy_eval_freep) struct policy_eval *ev = NULL;
	struct policy_request rq = { .query = "data.t.p",
		                     .input_json = cf_view_str(input),
		                     .now_ns = 1700000000000000000 };
	const struct pv *v = NULL;
	struct cf_buf out = { .max = 64u << 20 };
	struct cf_err err = { 0 };

	EXPECT_OK(policy_eval_new(budget, &ev, &err), &err);
	int r = policy_run(p, ev, &rq, &v, &err);
	if (ret)
		*ret = r;
	if (r < 0)
		return cf_strdup(err.msg);
	if (r == POLICY_E_UNDEFINED)
		return cf_strdup("undefined");
	EXPECT_OK(policy_value_json(v, &out, &err), &err);
	return cf_buf_take_str(&out);
}

#define EXPECT_RUN(text, input, want)                                                              \
	do {                                                                                       \
		cf_cleanup(cf_freep) char *got_ =                                                  \
			engine_run("package t\n" text, input, NULL, NULL);                         \
		EXPECT_STR(got_, want);                                                            \
	} while (0)
