/* SPDX-License-Identifier: Apache-2.0 */
#include "kbs/verify_cmd.h"

#include "base/fd.h"
#include "base/log.h"
#include "kbs/policy_appraise.h"
#include "kbs/runtime_data.h"
#include "kbs/token.h"
#include "kbs/trust_dir.h"
#include "kbs/verifier.h"

#include <getopt.h>
#include <stdio.h>
#include <time.h>

enum {
	EXIT_YES = 0,
	EXIT_BROKEN = 1,
	EXIT_USAGE = 2,
	EXIT_NO = 3,
	EXIT_NOT_FOUND = 4,
	EXIT_BAD_DATA = 9,
	EXIT_LIMIT = 20,
	EXIT_LACKING = 21,
};

static const char help[] =
	"usage: coffer-kbs verify --tee TEE --evidence FILE [options]\n"
	"\n"
	"Judges evidence offline with the key service's own verifiers.\n"
	"\n"
	"  --tee TEE             sample, tpm, snp, tdx, sgx, az-snp-vtpm, az-tdx-vtpm\n"
	"  --evidence FILE       the evidence, or a whole Attestation of the KBS protocol; - is "
	"stdin\n"
	"  --report-data HEX     what the evidence must answer (the TEE's report data, or its "
	"start)\n"
	"  --runtime-data FILE   the runtime data (JSON): its canonical SHA-384 is the report "
	"data\n"
	"  --trust DIR           trust anchors: certificates, ak*.pem, *.json of reference values\n"
	"  --reference FILE      reference values (coffer measure --json)\n"
	"  --policy FILE         an attestation policy in Rego judges in place of the verifier\n"
	"  --initdata FILE       the initdata that the guest must have booted with\n"
	"  --no-initdata         the guest must have booted without\n"
	"  --ignore-dates        certificates may be outdated\n"
	"  --json                one coffer.verdict/1 document\n"
	"\n"
	"Exit: 0 genuine, and approved where reference values were given; 3 the answer is no;\n"
	"9 malformed; 4 no such file; 21 no verifier for that TEE.\n";

struct job {
	const char *tee, *evidence_path, *report_hex, *runtime_path, *trust_path, *reference_path;
	const char *initdata_path, *policy_path;
	bool no_initdata, ignore_dates, json;
	struct cf_buf evidence, report_data, initdata;
	struct trust_dir trust;
	struct cf_json *reference_doc;
	struct cf_json *whole; /* an Attestation that the evidence was taken from */
};

static void job_fini(struct job *j)
{
	cf_buf_fini(&j->evidence);
	cf_buf_fini(&j->report_data);
	cf_buf_fini(&j->initdata);
	trust_dir_fini(&j->trust);
	cf_json_free(j->reference_doc);
	cf_json_free(j->whole);
}

static int exit_of(const struct cf_err *err)
{
	switch (err->code) {
	case CF_NOT_FOUND:
		return EXIT_NOT_FOUND;
	case CF_INVALID_ARGUMENT:
	case CF_DATA_LOSS:
	case CF_OUT_OF_RANGE:
		return EXIT_BAD_DATA;
	case CF_RESOURCE_EXHAUSTED:
		return EXIT_LIMIT;
	case CF_UNIMPLEMENTED:
		return EXIT_LACKING;
	default:
		return EXIT_BROKEN;
	}
}

static int parse_args(int argc, char **argv, struct job *j)
{
	static const struct option options[] = {
		{ "tee", required_argument, NULL, 't' },
		{ "evidence", required_argument, NULL, 'e' },
		{ "report-data", required_argument, NULL, 'r' },
		{ "runtime-data", required_argument, NULL, 'u' },
		{ "trust", required_argument, NULL, 'T' },
		{ "reference", required_argument, NULL, 'R' },
		{ "initdata", required_argument, NULL, 'i' },
		{ "policy", required_argument, NULL, 'p' },
		{ "no-initdata", no_argument, NULL, 'n' },
		{ "ignore-dates", no_argument, NULL, 'd' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char **texts[128] = {
		['t'] = &j->tee,           ['e'] = &j->evidence_path, ['r'] = &j->report_hex,
		['u'] = &j->runtime_path,  ['T'] = &j->trust_path,    ['R'] = &j->reference_path,
		['i'] = &j->initdata_path, ['p'] = &j->policy_path
	};
	bool *flags[128] = { ['n'] = &j->no_initdata, ['d'] = &j->ignore_dates, ['j'] = &j->json };
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h') {
			fputs(help, stdout);
			return EXIT_YES;
		}
		if (c == '?')
			return EXIT_USAGE;
		if (texts[c])
			*texts[c] = optarg;
		else
			*flags[c] = true;
	}
	if (!j->evidence_path && optind < argc)
		j->evidence_path = argv[optind++];
	if (!j->tee || !j->evidence_path || optind < argc || (j->report_hex && j->runtime_path) ||
	    (j->initdata_path && j->no_initdata)) {
		fputs("usage: coffer-kbs verify --tee TEE --evidence FILE [options]; see --help\n",
		      stderr);
		return EXIT_USAGE;
	}
	return -1;
}

static int read_input(const char *path, size_t max, struct cf_buf *ret, struct cf_err *err)
{
	ret->max = max;
	if (!strcmp(path, "-"))
		return cf_read_all(0, max, ret, err);
	return cf_read_file(path, max, ret, err);
}

/* An Attestation, or a recorded exchange with one, brings runtime data and initdata along. */
static int unwrap(struct job *j, struct cf_err *err)
{
	const struct cf_json *att, *tee, *primary, *init;
	struct cf_view body = { 0 };
	int r = cf_json_parse(cf_buf_view(&j->evidence), EVIDENCE_SIZE_MAX, &j->whole, NULL);

	if (r < 0)
		return 0; /* not JSON: a bare report, or malformed; the verifier says which */
	att = cf_json_get(j->whole, "attestation");
	att = att ? att : j->whole;
	tee = cf_json_get(att, "tee-evidence");
	primary = cf_json_get(tee, "primary_evidence");
	if (!primary)
		return 0;
	cf_buf_reset(&j->evidence);
	cf_json_print(primary, &j->evidence);
	if (!j->report_hex && !j->runtime_path) {
		uint8_t digest[48];

		r = runtime_data_digest(cf_json_get(att, "runtime-data"),
		                        cf_json_get(tee, "additional_evidence"), digest, err);
		if (r < 0)
			return r;
		cf_buf_add(&j->report_data, digest, sizeof(digest));
	}
	init = cf_json_get(att, "init-data");
	if (!j->initdata_path && !j->no_initdata && cf_json_type(init) == CF_JSON_OBJECT) {
		r = cf_json_need_str(init, "body", &body, err);
		if (r < 0)
			return r;
		cf_buf_add_view(&j->initdata, body);
		j->initdata_path = "(attestation)";
	}
	return 0;
}

static int read_report_data(struct job *j, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf text = { 0 };
	uint8_t digest[48];
	int r;

	if (j->report_hex) {
		j->report_data.max = 64;
		r = cf_hex_decode_buf(cf_view_str(j->report_hex), &j->report_data, err);
		return r < 0 ? cf_wrap(err, r, "--report-data") : 0;
	}
	if (!j->runtime_path)
		return 0;
	r = read_input(j->runtime_path, EVIDENCE_SIZE_MAX, &text, err);
	if (r == 0)
		r = runtime_data_digest_text(cf_buf_view(&text), digest, err);
	if (r == 0)
		cf_buf_add(&j->report_data, digest, sizeof(digest));
	return r;
}

static int load(struct job *j, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf ref = { 0 };
	int r = read_input(j->evidence_path, EVIDENCE_SIZE_MAX, &j->evidence, err);

	if (r == 0)
		r = unwrap(j, err);
	if (r == 0)
		r = read_report_data(j, err);
	if (r == 0 && j->initdata_path && !j->initdata.size)
		r = read_input(j->initdata_path, EVIDENCE_SIZE_MAX, &j->initdata, err);
	if (r == 0 && j->trust_path)
		r = trust_dir_read(j->trust_path, &j->trust, err);
	if (r == 0 && j->reference_path) {
		r = read_input(j->reference_path, EVIDENCE_SIZE_MAX, &ref, err);
		if (r == 0)
			r = cf_json_parse(cf_buf_view(&ref), 0, &j->reference_doc, err);
	}
	return r;
}

static const struct cf_json *references_of(const struct job *j)
{
	const struct cf_json *doc = j->reference_doc ? j->reference_doc : j->trust.measurement;
	const struct cf_json *inner = cf_json_get(doc, "reference");

	return inner ? inner : doc;
}

static int judge(const struct job *j, const struct verifier_ops *ops, struct verdict *v,
                 struct cf_err *err)
{
	struct cf_view aks[TPM_ROOTS_MAX];
	struct verify_input in = {
		.evidence = cf_buf_view(&j->evidence),
		.report_data = cf_buf_view(&j->report_data),
		.init_data_known = j->initdata_path || j->no_initdata,
		.references = references_of(j),
		.tpm_roots = j->trust.tpm_roots,
		.is_offline = true,
		.trusted_aks = aks,
		.trusted_ak_count = j->trust.ak_count,
		.extra_roots = j->trust.roots,
		.extra_root_count = j->trust.root_count,
		.now = j->ignore_dates ? -1 : (int64_t)time(NULL),
	};

	for (size_t i = 0; i < j->trust.ak_count; i++)
		aks[i] = cf_buf_view(&j->trust.aks[i]);
	if (j->initdata_path)
		in.init_data = j->initdata.data ? cf_buf_view(&j->initdata) : cf_view("", 0);
	return ops->verify(&in, v, err);
}

/* What the policy sees: as in the service, with what of it is there offline. */
static int policy_input(const struct job *j, const struct verdict *v, struct cf_buf *ret,
                        struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf init = { 0 };
	const struct cf_json *att = cf_json_get(j->whole, "attestation");
	struct token_subject subject = { .verdict = v, .additional_evidence = cf_view_str("") };
	struct cf_jw w = { .out = ret };
	int r = 0;

	if (j->initdata.size)
		r = token_initdata_claims(cf_buf_view(&j->initdata), &init, err);
	else
		cf_buf_add_str(&init, "null");
	if (r < 0)
		return r;
	subject.runtime_data = cf_json_get(att ? att : j->whole, "runtime-data");
	subject.init_data_claims = cf_buf_view(&init);
	token_write_evidence(&subject, &w);
	return cf_buf_check(ret, "claims", err);
}

static int ask_policy(const struct job *j, struct verdict *v, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf text = { 0 }, input = { 0 }, references = { 0 };
	cf_cleanup(cf_freep) char *id = NULL;
	struct policy_entry e = { .kind = STORE_POLICY_ATTESTATION };
	int r;

	if (!j->policy_path || verdict_is_refused(v))
		return 0;
	r = read_input(j->policy_path, STORE_POLICY_MAX, &text, err);
	if (r == 0)
		r = policies_compile(j->policy_path, cf_buf_view(&text), &e.policy, NULL, err);
	if (r == 0)
		r = policy_input(j, v, &input, err);
	if (r == 0) {
		e.id = id = cf_strdup(j->policy_path);
		e.text = text;
		if (references_of(j))
			cf_json_print(references_of(j), &references);
		policy_appraise(&e, cf_buf_view(&input), cf_buf_view(&references), v);
	}
	policy_unref(e.policy);
	return r;
}

static int print(const struct job *j, const struct verdict *v)
{
	cf_cleanup(cf_buf_fini) struct cf_buf out = { 0 };

	if (j->json) {
		struct cf_jw w = { .out = &out };
		verdict_print_json(v, &w);
		cf_buf_add_byte(&out, '\n');
	} else {
		verdict_print_text(v, &out);
	}
	if (out.bad || cf_write_all(1, cf_buf_view(&out), NULL) < 0)
		return EXIT_BROKEN;
	return verdict_status(v) > TIER_AFFIRMING ? EXIT_NO : EXIT_YES;
}

static int complain(const struct job *j, const struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf out = { 0 };
	struct cf_jw w = { .out = &out };

	if (!j->json) {
		fprintf(stderr, "coffer-kbs: %s\n", err->msg);
		return exit_of(err);
	}
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "schema", "coffer.error/1");
	cf_jw_kstr(&w, "id", "attest/evidence");
	cf_jw_kint(&w, "exit", exit_of(err));
	cf_jw_kstr(&w, "code", cf_code_name(err->code));
	cf_jw_kstr(&w, "message", err->msg);
	cf_jw_end_obj(&w);
	fprintf(stderr, "%s\n", (const char *)out.data);
	return exit_of(err);
}

int verify_cmd(int argc, char **argv)
{
	cf_cleanup(job_fini) struct job j = { 0 };
	cf_cleanup(verdict_fini) struct verdict v = { 0 };
	const struct verifier_ops *ops;
	struct cf_err err;
	int r = parse_args(argc, argv, &j);

	if (r >= 0)
		return r;
	ops = verifier_find(cf_view_str(j.tee));
	if (!ops) {
		r = cf_fail(&err, CF_UNIMPLEMENTED, "no verifier for TEE \"%s\"", j.tee);
		return complain(&j, &err);
	}
	verdict_init(&v, ops->tee, ops->submod);
	r = load(&j, &err);
	if (r == 0)
		r = judge(&j, ops, &v, &err);
	if (r == 0)
		r = ask_policy(&j, &v, &err);
	return r < 0 ? complain(&j, &err) : print(&j, &v);
}
