/* fuzz: proto */
/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/sig_cosign.h"
#include "proto/sig_policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A policy; the same bytes as a payload and as the name in one. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cf_view in = cf_view(data, size);
	struct sig_policy *p = NULL;
	struct sig_payload payload = { 0 };
	struct oci_ref ref;

	if (oci_ref_parse(cf_view_str("a.b.example.com:5000/team/app:1"), &ref, NULL) < 0)
		return 0;
	if (sig_policy_parse(in, &p, NULL) == 0) {
		const struct sig_requirements *need = sig_policy_find(p, &ref, NULL);

		for (size_t i = 0; i < need->count; i++) {
			if (need->items[i].kind == SIG_SIGSTORE)
				sig_identity_matches(&need->items[i].identity, &ref,
				                     cf_view_str("a.b.example.com:5000/team/app"));
		}
		sig_policy_find_layout(p, "/a/b/c", "t", NULL);
		sig_policy_free(p);
	}
	if (sig_payload_parse(in, &payload, NULL) == 0)
		sig_payload_fini(&payload);
	for (int kind = SIG_ID_DEFAULT; kind <= SIG_ID_REPOSITORY; kind++) {
		struct sig_identity id = { .kind = (enum sig_identity_kind)kind };

		sig_identity_matches(&id, &ref, in);
	}
	return 0;
}
