/* fuzz: snapshotter */
/* SPDX-License-Identifier: Apache-2.0 */
/* The settings file: what it says becomes paths, numbers and instances. */
#include "snapshotter/snap_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct snap_config c = { 0 };
	struct cf_err err;

	if (size > 65536)
		return 0;
	cf_log_set_level(CF_LOG_ERROR);
	c.instances = cf_zalloc_n(SNAP_INSTANCES_MAX, sizeof(c.instances[0]));
	c.instances[0].name = cf_strdup("");
	c.instance_count = 1;
	(void)!snap_config_read_text(&c, "fuzz", cf_view(data, size), &err);
	snap_config_fini(&c);
	return 0;
}
