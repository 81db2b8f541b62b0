/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/pull_notice.h"

#include "base/str.h"
#include "tests/harness/test.h"

#define DIGEST "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define HEAD   "{\"version\":1,\"event\":\"layer\","

CF_TEST(pull_notice_reads_what_the_snapshotter_sends)
{
	static const char *const texts[] = {
		HEAD "\"image\":\"reg/a:1\",\"manifest\":\"" DIGEST "\",\"layer\":\"sha256:aa\","
		     "\"chain\":\"sha256:cc\",\"above\":2}",
		HEAD "\"image\":\"reg/a:1\",\"news\":[{}]}", /* unknown keys are ignored */
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(texts); i++) {
		struct pull_notice n;
		struct cf_err err;

		EXPECT_OK(pull_notice_parse(cf_view_str(texts[i]), &n, &err), &err);
		EXPECT_STR(n.image, "reg/a:1");
		if (i == 0)
			EXPECT_STR(n.manifest, DIGEST);
		else
			EXPECT(!n.manifest);
		pull_notice_fini(&n);
		/* every truncation */
		for (size_t k = 0; k < strlen(texts[i]); k++)
			EXPECT_FAILS(pull_notice_parse(cf_view(texts[i], k), &n, &err),
			             CF_INVALID_ARGUMENT);
	}
}

CF_TEST(pull_notice_refuses_others)
{
	static const struct {
		const char *text;
		enum cf_code code;
	} refused[] = {
		{ "[]", CF_INVALID_ARGUMENT },
		{ "{}", CF_INVALID_ARGUMENT },
		{ HEAD "\"chain\":\"x\"}", CF_INVALID_ARGUMENT },                 /* no image */
		{ HEAD "\"image\":\"\"}", CF_INVALID_ARGUMENT },                  /* an empty one */
		{ HEAD "\"image\":7}", CF_INVALID_ARGUMENT },                     /* a number */
		{ HEAD "\"image\":\"a\\u0000b\"}", CF_INVALID_ARGUMENT },         /* a NUL */
		{ HEAD "\"image\":\"a\",\"image\":\"b\"}", CF_INVALID_ARGUMENT }, /* two */
		{ HEAD "\"image\":\"a\",\"manifest\":\"sha256:12\"}", CF_INVALID_ARGUMENT },
		{ HEAD "\"image\":\"a\",\"manifest\":\"" DIGEST "0\"}", CF_INVALID_ARGUMENT },
		{ HEAD "\"image\":\"a\",\"manifest\":\"md5:00\"}", CF_INVALID_ARGUMENT },
		{ "{\"version\":2,\"event\":\"layer\",\"image\":\"a\"}", CF_UNIMPLEMENTED },
		{ "{\"version\":1,\"event\":\"gone\",\"image\":\"a\"}", CF_UNIMPLEMENTED },
	};
	cf_cleanup(cf_freep) char *name = cf_asprintf("%0*d", PULL_NOTICE_IMAGE_MAX + 1, 0);
	cf_cleanup(cf_freep) char *text = cf_asprintf(HEAD "\"image\":\"%s\"}", name);
	cf_cleanup(cf_freep) char *pad = cf_asprintf("%0*d", PULL_NOTICE_MAX, 0);
	cf_cleanup(cf_freep) char *large =
		cf_asprintf(HEAD "\"image\":\"a\",\"chain\":\"%s\"}", pad);
	struct pull_notice n;
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(refused); i++)
		EXPECT_FAILS(pull_notice_parse(cf_view_str(refused[i].text), &n, &err),
		             refused[i].code);
	EXPECT_FAILS(pull_notice_parse(cf_view_str(text), &n, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(pull_notice_parse(cf_view_str(large), &n, &err), CF_RESOURCE_EXHAUSTED);
}
