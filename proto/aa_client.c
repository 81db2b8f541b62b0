/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/aa_client.h"

#include "proto/attestation_agent.pb-c.h"
#include "proto/ttrpc.h"

#define SERVICE         "attestation_agent.AttestationAgentService"
#define DIAL_TIMEOUT_MS 5000

struct aa_client {
	char *address;
	struct ttrpc_client *rpc; /* NULL: to be dialled */
};

struct aa_client *aa_client_new(const char *address)
{
	struct aa_client *c = cf_zalloc(sizeof(*c));

	c->address = cf_strdup(address ? address : AA_SOCKET);
	return c;
}

struct aa_client *aa_client_free(struct aa_client *c)
{
	if (!c)
		return NULL;
	ttrpc_client_free(c->rpc);
	free(c->address);
	free(c);
	return NULL;
}

static int dial(struct aa_client *c, struct cf_err *err)
{
	const struct ttrpc_client_opts opts = { .loop = NULL };

	if (c->rpc)
		return 0;
	int r = ttrpc_client_dial(c->address, DIAL_TIMEOUT_MS, &opts, &c->rpc, err);
	return r < 0 ? cf_wrap(err, r, "attestation agent") : 0;
}

/* A connection may have been lost while nobody used it: the second try is over a new one. */
static int call(struct aa_client *c, const struct ttrpc_req *req, ProtobufCMessage **ret,
                struct cf_err *err)
{
	int r = dial(c, err);

	if (r < 0)
		return r;
	r = ttrpc_call(c->rpc, req, ret, err);
	if (r != -CF_UNAVAILABLE)
		return r;
	c->rpc = ttrpc_client_free(c->rpc);
	r = dial(c, err);
	return r < 0 ? r : ttrpc_call(c->rpc, req, ret, err);
}

/* ---- token ---- */

static int get_token(struct aa_client *c, const char *type, struct kbs_token *ret,
                     struct cf_err *err)
{
	AttestationAgent__GetTokenRequest msg;
	cf_cleanup(cf_freep) char *copy = cf_strdup(type);
	const struct ttrpc_req req = {
		.service = SERVICE,
		.method = "GetToken",
		.msg = &msg.base,
		.out = &attestation_agent__get_token_response__descriptor,
		.timeout_ms = AA_TOKEN_TIMEOUT_MS,
	};
	AttestationAgent__GetTokenResponse *res = NULL;

	attestation_agent__get_token_request__init(&msg);
	msg.tokentype = copy;
	int r = call(c, &req, (ProtobufCMessage **)&res, err);
	if (r < 0)
		return r;
	r = kbs_token_read(cf_view(res->token.data, res->token.len), ret, err);
	explicit_bzero(res->token.data, res->token.len);
	attestation_agent__get_token_response__free_unpacked(res, NULL);
	return r;
}

/* The agent answers every failure with INTERNAL and says the rest in words, behind fixed ones. */
static int refused(struct cf_err *err)
{
	const char *text = cf_after(err->msg, "[ERROR:attestation-agent] ");
	cf_cleanup(cf_freep) char *copy = cf_strdup(text ? text : err->msg);
	const char *rest = cf_after(copy, "AA-KBC get token failed: ");

	return cf_fail(err, CF_UNAUTHENTICATED, "no attestation token: %s", rest ? rest : copy);
}

int aa_client_token(void *arg, bool renew, struct kbs_token *ret, struct cf_err *err)
{
	struct aa_client *c = arg;
	int r = get_token(c, renew ? "kbs+fresh" : "kbs", ret, err);

	if (renew && r == -CF_INTERNAL && strstr(err->msg, "kbs+fresh"))
		r = get_token(c, "kbs", ret, err);
	return r == -CF_INTERNAL ? refused(err) : r;
}

/* ---- measurement ---- */

int aa_client_measure(struct aa_client *c, const char *domain, const char *operation,
                      const char *content, enum aa_measured *ret, struct cf_err *err)
{
	AttestationAgent__ExtendRuntimeMeasurementRequest msg;
	cf_cleanup(cf_freep) char *d = cf_strdup(domain);
	cf_cleanup(cf_freep) char *o = cf_strdup(operation);
	cf_cleanup(cf_freep) char *t = cf_strdup(content);
	const struct ttrpc_req req = {
		.service = SERVICE,
		.method = "ExtendRuntimeMeasurement",
		.msg = &msg.base,
		.out = &attestation_agent__extend_runtime_measurement_response__descriptor,
		.timeout_ms = AA_MEASURE_TIMEOUT_MS,
	};
	AttestationAgent__ExtendRuntimeMeasurementResponse *res = NULL;

	attestation_agent__extend_runtime_measurement_request__init(&msg);
	msg.domain = d;
	msg.operation = o;
	msg.content = t;
	int r = call(c, &req, (ProtobufCMessage **)&res, err);
	if (r < 0)
		return cf_wrap(err, r, "run-time measurement");
	*ret = (enum aa_measured)res->result;
	attestation_agent__extend_runtime_measurement_response__free_unpacked(res, NULL);
	return 0;
}
