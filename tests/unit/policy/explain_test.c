/* SPDX-License-Identifier: Apache-2.0 */
/* For refusals of real shape the explanation names the literal that decided and its values. */
#include "tests/unit/policy/engine.h"

static const char resource_policy[] = "package policy\n"
				      "default allow := false\n"
				      "wanted := data[\"resource-path\"]\n"
				      "allow if {\n"
				      "\tdata.plugin == \"resource\"\n"
				      "\tcount(wanted) == 3\n"
				      "\tevery _, part in input.submods {\n"
				      "\t\tpart.status == \"affirming\"\n"
				      "\t}\n"
				      "\tnot input.submods.cpu0.sample\n"
				      "\tinput.submods.cpu0.svn >= 3\n"
				      "\tsome id in input.identifiers\n"
				      "\tid == wanted[1]\n"
				      "}\n";

static const char guest_policy[] = "package agent_policy\n"
				   "default ExecProcessRequest := false\n"
				   "default CopyFileRequest := false\n"
				   "commands := [[\"/bin/true\"], [\"cat\", \"/proc/uptime\"]]\n"
				   "ExecProcessRequest if {\n"
				   "\tsome command in commands\n"
				   "\tcommand == input.process.Args\n"
				   "}\n"
				   "CopyFileRequest if {\n"
				   "\tpath_ok(input.path)\n"
				   "\tnot startswith(input.target, \"/\")\n"
				   "}\n"
				   "path_ok(path) if regex.match(`^/run/shared/[0-9a-f]+$`, path)\n"
				   "SizeRequest := to_number(input.size) * 2\n";

#define GOOD_DATA "{\"plugin\": \"resource\", \"resource-path\": [\"default\", \"key\", \"1\"]}"

static const struct {
	const char *text, *query, *input, *data;
	const char *wants[3]; /* parts of the explanation */
} refusals[] = {
	{ resource_policy,
	  "data.policy.allow",
	  "{}",
	  "{\"plugin\": \"external\", \"resource-path\": []}",
	  { "data.policy.allow is false (default, t.rego:2:", "data.plugin == \"resource\"",
	    "data.plugin is \"external\"" } },
	{ resource_policy,
	  "data.policy.allow",
	  "{}",
	  "{\"plugin\": \"resource\", \"resource-path\": [1]}",
	  { "failed at 6:", "count(wanted) == 3", "is 1" } },
	{ resource_policy,
	  "data.policy.allow",
	  "{\"submods\": {\"cpu0\": {\"status\": \"affirming\"}, \"gpu0\": {\"status\": "
	  "\"warning\"}}}",
	  GOOD_DATA,
	  { "every _, part in input.submods", "element is {\"status\": \"warning\"}",
	    "it failed at 8:3:  part.status == \"affirming\"" } },
	{ resource_policy,
	  "data.policy.allow",
	  "{\"submods\": {\"cpu0\": {\"status\": \"affirming\", \"sample\": {\"svn\": 1}}}}",
	  GOOD_DATA,
	  { "not input.submods.cpu0.sample", "input.submods.cpu0.sample is {\"svn\": 1}",
	    "\"not\" needs it missing or false" } },
	{ resource_policy,
	  "data.policy.allow",
	  "{\"submods\": {\"cpu0\": {\"status\": \"affirming\", \"svn\": 2}}}",
	  GOOD_DATA,
	  { "input.submods.cpu0.svn >= 3", "(false)", "input.submods.cpu0.svn is 2" } },
	{ resource_policy,
	  "data.policy.allow",
	  "{\"submods\": {\"cpu0\": {\"status\": \"affirming\", \"svn\": 4}}, \"identifiers\": "
	  "[\"a\", \"b\"]}",
	  GOOD_DATA,
	  { "tried 2 ways; the furthest failed at 13:", "id == wanted[1]", "\"key\"" } },
	{ guest_policy,
	  "data.agent_policy.ExecProcessRequest",
	  "{\"process\": {\"Args\": [\"sh\"]}}",
	  "{}",
	  { "tried 2 ways", "command == input.process.Args", "[\"sh\"]" } },
	{ guest_policy,
	  "data.agent_policy.ExecProcessRequest",
	  "{}",
	  "{}",
	  { "(undefined)", "command == input.process.Args", "input.process.Args is undefined" } },
	{ guest_policy,
	  "data.agent_policy.CopyFileRequest",
	  "{\"path\": \"/run/shared/../x\", \"target\": \"a\"}",
	  "{}",
	  { "path_ok(input.path)", "asked data.agent_policy.path_ok",
	    "the value is \"/run/shared/../x\"" } },
	{ guest_policy,
	  "data.agent_policy.CopyFileRequest",
	  "{\"path\": \"/run/shared/0a\", \"target\": \"/etc\"}",
	  "{}",
	  { "not startswith(input.target, \"/\")", "(not)", "input.target is \"/etc\"" } },
	{ guest_policy,
	  "data.agent_policy.SizeRequest",
	  "{\"size\": \"much\"}",
	  "{}",
	  { "is undefined", "(builtin_error)", "to_number: invalid syntax" } },
};

static char *explanation(size_t i, bool as_json)
{
	cf_cleanup(policy_unrefp) struct policy *p = engine_compile(refusals[i].text);
	cf_cleanup(policy_eval_freep) struct policy_eval *ev = NULL;
	struct policy_request rq = { .query = refusals[i].query,
		                     .input_json = cf_view_str(refusals[i].input),
		                     .data_json = cf_view_str(refusals[i].data),
		                     .wants_explain = true };
	const struct pv *v = NULL;
	struct cf_buf out = { 0 };
	struct cf_err err;

	EXPECT_OK(policy_eval_new(NULL, &ev, &err), &err);
	int r = policy_run(p, ev, &rq, &v, &err);
	EXPECT(r >= 0 && !policy_value_is_true(v));
	EXPECT_OK(policy_explain(ev, as_json, &out, &err), &err);
	return cf_buf_take_str(&out);
}

CF_TEST(explain_names_the_deciding_literal_and_its_values)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(refusals); i++) {
		cf_cleanup(cf_freep) char *text = explanation(i, false);

		for (size_t k = 0; k < 3; k++) {
			if (!strstr(text, refusals[i].wants[k]))
				print_message("%zu: \"%s\" is not in\n%s", i, refusals[i].wants[k],
				              text);
			EXPECT(strstr(text, refusals[i].wants[k]));
		}
	}
}

CF_TEST(explain_gives_json_that_can_be_read)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(refusals); i++) {
		cf_cleanup(cf_freep) char *text = explanation(i, true);
		cf_cleanup(policy_document_freep) struct policy_document *d = NULL;
		struct cf_err err;

		EXPECT_OK(policy_document_read(cf_view_str(text), &d, &err), &err);
		EXPECT(policy_value_get(policy_document_value(d), "bodies"));
	}
}

/* A default has no record of its own: closing it must leave the asking body's record alone. */
CF_TEST(explain_survives_defaults_and_too_many_bodies)
{
	static const char text[] = "package policy\n"
				   "default executables := 33\n"
				   "default hardware := 97\n"
				   "executables := 3 if input.snp.measurement == \"a\"\n"
				   "hardware := 2 if { some x in numbers.range(1, 600); f(x) }\n"
				   "f(x) if { x > 1000; input.snp }\n"
				   "trust_claims := {\"executables\": executables, "
				   "\"hardware\": hardware, \"s\": [executables, seen]}\n"
				   "seen contains x if { some x in [1]; executables == 3 }\n";
	cf_cleanup(policy_unrefp) struct policy *p = engine_compile(text);
	cf_cleanup(policy_eval_freep) struct policy_eval *ev = NULL;
	struct policy_request rq = { .query = "data.policy.trust_claims",
		                     .input_json = CF_VIEW_LIT("{}"),
		                     .wants_explain = true };
	cf_cleanup(cf_buf_fini) struct cf_buf out = { 0 };
	const struct pv *v = NULL;
	struct cf_err err;

	EXPECT_OK(policy_eval_new(NULL, &ev, &err), &err);
	EXPECT_INT(policy_run(p, ev, &rq, &v, &err), 0);
	EXPECT_OK(policy_explain(ev, false, &out, &err), &err);
	EXPECT(strstr((char *)out.data, "data.policy.trust_claims is {"));
	rq.query = "data.policy.hardware";
	EXPECT_INT(policy_run(p, ev, &rq, &v, &err), 0);
	cf_buf_reset(&out);
	EXPECT_OK(policy_explain(ev, false, &out, &err), &err);
	EXPECT(strstr((char *)out.data, "tried 600 ways"));
}

/* ---- traces ---- */

static void add_event(void *user, const struct policy_trace *t)
{
	static const char *const words[] = { "enter", "try", "fail", "exit" };
	struct cf_buf *out = user;

	cf_buf_printf(out, "%u %s %u:%u %.*s\n", t->depth, words[t->kind], t->line, t->col,
	              (int)t->text.size, (const char *)t->text.data);
	EXPECT(t->kind == POLICY_TRACE_EXIT || !t->value);
}

CF_TEST(trace_tells_each_step_in_order)
{
	cf_cleanup(policy_unrefp) struct policy *p = engine_compile(
		"package t\nallow if {\n\tgood(input.x)\n\tinput.y\n}\ngood(x) if x > 1\n");
	cf_cleanup(policy_eval_freep) struct policy_eval *ev = NULL;
	cf_cleanup(cf_buf_fini) struct cf_buf out = { 0 };
	struct policy_request rq = { .query = "data.t.allow",
		                     .input_json = CF_VIEW_LIT("{\"x\": 2}"),
		                     .trace = add_event,
		                     .trace_user = &out };
	const struct pv *v = NULL;
	struct cf_err err;

	EXPECT_OK(policy_eval_new(NULL, &ev, &err), &err);
	EXPECT_INT(policy_run(p, ev, &rq, &v, &err), POLICY_E_UNDEFINED);
	EXPECT_STR((char *)out.data, "1 enter 2:1 data.t.allow\n"
	                             "1 try 3:7 good(input.x)\n"
	                             "2 enter 6:1 data.t.good\n"
	                             "2 try 6:12 x > 1\n"
	                             "2 exit 6:1 data.t.good\n"
	                             "1 try 4:2 input.y\n"
	                             "1 fail 4:2 input.y\n"
	                             "1 exit 2:1 data.t.allow\n");
}

CF_TEST(explain_needs_a_run_that_asked_for_it)
{
	cf_cleanup(policy_eval_freep) struct policy_eval *ev = NULL;
	struct cf_buf out = { 0 };
	struct cf_err err;

	EXPECT_OK(policy_eval_new(NULL, &ev, &err), &err);
	EXPECT_FAILS(policy_explain(ev, false, &out, &err), CF_FAILED_PRECONDITION);
	cf_buf_fini(&out);
}
