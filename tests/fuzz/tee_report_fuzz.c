/* fuzz: proto */
/* SPDX-License-Identifier: Apache-2.0 */
/* What a TEE claims before its signature is looked at: SEV-SNP reports, raw and as JSON, and quotes. */
#include "proto/dcap_quote.h"
#include "proto/snp_report.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_report(struct cf_view raw)
{
	struct snp_report report;
	uint8_t signature[96];

	if (snp_report_parse(raw, &report, NULL) < 0)
		return;
	assert(raw.size == SNP_REPORT_SIZE && report.report_data.size == 64);
	if (snp_report_signature(&report, signature, NULL) == 0)
		assert(report.raw.data == raw.data);
}

static void read_json(struct cf_view text)
{
	struct cf_json *root = NULL;
	struct cf_buf raw = { 0 };

	if (cf_json_parse(text, 1u << 20, &root, NULL) < 0)
		return;
	if (snp_report_encode(root, &raw, NULL) == 0) {
		assert(raw.size == SNP_REPORT_SIZE);
		read_report(cf_buf_view(&raw));
	}
	cf_buf_fini(&raw);
	cf_json_free(root);
}

static void read_quote(struct cf_view raw)
{
	struct dcap_quote q;

	if (dcap_quote_parse(raw, &q, NULL) < 0)
		return;
	assert(q.signature.size == 64 && q.attestation_key.size == 64);
	assert(dcap_quote_report_data(&q).size == 64);
	assert(dcap_quote_field(&q, q.body.size, 1).size == 0);
	assert(dcap_quote_field(&q, SIZE_MAX, 2).size == 0);
	assert(dcap_quote_is_tdx(&q) || q.body.size == DCAP_SGX_BODY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cf_view in = cf_view(data, size);

	read_report(in);
	read_json(in);
	read_quote(in);
	return 0;
}
