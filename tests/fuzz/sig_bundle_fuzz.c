/* fuzz: proto */
/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/sig_bundle.h"
#include "proto/sig_cosign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A bundle, what it holds, and the bytes as signed ones: a statement, or a payload of cosign's. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cf_view in = cf_view(data, size);
	struct cf_buf bytes = { 0 }, signature = { 0 };
	struct sig_payload payload = { 0 };
	struct oci_digest digest;

	if (sig_bundle_parse(in, &bytes, &signature, NULL) == 0 &&
	    sig_statement_parse(cf_buf_view(&bytes), &digest, NULL) == -CF_INTERNAL)
		__builtin_trap();
	if (sig_is_statement(in) && sig_statement_parse(in, &digest, NULL) == 0 &&
	    digest.alg != OCI_SHA256)
		__builtin_trap();
	if (sig_payload_parse(in, &payload, NULL) == 0)
		sig_payload_fini(&payload);
	cf_buf_fini(&bytes);
	cf_buf_fini(&signature);
	return 0;
}
