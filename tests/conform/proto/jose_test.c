/* SPDX-License-Identifier: Apache-2.0 */
/* The examples of the JOSE RFCs: read, verified, tampered with. */
#include "base/fd.h"
#include "proto/jose_jwe.h"
#include "proto/jose_jwk.h"
#include "proto/jose_jws.h"
#include "tests/harness/test.h"

static struct cf_json *load(const char *rel)
{
	cf_cleanup(cf_freep) char *path = cf_test_source(rel);
	struct cf_buf text = cf_test_read(path);
	struct cf_json *j = NULL;
	struct cf_err err;

	EXPECT_OK(cf_json_parse(cf_buf_view(&text), 0, &j, &err), &err);
	cf_buf_fini(&text);
	return j;
}

static struct jwk *key_of(const struct cf_json *c)
{
	struct jwk *k = NULL;
	struct cf_err err;

	EXPECT_OK(jwk_parse(cf_json_get(c, "key"), &k, &err), &err);
	return k;
}

static void expect_b64(const struct cf_buf *got, const struct cf_json *want)
{
	struct cf_buf text = { 0 };

	cf_b64_encode(CF_B64_URL, cf_buf_view(got), &text);
	EXPECT(cf_view_eq(cf_buf_view(&text), cf_json_str(want)));
	cf_buf_fini(&text);
}

static void check_jws(const struct cf_json *c)
{
	struct cf_view text = cf_json_str(cf_json_get(c, "text"));
	cf_cleanup(jwk_freep) struct jwk *k = key_of(c);
	cf_cleanup(jws_freep) struct jws *j = NULL;
	struct cf_err err;

	EXPECT_OK(jws_parse(text, &j, &err), &err);
	expect_b64(&j->payload, cf_json_get(c, "payload"));
	EXPECT_OK(jws_verify(j, k->key, JWS_ANY, &err), &err);
	EXPECT_OK(jws_verify(j, k->key, JWS_BIT(j->alg), &err), &err);
	EXPECT_FAILS(jws_verify(j, k->key, JWS_ANY & ~JWS_BIT(j->alg), &err), CF_PERMISSION_DENIED);
	j->signature.data[j->signature.size / 2] ^= 1;
	EXPECT_FAILS(jws_verify(j, k->key, JWS_ANY, &err), CF_PERMISSION_DENIED);
	j->signature.data[j->signature.size / 2] ^= 1;
	j->signed_text.data[j->signed_text.size - 1] ^= 1;
	EXPECT_FAILS(jws_verify(j, k->key, JWS_ANY, &err), CF_PERMISSION_DENIED);
}

CF_TEST(jws_verifies_the_examples_of_the_rfcs_and_no_altered_one)
{
	cf_cleanup(cf_json_freep) struct cf_json *all = load("tests/data/jose/rfc.json");
	const struct cf_json *cases = cf_json_get(all, "jws");

	EXPECT(cf_json_len(cases) == 7);
	for (size_t i = 0; i < cf_json_len(cases); i++)
		check_jws(cf_json_at(cases, i));
}

static void check_jwe(struct cf_view text, const struct jwk *k, const struct cf_json *want)
{
	const struct cf_pkey *keys[] = { k->key };
	struct cf_buf plain = { 0 };
	struct cf_err err;

	EXPECT_OK(jwe_open(text, keys, 1, JWE_ALLOW_RSA1_5, &plain, &err), &err);
	expect_b64(&plain, want);
	cf_buf_wipe(&plain);
}

CF_TEST(jwe_opens_the_examples_of_the_rfcs)
{
	cf_cleanup(cf_json_freep) struct cf_json *all = load("tests/data/jose/rfc.json");
	const struct cf_json *cases = cf_json_get(all, "jwe");

	EXPECT(cf_json_len(cases) == 7);
	for (size_t i = 0; i < cf_json_len(cases); i++) {
		const struct cf_json *c = cf_json_at(cases, i), *texts = cf_json_get(c, "texts");
		cf_cleanup(jwk_freep) struct jwk *k = key_of(c);

		for (size_t n = 0; n < cf_json_len(texts); n++)
			check_jwe(cf_json_str(cf_json_at(texts, n)), k, cf_json_get(c, "plain"));
	}
}

CF_TEST(jwe_with_rsa1_5_is_refused_unless_asked_for)
{
	cf_cleanup(cf_json_freep) struct cf_json *all = load("tests/data/jose/rfc.json");
	const struct cf_json *c = cf_json_at(cf_json_get(all, "jwe"), 1);
	cf_cleanup(jwk_freep) struct jwk *k = key_of(c);
	const struct cf_pkey *keys[] = { k->key };
	struct cf_buf plain = { 0 };
	struct cf_err err;

	EXPECT_FAILS(jwe_open(cf_json_str(cf_json_at(cf_json_get(c, "texts"), 0)), keys, 1, 0,
	                      &plain, &err),
	             CF_UNIMPLEMENTED);
	EXPECT(!plain.size);
}

CF_TEST(jwk_thumbprints_are_those_of_the_rfcs)
{
	cf_cleanup(cf_json_freep) struct cf_json *all = load("tests/data/jose/rfc.json");
	const struct cf_json *cases = cf_json_get(all, "thumbprints");

	EXPECT(cf_json_len(cases) == 2);
	for (size_t i = 0; i < cf_json_len(cases); i++) {
		cf_cleanup(jwk_freep) struct jwk *k = key_of(cf_json_at(cases, i));
		struct cf_buf got = { 0 };
		uint8_t sum[32];
		struct cf_err err;

		EXPECT_OK(jwk_thumbprint(k->key, sum, &err), &err);
		cf_buf_add(&got, sum, sizeof(sum));
		expect_b64(&got, cf_json_get(cf_json_at(cases, i), "thumbprint"));
		cf_buf_fini(&got);
	}
}

/* An answer of a KBS whose key agreement is known step by step. */
CF_TEST(jwe_opens_the_kbs_answer_and_agrees_on_its_kek)
{
	cf_cleanup(cf_freep) char *path =
		cf_test_source("tests/data/kbs/jwe-ecdh-es-a256kw-p256.json");
	struct cf_buf text = cf_test_read(path), jwe = { 0 }, plain = { 0 };
	cf_cleanup(cf_json_freep) struct cf_json *v = NULL;
	cf_cleanup(jwk_freep) struct jwk *k = NULL;
	struct cf_err err;

	EXPECT_OK(cf_json_parse(cf_buf_view(&text), 0, &v, &err), &err);
	EXPECT_OK(jwk_parse(cf_json_get(v, "tee_private_jwk"), &k, &err), &err);
	cf_json_print(cf_json_get(v, "response"), &jwe);

	const struct cf_pkey *keys[] = { k->key };

	EXPECT_OK(jwe_open(cf_buf_view(&jwe), keys, 1, 0, &plain, &err), &err);
	EXPECT(cf_view_eq(cf_buf_view(&plain), cf_json_str(cf_json_get(v, "plaintext"))));
	cf_buf_fini(&plain);
	cf_buf_fini(&jwe);
	cf_buf_fini(&text);
}

/* Header keys of tokens as peers write them; trust in them is the key service's to judge. */
CF_TEST(jwk_reads_the_keys_of_the_peers_tokens)
{
	static const char *const files[] = {
		"evidence/token-jwk/scenario01-jwk.json",
		"evidence/token-jwk/scenario02-jwk.json",
		"evidence/token-jwk/scenario03-jwk.json",
		"evidence/token-jwk/scenario04-jwk.json",
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(files); i++) {
		cf_cleanup(cf_freep) char *path = cf_test_vector(files[i]);
		struct cf_buf text = cf_test_read(path);
		cf_cleanup(jwk_freep) struct jwk *k = NULL;
		struct cf_err err;

		EXPECT_OK(jwk_parse_text(cf_buf_view(&text), &k, &err), &err);
		EXPECT_STR(k->alg, "RS256");
		EXPECT(cf_pkey_bits(k->key) == 2048 && !cf_pkey_is_private(k->key));
		cf_buf_fini(&text);
	}
}

CF_TEST(jwk_of_a_certificate_is_the_one_that_is_published)
{
	cf_cleanup(cf_json_freep) struct cf_json *set = NULL;
	cf_cleanup(cf_freep) char *jwks = cf_test_vector("evidence/token-jwk/expected-jwks.json");
	cf_cleanup(cf_freep) char *chain = cf_test_vector("evidence/token-jwk/cert-chain.pem");
	struct cf_buf text = cf_test_read(jwks), pem = cf_test_read(chain), got = { 0 };
	cf_cleanup(cf_cert_freep) struct cf_cert *cert = NULL;
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	struct cf_jw w = { .out = &got };
	struct cf_err err;

	EXPECT_OK(cf_json_parse(cf_buf_view(&text), 0, &set, &err), &err);
	EXPECT_OK(cf_cert_parse(cf_buf_view(&pem), &cert, &err), &err);
	EXPECT_OK(cf_cert_pkey(cert, &key, &err), &err);
	cf_jw_obj(&w);
	EXPECT_OK(jwk_write_public(&w, key, "ES256", &err), &err);
	cf_jw_end_obj(&w);

	cf_cleanup(cf_json_freep) struct cf_json *mine = NULL;
	const struct cf_json *want = cf_json_at(cf_json_get(set, "keys"), 0);
	static const char *const members[] = { "kty", "crv", "alg", "x", "y" };

	EXPECT_OK(cf_json_parse(cf_buf_view(&got), 0, &mine, &err), &err);
	for (size_t i = 0; i < CF_ARRAY_LEN(members); i++)
		EXPECT(cf_view_eq(cf_json_str(cf_json_get(mine, members[i])),
		                  cf_json_str(cf_json_get(want, members[i]))));
	cf_buf_fini(&text);
	cf_buf_fini(&pem);
	cf_buf_fini(&got);
}
