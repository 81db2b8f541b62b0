/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The TPM 2.0 of this machine: the door to tpm2-tss (ESYS). Endorsement key and certificate, an
 * attestation key, quotes, credential activation, PCRs. Commands block; one thread at a time.
 *
 * A TPM's answers are believed as far as a quote goes: whoever runs the TPM is judged by the
 * verifier, not here.
 */
#include "base/crypto.h"
#include "base/secret.h"

#define AA_TPM_DEVICE         "/dev/tpmrm0"
#define AA_TPM_PCR_COUNT      24u
#define AA_TPM_CERT_MAX       4096u /* bytes of an EK certificate */
#define AA_TPM_CHAIN_MAX      8u
#define AA_TPM_QUOTE_RETRIES  5 /* a PCR may move between quote and read */
#define AA_TPM_CREDENTIAL_MAX 64u

enum aa_tpm_ak {
	AA_TPM_AK_RSA, /* RSASSA-SHA256, 2048 bits: what every verifier takes */
	AA_TPM_AK_ECC, /* ECDSA-SHA256, P-256 */
};

struct aa_tpm;

/*
 * @device: "/dev/tpmrm0", "device:/dev/tpm0", or "swtpm:host=127.0.0.1,port=2321" for tests.
 * Return: 0, -CF_NOT_FOUND (no such device), -CF_UNAVAILABLE (it does not answer),
 * -CF_INVALID_ARGUMENT (another kind of address).
 */
cf_must_use int aa_tpm_open(const char *device, enum aa_tpm_ak ak, struct aa_tpm **ret,
                            struct cf_err *err);
struct aa_tpm *aa_tpm_close(struct aa_tpm *t); /* NULL is fine; returns NULL */
CF_DEFINE_CLEANUP(struct aa_tpm *, aa_tpm_close);

/* TPM2B_PUBLIC and SubjectPublicKeyInfo of the attestation key, made at the first call. Borrowed. */
cf_must_use int aa_tpm_ak_public(struct aa_tpm *t, struct cf_view *ret_tpm2b,
                                 struct cf_view *ret_spki, struct cf_err *err);

struct aa_tpm_ek {
	struct cf_buf cert; /* DER */
	struct cf_buf chain[AA_TPM_CHAIN_MAX];
	size_t chain_count;
};
void aa_tpm_ek_fini(struct aa_tpm_ek *ek);

#define AA_TPM_E_NO_EK 1 /* no index holds a certificate that belongs to this TPM's key */
/*
 * The endorsement certificate, of the first index whose certificate holds the key that this TPM makes
 * from the index's default template (RSA 2048, P-256, P-384).
 * Source: TCG EK Credential Profile 2.5, templates L-1, L-2, H-3.
 */
cf_must_use int aa_tpm_ek(struct aa_tpm *t, struct aa_tpm_ek *ret, struct cf_err *err);

struct aa_tpm_quote {
	struct cf_buf message;   /* TPMS_ATTEST */
	struct cf_buf signature; /* TPMT_SIGNATURE */
	uint8_t pcr[AA_TPM_PCR_COUNT][32];
};
void aa_tpm_quote_fini(struct aa_tpm_quote *q);
/*
 * A quote of all SHA-256 PCRs over @nonce (at most 32 bytes) with the values that it covers.
 * -CF_ABORTED when PCRs keep moving.
 */
cf_must_use int aa_tpm_quote(struct aa_tpm *t, struct cf_view nonce, struct aa_tpm_quote *ret,
                             struct cf_err *err);

/*
 * Opens a credential that was made for our EK and attestation key.
 * @blob: TPM2B_ID_OBJECT; @secret: TPM2B_ENCRYPTED_SECRET.
 * Return: 0, -CF_INVALID_ARGUMENT (malformed), -CF_PERMISSION_DENIED (not for us), -CF_FAILED_PRECONDITION
 * (aa_tpm_ek() found none).
 */
cf_must_use int aa_tpm_activate(struct aa_tpm *t, struct cf_view blob, struct cf_view secret,
                                struct cf_secret **ret, struct cf_err *err);

cf_must_use int aa_tpm_pcr_read(struct aa_tpm *t, unsigned pcr, uint8_t ret[32],
                                struct cf_err *err);
/* -CF_UNIMPLEMENTED when this locality may not extend that PCR. */
cf_must_use int aa_tpm_pcr_extend(struct aa_tpm *t, unsigned pcr, const uint8_t sha256[32],
                                  struct cf_err *err);
