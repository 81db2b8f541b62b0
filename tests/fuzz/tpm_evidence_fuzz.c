/* fuzz: kbs */
/* SPDX-License-Identifier: Apache-2.0 */
#include "kbs/verifier.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A guest's evidence, as it stands in the Attestation: whatever it is, it becomes a verdict or an error. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char nonce[] = "0123456789abcdef0123456789abcdef";
	struct verify_input in = { .evidence = cf_view(data, size),
		                   .init_data_known = true,
		                   .report_data = cf_view(nonce, 32) };

	for (size_t i = 0; verifier_table[i]; i++) {
		struct verdict v;
		struct cf_err err;

		verdict_init(&v, verifier_table[i]->tee, verifier_table[i]->submod);
		in.report_data = i % 2 ? cf_view(nonce, 32) : (struct cf_view){ 0 };
		if (verifier_table[i]->verify(&in, &v, &err) == 0) {
			cf_cleanup(cf_buf_fini) struct cf_buf out = { 0 };
			struct cf_jw w = { .out = &out };

			verdict_print_json(&v, &w);
			if (v.count == 0)
				abort(); /* a verdict without a single check */
		}
		verdict_fini(&v);
	}
	return 0;
}
