/* fuzz: policy */
/* SPDX-License-Identifier: Apache-2.0 */
/* A policy from a stranger: read as v1 and as v0, compiled, and every rule evaluated in a small budget. */
#include "policy/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct job {
	struct policy *policy;
	struct policy_eval *ev;
};

static void run_rule(void *user, const char *path)
{
	struct job *job = user;
	struct policy_request rq = {
		.query = path,
		.input_json =
			CF_VIEW_LIT("{\"xs\":[1,2,3],\"o\":{\"k\":\"k\"},\"y\":false,\"z\":1.5}"),
		.data_json = CF_VIEW_LIT("{\"a\":[1,2],\"c\":{\"x\":{\"y\":1}}}"),
		.now_ns = 1,
		.wants_explain = true,
	};
	const struct pv *v;
	struct cf_buf out = { .max = 1u << 20 };

	if (policy_run(job->policy, job->ev, &rq, &v, NULL) == 0 &&
	    policy_value_json(v, &out, NULL) == 0)
		cf_buf_reset(&out);
	if (policy_explain(job->ev, true, &out, NULL) < 0)
		cf_buf_reset(&out);
	cf_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct policy_source src = { .name = "f", .text = { data, size } };
	const struct policy_budget budget = {
		.steps = 20000, .memory_bytes = 1u << 20, .wall_ms = 1000, .depth = 64
	};
	static const enum policy_version versions[] = { POLICY_REGO_V1, POLICY_REGO_V0 };
	struct job job = { 0 };

	if (size > 4096 || policy_eval_new(&budget, &job.ev, NULL) < 0)
		return 0;
	for (size_t i = 0; i < CF_ARRAY_LEN(versions); i++) {
		const struct policy_options opt = { .version = versions[i] };

		if (policy_compile(&src, 1, &opt, &job.policy, NULL) < 0)
			continue;
		policy_each_rule(job.policy, "", run_rule, &job);
		job.policy = policy_unref(job.policy);
	}
	policy_eval_free(job.ev);
	return 0;
}
