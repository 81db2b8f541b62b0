/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * JSON Web Keys: RSA, EC (P-256, P-384, P-521) and OKP (Ed25519, X25519). The JSON may be hostile.
 * Symmetric keys ("oct") are refused: no wire of ours carries one.
 * Source: RFC 7517, RFC 7518 §6, RFC 7638, RFC 8037.
 */
#include "base/crypto.h"
#include "base/json.h"

#define JWK_RSA_BITS_MIN 2048u
#define JWK_RSA_BITS_MAX 8192u
#define JWK_TEXT_MAX     (64u << 10) /* bytes of one key as text */
#define JWK_SET_MAX      256u        /* keys in one set */

struct jwk {
	struct cf_pkey *key; /* public or private */
	char *alg;           /* member "alg", or NULL */
	char *kid;
	char *use;
};

/*
 * A key from its JSON object. Unknown members are ignored. RSA needs JWK_RSA_BITS_MIN bits; EC points
 * must lie on their curve, with coordinates of exactly the field's size.
 * Return: 0, -CF_INVALID_ARGUMENT, -CF_UNIMPLEMENTED (a kty or crv that we do not speak).
 */
cf_must_use int jwk_parse(const struct cf_json *obj, struct jwk **ret, struct cf_err *err);
cf_must_use int jwk_parse_text(struct cf_view text, struct jwk **ret, struct cf_err *err);
struct jwk *jwk_free(struct jwk *k); /* NULL is fine; returns NULL */
CF_DEFINE_CLEANUP(struct jwk *, jwk_free);

/* The key of @set ({"keys":[…]}) whose kid is @kid. Return: 0, -CF_NOT_FOUND, or as jwk_parse(). */
cf_must_use int jwk_set_find(const struct cf_json *set, struct cf_view kid, struct jwk **ret,
                             struct cf_err *err);

/*
 * Writes the public members into the object that is open in @w, in this order: kty, crv, @alg (when
 * not NULL), x, y for EC and OKP; kty, @alg, n, e for RSA. EC coordinates are padded to field size.
 */
cf_must_use int jwk_write_public(struct cf_jw *w, const struct cf_pkey *key, const char *alg,
                                 struct cf_err *err);
/* The public key as a whole object with its members sorted: the form of RFC 7638 and of "epk". */
cf_must_use int jwk_print_sorted(const struct cf_pkey *key, struct cf_buf *out, struct cf_err *err);
/* The private key as a whole object: jwk_write_public()'s members, kid when given, d. Wipe @out. */
cf_must_use int jwk_print_private(const struct cf_pkey *key, const char *alg, const char *kid,
                                  struct cf_buf *out, struct cf_err *err);
/* RFC 7638, SHA-256. */
cf_must_use int jwk_thumbprint(const struct cf_pkey *key, uint8_t out[32], struct cf_err *err);
