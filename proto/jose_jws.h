/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * JSON Web Signatures, compact form, with public-key algorithms only. The text may be hostile: the
 * algorithm is checked against the caller's list *and* against the key's kind, so a token can choose
 * neither "none" nor HMAC nor another curve. Source: RFC 7515, RFC 7518 §3, RFC 8037.
 */
#include "base/crypto.h"
#include "base/json.h"

#define JWS_TEXT_MAX (1u << 20) /* bytes of one compact JWS */

enum jws_alg {
	JWS_ES256,
	JWS_ES384,
	JWS_ES512,
	JWS_RS256,
	JWS_RS384,
	JWS_RS512,
	JWS_PS256,
	JWS_PS384,
	JWS_PS512,
	JWS_EDDSA, /* Ed25519 */
	JWS_ALG_COUNT,
};
/* A set of algorithms, for jws_verify(). */
#define JWS_BIT(alg) (1u << (alg))
#define JWS_ANY      (JWS_BIT(JWS_ALG_COUNT) - 1)

const char *jws_alg_name(enum jws_alg alg);
/* -CF_INVALID_ARGUMENT for "none", HMAC and unknown names. */
cf_must_use int jws_alg_parse(struct cf_view name, enum jws_alg *ret, struct cf_err *err);
/* What a key of this kind signs with by default: ES256/384/512 by curve, RS256, EdDSA. */
cf_must_use int jws_alg_for_key(const struct cf_pkey *key, enum jws_alg *ret, struct cf_err *err);

struct jws {
	struct cf_json *header;
	enum jws_alg alg;
	struct cf_buf payload;     /* decoded; believe nothing in it before jws_verify() */
	struct cf_buf signature;   /* decoded */
	struct cf_buf signed_text; /* header.payload as sent */
};

/*
 * Takes a compact JWS apart. Nothing is verified. Headers with "crit" or with "b64":false are refused.
 * Return: 0, -CF_INVALID_ARGUMENT, -CF_RESOURCE_EXHAUSTED (over JWS_TEXT_MAX).
 */
cf_must_use int jws_parse(struct cf_view text, struct jws **ret, struct cf_err *err);
struct jws *jws_free(struct jws *j); /* NULL is fine; returns NULL */
CF_DEFINE_CLEANUP(struct jws *, jws_free);

/*
 * @allowed: JWS_BIT()s.
 * Return: 0, -CF_PERMISSION_DENIED (signature, or an algorithm that is not allowed),
 * -CF_INVALID_ARGUMENT (the key is of another kind than the algorithm wants, or RSA below 2048 bits).
 */
cf_must_use int jws_verify(const struct jws *j, const struct cf_pkey *key, unsigned allowed,
                           struct cf_err *err);

/*
 * Signs: @header is the protected header's exact JSON text and must name @alg itself (checked).
 * Appends header.payload.signature to @ret.
 */
cf_must_use int jws_sign(struct cf_view header, enum jws_alg alg, const struct cf_pkey *key,
                         struct cf_view payload, struct cf_buf *ret, struct cf_err *err);
