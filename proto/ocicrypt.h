/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Encrypted layers: the annotations that carry wrapped keys and the cipher of the blob. Annotations
 * are a stranger's until the blob's HMAC fits; the key packets are authenticated by whoever could
 * wrap them, which with a public key is everybody. Wire: proto/PROTOCOL-image.md.
 *
 * Schemes read and written: "jwe", and "provider.attestation-agent" with CoCo's packets (v1, v2).
 * PKCS#7, OpenPGP and PKCS#11 packets are named in the error when nothing else fits.
 */
#include "base/bytes.h"
#include "base/crypto.h"
#include "base/secret.h"
#include "proto/oci_manifest.h"

#define OCICRYPT_KEY_SIZE    32u
#define OCICRYPT_NONCE_SIZE  16u
#define OCICRYPT_HMAC_SIZE   32u
#define OCICRYPT_PACKETS_MAX 64u         /* comma-joined in one annotation */
#define OCICRYPT_VALUE_MAX   (1u << 20)  /* bytes of one annotation */
#define OCICRYPT_OPTIONS_MAX (64u << 10) /* bytes of private or public options */
#define OCICRYPT_KID_MAX     1024u

#define OCICRYPT_ANNOTATION_KEYS    "org.opencontainers.image.enc.keys."
#define OCICRYPT_ANNOTATION_PUBOPTS "org.opencontainers.image.enc.pubopts"
#define OCICRYPT_COCO_PROVIDER      "provider.attestation-agent"

/* What decrypts one layer. */
struct ocicrypt_options {
	struct cf_secret *key;              /* OCICRYPT_KEY_SIZE bytes */
	uint8_t nonce[OCICRYPT_NONCE_SIZE]; /* the first counter block */
	uint8_t hmac[OCICRYPT_HMAC_SIZE];   /* of the ciphertext, by @key */
	struct oci_digest plain_digest;     /* of the compressed plaintext blob, or unset */
};
void ocicrypt_options_fini(struct ocicrypt_options *o);

/* ---- unwrapping ---- */

struct ocicrypt_keys {
	const struct cf_pkey *const *pkeys; /* private keys for JWE, borrowed */
	size_t pkey_count;
	/*
	 * The @i-th key-encryption key that may stand for @kid ("kbs:///repository/type/tag"), owned by
	 * the caller. -CF_NOT_FOUND: there is no @i-th. NULL: there are none at all.
	 */
	int (*kek)(void *arg, const char *kid, size_t i, struct cf_secret **ret,
	           struct cf_err *err);
	void *arg;
};

/*
 * ocicrypt_unwrap() - find a packet of @layer that one of @keys opens
 *
 * Tries every packet of every scheme before it fails. A failure to get a key (KBS away, refused) is
 * handed on as it is when no other packet opens.
 * Return: 0; -CF_INVALID_ARGUMENT (annotations malformed or missing, unknown cipher);
 * -CF_PERMISSION_DENIED (no key opens it); -CF_UNIMPLEMENTED (only schemes we do not speak);
 * -CF_RESOURCE_EXHAUSTED; or what @keys->kek failed with.
 */
cf_must_use int ocicrypt_unwrap(const struct oci_descriptor *layer,
                                const struct ocicrypt_keys *keys, struct ocicrypt_options *ret,
                                struct cf_err *err);

/* Who can open a layer, without any key: for people to look at. */
struct ocicrypt_recipient_info {
	char *scheme; /* "jwe", "provider.attestation-agent", "pkcs7" … */
	char *key_id; /* kid of a CoCo packet; NULL when the packet names none */
};
struct ocicrypt_recipients {
	struct ocicrypt_recipient_info *items;
	size_t count;
	size_t cap;
};
void ocicrypt_list(const struct oci_descriptor *layer, struct ocicrypt_recipients *ret);
void ocicrypt_recipients_fini(struct ocicrypt_recipients *r);

/* "kbs:///a/b/c" from what writers put down: the same, kbs://host/a/b/c, /a/b/c, host/a/b/c. */
cf_must_use int ocicrypt_kid_normalise(struct cf_view kid, char **ret, struct cf_err *err);

/* ---- wrapping ---- */

struct ocicrypt_recipient {
	const struct cf_pkey *pkey; /* a JWE recipient, or NULL: a KEK */
	const char *kid;            /* KEK: where the guest finds it */
	struct cf_view kek;         /* KEK: 32 bytes */
};

/* A fresh key and nonce. Never use one for two layers. */
cf_must_use int ocicrypt_options_new(struct ocicrypt_options *ret, struct cf_err *err);
/* Sets the annotations; @o is complete (HMAC, plain digest). */
cf_must_use int ocicrypt_wrap(const struct ocicrypt_options *o, const struct ocicrypt_recipient *to,
                              size_t count, struct oci_pairs *annotations, struct cf_err *err);

/* ---- the blob ---- */

struct ocicrypt_stream; /* AES-256-CTR with HMAC-SHA-256 over the ciphertext */

cf_must_use int ocicrypt_stream_new(const struct ocicrypt_options *o, bool encrypt,
                                    struct ocicrypt_stream **ret, struct cf_err *err);
struct ocicrypt_stream *ocicrypt_stream_free(struct ocicrypt_stream *s);
CF_DEFINE_CLEANUP(struct ocicrypt_stream *, ocicrypt_stream_free);
/* @out takes in.size bytes. Decrypted bytes are not to be believed before _verify(). */
void ocicrypt_stream_apply(struct ocicrypt_stream *s, struct cf_view in, uint8_t *out);
/*
 * The end of a decryption: HMAC in constant time, then the digest of the plaintext where the options
 * name one. -CF_DATA_LOSS.
 */
cf_must_use int ocicrypt_stream_verify(struct ocicrypt_stream *s, struct cf_err *err);
/* The end of an encryption: fills HMAC and plain digest of @o. */
void ocicrypt_stream_seal(struct ocicrypt_stream *s, struct ocicrypt_options *o);
