/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Attesters: one row per TEE, each turning report data into evidence. All calls block and are made
 * by one thread at a time.
 */
#include "base/crypto.h"
#include "base/json.h"
#include "base/secret.h"

#define ATTESTER_EVENT_LOG_MAX (1u << 20)  /* bytes; a larger log is refused, never cut */
#define ATTESTER_CMDLINE_MAX   (64u << 10) /* bytes */
#define ATTESTER_EVENT_LOG     "/sys/kernel/security/tpm0/binary_bios_measurements"
#define ATTESTER_CMDLINE       "/proc/cmdline"

struct attester_config {        /* borrowed; outlives the attester */
	const char *tpm_device; /* NULL: AA_TPM_DEVICE */
	bool tpm_ak_ecc;        /* an ECDSA P-256 attestation key instead of RSA 2048 */
	const char *event_log;  /* NULL: ATTESTER_EVENT_LOG; a missing file is an empty log */
	const char *cmdline;    /* NULL: ATTESTER_CMDLINE */
	const char *aael;       /* records of runtime events to append to the log, or NULL */
	bool allow_sample;
};

/* What the guest was given to be configured with, as its TEE may hold it. */
struct attester_initdata {
	struct cf_view text;   /* .data NULL: only the digest is known */
	struct cf_view digest; /* by the algorithm that the text names */
};

struct attester_ops {
	const char *tee; /* as in the KBS protocol */
	/* -CF_NOT_FOUND: this TEE is not here. */
	int (*open)(const struct attester_config *config, void **ret, struct cf_err *err);
	void (*close)(void *self);
	/* JSON text of "coffer-tpm" for the Request; leaves @ret empty when there is nothing. Or NULL. */
	int (*binding)(void *self, struct cf_buf *ret, struct cf_err *err);
	/* @challenge: "coffer-tpm" of the Challenge, or NULL when a caller chose the report data. */
	int (*evidence)(void *self, struct cf_view report_data, const struct cf_json *challenge,
	                struct cf_buf *ret, struct cf_err *err);
	/*
	 * Does the TEE's field hold this initdata? @may_bind: write it when the field is still zero.
	 * -CF_PERMISSION_DENIED: it holds something else. NULL: there is no such field.
	 */
	int (*check_initdata)(void *self, const struct attester_initdata *initdata, bool may_bind,
	                      struct cf_err *err);
	/* Runtime measurement registers; NULL: none. SHA-256 banks. */
	unsigned default_register;
	int (*read_register)(void *self, uint64_t reg, uint8_t ret[32], struct cf_err *err);
	/* -CF_UNIMPLEMENTED: not this register. */
	int (*extend)(void *self, uint64_t reg, const uint8_t digest[32], struct cf_err *err);
	/* The event log as evidence carries it. Or NULL. */
	int (*event_log)(void *self, struct cf_buf *ret, struct cf_err *err);
	/* Facts for `attest show`, written into the open object. Or NULL. */
	int (*describe)(void *self, struct cf_jw *w, struct cf_err *err);
};

struct attester {
	const struct attester_ops *ops;
	void *self;
};

/*
 * Opens the attester named @tee, or with NULL the first one that is here; sample only when allowed.
 * Return: 0, -CF_NOT_FOUND with what was looked for, -CF_PERMISSION_DENIED (sample not allowed).
 */
cf_must_use int attester_open(const char *tee, const struct attester_config *config,
                              struct attester *ret, struct cf_err *err);
void attester_close(struct attester *a);

extern const struct attester_ops attester_tpm;
extern const struct attester_ops attester_sample;
