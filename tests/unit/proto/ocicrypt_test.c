/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "proto/ocicrypt.h"
#include "tests/harness/test.h"

static const uint8_t kek_bytes[32] = "0123456789abcdef0123456789abcde";

/* Keys of a test: which KEKs there are, and what was asked for. */
struct keyring {
	size_t wrong_first; /* so many wrong keys before the right one */
	bool none;
	enum cf_code broken; /* the source fails so */
	char *asked;
};

static int give_kek(void *arg, const char *kid, size_t i, struct cf_secret **ret,
                    struct cf_err *err)
{
	struct keyring *k = arg;
	uint8_t key[32];

	free(k->asked);
	k->asked = cf_strdup(kid);
	if (k->broken)
		return cf_fail(err, k->broken, "key service is away");
	if (k->none || i > k->wrong_first)
		return cf_fail(err, CF_NOT_FOUND, "no such key");
	memcpy(key, kek_bytes, 32);
	key[0] ^= (uint8_t)(i < k->wrong_first ? i + 1 : 0);
	return cf_secret_copy(cf_view(key, 32), ret, err);
}

struct sample {
	struct ocicrypt_options o;
	struct oci_descriptor layer;
	struct cf_pkey *rsa, *ec;
	struct cf_buf cipher;
};

#define PLAIN "a layer is a layer is a layer is a layer"

static struct sample make(bool jwe, bool kek)
{
	struct sample s = { 0 };
	struct ocicrypt_recipient to[3];
	struct ocicrypt_stream *stream = NULL;
	uint8_t out[sizeof(PLAIN)];
	struct cf_err err;
	size_t n = 0;

	EXPECT_OK(cf_pkey_generate(CF_PKEY_EC_P256, 0, &s.ec, &err), &err);
	EXPECT_OK(cf_pkey_generate(CF_PKEY_EC_P384, 0, &s.rsa, &err), &err);
	if (jwe) {
		to[n++] = (struct ocicrypt_recipient){ .pkey = s.rsa };
		to[n++] = (struct ocicrypt_recipient){ .pkey = s.ec };
	}
	if (kek)
		to[n++] = (struct ocicrypt_recipient){ .kid = "kbs:///a/b/c",
			                               .kek = cf_view(kek_bytes, 32) };
	EXPECT_OK(ocicrypt_options_new(&s.o, &err), &err);
	EXPECT_OK(ocicrypt_stream_new(&s.o, true, &stream, &err), &err);
	ocicrypt_stream_apply(stream, cf_view(PLAIN, 7), out);
	ocicrypt_stream_apply(stream, cf_view(&PLAIN[7], sizeof(PLAIN) - 7), out + 7);
	ocicrypt_stream_seal(stream, &s.o);
	ocicrypt_stream_free(stream);
	cf_buf_add(&s.cipher, out, sizeof(out));
	EXPECT_OK(ocicrypt_wrap(&s.o, to, n, &s.layer.annotations, &err), &err);
	return s;
}

static void drop(struct sample *s)
{
	ocicrypt_options_fini(&s->o);
	oci_descriptor_fini(&s->layer);
	cf_pkey_free(s->rsa);
	cf_pkey_free(s->ec);
	cf_buf_fini(&s->cipher);
}

static int decrypt(const struct sample *s, const struct ocicrypt_options *o, struct cf_err *err)
{
	struct ocicrypt_stream *stream = NULL;
	uint8_t out[sizeof(PLAIN)];
	int r = ocicrypt_stream_new(o, false, &stream, err);

	EXPECT_INT(r, 0);
	ocicrypt_stream_apply(stream, cf_view_sub(cf_buf_view(&s->cipher), 0, 17), out);
	ocicrypt_stream_apply(stream, cf_view_sub(cf_buf_view(&s->cipher), 17, SIZE_MAX), out + 17);
	r = ocicrypt_stream_verify(stream, err);
	ocicrypt_stream_free(stream);
	if (r == 0)
		EXPECT(memcmp(out, PLAIN, sizeof(PLAIN)) == 0);
	return r;
}

CF_TEST(ocicrypt_opens_what_it_wrapped_with_any_of_the_keys)
{
	struct sample s = make(true, true);
	struct keyring ring = { .wrong_first = 2 };
	const struct cf_pkey *pkeys[] = { s.ec };
	const struct ocicrypt_keys by_pkey = { .pkeys = pkeys, .pkey_count = 1 };
	const struct ocicrypt_keys by_kek = { .kek = give_kek, .arg = &ring };
	struct ocicrypt_options o = { 0 };
	struct cf_err err;

	EXPECT_OK(ocicrypt_unwrap(&s.layer, &by_pkey, &o, &err), &err);
	EXPECT_OK(decrypt(&s, &o, &err), &err);
	ocicrypt_options_fini(&o);
	EXPECT_OK(ocicrypt_unwrap(&s.layer, &by_kek, &o, &err), &err);
	EXPECT_STR(ring.asked, "kbs:///a/b/c");
	EXPECT_OK(decrypt(&s, &o, &err), &err);
	ocicrypt_options_fini(&o);
	free(ring.asked);
	drop(&s);
}

CF_TEST(ocicrypt_says_in_the_known_words_when_no_key_fits)
{
	struct sample s = make(true, true);
	struct cf_pkey *other = NULL;
	struct keyring none = { .none = true }, wrong = { .wrong_first = 3 };
	struct keyring away = { .broken = CF_UNAVAILABLE };
	struct ocicrypt_options o = { 0 };
	struct cf_err err;

	EXPECT_OK(cf_pkey_generate(CF_PKEY_EC_P256, 0, &other, &err), &err);
	const struct cf_pkey *pkeys[] = { other };
	struct ocicrypt_keys keys = {
		.pkeys = pkeys, .pkey_count = 1, .kek = give_kek, .arg = &none
	};

	EXPECT_FAILS(ocicrypt_unwrap(&s.layer, &keys, &o, &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg,
	              "Failed to decrypt the image layer, please ensure that the decryption "
	              "key is placed and correct"));
	keys.arg = &wrong; /* 3 wrong ones, and the right one is cut off */
	wrong.broken = CF_OK;
	EXPECT_OK(ocicrypt_unwrap(&s.layer, &keys, &o, &err), &err);
	ocicrypt_options_fini(&o);
	keys.arg = &away; /* why the key is not there matters more than a JWE for somebody else */
	EXPECT_FAILS(ocicrypt_unwrap(&s.layer, &keys, &o, &err), CF_UNAVAILABLE);
	free(none.asked);
	free(wrong.asked);
	free(away.asked);
	cf_pkey_free(other);
	drop(&s);
}

CF_TEST(ocicrypt_takes_the_second_packet_when_the_first_is_rubbish)
{
	struct sample s = make(false, true);
	struct keyring ring = { 0 };
	const struct ocicrypt_keys keys = { .kek = give_kek, .arg = &ring };
	const char *key = OCICRYPT_ANNOTATION_KEYS OCICRYPT_COCO_PROVIDER;
	cf_cleanup(cf_freep) char *two =
		cf_asprintf("bm90IGpzb24=,!,%s", oci_pairs_get(&s.layer.annotations, key));
	struct ocicrypt_options o = { 0 };
	struct cf_err err;

	oci_pairs_set(&s.layer.annotations, key, two);
	EXPECT_OK(ocicrypt_unwrap(&s.layer, &keys, &o, &err), &err);
	ocicrypt_options_fini(&o);
	/* a provider of another name carries the same packets */
	oci_pairs_set(&s.layer.annotations, OCICRYPT_ANNOTATION_KEYS "provider.mine", two);
	oci_pairs_remove(&s.layer.annotations, key);
	EXPECT_OK(ocicrypt_unwrap(&s.layer, &keys, &o, &err), &err);
	ocicrypt_options_fini(&o);
	free(ring.asked);
	drop(&s);
}

CF_TEST(ocicrypt_notices_every_flipped_byte)
{
	struct sample s = make(false, true);
	struct keyring ring = { 0 };
	const struct ocicrypt_keys keys = { .kek = give_kek, .arg = &ring };
	struct ocicrypt_options o = { 0 };
	struct cf_err err;

	EXPECT_OK(ocicrypt_unwrap(&s.layer, &keys, &o, &err), &err);
	for (size_t i = 0; i < s.cipher.size; i++) {
		s.cipher.data[i] ^= 0x10;
		EXPECT_FAILS(decrypt(&s, &o, &err), CF_DATA_LOSS);
		s.cipher.data[i] ^= 0x10;
	}
	o.hmac[31] ^= 1;
	EXPECT_FAILS(decrypt(&s, &o, &err), CF_DATA_LOSS);
	o.hmac[31] ^= 1;
	o.nonce[0] ^= 1; /* no MAC covers the nonce; the digest of the plaintext does */
	EXPECT_FAILS(decrypt(&s, &o, &err), CF_DATA_LOSS);
	ocicrypt_options_fini(&o);
	free(ring.asked);
	drop(&s);
}

static void set_pubopts(struct sample *s, const char *json)
{
	struct cf_buf b = { 0 };

	cf_b64_encode(CF_B64_STD, cf_view_str(json), &b);
	oci_pairs_set(&s->layer.annotations, OCICRYPT_ANNOTATION_PUBOPTS, (char *)b.data);
	cf_buf_fini(&b);
}

#define HMAC   "\"hmac\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\""
#define CIPHER "\"cipher\":\"AES_256_CTR_HMAC_SHA256\""

CF_TEST(ocicrypt_refuses_bad_public_options)
{
	static const char *const refused[] = {
		"",
		"{}",
		"{" HMAC "}", /* never a default cipher */
		"{\"cipher\":\"\"," HMAC "}",
		"{\"cipher\":\"AES_256_CTR\"," HMAC "}",
		"{" CIPHER "}",                   /* no HMAC */
		"{" CIPHER ",\"hmac\":\"\"}",     /* an empty one */
		"{" CIPHER ",\"hmac\":\"AAAA\"}", /* a short one */
		"{" CIPHER "," HMAC ",\"cipheroptions\":{\"nonce\":\"AAAA\"}}",
		/* a nonce in public that is not the one in private */
		"{" CIPHER "," HMAC ",\"cipheroptions\":{\"nonce\":\"AAAAAAAAAAAAAAAAAAAAAA==\"}}",
	};
	struct sample s = make(false, true);
	struct keyring ring = { 0 };
	const struct ocicrypt_keys keys = { .kek = give_kek, .arg = &ring };
	struct ocicrypt_options o = { 0 };
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(refused); i++) {
		set_pubopts(&s, refused[i]);
		int r = ocicrypt_unwrap(&s.layer, &keys, &o, &err);

		EXPECT(r == -CF_INVALID_ARGUMENT || r == -CF_PERMISSION_DENIED);
		EXPECT(!o.key);
	}
	set_pubopts(&s, "{" CIPHER "," HMAC ",\"cipheroptions\":null}");
	EXPECT_OK(ocicrypt_unwrap(&s.layer, &keys, &o, &err), &err);
	ocicrypt_options_fini(&o);
	oci_pairs_remove(&s.layer.annotations, OCICRYPT_ANNOTATION_PUBOPTS);
	EXPECT_FAILS(ocicrypt_unwrap(&s.layer, &keys, &o, &err), CF_INVALID_ARGUMENT);
	free(ring.asked);
	drop(&s);
}

CF_TEST(ocicrypt_names_schemes_that_it_does_not_read)
{
	struct sample s = make(false, true);
	struct ocicrypt_options o = { 0 };
	const struct ocicrypt_keys keys = { 0 };
	struct cf_err err;

	oci_pairs_remove(&s.layer.annotations, OCICRYPT_ANNOTATION_KEYS OCICRYPT_COCO_PROVIDER);
	EXPECT_FAILS(ocicrypt_unwrap(&s.layer, &keys, &o, &err), CF_INVALID_ARGUMENT);
	oci_pairs_set(&s.layer.annotations, OCICRYPT_ANNOTATION_KEYS "pgp", "AAAA");
	EXPECT_FAILS(ocicrypt_unwrap(&s.layer, &keys, &o, &err), CF_UNIMPLEMENTED);
	EXPECT(strstr(err.msg, "pgp"));
	drop(&s);
}

CF_TEST(ocicrypt_kids_come_down_to_one_form)
{
	static const char *const cases[][2] = {
		{ "kbs:///a/b/c", "kbs:///a/b/c" },
		{ "kbs://h:1/a/b/c", "kbs:///a/b/c" },
		{ "/a/b/c", "kbs:///a/b/c" },
		{ "host/a/b/c", "kbs:///a/b/c" },
		{ "kbs+plugin:///x", "kbs+plugin:///x" },
	};
	static const char *const refused[] = { "",         "a",          "a/b",
		                               "kbs://",   "kbs:///a/b", "kbs:///a b/c/d",
		                               "x\n/a/b/c" };

	for (size_t i = 0; i < CF_ARRAY_LEN(cases); i++) {
		cf_cleanup(cf_freep) char *got = NULL;
		struct cf_err err;

		EXPECT_OK(ocicrypt_kid_normalise(cf_view_str(cases[i][0]), &got, &err), &err);
		EXPECT_STR(got, cases[i][1]);
	}
	for (size_t i = 0; i < CF_ARRAY_LEN(refused); i++) {
		char *got = NULL;

		EXPECT_FAILS(ocicrypt_kid_normalise(cf_view_str(refused[i]), &got, NULL),
		             CF_INVALID_ARGUMENT);
	}
}

CF_TEST(ocicrypt_lists_recipients_without_a_key)
{
	struct sample s = make(true, true);
	struct ocicrypt_recipients r = { 0 };

	ocicrypt_list(&s.layer, &r);
	EXPECT_INT(r.count, 2);
	for (size_t i = 0; i < r.count; i++) {
		if (cf_streq(r.items[i].scheme, OCICRYPT_COCO_PROVIDER))
			EXPECT_STR(r.items[i].key_id, "kbs:///a/b/c");
	}
	ocicrypt_recipients_fini(&r);
	drop(&s);
}
