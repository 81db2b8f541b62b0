/* SPDX-License-Identifier: Apache-2.0 */
/* The door's promises: errors with places, hooks, verdicts, documents, prints, threads. */
#include "tests/unit/policy/engine.h"

#include <pthread.h>
#include <stdio.h>

CF_TEST(policy_errors_name_their_place)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "package t\np if {\n\tx > 1\n}",
		  "t.rego:3:2: rego_unsafe_var_error: var x is unsafe" },
		{ "package t\np := [1", "t.rego:2:8: rego_parse_error" },
		{ "package t\np := nosuch(1)",
		  "t.rego:2:6: rego_type_error: undefined function nosuch" },
		{ "package t\np := http.send({})", "rego_type_error: http.send is not available" },
		{ "package t\np if { a := 1; a := 2 }",
		  "rego_compile_error: var a assigned above" },
		{ "package t\nimport future.keywords.nope",
		  "rego_parse_error: unexpected keyword" },
		{ "p := 1", "t.rego:1:1: rego_parse_error: package expected" },
	};
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(cases); i++) {
		EXPECT_FAILS(engine_refuses(cases[i].text, &err), CF_INVALID_ARGUMENT);
		if (!strstr(err.msg, cases[i].want))
			print_message("%s\n", err.msg);
		EXPECT(strstr(err.msg, cases[i].want));
	}
}

CF_TEST(policy_refuses_every_truncation_without_harm)
{
	static const char text[] =
		"package t\np := {\"a\": [x | x := `raw`; x != $\"{1 + 2}\"]} if "
		"{ every k, v in input { not v; some k } } else := f(1.5e3)\n";
	struct cf_err err;

	for (size_t n = 0; n < sizeof(text) - 1; n++) {
		cf_cleanup(cf_freep) char *part = cf_strndup(text, n);

		EXPECT(engine_refuses(part, &err) <= 0);
	}
}

CF_TEST(policy_reads_old_policies_by_itself)
{
	EXPECT_RUN("p = x { x := input.a; x > 1 }", "{\"a\": 2}", "2");
	EXPECT_RUN("p := x if { x := input.a }", "{\"a\": 2}", "2");
}

/* ---- hooks ---- */

static int hook(void *user, struct policy_eval *ev, const struct pv *const *args,
                const struct pv **ret, struct cf_err *err)
{
	struct cf_view id;

	if (!policy_value_string(args[0], &id))
		return cf_fail(err, CF_INVALID_ARGUMENT, "the identifier has to be a string");
	if (cf_view_eq_str(id, "gone"))
		return cf_fail(err, CF_UNAVAILABLE, "no answer");
	if (cf_view_eq_str(id, "none"))
		return POLICY_E_UNDEFINED;
	return policy_value_read(ev, cf_view_str(user), ret, err);
}

static const struct policy_hook hooks[] = { { "query_reference_value", 1, hook } };

static int run_with_hook(const char *text, char **ret, struct cf_err *err)
{
	struct policy_source src = { .name = "t.rego", .text = cf_view_str(text) };
	struct policy_options opt = { .hooks = hooks, .hook_count = 1 };
	struct policy_request rq = { .query = "data.t.p", .hook_user = (char[]){ "[1, 2]" } };
	cf_cleanup(policy_unrefp) struct policy *p = NULL;
	cf_cleanup(policy_eval_freep) struct policy_eval *ev = NULL;
	struct cf_buf out = { 0 };
	const struct pv *v;

	EXPECT_OK(policy_compile(&src, 1, &opt, &p, err), err);
	EXPECT_OK(policy_eval_new(NULL, &ev, err), err);
	int r = policy_run(p, ev, &rq, &v, err);
	if (r == 0 && policy_value_json(v, &out, err) == 0)
		*ret = cf_buf_take_str(&out);
	return r;
}

CF_TEST(policy_hooks_answer_and_their_failure_aborts)
{
	char *got = NULL;
	struct cf_err err;

	EXPECT_INT(run_with_hook("package t\np := query_reference_value(\"svn\")[1]", &got, &err),
	           0);
	EXPECT_STR(got, "2");
	free(got);
	EXPECT_FAILS(
		run_with_hook("package t\np if not query_reference_value(\"gone\")", &got, &err),
		CF_UNAVAILABLE);
	EXPECT(strstr(err.msg, "query_reference_value: no answer"));
	EXPECT_INT(run_with_hook("package t\np := query_reference_value(\"none\")", &got, &err),
	           POLICY_E_UNDEFINED);
}

static void count_constant(void *user, struct cf_view json)
{
	unsigned *n = user;

	EXPECT(cf_view_eq_str(json, "\"a\"") || cf_view_eq_str(json, "\"b\""));
	(*n)++;
}

CF_TEST(policy_tells_which_reference_values_it_will_ask_for)
{
	static const char text[] = "package t\np if { query_reference_value(\"a\") == 1 }\n"
				   "q := [x | x := query_reference_value(\"b\")]\n"
				   "r := query_reference_value(input.c)";
	struct policy_source src = { .name = "t", .text = CF_VIEW_LIT(text) };
	struct policy_options opt = { .hooks = hooks, .hook_count = 1 };
	cf_cleanup(policy_unrefp) struct policy *p = NULL;
	struct cf_err err;
	unsigned n = 0;

	EXPECT_OK(policy_compile(&src, 1, &opt, &p, &err), &err);
	policy_hook_constants(p, "query_reference_value", count_constant, &n);
	EXPECT_INT(n, 2);
	EXPECT(policy_has_rule(p, "data.t.q") && !policy_has_rule(p, "data.t.z"));
}

/* ---- guest verdicts and state ---- */

CF_TEST(policy_documents_are_patched_all_or_nothing)
{
	cf_cleanup(policy_document_freep) struct policy_document *d = NULL, *ops = NULL,
								 *bad = NULL, *out = NULL;
	struct cf_buf json = { 0 };
	struct cf_err err;

	EXPECT_OK(policy_document_read(cf_view_str("{\"pstate\": {\"a\": [1]}}"), &d, &err), &err);
	EXPECT_OK(policy_document_read(
			  cf_view_str("[{\"op\": \"add\", \"path\": \"/pstate/b\", \"value\": 2},"
	                              "null, {\"op\": \"remove\", \"path\": \"/pstate/a/0\"}]"),
			  &ops, &err),
	          &err);
	EXPECT_OK(policy_document_read(
			  cf_view_str("[{\"op\": \"add\", \"path\": \"/pstate/c\", \"value\": 2},"
	                              "{\"op\": \"remove\", \"path\": \"/pstate/zz\"}]"),
			  &bad, &err),
	          &err);
	EXPECT_OK(policy_document_read(
			  cf_view_str("[{\"op\": \"add\", \"path\": \"/other\", \"value\": 2}]"),
			  &out, &err),
	          &err);
	EXPECT_OK(policy_document_patch(d, policy_document_value(ops), "/pstate/", &err), &err);
	EXPECT_FAILS(policy_document_patch(d, policy_document_value(bad), "/pstate/", &err),
	             CF_INVALID_ARGUMENT);
	EXPECT_FAILS(policy_document_patch(d, policy_document_value(out), "/pstate/", &err),
	             CF_PERMISSION_DENIED);
	EXPECT_OK(policy_value_json(policy_document_value(d), &json, &err), &err);
	EXPECT_STR(json.data, "{\"pstate\":{\"a\":[],\"b\":2}}");
	cf_buf_fini(&json);
}

CF_TEST(policy_verdicts_are_booleans_or_objects)
{
	static const struct {
		const char *json;
		int r;
		bool allowed, has_ops;
	} cases[] = {
		{ "true", 0, true, false },
		{ "false", 0, false, false },
		{ "{\"allowed\": true, \"ops\": []}", 0, true, true },
		{ "{\"allowed\": false}", 0, false, false },
		{ "{\"allowed\": 1}", -CF_INVALID_ARGUMENT, false, false },
		{ "\"yes\"", -CF_INVALID_ARGUMENT, false, false },
		{ "{\"allowed\": true, \"ops\": {}}", -CF_INVALID_ARGUMENT, false, false },
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(cases); i++) {
		cf_cleanup(policy_document_freep) struct policy_document *d = NULL;
		const struct pv *ops = NULL;
		bool allowed = false;
		struct cf_err err;

		EXPECT_OK(policy_document_read(cf_view_str(cases[i].json), &d, &err), &err);
		int r = policy_value_verdict(policy_document_value(d), &allowed, &ops, &err);
		EXPECT_INT(r, cases[i].r);
		EXPECT(allowed == cases[i].allowed && (ops != NULL) == cases[i].has_ops);
	}
}

/* ---- prints ---- */

static void keep_print(void *user, const char *file, unsigned line, struct cf_view text)
{
	cf_buf_printf(user, "%s:%u: %.*s\n", file, line, (int)text.size, (const char *)text.data);
}

CF_TEST(policy_prints_go_to_the_caller_and_never_fail)
{
	cf_cleanup(policy_unrefp) struct policy *p =
		engine_compile("package t\np if {\n\tprint(\"a\", input.nope, [1, "
	                       "\"b\"])\n\tprint(input.xs[_])\n}");
	cf_cleanup(policy_eval_freep) struct policy_eval *ev = NULL;
	struct cf_buf out = { 0 };
	struct policy_request rq = { .query = "data.t.p",
		                     .input_json = CF_VIEW_LIT("{\"xs\": [1, 2]}"),
		                     .print = keep_print,
		                     .print_user = &out };
	const struct pv *v;
	struct cf_err err;

	EXPECT_OK(policy_eval_new(NULL, &ev, &err), &err);
	EXPECT_INT(policy_run(p, ev, &rq, &v, &err), 0);
	EXPECT_STR(out.data, "t.rego:3: a <undefined> [1, \"b\"]\nt.rego:4: 1\nt.rego:4: 2\n");
	cf_buf_fini(&out);
}

/* ---- threads ---- */

static void *run_many(void *arg)
{
	struct policy *p = arg;
	cf_cleanup(policy_eval_freep) struct policy_eval *ev = NULL;
	struct policy_request rq = { .query = "data.t.p",
		                     .input_json = CF_VIEW_LIT("{\"xs\": [\"ab\", \"cd\"]}") };
	const struct pv *v;
	size_t good = 0;

	if (policy_eval_new(NULL, &ev, NULL) < 0)
		return NULL;
	for (unsigned i = 0; i < 500; i++) {
		struct policy *mine = policy_ref(p);

		good += policy_run(mine, ev, &rq, &v, NULL) == 0 && policy_value_is_true(v);
		policy_unref(mine);
	}
	return (void *)good;
}

CF_TEST(policy_is_shared_by_threads)
{
	cf_cleanup(policy_unrefp) struct policy *p = engine_compile(
		"package t\np if { every x in input.xs { regex.match(`^[a-d]+$`, x); q[x] > 1 } }\n"
		"q[x] := n if { some x in input.xs; n := count(x) }");
	pthread_t threads[4];

	for (size_t i = 0; i < CF_ARRAY_LEN(threads); i++)
		EXPECT(pthread_create(&threads[i], NULL, run_many, p) == 0);
	for (size_t i = 0; i < CF_ARRAY_LEN(threads); i++) {
		void *good;

		EXPECT(pthread_join(threads[i], &good) == 0);
		EXPECT((size_t)good == 500);
	}
}
