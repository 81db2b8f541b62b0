/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/oci_source.h"
#include "proto/ocicrypt.h"

struct ocicrypt_stream {
	struct cf_aes_ctr *cipher;
	struct cf_hasher *hmac;  /* of the ciphertext */
	struct cf_hasher *plain; /* NULL: nobody asks */
	bool encrypt;
	uint8_t expected[OCICRYPT_HMAC_SIZE];
	struct oci_digest plain_digest;
};

void ocicrypt_options_fini(struct ocicrypt_options *o)
{
	cf_secret_free(o->key);
	*o = (struct ocicrypt_options){ 0 };
}

int ocicrypt_options_new(struct ocicrypt_options *ret, struct cf_err *err)
{
	struct ocicrypt_options o = { 0 };
	int r = cf_secret_new(OCICRYPT_KEY_SIZE, &o.key, err);

	if (r < 0)
		return r;
	cf_random(cf_secret_data(o.key), OCICRYPT_KEY_SIZE);
	cf_random(o.nonce, sizeof(o.nonce));
	*ret = o;
	return 0;
}

int ocicrypt_stream_new(const struct ocicrypt_options *o, bool encrypt,
                        struct ocicrypt_stream **ret, struct cf_err *err)
{
	cf_cleanup(ocicrypt_stream_freep) struct ocicrypt_stream *s = cf_zalloc(sizeof(*s));
	int r = cf_aes_ctr_new(cf_secret_view(o->key), cf_view(o->nonce, sizeof(o->nonce)),
	                       &s->cipher, err);

	if (r < 0)
		return r;
	s->encrypt = encrypt;
	s->hmac = cf_hmac_new(CF_SHA256, cf_secret_view(o->key));
	s->plain_digest = o->plain_digest;
	memcpy(s->expected, o->hmac, sizeof(s->expected));
	if (encrypt)
		s->plain = oci_hasher_new(OCI_SHA256);
	else if (oci_digest_is_set(&o->plain_digest))
		s->plain = oci_hasher_new(o->plain_digest.alg);
	*ret = cf_take(&s);
	return 0;
}

struct ocicrypt_stream *ocicrypt_stream_free(struct ocicrypt_stream *s)
{
	if (s) {
		cf_aes_ctr_free(s->cipher);
		cf_hasher_free(s->hmac);
		cf_hasher_free(s->plain);
		free(s);
	}
	return NULL;
}

void ocicrypt_stream_apply(struct ocicrypt_stream *s, struct cf_view in, uint8_t *out)
{
	if (!s->encrypt)
		cf_hasher_add(s->hmac, in);
	else
		cf_hasher_add(s->plain, in);
	cf_aes_ctr_apply(s->cipher, in, out);
	if (s->encrypt)
		cf_hasher_add(s->hmac, cf_view(out, in.size));
	else if (s->plain)
		cf_hasher_add(s->plain, cf_view(out, in.size));
}

int ocicrypt_stream_verify(struct ocicrypt_stream *s, struct cf_err *err)
{
	uint8_t got[OCICRYPT_HMAC_SIZE];
	struct oci_digest plain;

	cf_hasher_final(s->hmac, got);
	if (!cf_equal_ct(cf_view(got, sizeof(got)), cf_view(s->expected, sizeof(s->expected))))
		return cf_fail(err, CF_DATA_LOSS, "encrypted layer: HMAC does not fit");
	if (!s->plain)
		return 0;
	oci_hasher_final(s->plain, s->plain_digest.alg, &plain);
	if (!oci_digest_eq(&s->plain_digest, &plain))
		return cf_fail(err, CF_DATA_LOSS,
		               "encrypted layer: plaintext is not what was encrypted");
	return 0;
}

void ocicrypt_stream_seal(struct ocicrypt_stream *s, struct ocicrypt_options *o)
{
	cf_hasher_final(s->hmac, o->hmac);
	oci_hasher_final(s->plain, OCI_SHA256, &o->plain_digest);
}
