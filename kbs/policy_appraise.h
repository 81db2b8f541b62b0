/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* An uploaded attestation policy judges genuine evidence in place of the verifier's own appraisal. */
#include "kbs/policies.h"
#include "kbs/verdict.h"

/*
 * Asks @e and writes the trust vector, the extensions and a check "attestation-policy" into @v, whose
 * evidence is not refused. The verifier's measurements that were not approved become notes. A policy
 * that gives no usable answer makes the verdict a refusal: no verdict is no yes.
 * @input: what the policy sees: the evidence's claims, as they will stand in the token
 * @references: JSON object of the stored reference values
 */
void policy_appraise(const struct policy_entry *e, struct cf_view input, struct cf_view references,
                     struct verdict *v);
