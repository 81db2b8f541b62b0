/* SPDX-License-Identifier: Apache-2.0 */
/* Decision tables: resource and attestation policies, and requests to a guest policy. */
#include "tests/conform/policy/suite.h"

static int reference_value(void *user, struct policy_eval *ev, const struct pv *const *args,
                           const struct pv **ret, struct cf_err *err)
{
	const struct pv *table = user, *v;

	if (args[0]->type != PV_STR)
		return cf_fail(err, CF_INVALID_ARGUMENT, "the identifier has to be a string");
	v = table ? pv_obj_get(table, args[0]) : NULL;
	if (v) {
		*ret = v;
		return 0;
	}
	return policy_value_read(ev, cf_view_str("null"), ret, err);
}

static const struct policy_hook hooks[] = {
	{ .name = "query_reference_value", .arity = 1, .call = reference_value },
};

static struct policy *load_policy(const char *name)
{
	cf_cleanup(cf_freep) char *rel = cf_asprintf("rego/policies/%s.rego", name);
	cf_cleanup(cf_freep) char *path = cf_test_vector(rel);
	struct cf_buf text = cf_test_read(path);
	struct policy_source src = { .name = name, .text = cf_buf_view(&text) };
	struct policy_options opt = { .hooks = hooks, .hook_count = 1 };
	struct policy *p = NULL;
	struct cf_err err;

	EXPECT_OK(policy_compile(&src, 1, &opt, &p, &err), &err);
	cf_buf_fini(&text);
	return p;
}

static void run_case(struct suite *s, const struct policy *p, const struct pv *c)
{
	struct policy_request rq = { .query = suite_str(c, "query"),
		                     .input = pv_obj_get_str(c, "input"),
		                     .data = pv_obj_get_str(c, "data"),
		                     .hook_user = (void *)(uintptr_t)pv_obj_get_str(
					     c, "reference_values") };
	const struct pv *want = pv_obj_get_str(c, "want"), *v = NULL;
	const char *code = suite_str(c, "want_error_code");
	struct cf_err err = { 0 };
	char *got = NULL;
	bool ok;

	int r = policy_run(p, s->ev, &rq, &v, &err);
	if (code) {
		ok = r < 0 && strcmp(policy_eval_code(s->ev), code) == 0;
	} else if (pv_obj_get_str(c, "undefined")) {
		ok = r == POLICY_E_UNDEFINED;
	} else {
		ok = r == 0 && pv_eq(v, want);
	}
	got = r < 0 ? cf_strdup(err.msg) : v ? suite_json(v) : cf_strdup("undefined");
	suite_case(s, "decisions", suite_str(c, "name"), ok, got);
	free(got);
}

static void run_table(const char *rel)
{
	cf_cleanup(cf_freep) char *path = cf_test_vector(rel);
	struct suite s;

	suite_open(&s);
	const struct pv *f = suite_load(&s, path), *cases = pv_obj_get_str(f, "cases");
	for (uint32_t i = 0; i < cases->len; i++) {
		const char *name = suite_str(cases->at[i], "policy");
		cf_cleanup(policy_unrefp) struct policy *p =
			load_policy(name ? name : suite_str(f, "policy"));

		run_case(&s, p, cases->at[i]);
	}
	print_message("%s: %u / %u\n", rel, s.passed, s.total);
	EXPECT(s.passed == s.total);
	suite_close(&s);
}

CF_TEST(decisions_of_resource_and_attestation_policies)
{
	run_table("rego/kbs/decisions.json");
}

CF_TEST(decisions_of_a_guest_policy)
{
	run_table("rego/agent/requests.json");
}
