/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/bundle.h"

#include "tests/harness/test.h"

#define SANDBOX                                                                                    \
	"{\"annotations\":{\"io.kubernetes.cri.container-type\":\"sandbox\","                      \
	"\"io.kubernetes.cri.sandbox-id\":\"abc\"},"                                               \
	"\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"network\","                     \
	"\"path\":\"/var/run/netns/cni-1\"}]}}"
#define CONTAINER                                                                                  \
	"{\"annotations\":{\"io.kubernetes.cri.container-type\":\"container\","                    \
	"\"io.kubernetes.cri.sandbox-id\":\"abc\","                                                \
	"\"io.kubernetes.cri.image-name\":\"docker.io/a/b:1\"}}"

static const char *const refused[] = {
	"[",                                                                      /* not JSON */
	"{\"annotations\":{\"io.kubernetes.cri.container-type\":\"container\"}}", /* no pod */
	"{\"annotations\":{\"io.kubernetes.cri.sandbox-id\":\"../../etc\"}}",     /* a path */
	"{\"annotations\":{\"io.kubernetes.cri.sandbox-id\":\"a/b\"}}",           /* a path */
};

CF_TEST(bundle_knows_the_pod_of_a_cri_container)
{
	cf_cleanup(bundle_freep) struct bundle *b = NULL;
	cf_cleanup(bundle_freep) struct bundle *c = NULL;
	cf_cleanup(bundle_freep) struct bundle *d = NULL;
	struct cf_err err;

	EXPECT_OK(bundle_parse(cf_view_str(SANDBOX), "abc", &b, &err), &err);
	EXPECT(b->kind == BUNDLE_SANDBOX);
	EXPECT(cf_view_eq_str(bundle_netns(b), "/var/run/netns/cni-1"));
	EXPECT_OK(bundle_parse(cf_view_str(CONTAINER), "ctr1", &c, &err), &err);
	EXPECT(c->kind == BUNDLE_CONTAINER);
	EXPECT_STR(c->sandbox_id, "abc");
	EXPECT(cf_view_eq_str(bundle_image(c), "docker.io/a/b:1"));
	EXPECT_OK(bundle_parse(cf_view_str("{}"), "alone", &d, &err), &err);
	EXPECT(d->kind == BUNDLE_SINGLE);
	EXPECT_STR(d->sandbox_id, "alone");
	EXPECT(!bundle_netns(d).size);
}

CF_TEST(bundle_refuses_ids_that_could_be_paths)
{
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(refused); i++) {
		struct bundle *b = NULL;

		EXPECT_FAILS(bundle_parse(cf_view_str(refused[i]), "x", &b, &err),
		             CF_INVALID_ARGUMENT);
		EXPECT(!b);
	}
	EXPECT_OK(shim_id_check("id", "a.b-c_d", &err), &err);
	EXPECT_OK(shim_id_check("id", "a--b", &err), &err);
	EXPECT_FAILS(shim_id_check("id", "a..b", &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(shim_id_check("id", "-a", &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(shim_id_check("id", "a.", &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(shim_id_check("id", "", &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(shim_id_check("id", NULL, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(shim_id_check("id",
	                           "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff"
	                           "gggggggggghhhhhhh",
	                           &err),
	             CF_INVALID_ARGUMENT);
}
