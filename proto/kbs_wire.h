/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The KBS protocol, version 0.4.0, as bytes: what guest and key service send each other, both ways.
 * No I/O. Everything parsed is hostile; views and values in the structs borrow from the struct's own
 * root and live as long as it does.
 *
 *   POST auth    Request      → Challenge
 *   POST attest  Attestation  → {"token":"<jwt>"}
 *   GET resource/<repository>/<type>/<tag>  → a JWE (flattened) to the TEE key
 *
 * Source: Trustee, kbs/docs/kbs_attestation_protocol.md, and the crates kbs-types 0.18 and kbs_protocol.
 * "coffer-tpm" and its members are ours: PROTOCOL-tpm-evidence.md.
 */
#include "base/crypto.h"
#include "base/json.h"
#include "base/str.h"

#define KBS_VERSION        "0.4.0"
#define KBS_NONCE_SIZE     32u
#define KBS_MESSAGE_MAX    (2u << 20)  /* bytes of a Request, Challenge or Attestation */
#define KBS_RESOURCE_MAX   (16u << 20) /* bytes of a resource answer */
#define KBS_NONCE_TEXT_MAX (64u << 10) /* a nonce is compared as text, whatever is in it */
#define KBS_TEE_MAX        32u
#define KBS_URI_MAX        2048u

/* ---- Request ---- */

struct kbs_request {
	struct cf_json *root;
	struct cf_view version; /* whatever was sent: the server judges it */
	char *tee;              /* canonical name: aliases are mapped */
	unsigned hashes;        /* 1 << enum cf_hash_alg for each that was listed; 0: none listed */
	const struct cf_json *tpm; /* extra-params."coffer-tpm", an object, or NULL */
};

cf_must_use int kbs_request_parse(struct cf_view text, struct kbs_request *ret, struct cf_err *err);
void kbs_request_fini(struct kbs_request *r);
/* @tpm: the "coffer-tpm" object as JSON text, or empty. Lists sha256, sha384 and sha512. */
void kbs_request_print(const char *tee, struct cf_view tpm, struct cf_buf *ret);

/* ---- Challenge ---- */

struct kbs_challenge {
	struct cf_json *root;
	struct cf_view nonce;  /* text as sent; goes back unchanged */
	enum cf_hash_alg hash; /* selected, or SHA-384 */
	const struct cf_json *tpm;
};

/* -CF_INVALID_ARGUMENT: malformed, an empty nonce, or a hash that was selected and that we lack. */
cf_must_use int kbs_challenge_parse(struct cf_view text, struct kbs_challenge *ret,
                                    struct cf_err *err);
void kbs_challenge_fini(struct kbs_challenge *c);
/* @nonce: bytes. @tpm: JSON text or empty; without it extra-params is "". */
void kbs_challenge_print(struct cf_view nonce, struct cf_view tpm, struct cf_buf *ret);

/* ---- Attestation ---- */

struct kbs_attestation {
	struct cf_json *root;
	struct cf_view init_data; /* the TOML text; .data NULL: none was sent */
	const struct cf_json *runtime_data;
	struct cf_view nonce;
	const struct cf_json *tee_pubkey; /* an object; judge it with jwk_parse() */
	const struct cf_json *primary_evidence;
	struct cf_view additional_evidence; /* "" or a JSON text: tee name → evidence */
};

cf_must_use int kbs_attestation_parse(struct cf_view text, struct kbs_attestation *ret,
                                      struct cf_err *err);
void kbs_attestation_fini(struct kbs_attestation *a);

struct kbs_attestation_parts {
	struct cf_view init_data;           /* .data NULL: null is sent */
	struct cf_view nonce;               /* as in the Challenge */
	struct cf_view tee_pubkey;          /* JSON text */
	struct cf_view primary_evidence;    /* JSON text */
	struct cf_view additional_evidence; /* text; "" without devices */
};
void kbs_attestation_print(const struct kbs_attestation_parts *p, struct cf_buf *ret);

/* ---- runtime data → report data ---- */

/*
 * The text that evidence answers: JCS of {"additional-evidence","nonce","tee-pubkey"}; for the
 * evidence of an additional device (@is_primary false) the first member is left out. @tee_pubkey is
 * taken as received, so members that we do not know are covered too.
 */
cf_must_use int kbs_runtime_data(bool is_primary, struct cf_view additional_evidence,
                                 struct cf_view nonce, const struct cf_json *tee_pubkey,
                                 struct cf_buf *ret, struct cf_err *err);
/* Its digest: cf_hash_size(@alg) bytes. TEEs cut or pad it to their field. */
cf_must_use int kbs_report_data(enum cf_hash_alg alg, bool is_primary,
                                struct cf_view additional_evidence, struct cf_view nonce,
                                const struct cf_json *tee_pubkey, uint8_t out[CF_HASH_SIZE_MAX],
                                struct cf_err *err);

/* ---- token, errors, resources ---- */

/* {"token":"…"} → the token's text; the caller frees. */
cf_must_use int kbs_token_parse(struct cf_view text, char **ret, struct cf_err *err);
/*
 * How long a JWT lives, exp − iat in seconds, unverified; 0 when it does not say. A guest measures
 * that against its own monotonic time: its clock is the host's word.
 */
int64_t kbs_token_lifetime(const char *token);

/* The body of every failure: {"type":".../errors/<variant>","detail":"…"}. */
void kbs_error_print(const char *variant, const char *detail, struct cf_buf *ret);
/*
 * "<variant>: <detail>" for a person, cut to a line; what is no error object is quoted in part. The
 * caller frees.
 */
char *kbs_error_text(struct cf_view body);

struct kbs_uri {
	char *plugin; /* "resource" for kbs:// */
	char *path;   /* "default/key/1" */
	char *query;  /* without "?", or NULL */
};
/*
 * kbs://[host[:port]]/<repository>/<type>/<tag>[?query], kbs+<plugin>://…/<path>; the host is not
 * looked at. Also the short forms "/r/t/n" and "r/t/n". A resource has exactly three parts; parts
 * are not empty, not "." or "..", and hold no control characters or backslashes.
 */
cf_must_use int kbs_uri_parse(struct cf_view text, struct kbs_uri *ret, struct cf_err *err);
void kbs_uri_fini(struct kbs_uri *u);

/*
 * What a resource policy sees as `data` beside a token's claims: {"plugin": "resource",
 * "resource-path": […], "query": {…}}. @path: "repository/type/tag"; @query_json: an object, or empty.
 */
void kbs_policy_data(const char *path, struct cf_view query_json, struct cf_buf *out);
