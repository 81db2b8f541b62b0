/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The agent: one attester, one key broker, the token. Calls block (TPM, network) and are made by one
 * thread at a time, which also makes concurrent token requests share one attestation.
 */
#include "attest-agent/attester.h"
#include "attest-agent/config.h"
#include "attest-agent/event_log.h"
#include "proto/initdata.h"

#define AA_RUNTIME_DATA_MAX (64u << 10) /* bytes of caller-chosen report data */

struct agent_opts {                  /* borrowed for agent_new() */
	const char *config_path;     /* or NULL */
	const char *initdata_path;   /* TOML text, or NULL */
	const char *initdata_digest; /* base64, when the text is not known; or NULL */
	const char *state_dir;       /* event log; NULL: /run/attestation-agent */
	const char *tee;             /* NULL: the first that is here */
	const char *tpm_device, *event_log, *cmdline; /* NULL: where they are on a real machine */
	/*
	 * A measured guest of our own: configuration from initdata alone, which must be there and must
	 * be what coffer-init bound; no environment, no kernel command line; the clock is not believed.
	 */
	bool is_guest;
};

struct agent;

/*
 * Reads the configuration, opens the TEE, checks the initdata against it.
 * Return: 0, -CF_NOT_FOUND (no TEE), -CF_PERMISSION_DENIED (initdata is not what the TEE holds, sample
 * not allowed), -CF_FAILED_PRECONDITION (a guest without initdata), -CF_INVALID_ARGUMENT.
 */
cf_must_use int agent_new(const struct agent_opts *opts, struct agent **ret, struct cf_err *err);
struct agent *agent_free(struct agent *a); /* wipes keys; NULL is fine; returns NULL */
CF_DEFINE_CLEANUP(struct agent *, agent_free);

const char *agent_tee(const struct agent *a);
enum cf_log_level agent_log_level(const struct agent *a);
const char *agent_kbs_url(const struct agent *a); /* or NULL */

/* Makes ahead what the first attestation needs; failures show then. For a worker, at the start. */
void agent_warm(struct agent *a);
/* Evidence over the caller's bytes: never with an activation, so it opens nothing at the KBS. */
cf_must_use int agent_evidence(struct agent *a, struct cf_view runtime_data, struct cf_buf *ret,
                               struct cf_err *err);
/*
 * @type: "kbs": {"token","tee_keypair"} from the cache or a new attestation; "kbs+fresh" (ours): always
 * a new attestation, for callers whose token was refused.
 * Return: as kbs_attest(); -CF_UNIMPLEMENTED (another type), -CF_FAILED_PRECONDITION (no KBS set).
 */
cf_must_use int agent_token(struct agent *a, const char *type, struct cf_buf *ret,
                            struct cf_err *err);

enum agent_measured {
	AGENT_MEASURED,
	AGENT_NOT_SUPPORTED,
	AGENT_NOT_ENABLED,
};
/* @reg -1: the configured register. */
cf_must_use int agent_measure(struct agent *a, const char *domain, const char *operation,
                              const char *content, int64_t reg, enum agent_measured *ret,
                              struct cf_err *err);
/* The event log as evidence carries it; empty when the TEE has none. */
cf_must_use int agent_event_log(struct agent *a, struct cf_buf *ret, struct cf_err *err);
/* Where REST is to be served, or NULL; whether it may give out tokens. */
const char *agent_rest(const struct agent *a);
bool agent_rest_gives_token(const struct agent *a);
/* One JSON object: what TEE is here and what it can show. */
cf_must_use int agent_show(struct agent *a, struct cf_buf *ret, struct cf_err *err);
