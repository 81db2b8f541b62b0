/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Cryptography: the door to OpenSSL 3 (libcrypto). No algorithm is chosen by a name that came from
 * outside: callers map names to these enums and refuse the rest. Keys are opaque and owned.
 */
#include "base/bytes.h"
#include "base/secret.h"

#define CF_HASH_SIZE_MAX 64

enum cf_hash_alg {
	CF_SHA1, /* only to read what TPMs and old peers wrote, never to trust */
	CF_SHA256,
	CF_SHA384,
	CF_SHA512,
	CF_HASH_COUNT,
};
size_t cf_hash_size(enum cf_hash_alg alg);
const char *cf_hash_name(enum cf_hash_alg alg); /* "sha256" */

/* One shot. @out takes cf_hash_size() bytes. Aborts only when the library itself is broken. */
void cf_hash(enum cf_hash_alg alg, struct cf_view in, uint8_t *out);
static inline void cf_sha256(struct cf_view in, uint8_t out[32])
{
	cf_hash(CF_SHA256, in, out);
}

struct cf_hasher; /* streaming hash or HMAC */
struct cf_hasher *cf_hasher_new(enum cf_hash_alg alg);
struct cf_hasher *cf_hmac_new(enum cf_hash_alg alg, struct cf_view key);
void cf_hasher_add(struct cf_hasher *h, struct cf_view v);
void cf_hasher_final(struct cf_hasher *h, uint8_t *out); /* then only free or reset may follow */
void cf_hasher_reset(struct cf_hasher *h);               /* hash only */
struct cf_hasher *cf_hasher_free(struct cf_hasher *h);
CF_DEFINE_CLEANUP(struct cf_hasher *, cf_hasher_free);
void cf_hmac(enum cf_hash_alg alg, struct cf_view key, struct cf_view in, uint8_t *out);

/* ISO: HKDF (RFC 5869), PBKDF2, TPM's KDFa (SP 800-108 counter mode, HMAC). */
cf_must_use int cf_hkdf(enum cf_hash_alg alg, struct cf_view key, struct cf_view salt,
                        struct cf_view info, uint8_t *out, size_t size, struct cf_err *err);

void cf_random(uint8_t *out, size_t size); /* aborts when the system has no randomness */

/* AES-CTR, streaming; key 16 or 32 bytes, iv 16. Encrypting and decrypting are the same. */
struct cf_aes_ctr;
cf_must_use int cf_aes_ctr_new(struct cf_view key, struct cf_view iv, struct cf_aes_ctr **ret,
                               struct cf_err *err);
void cf_aes_ctr_apply(struct cf_aes_ctr *c, struct cf_view in, uint8_t *out); /* out may be in */
struct cf_aes_ctr *cf_aes_ctr_free(struct cf_aes_ctr *c);
CF_DEFINE_CLEANUP(struct cf_aes_ctr *, cf_aes_ctr_free);

/* AES-GCM (key 16/24/32, iv of any size ≥ 1, tag 16). Plaintext and key are secrets: use cf_buf_wipe. */
cf_must_use int cf_aes_gcm_seal(struct cf_view key, struct cf_view iv, struct cf_view aad,
                                struct cf_view plain, struct cf_buf *cipher, uint8_t tag[16],
                                struct cf_err *err);
/* -CF_DATA_LOSS when the tag does not fit; @plain is left as it was. */
cf_must_use int cf_aes_gcm_open(struct cf_view key, struct cf_view iv, struct cf_view aad,
                                struct cf_view cipher, struct cf_view tag, struct cf_buf *plain,
                                struct cf_err *err);
/* AES-CBC with PKCS#7 padding, for A128CBC-HS256 and PKCS#7 envelopes. */
cf_must_use int cf_aes_cbc(bool encrypt, struct cf_view key, struct cf_view iv, struct cf_view in,
                           struct cf_buf *out, struct cf_err *err);
/* AES-CFB128 without padding, as TPM 2.0 uses it; @out takes in.size bytes. */
cf_must_use int cf_aes_cfb(bool encrypt, struct cf_view key, struct cf_view iv, struct cf_view in,
                           uint8_t *out, struct cf_err *err);
/* AES key wrap (RFC 3394). */
cf_must_use int cf_aes_wrap(struct cf_view kek, struct cf_view key, struct cf_buf *ret,
                            struct cf_err *err);
cf_must_use int cf_aes_unwrap(struct cf_view kek, struct cf_view wrapped, struct cf_buf *ret,
                              struct cf_err *err);

/* ---- asymmetric keys ---- */

struct cf_pkey; /* public or private key */
enum cf_pkey_kind {
	CF_PKEY_RSA,
	CF_PKEY_EC_P256,
	CF_PKEY_EC_P384,
	CF_PKEY_EC_P521,
	CF_PKEY_ED25519,
	CF_PKEY_X25519,
	CF_PKEY_OTHER,
};

/* PEM or DER, private (PKCS#8, SEC1, PKCS#1) or public (SPKI), also a certificate's public key. */
cf_must_use int cf_pkey_parse(struct cf_view text, struct cf_pkey **ret, struct cf_err *err);
cf_must_use int cf_pkey_generate(enum cf_pkey_kind kind, unsigned rsa_bits, struct cf_pkey **ret,
                                 struct cf_err *err);
/* From raw numbers, big-endian. @d (private exponent or scalar) may be empty. */
cf_must_use int cf_pkey_from_rsa(struct cf_view n, struct cf_view e, struct cf_pkey **ret,
                                 struct cf_err *err);
/* A private RSA key; p, q, dp, dq, qi may all be empty. */
cf_must_use int cf_pkey_from_rsa_private(struct cf_view n, struct cf_view e, struct cf_view d,
                                         struct cf_view p, struct cf_view q, struct cf_view dp,
                                         struct cf_view dq, struct cf_view qi, struct cf_pkey **ret,
                                         struct cf_err *err);
/* Checks that the point lies on the curve. */
cf_must_use int cf_pkey_from_ec(enum cf_pkey_kind kind, struct cf_view x, struct cf_view y,
                                struct cf_view d, struct cf_pkey **ret, struct cf_err *err);
/* Ed25519 or X25519: public bytes, or the private seed. */
cf_must_use int cf_pkey_from_raw(enum cf_pkey_kind kind, bool is_private, struct cf_view raw,
                                 struct cf_pkey **ret, struct cf_err *err);
struct cf_pkey *cf_pkey_free(struct cf_pkey *k);
CF_DEFINE_CLEANUP(struct cf_pkey *, cf_pkey_free);
struct cf_pkey *cf_pkey_ref(struct cf_pkey *k);

enum cf_pkey_kind cf_pkey_kind(const struct cf_pkey *k);
size_t cf_pkey_bits(const struct cf_pkey *k);
bool cf_pkey_is_private(const struct cf_pkey *k);
bool cf_pkey_equal_public(const struct cf_pkey *a, const struct cf_pkey *b);
/* RSA numbers, minimal big-endian. */
cf_must_use int cf_pkey_rsa_numbers(const struct cf_pkey *k, struct cf_buf *n, struct cf_buf *e,
                                    struct cf_err *err);
/* EC coordinates, padded to the field size; Ed25519/X25519: raw bytes in @x. */
cf_must_use int cf_pkey_ec_point(const struct cf_pkey *k, struct cf_buf *x, struct cf_buf *y,
                                 struct cf_err *err);
cf_must_use int cf_pkey_private_number(const struct cf_pkey *k, struct cf_buf *d,
                                       struct cf_err *err);
cf_must_use int cf_pkey_to_pem(const struct cf_pkey *k, bool with_private, struct cf_buf *ret,
                               struct cf_err *err);
cf_must_use int cf_pkey_to_spki_der(const struct cf_pkey *k, struct cf_buf *ret,
                                    struct cf_err *err);

enum cf_sig_scheme {
	CF_SIG_RSA_PKCS1,
	CF_SIG_RSA_PSS, /* salt of digest size when signing, any when verifying */
	CF_SIG_ECDSA_DER,
	CF_SIG_ECDSA_RAW, /* r || s, each of field size (JOSE) */
	CF_SIG_ED25519,   /* @alg is not looked at */
};
/* @data is hashed with @alg here. */
cf_must_use int cf_pkey_sign(const struct cf_pkey *k, enum cf_sig_scheme scheme,
                             enum cf_hash_alg alg, struct cf_view data, struct cf_buf *sig,
                             struct cf_err *err);
/* Return: 0, -CF_PERMISSION_DENIED (wrong signature), -CF_INVALID_ARGUMENT (key and scheme differ). */
cf_must_use int cf_pkey_verify(const struct cf_pkey *k, enum cf_sig_scheme scheme,
                               enum cf_hash_alg alg, struct cf_view data, struct cf_view sig,
                               struct cf_err *err);

enum cf_rsa_padding {
	CF_RSA_OAEP_SHA1,
	CF_RSA_OAEP_SHA256,
	CF_RSA_OAEP_SHA384,
	CF_RSA_OAEP_SHA512,
	CF_RSA_PKCS1_V15, /* decryption with it never tells why it failed */
};
/* @label: OAEP label, mostly empty (TPM: "IDENTITY\0"). */
cf_must_use int cf_rsa_encrypt(const struct cf_pkey *k, enum cf_rsa_padding pad,
                               struct cf_view label, struct cf_view in, struct cf_buf *ret,
                               struct cf_err *err);
cf_must_use int cf_rsa_decrypt(const struct cf_pkey *k, enum cf_rsa_padding pad,
                               struct cf_view label, struct cf_view in, struct cf_buf *ret,
                               struct cf_err *err);
/* ECDH / X25519 shared secret, padded to field size. */
cf_must_use int cf_ecdh(const struct cf_pkey *own, const struct cf_pkey *peer, struct cf_buf *ret,
                        struct cf_err *err);

/* ---- certificates ---- */

struct cf_cert;
/* One certificate, DER or PEM. */
cf_must_use int cf_cert_parse(struct cf_view text, struct cf_cert **ret, struct cf_err *err);
struct cf_cert *cf_cert_free(struct cf_cert *c);
CF_DEFINE_CLEANUP(struct cf_cert *, cf_cert_free);
/* One line: "CN = …, O = …"; the caller frees. */
char *cf_cert_subject(const struct cf_cert *c);
char *cf_cert_issuer(const struct cf_cert *c);
cf_must_use int cf_cert_pkey(const struct cf_cert *c, struct cf_pkey **ret, struct cf_err *err);
void cf_cert_sha256(const struct cf_cert *c, uint8_t out[32]); /* of the DER form */
cf_must_use int cf_cert_to_der(const struct cf_cert *c, struct cf_buf *ret, struct cf_err *err);
/* Value of an extension by dotted OID (raw DER of extnValue's content). -CF_NOT_FOUND. */
cf_must_use int cf_cert_extension(const struct cf_cert *c, const char *oid, struct cf_buf *ret,
                                  struct cf_err *err);
/* Validity as seconds since 1970. */
cf_must_use int cf_cert_validity(const struct cf_cert *c, int64_t *ret_from, int64_t *ret_until,
                                 struct cf_err *err);

struct cf_chain_opts {
	struct cf_cert *const *roots;
	size_t root_count;
	struct cf_cert *const *intermediates;
	size_t intermediate_count;
	int64_t at;         /* seconds since 1970; 0: now; -1: do not look at validity times */
	bool partial_chain; /* an intermediate among the roots is an anchor too */
	/* critical extensions OpenSSL does not know and that the caller understands, dotted OIDs, NULL-ended */
	const char *const *known_critical;
};
/*
 * Builds and checks the chain; @ret_root (may be NULL) gets the index of the anchor among roots.
 * Return: 0, -CF_PERMISSION_DENIED with the reason and the certificate's subject.
 */
cf_must_use int cf_cert_verify(const struct cf_cert *leaf, const struct cf_chain_opts *opts,
                               size_t *ret_root, struct cf_err *err);
