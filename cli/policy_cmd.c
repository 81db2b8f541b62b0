/* SPDX-License-Identifier: Apache-2.0 */
/* `coffer policy eval|explain|check|test`: Rego on the command line. */
#include "cli/policy_cmd.h"

#include "cli/policy_load.h"

#include <getopt.h>
#include <unistd.h>

static const char help_eval[] =
	"usage: coffer policy eval [options] --query QUERY POLICY...\n"
	"Evaluates a query; POLICY is a .rego file or a folder of them. Prints the result set as "
	"JSON.\n"
	"\n"
	"  -q, --query QUERY         such as data.policy.allow, or any body\n"
	"  -d, --data FILE           JSON: the base document (a .rego file counts as a policy)\n"
	"  -i, --input FILE          JSON: the input; - is standard input\n"
	"      --input-term TERM     the input as a Rego term\n"
	"      --references FILE     JSON object behind query_reference_value(id)\n"
	"      --trace               every step on standard error\n"
	"      --strict-builtin-errors  a builtin's error ends the evaluation\n"
	"      --v0, --v1            the language; default: v1, then v0 for what cannot be read "
	"so\n"
	"      --json                one line\n"
	"\n"
	"Exit code 0: there is a result and nothing in it is false; 3: no; 9: errors.\n";

static const char help_explain[] =
	"usage: coffer policy explain [options] [--query] PATH POLICY...\n"
	"Says why a rule is what it is: PATH such as data.policy.allow. Options as for eval;\n"
	"-p FILE is another way to name a policy.\n";

static const char help_check[] =
	"usage: coffer policy check [--v0|--v1] POLICY...\n"
	"Parses and compiles; prints errors and warnings with their places. Exit code 9: errors.\n";

enum { OPT_TERM = 256, OPT_TRACE, OPT_REFS, OPT_STRICT, OPT_V0, OPT_V1, OPT_JSON, OPT_HELP };

static const struct option options[] = {
	{ "query", required_argument, NULL, 'q' },
	{ "data", required_argument, NULL, 'd' },
	{ "input", required_argument, NULL, 'i' },
	{ "policy", required_argument, NULL, 'p' },
	{ "input-term", required_argument, NULL, OPT_TERM },
	{ "references", required_argument, NULL, OPT_REFS },
	{ "trace", no_argument, NULL, OPT_TRACE },
	{ "strict-builtin-errors", no_argument, NULL, OPT_STRICT },
	{ "v0", no_argument, NULL, OPT_V0 },
	{ "v0-compatible", no_argument, NULL, OPT_V0 },
	{ "v1", no_argument, NULL, OPT_V1 },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "format", required_argument, NULL, 'f' },
	{ "help", no_argument, NULL, OPT_HELP },
	{ 0 },
};

static int add_data(struct policy_job *job, const char *path, struct cf_err *err)
{
	if (!cf_ends_with(path, ".rego")) {
		job->data = path;
		return 0;
	}
	return policy_job_add(job, path, err);
}

/* 0 to go on, else the exit code to return, negated for success. */
static int take_option(struct policy_job *job, int c, const char *help, struct cf_err *err)
{
	switch (c) {
	case 'q':
		job->query = optarg;
		return 0;
	case 'd':
		return add_data(job, optarg, err);
	case 'i':
		job->input = optarg;
		return 0;
	case 'p':
		return policy_job_add(job, optarg, err);
	case OPT_TERM:
		job->input_term = optarg;
		return 0;
	case OPT_REFS:
		job->references = optarg;
		return 0;
	case OPT_STRICT:
		job->is_strict = true;
		return 0;
	case OPT_TRACE:
		job->wants_trace = true;
		return 0;
	case OPT_V0:
		job->version = POLICY_REGO_V0;
		return 0;
	case OPT_V1:
		job->version = POLICY_REGO_V1;
		return 0;
	case OPT_JSON:
	case 'f':
		job->is_json |= c == OPT_JSON;
		return 0;
	case OPT_HELP:
		fputs(help, stdout);
		return 1;
	default:
		return 2;
	}
}

/* Options, then operands. Returns -1 to go on, or the exit code. */
static int parse(struct policy_job *job, int argc, char **argv, const char *name, const char *help,
                 bool takes_path)
{
	struct cf_err err = { 0 };
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "q:d:i:p:f:", options, NULL)) >= 0) {
		int r = take_option(job, c, help, &err);

		if (r < 0)
			return cli_fail(&err);
		if (r > 0)
			return r == 1 ? CLI_OK : cli_usage(name, "see the line above");
	}
	if (takes_path && !job->query && optind < argc)
		job->query = argv[optind++];
	for (; optind < argc; optind++)
		if (policy_job_add(job, argv[optind], &err) < 0)
			return cli_fail(&err);
	return -1;
}

/* ---- eval ---- */

struct printer {
	const struct policy_job *job;
	struct cf_buf out;
	unsigned count;
	bool is_false;
	struct cf_err err;
	int failed;
	unsigned expressions;
};

static void print_value(struct printer *p, const struct pv *v)
{
	int r = policy_value_json(v, &p->out, &p->err);

	if (r < 0)
		p->failed = r;
}

static void print_expression(void *user, const struct pv *key, const struct pv *val)
{
	struct printer *p = user;
	struct cf_buf one = { 0 };

	(void)key;
	cf_buf_add_str(&p->out, p->expressions++ ? ", {\"value\": " : "{\"value\": ");
	print_value(p, val);
	cf_buf_add_str(&p->out, ", \"text\": ");
	cf_buf_add_json_str(&p->out, cf_view_str(p->job->query));
	cf_buf_add_str(&p->out, ", \"location\": {\"row\": 1, \"col\": 1}}");
	if (policy_value_json(val, &one, NULL) == 0 && cf_view_eq_str(cf_buf_view(&one), "false"))
		p->is_false = true;
	cf_buf_fini(&one);
}

static int print_solution(void *user, const struct policy_solution *s)
{
	struct printer *p = user;
	struct cf_buf vars = { 0 };

	cf_buf_add_str(&p->out,
	               p->count++ ? ",\n    {\"expressions\": [" : "\n    {\"expressions\": [");
	p->expressions = 0;
	policy_value_each(s->expressions, print_expression, p);
	cf_buf_add_str(&p->out, "]");
	if (policy_value_json(s->bindings, &vars, NULL) == 0 && vars.size > 2) {
		cf_buf_add_str(&p->out, ", \"bindings\": ");
		cf_buf_add_view(&p->out, cf_buf_view(&vars));
	}
	cf_buf_fini(&vars);
	cf_buf_add_str(&p->out, "}");
	return p->failed != 0;
}

static void keep_term(void *user, const struct pv *key, const struct pv *val)
{
	(void)key;
	*(const struct pv **)user = val;
}

static int first_term(void *user, const struct policy_solution *s)
{
	policy_value_each(s->bindings, keep_term, user);
	return 1;
}

/* The input as a Rego term; it lives in an evaluator of its own. */
static int term_value(const struct policy_job *job, struct policy_eval *ev, const struct pv **ret,
                      struct cf_err *err)
{
	cf_cleanup(cf_freep) char *query = cf_asprintf("term = %s", job->input_term);
	struct policy_request rq = { .query = query };
	int r = policy_query(job->policy, ev, &rq, first_term, ret, err);

	return r == POLICY_E_UNDEFINED ? cf_fail(err, CF_INVALID_ARGUMENT, "input term: undefined")
	                               : r;
}

static void print_result(const struct printer *p)
{
	if (!p->count) {
		puts("{}");
		return;
	}
	if (!p->job->is_json) {
		printf("{\n  \"result\": [%s\n  ]\n}\n", (const char *)p->out.data);
		return;
	}
	fputs("{\"result\": [", stdout);
	for (size_t i = 0; i < p->out.size; i++) /* newlines stand between members only */
		if (p->out.data[i] != '\n')
			putchar(p->out.data[i]);
	puts("]}");
}

static int eval_loaded(struct policy_job *job)
{
	cf_cleanup(policy_eval_freep) struct policy_eval *ev = NULL, *term_ev = NULL;
	struct printer p = { .job = job, .out = { .max = 256u << 20 } };
	struct policy_request rq = policy_job_request(job);
	struct cf_err err = { 0 };
	int r = policy_eval_new(NULL, &ev, &err);

	rq.captures = true;
	if (r >= 0)
		r = policy_eval_new(NULL, &term_ev, &err);
	if (r >= 0 && job->input_term)
		r = term_value(job, term_ev, &rq.input, &err);
	if (r >= 0)
		r = policy_query(job->policy, ev, &rq, print_solution, &p, &err);
	if (r >= 0 && p.failed) {
		r = p.failed;
		err = p.err;
	}
	if (r < 0) {
		struct policy_message m = policy_eval_message(ev);

		policy_job_print_errors(job, &m, &err);
		fprintf(stderr, "coffer: %s\n", err.msg);
	} else {
		print_result(&p);
	}
	cf_buf_fini(&p.out);
	return r < 0 ? policy_job_exit(&err) : !p.count || p.is_false ? CLI_NO : CLI_OK;
}

int cli_policy_eval(int argc, char **argv)
{
	struct policy_job job = { 0 };
	struct cf_err err = { 0 };
	int code = parse(&job, argc, argv, "policy eval", help_eval, false);

	if (code < 0 && !job.query)
		code = cli_usage("policy eval", "--query is missing");
	if (code < 0 && policy_job_load(&job, &err) < 0) {
		policy_job_print_errors(&job, NULL, &err);
		if (!job.error_count)
			fprintf(stderr, "coffer: %s\n", err.msg);
		code = policy_job_exit(&err);
	}
	if (code < 0)
		code = eval_loaded(&job);
	policy_job_fini(&job);
	return code;
}

/* ---- explain ---- */

static int explain_loaded(struct policy_job *job)
{
	cf_cleanup(policy_eval_freep) struct policy_eval *ev = NULL;
	struct policy_request rq = policy_job_request(job);
	struct cf_buf out = { 0 };
	const struct pv *v = NULL;
	struct cf_err err = { 0 };
	int r = policy_eval_new(NULL, &ev, &err);

	rq.wants_explain = true;
	if (r >= 0)
		r = policy_run(job->policy, ev, &rq, &v, &err);
	if (r >= 0)
		r = policy_explain(ev, job->is_json, &out, &err) < 0 ? -1 : r;
	if (out.data)
		fputs((const char *)out.data, stdout);
	cf_buf_fini(&out);
	if (r < 0) {
		fprintf(stderr, "coffer: %s\n", err.msg);
		return policy_job_exit(&err);
	}
	return policy_value_is_true(v) ? CLI_OK : CLI_NO;
}

int cli_policy_explain(int argc, char **argv)
{
	struct policy_job job = { 0 };
	struct cf_err err = { 0 };
	int code = parse(&job, argc, argv, "policy explain", help_explain, true);

	if (code < 0 && !job.query)
		code = cli_usage("policy explain", "the path of a rule is missing");
	if (code < 0 && policy_job_load(&job, &err) < 0) {
		fprintf(stderr, "coffer: %s\n", err.msg);
		code = policy_job_exit(&err);
	}
	if (code < 0)
		code = explain_loaded(&job);
	policy_job_fini(&job);
	return code;
}

/* ---- check ---- */

int cli_policy_check(int argc, char **argv)
{
	struct policy_job job = { 0 };
	struct cf_err err = { 0 };
	int code = parse(&job, argc, argv, "policy check", help_check, false);

	if (code < 0 && !job.files.count)
		code = cli_usage("policy check", "no policy named");
	if (code < 0) {
		int r = policy_job_load(&job, &err);

		if (r < 0 && !job.error_count)
			fprintf(stderr, "coffer: %s\n", err.msg);
		if (r < 0 && job.is_json)
			policy_job_print_errors(&job, NULL, &err);
		code = r < 0 ? policy_job_exit(&err) : CLI_OK;
	}
	policy_job_fini(&job);
	return code;
}
