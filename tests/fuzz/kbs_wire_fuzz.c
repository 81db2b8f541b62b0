/* fuzz: proto */
/* SPDX-License-Identifier: Apache-2.0 */
/* Every body of the protocol in both directions, from the same bytes. */
#include "proto/kbs_client.h"
#include "proto/kbs_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_attestation(struct cf_view in)
{
	struct kbs_attestation a = { 0 };
	uint8_t sum[CF_HASH_SIZE_MAX];

	if (kbs_attestation_parse(in, &a, NULL) < 0)
		return;
	if (kbs_report_data(CF_SHA384, true, a.additional_evidence, a.nonce, a.tee_pubkey, sum,
	                    NULL) == 0)
		(void)sum;
	kbs_attestation_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cf_view in = cf_view(data, size);
	struct kbs_request q = { 0 };
	struct kbs_challenge c = { 0 };
	struct kbs_uri u = { 0 };
	struct kbs_token both = { 0 };
	char *token = NULL;

	if (kbs_request_parse(in, &q, NULL) == 0)
		kbs_request_fini(&q);
	if (kbs_challenge_parse(in, &c, NULL) == 0)
		kbs_challenge_fini(&c);
	if (kbs_uri_parse(in, &u, NULL) == 0)
		kbs_uri_fini(&u);
	if (kbs_token_parse(in, &token, NULL) == 0)
		kbs_token_lifetime(token);
	free(token);
	if (kbs_token_read(in, &both, NULL) == 0)
		kbs_token_fini(&both);
	free(kbs_error_text(in));
	try_attestation(in);
	return 0;
}
