/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/vmm.h"

static int qemu_start(const struct vmm_spec *spec, struct vmm *v, struct cf_err *err)
{
	(void)spec;
	(void)v;
	return cf_fail(err, CF_UNIMPLEMENTED, "driver qemu");
}

static int qemu_connect(struct vmm *v, int64_t timeout_ms, struct cf_err *err)
{
	(void)v;
	(void)timeout_ms;
	return cf_fail(err, CF_UNIMPLEMENTED, "driver qemu");
}

static void qemu_stop(struct vmm *v)
{
	(void)v;
}

const struct vmm_ops vmm_qemu_ops = {
	.name = "qemu",
	.has_own_network = true,
	.start = qemu_start,
	.connect = qemu_connect,
	.stop = qemu_stop,
};
