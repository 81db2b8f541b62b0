/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What sealing and opening of JWEs share: algorithm tables, key agreement, content encryption. */
#include "proto/jose_jwe.h"

enum jwe_family {
	JWE_FAMILY_RSA,
	JWE_FAMILY_ECDH,
};

struct jwe_alg_row {
	const char *name;
	enum jwe_family family;
	enum cf_rsa_padding padding; /* RSA */
	size_t kek_size; /* ECDH: bytes of the wrapping key; 0: the agreed key is the CEK */
};

struct jwe_enc_row {
	const char *name;
	size_t key_size; /* bytes of the CEK */
	size_t iv_size;
	size_t tag_size;
	bool is_gcm;
	enum cf_hash_alg mac; /* CBC-HMAC */
};

#define JWE_KEY_SIZE_MAX 64u

const struct jwe_alg_row *jwe_alg_row(enum jwe_alg alg);
const struct jwe_enc_row *jwe_enc_row(enum jwe_enc enc);
bool jwe_key_fits(enum jwe_alg alg, const struct cf_pkey *key);

/*
 * Concat KDF (RFC 7518 §4.6.2) over the shared secret of @own and @peer: @size bytes of key.
 * @id is the algorithm name that goes into it.
 */
cf_must_use int jwe_agree(const struct cf_pkey *own, const struct cf_pkey *peer, const char *id,
                          struct cf_view apu, struct cf_view apv, uint8_t *out, size_t size,
                          struct cf_err *err);

/* Content encryption; @tag has enc's tag size. */
cf_must_use int jwe_encrypt_content(const struct jwe_enc_row *enc, struct cf_view cek,
                                    struct cf_view iv, struct cf_view aad, struct cf_view plain,
                                    struct cf_buf *cipher, uint8_t *tag, struct cf_err *err);
/* -CF_DATA_LOSS when the tag does not fit. */
cf_must_use int jwe_decrypt_content(const struct jwe_enc_row *enc, struct cf_view cek,
                                    struct cf_view iv, struct cf_view aad, struct cf_view cipher,
                                    struct cf_view tag, struct cf_buf *plain, struct cf_err *err);
