/* SPDX-License-Identifier: Apache-2.0 */
/* `coffer kbs policy …`: which rules decide in the key service. */
#include "base/fd.h"
#include "cli/cmds_kbs.h"
#include "cli/kbs_door.h"
#include "cli/policy_cmd.h"
#include "cli/policy_load.h"
#include "proto/kbs_wire.h"

#define TEXT_MAX   (1u << 20)
#define CLAIMS_MAX (4u << 20)

static const char help_put[] =
	"usage: coffer kbs policy put KIND[/ID] FILE|- [--json]\n"
	"       coffer kbs policy put KIND[/ID] --shipped NAME\n"
	"Compiles a policy in Rego and puts it into force. The one before stays when it does not "
	"compile.\n"
	"\n"
	"  resource                decides over releases (rule data.policy.allow), in place of "
	"the\n"
	"                          built-in rule that all parts of the guest are affirming\n"
	"  resource/REPOSITORY     … over those of kbs:///REPOSITORY/…, before the one above\n"
	"  attestation/default_cpu judges evidence (data.policy.trust_claims), in place of the\n"
	"                          verifiers' own appraisal\n"
	"  --shipped NAME          one that comes with the program; `coffer kbs policy ls` names "
	"them\n";

static const char help_test[] =
	"usage: coffer kbs policy test KIND[/ID] --input CLAIMS.json [--path REPOSITORY/TYPE/TAG]\n"
	"Asks the service's policy here, on this machine, and says why: a token's claims may read "
	"the path\n"
	"(resource), or which trust follows from evidence (attestation). Exit code 3: no.\n";

struct args {
	struct kbs_door_words words;
	const char *shipped, *input, *path;
};

static void take(void *user, int option, const char *value)
{
	struct args *a = user;

	*(option == 's' ? &a->shipped : option == 'i' ? &a->input : &a->path) = value;
}

/* -1: go on; else the exit code. */
static int parse(const char *command, const char *help, int argc, char **argv, int least, int most,
                 struct args *a)
{
	static const struct option options[] = {
		KBS_DOOR_OPTIONS,
		{ "shipped", required_argument, NULL, 's' },
		{ "input", required_argument, NULL, 'i' },
		{ "path", required_argument, NULL, 'p' },
		{ NULL, 0, NULL, 0 },
	};
	const struct kbs_door_command cmd = { command, help, options, "hi:", least, most, take };

	return kbs_door_parse(&cmd, argc, argv, a, &a->words);
}

static int call(const struct args *a, const char *method, const char *target, struct cf_view body,
                struct cf_buf *answer)
{
	struct cf_err err;

	return kbs_door_call(&a->words.door, method, target, body, answer, &err) < 0
	               ? cli_fail(&err)
	               : CLI_OK;
}

/* ---- put ---- */

/* Here first: messages then name the file that was typed. */
static int compiles(const char *path)
{
	struct policy_job job = { 0 };
	struct cf_err err;
	int code = CLI_OK;

	if (policy_job_add(&job, path, &err) < 0 || policy_job_load(&job, &err) < 0) {
		if (!job.error_count)
			fprintf(stderr, "coffer: %s\n", err.msg);
		code = policy_job_exit(&err);
	}
	policy_job_fini(&job);
	return code;
}

static void say_stored(const struct args *a, const struct cf_buf *answer)
{
	cf_cleanup(cf_json_freep) struct cf_json *doc = NULL;
	struct cf_view id;

	if (a->words.is_json || cf_json_parse(cf_buf_view(answer), 0, &doc, NULL) < 0) {
		printf("%.*s\n", (int)answer->size, (const char *)answer->data);
		return;
	}
	id = cf_json_str(cf_json_get(doc, "id"));
	printf("%.*s version %lld is in force\n", (int)id.size, (const char *)id.data,
	       (long long)cf_json_int(cf_json_get(doc, "version")));
}

int cli_kbs_policy_put(int argc, char **argv)
{
	struct args a = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf text = { .max = TEXT_MAX + 1 }, target = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf answer = { 0 };
	struct cf_err err;
	const char *file;
	int r = parse("kbs policy put", help_put, argc, argv, 1, 2, &a);

	if (r >= 0)
		return r;
	file = a.words.count == 2 ? a.words.rest[1] : NULL;
	if (!file == !a.shipped)
		return cli_usage("kbs policy put", "either a FILE or --shipped NAME");
	if (file) {
		r = cf_streq(file, "-") ? cf_read_all(0, TEXT_MAX, &text, &err)
		                        : cf_read_file(file, TEXT_MAX, &text, &err);
		if (r < 0)
			return cli_fail(&err);
		r = cf_streq(file, "-") ? CLI_OK : compiles(file);
		if (r)
			return r;
	}
	cf_buf_printf(&target, "/coffer/v1/policies/%s", a.words.rest[0]);
	if (a.shipped)
		kbs_door_query(&target, "shipped", a.shipped);
	r = call(&a, "PUT", (const char *)target.data, cf_buf_view(&text), &answer);
	if (r == CLI_OK)
		say_stored(&a, &answer);
	return r;
}

/* ---- looking ---- */

int cli_kbs_policy_get(int argc, char **argv)
{
	struct args a = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf answer = { 0 };
	cf_cleanup(cf_freep) char *target = NULL;
	int r = parse("kbs policy get",
	              "usage: coffer kbs policy get KIND[/ID]\nThe text that is in force.\n", argc,
	              argv, 1, 1, &a);

	if (r >= 0)
		return r;
	target = cf_asprintf("/coffer/v1/policies/%s", a.words.rest[0]);
	r = call(&a, "GET", target, (struct cf_view){ 0 }, &answer);
	if (r == CLI_OK)
		fwrite(answer.data, 1, answer.size, stdout);
	return r;
}

int cli_kbs_policy_ls(int argc, char **argv)
{
	struct args a = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf answer = { 0 };
	int r = parse("kbs policy ls", "usage: coffer kbs policy ls\n", argc, argv, 0, 0, &a);

	if (r < 0)
		r = call(&a, "GET", "/coffer/v1/policies", (struct cf_view){ 0 }, &answer);
	if (r == CLI_OK && answer.size)
		printf("%.*s\n", (int)answer.size, (const char *)answer.data);
	return r;
}

int cli_kbs_policy_rm(int argc, char **argv)
{
	struct args a = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf answer = { 0 };
	cf_cleanup(cf_freep) char *target = NULL;
	int r = parse("kbs policy rm",
	              "usage: coffer kbs policy rm KIND[/ID]\nThe built-in rule decides again.\n",
	              argc, argv, 1, 1, &a);

	if (r >= 0)
		return r;
	target = cf_asprintf("/coffer/v1/policies/%s", a.words.rest[0]);
	r = call(&a, "DELETE", target, (struct cf_view){ 0 }, &answer);
	if (r == CLI_OK)
		printf("removed %s: the built-in rule decides\n", a.words.rest[0]);
	return r;
}

/* ---- test ---- */

static int ask(const struct args *a, struct policy_job *job, struct cf_err *err)
{
	cf_cleanup(policy_eval_freep) struct policy_eval *ev = NULL;
	cf_cleanup(cf_buf_fini) struct cf_buf out = { 0 };
	struct policy_request rq = policy_job_request(job);
	const struct pv *v = NULL;
	int r = policy_eval_new(NULL, &ev, err);

	rq.wants_explain = true;
	if (r == 0)
		r = policy_run(job->policy, ev, &rq, &v, err);
	if (r >= 0 && policy_explain(ev, a->words.is_json, &out, err) < 0)
		return -(int)err->code;
	if (r < 0)
		return r;
	fwrite(out.data, 1, out.size, stdout);
	return policy_value_is_true(v) || (r == 0 && cf_ends_with(job->query, "claims")) ? CLI_OK
	                                                                                 : CLI_NO;
}

/* Text and reference values of the service, claims of the file. */
static int fetch(const struct args *a, struct policy_job *job, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *target = cf_asprintf("/coffer/v1/policies/%s", a->words.rest[0]);
	cf_cleanup(cf_buf_fini) struct cf_buf references = { 0 };
	int r = kbs_door_call(&a->words.door, "GET", target, (struct cf_view){ 0 }, &job->texts[0],
	                      err);

	if (r == 0)
		r = kbs_door_call(&a->words.door, "GET", "/coffer/v1/references",
		                  (struct cf_view){ 0 }, &references, err);
	if (r == 0)
		r = policy_document_read(cf_buf_view(&references), &job->reference_table, err);
	job->input_text.max = CLAIMS_MAX + 1;
	if (r == 0)
		r = cf_read_file(a->input, CLAIMS_MAX, &job->input_text, err);
	return r < 0 ? r : policy_job_compile_text(job, a->words.rest[0], err);
}

int cli_kbs_policy_test(int argc, char **argv)
{
	struct args a = { 0 };
	struct policy_job job = { 0 };
	struct cf_err err;
	int r = parse("kbs policy test", help_test, argc, argv, 1, 1, &a);

	if (r >= 0)
		return r;
	if (!a.input)
		return cli_usage("kbs policy test", "--input names a file with claims");
	job.query = cf_starts_with(a.words.rest[0], "attestation") ? "data.policy.trust_claims"
	                                                           : "data.policy.allow";
	if (a.path)
		kbs_policy_data(a.path, (struct cf_view){ 0 }, &job.data_text);
	r = fetch(&a, &job, &err);
	if (r == 0)
		r = ask(&a, &job, &err);
	if (r < 0)
		r = cli_fail(&err);
	policy_job_fini(&job);
	return r;
}
