/* fuzz: attest-agent */
/* SPDX-License-Identifier: Apache-2.0 */
/* A query string from a process of the pod, and the same bytes as a configuration. */
#include "attest-agent/config.h"
#include "attest-agent/rest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const keys[] = { "runtime_data", "encoding", "a" };
	struct aa_config config;

	for (size_t i = 0; i < CF_ARRAY_LEN(keys); i++) {
		struct cf_buf value = { 0 };

		if (rest_query(cf_view(data, size), keys[i], &value) && value.size > size)
			abort();
		cf_buf_fini(&value);
	}
	aa_config_init(&config);
	if (aa_config_parse(&config, cf_view(data, size), NULL) < 0 && size == 0)
		abort();
	aa_config_fini(&config);
	return 0;
}
