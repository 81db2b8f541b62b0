/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crypto.h"
#include "tests/harness/test.h"

static struct cf_view hex(struct cf_buf *b, const char *text)
{
	struct cf_err err;

	cf_buf_reset(b);
	EXPECT_OK(cf_hex_decode_buf(cf_view_str(text), b, &err), &err);
	return cf_buf_view(b);
}

CF_TEST(hashes_match_their_standards)
{
	uint8_t out[64];
	char text[129];

	cf_sha256(cf_view_str("abc"), out);
	cf_hex_encode(cf_view(out, 32), text);
	EXPECT_STR(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	cf_hmac(CF_SHA256, cf_view_str("Jefe"), cf_view_str("what do ya want for nothing?"), out);
	cf_hex_encode(cf_view(out, 32), text);
	EXPECT_STR(text, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

CF_TEST(aes_ctr_streams_like_one_piece)
{
	struct cf_buf k = { 0 }, iv = { 0 };
	uint8_t in[100] = { 7 }, one[100], two[100];
	struct cf_aes_ctr *a = NULL, *b = NULL;
	struct cf_err err;

	hex(&k, "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
	hex(&iv, "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
	EXPECT_OK(cf_aes_ctr_new(cf_buf_view(&k), cf_buf_view(&iv), &a, &err), &err);
	EXPECT_OK(cf_aes_ctr_new(cf_buf_view(&k), cf_buf_view(&iv), &b, &err), &err);
	cf_aes_ctr_apply(a, cf_view(in, 100), one);
	for (size_t i = 0; i < 100; i += 7)
		cf_aes_ctr_apply(b, cf_view(in + i, CF_MIN((size_t)7, 100 - i)), two + i);
	EXPECT(memcmp(one, two, 100) == 0);
	cf_aes_ctr_free(a);
	cf_aes_ctr_free(b);
	EXPECT_FAILS(cf_aes_ctr_new(cf_view("short", 5), cf_buf_view(&iv), &a, &err),
	             CF_INVALID_ARGUMENT);
	cf_buf_fini(&k);
	cf_buf_fini(&iv);
}

CF_TEST(aes_gcm_refuses_any_flip)
{
	uint8_t key[32] = { 1 }, iv[12] = { 2 }, tag[16];
	struct cf_buf c = { 0 }, p = { 0 };
	struct cf_view k = cf_view(key, 32), n = cf_view(iv, 12), aad = cf_view_str("head");
	struct cf_err err;

	EXPECT_OK(cf_aes_gcm_seal(k, n, aad, cf_view_str("secret"), &c, tag, &err), &err);
	EXPECT_OK(cf_aes_gcm_open(k, n, aad, cf_buf_view(&c), cf_view(tag, 16), &p, &err), &err);
	EXPECT_STR(p.data, "secret");
	cf_buf_reset(&p);
	c.data[3] ^= 1;
	EXPECT_FAILS(cf_aes_gcm_open(k, n, aad, cf_buf_view(&c), cf_view(tag, 16), &p, &err),
	             CF_DATA_LOSS);
	c.data[3] ^= 1;
	tag[0] ^= 1;
	EXPECT_FAILS(cf_aes_gcm_open(k, n, aad, cf_buf_view(&c), cf_view(tag, 16), &p, &err),
	             CF_DATA_LOSS);
	tag[0] ^= 1;
	EXPECT_FAILS(cf_aes_gcm_open(k, n, cf_view_str("tail"), cf_buf_view(&c), cf_view(tag, 16),
	                             &p, &err),
	             CF_DATA_LOSS);
	EXPECT(p.size == 0);
	cf_buf_fini(&c);
	cf_buf_fini(&p);
}

CF_TEST(aes_wrap_follows_rfc3394)
{
	struct cf_buf kek = { 0 }, key = { 0 }, out = { 0 }, back = { 0 };
	struct cf_err err;

	hex(&kek, "000102030405060708090A0B0C0D0E0F1011121314151617"
	          "18191A1B1C1D1E1F");
	hex(&key, "00112233445566778899AABBCCDDEEFF");
	EXPECT_OK(cf_aes_wrap(cf_buf_view(&kek), cf_buf_view(&key), &out, &err), &err);
	cf_cleanup(cf_freep) char *text = cf_hex_dup(cf_buf_view(&out));
	EXPECT_STR(text, "64e8c3f9ce0f5ba263e9777905818a2a93c8191e7d6e8ae7");
	EXPECT_OK(cf_aes_unwrap(cf_buf_view(&kek), cf_buf_view(&out), &back, &err), &err);
	EXPECT(cf_view_eq(cf_buf_view(&back), cf_buf_view(&key)));
	out.data[0] ^= 1;
	cf_buf_reset(&back);
	EXPECT_FAILS(cf_aes_unwrap(cf_buf_view(&kek), cf_buf_view(&out), &back, &err),
	             CF_DATA_LOSS);
	cf_buf_fini(&kek);
	cf_buf_fini(&key);
	cf_buf_fini(&out);
	cf_buf_fini(&back);
}

static const struct {
	enum cf_pkey_kind kind;
	enum cf_sig_scheme scheme;
} signers[] = {
	{ CF_PKEY_RSA, CF_SIG_RSA_PKCS1 },     { CF_PKEY_RSA, CF_SIG_RSA_PSS },
	{ CF_PKEY_EC_P256, CF_SIG_ECDSA_DER }, { CF_PKEY_EC_P384, CF_SIG_ECDSA_RAW },
	{ CF_PKEY_EC_P521, CF_SIG_ECDSA_RAW }, { CF_PKEY_ED25519, CF_SIG_ED25519 },
};

CF_TEST(signatures_hold_and_break)
{
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(signers); i++) {
		cf_cleanup(cf_pkey_freep) struct cf_pkey *k = NULL, *pub = NULL;
		struct cf_buf sig = { 0 }, pem = { 0 };

		EXPECT_OK(cf_pkey_generate(signers[i].kind, 2048, &k, &err), &err);
		EXPECT_OK(cf_pkey_to_pem(k, false, &pem, &err), &err);
		EXPECT_OK(cf_pkey_parse(cf_buf_view(&pem), &pub, &err), &err);
		EXPECT(cf_pkey_is_private(k) && !cf_pkey_is_private(pub));
		EXPECT(cf_pkey_equal_public(k, pub));
		EXPECT_OK(
			cf_pkey_sign(k, signers[i].scheme, CF_SHA256, cf_view_str("m"), &sig, &err),
			&err);
		EXPECT_OK(cf_pkey_verify(pub, signers[i].scheme, CF_SHA256, cf_view_str("m"),
		                         cf_buf_view(&sig), &err),
		          &err);
		EXPECT_FAILS(cf_pkey_verify(pub, signers[i].scheme, CF_SHA256, cf_view_str("n"),
		                            cf_buf_view(&sig), &err),
		             CF_PERMISSION_DENIED);
		sig.data[sig.size - 1] ^= 1;
		EXPECT_FAILS(cf_pkey_verify(pub, signers[i].scheme, CF_SHA256, cf_view_str("m"),
		                            cf_buf_view(&sig), &err),
		             CF_PERMISSION_DENIED);
		EXPECT_FAILS(cf_pkey_verify(pub,
		                            signers[i].kind == CF_PKEY_RSA ? CF_SIG_ED25519
		                                                           : CF_SIG_RSA_PSS,
		                            CF_SHA256, cf_view_str("m"), cf_buf_view(&sig), &err),
		             CF_INVALID_ARGUMENT);
		cf_buf_fini(&sig);
		cf_buf_fini(&pem);
	}
}

CF_TEST(keys_travel_as_numbers)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *k = NULL, *back = NULL, *rsa = NULL, *rsa2 = NULL;
	struct cf_buf x = { 0 }, y = { 0 }, d = { 0 }, n = { 0 }, e = { 0 };
	struct cf_view none = { 0 };
	struct cf_pkey *bad = NULL;
	struct cf_err err;

	EXPECT_OK(cf_pkey_generate(CF_PKEY_EC_P256, 0, &k, &err), &err);
	EXPECT_OK(cf_pkey_ec_point(k, &x, &y, &err), &err);
	EXPECT_OK(cf_pkey_private_number(k, &d, &err), &err);
	EXPECT_OK(cf_pkey_from_ec(CF_PKEY_EC_P256, cf_buf_view(&x), cf_buf_view(&y),
	                          cf_buf_view(&d), &back, &err),
	          &err);
	EXPECT(cf_pkey_is_private(back) && cf_pkey_equal_public(k, back));
	y.data[5] ^= 1;
	EXPECT_FAILS(cf_pkey_from_ec(CF_PKEY_EC_P256, cf_buf_view(&x), cf_buf_view(&y), none, &bad,
	                             &err),
	             CF_INVALID_ARGUMENT);
	EXPECT_OK(cf_pkey_generate(CF_PKEY_RSA, 2048, &rsa, &err), &err);
	EXPECT_OK(cf_pkey_rsa_numbers(rsa, &n, &e, &err), &err);
	EXPECT_OK(cf_pkey_from_rsa(cf_buf_view(&n), cf_buf_view(&e), &rsa2, &err), &err);
	EXPECT(cf_pkey_equal_public(rsa, rsa2));
	cf_buf_wipe(&d);
	cf_buf_fini(&x);
	cf_buf_fini(&y);
	cf_buf_fini(&n);
	cf_buf_fini(&e);
}

CF_TEST(rsa_and_ecdh_carry_secrets)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *rsa = NULL, *a = NULL, *b = NULL;
	struct cf_buf c = { 0 }, p = { 0 }, s1 = { 0 }, s2 = { 0 };
	struct cf_view label = CF_VIEW_LIT("IDENTITY\0");
	struct cf_err err;

	EXPECT_OK(cf_pkey_generate(CF_PKEY_RSA, 2048, &rsa, &err), &err);
	EXPECT_OK(cf_rsa_encrypt(rsa, CF_RSA_OAEP_SHA256, label, cf_view_str("k"), &c, &err), &err);
	EXPECT_OK(cf_rsa_decrypt(rsa, CF_RSA_OAEP_SHA256, label, cf_buf_view(&c), &p, &err), &err);
	EXPECT_STR(p.data, "k");
	EXPECT_FAILS(cf_rsa_decrypt(rsa, CF_RSA_OAEP_SHA256, cf_view_str("other"), cf_buf_view(&c),
	                            &p, &err),
	             CF_DATA_LOSS);
	EXPECT_OK(cf_pkey_generate(CF_PKEY_X25519, 0, &a, &err), &err);
	EXPECT_OK(cf_pkey_generate(CF_PKEY_X25519, 0, &b, &err), &err);
	EXPECT_OK(cf_ecdh(a, b, &s1, &err), &err);
	EXPECT_OK(cf_ecdh(b, a, &s2, &err), &err);
	EXPECT(s1.size == 32 && cf_view_eq(cf_buf_view(&s1), cf_buf_view(&s2)));
	cf_buf_fini(&c);
	cf_buf_fini(&p);
	cf_buf_fini(&s1);
	cf_buf_fini(&s2);
}
