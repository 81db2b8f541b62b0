/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The attestation token: an EAR (EAT attestation result) as a JWS, signed with ES256. Issuing, and
 * judging tokens that come back, ours or another service's. Returned tokens are hostile until their
 * signature holds.
 *
 * Source: draft-ietf-rats-ear, the claims as Trustee's attestation service writes them.
 */
#include "base/crypto.h"
#include "base/json.h"
#include "base/str.h"
#include "kbs/verdict.h"

#define TOKEN_LEEWAY_S 60

struct token_signer {
	struct cf_pkey *key; /* P-256, private */
	int64_t life_s;
};

/* The key is made in @dir/token.key when absent (0600): tokens survive a restart. */
cf_must_use int token_signer_open(const char *dir, int64_t life_s, struct token_signer *ret,
                                  struct cf_err *err);
void token_signer_fini(struct token_signer *s);

struct token_subject {
	const struct verdict *verdict;
	const struct cf_json *runtime_data; /* of the Attestation */
	struct cf_view additional_evidence; /* its text */
	struct cf_view init_data_claims;    /* JSON object or "null" */
	const char *ref;                    /* of a denial's record, or NULL */
};
/* The claims of the evidence as they stand in the token, and as policies see them. */
void token_write_evidence(const struct token_subject *subject, struct cf_jw *w);
cf_must_use int token_issue(const struct token_signer *s, const struct token_subject *subject,
                            int64_t now, struct cf_buf *ret, struct cf_err *err);

struct token_trust {
	const struct token_signer *own; /* may be NULL */
	struct cf_cert *const *anchors; /* issuers of other services */
	size_t anchor_count;
};
/*
 * Signature by our own key, or by the header's "jwk" when its x5c chain ends at an anchor and holds
 * that very key; then the dates.
 * @ret_text: the claims' own text, appended; may be NULL
 * Return: 0 with the claims, -CF_UNAUTHENTICATED, -CF_INVALID_ARGUMENT (no token).
 */
cf_must_use int token_verify_text(const struct token_trust *trust, struct cf_view text, int64_t now,
                                  struct cf_json **ret, struct cf_buf *ret_text,
                                  struct cf_err *err);
cf_must_use int token_verify(const struct token_trust *trust, struct cf_view text, int64_t now,
                             struct cf_json **ret, struct cf_err *err);

/*
 * Is a header's "jwk" trusted? It must have an x5c, whose first certificate's key it is, and the chain
 * must end at one of the anchors. Return: 0 with the key, -CF_UNAUTHENTICATED.
 */
cf_must_use int token_jwk_trusted(const struct cf_json *jwk, struct cf_cert *const *anchors,
                                  size_t anchor_count, int64_t now, struct cf_pkey **ret,
                                  struct cf_err *err);

/* The guest's public key in a token's claims, wherever its issuer put it; NULL: none. */
const struct cf_json *token_tee_pubkey(const struct cf_json *claims);

/* Claims of initdata as policies see them: its [data], with aa.toml and cdh.toml as objects. */
cf_must_use int token_initdata_claims(struct cf_view text, struct cf_buf *ret, struct cf_err *err);
