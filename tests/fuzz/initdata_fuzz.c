/* fuzz: proto */
/* SPDX-License-Identifier: Apache-2.0 */
/* A host-made disk; what it inflates to is parsed as the guest would. Plain TOML is tried as well. */
#include "proto/initdata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(struct cf_view text)
{
	struct initdata *d = NULL;

	if (initdata_parse(text, &d, NULL) == 0)
		initdata_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cf_buf text = { 0 };

	if (initdata_from_disk(cf_view(data, size), &text, NULL) == 0)
		parse(cf_buf_view(&text));
	cf_buf_reset(&text);
	if (initdata_from_annotation(cf_view(data, size), &text, NULL) == 0)
		parse(cf_buf_view(&text));
	cf_buf_fini(&text);
	parse(cf_view(data, size));
	return 0;
}
