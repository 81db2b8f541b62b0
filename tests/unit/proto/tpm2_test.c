/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/test.h"

#include "base/crypto.h"
#include "proto/tpm2.h"

static struct cf_buf vector(const char *name)
{
	cf_cleanup(cf_freep) char *rel = cf_asprintf("tests/vectors/tpm/%s", name);
	cf_cleanup(cf_freep) char *path = cf_test_source(rel);

	return cf_test_read(path);
}

static void check_pair(const char *kind)
{
	cf_cleanup(cf_freep) char *pub_name = cf_asprintf("ak-%s.tpm2b_public", kind);
	cf_cleanup(cf_freep) char *name_name = cf_asprintf("ak-%s.name", kind);
	cf_cleanup(cf_freep) char *msg_name = cf_asprintf("quote-%s.tpms_attest", kind);
	cf_cleanup(cf_freep) char *sig_name = cf_asprintf("quote-%s.tpmt_signature", kind);
	cf_cleanup(cf_buf_fini) struct cf_buf pub_raw = vector(pub_name), name = vector(name_name);
	cf_cleanup(cf_buf_fini) struct cf_buf msg = vector(msg_name), sig = vector(sig_name);
	cf_cleanup(cf_buf_fini) struct cf_buf nonce = vector("nonce.hex");
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	struct tpm2_public pub;
	struct tpm2_quote quote;
	uint8_t got[TPM2_NAME_SIZE], extra[32];
	struct cf_err err;

	EXPECT_OK(tpm2_public_parse(cf_buf_view(&pub_raw), &pub, &err), &err);
	EXPECT_OK(tpm2_check_attestation_key(&pub, &err), &err);
	EXPECT_OK(tpm2_name(&pub, got, &err), &err);
	EXPECT(cf_view_eq(cf_view(got, sizeof(got)), cf_buf_view(&name)));
	EXPECT_OK(tpm2_public_key(&pub, &key, &err), &err);
	EXPECT_OK(tpm2_quote_parse(cf_buf_view(&msg), &quote, &err), &err);
	EXPECT_INT(quote.pcr_mask, 0x80ffff);
	EXPECT_OK(cf_hex_decode(cf_view_sub(cf_buf_view(&nonce), 0, 64), extra, 32, &err), &err);
	EXPECT(cf_view_eq(quote.extra_data, cf_view(extra, 32)));
	EXPECT_OK(tpm2_signature_verify(key, cf_buf_view(&msg), cf_buf_view(&sig), &err), &err);
	for (size_t i = 0; i < msg.size; i++) { /* every byte of the quote is signed */
		msg.data[i] ^= 1;
		EXPECT_FAILS(tpm2_signature_verify(key, cf_buf_view(&msg), cf_buf_view(&sig), &err),
		             CF_PERMISSION_DENIED);
		msg.data[i] ^= 1;
	}
	for (size_t i = 0; i < sig.size; i++) {
		sig.data[i] ^= 1;
		EXPECT(tpm2_signature_verify(key, cf_buf_view(&msg), cf_buf_view(&sig), &err) < 0);
		sig.data[i] ^= 1;
	}
}

CF_TEST(tpm2_verifies_a_real_rsa_quote_and_refuses_each_flip)
{
	check_pair("rsa");
}

CF_TEST(tpm2_verifies_a_real_ecc_quote_and_refuses_each_flip)
{
	check_pair("ecc");
}

CF_TEST(tpm2_refuses_the_other_keys_signature)
{
	cf_cleanup(cf_buf_fini) struct cf_buf pub_raw = vector("ak-rsa.tpm2b_public");
	cf_cleanup(cf_buf_fini) struct cf_buf msg = vector("quote-ecc.tpms_attest");
	cf_cleanup(cf_buf_fini) struct cf_buf sig = vector("quote-ecc.tpmt_signature");
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	struct tpm2_public pub;
	struct cf_err err;

	EXPECT_OK(tpm2_public_parse(cf_buf_view(&pub_raw), &pub, &err), &err);
	EXPECT_OK(tpm2_public_key(&pub, &key, &err), &err);
	EXPECT_FAILS(tpm2_signature_verify(key, cf_buf_view(&msg), cf_buf_view(&sig), &err),
	             CF_INVALID_ARGUMENT);
}

CF_TEST(tpm2_refuses_every_truncation_and_any_byte_too_many)
{
	static const char *const files[] = { "ak-rsa.tpm2b_public", "ak-ecc.tpm2b_public",
		                             "quote-rsa.tpms_attest", "quote-ecc.tpmt_signature",
		                             "quote-rsa.tpmt_signature" };

	for (size_t f = 0; f < CF_ARRAY_LEN(files); f++) {
		cf_cleanup(cf_buf_fini) struct cf_buf raw = vector(files[f]);
		struct tpm2_public pub;
		struct tpm2_quote quote;
		struct tpm2_signature sig;
		struct cf_err err;

		cf_buf_add_byte(&raw, 0);
		for (size_t n = 0; n <= raw.size; n++) {
			cf_cleanup(cf_freep) uint8_t *exact = malloc(n ? n : 1);
			struct cf_view v = cf_view(exact, n);

			if (n == raw.size - 1)
				continue; /* the whole file */
			memcpy(exact, raw.data, n);
			EXPECT_FAILS(tpm2_public_parse(v, &pub, &err), CF_INVALID_ARGUMENT);
			EXPECT_FAILS(tpm2_quote_parse(v, &quote, &err), CF_INVALID_ARGUMENT);
			EXPECT_FAILS(tpm2_signature_parse(v, &sig, &err), CF_INVALID_ARGUMENT);
		}
	}
}

CF_TEST(tpm2_takes_exactly_one_sha256_selection)
{
	cf_cleanup(cf_buf_fini) struct cf_buf msg = vector("quote-rsa.tpms_attest");
	size_t count_at = msg.size - 34 - 4 - 2 - 4; /* before digest, bitmap, bank */
	struct tpm2_quote quote;
	struct cf_err err;

	EXPECT_INT(msg.data[count_at + 3], 1);
	msg.data[count_at + 3] = 2;
	EXPECT_FAILS(tpm2_quote_parse(cf_buf_view(&msg), &quote, &err), CF_INVALID_ARGUMENT);
	EXPECT(strstr(err.msg, "2 PCR selections"));
	msg.data[count_at + 3] = 1;
	msg.data[count_at + 5] = 4; /* SHA-1 */
	EXPECT_FAILS(tpm2_quote_parse(cf_buf_view(&msg), &quote, &err), CF_INVALID_ARGUMENT);
	EXPECT(strstr(err.msg, "bank 0x0004"));
}

CF_TEST(tpm2_names_the_first_rule_an_attestation_key_breaks)
{
	static const struct {
		uint32_t flip;
		const char *says;
	} rules[] = {
		{ TPM2_OBJ_FIXED_TPM, "fixedTPM" },
		{ TPM2_OBJ_FIXED_PARENT, "fixedParent" },
		{ TPM2_OBJ_SENSITIVE_DATA_ORIGIN, "sensitiveDataOrigin" },
		{ TPM2_OBJ_RESTRICTED, "restricted" },
		{ TPM2_OBJ_SIGN, "sign is clear" },
		{ TPM2_OBJ_DECRYPT, "decrypt is set" },
	};
	cf_cleanup(cf_buf_fini) struct cf_buf raw = vector("ak-ecc.tpm2b_public");
	cf_cleanup(cf_buf_fini) struct cf_buf ek = vector("ek-rsa.pub");
	struct tpm2_public pub, bad;
	struct cf_err err;

	EXPECT_OK(tpm2_public_parse(cf_buf_view(&raw), &pub, &err), &err);
	for (size_t i = 0; i < CF_ARRAY_LEN(rules); i++) {
		bad = pub;
		bad.attributes ^= rules[i].flip;
		EXPECT_FAILS(tpm2_check_attestation_key(&bad, &err), CF_PERMISSION_DENIED);
		EXPECT(strstr(err.msg, rules[i].says));
	}
	bad = pub;
	bad.curve = TPM2_CURVE_P384;
	EXPECT_FAILS(tpm2_check_attestation_key(&bad, &err), CF_PERMISSION_DENIED);
	bad = pub;
	bad.scheme_hash = 4;
	EXPECT_FAILS(tpm2_check_attestation_key(&bad, &err), CF_PERMISSION_DENIED);
	bad = pub;
	bad.name_alg = 0xc;
	EXPECT_FAILS(tpm2_check_attestation_key(&bad, &err), CF_PERMISSION_DENIED);
	/* An endorsement key is no attestation key. */
	EXPECT_OK(tpm2_public_parse(cf_buf_view(&ek), &pub, &err), &err);
	EXPECT_FAILS(tpm2_check_attestation_key(&pub, &err), CF_PERMISSION_DENIED);
}

CF_TEST(tpm2_public_key_of_the_certificate_is_the_eks)
{
	cf_cleanup(cf_buf_fini) struct cf_buf raw = vector("ek-rsa.pub");
	cf_cleanup(cf_buf_fini) struct cf_buf der = vector("ekcert-rsa2048-nv01c00002.der");
	cf_cleanup(cf_buf_fini) struct cf_buf other = vector("ekcert-p384-nv01c00016.der");
	cf_cleanup(cf_cert_freep) struct cf_cert *cert = NULL, *foreign = NULL;
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL, *certified = NULL, *not_it = NULL;
	struct tpm2_public pub;
	struct cf_err err;

	EXPECT_OK(tpm2_public_parse(cf_buf_view(&raw), &pub, &err), &err);
	EXPECT_OK(tpm2_public_key(&pub, &key, &err), &err);
	EXPECT_OK(cf_cert_parse(cf_buf_view(&der), &cert, &err), &err);
	EXPECT_OK(cf_cert_pkey(cert, &certified, &err), &err);
	EXPECT(cf_pkey_equal_public(key, certified));
	EXPECT_OK(cf_cert_parse(cf_buf_view(&other), &foreign, &err), &err);
	EXPECT_OK(cf_cert_pkey(foreign, &not_it, &err), &err);
	EXPECT(!cf_pkey_equal_public(key, not_it));
}

/* ---- MakeCredential, opened again as a TPM would ---- */

static struct cf_view sized(struct cf_rd *rd)
{
	return cf_rd_bytes(rd, cf_rd_u16be(rd));
}

static void open_seed(const struct cf_pkey *ek, enum cf_hash_alg hash, struct cf_view secret,
                      struct cf_buf *seed)
{
	struct cf_rd outer = { .in = secret };
	struct cf_rd rd = { .in = sized(&outer) };
	struct cf_err err;

	EXPECT(!outer.bad && cf_rd_left(&outer) == 0);
	if (cf_pkey_kind(ek) == CF_PKEY_RSA) {
		EXPECT_OK(cf_rsa_decrypt(ek, CF_RSA_OAEP_SHA256, cf_view("IDENTITY", 9), rd.in,
		                         seed, &err),
		          &err);
		return;
	}

	struct cf_view x = sized(&rd), y = sized(&rd);
	cf_cleanup(cf_pkey_freep) struct cf_pkey *eph = NULL;
	cf_cleanup(cf_buf_fini) struct cf_buf z = { 0 }, kx = { 0 }, ky = { 0 };
	uint8_t out[CF_HASH_SIZE_MAX];

	EXPECT(!rd.bad && cf_rd_left(&rd) == 0);
	EXPECT_OK(cf_pkey_from_ec(cf_pkey_kind(ek), x, y, (struct cf_view){ 0 }, &eph, &err), &err);
	EXPECT_OK(cf_ecdh(ek, eph, &z, &err), &err);
	EXPECT_OK(cf_pkey_ec_point(ek, &kx, &ky, &err), &err);
	tpm2_kdfe(hash, cf_buf_view(&z), "IDENTITY", x, cf_buf_view(&kx), out, cf_hash_size(hash));
	cf_buf_add(seed, out, cf_hash_size(hash));
}

static void round_trip(enum cf_pkey_kind kind, enum cf_hash_alg hash, size_t aes)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *ek = NULL;
	cf_cleanup(cf_buf_fini) struct cf_buf blob = { 0 }, secret = { 0 }, seed = { 0 };
	uint8_t name[TPM2_NAME_SIZE] = { 0, 0x0b, 7 }, credential[TPM2_CREDENTIAL];
	uint8_t key[CF_HASH_SIZE_MAX], mac[CF_HASH_SIZE_MAX], plain[64];
	static const uint8_t iv[16];
	struct cf_view none = { 0 }, want_mac, enc;
	struct cf_err err;

	cf_random(credential, sizeof(credential));
	EXPECT_OK(cf_pkey_generate(kind, 2048, &ek, &err), &err);
	EXPECT_OK(tpm2_make_credential(ek, cf_view(name, sizeof(name)),
	                               cf_view(credential, sizeof(credential)), &blob, &secret,
	                               &err),
	          &err);
	open_seed(ek, hash, cf_buf_view(&secret), &seed);

	struct cf_rd outer = { .in = cf_buf_view(&blob) };
	struct cf_rd rd = { .in = sized(&outer) };

	want_mac = sized(&rd);
	enc = cf_rd_bytes(&rd, cf_rd_left(&rd));
	EXPECT(!outer.bad && !rd.bad && enc.size == 34);
	tpm2_kdfa(hash, cf_buf_view(&seed), "INTEGRITY", none, none, key, cf_hash_size(hash));

	cf_cleanup(cf_hasher_freep) struct cf_hasher *h =
		cf_hmac_new(hash, cf_view(key, cf_hash_size(hash)));

	cf_hasher_add(h, enc);
	cf_hasher_add(h, cf_view(name, sizeof(name)));
	cf_hasher_final(h, mac);
	EXPECT(cf_view_eq(want_mac, cf_view(mac, cf_hash_size(hash))));
	tpm2_kdfa(hash, cf_buf_view(&seed), "STORAGE", cf_view(name, sizeof(name)), none, key, aes);
	EXPECT_OK(cf_aes_cfb(false, cf_view(key, aes), cf_view(iv, 16), enc, plain, &err), &err);
	EXPECT(plain[0] == 0 && plain[1] == 32 && !memcmp(plain + 2, credential, 32));
}

CF_TEST(tpm2_credentials_open_for_the_endorsement_key_of_each_kind)
{
	round_trip(CF_PKEY_RSA, CF_SHA256, 16);
	round_trip(CF_PKEY_EC_P256, CF_SHA256, 16);
	round_trip(CF_PKEY_EC_P384, CF_SHA384, 32);
}

CF_TEST(tpm2_makes_no_credential_for_other_keys)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *ek = NULL;
	cf_cleanup(cf_buf_fini) struct cf_buf blob = { 0 }, secret = { 0 };
	uint8_t name[TPM2_NAME_SIZE] = { 0 };
	struct cf_err err;

	EXPECT_OK(cf_pkey_generate(CF_PKEY_EC_P521, 0, &ek, &err), &err);
	EXPECT_FAILS(tpm2_make_credential(ek, cf_view(name, sizeof(name)), cf_view("x", 1), &blob,
	                                  &secret, &err),
	             CF_INVALID_ARGUMENT);
}
