/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image fetched ahead of its container. The host asks for it on a hint, so it gets no more by it
 * than a container would give: the policies are asked for the image as they are for a container's, the
 * image service judges signatures and keys as ever. Nothing is mounted, measured or started, and what
 * a pod may still ask for stays what it was.
 */
#include "base/log.h"
#include "proto/pulls.pb-c.h"
#include "vmm-glue/guest/guest.h"

static void on_fetched(void *arg, const struct cf_err *failure)
{
	Coffer__PrefetchImageResponse resp = COFFER__PREFETCH_IMAGE_RESPONSE__INIT;
	struct rpc_call *call = arg;

	if (failure)
		rpc_fail_err(call, failure);
	else
		rpc_reply(call, &resp);
}

static int begin(struct guest *g, struct rpc_call *call, const char *image, struct cf_err *err)
{
	int r = native_policy_image(g->policy, image, err);

	if (r == 0 && (g->is_destroying || g->prefetch_count == GUEST_PREFETCHES_MAX))
		r = cf_fail(err, CF_RESOURCE_EXHAUSTED, "%u images were asked for early",
		            GUEST_PREFETCHES_MAX);
	if (r == 0)
		r = guest_prefetch(g, image, on_fetched, call, err);
	if (r < 0)
		return r;
	g->prefetch_count++;
	cf_log_info("fetching early", CF_F_STR("image", image));
	return 0;
}

static void prefetch_image(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const Coffer__PrefetchImageRequest *req = (const Coffer__PrefetchImageRequest *)msg;
	struct guest *g = user;
	struct cf_err err;

	if (guest_pass(g, call, msg) && begin(g, call, req->image, &err) < 0)
		rpc_fail_err(call, &err);
}

/* ---- looking on ---- */

static void on_seen(void *user, int r, ProtobufCMessage *msg, const struct cf_err *err)
{
	struct rpc_call *call = user;

	if (r < 0)
		rpc_fail_err(call, err);
	else
		rpc_reply(call, msg);
	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
}

/* Which container pulls how much is no secret: the host carries the bytes. */
static void watch_pulls(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	struct ttrpc_req req = {
		.service = "coffer.Pulls",
		.method = "WatchPulls",
		.msg = msg,
		.out = &coffer__watch_pulls_response__descriptor,
		.timeout_ms = GUEST_WATCH_TIMEOUT_MS,
	};
	struct guest *g = user;
	struct cf_err err;

	if (!guest_pass(g, call, msg))
		return;
	if (guest_cdh_start(g, &req, on_seen, call, &err) < 0)
		rpc_fail_err(call, &err);
}

static const struct rpc_method methods[] = {
	{ "PrefetchImage", &coffer__prefetch_image_request__descriptor,
	  &coffer__prefetch_image_response__descriptor, prefetch_image, RPC_INLINE },
	{ "WatchPulls", &coffer__watch_pulls_request__descriptor,
	  &coffer__watch_pulls_response__descriptor, watch_pulls, RPC_INLINE },
};

struct rpc_service guest_pulls_service(struct guest *g)
{
	return (struct rpc_service){
		.name = "coffer.Pulls",
		.methods = methods,
		.method_count = CF_ARRAY_LEN(methods),
		.user = g,
	};
}
