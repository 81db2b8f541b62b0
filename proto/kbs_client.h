/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A client of a key broker service: attests when it must, fetches resources, decrypts them to the
 * TEE key. It blocks; it belongs to one thread at a time. What the server sends is hostile until TLS
 * or decryption to our own key says otherwise.
 *
 * Where tokens come from is the caller's: attestd makes evidence (kbs_attest()), imaged asks attestd
 * (kbs_client with a token source). Freshness of evidence comes from the server's nonce and a token's
 * age is measured against monotonic time, so the wall clock does not matter here.
 *
 * Source: guest-components, attestation-agent/kbs_protocol. Errors name server, resource and reason.
 */
#include "base/crypto.h"
#include "base/http.h"
#include "proto/kbs_wire.h"

#define KBS_HTTP_TIMEOUT_MS 45000u /* one exchange; callers of attestd give up after 50 s */
#define KBS_ROUNDS_MAX      3u     /* a 401 makes us fetch a new token this often */
#define KBS_TRIES_MAX       4u     /* of an exchange that the network or a busy server cut short */
#define KBS_BACKOFF_MS      200u   /* before the second try, doubled each time */
#define KBS_TOKEN_MARGIN_S  60     /* a token is used until so long before its end */

/* ---- the server ---- */

struct kbs_server_config { /* borrowed for the call */
	const char *url;   /* http(s)://host[:port][/prefix], with or without a slash at the end */
	struct cf_view ca_pem; /* the only trust anchors when given; empty: the system's */
	/* The clock is not to be believed: validity periods of pinned certificates do not count. */
	bool clock_untrusted;
	unsigned timeout_ms; /* 0: KBS_HTTP_TIMEOUT_MS */
	int cancel_fd;       /* as in struct cf_http_request */
};

struct kbs_server; /* an HTTP client and a base URL */

/* -CF_INVALID_ARGUMENT: no such URL, or no certificate in @ca_pem. */
cf_must_use int kbs_server_new(const struct kbs_server_config *config, struct kbs_server **ret,
                               struct cf_err *err);
struct kbs_server *kbs_server_free(struct kbs_server *s);
CF_DEFINE_CLEANUP(struct kbs_server *, kbs_server_free);

/* ---- the handshake ---- */

enum kbs_tee_key {
	KBS_KEY_P256, /* ECDH-ES+A256KW: the default */
	KBS_KEY_P521,
	KBS_KEY_RSA, /* RSA-OAEP-256, 3072 bits */
};
/* "ECDH-ES+A256KW-P256", "ECDH-ES+A256KW-P521", "RSA-OAEP-256". -CF_INVALID_ARGUMENT. */
cf_must_use int kbs_tee_key_parse(const char *name, enum kbs_tee_key *ret, struct cf_err *err);

/* Who makes the evidence. Callbacks run on the caller's thread. */
struct kbs_evidence_source {
	const char *tee; /* "tpm", "sample" */
	void *arg;
	/* "coffer-tpm" of the Request as JSON text; may leave @ret empty. NULL: nothing to send. */
	int (*binding)(void *arg, struct cf_buf *ret, struct cf_err *err);
	/*
	 * Evidence as JSON text over @report_data, the whole digest. @tpm: "coffer-tpm" of the
	 * Challenge, or NULL.
	 */
	int (*evidence)(void *arg, struct cf_view report_data, const struct cf_json *tpm,
	                struct cf_buf *ret, struct cf_err *err);
	struct cf_view init_data; /* .data NULL: none */
};

struct kbs_token {
	char *text;          /* JWT; wiped when freed */
	struct cf_pkey *key; /* the TEE's private key that the token names */
	int64_t expires_ms;  /* monotonic; 0: unknown */
};
void kbs_token_fini(struct kbs_token *t);
/* Worth using for another KBS_TOKEN_MARGIN_S. */
bool kbs_token_is_fresh(const struct kbs_token *t);

/*
 * Request, Challenge, Attestation with a fresh TEE key; gives the token.
 * Return: 0, -CF_UNAUTHENTICATED (the server judged the evidence and refused; its words are in the
 * message), -CF_UNAVAILABLE, -CF_PERMISSION_DENIED (TLS), -CF_INVALID_ARGUMENT (not a KBS answer), or
 * what a callback returned.
 */
cf_must_use int kbs_attest(struct kbs_server *s, const struct kbs_evidence_source *source,
                           enum kbs_tee_key key, struct kbs_token *ret, struct cf_err *err);

/* ---- resources ---- */

/*
 * Gives a token. @renew: the one before was refused. The client owns @ret (initialised, empty).
 */
typedef int kbs_token_fn(void *arg, bool renew, struct kbs_token *ret, struct cf_err *err);

struct kbs_client;

/* @server: borrowed; outlives the client. */
struct kbs_client *kbs_client_new(struct kbs_server *server, kbs_token_fn *get_token, void *arg);
struct kbs_client *kbs_client_free(struct kbs_client *c);
CF_DEFINE_CLEANUP(struct kbs_client *, kbs_client_free);

/*
 * Fetches and decrypts one resource; appends to @ret (wipe it).
 * @uri: as kbs_uri_parse().
 * Return: 0; -CF_NOT_FOUND; -CF_PERMISSION_DENIED (refused by policy, or every token was);
 * -CF_UNAUTHENTICATED (from the token source); -CF_DATA_LOSS (does not decrypt);
 * -CF_UNAVAILABLE; -CF_INVALID_ARGUMENT (URI, or not a KBS answer).
 */
cf_must_use int kbs_client_get(struct kbs_client *c, struct cf_view uri, struct cf_buf *ret,
                               struct cf_err *err);

/* ---- what attestd hands to its callers: {"token":"…","tee_keypair":"<PEM>"} ---- */

cf_must_use int kbs_token_print(const struct kbs_token *t, struct cf_buf *ret, struct cf_err *err);
cf_must_use int kbs_token_read(struct cf_view text, struct kbs_token *ret, struct cf_err *err);
