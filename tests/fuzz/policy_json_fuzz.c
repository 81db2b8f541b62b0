/* fuzz: policy */
/* SPDX-License-Identifier: Apache-2.0 */
/* JSON in, out and in again: the value stays the same. */
#include "policy/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cf_arena a = { .max = 64u << 20 };
	const struct pv *v, *w;

	if (pv_json_read(&a, (struct cf_view){ data, size }, NULL, &v, NULL) == 0) {
		struct pv_sb b = pv_sb(&a), term = pv_sb(&a);

		pv_json_write(&b, v, NULL);
		pv_term_write(&term, v);
		if (!b.is_bad) {
			if (pv_json_read(&a, cf_view(b.data, b.size), NULL, &w, NULL) < 0 ||
			    !pv_eq(v, w))
				abort();
			w = pv_copy(&a, v);
			if (w && pv_cmp(v, w) != 0)
				abort();
		}
	}
	cf_arena_fini(&a);
	return 0;
}
