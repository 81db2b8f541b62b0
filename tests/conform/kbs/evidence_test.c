/* SPDX-License-Identifier: Apache-2.0 */
/* Recorded evidence of real machines: what verifies, and that a flipped bit anywhere does not. */
#include "tests/harness/test.h"

#include "kbs/verifier.h"
#include "proto/dcap_quote.h"
#include "proto/snp_report.h"

#define CHALLENGE "challenge"

static struct cf_buf vector(const char *rel)
{
	cf_cleanup(cf_freep) char *path = cf_test_vector(rel);

	return cf_test_read(path);
}

/* The deciding check's name, "" when none is bad, "malformed" without a verdict. */
static const char *judge(const struct verifier_ops *ops, struct verify_input in,
                         struct cf_view evidence, struct verdict *v)
{
	struct cf_err err;

	in.evidence = evidence;
	in.is_offline = true;
	in.now = -1;
	verdict_init(v, ops->tee, ops->submod);
	if (ops->verify(&in, v, &err) < 0)
		return "malformed";
	return verdict_reason(v) ? verdict_reason(v)->name : "";
}

static void expect(const struct verifier_ops *ops, struct verify_input in, struct cf_view evidence,
                   const char *want)
{
	struct verdict v;

	EXPECT_STR(judge(ops, in, evidence, &v), want);
	if (!*want)
		EXPECT(verdict_status(&v) <= TIER_AFFIRMING && v.anchor);
	verdict_fini(&v);
}

static void refused(const struct verifier_ops *ops, struct verify_input in, struct cf_view evidence,
                    size_t at)
{
	struct verdict v;

	if (!*judge(ops, in, evidence, &v))
		fail_msg("a flip at byte %zu was taken", at);
	verdict_fini(&v);
}

static const struct verify_input plain;

/* ---- SNP ---- */

CF_TEST(evidence_snp_of_a_genoa_host_verifies)
{
	cf_cleanup(cf_buf_fini) struct cf_buf ev =
		vector("evidence/snp/evidence-v3-genoa-vcek.json");
	struct verify_input other = { .report_data = cf_view("wrong", 5) };

	expect(&verifier_snp, plain, cf_buf_view(&ev), "");
	expect(&verifier_snp, other, cf_buf_view(&ev), "report-data");
}

CF_TEST(evidence_snp_refuses_a_flip_in_each_signed_byte)
{
	cf_cleanup(cf_buf_fini) struct cf_buf ev =
		vector("evidence/snp/evidence-v3-genoa-vcek.json");
	cf_cleanup(cf_json_freep) struct cf_json *doc = NULL;
	cf_cleanup(cf_buf_fini) struct cf_buf raw = { 0 }, der = { .max = 4096 };
	cf_cleanup(cf_cert_freep) struct cf_cert *vcek = NULL;
	const struct cf_json *cert;
	struct cf_err err;

	EXPECT_OK(cf_json_parse(cf_buf_view(&ev), 0, &doc, &err), &err);
	EXPECT_OK(snp_report_encode(cf_json_get(doc, "attestation_report"), &raw, &err), &err);
	cert = cf_json_at(cf_json_get(doc, "cert_chain"), 0);
	EXPECT_OK(snp_json_bytes(cf_json_get(cert, "data"), 0, &der, &err), &err);
	EXPECT_OK(cf_cert_parse(cf_buf_view(&der), &vcek, &err), &err);

	struct cf_cert *certs[] = { vcek };
	struct verify_input in = { .extra_roots = certs, .extra_root_count = 1 };

	expect(&verifier_snp, in, cf_buf_view(&raw), "");
	for (size_t i = 0; i < SNP_SIGNED_SIZE + 48; i += 5) {
		raw.data[i] ^= 4;
		refused(&verifier_snp, in, cf_buf_view(&raw), i);
		raw.data[i] ^= 4;
	}
}

static void expect_with_cert(const char *report, const char *cert, const char *want)
{
	cf_cleanup(cf_buf_fini) struct cf_buf raw = vector(report), der = vector(cert);
	cf_cleanup(cf_cert_freep) struct cf_cert *leaf = NULL;
	struct cf_err err;

	EXPECT_OK(cf_cert_parse(cf_buf_view(&der), &leaf, &err), &err);

	struct cf_cert *certs[] = { leaf };
	struct verify_input in = { .extra_roots = certs, .extra_root_count = 1 };

	expect(&verifier_snp, in, cf_buf_view(&raw), want);
}

CF_TEST(evidence_snp_refuses_old_reports_and_other_privilege_levels)
{
	expect_with_cert("evidence/snp/test-report.bin", "evidence/snp/test-vcek.der", "version");
	expect_with_cert("evidence/snp/test-vlek-report.bin", "evidence/snp/test-vlek.der", "vmpl");
	/* A certificate of another product's chip under this report. */
	expect_with_cert("evidence/snp/test-vlek-report.bin",
	                 "evidence/snp/test-vcek-invalid-new.der", "amd-chain");
}

/* ---- TDX, SGX ---- */

static void expect_quote(const struct verifier_ops *ops, const char *file)
{
	cf_cleanup(cf_buf_fini) struct cf_buf raw = vector(file);
	struct dcap_quote q;
	struct cf_err err;
	size_t end = 0;

	expect(ops, plain, cf_buf_view(&raw), "");
	EXPECT_OK(dcap_quote_parse(cf_buf_view(&raw), &q, &err), &err);
	/* The last certificate is a copy of the root, which is ours and not the sender's. */
	for (size_t i = 0; i + 8 < raw.size; i++)
		if (!memcmp(raw.data + i, "-----BEG", 8))
			end = i;
	for (size_t i = 0; i < end; i += i < q.signed_part.size + 700 ? 13 : 211) {
		raw.data[i] ^= 2;
		refused(ops, plain, cf_buf_view(&raw), i);
		raw.data[i] ^= 2;
	}
	for (size_t n = 0; n < end; n += 97) {
		cf_cleanup(cf_freep) uint8_t *exact = malloc(n + 1);

		memcpy(exact, raw.data, n);
		refused(ops, plain, cf_view(exact, n), n);
	}
}

CF_TEST(evidence_tdx_quotes_of_each_version_verify_and_every_flip_is_refused)
{
	expect_quote(&verifier_tdx, "evidence/tdx/tdx_quote_4.dat");
	expect_quote(&verifier_tdx, "evidence/tdx/tdx_quote_5.dat");
	expect_quote(&verifier_tdx, "evidence/az-tdx-vtpm/td-quote.bin");
}

CF_TEST(evidence_sgx_quote_verifies)
{
	cf_cleanup(cf_buf_fini) struct cf_buf raw = vector("evidence/sgx/occlum_quote.dat");

	expect_quote(&verifier_sgx, "evidence/sgx/occlum_quote.dat");
	expect(&verifier_tdx, plain, cf_buf_view(&raw), "malformed"); /* the other kind */
}

CF_TEST(evidence_tdx_claims_have_the_peers_names)
{
	cf_cleanup(cf_buf_fini) struct cf_buf raw = vector("evidence/tdx/tdx_quote_4.dat");
	cf_cleanup(cf_buf_fini) struct cf_buf want_text =
		vector("evidence/tdx/parse_tdx_claims_expected.json");
	cf_cleanup(cf_json_freep) struct cf_json *want = NULL, *got = NULL;
	static const char *const parts[] = { "header", "body" };
	struct verdict v;
	struct cf_err err;

	EXPECT_STR(judge(&verifier_tdx, plain, cf_buf_view(&raw), &v), "");
	EXPECT_OK(cf_json_parse(cf_buf_view(&v.claims), 0, &got, &err), &err);
	EXPECT_OK(cf_json_parse(cf_buf_view(&want_text), 0, &want, &err), &err);
	for (size_t i = 0; i < CF_ARRAY_LEN(parts); i++) {
		const struct cf_json *w = cf_json_get(cf_json_get(want, "quote"), parts[i]), *value;
		const struct cf_json *g = cf_json_get(cf_json_get(got, "quote"), parts[i]);
		const char *key;
		void *it = NULL;

		while (cf_json_next(w, &it, &key, &value))
			if (!cf_view_eq(cf_json_str(value), cf_json_str(cf_json_get(g, key))))
				fail_msg("quote.%s.%s differs", parts[i], key);
	}
	verdict_fini(&v);
}

/* ---- Azure ---- */

static void az(const struct verifier_ops *ops, const char *file, struct cf_view report_data)
{
	cf_cleanup(cf_buf_fini) struct cf_buf ev = vector(file);
	struct verify_input good = { .report_data = report_data };
	struct verify_input other = { .report_data = cf_view("other", 5) };

	expect(ops, good, cf_buf_view(&ev), "");
	expect(ops, plain, cf_buf_view(&ev), "");
	expect(ops, other, cf_buf_view(&ev), "report-data");
}

CF_TEST(evidence_of_azure_snp_guests_verifies_in_each_generation)
{
	uint8_t data[48];
	struct cf_err err;

	EXPECT_OK(cf_hex_decode(
			  cf_view_str("982f5c6e45df0ed3f10b6f60b02f0c8390e281300f3805e2279c16168cd"
	                              "6ae9aa398f647caa2338748cd0fd9f5f819ef"),
			  data, sizeof(data), &err),
	          &err);
	az(&verifier_az_snp, "evidence/az-snp-vtpm/evidence-v0.json", cf_view_str(CHALLENGE));
	az(&verifier_az_snp, "evidence/az-snp-vtpm/evidence-v1.json", cf_view_str(CHALLENGE));
	az(&verifier_az_snp, "evidence/az-snp-vtpm/evidence-v2.json", cf_view(data, sizeof(data)));
}

CF_TEST(evidence_of_azure_tdx_guests_verifies)
{
	az(&verifier_az_tdx, "evidence/az-tdx-vtpm/evidence-v0.json", cf_view_str(CHALLENGE));
}

CF_TEST(evidence_of_azure_guests_refuses_flips)
{
	cf_cleanup(cf_buf_fini) struct cf_buf ev = vector("evidence/az-snp-vtpm/evidence-v1.json");

	/* The head of the hardware's envelope before it is covered by nothing, and nothing reads it. */
	const char *quote = strstr((char *)ev.data, "\"tpm_quote\"");

	EXPECT(quote);
	for (size_t i = (size_t)(quote - (char *)ev.data); i < ev.size; i += 37) {
		uint8_t old = ev.data[i];

		if (strchr(" \n\r\t", old)) /* white space between members */
			continue;
		ev.data[i] = old == 'a' ? 'b' : 'a';
		refused(&verifier_az_snp, plain, cf_buf_view(&ev), i);
		ev.data[i] = old;
	}
}
