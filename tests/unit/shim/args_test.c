/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/args.h"

#include "tests/harness/test.h"

static char *words[16]; /* argv outlives what borrows from it */

static int parse(const char *const *argv, struct shim_args *ret, struct cf_err *err)
{
	int argc = 0;

	for (; argv[argc]; argc++)
		memcpy(&words[argc], &argv[argc], sizeof(words[0]));
	return shim_args_parse(argc, words, ret, err);
}
#define PARSE(ret, err, ...) parse((const char *const[]){ "shim", __VA_ARGS__, NULL }, ret, err)

CF_TEST(args_reads_what_containerd_writes)
{
	struct shim_args a;
	struct cf_err err;

	EXPECT_OK(PARSE(&a, &err, "-namespace", "default", "-address", "/run/c.sock",
	                "-publish-binary", "/usr/bin/containerd", "-id", "t1", "start"),
	          &err);
	EXPECT(a.action == SHIM_START);
	EXPECT_STR(a.ns, "default");
	EXPECT_STR(a.address, "/run/c.sock");
	EXPECT_STR(a.publish_binary, "/usr/bin/containerd");
	EXPECT_STR(a.id, "t1");
	EXPECT_OK(PARSE(&a, &err, "--namespace=n", "--debug", "-bundle=/b", "-id", "x", "delete"),
	          &err);
	EXPECT(a.action == SHIM_DELETE && a.is_debug);
	EXPECT_STR(a.bundle, "/b");
	EXPECT_OK(PARSE(&a, &err, "-info"), &err);
	EXPECT(a.action == SHIM_INFO);
	EXPECT_OK(PARSE(&a, &err, "run", "--image", "x"), &err);
	EXPECT(a.action == SHIM_RUN && a.rest_argc == 2);
	EXPECT_STR(a.rest_argv[0], "--image");
}

CF_TEST(args_refuses_what_it_does_not_know)
{
	struct shim_args a;
	struct cf_err err;

	EXPECT_FAILS(PARSE(&a, &err, "-wrong", "x", "start"), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(PARSE(&a, &err, "-namespace", "n", "stop"), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(PARSE(&a, &err, "-namespace", "n", "-id"), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(PARSE(&a, &err, "-namespace", "", "start"), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(PARSE(&a, &err, "start"), CF_INVALID_ARGUMENT);
}
