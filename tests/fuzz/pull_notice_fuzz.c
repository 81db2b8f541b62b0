/* fuzz: shim */
/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/pull_notice.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pull_notice n;
	struct cf_err err;

	if (pull_notice_parse(cf_view(data, size), &n, &err) < 0)
		return 0;
	assert(n.image[0] && strlen(n.image) <= PULL_NOTICE_IMAGE_MAX);
	pull_notice_fini(&n);
	return 0;
}
