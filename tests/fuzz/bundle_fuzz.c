/* fuzz: shim */
/* SPDX-License-Identifier: Apache-2.0 */
/* config.json: annotations in it come from whoever may make pods. */
#include "vmm-glue/shim/agent_spec.h"
#include "vmm-glue/shim/sizing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char prefix[] = "io.katacontainers.volume=";
	struct cf_view in = cf_view(data, size);
	ssize_t split = cf_view_find(in, '\n');
	struct cf_view volume =
		split >= 0 ? cf_view_sub(in, (size_t)split + 1, size) : cf_view(NULL, 0);
	struct cf_view json = split >= 0 ? cf_view_sub(in, 0, (size_t)split) : in;
	Containerd__Types__Mount mount = CONTAINERD__TYPES__MOUNT__INIT, *mounts = &mount;
	struct agent_rootfs_opts opts = { .is_forced = split < 0 };
	struct agent_container *c = NULL;
	struct bundle *b = NULL;
	char *option = NULL;
	struct cf_err err;

	if (json.size && bundle_parse(json, "fuzz", &b, &err) == 0) {
		if (volume.size && !cf_view_has_nul(volume)) {
			option = cf_asprintf("%s%.*s", prefix, (int)volume.size,
			                     (const char *)volume.data);
			mount.options = &option;
			mount.n_options = 1;
		}
		if (agent_container_new(b, "fuzz", "/b", &mounts, 1, &opts, &c, &err) == 0)
			agent_container_free(c);
		free(option);
		bundle_free(b);
	}
	return 0;
}
