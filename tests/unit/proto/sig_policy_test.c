/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/sig_cosign.h"
#include "proto/sig_policy.h"
#include "tests/harness/test.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define SHA   "sha256:" HEX64

static struct oci_ref ref_of(const char *text)
{
	struct oci_ref ref;
	struct cf_err err;

	EXPECT_OK(oci_ref_parse(cf_view_str(text), &ref, &err), &err);
	return ref;
}

CF_TEST(sig_policy_finds_the_most_telling_scope)
{
	static const char text[] =
		"{\"default\":[{\"type\":\"reject\"}],\"transports\":{\"docker\":{"
		"\"q.io/team/app:1\":[],\"q.io/team/app@" SHA "\":[],\"q.io/team/app\":[],"
		"\"q.io/team\":[],\"q.io\":[],\"*.b.example.com\":[],\"*.com\":[],"
		"\"r.io:5000\":[],\"docker.io/library/busybox\":[],\"\":[]},"
		"\"oci\":{\"/a/b\":[],\"/a/b/c:t\":[]}}}";
	static const char *const cases[][2] = {
		{ "q.io/team/app:1", "q.io/team/app:1" },
		{ "q.io/team/app:2", "q.io/team/app" },
		{ "q.io/team/app@" SHA, "q.io/team/app@" SHA },
		{ "q.io/team/app:1@" SHA, "q.io/team/app@" SHA }, /* the tag chose nothing */
		{ "q.io/team/app/sub", "q.io/team/app" },
		{ "q.io/team/application", "q.io/team" }, /* not a component of its own */
		{ "q.io/x", "q.io" },
		{ "r.io:5000/x", "r.io:5000" },
		{ "r.io/x", "" },
		{ "a.b.example.com/x", "*.b.example.com" },
		{ "a.b.example.com:5000/x", "*.b.example.com" },
		{ "b.example.com/x", "*.com" },
		{ "busybox", "docker.io/library/busybox" },
		{ "other.org/x", "" },
	};
	cf_cleanup(sig_policy_freep) struct sig_policy *p = NULL;
	const char *scope;
	struct cf_err err;

	EXPECT_OK(sig_policy_parse(cf_view_str(text), &p, &err), &err);
	for (size_t i = 0; i < CF_ARRAY_LEN(cases); i++) {
		struct oci_ref ref = ref_of(cases[i][0]);

		EXPECT(sig_policy_find(p, &ref, &scope));
		EXPECT_STR(scope, cases[i][1]);
	}
	EXPECT(sig_policy_find_layout(p, "/a/b/c", "t", &scope));
	EXPECT_STR(scope, "/a/b/c:t");
	EXPECT(sig_policy_find_layout(p, "/a/b/c", "u", &scope));
	EXPECT_STR(scope, "/a/b");
	EXPECT(sig_policy_find_layout(p, "/x", "", &scope)->items[0].kind == SIG_REJECT);
	EXPECT_STR(scope, "default");
}

CF_TEST(sig_policy_refuses_what_it_does_not_understand)
{
	static const char *const refused[] = {
		"",
		"[]",
		"{}",                                            /* no default */
		"{\"default\":{}}",                              /* no list */
		"{\"default\":[{}]}",                            /* no type */
		"{\"default\":[{\"type\":\"fine\"}]}",           /* an unknown one */
		"{\"default\":[{\"type\":\"reject\",\"x\":1}]}", /* an unknown member */
		"{\"default\":[],\"transport\":{}}", /* misspelt: would protect nothing */
		"{\"default\":[],\"transports\":[]}",
		"{\"default\":[],\"transports\":{\"docker\":[]}}",
		"{\"default\":[{\"type\":\"sigstoreSigned\"}]}", /* by whom? */
		"{\"default\":[{\"type\":\"sigstoreSigned\",\"keyPath\":\"a\",\"keyData\":\"YQ==\"}"
		"]}",
		"{\"default\":[{\"type\":\"sigstoreSigned\",\"keyPath\":\"\"}]}",
		"{\"default\":[{\"type\":\"sigstoreSigned\",\"keyPath\":[\"a\"]}]}",
		"{\"default\":[{\"type\":\"sigstoreSigned\",\"keyPaths\":\"a\"}]}",
		"{\"default\":[{\"type\":\"sigstoreSigned\",\"keyData\":\"%%\"}]}",
		"{\"default\":[{\"type\":\"sigstoreSigned\",\"keyPath\":\"a\",\"keyTypo\":1}]}",
		"{\"default\":[{\"type\":\"sigstoreSigned\",\"keyPath\":\"a\",\"signedIdentity\":{}"
		"}]}",
		"{\"default\":[{\"type\":\"sigstoreSigned\",\"keyPath\":\"a\","
		"\"signedIdentity\":{\"type\":\"any\"}}]}",
		"{\"default\":[{\"type\":\"sigstoreSigned\",\"keyPath\":\"a\","
		"\"signedIdentity\":{\"type\":\"exactReference\"}}]}",
		"{\"default\":[{\"type\":\"sigstoreSigned\",\"keyPath\":\"a\","
		"\"signedIdentity\":{\"type\":\"matchExact\",\"prefix\":\"x\"}}]}",
	};
	static const char whole[] = "{\"default\":[{\"type\":\"reject\"}],\"transports\":{}}";

	for (size_t i = 0; i < CF_ARRAY_LEN(refused); i++) {
		struct sig_policy *p = NULL;

		EXPECT_FAILS(sig_policy_parse(cf_view_str(refused[i]), &p, NULL),
		             CF_INVALID_ARGUMENT);
		EXPECT(!p);
	}
	for (size_t n = 0; n < strlen(whole); n++) {
		struct sig_policy *p = NULL;

		EXPECT(sig_policy_parse(cf_view(whole, n), &p, NULL) < 0 && !p);
	}
}

CF_TEST(sig_policy_holds_its_limits)
{
	for (int extra = 0; extra <= 1; extra++) {
		struct cf_buf scopes = { 0 }, list = { 0 };
		struct sig_policy *p = NULL;

		cf_buf_add_str(&scopes, "{\"default\":[],\"transports\":{\"docker\":{\"s\":[]");
		for (unsigned i = 1; i < SIG_RULES_MAX + (unsigned)extra; i++)
			cf_buf_printf(&scopes, ",\"s%u\":[]", i);
		cf_buf_add_str(&scopes, "}}}");
		EXPECT_INT(sig_policy_parse(cf_buf_view(&scopes), &p, NULL),
		           extra ? -CF_RESOURCE_EXHAUSTED : 0);
		p = sig_policy_free(p);
		cf_buf_add_str(&list, "{\"default\":[{\"type\":\"reject\"}");
		for (unsigned i = 1; i < SIG_REQUIREMENTS_MAX + (unsigned)extra; i++)
			cf_buf_add_str(&list, ",{\"type\":\"reject\"}");
		cf_buf_add_str(&list, "]}");
		EXPECT_INT(sig_policy_parse(cf_buf_view(&list), &p, NULL),
		           extra ? -CF_RESOURCE_EXHAUSTED : 0);
		sig_policy_free(p);
		cf_buf_fini(&scopes);
		cf_buf_fini(&list);
	}
}

CF_TEST(sig_identity_follows_the_table)
{
	static char a_ref[] = "q.io/a:1", a_repo[] = "q.io/a", prefix[] = "q.io/m",
		    to[] = "orig.io/x";
	static const struct {
		enum sig_identity_kind kind;
		char *a, *b;
		const char *ref, *sig;
		bool fits;
	} cases[] = {
		{ SIG_ID_EXACT, 0, 0, "q.io/a:1", "q.io/a:1", true },
		{ SIG_ID_EXACT, 0, 0, "q.io/a:1", "q.io/a:2", false },
		{ SIG_ID_EXACT, 0, 0, "q.io/a", "q.io/a",
		  false }, /* the signature must write a tag */
		{ SIG_ID_EXACT, 0, 0, "q.io/a@" SHA, "q.io/a@" SHA, false }, /* a tag is needed */
		{ SIG_ID_REPO_DIGEST_OR_EXACT, 0, 0, "q.io/a:1", "q.io/a:1", true },
		{ SIG_ID_REPO_DIGEST_OR_EXACT, 0, 0, "q.io/a:1", "q.io/a", false },
		{ SIG_ID_REPO_DIGEST_OR_EXACT, 0, 0, "q.io/a@" SHA, "q.io/a:9", true },
		{ SIG_ID_REPO_DIGEST_OR_EXACT, 0, 0, "q.io/a:1@" SHA, "q.io/a", true },
		{ SIG_ID_REPO_DIGEST_OR_EXACT, 0, 0, "q.io/a@" SHA, "q.io/b:9", false },
		{ SIG_ID_REPOSITORY, 0, 0, "q.io/a:1", "q.io/a", true },
		{ SIG_ID_REPOSITORY, 0, 0, "q.io/a:1", "q.io/a:7", true },
		{ SIG_ID_REPOSITORY, 0, 0, "q.io/a:1", "q.io/a/b", false },
		{ SIG_ID_REPOSITORY, 0, 0, "q.io/a:1", "q.io:5000/a", false },
		{ SIG_ID_REPOSITORY, 0, 0, "busybox", "docker.io/library/busybox", true },
		{ SIG_ID_EXACT_REFERENCE, a_ref, 0, "z.io/z:3", "q.io/a:1", true },
		{ SIG_ID_EXACT_REFERENCE, a_ref, 0, "q.io/a:1", "q.io/a:2", false },
		{ SIG_ID_EXACT_REFERENCE, a_ref, 0, "q.io/a:1", "q.io/a", false },
		{ SIG_ID_EXACT_REPOSITORY, a_repo, 0, "z.io/z:3", "q.io/a", true },
		{ SIG_ID_EXACT_REPOSITORY, a_repo, 0, "z.io/z:3", "q.io/b", false },
		{ SIG_ID_REMAP, prefix, to, "q.io/m/app:1", "orig.io/x/app:1", true },
		{ SIG_ID_REMAP, prefix, to, "q.io/m/app:1", "q.io/m/app:1", false },
		{ SIG_ID_REMAP, prefix, to, "q.io/m:1", "orig.io/x:1", true },
		{ SIG_ID_REMAP, prefix, to, "q.io/mirror/app:1", "orig.io/xirror/app:1", false },
		{ SIG_ID_REMAP, prefix, to, "z.io/app:1", "z.io/app:1", true },
		{ SIG_ID_DEFAULT, 0, 0, "q.io/a:1", "q.io/a", true }, /* cosign names no tag */
		{ SIG_ID_DEFAULT, 0, 0, "q.io/a:1", "q.io/b", false },
		{ SIG_ID_DEFAULT, 0, 0, "q.io/a:1", "q.io/a:2", false },
		{ SIG_ID_DEFAULT, 0, 0, "q.io/a:1", "not a reference", false },
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(cases); i++) {
		struct sig_identity id = { cases[i].kind, cases[i].a, cases[i].b };
		struct oci_ref ref = ref_of(cases[i].ref);

		if (sig_identity_matches(&id, &ref, cf_view_str(cases[i].sig)) != cases[i].fits)
			fail_msg("case %zu: %s for %s", i, cases[i].sig, cases[i].ref);
	}
	struct sig_identity any = { SIG_ID_REPOSITORY, NULL, NULL };

	EXPECT(!sig_identity_matches(&any, NULL, cf_view_str("q.io/a"))); /* a layout has no name */
}

CF_TEST(sig_payload_reads_what_it_writes_and_refuses_the_rest)
{
	struct oci_digest digest;
	struct cf_buf text = { 0 };
	struct sig_payload p = { 0 };
	struct cf_err err;

	EXPECT_OK(oci_digest_parse(cf_view_str(SHA), &digest, &err), &err);
	sig_payload_write("q.io/a", &digest, &text);
	EXPECT_STR((char *)text.data,
	           "{\"critical\":{\"identity\":{\"docker-reference\":\"q.io/a\"},\"image\":"
	           "{\"docker-manifest-digest\":\"" SHA "\"},\"type\":"
	           "\"cosign container image signature\"},\"optional\":null}");
	EXPECT_OK(sig_payload_parse(cf_buf_view(&text), &p, &err), &err);
	EXPECT_STR(p.reference, "q.io/a");
	EXPECT(oci_digest_eq(&p.digest, &digest));
	sig_payload_fini(&p);
	for (size_t n = 0; n < text.size; n++)
		EXPECT(sig_payload_parse(cf_view(text.data, n), &p, NULL) < 0);
	EXPECT_FAILS(
		sig_payload_parse(cf_view_str("{\"critical\":{\"type\":\"other\"}}"), &p, &err),
		CF_INVALID_ARGUMENT);
	cf_buf_fini(&text);
}

CF_TEST(sig_make_and_verify_with_every_kind_of_key)
{
	static const enum cf_pkey_kind kinds[] = { CF_PKEY_EC_P256, CF_PKEY_EC_P384,
		                                   CF_PKEY_EC_P521, CF_PKEY_ED25519 };
	struct cf_view text = CF_VIEW_LIT("payload"), other = CF_VIEW_LIT("Payload");
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(kinds); i++) {
		cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL, *wrong = NULL;
		struct cf_buf sig = { 0 };

		EXPECT_OK(cf_pkey_generate(kinds[i], 0, &key, &err), &err);
		EXPECT_OK(cf_pkey_generate(kinds[i], 0, &wrong, &err), &err);
		EXPECT_OK(sig_make(key, text, &sig, &err), &err);
		EXPECT_OK(sig_verify(key, text, cf_buf_view(&sig), &err), &err);
		EXPECT(sig_verify(key, other, cf_buf_view(&sig), &err) < 0);
		EXPECT(sig_verify(wrong, text, cf_buf_view(&sig), &err) < 0);
		for (size_t n = 0; n < sig.size; n++)
			EXPECT(sig_verify(key, text, cf_view(sig.data, n), &err) < 0);
		cf_buf_fini(&sig);
	}
}
