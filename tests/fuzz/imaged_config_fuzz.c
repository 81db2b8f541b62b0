/* fuzz: guest-imaged */
/* SPDX-License-Identifier: Apache-2.0 */
/* cdh.toml as initdata carries it. */
#include "guest-imaged/imaged_config.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct imaged_config c;

	imaged_config_init(&c);
	(void)!imaged_config_parse(cf_view(data, size), &c, NULL);
	assert(c.socket && c.work_dir && c.layers_at_once);
	imaged_config_fini(&c);
	return 0;
}
