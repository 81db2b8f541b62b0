/* SPDX-License-Identifier: Apache-2.0 */
/* Policies and inputs that try to run away: each ends within its budget, with an error. */
#include "tests/unit/policy/engine.h"

#include "policy/value.h"

#include <sys/resource.h>

static char *repeat(const char *before, const char *what, size_t n, const char *after)
{
	struct cf_buf b = { .max = 64u << 20 };

	cf_buf_add_str(&b, before);
	for (size_t i = 0; i < n; i++)
		cf_buf_add_str(&b, what);
	cf_buf_add_str(&b, after);
	return cf_buf_take_str(&b);
}

static void expect_stopped(const char *text, const char *input)
{
	int r;
	cf_cleanup(cf_freep) char *got = engine_run(text, input, NULL, &r);

	if (r != -CF_RESOURCE_EXHAUSTED && r != -CF_DEADLINE_EXCEEDED)
		print_message("not stopped (%d): %.200s\n", r, got);
	EXPECT(r == -CF_RESOURCE_EXHAUSTED || r == -CF_DEADLINE_EXCEEDED);
}

CF_TEST(hostile_comprehensions_are_stopped)
{
	expect_stopped("package t\nxs := numbers.range(1, 1000)\n"
	               "p := [1 | some a in xs; some b in xs; some c in xs]",
	               "");
	expect_stopped("package t\nxs := numbers.range(1, 3000)\n"
	               "p := count([[a, b] | some a in xs; some b in xs])",
	               "");
	expect_stopped(
		"package t\nxs := numbers.range(1, 1000)\n"
		"p if { every a in xs { every b in xs { every c in xs { a + b + c > 0 } } } }",
		"");
}

CF_TEST(hostile_budgets_never_turn_a_negation_into_a_yes)
{
	expect_stopped("package t\nxs := numbers.range(1, 1000)\n"
	               "f(_) if { some a in xs; some b in xs; some c in xs; a + b + c < 0 }\n"
	               "p if not f(1)",
	               "");
	cf_cleanup(cf_freep) char *input = repeat("\"", "a", 4u << 20, "\"");
	expect_stopped("package t\np if not regex.match(`(a?){500}(a|aa){500}b`, input)", input);
}

CF_TEST(hostile_regular_expressions_stay_linear)
{
	cf_cleanup(cf_freep) char *input = repeat("\"", "x", 100000, "\"");
	int r;
	cf_cleanup(cf_freep) char *got =
		engine_run("package t\np := regex.match(`^(x+x+)+y`, input)", input, NULL, &r);

	EXPECT_INT(r, 0);
	EXPECT_STR(got, "false");
	cf_cleanup(cf_freep) char *long_input = repeat("\"", "a", 4u << 20, "\"");
	expect_stopped("package t\np := regex.match(`(a?){500}(a|aa){500}b`, input)", long_input);
}

CF_TEST(hostile_strings_are_stopped)
{
	cf_cleanup(cf_freep) char *input = repeat("\"", "aaaaaaaaaaaaaaaa", 20000, "\"");

	expect_stopped("package t\np := replace(replace(input, \"a\", input), \"a\", input)",
	               input);
	expect_stopped("package t\np := concat(input, [input | some _ in numbers.range(1, 1000)])",
	               input);
	EXPECT_RUN("p := sprintf(\"%999999999d\", [1])", "", "\"%!(NOVERB)%!(EXTRA int=1)\"");
}

CF_TEST(hostile_numbers_are_stopped)
{
	expect_stopped("package t\np := product(numbers.range(1, 1000))", "");
	expect_stopped("package t\np := bits.lsh(1, 100000)", "");
	expect_stopped("package t\np := numbers.range(0, 1000000000)", "");
	expect_stopped("package t\np := net.cidr_expand(\"10.0.0.0/8\")", "");
	expect_stopped("package t\np := 1e9000 * 1e9000", "");
	cf_cleanup(cf_freep) char *digits = repeat("{\"n\": ", "9", 90000, "}");
	int r;
	cf_cleanup(cf_freep) char *got =
		engine_run("package t\np := input.n > 5", digits, NULL, &r);
	EXPECT_INT(r, 0);
	EXPECT_STR(got, "true");
	expect_stopped("package t\np := input.n + 1", digits);
}

CF_TEST(hostile_inputs_are_refused_or_fit)
{
	cf_cleanup(cf_freep) char *deep = repeat("", "[", 200, "");
	cf_cleanup(cf_freep) char *wide = repeat("[0", ",0", 5000000, "]");
	cf_cleanup(cf_freep) char *big = repeat("[\"", "0123456789", 1000000, "\"]");
	/* Sizes are asked for here, and a sanitizer on a busy machine takes its time with them. */
	const struct policy_budget patient = { .wall_ms = 60000 };
	int r;
	char *got = engine_run("package t\np := 1", deep, &patient, &r);

	EXPECT_INT(r, -CF_INVALID_ARGUMENT);
	free(got);
	got = engine_run("package t\np := count(input)", wide, &patient,
	                 &r); /* ten megabytes of zeroes */
	EXPECT_INT(r, -CF_RESOURCE_EXHAUSTED);
	free(got);
	got = engine_run("package t\np := count(input[0])", big, &patient, &r);
	EXPECT_INT(r, 0);
	EXPECT_STR(got, "10000000");
	free(got);
}

CF_TEST(hostile_values_cannot_grow_without_end)
{
	/* each step doubles the tree while sharing its parts */
	expect_stopped("package t\n"
	               "d(x) := [x, x]\n"
	               "e(x) := d(d(d(d(d(d(d(d(x))))))))\n"
	               "p := e(e(e(e(e([])))))",
	               "");
	expect_stopped(
		"package t\np := json.patch({}, [{\"op\": \"copy\", \"from\": \"\", \"path\": "
		"concat(\"/\", [\"\", \"a\"])} | some _ in numbers.range(1, 600)])",
		"");
}

CF_TEST(hostile_texts_do_not_exhaust_the_parser)
{
	static const struct {
		const char *before, *what, *after;
		size_t n;
	} texts[] = {
		{ "package t\np := ", "[", "", 100000 },
		{ "package t\np := ", "{", "", 100000 },
		{ "package t\np := ", "(", "", 100000 },
		{ "package t\np := ", "{1|", "", 5000 },
		{ "package t\np := f", "(f", "", 5000 },
		{ "package t\np if ", "not ", "", 5000 },
		{ "package t\np := 1", "+1", "", 100000 },
		{ "package t\np := $\"", "{$\"", "", 5000 },
		{ "package t\np := a", "[a", "", 5000 },
		{ "package t\n", "p if { every x in [1] { ", "", 5000 },
		{ "package t\np := 1 if true", " else := 2 if false", "", 3000 },
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(texts); i++) {
		cf_cleanup(cf_freep) char *text =
			repeat(texts[i].before, texts[i].what, texts[i].n, texts[i].after);
		struct cf_err err = { 0 };
		int r = engine_refuses(text, &err);

		EXPECT(r <= 0);
	}
}

CF_TEST(hostile_recursion_is_found)
{
	struct cf_err err;

	EXPECT_FAILS(engine_refuses("package t\np if q\nq if p", &err), CF_INVALID_ARGUMENT);
	EXPECT(strstr(err.msg, "rego_recursion_error"));
	EXPECT_FAILS(engine_refuses("package t\nf(x) := f(x - 1)", &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(engine_refuses("package t\np := data.t[\"p\"]", &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(engine_refuses("package t\np := [x | x := data.t[_]]", &err),
	             CF_INVALID_ARGUMENT);
}

CF_TEST(hostile_chains_of_rules_are_stopped)
{
	struct cf_buf b = { .max = 64u << 20 };
	int r;

	cf_buf_add_str(&b, "package t\np := r0\n");
	for (unsigned i = 0; i < 5000; i++)
		cf_buf_printf(&b, "r%u := r%u\n", i, i + 1);
	cf_buf_add_str(&b, "r5000 := 1\n");
	cf_cleanup(cf_freep) char *text = cf_buf_take_str(&b);
	cf_cleanup(cf_freep) char *got = engine_run(text, "", NULL, &r);
	EXPECT(strstr(got, "too deep") || strstr(got, "nested more than"));
	EXPECT_INT(r, -CF_RESOURCE_EXHAUSTED);
}

CF_TEST(hostile_sets_of_many_equal_members_are_quick)
{
	EXPECT_RUN("p := count({y | some a in numbers.range(1, 1000); some b in "
	           "numbers.range(1, 100); x := a * b; y := x % 7})",
	           "", "7");
}

CF_TEST(hostile_runs_can_be_cancelled_and_leave_nothing)
{
	cf_cleanup(policy_unrefp) struct policy *p = engine_compile("package t\np := input.a + 1");
	cf_cleanup(policy_eval_freep) struct policy_eval *ev = NULL;
	struct policy_request rq = { .query = "data.t.p",
		                     .input_json = CF_VIEW_LIT("{\"a\": 41}") };
	const struct pv *v;
	struct rusage before, after;
	struct cf_err err;

	EXPECT_OK(policy_eval_new(NULL, &ev, &err), &err);
	for (unsigned i = 0; i < 1000; i++)
		EXPECT_INT(policy_run(p, ev, &rq, &v, &err), 0);
	getrusage(RUSAGE_SELF, &before);
	for (unsigned i = 0; i < 100000; i++)
		EXPECT_INT(policy_run(p, ev, &rq, &v, &err), 0);
	getrusage(RUSAGE_SELF, &after);
	EXPECT(after.ru_maxrss - before.ru_maxrss < 4096); /* KiB over 100 000 runs */
}

/* Hook answers, conflicts, budgets, explanations, traces, patches: a thousand rounds of a hundred. */
static int answer(void *user, struct policy_eval *ev, const struct pv *const *args,
                  const struct pv **ret, struct cf_err *err)
{
	(void)user;
	return policy_value_string(args[0], &(struct cf_view){ 0 })
	               ? policy_value_read(ev, cf_view_str("[\"a\", {\"b\": 1.5}]"), ret, err)
	               : cf_fail(err, CF_UNAVAILABLE, "no text");
}

static void look(void *user, const struct policy_trace *t)
{
	*(size_t *)user += t->text.size;
}

/* The address sanitizer keeps what was freed for a while; leaks it reports itself. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define GROWTH_KIB_MAX (320 << 10)
#define RUNS           10000u /* each is slow then */
#else
#define GROWTH_KIB_MAX (4 << 10)
#define RUNS           100000u
#endif

static const struct policy_hook one_hook[] = { { .name = "ask", .arity = 1, .call = answer } };

CF_TEST(hostile_runs_of_all_kinds_leave_nothing)
{
	static const char text[] = "package t\n"
				   "q[x] := n if { some x in input.xs; n := count(x) }\n"
				   "ok if { every x in input.xs { regex.match(sprintf(`^%s+$`, "
				   "[x]), x) }; q.aa == 2 }\n"
				   "conflict := x if some x in input.xs\n"
				   "hooked := ask(input.xs[0])[0]\n"
				   "failing := ask(1)\n"
				   "endless if { some a in numbers.range(1, 50000); some b in "
				   "numbers.range(1, 50000)\n"
				   "a + b < 0 }\n"
				   "mocked if ok with input.xs as [\"aa\"]\n"
				   "why if { not ok; input.y == 1 }\n"
				   "verdict := {\"allowed\": true, \"ops\": [{\"op\": \"add\", "
				   "\"path\": \"/pstate/n\",\n"
				   "\"value\": input.xs}]}\n";
	static const char *const queries[] = { "data.t.ok",      "data.t.conflict", "data.t.hooked",
		                               "data.t.failing", "data.t.endless",  "data.t.mocked",
		                               "data.t.why",     "data.t.verdict",  "data.t",
		                               "data.t.nosuch" };
	struct policy_source src = { .name = "t.rego", .text = cf_view_str(text) };
	struct policy_options opt = { .hooks = one_hook, .hook_count = 1 };
	const struct policy_budget budget = { .steps = 400 };
	cf_cleanup(policy_unrefp) struct policy *p = NULL;
	cf_cleanup(policy_eval_freep) struct policy_eval *ev = NULL;
	cf_cleanup(policy_document_freep) struct policy_document *state = NULL;
	size_t traced = 0;
	struct rusage before, after;
	struct cf_err err;

	EXPECT_OK(policy_compile(&src, 1, &opt, &p, &err), &err);
	EXPECT_OK(policy_eval_new(&budget, &ev, &err), &err);
	EXPECT_OK(policy_document_read(cf_view_str("{\"pstate\":{}}"), &state, &err), &err);
	for (unsigned i = 0; i < RUNS + 1000; i++) {
		struct policy_request rq = { .query = queries[i % CF_ARRAY_LEN(queries)],
			                     .data = policy_document_value(state),
			                     .wants_explain = i % 3 == 0,
			                     .trace = i % 7 == 0 ? look : NULL,
			                     .trace_user = &traced };
		const struct pv *v = NULL, *ops = NULL;
		bool allowed;

		rq.input_json = i % 11 ? cf_view_str("{\"xs\": [\"aa\", \"b\"]}")
		                       : cf_view_str("{\"xs\": [\"aa\", \"b\"");
		if (i == 1000)
			getrusage(RUSAGE_SELF, &before);
		if (policy_run(p, ev, &rq, &v, &err) == 0 && i % 10 == 7 &&
		    policy_value_verdict(v, &allowed, &ops, &err) == 0)
			EXPECT_OK(policy_document_patch(state, ops, "/pstate/", &err), &err);
	}
	getrusage(RUSAGE_SELF, &after);
	EXPECT(traced > 0);
	EXPECT(after.ru_maxrss - before.ru_maxrss < GROWTH_KIB_MAX);
}
