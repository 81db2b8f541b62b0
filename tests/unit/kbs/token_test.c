/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/test.h"

#include "kbs/token.h"
#include <sys/stat.h>

#define NOW 1800000000

static void issue(const struct token_signer *s, struct cf_buf *out)
{
	struct verdict v;
	cf_cleanup(cf_json_freep) struct cf_json *runtime = NULL;
	struct token_subject subject = { .verdict = &v, .init_data_claims = cf_view_str("null") };
	struct cf_err err;

	verdict_init(&v, "tpm", "cpu0");
	cf_buf_add_str(&v.claims, "{\"pcr04\":\"00\"}");
	v.trust[VERDICT_EXECUTABLES] = 3;
	v.initdata_digest = cf_strdup("none");
	EXPECT_OK(cf_json_parse(cf_view_str("{\"nonce\":\"x\",\"tee-pubkey\":{\"kty\":\"EC\"}}"), 0,
	                        &runtime, &err),
	          &err);
	subject.runtime_data = runtime;
	EXPECT_OK(token_issue(s, &subject, NOW, out, &err), &err);
	verdict_fini(&v);
}

CF_TEST(token_comes_back_with_its_claims_and_survives_a_restart)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(token_signer_fini) struct token_signer a = { 0 }, b = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf token = { 0 };
	cf_cleanup(cf_json_freep) struct cf_json *claims = NULL;
	struct token_trust trust = { .own = &b };
	const struct cf_json *cpu;
	struct cf_err err;

	EXPECT_OK(token_signer_open(dir, 300, &a, &err), &err);
	EXPECT_OK(token_signer_open(dir, 300, &b, &err), &err); /* the same key, read again */
	issue(&a, &token);
	EXPECT_OK(token_verify(&trust, cf_buf_view(&token), NOW + 300, &claims, &err), &err);
	cpu = cf_json_get(cf_json_get(claims, "submods"), "cpu0");
	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(cpu, "ear.status")), "affirming"));
	EXPECT(cf_json_get(cf_json_get(cpu, "ear.veraison.annotated-evidence"), "tpm"));
	EXPECT(token_tee_pubkey(claims));
}

CF_TEST(token_is_refused_when_expired_altered_or_foreign)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *other_dir = cf_asprintf("%s/other", dir);
	cf_cleanup(token_signer_fini) struct token_signer own = { 0 }, other = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf token = { 0 }, foreign = { 0 };
	struct token_trust trust = { .own = &own };
	struct cf_json *claims = NULL;
	struct cf_err err;

	EXPECT(mkdir(other_dir, 0700) == 0);
	EXPECT_OK(token_signer_open(dir, 300, &own, &err), &err);
	EXPECT_OK(token_signer_open(other_dir, 300, &other, &err), &err);
	issue(&own, &token);
	issue(&other, &foreign);
	EXPECT_FAILS(token_verify(&trust, cf_buf_view(&token), NOW + 361, &claims, &err),
	             CF_UNAUTHENTICATED);
	/* Signed well, by a key that stands in its own header: nobody vouches for it. */
	EXPECT_FAILS(token_verify(&trust, cf_buf_view(&foreign), NOW, &claims, &err),
	             CF_UNAUTHENTICATED);
	for (size_t i = 0; i < token.size; i += 7) {
		uint8_t old = token.data[i];

		token.data[i] = old == 'A' ? 'B' : 'A';
		EXPECT(token_verify(&trust, cf_buf_view(&token), NOW, &claims, &err) < 0);
		token.data[i] = old;
	}
	EXPECT(!claims);
}

CF_TEST(token_shows_initdata_as_policies_expect_it)
{
	static const char text[] =
		"version = \"0.1.0\"\nalgorithm = \"sha384\"\n[data]\n"
		"\"aa.toml\" = '''\n[token_configs.kbs]\nurl = \"http://kbs\"\nn = 3\n'''\n"
		"\"cdh.toml\" = \"not = [toml\"\n"
		"\"policy.rego\" = '''\npackage p\npolicy_data := {\"containers\":[1]}\n'''\n"
		"note = \"text\"\n";
	cf_cleanup(cf_buf_fini) struct cf_buf out = { 0 };
	struct cf_err err;

	EXPECT_OK(token_initdata_claims(cf_view_str(text), &out, &err), &err);
	EXPECT_STR((char *)out.data,
	           "{\"aa.toml\":{\"token_configs\":{\"kbs\":{\"url\":\"http://kbs\",\"n\":3}}},"
	           "\"cdh.toml\":\"not = [toml\",\"agent_policy_claims\":{\"containers\":[1]},"
	           "\"note\":\"text\"}");
	EXPECT_FAILS(token_initdata_claims(cf_view_str("= no"), &out, &err), CF_INVALID_ARGUMENT);
}
