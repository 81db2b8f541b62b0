/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A Rego policy as Kata's guests know it: one module, package agent_policy, asked before each request
 * as data.agent_policy.MESSAGE with the request as input. It may keep a state between requests
 * (data.pstate, changed by the patches that an answer carries). An answer that is not a clear yes is
 * a no; so is an error of the policy and a budget that ran out.
 *
 * The text comes from initdata; the requests are the host's.
 */
#include "base/bytes.h"
#include "proto/agent.pb-c.h"

#define GUEST_REGO_PACKAGE "data.agent_policy."

struct guest_rego;

/* -CF_INVALID_ARGUMENT: "policy.rego:LINE:COL: …". */
cf_must_use int guest_rego_new(struct cf_view text, struct guest_rego **ret, struct cf_err *err);
struct guest_rego *guest_rego_free(struct guest_rego *g);
CF_DEFINE_CLEANUP(struct guest_rego *, guest_rego_free);

/*
 * Return: 0, or -CF_PERMISSION_DENIED "MESSAGE is blocked by policy: " and what it printed, then
 * "policy.rego:LINE:COL: " and the expression that decided, without the values it saw.
 */
cf_must_use int guest_rego_judge(struct guest_rego *g, const ProtobufCMessage *request,
                                 struct cf_err *err);

/*
 * A request as the JSON that policies are written against (the peers' serialisation): field names as
 * in the .proto, `type` of mounts, devices and interfaces with a trailing underscore, unset messages
 * null, bytes and enumerations as numbers, maps as objects; CopyFile's data left out, its kind and a
 * link's target put in.
 */
void guest_request_json(const ProtobufCMessage *request, struct cf_buf *out);
