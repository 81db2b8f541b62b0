/* SPDX-License-Identifier: Apache-2.0 */
/* The TEE that is none: for tests of everything around it. */
#include "attest-agent/attester.h"

static int sample_open(const struct attester_config *config, void **ret, struct cf_err *err)
{
	(void)config;
	(void)err;
	*ret = NULL;
	return 0;
}

static int sample_evidence(void *self, struct cf_view report_data, const struct cf_json *challenge,
                           struct cf_buf *ret, struct cf_err *err)
{
	struct cf_jw w = { .out = ret };

	(void)self;
	(void)challenge;
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "svn", "1");
	cf_jw_key(&w, "report_data");
	cf_jw_b64(&w, CF_B64_STD, report_data);
	cf_jw_end_obj(&w);
	return cf_buf_check(ret, "evidence", err);
}

const struct attester_ops attester_sample = {
	.tee = "sample",
	.open = sample_open,
	.evidence = sample_evidence,
};
