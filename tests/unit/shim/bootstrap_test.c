/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/bootstrap.h"

#include "base/crypto.h"
#include "proto/containerd_bootstrap.pb-c.h"
#include "tests/harness/test.h"

#include <stdio.h>

/* BootstrapParams { instance_id "t1", namespace "default", ttrpc address "/t", socket_dir "/d" } */
static const struct cf_view params = CF_VIEW_LIT("\x0a\x02t1\x12\x07"
                                                 "default\x2a\x02/t\x4a\x02/d");
/* Any { type_url "t1", value "default" }: what an older daemon's runtime options could look like */
static const struct cf_view any = CF_VIEW_LIT("\x0a\x02xx\x12\x07"
                                              "default");

CF_TEST(bootstrap_tells_the_dialects_apart)
{
	struct bootstrap_input in;

	bootstrap_parse(params, "t1", "default", &in);
	EXPECT(in.is_v3);
	EXPECT_STR(in.ttrpc_address, "/t");
	EXPECT_STR(in.socket_dir, "/d");
	bootstrap_input_fini(&in);
	bootstrap_parse(params, "t2", "default", &in);
	EXPECT(!in.is_v3 && !in.socket_dir);
	bootstrap_parse(params, "t1", "other", &in);
	EXPECT(!in.is_v3);
	bootstrap_parse(any, "t1", "default", &in);
	EXPECT(!in.is_v3);
	bootstrap_parse(cf_view(NULL, 0), "t1", "default", &in);
	EXPECT(!in.is_v3);
	for (size_t n = 0; n < params.size; n++) { /* every truncation is read without harm */
		bootstrap_parse(cf_view(params.data, n), "t1", "default", &in);
		bootstrap_input_fini(&in);
	}
}

CF_TEST(bootstrap_answers_in_the_callers_dialect)
{
	struct cf_buf out = { 0 };
	Containerd__Runtime__Bootstrap__V1__BootstrapResult *res;

	bootstrap_answer(false, "unix:///x", &out);
	EXPECT_STR((char *)out.data, "unix:///x");
	/* what a 2.3 daemon tries first must fail on a plain address */
	EXPECT(!containerd__runtime__bootstrap__v1__bootstrap_result__unpack(NULL, out.size,
	                                                                     out.data));
	cf_buf_reset(&out);
	bootstrap_answer(true, "unix:///x", &out);
	res = containerd__runtime__bootstrap__v1__bootstrap_result__unpack(NULL, out.size,
	                                                                   out.data);
	EXPECT(res && res->version == 3);
	EXPECT_STR(res->address, "unix:///x");
	EXPECT_STR(res->protocol, "ttrpc");
	containerd__runtime__bootstrap__v1__bootstrap_result__free_unpacked(res, NULL);
	cf_buf_fini(&out);
}

static void expect_join(const char *a, const char *b, const char *c, const char *want)
{
	cf_cleanup(cf_freep) char *got = bootstrap_join(a, b, c);

	EXPECT_STR(got, want);
}

CF_TEST(bootstrap_socket_is_named_as_containerd_names_it)
{
	cf_cleanup(cf_freep) char *path = NULL;
	char *none = NULL;
	struct cf_err err;
	uint8_t digest[32];
	char want[128], hex[65];
	char long_dir[120];

	expect_join("/run/c.sock", "ns", "id", "/run/c.sock/ns/id");
	expect_join("/run//c/./d/../c.sock/", "ns", "id", "/run/c/c.sock/ns/id");
	expect_join("", "ns", "id", "ns/id");
	cf_sha256(cf_view_str("/run/c.sock/ns/id"), digest);
	cf_hex_encode(cf_view(digest, 32), hex);
	snprintf(want, sizeof(want), "/run/containerd/s/%s", hex);
	EXPECT_OK(bootstrap_socket_path(SHIM_SOCKET_DIR, "/run/c.sock", "ns", "id", &path, &err),
	          &err);
	EXPECT_STR(path, want);
	memset(long_dir, 'd', sizeof(long_dir) - 1);
	long_dir[sizeof(long_dir) - 1] = 0;
	EXPECT_FAILS(bootstrap_socket_path(long_dir, "a", "b", "c", &none, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT(!none);
}
