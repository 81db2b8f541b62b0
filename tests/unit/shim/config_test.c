/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/config.h"

#include "tests/harness/test.h"

CF_TEST(config_defaults_when_nothing_is_said)
{
	cf_cleanup(shim_config_freep) struct shim_config *c = shim_config_default();

	EXPECT_STR(c->driver, "qemu");
	EXPECT_STR(c->accel, "auto");
	EXPECT_STR(c->run_dir, SHIM_RUN_DIR);
	EXPECT_INT(c->memory_mib, 512);
	EXPECT(!c->firmware && !c->initdata && c->has_annotation_initdata);
}

CF_TEST(config_reads_tables_and_refuses_misspelt_keys)
{
	cf_cleanup(shim_config_freep) struct shim_config *c = NULL;
	struct shim_config *none = NULL;
	struct cf_err err;

	EXPECT_OK(shim_config_parse(cf_view_str("driver = \"none\"\n[none]\ninit = \"/x\"\n"
	                                        "init_args = [\"--a\", \"b\"]\n"
	                                        "[qemu]\nmemory_mib = 1024\n"
	                                        "[timeouts]\nboot_ms = 5000\n"),
	                            &c, &err),
	          &err);
	EXPECT_STR(c->driver, "none");
	EXPECT_STR(c->init, "/x");
	EXPECT_INT(c->init_args.count, 2);
	EXPECT_INT(c->memory_mib, 1024);
	EXPECT_INT(c->boot_timeout_ms, 5000);
	EXPECT_FAILS(shim_config_parse(cf_view_str("drivr = \"none\""), &none, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT_FAILS(shim_config_parse(cf_view_str("[qemu]\nmemory = 3"), &none, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT_FAILS(shim_config_parse(cf_view_str("[qemu]\naccel = \"tgc\""), &none, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT_FAILS(shim_config_parse(cf_view_str("[qemu]\nvcpus = 0"), &none, &err),
	             CF_OUT_OF_RANGE);
	EXPECT_FAILS(shim_config_parse(cf_view_str("driver = 3"), &none, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT(!none);
}
