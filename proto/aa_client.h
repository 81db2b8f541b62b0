/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A client of the attestation agent, for programs of the same guest: the token for a kbs_client, and
 * run-time measurements. Dials when it is first needed and again when the agent went away. It blocks;
 * one thread at a time.
 */
#include "proto/kbs_client.h"

#define AA_SOCKET             "unix:///run/confidential-containers/attestation-agent/attestation-agent.sock"
#define AA_TOKEN_TIMEOUT_MS   50000 /* as the peers' callers */
#define AA_MEASURE_TIMEOUT_MS 10000

struct aa_client;

/* @address: as ttrpc dials; NULL: AA_SOCKET. Nothing is dialled yet. */
struct aa_client *aa_client_new(const char *address);
struct aa_client *aa_client_free(struct aa_client *c);
CF_DEFINE_CLEANUP(struct aa_client *, aa_client_free);

/*
 * A kbs_token_fn, @arg a struct aa_client: GetToken("kbs"); with @renew "kbs+fresh" of our own agent,
 * so that a token which the KBS refused does not come out of the agent's cache again (a peer's agent
 * has no cache and is asked for "kbs").
 * Return: 0, -CF_UNAUTHENTICATED (the agent says why it has no token), -CF_UNAVAILABLE (no agent),
 * -CF_DEADLINE_EXCEEDED, -CF_INVALID_ARGUMENT (not a token).
 */
int aa_client_token(void *arg, bool renew, struct kbs_token *ret, struct cf_err *err);

enum aa_measured {
	AA_MEASURED = 0,
	AA_NOT_SUPPORTED = 1, /* this TEE has no register for it */
	AA_NOT_ENABLED = 2,   /* the agent is not configured to */
};
/* ExtendRuntimeMeasurement in the agent's own register. @content: one line. */
cf_must_use int aa_client_measure(struct aa_client *c, const char *domain, const char *operation,
                                  const char *content, enum aa_measured *ret, struct cf_err *err);
