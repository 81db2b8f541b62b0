/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/jose_jwe.h"
#include "proto/jose_jwk.h"
#include "proto/jose_jws.h"
#include "tests/harness/test.h"

/* RSA keys take long to make: a test has two, given out in turn. */
static struct cf_pkey *generate(enum cf_pkey_kind kind)
{
	static struct cf_pkey *rsa[2];
	static unsigned turn;
	struct cf_pkey *k = NULL;
	struct cf_err err;

	if (kind != CF_PKEY_RSA) {
		EXPECT_OK(cf_pkey_generate(kind, 0, &k, &err), &err);
		return k;
	}
	turn ^= 1;
	if (!rsa[turn])
		EXPECT_OK(cf_pkey_generate(kind, 2048, &rsa[turn], &err), &err);
	return cf_pkey_ref(rsa[turn]);
}

static const struct {
	enum jws_alg alg;
	enum cf_pkey_kind kind;
} signers[] = {
	{ JWS_ES256, CF_PKEY_EC_P256 }, { JWS_ES384, CF_PKEY_EC_P384 },
	{ JWS_ES512, CF_PKEY_EC_P521 }, { JWS_EDDSA, CF_PKEY_ED25519 },
	{ JWS_RS256, CF_PKEY_RSA },     { JWS_PS384, CF_PKEY_RSA },
};

static void sign(enum jws_alg alg, const struct cf_pkey *key, struct cf_buf *ret)
{
	cf_cleanup(cf_freep) char *header = cf_asprintf("{\"alg\":\"%s\"}", jws_alg_name(alg));
	struct cf_err err;

	EXPECT_OK(jws_sign(cf_view_str(header), alg, key, cf_view_str("payload"), ret, &err), &err);
}

CF_TEST(jws_verifies_what_it_signed_and_with_no_other_key)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(signers); i++) {
		cf_cleanup(cf_pkey_freep) struct cf_pkey *key = generate(signers[i].kind);
		cf_cleanup(cf_pkey_freep) struct cf_pkey *other = generate(signers[i].kind);
		cf_cleanup(jws_freep) struct jws *j = NULL;
		struct cf_buf text = { 0 };
		struct cf_err err;

		sign(signers[i].alg, key, &text);
		EXPECT_OK(jws_parse(cf_buf_view(&text), &j, &err), &err);
		EXPECT(cf_view_eq_str(cf_buf_view(&j->payload), "payload"));
		EXPECT_OK(jws_verify(j, key, JWS_BIT(signers[i].alg), &err), &err);
		EXPECT_FAILS(jws_verify(j, other, JWS_ANY, &err), CF_PERMISSION_DENIED);
		cf_buf_fini(&text);
	}
}

/* The algorithm that the text names must be one that the key is for: no choice is the sender's. */
CF_TEST(jws_refuses_a_key_of_another_kind)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *p256 = generate(CF_PKEY_EC_P256);

	for (size_t i = 1; i < CF_ARRAY_LEN(signers); i++) {
		cf_cleanup(cf_pkey_freep) struct cf_pkey *key = generate(signers[i].kind);
		cf_cleanup(jws_freep) struct jws *j = NULL;
		struct cf_buf text = { 0 };
		struct cf_err err;

		sign(signers[i].alg, key, &text);
		EXPECT_OK(jws_parse(cf_buf_view(&text), &j, &err), &err);
		EXPECT_FAILS(jws_verify(j, p256, JWS_ANY, &err), CF_INVALID_ARGUMENT);
		cf_buf_fini(&text);
	}
}

static void add_b64(struct cf_buf *b, const char *text)
{
	cf_b64_encode(CF_B64_URL, cf_view_str(text), b);
}

static const char *const refused_headers[] = {
	"{\"alg\":\"none\"}",
	"{\"alg\":\"None\"}",
	"{\"alg\":\"HS256\"}",
	"{\"alg\":\"es256\"}",
	"{\"alg\":\"ES256K\"}",
	"{\"alg\":[\"ES256\"]}",
	"{}",
	"[]",
	"{\"alg\":\"ES256\",\"alg\":\"none\"}",
	"{\"alg\":\"ES256\",\"crit\":[\"exp\"]}",
	"{\"alg\":\"ES256\",\"b64\":false}",
	"{\"alg\":\"ES256\"",
};

CF_TEST(jws_refuses_headers_that_it_must_not_believe)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(refused_headers); i++) {
		struct jws *j = NULL;
		struct cf_buf text = { 0 };
		struct cf_err err;

		add_b64(&text, refused_headers[i]);
		cf_buf_add_str(&text, ".e30.AAAA");
		EXPECT_FAILS(jws_parse(cf_buf_view(&text), &j, &err), CF_INVALID_ARGUMENT);
		EXPECT(!j);
		cf_buf_fini(&text);
	}
}

CF_TEST(jws_refuses_texts_of_another_shape)
{
	static const char *const texts[] = {
		"",
		".",
		"..",
		"a.b.c",
		"eyJhbGciOiJFUzI1NiJ9.e30",
		"eyJhbGciOiJFUzI1NiJ9.e30.AA.AA",
		"eyJhbGciOiJFUzI1NiJ9.e30=.AA",
		"eyJhbGciOiJFUzI1NiJ9.e30.A",
		" eyJhbGciOiJFUzI1NiJ9.e30.AA",
	};
	struct jws *j = NULL;
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(texts); i++)
		EXPECT_FAILS(jws_parse(cf_view_str(texts[i]), &j, &err), CF_INVALID_ARGUMENT);

	struct cf_buf big = { .max = JWS_TEXT_MAX + 1 };

	cf_buf_add_zero(&big, JWS_TEXT_MAX + 1);
	EXPECT_FAILS(jws_parse(cf_buf_view(&big), &j, &err), CF_RESOURCE_EXHAUSTED);
	cf_buf_fini(&big);
}

CF_TEST(jws_signs_only_what_its_header_says)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = generate(CF_PKEY_EC_P256);
	struct cf_buf out = { 0 };
	struct cf_err err;

	EXPECT_FAILS(jws_sign(cf_view_str("{\"alg\":\"ES384\"}"), JWS_ES256, key, cf_view_str(""),
	                      &out, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT_FAILS(jws_sign(cf_view_str("{\"alg\":\"RS256\"}"), JWS_RS256, key, cf_view_str(""),
	                      &out, &err),
	             CF_INVALID_ARGUMENT);
	cf_buf_fini(&out);
}

/* ---- JWK ---- */

static const enum cf_pkey_kind kinds[] = { CF_PKEY_RSA,     CF_PKEY_EC_P256, CF_PKEY_EC_P384,
	                                   CF_PKEY_EC_P521, CF_PKEY_ED25519, CF_PKEY_X25519 };

CF_TEST(jwk_reads_back_what_it_wrote)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(kinds); i++) {
		cf_cleanup(cf_pkey_freep) struct cf_pkey *key = generate(kinds[i]);
		cf_cleanup(jwk_freep) struct jwk *pub = NULL;
		cf_cleanup(jwk_freep) struct jwk *priv = NULL;
		struct cf_buf text = { 0 };
		struct cf_err err;

		EXPECT_OK(jwk_print_sorted(key, &text, &err), &err);
		EXPECT_OK(jwk_parse_text(cf_buf_view(&text), &pub, &err), &err);
		EXPECT(cf_pkey_equal_public(pub->key, key) && !cf_pkey_is_private(pub->key));
		cf_buf_reset(&text);
		EXPECT_OK(jwk_print_private(key, "X", "the-kid", &text, &err), &err);
		EXPECT_OK(jwk_parse_text(cf_buf_view(&text), &priv, &err), &err);
		EXPECT(cf_pkey_equal_public(priv->key, key) && cf_pkey_is_private(priv->key));
		EXPECT_STR(priv->kid, "the-kid");
		EXPECT_STR(priv->alg, "X");
		cf_buf_wipe(&text);
	}
}

#define X "weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ"
#define Y "e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck"

CF_TEST(jwk_writes_a_tee_key_in_the_order_of_the_peers)
{
	static const char want[] = "{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ECDH-ES+A256KW\","
				   "\"x\":\"" X "\",\"y\":\"" Y "\"}";
	cf_cleanup(jwk_freep) struct jwk *k = NULL;
	struct cf_buf text = { 0 };
	struct cf_jw w = { .out = &text };
	struct cf_err err;

	EXPECT_OK(jwk_parse_text(cf_view_str(want), &k, &err), &err);
	cf_jw_obj(&w);
	EXPECT_OK(jwk_write_public(&w, k->key, k->alg, &err), &err);
	cf_jw_end_obj(&w);
	EXPECT_STR(text.data, want);
	cf_buf_fini(&text);
}

CF_TEST(jwk_refuses_keys_that_are_none)
{
	static const struct {
		const char *text;
		enum cf_code code;
	} cases[] = {
		{ "{\"kty\":\"oct\",\"k\":\"AAAA\"}", CF_UNIMPLEMENTED },
		{ "{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"" X "\",\"y\":\"" Y "\"}",
		  CF_UNIMPLEMENTED },
		{ "{\"kty\":\"OKP\",\"crv\":\"P-256\",\"x\":\"" X "\",\"y\":\"" Y "\"}",
		  CF_UNIMPLEMENTED },
		{ "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X "\"}", CF_INVALID_ARGUMENT },
		{ "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" Y "\",\"y\":\"" X "\"}",
		  CF_INVALID_ARGUMENT }, /* not on the curve */
		{ "{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" X "\",\"y\":\"" Y "\"}",
		  CF_INVALID_ARGUMENT }, /* other field */
		{ "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"" Y "\"}",
		  CF_INVALID_ARGUMENT }, /* short */
		{ "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X "=\",\"y\":\"" Y "\"}",
		  CF_INVALID_ARGUMENT }, /* padded */
		{ "{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}",
		  CF_INVALID_ARGUMENT }, /* tiny */
		{ "{\"kty\":\"RSA\",\"e\":\"AQAB\"}", CF_INVALID_ARGUMENT },
		{ "{\"kty\":7}", CF_INVALID_ARGUMENT },
		{ "[]", CF_INVALID_ARGUMENT },
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(cases); i++) {
		struct jwk *k = NULL;
		struct cf_err err;

		EXPECT_FAILS(jwk_parse_text(cf_view_str(cases[i].text), &k, &err), cases[i].code);
		EXPECT(!k);
	}
}

CF_TEST(jwk_set_gives_the_key_of_a_kid)
{
	static const char text[] =
		"{\"keys\":[{\"kty\":\"oct\",\"kid\":\"a\"},{\"kty\":\"EC\",\"crv\":\"P-256\","
		"\"x\":\"" X "\",\"y\":\"" Y "\",\"kid\":\"b\"}]}";
	cf_cleanup(cf_json_freep) struct cf_json *set = NULL;
	cf_cleanup(jwk_freep) struct jwk *k = NULL;
	struct cf_err err;

	EXPECT_OK(cf_json_parse(cf_view_str(text), 0, &set, &err), &err);
	EXPECT_OK(jwk_set_find(set, cf_view_str("b"), &k, &err), &err);
	EXPECT_STR(k->kid, "b");
	EXPECT_FAILS(jwk_set_find(set, cf_view_str("c"), &k, &err), CF_NOT_FOUND);
	EXPECT_FAILS(jwk_set_find(set, cf_view_str(""), &k, &err), CF_NOT_FOUND);
}

/* ---- JWE ---- */

static const struct {
	enum jwe_alg alg;
	enum cf_pkey_kind kind;
} wraps[] = {
	{ JWE_RSA_OAEP, CF_PKEY_RSA },           { JWE_RSA_OAEP_256, CF_PKEY_RSA },
	{ JWE_ECDH_ES, CF_PKEY_EC_P256 },        { JWE_ECDH_ES_A128KW, CF_PKEY_EC_P384 },
	{ JWE_ECDH_ES_A192KW, CF_PKEY_X25519 },  { JWE_ECDH_ES_A256KW, CF_PKEY_EC_P521 },
	{ JWE_ECDH_ES_A256KW, CF_PKEY_EC_P256 },
};

static void seal_and_open(enum jwe_form form, enum jwe_enc enc, size_t i)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = generate(wraps[i].kind);
	cf_cleanup(cf_pkey_freep) struct cf_pkey *other = generate(wraps[i].kind);
	const struct cf_pkey *keys[] = { other, key };
	struct jwe_recipient to = { wraps[i].alg, key, NULL };
	struct cf_buf text = { 0 }, plain = { 0 };
	struct cf_err err;

	EXPECT_OK(jwe_seal(form, enc, &to, 1, cf_view_str("the secret"), &text, &err), &err);
	EXPECT_OK(jwe_open(cf_buf_view(&text), keys, 2, 0, &plain, &err), &err);
	EXPECT(cf_view_eq_str(cf_buf_view(&plain), "the secret"));
	cf_buf_wipe(&plain);
	EXPECT_FAILS(jwe_open(cf_buf_view(&text), keys, 1, 0, &plain, &err), CF_DATA_LOSS);
	EXPECT(!plain.size);
	cf_buf_fini(&plain);
	cf_buf_fini(&text);
}

CF_TEST(jwe_opens_what_it_sealed_in_every_form)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(wraps); i++)
		for (int form = JWE_COMPACT; form <= JWE_GENERAL; form++)
			seal_and_open((enum jwe_form)form, JWE_A256GCM, i);
}

CF_TEST(jwe_opens_what_it_sealed_with_every_content_encryption)
{
	for (int enc = 0; enc < JWE_ENC_COUNT; enc++) {
		seal_and_open(JWE_COMPACT, (enum jwe_enc)enc,
		              2); /* direct: the KDF makes the key */
		seal_and_open(JWE_FLATTENED, (enum jwe_enc)enc, 6);
	}
}

CF_TEST(jwe_serves_several_recipients)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *rsa = generate(CF_PKEY_RSA);
	cf_cleanup(cf_pkey_freep) struct cf_pkey *ec = generate(CF_PKEY_EC_P256);
	cf_cleanup(cf_pkey_freep) struct cf_pkey *none = generate(CF_PKEY_EC_P384);
	struct jwe_recipient to[] = { { JWE_RSA_OAEP, rsa, "one" },
		                      { JWE_ECDH_ES_A256KW, ec, "two" } };
	struct cf_buf text = { 0 }, plain = { 0 };
	struct cf_err err;

	EXPECT_OK(jwe_seal(JWE_GENERAL, JWE_A256GCM, to, 2, cf_view_str("x"), &text, &err), &err);
	EXPECT(cf_view_starts_with(cf_buf_view(&text),
	                           "{\"protected\":\"eyJlbmMiOiJBMjU2R0NNIn0\","
	                           "\"recipients\":[{\"header\":{\"alg\":\"RSA-OAEP\""));
	EXPECT_OK(
		jwe_open(cf_buf_view(&text), (const struct cf_pkey *[]){ ec }, 1, 0, &plain, &err),
		&err);
	EXPECT_OK(
		jwe_open(cf_buf_view(&text), (const struct cf_pkey *[]){ rsa }, 1, 0, &plain, &err),
		&err);
	EXPECT(cf_view_eq_str(cf_buf_view(&plain), "xx"));
	EXPECT_FAILS(jwe_open(cf_buf_view(&text), (const struct cf_pkey *[]){ none }, 1, 0, &plain,
	                      &err),
	             CF_NOT_FOUND);
	EXPECT_FAILS(jwe_seal(JWE_FLATTENED, JWE_A256GCM, to, 2, cf_view_str("x"), &text, &err),
	             CF_INVALID_ARGUMENT);
	cf_buf_fini(&text);
	cf_buf_fini(&plain);
}

CF_TEST(jwe_writes_the_protected_header_in_the_order_that_clients_rebuild)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *ec = generate(CF_PKEY_EC_P256);
	struct jwe_recipient to = { JWE_ECDH_ES_A256KW, ec, NULL };
	struct cf_buf text = { 0 }, header = { 0 };
	cf_cleanup(cf_json_freep) struct cf_json *j = NULL;
	struct cf_err err;

	EXPECT_OK(jwe_seal(JWE_FLATTENED, JWE_A256GCM, &to, 1, cf_view_str("x"), &text, &err),
	          &err);
	EXPECT_OK(cf_json_parse(cf_buf_view(&text), 0, &j, &err), &err);
	EXPECT_OK(cf_json_need_b64(j, "protected", CF_B64_URL, &header, &err), &err);
	EXPECT(cf_view_starts_with(
		cf_buf_view(&header),
		"{\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256GCM\",\"epk\":{\"crv\":"
		"\"P-256\",\"kty\":\"EC\",\"x\":\""));
	EXPECT(!cf_json_get(j, "aad"));
	cf_buf_fini(&text);
	cf_buf_fini(&header);
}

/* Every character of the text matters: altered anywhere, it does not open. */
CF_TEST(jwe_refuses_any_altered_character)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *ec = generate(CF_PKEY_EC_P256);
	const struct cf_pkey *keys[] = { ec };
	struct jwe_recipient to = { JWE_ECDH_ES_A256KW, ec, NULL };
	struct cf_buf text = { 0 }, plain = { 0 };
	struct cf_err err;

	EXPECT_OK(jwe_seal(JWE_COMPACT, JWE_A256GCM, &to, 1, cf_view_str("x"), &text, &err), &err);
	for (size_t i = 0; i < text.size; i++) {
		uint8_t was = text.data[i];

		text.data[i] = was == 'A' ? 'B' : 'A';
		EXPECT(jwe_open(cf_buf_view(&text), keys, 1, 0, &plain, &err) < 0);
		text.data[i] = was;
		EXPECT(jwe_open(cf_view(text.data, i), keys, 1, 0, &plain, &err) < 0);
	}
	EXPECT(!plain.size);
	cf_buf_fini(&plain);
	cf_buf_fini(&text);
}

/* A server that authenticates the header in another order than it sends it: opened when asked to. */
CF_TEST(jwe_opens_a_reordered_header_only_when_told)
{
	static const char sent[] = "{\"enc\":\"A256GCM\",\"alg\":\"RSA-OAEP-256\"}";
	static const char meant[] = "{\"alg\":\"RSA-OAEP-256\",\"enc\":\"A256GCM\"}";
	cf_cleanup(cf_pkey_freep) struct cf_pkey *rsa = generate(CF_PKEY_RSA);
	const struct cf_pkey *keys[] = { rsa };
	uint8_t cek[32] = { 1 }, iv[12] = { 2 }, tag[16];
	struct cf_buf aad = { 0 }, wrapped = { 0 }, cipher = { 0 }, text = { 0 }, plain = { 0 };
	struct cf_err err;

	add_b64(&aad, meant);
	EXPECT_OK(cf_aes_gcm_seal(cf_view(cek, 32), cf_view(iv, 12), cf_buf_view(&aad),
	                          cf_view_str("x"), &cipher, tag, &err),
	          &err);
	EXPECT_OK(cf_rsa_encrypt(rsa, CF_RSA_OAEP_SHA256, cf_view_str(""), cf_view(cek, 32),
	                         &wrapped, &err),
	          &err);
	add_b64(&text, sent);
	cf_buf_add_byte(&text, '.');
	cf_b64_encode(CF_B64_URL, cf_buf_view(&wrapped), &text);
	cf_buf_add_byte(&text, '.');
	cf_b64_encode(CF_B64_URL, cf_view(iv, 12), &text);
	cf_buf_add_byte(&text, '.');
	cf_b64_encode(CF_B64_URL, cf_buf_view(&cipher), &text);
	cf_buf_add_byte(&text, '.');
	cf_b64_encode(CF_B64_URL, cf_view(tag, 16), &text);
	EXPECT_FAILS(jwe_open(cf_buf_view(&text), keys, 1, 0, &plain, &err), CF_DATA_LOSS);
	EXPECT_OK(jwe_open(cf_buf_view(&text), keys, 1, JWE_RETRY_REORDERED, &plain, &err), &err);
	EXPECT(cf_view_eq_str(cf_buf_view(&plain), "x"));
	cf_buf_fini(&aad);
	cf_buf_fini(&wrapped);
	cf_buf_fini(&cipher);
	cf_buf_fini(&text);
	cf_buf_fini(&plain);
}

CF_TEST(jwe_refuses_messages_that_contradict_themselves)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *ec = generate(CF_PKEY_EC_P256);
	const struct cf_pkey *keys[] = { ec };
	static const char *const texts[] = {
		"",
		"{}",
		"a.b.c.d",
		"....",
		"[]",
		"{\"protected\":7}",
		/* {"alg":"dir","enc":"A256GCM"} */
		"eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0....",
		/* {"enc":"A256GCM","crit":["x"],"alg":"ECDH-ES"} by way of the unprotected header */
		("{\"protected\":\"e30\",\"unprotected\":{\"alg\":\"ECDH-ES\",\"enc\":\"A256GCM\","
		 "\"crit\":[]}}"),
		"{\"protected\":\"eyJhbGciOiJFQ0RILUVTIn0\",\"unprotected\":{\"alg\":\"ECDH-ES\"}}",
		"{\"protected\":\"e30\",\"recipients\":[],\"encrypted_key\":\"AA\"}",
		"{\"protected\":\"e30\",\"recipients\":{}}",
		"{\"protected\":\"e30\",\"header\":[]}",
	};
	struct cf_buf plain = { 0 };

	for (size_t i = 0; i < CF_ARRAY_LEN(texts); i++)
		EXPECT(jwe_open(cf_view_str(texts[i]), keys, 1, 0, &plain, NULL) < 0);
	EXPECT(!plain.size);
	cf_buf_fini(&plain);
}
