/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * An SEV-SNP attestation report, 1184 bytes, and its JSON form as the peers send it (every byte array
 * an array of numbers), which is encoded back before its signature can be checked. Hostile input;
 * parsing proves nothing.
 *
 * Source: AMD SEV-SNP Firmware ABI 56860, table "ATTESTATION_REPORT"; JSON: crate sev.
 */
#include "base/bytes.h"
#include "base/json.h"

#define SNP_REPORT_SIZE 1184u
#define SNP_SIGNED_SIZE 0x2a0u
#define SNP_SIG_PART    72u /* r and s each, little-endian */

enum snp_generation {
	SNP_MILAN,
	SNP_GENOA,
	SNP_TURIN,
	SNP_UNKNOWN,
};

struct snp_tcb {
	uint8_t fmc, bootloader, tee, snp, microcode;
};

struct snp_report { /* views borrow from the raw bytes */
	struct cf_view raw;
	uint32_t version, guest_svn, vmpl, sig_algo;
	uint64_t policy, plat_info;
	struct cf_view report_data, measurement, host_data, chip_id;
	uint8_t cpu_family, cpu_model; /* zero below version 3 */
	enum snp_generation generation;
	struct snp_tcb reported_tcb;
};

/* -CF_INVALID_ARGUMENT: another size. */
cf_must_use int snp_report_parse(struct cf_view raw, struct snp_report *ret, struct cf_err *err);
/* Encodes the JSON form; exactly SNP_REPORT_SIZE bytes are appended. -CF_INVALID_ARGUMENT. */
cf_must_use int snp_report_encode(const struct cf_json *obj, struct cf_buf *ret,
                                  struct cf_err *err);
/* r ‖ s, big-endian, 48 bytes each. -CF_INVALID_ARGUMENT when the upper bytes are not zero. */
cf_must_use int snp_report_signature(const struct snp_report *r, uint8_t ret[96],
                                     struct cf_err *err);
/* An array of byte-sized numbers. -CF_INVALID_ARGUMENT; @size 0: any size up to the buffer's max. */
cf_must_use int snp_json_bytes(const struct cf_json *arr, size_t size, struct cf_buf *ret,
                               struct cf_err *err);
