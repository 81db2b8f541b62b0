/* fuzz: proto */
/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/oci_ref.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What parses prints, and what prints parses to the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct oci_ref ref, again;

	if (oci_ref_parse(cf_view(data, size), &ref, NULL) < 0)
		return 0;
	cf_cleanup(cf_freep) char *text = oci_ref_text(&ref);
	cf_cleanup(cf_freep) char *twice = NULL;

	assert(oci_ref_parse(cf_view_str(text), &again, NULL) == 0);
	twice = oci_ref_text(&again);
	assert(strcmp(text, twice) == 0);
	return 0;
}
