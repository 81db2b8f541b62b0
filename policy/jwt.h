/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * JSON web tokens, for the builtins of io.jwt: a token taken apart, the keys of an operand, and what
 * a signature algorithm asks of both. Tokens and keys are hostile. An algorithm is tried only with a
 * key of its kind; "none" is no algorithm.
 */
#include "base/crypto.h"
#include "policy/builtin.h"

#define JWT_NEST_MAX    8u          /* tokens in tokens */
#define JWT_KEYS_MAX    64u         /* keys of one operand */
#define JWT_VERIFY_COST (64u << 10) /* one signature, as bytes of work */

struct jwt {
	struct cf_view part[3]; /* header, payload, signature as written; borrowed */
	struct cf_view signed_part;
};

/* Each reports to @c when it fails. */
bool jwt_split(struct bcall *c, struct cf_view text, struct jwt *ret);
bool jwt_bytes(struct bcall *c, struct cf_view part, const char *what, struct cf_buf *ret);
const struct pv *jwt_json(struct bcall *c, struct cf_view part, const char *what);
bool jwt_is_nested(const struct pv *header);

struct jwt_alg {
	const char *name; /* "ES256" */
	bool is_hmac;
	enum cf_sig_scheme scheme;
	enum cf_hash_alg hash;
	int kind; /* enum cf_pkey_kind that it takes */
};
/* NULL: unknown. */
const struct jwt_alg *jwt_alg_find(const struct pv *name);

struct jwt_key {
	struct cf_pkey *key;
	const struct pv *alg, *kid; /* strings, or NULL */
};
struct jwt_keys {
	size_t count;
	struct jwt_key items[JWT_KEYS_MAX];
};
/* One PEM block (certificate or public key) and nothing behind it, a JWK, or a set of them. */
bool jwt_keys_read(struct bcall *c, struct cf_view text, struct jwt_keys *ret);
void jwt_keys_fini(struct jwt_keys *k);
/*
 * The key of the header's kid if there is one; else each key that has no alg, or the header's. Does
 * the signature hold under one of them?
 */
bool jwt_keys_verify(struct bcall *c, const struct jwt_keys *keys, const struct jwt_alg *alg,
                     const struct pv *header, const struct jwt *t, struct cf_view signature);
