/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Inside the TPM door: tpm.c, tpm_ek.c and tpm_quote.c share this. */
#include "attest-agent/tpm.h"

struct ESYS_CONTEXT;
struct TSS2_TCTI_OPAQUE_CONTEXT_BLOB;

struct aa_tpm {
	struct ESYS_CONTEXT *esys;
	struct TSS2_TCTI_OPAQUE_CONTEXT_BLOB *tcti;
	enum aa_tpm_ak ak_kind;
	uint32_t ak; /* ESYS_TR; 0xfff is none */
	struct cf_buf ak_tpm2b, ak_spki;
	uint32_t ek_index; /* NV index of the certificate that fitted; 0: none yet */
	/*
	 * Making an endorsement key takes a TPM a second or two, so what never changes is kept, and
	 * the key itself from the moment it was found until the activation that follows.
	 */
	struct aa_tpm_ek known;
	uint32_t ek; /* ESYS_TR; 0xfff is none */
};

/* "what: text of the response code". */
int aa_tpm_fail(struct cf_err *err, uint32_t rc, const char *what);
/* TPM2B_PUBLIC as bytes, and the key in it. @pub: a TPM2B_PUBLIC of tss2. */
cf_must_use int aa_tpm_public_bytes(const void *pub, struct cf_buf *ret, struct cf_err *err);
cf_must_use int aa_tpm_public_key(struct cf_view tpm2b, struct cf_pkey **ret, struct cf_err *err);
/* Makes the EK of @index; the caller flushes *ret_tr. */
cf_must_use int aa_tpm_make_ek(struct aa_tpm *t, uint32_t index, uint32_t *ret_tr,
                               struct cf_buf *ret_public, struct cf_err *err);
/* True: its template wants a PolicySecret(endorsement) session; else the empty password. */
bool aa_tpm_ek_wants_policy(uint32_t index);
/* As aa_tpm_ek(), of this index alone. */
cf_must_use int aa_tpm_ek_at(struct aa_tpm *t, uint32_t index, struct aa_tpm_ek *ret,
                             struct cf_err *err);
void aa_tpm_flush(struct aa_tpm *t, uint32_t *tr); /* sets *tr to none */
