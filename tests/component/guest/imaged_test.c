/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coffer-init with the real image service beside it. tests/component/guest_imaged.sh brings a registry
 * and names in the environment: COFFER_TEST_IMAGE (a reference) and COFFER_TEST_CDH (a cdh.toml).
 */
#include "tests/component/guest/guest_fixture.h"

#define IMAGE_ENV "COFFER_TEST_IMAGE"

static struct fx *start(const char *policy)
{
	struct cf_buf cdh = cf_test_read(getenv("COFFER_TEST_CDH"));
	struct initdata_entry entries[] = {
		{ .key = "cdh.toml", .text = (const char *)cdh.data },
		{ .key = "policy.toml", .text = policy },
	};
	struct fx *f = cf_zalloc(sizeof(*f));

	f->dir = cf_test_tmpdir();
	fx_write_initdata_of(f, entries, 2);
	fx_spawn(f, true, NULL);
	cf_buf_fini(&cdh);
	return f;
}

static struct fx_container *container(const char *id)
{
	struct fx_container *c = fx_container(id, getenv(IMAGE_ENV));

	c->process.n_env = 1; /* the image has PATH alone */
	return c;
}

CF_TEST(pulled_image_runs)
{
	cf_cleanup(cf_freep) char *policy = NULL;
	struct fx_container *c;
	struct cf_err err;
	struct fx *f;
	char *out;
	int status = -1;

	if (!getenv(IMAGE_ENV) || !fx_can_run())
		SKIP("runs from tests/component/guest_imaged.sh");
	policy =
		cf_asprintf("[[container]]\nimage = \"%s\"\n"
	                    "args = [\"/bin/sh\", \"-c\", \"cat /hello; touch /new && ls /new\"]\n",
	                    getenv(IMAGE_ENV));
	f = start(policy);
	EXPECT_OK(fx_sandbox(f, false, &err), &err);
	for (int i = 0; i < 2; i++) { /* the second finds its layers in the store */
		cf_cleanup(cf_freep) char *id = cf_asprintf("app-%d", i);

		c = container(id);
		fx_shell(c, "cat /hello; touch /new && ls /new");
		out = fx_run(f, c, &status);
		EXPECT_STR(out, "from the registry\n/new\n");
		EXPECT_INT(status, 0);
		EXPECT_OK(fx_remove(f, id, &err), &err);
		free(out);
		fx_container_free(c);
	}
	/* what the image says is not what this host wants */
	c = container("app-3");
	fx_shell(c, "cat /secret");
	EXPECT_FAILS(fx_create(f, c, &err), CF_PERMISSION_DENIED);
	fx_container_free(c);
	fx_stop(f);
}
