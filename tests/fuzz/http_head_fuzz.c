/* fuzz: base */
/* SPDX-License-Identifier: Apache-2.0 */
#include "base/http_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_head head;
	unsigned status = 0;
	struct cf_err err;
	int r = http_head_parse(cf_view(data, size), &head, &status, &err);

	if (r < 0 && (status < 400 || status > 505))
		abort(); /* every refusal has a status */
	if (r == 0 && (head.path.size == 0 || head.path.data[0] != '/' || head.method.size == 0))
		abort();
	return 0;
}
