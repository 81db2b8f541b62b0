/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * From runtime data to report data: SHA-384 over the canonical JSON (RFC 8785) of
 * {"additional-evidence","nonce","tee-pubkey"}. All of it is the guest's word until the digest
 * stands in its evidence. Source: KBS protocol 0.4.0.
 */
#include "base/json.h"

#define RUNTIME_DIGEST_SIZE 48u

/*
 * @runtime: the Attestation's "runtime-data" as received; @additional: its "additional_evidence"
 * (a string, or NULL for ""). -CF_INVALID_ARGUMENT.
 */
cf_must_use int runtime_data_digest(const struct cf_json *runtime, const struct cf_json *additional,
                                    uint8_t ret[RUNTIME_DIGEST_SIZE], struct cf_err *err);
/*
 * The digest of runtime data in a file: an object is brought into canonical form (and gets an empty
 * "additional-evidence" when it has nonce and key but not that); anything else is hashed as it is.
 */
cf_must_use int runtime_data_digest_text(struct cf_view text, uint8_t ret[RUNTIME_DIGEST_SIZE],
                                         struct cf_err *err);
