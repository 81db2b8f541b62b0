/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Initdata: found on a disk that the host made, bound to the machine's root of trust before anything
 * is served, and only then believed. Everything that decides about a workload comes from it alone:
 * the key service's address, certificates, every policy.
 *
 * Binding, by what the machine has:
 *   SEV-SNP, TDX  the digest must equal the field that the host gave at launch (HOST_DATA,
 *                 MRCONFIGID), read from a local report; a mismatch, or a field that is set while
 *                 there is no disk, is fatal;
 *   a TPM         PCR 8 is extended, exactly once, with the SHA-256 of the text, or of a fixed
 *                 text when there is none, so that nothing later can make the register look like
 *                 that of a guest which was given other initdata;
 *   neither       nothing to bind to: a development machine, said so in the log.
 */
#include "base/bytes.h"
#include "proto/initdata.h"
#include "vmm-glue/guest/guest_rego.h"
#include "vmm-glue/guest/native_policy.h"

struct guest_trust_opts {
	const char *disk;    /* a disk image or device; NULL: look at every virtio and SCSI disk */
	const char *tpm;     /* "/dev/tpm0"; NULL: none */
	const char *tsm;     /* configfs directory of TEE reports; NULL: none */
	const char *run_dir; /* gets initdata/{initdata.toml,aa.toml,cdh.toml} */
};

#define GUEST_TRUST_NONE 1 /* there is no (valid) initdata: serve Health alone, for good */

struct guest_policies {
	struct native_policy *native; /* policy.toml; the caller's; NULL when there is none */
	struct guest_rego *rego;      /* policy.rego; likewise */
};

/*
 * To be called once per boot. @ret is set in any case.
 * Return: 0; GUEST_TRUST_NONE (@err says why, for the log); negative: the machine must not go on.
 */
cf_must_use int guest_trust_bind(const struct guest_trust_opts *opts, struct guest_policies *ret,
                                 struct cf_err *err);

/* ---- parts, for tests ---- */

#define GUEST_REPORT_MAX 65536u
enum guest_tee {
	GUEST_TEE_SNP,
	GUEST_TEE_TDX,
};
/* The host-data field inside a report or quote. -CF_DATA_LOSS when it is too short. */
cf_must_use int guest_report_field(enum guest_tee tee, struct cf_view report, struct cf_view *ret,
                                   struct cf_err *err);
/* @digest may be empty: then the field must be all zero. -CF_UNAUTHENTICATED otherwise. */
cf_must_use int guest_report_check(struct cf_view field, struct cf_view digest, struct cf_err *err);
