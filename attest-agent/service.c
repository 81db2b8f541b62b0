/* SPDX-License-Identifier: Apache-2.0 */
#include "attest-agent/service.h"

#include "proto/attestation_agent.pb-c.h"

/* The peers' callers look for this at the start of a message. */
#define ERROR_PREFIX "[ERROR:attestation-agent] "

static void fail(struct rpc_call *call, const char *what, const struct cf_err *err)
{
	cf_log_warn("request failed", CF_F_STR("method", call->method),
	            CF_F_STR("code", cf_code_name(err->code)), CF_F_STR("error", err->msg));
	rpc_fail(call, CF_INTERNAL, ERROR_PREFIX "%s: %s", what, err->msg);
}

static void get_evidence(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const AttestationAgent__GetEvidenceRequest *req = (const void *)msg;
	AttestationAgent__GetEvidenceResponse res;
	struct cf_buf evidence = { 0 };
	struct cf_err err;

	attestation_agent__get_evidence_response__init(&res);
	if (agent_evidence(user, cf_view(req->runtimedata.data, req->runtimedata.len), &evidence,
	                   &err) < 0) {
		fail(call, "AA-Attester get evidence failed", &err);
	} else {
		res.evidence = (ProtobufCBinaryData){ evidence.size, evidence.data };
		rpc_reply(call, &res.base);
	}
	cf_buf_fini(&evidence);
}

/* No additional device is supported: the peers' answer for that is nothing. */
static void get_additional_evidence(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	AttestationAgent__GetEvidenceResponse res;

	attestation_agent__get_evidence_response__init(&res);
	(void)msg;
	(void)user;
	rpc_reply(call, &res.base);
}

static void get_token(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const AttestationAgent__GetTokenRequest *req = (const void *)msg;
	AttestationAgent__GetTokenResponse res;
	struct cf_buf token = { 0 };
	struct cf_err err;

	attestation_agent__get_token_response__init(&res);
	if (agent_token(user, req->tokentype, &token, &err) < 0) {
		fail(call, "AA-KBC get token failed", &err);
	} else {
		res.token = (ProtobufCBinaryData){ token.size, token.data };
		rpc_reply(call, &res.base);
	}
	cf_buf_wipe(&token);
}

static void extend(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const AttestationAgent__ExtendRuntimeMeasurementRequest *req = (const void *)msg;
	AttestationAgent__ExtendRuntimeMeasurementResponse res;
	bool has_reg =
		req->register_case ==
		ATTESTATION_AGENT__EXTEND_RUNTIME_MEASUREMENT_REQUEST__REGISTER_REGISTER_INDEX;
	int64_t reg = has_reg ? (int64_t)CF_MIN(req->registerindex, (uint64_t)INT32_MAX) : -1;
	enum agent_measured result;
	struct cf_err err;

	attestation_agent__extend_runtime_measurement_response__init(&res);
	if (agent_measure(user, req->domain, req->operation, req->content, reg, &result, &err) <
	    0) {
		fail(call, "AA-Attester extend runtime measurement failed", &err);
		return;
	}
	res.result = (AttestationAgent__RuntimeMeasurementResult)result;
	rpc_reply(call, &res.base);
}

static void get_tee_type(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	AttestationAgent__GetTeeTypeResponse res;
	cf_cleanup(cf_freep) char *tee = cf_strdup(agent_tee(user));

	attestation_agent__get_tee_type_response__init(&res);
	(void)msg;
	res.tee = tee;
	rpc_reply(call, &res.base);
}

static void get_additional_tees(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	AttestationAgent__GetAdditionalTeesResponse res;

	attestation_agent__get_additional_tees_response__init(&res);
	(void)msg;
	(void)user;
	rpc_reply(call, &res.base);
}

/* BindInitData has no row: the peers do not serve it, and here coffer-init alone binds. */
static const struct rpc_method methods[] = {
	{ "GetEvidence", &attestation_agent__get_evidence_request__descriptor,
	  &attestation_agent__get_evidence_response__descriptor, get_evidence, 0 },
	{ "GetAdditionalEvidence", &attestation_agent__get_additional_evidence_request__descriptor,
	  &attestation_agent__get_evidence_response__descriptor, get_additional_evidence,
	  RPC_INLINE },
	{ "GetToken", &attestation_agent__get_token_request__descriptor,
	  &attestation_agent__get_token_response__descriptor, get_token, 0 },
	{ "ExtendRuntimeMeasurement",
	  &attestation_agent__extend_runtime_measurement_request__descriptor,
	  &attestation_agent__extend_runtime_measurement_response__descriptor, extend, 0 },
	{ "GetTeeType", &attestation_agent__get_tee_type_request__descriptor,
	  &attestation_agent__get_tee_type_response__descriptor, get_tee_type, RPC_INLINE },
	{ "GetAdditionalTees", &attestation_agent__get_additional_tees_request__descriptor,
	  &attestation_agent__get_additional_tees_response__descriptor, get_additional_tees,
	  RPC_INLINE },
};

void aa_service_init(struct rpc_service *ret, struct agent *agent)
{
	*ret = (struct rpc_service){
		.name = "attestation_agent.AttestationAgentService",
		.methods = methods,
		.method_count = CF_ARRAY_LEN(methods),
		.user = agent,
	};
}
