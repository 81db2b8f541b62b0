/* SPDX-License-Identifier: Apache-2.0 */
/* A key of cosign 3.1.1 (tests/data/sigstore; its password is "secret"). */
#include "proto/cosign_key.h"

#include "base/secretbox.h"
#include "proto/sig_cosign.h"
#include "tests/harness/test.h"

static struct cf_buf data(const char *name)
{
	cf_cleanup(cf_freep) char *rel = cf_asprintf("tests/data/sigstore/%s", name);
	cf_cleanup(cf_freep) char *path = cf_test_source(rel);

	return cf_test_read(path);
}

CF_TEST(cosign_key_opens_with_its_password_and_fits_its_public_half)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	cf_cleanup(cf_pkey_freep) struct cf_pkey *public = NULL;
	struct cf_buf text = data("cosign.key"), pem = data("cosign.pub"), signature = { 0 };
	struct cf_view payload = cf_view_str("payload");
	struct cf_err err;

	EXPECT(cosign_key_is(cf_buf_view(&text)) && !cosign_key_is(cf_buf_view(&pem)));
	EXPECT(!cosign_key_is((struct cf_view){ 0 }));
	EXPECT_OK(cosign_key_open(cf_buf_view(&text), cf_view_str("secret"), &key, &err), &err);
	EXPECT(cf_pkey_is_private(key));
	EXPECT_OK(cf_pkey_parse(cf_buf_view(&pem), &public, &err), &err);
	EXPECT_OK(sig_make(key, payload, &signature, &err), &err);
	EXPECT_OK(sig_verify(public, payload, cf_buf_view(&signature), &err), &err);
	cf_buf_fini(&text);
	cf_buf_fini(&pem);
	cf_buf_fini(&signature);
}

CF_TEST(cosign_key_refuses_other_passwords_and_other_forms)
{
	static const char head[] = "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n";
	static const char tail[] = "-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n";
	static const char *const json[] = {
		"{}",
		"[]",
		"{\"kdf\":{\"name\":\"argon2\",\"params\":{\"N\":2,\"r\":8,\"p\":1},\"salt\":\"AA=="
		"\"}}",
		"{\"kdf\":{\"name\":\"scrypt\",\"params\":{\"N\":3,\"r\":8,\"p\":1},\"salt\":\"AA=="
		"\"}}",
		"{\"kdf\":{\"name\":\"scrypt\",\"params\":{\"N\":2,\"r\":8,\"p\":1},\"salt\":\"AA=="
		"\"},"
		"\"cipher\":{\"name\":\"aes\",\"nonce\":\"AA==\"},\"ciphertext\":\"AA==\"}",
		"{\"kdf\":{\"name\":\"scrypt\",\"params\":{\"N\":2,\"r\":8,\"p\":1},\"salt\":\"AA=="
		"\"},"
		"\"cipher\":{\"name\":\"nacl/"
		"secretbox\",\"nonce\":\"AA==\"},\"ciphertext\":\"AA==\"}",
	};
	struct cf_buf text = data("cosign.key");
	struct cf_pkey *key = NULL;
	struct cf_err err;

	EXPECT_FAILS(cosign_key_open(cf_buf_view(&text), cf_view_str("Secret"), &key, &err),
	             CF_PERMISSION_DENIED);
	EXPECT_FAILS(cosign_key_open(cf_buf_view(&text), cf_view_str(""), &key, &err),
	             CF_PERMISSION_DENIED);
	for (size_t i = 0; i < CF_ARRAY_LEN(json); i++) {
		struct cf_buf file = { 0 };

		cf_buf_add_str(&file, head);
		cf_b64_encode(CF_B64_STD, cf_view_str(json[i]), &file);
		cf_buf_add_str(&file, tail);
		EXPECT_FAILS(cosign_key_open(cf_buf_view(&file), cf_view_str("x"), &key, &err),
		             CF_INVALID_ARGUMENT);
		cf_buf_fini(&file);
	}
	for (size_t n = 0; n < text.size - sizeof(tail); n += 7)
		EXPECT(cosign_key_open(cf_view(text.data, n), cf_view_str("secret"), &key, &err) <
		       0);
	EXPECT(!key);
	cf_buf_fini(&text);
}

CF_TEST(scrypt_has_limits_and_gives_the_rfcs_bytes)
{
	/* RFC 7914 §12, its first 32 bytes */
	static const uint8_t want[] = { 0xfd, 0xba, 0xbe, 0x1c, 0x9d, 0x34, 0x72, 0x00,
		                        0x78, 0x56, 0xe7, 0x19, 0x0d, 0x01, 0xe9, 0xfe,
		                        0x7c, 0x6a, 0xd7, 0xcb, 0xc8, 0x23, 0x78, 0x30,
		                        0xe7, 0x73, 0x76, 0x63, 0x4b, 0x37, 0x31, 0x62 };
	cf_cleanup(cf_secret_freep) struct cf_secret *key = NULL;
	struct cf_secret *none = NULL;
	struct cf_view salt = cf_view_str("NaCl");
	struct cf_err err;

	EXPECT_OK(cf_scrypt(cf_view_str("password"), salt, 1024, 8, 16, &key, &err), &err);
	EXPECT(cf_view_eq(cf_secret_view(key), cf_view(want, sizeof(want))));
	EXPECT_FAILS(cf_scrypt(salt, salt, 1ull << 30, 8, 1, &none, &err), CF_RESOURCE_EXHAUSTED);
	EXPECT_FAILS(cf_scrypt(salt, salt, 2, 1u << 30, 1, &none, &err), CF_RESOURCE_EXHAUSTED);
	EXPECT_FAILS(cf_scrypt(salt, salt, 1000, 8, 1, &none, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(cf_scrypt(salt, salt, 1024, 8, 1000, &none, &err), CF_INVALID_ARGUMENT);
	EXPECT(!none);
}

/* The vector of NaCl's tests/secretbox.c. */
CF_TEST(secretbox_opens_nacls_own_and_no_changed_one)
{
	static const char key_hex[] =
		"1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389";
	static const char nonce_hex[] = "69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37";
	static const char box_hex[] = "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc"
				      "76ce48332ea7164d96a4476f"
				      "b8c531a1186ac0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2"
				      "270d6fb863d51738b48eeee3"
				      "14a7cc8ab932164548e526ae90224368517acfeabd6bb3732bc0e9da9983"
				      "2b61ca01b6de56244a9e88d5"
				      "f9b37973f622a43d14a6599b1f654cb45a74e355a5";
	static const uint8_t start[] = { 0xbe, 0x07, 0x5f, 0xc5, 0x3c, 0x81, 0xf2, 0xd5 };
	uint8_t key[32], nonce[24], box[147];
	cf_cleanup(cf_secret_freep) struct cf_secret *k = NULL;
	cf_cleanup(cf_secret_freep) struct cf_secret *plain = NULL;
	struct cf_secret *none = NULL;
	struct cf_err err;

	EXPECT_OK(cf_hex_decode(cf_view_str(key_hex), key, sizeof(key), &err), &err);
	EXPECT_OK(cf_hex_decode(cf_view_str(nonce_hex), nonce, sizeof(nonce), &err), &err);
	EXPECT_OK(cf_hex_decode(cf_view_str(box_hex), box, sizeof(box), &err), &err);
	EXPECT_OK(cf_secret_copy(cf_view(key, sizeof(key)), &k, &err), &err);
	EXPECT_OK(cf_secretbox_open(k, cf_view(nonce, sizeof(nonce)), cf_view(box, sizeof(box)),
	                            &plain, &err),
	          &err);
	EXPECT_INT(cf_secret_view(plain).size, 131);
	EXPECT(memcmp(cf_secret_view(plain).data, start, sizeof(start)) == 0);
	for (size_t i = 0; i < sizeof(box); i++) {
		box[i] ^= 1;
		EXPECT_FAILS(cf_secretbox_open(k, cf_view(nonce, sizeof(nonce)),
		                               cf_view(box, sizeof(box)), &none, &err),
		             CF_DATA_LOSS);
		box[i] ^= 1;
	}
	EXPECT_FAILS(
		cf_secretbox_open(k, cf_view(nonce, 23), cf_view(box, sizeof(box)), &none, &err),
		CF_INVALID_ARGUMENT);
	EXPECT_FAILS(cf_secretbox_open(k, cf_view(nonce, 24), cf_view(box, 16), &none, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT(!none);
}
