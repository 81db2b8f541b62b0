/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/accel.h"

#include "base/fd.h"
#include "tests/harness/test.h"

#include <sys/stat.h>
#include <unistd.h>

#define QEMU "qemu-system-x86_64"

static struct shim_config *config_in(const char *dir, const char *qemu)
{
	cf_cleanup(cf_freep) char *toml =
		cf_asprintf("run_dir = \"%s\"\n[qemu]\npath = \"%s\"\n", dir, qemu);
	struct shim_config *c = NULL;
	struct cf_err err;

	EXPECT_OK(shim_config_parse(cf_view_str(toml), &c, &err), &err);
	return c;
}

CF_TEST(accel_probe_boots_under_emulation)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();

	if (access("/usr/bin/" QEMU, X_OK) < 0)
		SKIP(QEMU " is not installed");
	EXPECT(accel_probe(QEMU, "tcg", dir, 60000));
	EXPECT(!accel_probe("/nonexistent", "tcg", dir, 1000));
}

/* A QEMU that only pretends: starts, and never gets anywhere. */
CF_TEST(accel_never_believes_that_a_device_opens)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *fake = cf_asprintf("%s/qemu", dir);
	cf_cleanup(cf_freep) char *verdict = cf_asprintf("%s/accel", dir);
	cf_cleanup(shim_config_freep) struct shim_config *c = config_in(dir, fake);
	struct cf_err err;
	const char *how;
	struct cf_buf text;

	EXPECT_OK(
		cf_write_file_atomic(fake, cf_view_str("#!/bin/sh\nexec sleep 100\n"), 0755, &err),
		&err);
	EXPECT(chmod(fake, 0755) == 0);
	EXPECT(accel_choose(c, &how) == QEMU_TCG);
	text = cf_test_read(verdict);
	EXPECT_STR((char *)text.data, "tcg");
	cf_buf_fini(&text);
	EXPECT(accel_choose(c, &how) == QEMU_TCG);
	EXPECT_STR(how, "probed before");
}
