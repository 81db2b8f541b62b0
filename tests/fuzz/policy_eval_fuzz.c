/* fuzz: policy */
/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile input for a policy of the shapes that resource, attestation and guest policies have. */
#include "policy/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char text[] =
	"package t\n"
	"default allow := false\n"
	"default level := 33\n"
	"level := 3 if { input.a.b in input.xs }\n"
	"trust := {\"level\": level, \"allow\": allow, \"hooked\": hooked}\n"
	"default hooked := 97\n"
	"hooked := 2 if input.s == input.t\n"
	"allow if { count(input.submods) >= 1; not refused }\n"
	"refused if { some _, part in input.submods; part[\"ear.status\"] != \"affirming\" }\n"
	"claims := {k: v | some k, v in input.submods; v.svn >= 3}\n"
	"args if { every i, a in input.args { arg(a, i) } }\n"
	"arg(a, i) if replace(a, \"$\", \"x\") == input.want[i]\n"
	"arg(a, _) if regex.match(`^--[a-z]+=(\\d{1,3}\\.){3}\\d+$`, a)\n"
	"paths := [p | walk(input, [p, v]); is_string(v)]\n"
	"text := sprintf(\"%v %d %s %5.1f\", [input, input.n, input.s, input.f])\n"
	"sums := [sum(input.xs), product(input.xs), sort(input.xs), input.n / input.m, input.n % "
	"input.m]\n"
	"times := [time.parse_rfc3339_ns(input.s), time.parse_duration_ns(input.s)]\n"
	"patch := json.patch(input.doc, input.ops)\n"
	"misc := [units.parse(input.s), semver.is_valid(input.s), glob.match(input.s, [], "
	"input.s),\n"
	"  net.cidr_is_valid(input.s), base64.is_valid(input.s), json.is_valid(input.s), "
	"uuid.parse(input.s)]\n"
	"subset := object.subset(input.a, input.b)\n"
	"union := object.union(input.a, input.b)\n"
	"more := [split(input.s, input.t), indexof(input.s, input.t), trim(input.s, input.t),\n"
	"  substring(input.s, input.n, input.m), strings.replace_n(input.o, input.s), "
	"upper(input.s)]\n";

static const char *const queries[] = { "data.t", "data.t.trust", "data.t.allow", "data.t.misc" };

/* Looks at all of it, so that a bad view shows. */
static void look(void *user, const struct policy_trace *t)
{
	size_t *sum = user;

	for (size_t i = 0; i < t->text.size; i++)
		*sum += t->text.data[i];
	*sum += strlen(t->file) + policy_value_is_true(t->value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t sum = 0;
	const struct policy_source src = { .name = "t", .text = CF_VIEW_LIT(text) };
	const struct policy_budget budget = { .steps = 100000,
		                              .memory_bytes = 4u << 20,
		                              .wall_ms = 1000 };
	static struct policy *policy;
	static struct policy_eval *ev;
	struct cf_buf out = { .max = 4u << 20 };
	const struct pv *v;

	if (!policy && (policy_compile(&src, 1, NULL, &policy, NULL) < 0 ||
	                policy_eval_new(&budget, &ev, NULL) < 0))
		abort();
	if (size < 1)
		return 0;
	struct policy_request rq = { .query = queries[data[0] >> 2 & 3],
		                     .input_json = { data + 1, size - 1 },
		                     .refuses_duplicate_keys = data[0] & 1,
		                     .wants_explain = data[0] & 2,
		                     .trace = data[0] & 16 ? look : NULL,
		                     .trace_user = &sum,
		                     .now_ns = 1 };
	if (policy_run(policy, ev, &rq, &v, NULL) == 0 && policy_value_json(v, &out, NULL) < 0)
		cf_buf_reset(&out);
	cf_buf_fini(&out);
	return 0;
}
