/* fuzz: attest-agent */
/* SPDX-License-Identifier: Apache-2.0 */
/* attestation-agent.conf as initdata carries it: TOML or JSON. */
#include "attest-agent/config.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct aa_config c;

	aa_config_init(&c);
	if (aa_config_parse(&c, cf_view(data, size), NULL) == 0)
		assert(c.init_pcr >= -1);
	aa_config_fini(&c);
	return 0;
}
