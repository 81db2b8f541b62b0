/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images that skopeo encrypted (JWE), and key-provider packets as CoCo's owner-side tools make them:
 * each layer must give exactly the key, nonce and HMAC that were recorded when they were made, and
 * decrypt to the recorded plaintext.
 */
#include "base/fd.h"
#include "base/json.h"
#include "proto/oci_source.h"
#include "proto/ocicrypt.h"
#include "tests/harness/test.h"

struct keyring {
	struct cf_secret *kek;
	struct cf_pkey *pkeys[2];
};

static int give_kek(void *arg, const char *kid, size_t i, struct cf_secret **ret,
                    struct cf_err *err)
{
	struct keyring *ring = arg;

	EXPECT_STR(kid, "kbs:///default/image-kek/coffer-test");
	if (i > 0)
		return cf_fail(err, CF_NOT_FOUND, "no more");
	return cf_secret_copy(cf_secret_view(ring->kek), ret, err);
}

static struct cf_pkey *read_key(const char *rel)
{
	cf_cleanup(cf_freep) char *path = cf_test_vector(rel);
	struct cf_buf der = cf_test_read(path);
	struct cf_pkey *key = NULL;
	struct cf_err err;

	EXPECT_OK(cf_pkey_parse(cf_buf_view(&der), &key, &err), &err);
	cf_buf_fini(&der);
	return key;
}

struct decryption {
	struct ocicrypt_stream *stream;
	struct cf_hasher *hash;
};

static int piece(void *arg, struct cf_view in, struct cf_err *err __attribute__((unused)))
{
	struct decryption *d = arg;
	uint8_t *out = cf_zalloc(in.size + 1);

	ocicrypt_stream_apply(d->stream, in, out);
	cf_hasher_add(d->hash, cf_view(out, in.size));
	free(out);
	return 0;
}

static void expect_hex(const struct cf_json *layer, const char *key, struct cf_view got)
{
	cf_cleanup(cf_freep) char *hex = cf_hex_dup(got);

	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(layer, key)), hex));
}

static void check_layer(struct oci_source *src, const struct oci_descriptor *d,
                        const struct cf_json *expected, const struct ocicrypt_keys *keys)
{
	struct decryption dec = { .hash = oci_hasher_new(OCI_SHA256) };
	struct ocicrypt_options o = { 0 };
	struct oci_digest plain;
	struct cf_err err;

	EXPECT_OK(ocicrypt_unwrap(d, keys, &o, &err), &err);
	expect_hex(expected, "symkey_hex", cf_secret_view(o.key));
	expect_hex(expected, "nonce_hex", cf_view(o.nonce, sizeof(o.nonce)));
	expect_hex(expected, "hmac_hex", cf_view(o.hmac, sizeof(o.hmac)));
	EXPECT_OK(ocicrypt_stream_new(&o, false, &dec.stream, &err), &err);
	EXPECT_OK(oci_source_blob(src, d, piece, &dec, &err), &err);
	EXPECT_OK(ocicrypt_stream_verify(dec.stream, &err), &err);
	oci_hasher_final(dec.hash, OCI_SHA256, &plain);
	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(expected, "plaintext_blob_digest")),
	                      plain.text));
	ocicrypt_stream_free(dec.stream);
	cf_hasher_free(dec.hash);
	ocicrypt_options_fini(&o);
}

static void check_image(const char *name)
{
	cf_cleanup(cf_freep) char *base = cf_test_vector("oci-encrypted");
	cf_cleanup(cf_freep) char *dir = cf_asprintf("%s/%s", base, name);
	cf_cleanup(cf_freep) char *table_path = cf_test_vector("oci-encrypted/expected.json");
	cf_cleanup(cf_freep) char *kek_path = cf_test_vector("oci-encrypted/keys/kek.bin");
	cf_cleanup(cf_freep) char *place = cf_asprintf("oci:%s", dir);
	cf_cleanup(oci_source_freep) struct oci_source *src = NULL;
	cf_cleanup(cf_json_freep) struct cf_json *table = NULL;
	struct cf_buf text = cf_test_read(table_path);
	struct oci_document_bytes doc = { 0 };
	struct oci_manifest m = { 0 };
	struct keyring ring = { .pkeys = { read_key("oci-encrypted/keys/rsa.der"),
		                           read_key("oci-encrypted/keys/ec-p256.der") } };
	const struct cf_pkey *pkeys[] = { ring.pkeys[0], ring.pkeys[1] };
	const struct ocicrypt_keys keys = {
		.pkeys = pkeys, .pkey_count = 2, .kek = give_kek, .arg = &ring
	};
	struct oci_source_config config = { 0 };
	struct cf_err err;

	EXPECT_OK(cf_secret_read_file(kek_path, &ring.kek, &err), &err);
	EXPECT_OK(cf_json_parse(cf_buf_view(&text), 0, &table, &err), &err);
	EXPECT_OK(oci_source_open(place, &config, &src, &err), &err);
	EXPECT_OK(oci_source_document(src, NULL, &doc, &err), &err);
	EXPECT_OK(oci_manifest_parse(cf_buf_view(&doc.bytes), &m, &err), &err);
	const struct cf_json *layers = cf_json_get(cf_json_get(table, name), "layers");

	EXPECT_INT(m.layer_count, cf_json_len(layers));
	for (size_t i = 0; i < m.layer_count; i++)
		check_layer(src, &m.layers[i], cf_json_at(layers, i), &keys);
	oci_manifest_fini(&m);
	oci_document_bytes_fini(&doc);
	cf_buf_fini(&text);
	cf_secret_free(ring.kek);
	cf_pkey_free(ring.pkeys[0]);
	cf_pkey_free(ring.pkeys[1]);
}

CF_TEST(ocicrypt_opens_jwe_rsa)
{
	check_image("enc-jwe-rsa");
}

CF_TEST(ocicrypt_opens_jwe_ec256)
{
	check_image("enc-jwe-ec256");
}

CF_TEST(ocicrypt_opens_key_provider_packets)
{
	check_image("enc-kp-v1-gcm");
	check_image("enc-kp-v1-ctr");
	check_image("enc-kp-v2-gcm");
}

CF_TEST(ocicrypt_opens_zstd_and_plain_tar)
{
	check_image("enc-zstd");
	check_image("enc-synth-tar");
}
