/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * How large a pod's machine is. Firmware measurements depend on the number of vCPUs and on the
 * memory size, so both are rounded up to a few steps: the owner's list of reference values stays
 * short and can be published beforehand.
 */
#include "vmm-glue/shim/bundle.h"
#include "vmm-glue/shim/config.h"

/* The next power of two. */
unsigned sizing_vcpus(uint64_t wanted, uint64_t max);
/* The next of 256, 384, 512, 768, 1024, 1536, 2048, … MiB: powers of two and the halves between. */
unsigned sizing_memory_mib(uint64_t wanted, uint64_t max);

/*
 * What the sandbox' annotations ask for (quota over period, rounded up; memory limit) plus the
 * configured overhead; the configured defaults where they ask for nothing.
 */
void sizing_of_pod(const struct bundle *b, const struct shim_config *config, unsigned *ret_vcpus,
                   unsigned *ret_memory_mib);
