/* SPDX-License-Identifier: Apache-2.0 */
/* `coffer policy test`: rules named test_… are run, each one on its own. */
#include "cli/policy_cmd.h"
#include "cli/policy_load.h"

#include <getopt.h>

static const char help[] =
	"usage: coffer policy test [options] POLICY...\n"
	"Runs every rule whose name starts with test_. A test passes when it has a value that is "
	"not "
	"false;\n"
	"todo_test_ rules are counted as skipped. POLICY is a .rego file or a folder of them.\n"
	"\n"
	"  -r, --run TEXT   only tests whose path contains TEXT\n"
	"  -d, --data FILE  JSON: the base document\n"
	"      --v0, --v1   the language\n"
	"      --json       a document instead of lines\n"
	"\n"
	"Exit code 0: all passed; 3: one failed; 9: the policies do not compile.\n";

struct tally {
	struct policy_job *job;
	struct policy_eval *ev;
	unsigned passed, failed, errors, skipped;
	struct cf_buf json;
};

static void print_line(void *user, const char *file, unsigned line, struct cf_view text)
{
	(void)user;
	fprintf(stderr, "    %s:%u: %.*s\n", file, line, (int)text.size, (const char *)text.data);
}

static void report(struct tally *t, const char *path, const char *result, const char *why)
{
	if (!t->job->is_json) {
		if (strcmp(result, "pass") != 0)
			printf("%s: %s%s%s\n", path, result, why ? ": " : "", why ? why : "");
		return;
	}
	cf_buf_add_str(&t->json, t->json.size ? ",{\"name\":" : "{\"name\":");
	cf_buf_add_json_str(&t->json, cf_view_str(path));
	cf_buf_printf(&t->json, ",\"result\":\"%s\"", result);
	if (why) {
		cf_buf_add_str(&t->json, ",\"error\":");
		cf_buf_add_json_str(&t->json, cf_view_str(why));
	}
	cf_buf_add_str(&t->json, "}");
}

static bool is_false(const struct pv *v)
{
	struct cf_buf b = { 0 };
	bool ret = policy_value_json(v, &b, NULL) == 0 && cf_view_eq_str(cf_buf_view(&b), "false");

	cf_buf_fini(&b);
	return ret;
}

static void run_test(void *user, const char *path)
{
	struct tally *t = user;
	struct policy_request rq = policy_job_request(t->job);
	const struct pv *v = NULL;
	struct cf_err err = { 0 };

	if (t->job->query && !strstr(path, t->job->query))
		return;
	rq.query = path;
	rq.print = print_line;
	int r = policy_run(t->job->policy, t->ev, &rq, &v, &err);
	if (r < 0) {
		t->errors++;
		report(t, path, "error", err.msg);
	} else if (r == POLICY_E_UNDEFINED || is_false(v)) {
		t->failed++;
		report(t, path, "fail", NULL);
	} else {
		t->passed++;
		report(t, path, "pass", NULL);
	}
}

static void skip_test(void *user, const char *path)
{
	struct tally *t = user;

	t->skipped++;
	report(t, path, "skip", NULL);
}

static int run_all(struct policy_job *job)
{
	cf_cleanup(policy_eval_freep) struct policy_eval *ev = NULL;
	struct tally t = { .job = job };
	struct cf_err err = { 0 };

	if (policy_eval_new(NULL, &ev, &err) < 0)
		return cli_fail(&err);
	t.ev = ev;
	policy_each_rule(job->policy, "test_", run_test, &t);
	policy_each_rule(job->policy, "todo_test_", skip_test, &t);
	unsigned total = t.passed + t.failed + t.errors;
	if (job->is_json)
		printf("{\"schema\":\"coffer.policy-test/"
		       "1\",\"passed\":%u,\"failed\":%u,\"errors\":%u,"
		       "\"skipped\":%u,\"tests\":[%s]}\n",
		       t.passed, t.failed, t.errors, t.skipped,
		       t.json.data ? (const char *)t.json.data : "");
	else
		printf("%u of %u passed, %u failed, %u errors, %u skipped\n", t.passed, total,
		       t.failed, t.errors, t.skipped);
	cf_buf_fini(&t.json);
	return t.failed || t.errors ? CLI_NO : CLI_OK;
}

int cli_policy_test(int argc, char **argv)
{
	static const struct option options[] = {
		{ "run", required_argument, NULL, 'r' },
		{ "data", required_argument, NULL, 'd' },
		{ "v0", no_argument, NULL, '0' },
		{ "v1", no_argument, NULL, '1' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct policy_job job = { 0 };
	struct cf_err err = { 0 };
	int c, code = -1;

	optind = 1;
	while (code < 0 && (c = getopt_long(argc, argv, "r:d:", options, NULL)) >= 0) {
		if (c == 'r')
			job.query = optarg;
		else if (c == 'd')
			job.data = optarg;
		else if (c == '0' || c == '1')
			job.version = c == '0' ? POLICY_REGO_V0 : POLICY_REGO_V1;
		else if (c == 'j')
			job.is_json = true;
		else
			code = c == 'h' ? (fputs(help, stdout), CLI_OK)
			                : cli_usage("policy test", "see the line above");
	}
	for (; code < 0 && optind < argc; optind++)
		if (policy_job_add(&job, argv[optind], &err) < 0)
			code = cli_fail(&err);
	if (code < 0 && !job.files.count)
		code = cli_usage("policy test", "no policy named");
	if (code < 0 && policy_job_load(&job, &err) < 0) {
		if (!job.error_count)
			fprintf(stderr, "coffer: %s\n", err.msg);
		code = policy_job_exit(&err);
	}
	if (code < 0)
		code = run_all(&job);
	policy_job_fini(&job);
	return code;
}
