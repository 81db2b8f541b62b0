/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Cosign signatures in a registry: simple-signing payloads as layers of a manifest under the tag
 * "<alg>-<hex>.sig", or of a manifest that refers to the image; since cosign 3 sigstore bundles
 * (sig_bundle.h) in a manifest that refers to it. Everything here is a stranger's
 * until a key of the owner's verifies it.
 */
#include "base/crypto.h"
#include "proto/oci_source.h"

#define SIG_LAYERS_MAX    64u         /* signatures of one manifest */
#define SIG_PAYLOAD_MAX   (1u << 20)  /* bytes */
#define SIG_TEXT_MAX      (64u << 10) /* of the signature annotation */
#define SIG_REFERRERS_MAX 64u

#define SIG_MT_SIMPLESIGNING "application/vnd.dev.cosign.simplesigning.v1+json"
#define SIG_ARTIFACT_TYPE    "application/vnd.dev.cosign.artifact.sig.v1+json"
#define SIG_ANNOTATION       "dev.cosignproject.cosign/signature"
#define SIG_TYPE             "cosign container image signature"
#define SIG_TYPE_ATOMIC      "atomic container signature"

/* What a payload says. Views are borrowed from the bytes that were parsed. */
struct sig_payload {
	char *reference; /* critical.identity.docker-reference; NULL: a statement, which names none */
	struct oci_digest digest;
};
void sig_payload_fini(struct sig_payload *p);
/* -CF_INVALID_ARGUMENT: no simple-signing payload and no signed statement of a kind we know. */
cf_must_use int sig_payload_parse(struct cf_view signed_bytes, struct sig_payload *ret,
                                  struct cf_err *err);
/* The bytes cosign would sign. */
void sig_payload_write(const char *reference, const struct oci_digest *digest, struct cf_buf *ret);

/*
 * Does @signature (raw bytes) by @key stand over @payload? ECDSA (P-256, P-384, P-521; the curve's
 * hash or SHA-256), RSA (PKCS#1 v1.5 or PSS, SHA-256), Ed25519. -CF_PERMISSION_DENIED, or
 * -CF_INVALID_ARGUMENT for keys of other kinds.
 */
cf_must_use int sig_verify(const struct cf_pkey *key, struct cf_view payload,
                           struct cf_view signature, struct cf_err *err);
cf_must_use int sig_make(const struct cf_pkey *key, struct cf_view payload, struct cf_buf *ret,
                         struct cf_err *err);

/* One signature that was found: the bytes that it stands over, and the decoded signature. */
struct sig_found {
	struct cf_buf payload, signature;
};
struct sig_list {
	struct sig_found *items;
	size_t count, cap;
};
void sig_list_fini(struct sig_list *l);

/*
 * Collects the signatures beside @digest, well-formed ones only; their payloads match their
 * descriptors. None is success with an empty list.
 */
cf_must_use int sig_collect(struct oci_source *src, const struct oci_digest *digest,
                            struct sig_list *ret, struct cf_err *err);
