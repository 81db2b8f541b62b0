/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/pod_cmd.h"

#include "tests/harness/test.h"

#define CONFIG(inner)                                                                              \
	"{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"type\":\"layers\","            \
	"\"diff_ids\":[]},\"config\":{" inner "}}"

static int build(const char *text, const struct cf_strv *args, const char *env, struct cf_buf *out,
                 struct cf_err *err)
{
	struct oci_config config;
	struct cf_strv list = { 0 };
	int r;

	EXPECT_OK(oci_config_parse(cf_view_str(text), &config, err), err);
	if (env)
		cf_strv_add(&list, env);
	r = pod_process_write(&config, args, &list, out, err);
	cf_strv_fini(&list);
	oci_config_fini(&config);
	return r;
}

CF_TEST(pod_process_is_what_the_image_says)
{
	struct cf_buf out = { 0 };
	struct cf_err err;

	EXPECT_OK(build(CONFIG("\"Entrypoint\":[\"/e\"],\"Cmd\":[\"a\"],\"Env\":[\"PATH=/x\"],"
	                       "\"User\":\"7:8\",\"WorkingDir\":\"/w\""),
	                NULL, "K=v", &out, &err),
	          &err);
	EXPECT_STR((char *)out.data,
	           "{\"args\":[\"/e\",\"a\"],\"env\":[\"PATH=/x\",\"K=v\"],\"cwd\":\"/w\","
	           "\"user\":{\"uid\":7,\"gid\":8}}");
	cf_buf_fini(&out);
}

CF_TEST(pod_process_takes_the_callers_command)
{
	struct cf_strv args = { 0 };
	struct cf_buf out = { 0 };
	struct cf_err err;

	cf_strv_add(&args, "b");
	EXPECT_OK(build(CONFIG("\"Entrypoint\":[\"/e\"],\"Cmd\":[\"a\"]"), &args, NULL, &out, &err),
	          &err);
	EXPECT(strstr((char *)out.data, "\"args\":[\"/e\",\"b\"],\"env\":[\"PATH=/usr/local/sbin"));
	EXPECT(strstr((char *)out.data, "\"cwd\":\"/\",\"user\":{\"uid\":0,\"gid\":0}"));
	cf_buf_fini(&out);
	cf_strv_fini(&args);
}

CF_TEST(pod_process_refuses_what_it_cannot_know)
{
	struct cf_buf out = { 0 };
	struct cf_err err;

	EXPECT_FAILS(build(CONFIG("\"Cmd\":[\"a\"],\"User\":\"www-data\""), NULL, NULL, &out, &err),
	             CF_UNIMPLEMENTED);
	EXPECT_FAILS(
		build(CONFIG("\"Cmd\":[\"a\"],\"User\":\"99999999999\""), NULL, NULL, &out, &err),
		CF_UNIMPLEMENTED);
	EXPECT_FAILS(build(CONFIG("\"Env\":[]"), NULL, NULL, &out, &err), CF_INVALID_ARGUMENT);
	EXPECT(!out.size);
	cf_buf_fini(&out);
}
