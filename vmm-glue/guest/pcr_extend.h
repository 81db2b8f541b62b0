/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The one TPM command that coffer-init gives: TPM2_PCR_Extend of one PCR in its SHA-256 bank, as raw
 * bytes to the device, without a TSS.
 * Source: TCG TPM 2.0 Library, Part 3, TPM2_PCR_Extend.
 */
#include "base/bytes.h"

#define PCR_RESPONSE_MAX 4096u

/* Appends the command to @out. @pcr: 0–23. */
void pcr_extend_command(unsigned pcr, const uint8_t sha256[32], struct cf_buf *out);
/* -CF_ABORTED names the TPM's response code; -CF_DATA_LOSS: no well-formed response. */
cf_must_use int pcr_extend_response(struct cf_view in, struct cf_err *err);

/* Writes the command to @device ("/dev/tpm0") and reads the answer. -CF_NOT_FOUND: no device. */
cf_must_use int pcr_extend(const char *device, unsigned pcr, const uint8_t sha256[32],
                           struct cf_err *err);
