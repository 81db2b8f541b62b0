/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The checks of an SNP report that SNP guests and Azure's vTPM guests share: from AMD's pinned root to
 * the report's signature, and that certificate and report speak of the same chip and firmware.
 */
#include "kbs/verifier.h"
#include "proto/snp_report.h"

struct snp_certs {
	struct cf_cert *leaf; /* VCEK or VLEK, borrowed */
	bool is_vlek;
};

/* False when a check refused; what hangs below it is then nobody's word. */
bool snp_check_report(const struct verify_input *in, const struct snp_report *r,
                      const struct snp_certs *certs, struct verdict *v);
/* Members of the claims object that both share. @as_text: numbers and booleans as strings. */
void snp_write_claims(const struct snp_report *r, bool as_text, struct cf_jw *w);
/* Rules over the reported TCB and policy bits, when reference values are given. */
void snp_appraise(const struct verify_input *in, const struct snp_report *r, const char *prefix,
                  struct verdict *v);
