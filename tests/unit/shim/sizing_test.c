/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/sizing.h"

#include "tests/harness/test.h"

static void expect_size(const char *annotations, unsigned vcpus, unsigned mib)
{
	cf_cleanup(shim_config_freep) struct shim_config *c = shim_config_default();
	cf_cleanup(cf_freep) char *json = cf_asprintf("{\"annotations\":{%s}}", annotations);
	cf_cleanup(bundle_freep) struct bundle *b = NULL;
	unsigned got_vcpus, got_mib;
	struct cf_err err;

	EXPECT_OK(bundle_parse(cf_view_str(json), "x", &b, &err), &err);
	sizing_of_pod(b, c, &got_vcpus, &got_mib);
	EXPECT_INT(got_vcpus, vcpus);
	EXPECT_INT(got_mib, mib);
}

CF_TEST(sizing_knows_few_sizes)
{
	EXPECT_INT(sizing_vcpus(0, 32), 1);
	EXPECT_INT(sizing_vcpus(3, 32), 4);
	EXPECT_INT(sizing_vcpus(33, 32), 32);
	EXPECT_INT(sizing_memory_mib(1, 65536), 256);
	EXPECT_INT(sizing_memory_mib(257, 65536), 384);
	EXPECT_INT(sizing_memory_mib(512, 65536), 512);
	EXPECT_INT(sizing_memory_mib(513, 65536), 768);
	EXPECT_INT(sizing_memory_mib(1700, 65536), 2048);
	EXPECT_INT(sizing_memory_mib(1 << 30, 65536), 65536);
}

#define CRI "io.kubernetes.cri.sandbox-"

CF_TEST(sizing_follows_the_pods_limits)
{
	expect_size("", 1, 512);
	expect_size("\"" CRI "cpu-quota\":\"150000\",\"" CRI "cpu-period\":\"100000\"", 2, 512);
	expect_size("\"" CRI "cpu-quota\":\"-1\",\"" CRI "cpu-period\":\"100000\"", 1, 512);
	expect_size("\"" CRI "memory\":\"536870912\"", 1, 768); /* 512 + 256 overhead */
	expect_size("\"" CRI "memory\":\"junk\"", 1, 512);
}
