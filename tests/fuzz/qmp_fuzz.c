/* fuzz: shim */
/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/qmp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qmp_message m;
	struct cf_err err;

	if (qmp_parse(cf_view(data, size), &m, &err) == 0)
		qmp_message_fini(&m);
	return 0;
}
