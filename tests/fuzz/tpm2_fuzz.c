/* fuzz: proto */
/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/tpm2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte chooses the structure, the rest is it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cf_view in = cf_view(data + 1, size ? size - 1 : 0);
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	struct tpm2_public pub;
	struct tpm2_quote quote;
	struct tpm2_signature sig;
	struct cf_err err;
	uint8_t name[TPM2_NAME_SIZE];

	if (size == 0)
		return 0;
	if (data[0] % 3 == 0)
		return tpm2_quote_parse(in, &quote, &err) > 0;
	if (data[0] % 3 == 1)
		return tpm2_signature_parse(in, &sig, &err) > 0;
	if (tpm2_public_parse(in, &pub, &err) < 0)
		return 0;
	if (tpm2_check_attestation_key(&pub, &err) == 0 && tpm2_name(&pub, name, &err) < 0)
		abort(); /* what passes the check has a name */
	return tpm2_public_key(&pub, &key, &err) > 0;
}
