/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * PCR prediction: the SHA-256 registers of a measured boot, computed from files before anything
 * boots. Serves QEMU's direct kernel boot (q35, -kernel -initrd -append) through OVMF with a TPM:
 *
 *   PCR 0  firmware volumes: not computable from the firmware file (its early code runs from a copy
 *          that it changes), so looked up in a table of firmware digest × vCPUs × memory
 *   PCR 2  option ROMs: none, i.e. the separator alone
 *   PCR 4  the kernel's Authenticode digest *after* QEMU patched its setup header (which holds the
 *          initrd's address and size, so memory and initrd size go in), the action of the boot
 *          manager, the separator
 *   PCR 8  the initdata's digest, extended once by the guest's init; "no initdata" without
 *   PCR 9  the command line as UTF-16LE with its NUL, then the initrd
 *
 * Verified against QEMU 7.2 and 10.0 with OVMF 2022.11.
 */
#include "base/bytes.h"

#define PCR_SIZE             32u
#define PCR_KERNEL_SIZE_MAX  (256u << 20)
#define PCR_CMDLINE_SIZE_MAX (64u << 10)
#define PCR_NO_INITDATA      "no initdata"
/* What OVMF appends to the command line when there is an initrd. */
#define PCR_INITRD_ARGUMENT " initrd=initrd"

struct pcr_boot {
	struct cf_view kernel; /* bzImage with an EFI stub */
	bool has_initrd;
	uint64_t initrd_size;
	uint8_t initrd_sha256[32];
	const char *cmdline; /* as given to QEMU */
	uint64_t memory_bytes;
	uint32_t vcpus;
	uint8_t firmware_sha256[32]; /* of the code image (OVMF_CODE*.fd); zero: not known */
	struct cf_view initdata;     /* text; data NULL: none given to the guest */
};

struct pcr_values {
	uint32_t known; /* bit n: pcr[n] was computed */
	uint8_t pcr[24][PCR_SIZE];
	uint8_t kernel_authenticode[32]; /* as measured, i.e. patched */
	uint8_t cmdline_sha256[32];      /* of the UTF-16LE form */
};

/* Return: 0, -CF_INVALID_ARGUMENT (the kernel is no PE/COFF bzImage, …), -CF_RESOURCE_EXHAUSTED. */
cf_must_use int pcr_predict(const struct pcr_boot *boot, struct pcr_values *ret,
                            struct cf_err *err);

/* SHA-256 of what PCR 9's first event measures. @cmdline: as /proc/cmdline shows it in the guest. */
cf_must_use int pcr_cmdline_digest(struct cf_view cmdline, uint8_t ret[32], struct cf_err *err);
/* PCR 8 after its one extend. @digest: 32 bytes. */
void pcr_initdata_register(const uint8_t digest[32], uint8_t ret[PCR_SIZE]);
/* The same from the text; .data NULL: no initdata. */
void pcr_initdata_text_register(struct cf_view text, uint8_t ret[PCR_SIZE]);
/* Authenticode digest of a PE/COFF image (what UEFI measures when it loads one). */
cf_must_use int pcr_authenticode(struct cf_view image, uint8_t ret[32], struct cf_err *err);

/* PCR 0 of a firmware shape that was measured before; -CF_NOT_FOUND. */
cf_must_use int pcr_firmware_register(const uint8_t firmware_sha256[32], uint32_t vcpus,
                                      uint64_t memory_bytes, uint8_t ret[PCR_SIZE],
                                      struct cf_err *err);
