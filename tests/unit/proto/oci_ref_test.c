/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/oci_ref.h"
#include "tests/harness/test.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define SHA   "sha256:" HEX64

CF_TEST(oci_ref_expands_what_people_write)
{
	static const struct {
		const char *text, *full, *target;
		bool is_short;
	} cases[] = {
		{ "alpine", "docker.io/library/alpine:latest", "latest", true },
		{ "a/b", "docker.io/a/b:latest", "latest", true },
		{ "docker.io/alpine:3", "docker.io/library/alpine:3", "3", false },
		{ "index.docker.io/x/y", "docker.io/x/y:latest", "latest", false },
		{ "localhost/x", "localhost/x:latest", "latest", false },
		{ "localhost:5000/x:1", "localhost:5000/x:1", "1", false },
		{ "127.0.0.1:5055/sig/ec", "127.0.0.1:5055/sig/ec:latest", "latest", false },
		{ "[::1]:5000/x", "[::1]:5000/x:latest", "latest", false },
		{ "q.io/a@" SHA, "q.io/a@" SHA, SHA, false },
		{ "q.io/a:t@" SHA, "q.io/a:t@" SHA, SHA, false },
		{ "q.io/a_b/c__d/e---f/g.h:T_.-9", "q.io/a_b/c__d/e---f/g.h:T_.-9", "T_.-9",
		  false },
		{ "Reg.EXAMPLE.com/a", "Reg.EXAMPLE.com/a:latest", "latest", false },
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(cases); i++) {
		struct oci_ref ref;
		struct cf_err err;

		EXPECT_OK(oci_ref_parse(cf_view_str(cases[i].text), &ref, &err), &err);
		cf_cleanup(cf_freep) char *full = oci_ref_text(&ref);

		EXPECT_STR(full, cases[i].full);
		EXPECT_STR(oci_ref_target(&ref), cases[i].target);
		EXPECT_INT(ref.is_short, cases[i].is_short);
	}
}

CF_TEST(oci_ref_refuses_what_is_no_reference)
{
	static const char *const refused[] = {
		"",                 /* nothing */
		"A",                /* upper case in a repository */
		"a/B",              /* the same, deeper */
		"q.io/",            /* no repository */
		"q.io//a",          /* empty component */
		"/a",               /* empty registry */
		"a:",               /* empty tag */
		"a:-x",             /* a tag starts with a word character */
		"a:b/c",            /* the port of a registry is digits */
		"a..b",             /* two dots */
		"a___b",            /* three underscores */
		"a-",               /* ends in a separator */
		"-a",               /* begins with one */
		"a b",              /* space */
		"q.io:99999999/a",  /* no port */
		"-x.io/a",          /* no host */
		"x-.io/a",          /* no host */
		"q.io/a@sha256:12", /* digest too short */
		"q.io/a@md5:0123",  /* unknown algorithm */
		"q.io/a@" SHA "0",  /* too long */
		"q.io/a@sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
		"../a",       /* leaves the path */
		"q.io/../a",  /* leaves the path */
		"docker://a", /* a transport is not part of a reference */
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(refused); i++) {
		struct oci_ref ref;
		struct cf_err err;

		EXPECT_FAILS(oci_ref_parse(cf_view_str(refused[i]), &ref, &err),
		             CF_INVALID_ARGUMENT);
	}
	struct oci_ref ref;

	EXPECT_FAILS(oci_ref_parse((struct cf_view)CF_VIEW_LIT("a\0b"), &ref, NULL),
	             CF_INVALID_ARGUMENT);
}

CF_TEST(oci_ref_holds_its_limits)
{
	char text[OCI_REF_TEXT_MAX + 2];
	struct oci_ref ref;
	struct cf_err err;

	memset(text, 'a', sizeof(text));
	memcpy(text, "q.io/", 5);
	text[OCI_REF_NAME_MAX] = '\0';
	EXPECT_OK(oci_ref_parse(cf_view_str(text), &ref, &err), &err);
	text[OCI_REF_NAME_MAX] = 'a';
	text[OCI_REF_NAME_MAX + 1] = '\0';
	EXPECT_FAILS(oci_ref_parse(cf_view_str(text), &ref, &err), CF_INVALID_ARGUMENT);
	memset(text, 't', sizeof(text));
	memcpy(text, "q.io/a:", 7);
	text[7 + OCI_REF_TAG_MAX] = '\0';
	EXPECT_OK(oci_ref_parse(cf_view_str(text), &ref, &err), &err);
	EXPECT_INT(strlen(ref.tag), OCI_REF_TAG_MAX);
	text[7 + OCI_REF_TAG_MAX] = 't';
	text[8 + OCI_REF_TAG_MAX] = '\0';
	EXPECT_FAILS(oci_ref_parse(cf_view_str(text), &ref, &err), CF_INVALID_ARGUMENT);
	/* "library/" counts too */
	memset(text, 'a', sizeof(text));
	text[OCI_REF_NAME_MAX - strlen("docker.io/library/")] = '\0';
	EXPECT_OK(oci_ref_parse(cf_view_str(text), &ref, &err), &err);
	text[OCI_REF_NAME_MAX - strlen("docker.io/library/")] = 'a';
	text[OCI_REF_NAME_MAX - strlen("docker.io/library/") + 1] = '\0';
	EXPECT_FAILS(oci_ref_parse(cf_view_str(text), &ref, &err), CF_INVALID_ARGUMENT);
}

CF_TEST(oci_ref_every_truncation_parses_or_is_refused)
{
	static const char whole[] = "q.io:5000/team/app_x:1.2@" SHA;

	for (size_t n = 0; n < sizeof(whole); n++) {
		struct oci_ref ref;
		int r = oci_ref_parse(cf_view(whole, n), &ref, NULL);

		EXPECT(r == 0 || r == -CF_INVALID_ARGUMENT);
	}
}

CF_TEST(oci_digest_takes_three_algorithms)
{
	struct oci_digest d;
	struct cf_err err;

	EXPECT_OK(oci_digest_parse(cf_view_str(SHA), &d, &err), &err);
	EXPECT_STR(oci_digest_hex(&d), HEX64);
	EXPECT_OK(oci_digest_parse(cf_view_str("sha512:" HEX64 HEX64), &d, &err), &err);
	EXPECT(d.alg == OCI_SHA512);
	EXPECT_FAILS(oci_digest_parse(cf_view_str("sha384:" HEX64), &d, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(oci_digest_parse(cf_view_str(HEX64), &d, &err), CF_INVALID_ARGUMENT);
}
