/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long one decision takes: compiled once, then input read and rule evaluated, again and again,
 * with one and two threads. Prints a line per case:
 *   NAME compile_us evals_per_s us_p50 us_p99 evals_per_s_2_threads us_p50_input us_p50_values
 * us_p50_input: data is a value, only the input is read each time; us_p50_values: neither is read.
 * --write DIR writes the cases as files, for other engines. COFFER_SOURCE names the tree.
 */
#include "base/fd.h"
#include "base/str.h"
#include "policy/policy.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#define CASES 6

struct bench {
	const char *name, *query;
	char *policy, *input, *data;
	struct policy *compiled;
	double seconds;
	unsigned long count; /* of the last run */
};

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void die(const char *what, const struct cf_err *err)
{
	fprintf(stderr, "%s: %s\n", what, err->msg);
	exit(1);
}

/* ---- the cases ---- */

static const char default_policy[] =
	"package policy\nimport rego.v1\ndefault allow := false\n"
	"allow if {\n\tdata.plugin == \"resource\"\n\tcount(input.submods) > 0\n\tnot any_bad\n}\n"
	"any_bad if {\n\tsome _, part in input.submods\n\tpart[\"ear.status\"] != "
	"\"affirming\"\n}\n"
	"any_bad if {\n\tsome _, part in input.submods\n"
	"\tpart[\"ear.veraison.annotated-evidence\"].sample\n}\n";

static const char attestation_policy[] =
	"package policy\nimport rego.v1\ndefault executables := 33\ndefault hardware := 97\n"
	"default configuration := 36\ndefault file_system := 35\n"
	"refs := data.reference\n"
	"executables := 3 if {\n\tinput.tdx.quote.body.rtmr_1 in refs.rtmr_1\n"
	"\tinput.tdx.quote.body.rtmr_2 in refs.rtmr_2\n}\n"
	"hardware := 2 if {\n\tinput.tdx.quote.header.tee_type == \"81000000\"\n"
	"\tinput.tdx.quote.header.vendor_id == \"939a7233f79c4ca9940a0db3957f0607\"\n"
	"\tinput.tdx.quote.body.mr_seam in refs.mr_seam\n"
	"\tinput.tdx.quote.body.tcb_svn in refs.tcb_svn\n"
	"\tinput.tdx.quote.body.mr_td in refs.mr_td\n}\n"
	"configuration := 2 if {\n\tinput.tdx.td_attributes.debug == false\n"
	"\tinput.tdx.quote.body.xfam in refs.xfam\n}\n"
	"trust_claims := {\"executables\": executables, \"hardware\": hardware,\n"
	"\t\"configuration\": configuration, \"file-system\": file_system}\n";

static char *claims(void)
{
	struct cf_buf b = { 0 };

	cf_buf_add_str(&b, "{\"iss\":\"broker\",\"exp\":1800000000,\"submods\":{\"cpu0\":{"
	                   "\"ear.status\":\"affirming\",\"ear.veraison.annotated-evidence\":{"
	                   "\"init_data\":{},\"tdx\":{\"quote\":{");
	for (unsigned i = 0; i < 12; i++)
		cf_buf_printf(&b, "%s\"field_%u\":\"%064u\"", i ? "," : "", i, i);
	cf_buf_add_str(&b, "}}}}}}");
	return cf_buf_take_str(&b);
}

static char *tdx_input(void)
{
	struct cf_buf b = { 0 };

	cf_buf_add_str(&b, "{\"tdx\":{\"quote\":{\"header\":{\"tee_type\":\"81000000\","
	                   "\"vendor_id\":\"939a7233f79c4ca9940a0db3957f0607\"},\"body\":{"
	                   "\"xfam\":\"e702060000000000\",\"tcb_svn\":\"03000600\"");
	static const char *const fields[] = { "mr_seam", "mr_td",  "rtmr_0",   "rtmr_1",
		                              "rtmr_2",  "rtmr_3", "mr_owner", "mr_config_id" };
	for (size_t i = 0; i < CF_ARRAY_LEN(fields); i++)
		cf_buf_printf(&b, ",\"%s\":\"%096zu\"", fields[i], i);
	cf_buf_add_str(&b, "}},\"td_attributes\":{\"debug\":false}},\"init_data_claims\":null,"
	                   "\"runtime_data_claims\":{\"nonce\":\"abc\"}}");
	return cf_buf_take_str(&b);
}

static char *tdx_data(void)
{
	struct cf_buf b = { 0 };

	cf_buf_add_str(
		&b, "{\"reference\":{\"xfam\":[\"e702060000000000\"],\"tcb_svn\":[\"03000600\"]");
	cf_buf_printf(&b, ",\"mr_seam\":[\"%096d\"],\"mr_td\":[\"x\",\"%096d\"]", 0, 1);
	cf_buf_printf(&b, ",\"rtmr_1\":[\"%096d\"],\"rtmr_2\":[\"%096d\"]}}", 3, 4);
	return cf_buf_take_str(&b);
}

/* The shape of a generated guest policy: one data literal of containers, rules that search it. */
static char *guest_policy(void)
{
	struct cf_buf b = { 0 };

	cf_buf_add_str(
		&b, "package agent_policy\nimport rego.v1\n"
		    "default CreateContainerRequest := false\n"
		    "CreateContainerRequest if {\n\tsome c in containers\n"
		    "\tc.image == input.image\n\tcount(c.args) == count(input.args)\n"
		    "\tevery i, a in input.args { arg_ok(c.args[i], a) }\n"
		    "\tevery e in input.env { env_ok(c.env, e) }\n"
		    "\tevery m in input.mounts { mount_ok(c.mounts, m) }\n}\n"
		    "arg_ok(w, s) if w == s\n"
		    "arg_ok(w, s) if replace(w, \"$(name)\", input.name) == s\n"
		    "env_ok(w, s) if s in w\n"
		    "env_ok(w, s) if { some p in patterns; regex.match(p, s) }\n"
		    "patterns := [`^[A-Z0-9_]+_SERVICE_HOST=[0-9.]+$`, `^HOSTNAME=[a-z0-9-]+$`]\n"
		    "mount_ok(w, s) if { some m in w; m.dst == s.dst; m.options == s.options;"
		    " regex.match(m.src, s.src) }\n"
		    "containers := [\n");
	for (unsigned i = 0; i < 12; i++) {
		cf_buf_printf(&b, "\t{\"image\": \"registry.example/app%u\", \"args\": [", i);
		for (unsigned k = 0; k < 8; k++)
			cf_buf_printf(&b, "%s\"--flag%u=$(name)\"", k ? ", " : "", k);
		cf_buf_add_str(&b, "],\n\t\t\"env\": [");
		for (unsigned k = 0; k < 20; k++)
			cf_buf_printf(&b, "%s\n\t\t\t\"VAR_%u=value-%u-%u\"", k ? "," : "", k, i,
			              k);
		cf_buf_add_str(&b, "],\n\t\t\"mounts\": [");
		for (unsigned k = 0; k < 12; k++)
			cf_buf_printf(&b,
			              "%s\n\t\t\t{\"dst\": \"/mnt/%u\", \"src\": "
			              "`^/run/shared/[0-9a-f]{64}-%u$`,"
			              " \"options\": [\"rbind\", \"ro\"]}",
			              k ? "," : "", k, k);
		cf_buf_printf(&b, "]}%s\n", i < 11 ? "," : "");
	}
	cf_buf_add_str(&b, "]\n");
	return cf_buf_take_str(&b);
}

static char *guest_input(void)
{
	struct cf_buf b = { 0 };

	cf_buf_add_str(&b, "{\"image\":\"registry.example/app11\",\"name\":\"web-0\",\"args\":[");
	for (unsigned k = 0; k < 8; k++)
		cf_buf_printf(&b, "%s\"--flag%u=web-0\"", k ? "," : "", k);
	cf_buf_add_str(&b, "],\"env\":[");
	for (unsigned k = 0; k < 20; k++)
		cf_buf_printf(&b, "%s\"VAR_%u=value-11-%u\"", k ? "," : "", k, k);
	for (unsigned k = 0; k < 40; k++)
		cf_buf_printf(&b, ",\"APP%u_SERVICE_HOST=10.0.0.%u\"", k, k);
	cf_buf_add_str(&b, "],\"mounts\":[");
	for (unsigned k = 0; k < 12; k++)
		cf_buf_printf(&b,
		              "%s{\"dst\":\"/mnt/%u\",\"options\":[\"rbind\",\"ro\"],"
		              "\"src\":\"/run/shared/%064u-%u\"}",
		              k ? "," : "", k, k, k);
	cf_buf_add_str(&b, "]}");
	return cf_buf_take_str(&b);
}

static char *many_rules(unsigned n)
{
	struct cf_buf b = { 0 };

	cf_buf_add_str(&b, "package policy\nimport rego.v1\ndefault allow := false\n");
	for (unsigned i = 0; i < n; i++)
		cf_buf_printf(
			&b,
			"allow if { input.path == \"default/key/%u\"; input.role == \"r%u\" }\n", i,
			i % 7);
	return cf_buf_take_str(&b);
}

/* The shipped attestation policy, with its one foreign function as a rule over data. */
static char *shipped_attestation(void)
{
	const char *top = getenv("COFFER_SOURCE");
	cf_cleanup(cf_freep) char *path =
		cf_asprintf("%s/kbs/policies/attestation/default_cpu.rego", top ? top : ".");
	struct cf_buf b = { .max = 1u << 20 };
	struct cf_err err;

	if (cf_read_file(path, 1u << 19, &b, &err) < 0)
		die(path, &err);
	cf_buf_add_str(&b, "\nquery_reference_value(id) := data.reference[id]\n");
	return cf_buf_take_str(&b);
}

static void make_cases(struct bench b[CASES])
{
	b[0] = (struct bench){ .name = "default", .query = "data.policy.allow" };
	b[0].policy = cf_strdup(default_policy);
	b[0].input = claims();
	b[0].data = cf_strdup("{\"plugin\":\"resource\"}");
	b[5] = (struct bench){ .name = "attestation", .query = "data.policy.trust_claims" };
	b[5].policy = shipped_attestation();
	b[5].input = tdx_input();
	b[5].data = tdx_data();
	b[1] = (struct bench){ .name = "trust", .query = "data.policy.trust_claims" };
	b[1].policy = cf_strdup(attestation_policy);
	b[1].input = tdx_input();
	b[1].data = tdx_data();
	b[2] = (struct bench){ .name = "guest",
		               .query = "data.agent_policy.CreateContainerRequest" };
	b[2].policy = guest_policy();
	b[2].input = guest_input();
	b[2].data = cf_strdup("{}");
	b[3] = (struct bench){ .name = "twohundred", .query = "data.policy.allow" };
	b[3].policy = many_rules(200);
	b[3].input = cf_strdup("{\"path\":\"default/key/150\",\"role\":\"r3\"}");
	b[3].data = cf_strdup("{}");
	b[4] = (struct bench){ .name = "thousand", .query = "data.policy.allow" };
	b[4].policy = many_rules(1000);
	b[4].input = cf_strdup("{\"path\":\"default/key/888\",\"role\":\"r6\"}");
	b[4].data = cf_strdup("{}");
}

/* ---- running ---- */

static void *run(void *arg)
{
	struct bench *b = arg;
	struct policy_eval *ev;
	struct policy_request rq = { .query = b->query,
		                     .input_json = cf_view_str(b->input),
		                     .data_json = cf_view_str(b->data) };
	const struct pv *v;
	struct cf_err err;
	double end = now() + b->seconds;
	unsigned long n = 0;

	if (policy_eval_new(NULL, &ev, &err) < 0)
		die(b->name, &err);
	do {
		for (unsigned i = 0; i < 16; i++, n++)
			if (policy_run(b->compiled, ev, &rq, &v, &err) != 0)
				die(b->name, &err);
	} while (now() < end);
	policy_eval_free(ev);
	b->count = n;
	return NULL;
}

static int by_time(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Half of the runs took no longer than *ret_p50. */
static double p99_us(struct bench *b, const struct policy_document *input,
                     const struct policy_document *data, double *ret_p50)
{
	enum { N = 2000 };
	static double took[N];
	struct policy_eval *ev;
	struct policy_request rq = { .query = b->query };
	const struct pv *v;
	struct cf_err err;

	if (policy_eval_new(NULL, &ev, &err) < 0)
		die(b->name, &err);
	rq.input = input ? policy_document_value(input) : NULL;
	rq.data = data ? policy_document_value(data) : NULL;
	rq.input_json = input ? (struct cf_view){ 0 } : cf_view_str(b->input);
	rq.data_json = data ? (struct cf_view){ 0 } : cf_view_str(b->data);
	for (unsigned i = 0; i < N; i++) {
		double start = now();

		if (policy_run(b->compiled, ev, &rq, &v, &err) != 0)
			die(b->name, &err);
		took[i] = now() - start;
	}
	policy_eval_free(ev);
	qsort(took, N, sizeof(took[0]), by_time);
	*ret_p50 = took[N / 2] * 1e6;
	return took[N * 99 / 100] * 1e6;
}

static double compile_us(struct bench *b)
{
	struct policy_source src = { .name = b->name, .text = cf_view_str(b->policy) };
	struct cf_err err;
	double best = 1e9;

	for (unsigned i = 0; i < 5; i++) {
		double start = now();

		b->compiled = policy_unref(b->compiled);
		if (policy_compile(&src, 1, NULL, &b->compiled, &err) < 0)
			die(b->name, &err);
		best = CF_MIN(best, now() - start);
	}
	return best * 1e6;
}

static struct policy_document *document(const char *text)
{
	struct policy_document *d;
	struct cf_err err;

	if (policy_document_read(cf_view_str(text), &d, &err) < 0)
		die("document", &err);
	return d;
}

static void measure(struct bench *b, double seconds)
{
	cf_cleanup(policy_document_freep) struct policy_document *input = document(b->input);
	cf_cleanup(policy_document_freep) struct policy_document *data = document(b->data);
	pthread_t threads[2];
	struct bench copies[2];
	double compile = compile_us(b);

	b->seconds = seconds;
	double start = now();
	run(b);
	double rate = (double)b->count / (now() - start);
	start = now();
	for (unsigned i = 0; i < 2; i++) {
		copies[i] = *b;
		pthread_create(&threads[i], NULL, run, &copies[i]);
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	double both = (double)(copies[0].count + copies[1].count) / (now() - start);
	double p50, p50_input, p50_values, p99 = p99_us(b, NULL, NULL, &p50);
	p99_us(b, NULL, data, &p50_input);
	p99_us(b, input, data, &p50_values);
	printf("%s %.0f %.0f %.3f %.3f %.0f %.3f %.3f\n", b->name, compile, rate, p50, p99, both,
	       p50_input, p50_values);
	fflush(stdout);
}

static void write_file(const char *dir, const char *name, const char *ext, const char *text)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s.%s", dir, name, ext);
	struct cf_err err;

	if (cf_write_file_atomic(path, cf_view_str(text), 0644, &err) < 0)
		die(path, &err);
}

int main(int argc, char **argv)
{
	struct bench b[CASES];
	double seconds = argc == 3 && strcmp(argv[1], "--seconds") == 0 ? strtod(argv[2], NULL) : 2;

	make_cases(b);
	if (argc == 3 && strcmp(argv[1], "--write") == 0) {
		for (size_t i = 0; i < CF_ARRAY_LEN(b); i++) {
			write_file(argv[2], b[i].name, "rego", b[i].policy);
			write_file(argv[2], b[i].name, "input.json", b[i].input);
			write_file(argv[2], b[i].name, "data.json", b[i].data);
			write_file(argv[2], b[i].name, "query", b[i].query);
		}
	} else {
		puts("name compile_us evals_per_s us_p50 us_p99 evals_per_s_2_threads us_p50_input "
		     "us_p50_values");
		for (size_t i = 0; i < CF_ARRAY_LEN(b); i++)
			measure(&b[i], seconds);
	}
	for (size_t i = 0; i < CF_ARRAY_LEN(b); i++) {
		policy_unref(b[i].compiled);
		free(b[i].policy);
		free(b[i].input);
		free(b[i].data);
	}
	return 0;
}
