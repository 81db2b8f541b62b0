/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The attestation agent's ttrpc service over one agent. Handlers run on the work pool. */
#include "attest-agent/agent.h"
#include "proto/rpc.h"

/* @ret is filled; @agent is borrowed and outlives the server. */
void aa_service_init(struct rpc_service *ret, struct agent *agent);
