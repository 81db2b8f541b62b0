/* SPDX-License-Identifier: Apache-2.0 */
/* `coffer policy test`: rules named test_… each on its own, and questions with known answers. */
#include "base/fd.h"
#include "cli/policy_cmd.h"
#include "cli/policy_load.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <sys/stat.h>

#define CASES_FILE_MAX (16u << 20)

static const char help[] =
	"usage: coffer policy test [options] POLICY...\n"
	"Runs every rule whose name starts with test_, and the cases beside the policies. A test "
	"passes when it\n"
	"has a value that is not false; todo_test_ rules are counted as skipped. POLICY is a .rego "
	"file, a\n"
	"folder of them, or a file of cases; cases/*.json of a folder are such files:\n"
	"\n"
	"  [{\"name\": \"…\", \"query\": \"data.policy.allow\", \"input\": …, \"data\": …,\n"
	"    \"reference_values\": {…}, \"want\": true}, …]\n"
	"  or \"undefined\": true, or \"want_error_code\": \"eval_conflict_error\" in place of "
	"want\n"
	"\n"
	"  -r, --run TEXT   only tests whose path, and cases whose name, contains TEXT\n"
	"  -d, --data FILE  JSON: the base document of test_ rules\n"
	"      --trace      every step of what failed, on standard error\n"
	"      --v0, --v1   the language\n"
	"      --json       a document instead of lines\n"
	"\n"
	"Exit code 0: all passed; 3: one failed; 9: the policies or the cases cannot be read.\n";

struct tally {
	struct policy_job *job;
	struct policy_eval *ev;
	unsigned passed, failed, errors, skipped;
	struct cf_buf json;
	bool is_silent; /* a failure is run again for its trace */
};

static void print_line(void *user, const char *file, unsigned line, struct cf_view text)
{
	const struct tally *t = user;

	if (!t->is_silent)
		fprintf(stderr, "    %s:%u: %.*s\n", file, line, (int)text.size,
		        (const char *)text.data);
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

/* What failed once fails again: this time to be looked at. */
static void trace_again(struct tally *t, const struct policy_request *asked)
{
	struct policy_request rq = *asked, traced = policy_job_request(t->job);
	const struct pv *v;
	struct cf_err err;

	if (!t->job->wants_trace)
		return;
	rq.trace = traced.trace;
	rq.trace_user = traced.trace_user;
	t->is_silent = true;
	if (policy_run(t->job->policy, t->ev, &rq, &v, &err) < 0)
		fprintf(stderr, "    %s\n", err.msg);
	t->is_silent = false;
}

static bool is_false(const struct pv *v)
{
	struct cf_buf b = { 0 };
	bool ret = policy_value_json(v, &b, NULL) == 0 && cf_view_eq_str(cf_buf_view(&b), "false");

	cf_buf_fini(&b);
	return ret;
}

static bool is_wanted(const struct tally *t, const char *name)
{
	return !t->job->query || strstr(name, t->job->query);
}

/* ---- rules ---- */

static void run_test(void *user, const char *path)
{
	struct tally *t = user;
	struct policy_request rq = policy_job_request(t->job);
	const struct pv *v = NULL;
	struct cf_err err = { 0 };

	if (!is_wanted(t, path))
		return;
	rq.query = path;
	rq.print = print_line;
	rq.print_user = t;
	rq.trace = NULL;
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
		return;
	}
	trace_again(t, &rq);
}

static void skip_test(void *user, const char *path)
{
	struct tally *t = user;

	t->skipped++;
	report(t, path, "skip", NULL);
}

/* ---- cases ---- */

struct cases {
	struct tally *tally;
	const char *file;
	unsigned number;
};

static char *text_member(const struct pv *c, const char *key)
{
	const struct pv *v = policy_value_get(c, key);
	struct cf_view text;

	return v && policy_value_string(v, &text) && !cf_view_has_nul(text) ? cf_view_dup(text)
	                                                                    : NULL;
}

static char *json_text(const struct pv *v)
{
	struct cf_buf b = { 0 };

	if (!v || policy_value_json(v, &b, NULL) < 0 || !b.data) {
		cf_buf_fini(&b);
		return cf_strdup(v ? "(too large)" : "undefined");
	}
	return cf_buf_take_str(&b);
}

/* The answer as the case would write it: a value, "undefined", or an error's code. */
static char *answer_text(const struct tally *t, int r, const struct pv *v, const struct cf_err *err)
{
	const char *code = policy_eval_code(t->ev);

	if (r < 0)
		return cf_asprintf("error %s: %s", code, err->msg);
	return json_text(r == POLICY_E_UNDEFINED ? NULL : v);
}

static bool is_right(const struct tally *t, const struct pv *c, int r, const char *got)
{
	cf_cleanup(cf_freep) char *code = text_member(c, "want_error_code");
	cf_cleanup(cf_freep) char *want = NULL;

	if (code)
		return r < 0 && cf_streq(policy_eval_code(t->ev), code);
	want = json_text(policy_value_get(c, "want"));
	return r >= 0 && cf_streq(got, want);
}

/* Reference values of the case stand behind query_reference_value() while it runs. */
static int reference_table(const struct pv *c, struct policy_document **ret, struct cf_err *err)
{
	const struct pv *values = policy_value_get(c, "reference_values");
	struct cf_buf text = { 0 };
	int r = values ? policy_value_json(values, &text, err) : 0;

	if (r == 0 && values)
		r = policy_document_read(cf_buf_view(&text), ret, err);
	cf_buf_fini(&text);
	return r;
}

static void judge_case(struct cases *k, const struct pv *c, const char *name)
{
	struct tally *t = k->tally;
	cf_cleanup(cf_freep) char *query = text_member(c, "query"), *got = NULL, *why = NULL;
	cf_cleanup(cf_freep) char *want = json_text(policy_value_get(c, "want"));
	cf_cleanup(policy_document_freep) struct policy_document *table = NULL;
	struct policy_request rq = { .query = query ? query : "data.policy.allow",
		                     .input = policy_value_get(c, "input"),
		                     .data = policy_value_get(c, "data"),
		                     .print = print_line,
		                     .print_user = t };
	const struct pv *v = NULL;
	struct cf_err err = { 0 };
	int r = reference_table(c, &table, &err);

	rq.hook_user = table;
	if (r == 0)
		r = policy_run(t->job->policy, t->ev, &rq, &v, &err);
	got = answer_text(t, r, v, &err);
	if (is_right(t, c, r, got)) {
		t->passed++;
		report(t, name, "pass", NULL);
		return;
	}
	t->failed++;
	why = cf_asprintf("%s is %s, not %s", rq.query, got, want);
	report(t, name, "fail", why);
	trace_again(t, &rq);
}

static void run_case(void *user, const struct pv *key, const struct pv *c)
{
	struct cases *k = user;
	cf_cleanup(cf_freep) char *own = text_member(c, "name");
	cf_cleanup(cf_freep) char *name = NULL;

	(void)key;
	k->number++;
	name = own ? cf_asprintf("%s: %s", k->file, own)
	           : cf_asprintf("%s: case %u", k->file, k->number);
	if (is_wanted(k->tally, name))
		judge_case(k, c, name);
}

static int run_cases(struct tally *t, const char *file, struct cf_err *err)
{
	struct cf_buf text = { .max = CASES_FILE_MAX + 1 };
	cf_cleanup(policy_document_freep) struct policy_document *doc = NULL;
	struct cases k = { .tally = t, .file = file };
	const struct pv *list;
	int r = cf_read_file(file, CASES_FILE_MAX, &text, err);

	if (r == 0)
		r = policy_document_read(cf_buf_view(&text), &doc, err);
	cf_buf_fini(&text);
	if (r < 0)
		return cf_wrap(err, r, "%s", file);
	list = policy_value_get(policy_document_value(doc), "cases");
	policy_value_each(list ? list : policy_document_value(doc), run_case, &k);
	if (!k.number)
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s: no list of cases", file);
	return 0;
}

/* ---- what there is to run ---- */

static int is_json(const struct dirent *e)
{
	return cf_ends_with(e->d_name, ".json");
}

static void find_cases(const char *folder, struct cf_strv *ret)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/cases", folder);
	struct dirent **list;
	int n = scandir(path, &list, is_json, alphasort);

	for (int i = 0; i < n; i++) {
		cf_strv_addf(ret, "%s/%s", path, list[i]->d_name);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
}

static int add_operand(struct policy_job *job, struct cf_strv *cases, const char *path,
                       struct cf_err *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return cf_fail_errno(err, errno, "%s", path);
	if (S_ISDIR(st.st_mode))
		find_cases(path, cases);
	else if (cf_ends_with(path, ".json")) {
		cf_strv_add(cases, path);
		return 0;
	}
	return policy_job_add(job, path, err);
}

static void print_total(struct tally *t)
{
	unsigned total = t->passed + t->failed + t->errors;

	if (!t->job->is_json) {
		printf("%u of %u passed, %u failed, %u errors, %u skipped\n", t->passed, total,
		       t->failed, t->errors, t->skipped);
		return;
	}
	printf("{\"schema\":\"coffer.policy-test/1\",\"passed\":%u,\"failed\":%u,\"errors\":%u,"
	       "\"skipped\":%u,\"tests\":[%s]}\n",
	       t->passed, t->failed, t->errors, t->skipped,
	       t->json.data ? (const char *)t->json.data : "");
}

static int run_all(struct policy_job *job, const struct cf_strv *cases)
{
	cf_cleanup(policy_eval_freep) struct policy_eval *ev = NULL;
	struct tally t = { .job = job };
	struct cf_err err = { 0 };
	int r = policy_eval_new(NULL, &ev, &err);

	if (r < 0)
		return cli_fail(&err);
	t.ev = ev;
	policy_each_rule(job->policy, "test_", run_test, &t);
	policy_each_rule(job->policy, "todo_test_", skip_test, &t);
	for (size_t i = 0; r == 0 && i < cases->count; i++)
		r = run_cases(&t, cases->items[i], &err);
	if (r == 0)
		print_total(&t);
	cf_buf_fini(&t.json);
	if (r < 0) {
		fprintf(stderr, "coffer: %s\n", err.msg);
		return policy_job_exit(&err);
	}
	return t.failed || t.errors ? CLI_NO : CLI_OK;
}

/* -1: go on; else the exit code. */
static int parse(struct policy_job *job, int argc, char **argv)
{
	static const struct option options[] = {
		{ "run", required_argument, NULL, 'r' }, { "data", required_argument, NULL, 'd' },
		{ "v0", no_argument, NULL, '0' },        { "v1", no_argument, NULL, '1' },
		{ "trace", no_argument, NULL, 't' },     { "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },      { 0 },
	};
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "r:d:", options, NULL)) >= 0) {
		if (c == 'h') {
			fputs(help, stdout);
			return CLI_OK;
		}
		if (c == '?')
			return cli_usage("policy test", "see the line above");
		if (c == 'r' || c == 'd')
			*(c == 'r' ? &job->query : &job->data) = optarg;
		else if (c == '0' || c == '1')
			job->version = c == '0' ? POLICY_REGO_V0 : POLICY_REGO_V1;
		else
			*(c == 'j' ? &job->is_json : &job->wants_trace) = true;
	}
	return -1;
}

int cli_policy_test(int argc, char **argv)
{
	cf_cleanup(cf_strv_fini) struct cf_strv cases = { 0 };
	struct policy_job job = { 0 };
	struct cf_err err = { 0 };
	int code = parse(&job, argc, argv);

	for (; code < 0 && optind < argc; optind++)
		if (add_operand(&job, &cases, argv[optind], &err) < 0)
			code = cli_fail(&err);
	if (code < 0 && !job.files.count)
		code = cli_usage("policy test", "no policy named");
	if (code < 0 && policy_job_load(&job, &err) < 0) {
		if (!job.error_count)
			fprintf(stderr, "coffer: %s\n", err.msg);
		code = policy_job_exit(&err);
	}
	if (code < 0)
		code = run_all(&job, &cases);
	policy_job_fini(&job);
	return code;
}
