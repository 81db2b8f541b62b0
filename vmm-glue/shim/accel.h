/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Which accelerator works here. That /dev/kvm opens proves nothing: machines exist on which it
 * opens, a VM can be made, and no guest ever gets anywhere. So "auto" boots a sector of ours that
 * reports back through a device, once, and remembers the verdict.
 */
#include "vmm-glue/shim/qemu_args.h"

#define ACCEL_PROBE_MS   3000
#define ACCEL_BOOT_BYTES 512u
#define ACCEL_EXIT_CODE  0x10 /* written to the debug-exit port: QEMU ends with 2 × this + 1 */

/*
 * @config->accel "kvm" and "tcg" are taken at their word. "auto" reads RUN_DIR/accel, or probes and
 * writes it; blocks at most ACCEL_PROBE_MS. *ret_text says in words how it was decided (static).
 */
enum qemu_accel accel_choose(const struct shim_config *config, const char **ret_text);

/* Boots the probe with QEMU's accelerator @name; true when the sector reported back in time. */
bool accel_probe(const char *qemu, const char *name, const char *dir, int64_t timeout_ms);
/* The boot sector. */
void accel_boot_sector(uint8_t out[ACCEL_BOOT_BYTES]);
