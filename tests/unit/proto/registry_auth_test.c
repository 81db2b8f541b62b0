/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/registry_auth.h"
#include "tests/harness/test.h"

/* a:b, c:d\n, e:f in base64 */
#define AUTHS                                                                                      \
	"{\"auths\":{\"q.io/team/app\":{\"auth\":\"YTpi\"},\"q.io\":{\"auth\":\"YzpkCg==\"},"      \
	"\"https://index.docker.io/v1/\":{\"auth\":\"ZTpm\"},\"u.io\":{\"username\":\"g\","        \
	"\"password\":\"h\"},\"t.io\":{\"identitytoken\":\"i\",\"registrytoken\":\"j\"},"          \
	"\"p.io/a\":{\"auth\":\"YTpi\"}}}"

static struct registry_credentials find(const char *reference)
{
	struct registry_credentials c = { 0 };
	struct oci_ref ref;
	struct cf_err err;

	EXPECT_OK(oci_ref_parse(cf_view_str(reference), &ref, &err), &err);
	EXPECT_OK(registry_auth_find(cf_view_str(AUTHS), &ref, &c, &err), &err);
	return c;
}

CF_TEST(registry_auth_takes_the_longest_key_then_the_host)
{
	static const struct {
		const char *ref, *user, *password;
	} cases[] = {
		{ "q.io/team/app:1", "a", "b" },
		{ "q.io/team/app/sub", "a", "b" },
		{ "q.io/team/application", "c", "d" },
		{ "q.io/x", "c", "d" },
		{ "alpine", "e", "f" },
		{ "u.io/x", "g", "h" },
		{ "p.io/b", NULL, NULL }, /* p.io/a serves p.io/a alone */
		{ "none.io/x", NULL, NULL },
		{ "t.io/x", NULL, NULL },
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(cases); i++) {
		struct registry_credentials c = find(cases[i].ref);

		EXPECT(cf_streq(c.user, cases[i].user) && cf_streq(c.password, cases[i].password));
		registry_credentials_fini(&c);
	}
	struct registry_credentials c = find("t.io/x");

	EXPECT_STR(c.identity_token, "i");
	EXPECT_STR(c.registry_token, "j");
	registry_credentials_fini(&c);
}

CF_TEST(registry_auth_refuses_a_file_that_is_none)
{
	struct registry_credentials c = { 0 };
	struct oci_ref ref;
	struct cf_err err;

	EXPECT_OK(oci_ref_parse(cf_view_str("q.io/x"), &ref, &err), &err);
	EXPECT_FAILS(registry_auth_find(cf_view_str("nonsense"), &ref, &c, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT_FAILS(registry_auth_find(cf_view_str("{\"auths\":{\"q.io\":{\"auth\":\"YTpi!\"}}}"),
	                                &ref, &c, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT_FAILS(registry_auth_find(cf_view_str("{\"auths\":{\"q.io\":{\"auth\":\"YWI=\"}}}"),
	                                &ref, &c, &err),
	             CF_INVALID_ARGUMENT); /* no colon */
	EXPECT_OK(registry_auth_find((struct cf_view){ 0 }, &ref, &c, &err), &err);
	EXPECT(!c.user);
}

CF_TEST(registry_challenge_reads_the_first_challenge)
{
	struct registry_challenge c = { 0 };
	struct cf_err err;

	EXPECT_OK(registry_challenge_parse(
			  cf_view_str("Bearer realm=\"https://a.b/t?x=\\\"y\",service=s.io , "
	                              "scope=\"repository:a:pull,push\", error=invalid"),
			  &c, &err),
	          &err);
	EXPECT(c.bearer);
	EXPECT_STR(c.realm, "https://a.b/t?x=\"y");
	EXPECT_STR(c.service, "s.io");
	EXPECT_STR(c.scope, "repository:a:pull,push");
	registry_challenge_fini(&c);
	EXPECT_OK(registry_challenge_parse(cf_view_str("bAsIc realm=\"x\", Bearer realm=\"y\""), &c,
	                                   &err),
	          &err);
	EXPECT(!c.bearer);
	EXPECT_STR(c.realm, "x");
	registry_challenge_fini(&c);
	EXPECT_OK(registry_challenge_parse(cf_view_str("Basic"), &c, &err), &err);
	registry_challenge_fini(&c);
}

CF_TEST(registry_challenge_refuses_malformed_ones)
{
	static const char *const refused[] = {
		"",
		"Negotiate abc",
		"Bearer",
		"Bearer service=\"x\"",
		"Bearer realm=\"x",
		"Bearer realm=",
		"Bearer =x",
		"Bearer realm=\"x\\",
		"Bearer realm=\"a\tb\"",
	};
	static const char whole[] = "Bearer realm=\"https://a.b\",service=\"c\"";

	for (size_t i = 0; i < CF_ARRAY_LEN(refused); i++) {
		struct registry_challenge c = { 0 };

		EXPECT_FAILS(registry_challenge_parse(cf_view_str(refused[i]), &c, NULL),
		             CF_INVALID_ARGUMENT);
		EXPECT(!c.realm);
	}
	for (size_t n = 0; n < sizeof(whole) - 1; n++) {
		struct registry_challenge c = { 0 };

		(void)!registry_challenge_parse(cf_view(whole, n), &c, NULL);
		registry_challenge_fini(&c);
	}
}

CF_TEST(registry_token_reads_both_names_and_a_lifetime)
{
	struct cf_err err;
	char *token = NULL;
	uint64_t ttl;

	EXPECT_OK(registry_token_parse(cf_view_str("{\"token\":\"abc\",\"expires_in\":300}"),
	                               &token, &ttl, &err),
	          &err);
	EXPECT_STR(token, "abc");
	EXPECT_INT(ttl, 300);
	free(token);
	EXPECT_OK(registry_token_parse(cf_view_str("{\"access_token\":\"d\",\"expires_in\":1}"),
	                               &token, &ttl, &err),
	          &err);
	EXPECT_INT(ttl, REGISTRY_TOKEN_TTL_MIN_S);
	free(token);
	EXPECT_FAILS(registry_token_parse(cf_view_str("{\"token\":\"a b\"}"), &token, &ttl, &err),
	             CF_INVALID_ARGUMENT); /* would break the header */
	EXPECT_FAILS(registry_token_parse(cf_view_str("{}"), &token, &ttl, &err),
	             CF_INVALID_ARGUMENT);
}
