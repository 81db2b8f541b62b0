/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Sigstore bundles as cosign 3 writes them: a DSSE envelope around an in-toto statement that names
 * the image's digest and nothing else. Made with a key; certificates and logs are not looked at.
 * A stranger's bytes until a key of the owner's verifies what sig_bundle_parse() gives.
 */
#include "proto/oci_ref.h"

#define SIG_MT_BUNDLE       "application/vnd.dev.sigstore.bundle.v0.3+json"
#define SIG_STATEMENT_TYPE  "application/vnd.in-toto+json"
#define SIG_SIGN_PREDICATE  "https://sigstore.dev/cosign/sign/v1"
#define SIG_BUNDLE_MAX      (1u << 20)  /* bytes */
#define SIG_BUNDLE_BODY_MAX (64u << 10) /* bytes of the statement */

/*
 * The bytes that were signed (DSSE's pre-authentication encoding) and the signature over them; both
 * are appended to. -CF_INVALID_ARGUMENT: no bundle of this kind, or not exactly one signature.
 * Source: sigstore protobuf-specs, sigstore_bundle.proto; secure-systems-lab/dsse protocol.md.
 */
cf_must_use int sig_bundle_parse(struct cf_view json, struct cf_buf *ret_signed,
                                 struct cf_buf *ret_signature, struct cf_err *err);

/* Whether signed bytes are such an encoding; a simple-signing payload never is. */
bool sig_is_statement(struct cf_view signed_bytes);
/*
 * The image that verified bytes speak of. -CF_INVALID_ARGUMENT: no statement, one that says something
 * else than that this image is signed (an attestation), or not about exactly one image.
 */
cf_must_use int sig_statement_parse(struct cf_view signed_bytes, struct oci_digest *ret,
                                    struct cf_err *err);
