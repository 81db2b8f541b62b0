/* fuzz: guest */
/* SPDX-License-Identifier: Apache-2.0 */
/* policy.toml, and the judgement of one request by whatever it says. */
#include "vmm-glue/guest/native_policy.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(const struct native_policy *p)
{
	char arg0[] = "/app", env0[] = "PATH=/bin", image[] = "reg.example/app:1", root[] = "/";
	char *args[] = { arg0 }, *env[] = { env0 };
	Grpc__Process process = GRPC__PROCESS__INIT;
	Grpc__Spec spec = GRPC__SPEC__INIT;
	struct policy_image config = { .cwd = "/" };
	struct native_policy_request req = {
		.image = image, .name = "web", .config = &config, .spec = &spec
	};
	const struct policy_container *found = NULL;
	struct cf_err err;
	int r;

	process.args = args;
	process.n_args = 1;
	process.env = env;
	process.n_env = 1;
	process.cwd = root;
	spec.process = &process;
	cf_strv_add(&config.args, "/app");
	cf_strv_add(&config.env, "PATH=/bin");
	r = native_policy_container(p, &req, &found, &err);
	assert((r == 0) == (found != NULL));
	/* What the whole allows, the part before the pull must allow too. */
	if (r == 0)
		assert(native_policy_image(p, image, &err) == 0);
	cf_strv_fini(&config.args);
	cf_strv_fini(&config.env);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct native_policy *p = NULL;
	struct cf_err err;

	if (native_policy_parse(cf_view(data, size), &p, &err) == 0)
		judge(p);
	native_policy_free(p);
	return 0;
}
