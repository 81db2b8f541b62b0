/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * TPM 2.0 structures as a verifier needs them: TPM2B_PUBLIC, TPMS_ATTEST of a quote, TPMT_SIGNATURE,
 * object names, and MakeCredential. No TPM is spoken to here. All input is hostile; parsing a
 * structure proves nothing about it.
 *
 * Source: TPM 2.0 Library, Part 2 (structures) and Part 1 (chapters "Names", "KDFs",
 * "Credential Protection").
 */
#include "base/bytes.h"
#include "base/crypto.h"

#define TPM2_PUBLIC_MAX    1024u
#define TPM2_ATTEST_MAX    2048u
#define TPM2_SIGNATURE_MAX 2048u
#define TPM2_NAME_SIZE     34u /* u16 algorithm, SHA-256 */
#define TPM2_CREDENTIAL    32u /* bytes of the secret that we put into a credential */

#define TPM2_ALG_RSA    0x0001u
#define TPM2_ALG_SHA256 0x000bu
#define TPM2_ALG_NULL   0x0010u
#define TPM2_ALG_RSASSA 0x0014u
#define TPM2_ALG_ECDSA  0x0018u
#define TPM2_ALG_ECC    0x0023u

#define TPM2_CURVE_P256 0x0003u
#define TPM2_CURVE_P384 0x0004u

/* TPMA_OBJECT */
#define TPM2_OBJ_FIXED_TPM             (1u << 1)
#define TPM2_OBJ_ST_CLEAR              (1u << 2)
#define TPM2_OBJ_FIXED_PARENT          (1u << 4)
#define TPM2_OBJ_SENSITIVE_DATA_ORIGIN (1u << 5)
#define TPM2_OBJ_USER_WITH_AUTH        (1u << 6)
#define TPM2_OBJ_NO_DA                 (1u << 10)
#define TPM2_OBJ_RESTRICTED            (1u << 16)
#define TPM2_OBJ_DECRYPT               (1u << 17)
#define TPM2_OBJ_SIGN                  (1u << 18)

/* ---- public areas ---- */

struct tpm2_public {
	struct cf_view tpmt; /* the TPMT_PUBLIC inside: what the name is made of */
	uint16_t type;       /* TPM2_ALG_RSA or TPM2_ALG_ECC */
	uint16_t name_alg;
	uint32_t attributes; /* TPM2_OBJ_* */
	struct cf_view auth_policy;
	uint16_t symmetric;   /* TPM2_ALG_NULL: none */
	uint16_t kdf;         /* ECC; TPM2_ALG_NULL: none */
	uint16_t scheme;      /* TPM2_ALG_NULL: none */
	uint16_t scheme_hash; /* 0 where the scheme has none */
	uint16_t key_bits;    /* RSA */
	uint32_t exponent;    /* RSA; 65537 where the structure says 0 */
	uint16_t curve;       /* ECC */
	struct cf_view x;     /* RSA: the modulus */
	struct cf_view y;     /* ECC only */
};

/* @tpm2b: TPM2B_PUBLIC, nothing behind it. Views in @ret borrow from it. -CF_INVALID_ARGUMENT. */
cf_must_use int tpm2_public_parse(struct cf_view tpm2b, struct tpm2_public *ret,
                                  struct cf_err *err);
/* -CF_INVALID_ARGUMENT: a curve or size we do not take, a point that is not on its curve. */
cf_must_use int tpm2_public_key(const struct tpm2_public *pub, struct cf_pkey **ret,
                                struct cf_err *err);
/* 000b ‖ SHA-256(TPMT_PUBLIC). -CF_INVALID_ARGUMENT when nameAlg is another. */
cf_must_use int tpm2_name(const struct tpm2_public *pub, uint8_t ret[TPM2_NAME_SIZE],
                          struct cf_err *err);
/*
 * Is this a key that can only sign what the TPM itself made, and that never leaves it? fixedTPM,
 * fixedParent, sensitiveDataOrigin, userWithAuth, restricted, sign set, noDA as it likes, nothing else
 * set; no authPolicy; SHA-256 name; RSASSA-SHA256 with ≥ 2048 bits or ECDSA-SHA256 on P-256.
 * Return: 0, -CF_PERMISSION_DENIED with the first rule broken.
 */
cf_must_use int tpm2_check_attestation_key(const struct tpm2_public *pub, struct cf_err *err);

/* ---- quotes ---- */

struct tpm2_quote {
	struct cf_view qualified_signer;
	struct cf_view extra_data;
	uint64_t clock_ms;
	uint32_t reset_count;
	uint32_t restart_count;
	bool is_safe;
	uint64_t firmware_version;
	uint32_t pcr_mask; /* bit n: PCR n is in the one SHA-256 selection */
	struct cf_view pcr_digest;
};

/*
 * TPMS_ATTEST of type quote with exactly one selection, of the SHA-256 bank: with several, or
 * another bank, the digest would say nothing about the values beside it.
 * Return: 0, -CF_INVALID_ARGUMENT.
 */
cf_must_use int tpm2_quote_parse(struct cf_view attest, struct tpm2_quote *ret, struct cf_err *err);

struct tpm2_signature {
	uint16_t alg;     /* TPM2_ALG_RSASSA or TPM2_ALG_ECDSA */
	uint16_t hash;    /* TPM2_ALG_SHA256 */
	struct cf_view r; /* RSASSA: the signature */
	struct cf_view s; /* ECDSA only */
};

/* Return: 0, -CF_INVALID_ARGUMENT (also any other scheme or hash). */
cf_must_use int tpm2_signature_parse(struct cf_view tpmt, struct tpm2_signature *ret,
                                     struct cf_err *err);
/* Return: 0, -CF_PERMISSION_DENIED (wrong signature), -CF_INVALID_ARGUMENT (malformed, other key kind). */
cf_must_use int tpm2_signature_verify(const struct cf_pkey *key, struct cf_view message,
                                      struct cf_view tpmt_signature, struct cf_err *err);

/* ---- credentials ---- */

/**
 * tpm2_make_credential() - encrypt to an endorsement key so that only its TPM can open, and only for @name
 * @ek:         RSA 2048, P-256 or P-384; hash and cipher follow from it
 * @name:       name of the attestation key
 * @credential: the secret, at most 32 bytes
 * @ret_blob:   TPM2B_ID_OBJECT is appended
 * @ret_secret: TPM2B_ENCRYPTED_SECRET is appended
 *
 * Return: 0, -CF_INVALID_ARGUMENT (another kind of key), -CF_INTERNAL.
 */
cf_must_use int tpm2_make_credential(const struct cf_pkey *ek, struct cf_view name,
                                     struct cf_view credential, struct cf_buf *ret_blob,
                                     struct cf_buf *ret_secret, struct cf_err *err);

/* Part 1 "KDFa": HMAC in counter mode; @size bytes. @u and @v may be empty. */
void tpm2_kdfa(enum cf_hash_alg hash, struct cf_view key, const char *label, struct cf_view u,
               struct cf_view v, uint8_t *out, size_t size);
/* Part 1 "KDFe": from an ECDH secret and the two x coordinates. */
void tpm2_kdfe(enum cf_hash_alg hash, struct cf_view z, const char *label, struct cf_view u,
               struct cf_view v, uint8_t *out, size_t size);
