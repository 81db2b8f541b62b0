/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The evidence of a TPM guest, decoded from its JSON: sizes and codings are checked here, meaning is
 * judged in verify_tpm.c. Wire: proto/PROTOCOL-tpm-evidence.md.
 */
#include "base/crypto.h"
#include "base/json.h"
#include "proto/tcg_log.h"
#include "proto/tpm2.h"

#define TPM_CMDLINE_MAX    (64u << 10)
#define TPM_ACTIVATION     32u
#define TPM_PCR_VALUE      32u
#define TPM_EVIDENCE_CHAIN 8u

struct tpm_evidence {
	struct cf_json *doc;   /* owner of the views below */
	struct cf_buf ak_spki; /* DER, exactly as it re-encodes */
	struct cf_pkey *ak;
	struct cf_buf signature; /* TPMT_SIGNATURE */
	struct cf_buf message;   /* TPMS_ATTEST */
	size_t value_count;
	uint8_t values[TCG_PCR_COUNT][TPM_PCR_VALUE];
	struct cf_buf ak_tpm2b;   /* empty: not sent */
	struct cf_buf event_log;  /* empty: not sent */
	struct cf_view cmdline;   /* .data NULL: not sent */
	struct cf_buf activation; /* empty: not sent */
	struct cf_buf ek_cert;    /* of a bundle made for offline use; empty: not sent */
	struct cf_buf ek_chain[TPM_EVIDENCE_CHAIN];
	size_t ek_chain_count;
};

/* Return: 0, -CF_INVALID_ARGUMENT naming the member, -CF_RESOURCE_EXHAUSTED. */
cf_must_use int tpm_evidence_parse(struct cf_view text, struct tpm_evidence *ret,
                                   struct cf_err *err);
void tpm_evidence_fini(struct tpm_evidence *ev);
