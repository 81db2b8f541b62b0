/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-imaged/resource.h"

#include "base/fd.h"
#include "base/json.h"
#include "base/work.h"
#include "proto/aa_client.h"
#include "proto/attestation_agent.pb-c.h"
#include "proto/kbs_client.h"
#include "proto/ttrpc.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define AGENT_SERVICE "attestation_agent.AttestationAgentService"
#define DOMAIN        "github.com/confidential-containers"
#define DIAL_MS       1000
#define OFFLINE_MAX   (4u << 20)

struct resource {
	struct cf_work *worker; /* one thread: the broker's client belongs to it */
	char *agent, *kbs_url, *kbs_ca;
	struct cf_strv offline;
	struct kbs_server *server;
	struct kbs_client *client;
};

struct request {
	struct resource *res;
	const char *uri;
	struct cf_buf *ret;
	struct cf_err *err;
	int result;
	int done_fd;
};

/* ---- the attestation agent ---- */

static int call_agent(const struct resource *res, const char *method, const ProtobufCMessage *msg,
                      const ProtobufCMessageDescriptor *out, int64_t timeout_ms,
                      ProtobufCMessage **ret, struct cf_err *err)
{
	cf_cleanup(ttrpc_client_freep) struct ttrpc_client *client = NULL;
	struct ttrpc_client_opts opts = { 0 };
	struct ttrpc_req req = { .service = AGENT_SERVICE,
		                 .method = method,
		                 .msg = msg,
		                 .out = out,
		                 .timeout_ms = timeout_ms };
	int r = ttrpc_client_dial(res->agent, DIAL_MS, &opts, &client, err);

	if (r == 0)
		r = ttrpc_call(client, &req, ret, err);
	return r < 0 ? cf_wrap(err, r, "attestation agent") : 0;
}

/* The broker's client asks for a token; the agent attests when it must, and always for @renew. */
static int get_token(void *arg, bool renew, struct kbs_token *ret, struct cf_err *err)
{
	const struct resource *res = arg;
	cf_cleanup(aa_client_freep) struct aa_client *agent = aa_client_new(res->agent);

	return aa_client_token(agent, renew, ret, err);
}

int resource_extend(struct resource *res, const char *operation, const char *content,
                    bool *ret_noted, struct cf_err *err)
{
	AttestationAgent__ExtendRuntimeMeasurementRequest req =
		ATTESTATION_AGENT__EXTEND_RUNTIME_MEASUREMENT_REQUEST__INIT;
	AttestationAgent__ExtendRuntimeMeasurementResponse *resp = NULL;
	cf_cleanup(cf_freep) char *domain = cf_strdup(DOMAIN);
	cf_cleanup(cf_freep) char *op = cf_strdup(operation);
	cf_cleanup(cf_freep) char *text = cf_strdup(content);
	const char *path = cf_after(res->agent, "unix://");

	*ret_noted = false;
	if (path && access(path, F_OK) != 0)
		return 0;
	req.domain = domain;
	req.operation = op;
	req.content = text;
	int r = call_agent(res, "ExtendRuntimeMeasurement", &req.base,
	                   &attestation_agent__extend_runtime_measurement_response__descriptor,
	                   RESOURCE_EXTEND_MS, (ProtobufCMessage **)&resp, err);

	/* An agent that finds no TEE ends, and takes its socket along: as if it never was there. */
	if (r == -CF_UNAVAILABLE && path && access(path, F_OK) != 0)
		return 0;
	if (r < 0)
		return r;
	*ret_noted = resp->result == ATTESTATION_AGENT__RUNTIME_MEASUREMENT_RESULT__OK;
	attestation_agent__extend_runtime_measurement_response__free_unpacked(resp, NULL);
	return 0;
}

/* ---- files instead of a broker ---- */

/* Later files win. A file that is not there is no error: it is one of several usual places. */
static int get_offline(const struct resource *res, const char *uri, struct cf_buf *ret,
                       struct cf_err *err)
{
	const char *path = cf_after(uri, "kbs:///");

	for (size_t i = res->offline.count; path && i > 0; i--) {
		cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
		struct cf_buf text = { .max = OFFLINE_MAX };
		int r = 0;

		if (cf_read_file(res->offline.items[i - 1], OFFLINE_MAX, &text, NULL) == 0)
			r = cf_json_parse(cf_buf_view(&text), OFFLINE_MAX, &root, err);
		cf_buf_wipe(&text);
		if (r < 0)
			return cf_wrap(err, r, "%s", res->offline.items[i - 1]);
		if (cf_json_get(root, path))
			return cf_json_need_b64(root, path, CF_B64_STD, ret, err);
	}
	return cf_fail(err, CF_NOT_FOUND, "no resource %s", uri);
}

/* ---- the broker ---- */

static int connect_broker(struct resource *res, struct cf_err *err)
{
	struct kbs_server_config config = { .url = res->kbs_url,
		                            .ca_pem = cf_view_str(res->kbs_ca),
		                            .clock_untrusted = true };

	if (res->client)
		return 0;
	int r = kbs_server_new(&config, &res->server, err);

	if (r < 0)
		return r;
	res->client = kbs_client_new(res->server, get_token, res);
	return 0;
}

static int get(struct resource *res, const char *uri, struct cf_buf *ret, struct cf_err *err)
{
	if (res->offline.count > 0)
		return get_offline(res, uri, ret, err);
	if (!res->kbs_url || !res->kbs_url[0])
		return cf_fail(err, CF_FAILED_PRECONDITION,
		               "%s: no key broker is configured ([kbc] url)", uri);
	int r = connect_broker(res, err);

	if (r == 0)
		r = kbs_client_get(res->client, cf_view_str(uri), ret, err);
	return r;
}

static void run_request(void *arg)
{
	struct request *q = arg;
	const uint64_t one = 1;

	q->result = get(q->res, q->uri, q->ret, q->err);
	(void)!write(q->done_fd, &one, sizeof(one)); /* from here on @q is the caller's again */
}

int resource_get(struct resource *res, const char *uri, struct cf_buf *ret, struct cf_err *err)
{
	cf_cleanup(cf_closep) int done = eventfd(0, EFD_CLOEXEC);
	struct request q = { .res = res, .uri = uri, .ret = ret, .err = err, .done_fd = done };
	uint64_t n;

	if (done < 0)
		return cf_fail_errno(err, errno, "eventfd");
	int r = cf_work_add(res->worker, run_request, &q, err);

	if (r < 0)
		return r;
	while (read(done, &n, sizeof(n)) != sizeof(n))
		;
	if (q.result == 0 && ret->size > RESOURCE_SIZE_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "resource over %u bytes",
		               RESOURCE_SIZE_MAX);
	return q.result;
}

int resource_get_configured(struct resource *res, const char *uri, struct cf_buf *ret,
                            struct cf_err *err)
{
	const char *path = cf_after(uri, "file://");

	if (cf_starts_with(uri, "kbs://") || cf_starts_with(uri, "kbs+"))
		return resource_get(res, uri, ret, err);
	return cf_read_file(path ? path : uri, RESOURCE_SIZE_MAX, ret, err);
}

/* ---- life ---- */

int resource_new(const struct resource_config *config, struct resource **ret, struct cf_err *err)
{
	cf_cleanup(resource_freep) struct resource *res = cf_zalloc(sizeof(*res));
	int r = cf_work_new(1, RESOURCE_WAITING, &res->worker, err);

	if (r < 0)
		return r;
	res->agent = cf_strdup(config->agent);
	res->kbs_url = cf_strdup(config->kbs_url);
	res->kbs_ca = cf_strdup(config->kbs_ca);
	for (size_t i = 0; config->offline_files && config->offline_files[i]; i++)
		cf_strv_add(&res->offline, config->offline_files[i]);
	*ret = cf_take(&res);
	return 0;
}

struct resource *resource_free(struct resource *res)
{
	if (!res)
		return NULL;
	if (res->worker)
		cf_work_free(res->worker);
	kbs_client_free(res->client);
	kbs_server_free(res->server);
	cf_strv_fini(&res->offline);
	free(res->agent);
	free(res->kbs_url);
	free(res->kbs_ca);
	free(res);
	return NULL;
}
