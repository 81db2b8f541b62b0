/* fuzz: base */
/* SPDX-License-Identifier: Apache-2.0 */
/* Any text: read or refused; strings that were read must survive being written and read again. */
#include "base/toml.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_string(const char *text)
{
	struct cf_buf b = { 0 };
	struct cf_toml *t = NULL;

	cf_buf_add_str(&b, "k = ");
	cf_toml_add_string(&b, text);
	if (!b.bad) {
		int r = cf_toml_parse(cf_buf_view(&b), &t, NULL);

		assert(r == 0 && cf_streq(cf_toml_str(cf_toml_get(t, "k")), text));
	}
	cf_toml_free(t);
	cf_buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cf_toml *t = NULL;

	if (cf_toml_parse(cf_view(data, size), &t, NULL) < 0)
		return 0;
	for (size_t i = 0; i < cf_toml_count(t); i++) {
		const char *text = cf_toml_str(cf_toml_at(t, i));

		if (text)
			check_string(text);
	}
	cf_toml_free(t);
	return 0;
}
