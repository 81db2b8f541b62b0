/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Binding a TPM's attestation key to a certified endorsement key: configured roots, the check of the
 * EK certificate, and the credential that only the certified TPM can open, for that key only.
 * What the guest sends in its request is hostile. Wire: proto/PROTOCOL-tpm-evidence.md.
 */
#include "base/crypto.h"
#include "base/json.h"
#include "base/str.h"
#include "proto/tpm2.h"

#define TPM_ROOTS_MAX   64u
#define TPM_EK_CERT_MAX 4096u
#define TPM_CHAIN_MAX   8u

/* What a root's owner says about the TPMs below it: without it a genuine TPM proves nothing. */
enum tpm_root_kind {
	TPM_ROOT_OPERATOR_VTPM, /* vTPMs of an operator whom the owner trusts */
	TPM_ROOT_EK_ALLOW,      /* loose chips: only the listed endorsement keys */
	TPM_ROOT_SOFTWARE,      /* software TPM, memory not encrypted */
};
const char *tpm_root_kind_name(enum tpm_root_kind k); /* "operator_vtpm", … */
/* -CF_INVALID_ARGUMENT. */
cf_must_use int tpm_root_kind_parse(struct cf_view text, enum tpm_root_kind *ret,
                                    struct cf_err *err);

struct tpm_root {
	struct cf_cert *cert;
	enum tpm_root_kind kind;
	struct cf_strv ek_allow; /* SHA-256 of an EK's SubjectPublicKeyInfo, hex */
	bool is_accepted;        /* software: the owner accepts this CA all the same */
	char *name;              /* the certificate's subject */
	char sha256[65];         /* of the certificate, hex */
};

struct tpm_roots {
	size_t count;
	struct tpm_root items[TPM_ROOTS_MAX];
	/* Intermediates that need not be sent. */
	size_t extra_count;
	struct cf_cert *extra[TPM_ROOTS_MAX];
};

struct tpm_roots *tpm_roots_free(struct tpm_roots *roots);
CF_DEFINE_CLEANUP(struct tpm_roots *, tpm_roots_free);
/*
 * Adds a CA certificate, PEM or DER. @ek_allow is copied.
 * -CF_INVALID_ARGUMENT (no certificate, ek_allow without a list), -CF_RESOURCE_EXHAUSTED.
 */
cf_must_use int tpm_roots_add(struct tpm_roots *roots, struct cf_view cert, enum tpm_root_kind kind,
                              const struct cf_strv *ek_allow, bool is_accepted, struct cf_err *err);

/* What a session remembers between request and evidence. */
struct tpm_binding {
	uint8_t credential[TPM2_CREDENTIAL];
	struct cf_buf ak; /* TPM2B_PUBLIC as sent */
	char ek_sha256[65];
	char root_sha256[65];
	char *root_name;
	enum tpm_root_kind kind;
	bool is_accepted;
};
void tpm_binding_fini(struct tpm_binding *b); /* wipes the credential */

/**
 * tpm_check_ek() - does this endorsement certificate end at a root, and is its TPM one of those meant?
 * @chain: certificates sent along
 * @now:   seconds since 1970; -1: validity times are not looked at
 *
 * Return: 0, -CF_PERMISSION_DENIED (unknown CA, expired, a CA itself, not an EK certificate, not
 * listed), -CF_INVALID_ARGUMENT (no certificate).
 */
cf_must_use int tpm_check_ek(const struct tpm_roots *roots, struct cf_view ek_cert,
                             const struct cf_view *chain, size_t chain_count, int64_t now,
                             struct cf_pkey **ret_ek, size_t *ret_root, char ek_sha256[65],
                             struct cf_err *err);

/**
 * tpm_bind() - judge "coffer-tpm" of a request and make the credential of its session
 * @request: the member's value
 * @answer:  the Challenge's "coffer-tpm" object is appended
 *
 * Return: 0 with @ret filled; as tpm_check_ek(), or -CF_PERMISSION_DENIED for the attestation key.
 */
cf_must_use int tpm_bind(const struct tpm_roots *roots, const struct cf_json *request, int64_t now,
                         struct tpm_binding *ret, struct cf_buf *answer, struct cf_err *err);
