/* fuzz: proto */
/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/registry_auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cf_view in = cf_view(data, size);
	struct registry_credentials login = { 0 };
	struct registry_challenge c = { 0 };
	struct oci_ref ref;
	char *token = NULL;
	uint64_t ttl;

	if (registry_challenge_parse(in, &c, NULL) == 0)
		registry_challenge_fini(&c);
	if (registry_token_parse(in, &token, &ttl, NULL) == 0)
		free(token);
	if (oci_ref_parse(cf_view_str("q.io/a/b:c"), &ref, NULL) == 0 &&
	    registry_auth_find(in, &ref, &login, NULL) == 0)
		registry_credentials_fini(&login);
	return 0;
}
