/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * JSON Web Encryption to public keys: what ocicrypt's "jwe" recipients, KBS answers and sealed
 * secrets are made of. The text may be hostile.
 *
 * Read: compact, flattened and general JSON. Written: the same, with the protected header's bytes
 * fixed: compact JSON, members alg, enc, epk, kid in this order (KBS clients rebuild the header in
 * that order and use it as additional data, so another order would not open there).
 * Source: RFC 7516, RFC 7518 §4 and §5, RFC 8037 (X25519).
 */
#include "base/crypto.h"
#include "base/json.h"

#define JWE_TEXT_MAX       (16u << 20) /* bytes of one JWE */
#define JWE_RECIPIENTS_MAX 64u
#define JWE_PARTY_MAX      512u /* bytes of apu and of apv */

enum jwe_alg {
	JWE_RSA_OAEP, /* SHA-1, as ocicrypt writes it */
	JWE_RSA_OAEP_256,
	JWE_RSA1_5, /* reading only, and only with JWE_ALLOW_RSA1_5 */
	JWE_ECDH_ES,
	JWE_ECDH_ES_A128KW,
	JWE_ECDH_ES_A192KW,
	JWE_ECDH_ES_A256KW,
	JWE_ALG_COUNT,
};

enum jwe_enc {
	JWE_A128GCM,
	JWE_A192GCM,
	JWE_A256GCM,
	JWE_A128CBC_HS256,
	JWE_A192CBC_HS384,
	JWE_A256CBC_HS512,
	JWE_ENC_COUNT,
};

const char *jwe_alg_name(enum jwe_alg alg);
cf_must_use int jwe_alg_parse(struct cf_view name, enum jwe_alg *ret, struct cf_err *err);
const char *jwe_enc_name(enum jwe_enc enc);

enum jwe_form {
	JWE_COMPACT,
	JWE_FLATTENED, /* {"protected","encrypted_key","iv","ciphertext","tag"} */
	JWE_GENERAL, /* {"protected","recipients":[{"header","encrypted_key"}],"iv","ciphertext","tag"} */
};

struct jwe_recipient {
	enum jwe_alg alg;
	const struct cf_pkey *key; /* public key, borrowed */
	const char *kid;           /* or NULL */
};

/*
 * Encrypts @plain under a fresh key for every recipient and appends the JWE to @ret. COMPACT and
 * FLATTENED take exactly one recipient; JWE_ECDH_ES cannot be combined with others.
 * Return: 0, -CF_INVALID_ARGUMENT (key and algorithm do not fit), -CF_RESOURCE_EXHAUSTED.
 */
cf_must_use int jwe_seal(enum jwe_form form, enum jwe_enc enc, const struct jwe_recipient *to,
                         size_t count, struct cf_view plain, struct cf_buf *ret,
                         struct cf_err *err);

#define JWE_ALLOW_RSA1_5 1u /* a broken padding: only where a peer's old data demands it */
/*
 * When the tag does not fit, tries once more with the protected header written again in the order
 * alg, enc, rest sorted: servers exist that authenticate those bytes instead of the ones they sent.
 */
#define JWE_RETRY_REORDERED 2u

/*
 * Decrypts @text with whichever of @keys opens it and appends the plaintext to @plain (wipe it).
 * Return: 0; -CF_INVALID_ARGUMENT (malformed); -CF_NOT_FOUND (no recipient fits any of the keys);
 * -CF_DATA_LOSS (a key fits, but the content or the wrapped key does not authenticate);
 * -CF_UNIMPLEMENTED (an algorithm that we do not speak); -CF_RESOURCE_EXHAUSTED.
 */
cf_must_use int jwe_open(struct cf_view text, const struct cf_pkey *const *keys, size_t key_count,
                         unsigned flags, struct cf_buf *plain, struct cf_err *err);
