/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/sizing.h"

#include "base/str.h"

#define MEMORY_STEP_MIN 256u /* MiB */
#define MIB             (1u << 20)

unsigned sizing_vcpus(uint64_t wanted, uint64_t max)
{
	uint64_t n = 1;

	while (n < wanted && n < max)
		n *= 2;
	return (unsigned)CF_MIN(n, max);
}

unsigned sizing_memory_mib(uint64_t wanted, uint64_t max)
{
	uint64_t step = MEMORY_STEP_MIN;

	while (step < wanted && step < max) {
		if (step + step / 2 >= wanted) {
			step += step / 2;
			break;
		}
		step *= 2;
	}
	return (unsigned)CF_MIN(step, max);
}

/* An annotation that is a plain number; 0 when it is absent, negative or no number. */
static uint64_t number(const struct bundle *b, const char *key)
{
	struct cf_view v = bundle_annotation(b, key);
	struct cf_err ignored;
	uint64_t n = 0;

	if (!v.size || cf_parse_u64(v, INT64_MAX, &n, &ignored) < 0)
		return 0;
	return n;
}

void sizing_of_pod(const struct bundle *b, const struct shim_config *config, unsigned *ret_vcpus,
                   unsigned *ret_memory_mib)
{
	uint64_t quota = number(b, "io.kubernetes.cri.sandbox-cpu-quota");
	uint64_t period = number(b, "io.kubernetes.cri.sandbox-cpu-period");
	uint64_t memory = number(b, "io.kubernetes.cri.sandbox-memory");
	uint64_t vcpus = (uint64_t)config->vcpus;
	uint64_t mib = (uint64_t)config->memory_mib;

	if (quota && period)
		vcpus = quota / period + (quota % period ? 1 : 0);
	if (memory)
		mib = memory / MIB + (memory % MIB ? 1 : 0) + (uint64_t)config->memory_overhead_mib;
	*ret_vcpus = sizing_vcpus(vcpus, (uint64_t)config->vcpus_max);
	*ret_memory_mib = sizing_memory_mib(mib, (uint64_t)config->memory_max_mib);
}
