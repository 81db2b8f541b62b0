/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The attestation part of the peers' api-server-rest: HTTP on a loopback address of the pod, for
 * workloads that want evidence about the guest they run in. Off unless configured. Any process of the
 * pod can ask, so what it asks is hostile, and the token with the TEE's private key is given out only
 * where the owner says so.
 *
 * GET /info · GET /aa/evidence?runtime_data=…[&encoding=base64] · GET /aa/additional-evidence ·
 * GET /aa/eventlog (ours) · POST /aa/aael · GET /aa/token?token_type=kbs (when given out)
 *
 * Source: guest-components, api-server-rest/src/router.rs.
 */
#include "attest-agent/agent.h"
#include "base/loop.h"
#include "base/work.h"

#define REST_BODY_MAX  (128u << 10) /* of POST /aa/aael */
#define REST_CONNS_MAX 64u

struct rest;

struct rest_opts { /* all borrowed; they outlive the server */
	struct cf_loop *loop;
	struct cf_work *work; /* its one thread makes the agent's calls */
	struct agent *agent;
	const char *address; /* "127.0.0.1:8006", "[::1]:8006"; loopback only; port 0: a free one */
	bool gives_token;
};

/* -CF_INVALID_ARGUMENT: no loopback address. Loop thread. */
cf_must_use int rest_new(const struct rest_opts *opts, struct rest **ret, struct cf_err *err);
/* Ends the pool first: its jobs look into this. The loop comes last. */
struct rest *rest_free(struct rest *r);
uint16_t rest_port(const struct rest *r);

/* The decoded value of @key in a query; false: absent, or badly encoded. Appends to @ret. */
bool rest_query(struct cf_view query, const char *key, struct cf_buf *ret);
