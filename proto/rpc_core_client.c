/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "proto/rpc_core.h"
#include "proto/rpc_grpc.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>

#define META_MAX 16

struct rpc_grpc_client {
	grpc_channel *channel;
};

static grpc_arg int_arg(const char *key, int value)
{
	/* Core takes the key without const and does not write to it. */
	return (grpc_arg){ .type = GRPC_ARG_INTEGER,
		           .key = (char *)(uintptr_t)key,
		           .value.integer = value };
}

int rpc_grpc_client_new(const char *path, struct rpc_grpc_client **ret, struct cf_err *err)
{
	rpc_core_init();
	grpc_arg args[] = {
		int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, RPC_MESSAGE_MAX),
		int_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, RPC_MESSAGE_MAX),
		/* Each client a connection of its own, also two in one process. */
		int_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
	};
	grpc_channel_args list = { CF_ARRAY_LEN(args), args };
	cf_cleanup(cf_freep) char *target = cf_asprintf("unix:%s", path);
	grpc_channel_credentials *creds = grpc_insecure_credentials_create();
	grpc_channel *channel = grpc_channel_create(target, creds, &list);

	grpc_channel_credentials_release(creds);
	if (!channel) {
		grpc_shutdown();
		return cf_fail(err, CF_INVALID_ARGUMENT, "grpc: %s", path);
	}
	struct rpc_grpc_client *c = cf_zalloc(sizeof(*c));

	c->channel = channel;
	*ret = c;
	return 0;
}

struct rpc_grpc_client *rpc_grpc_client_free(struct rpc_grpc_client *client)
{
	if (!client)
		return NULL;
	grpc_channel_destroy(client->channel);
	grpc_shutdown();
	free(client);
	return NULL;
}

/* ---- one call: everything it needs, on the caller's stack ---- */

struct one {
	grpc_completion_queue *cq;
	grpc_call *call;
	grpc_metadata_array initial, trailing;
	grpc_status_code status;
	grpc_slice text;
	grpc_metadata meta[META_MAX];
	size_t meta_count;
};

static gpr_timespec deadline_of(const struct rpc_grpc_req *req)
{
	if (req->timeout_ms <= 0)
		return gpr_inf_future(GPR_CLOCK_MONOTONIC);
	return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
	                    gpr_time_from_millis(req->timeout_ms, GPR_TIMESPAN));
}

static void one_init(struct one *o, struct rpc_grpc_client *client, const struct rpc_grpc_req *req)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("/%s/%s", req->service, req->method);
	grpc_slice method = grpc_slice_from_copied_string(path);

	*o = (struct one){ .cq = grpc_completion_queue_create_for_pluck(NULL) };
	o->text = grpc_empty_slice();
	grpc_metadata_array_init(&o->initial);
	grpc_metadata_array_init(&o->trailing);
	o->call = grpc_channel_create_call(client->channel, NULL, GRPC_PROPAGATE_DEFAULTS, o->cq,
	                                   method, NULL, deadline_of(req), NULL);
	grpc_slice_unref(method);
	for (const char *const *m = req->meta; m && m[0] && o->meta_count < META_MAX; m += 2)
		o->meta[o->meta_count++] = (grpc_metadata){
			.key = grpc_slice_from_copied_string(m[0]),
			.value = grpc_slice_from_copied_string(m[1]),
		};
}

static void one_fini(struct one *o)
{
	grpc_call_unref(o->call);
	grpc_completion_queue_shutdown(o->cq);
	while (grpc_completion_queue_pluck(o->cq, NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL)
	               .type != GRPC_QUEUE_SHUTDOWN)
		;
	grpc_completion_queue_destroy(o->cq);
	grpc_metadata_array_destroy(&o->initial);
	grpc_metadata_array_destroy(&o->trailing);
	grpc_slice_unref(o->text);
	for (size_t i = 0; i < o->meta_count; i++) {
		grpc_slice_unref(o->meta[i].key);
		grpc_slice_unref(o->meta[i].value);
	}
}

static bool run(struct one *o, const grpc_op *ops, size_t n)
{
	rpc_core_gives(o);
	if (grpc_call_start_batch(o->call, ops, n, o, NULL) != GRPC_CALL_OK)
		return false;
	bool ok = grpc_completion_queue_pluck(o->cq, o, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL)
	                  .success != 0;

	rpc_core_takes(o);
	return ok;
}

static grpc_op op_status(struct one *o)
{
	grpc_op op = { .op = GRPC_OP_RECV_STATUS_ON_CLIENT };

	op.data.recv_status_on_client.trailing_metadata = &o->trailing;
	op.data.recv_status_on_client.status = &o->status;
	op.data.recv_status_on_client.status_details = &o->text;
	return op;
}

static grpc_op op_recv(grpc_byte_buffer **ret)
{
	grpc_op op = { .op = GRPC_OP_RECV_MESSAGE };

	op.data.recv_message.recv_message = ret;
	return op;
}

/* The three of the request and the initial metadata. */
static size_t ops_begin(struct one *o, grpc_byte_buffer *msg, grpc_op *ops)
{
	ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	ops[0].data.send_initial_metadata.count = o->meta_count;
	ops[0].data.send_initial_metadata.metadata = o->meta;
	ops[1].op = GRPC_OP_SEND_MESSAGE;
	ops[1].data.send_message.send_message = msg;
	ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
	ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
	ops[3].data.recv_initial_metadata.recv_initial_metadata = &o->initial;
	return 4;
}

static int outcome(const struct one *o, struct cf_err *err)
{
	if (o->status == GRPC_STATUS_OK)
		return 0;
	enum cf_code code = o->status > 0 && o->status <= 16 ? (enum cf_code)o->status : CF_UNKNOWN;

	return cf_fail(err, code, "%.*s", (int)CF_MIN(GRPC_SLICE_LENGTH(o->text), sizeof(err->msg)),
	               (const char *)GRPC_SLICE_START_PTR(o->text));
}

int rpc_grpc_call(struct rpc_grpc_client *client, const struct rpc_grpc_req *req,
                  ProtobufCMessage **ret, struct cf_err *err)
{
	struct one o;
	grpc_op ops[6] = { 0 };
	grpc_byte_buffer *in = NULL, *out = rpc_core_pack(req->msg);
	ProtobufCMessage *msg = NULL;

	one_init(&o, client, req);
	size_t n = ops_begin(&o, out, ops);

	ops[n++] = op_recv(&in);
	ops[n++] = op_status(&o);
	bool ok = run(&o, ops, n);
	int r = ok ? outcome(&o, err) : cf_fail(err, CF_INTERNAL, "grpc: the call did not start");

	if (r == 0 && !in)
		r = cf_fail(err, CF_INTERNAL, "grpc: no answer message");
	if (r == 0)
		r = rpc_core_unpack(req->out, in, &msg, err);
	if (in)
		grpc_byte_buffer_destroy(in);
	grpc_byte_buffer_destroy(out);
	one_fini(&o);
	if (r == 0 && ret)
		*ret = msg;
	else if (r == 0)
		protobuf_c_message_free_unpacked(msg, NULL);
	return r;
}

/* One message of the stream. 1: taken; 0: no more; negative. */
static int next_item(struct one *o, const struct rpc_grpc_req *req,
                     bool (*item)(void *user, const ProtobufCMessage *msg), void *user,
                     struct cf_err *err)
{
	grpc_byte_buffer *in = NULL;
	grpc_op op = op_recv(&in);
	ProtobufCMessage *msg = NULL;

	if (!run(o, &op, 1) || !in)
		return 0;
	int r = rpc_core_unpack(req->out, in, &msg, err);

	grpc_byte_buffer_destroy(in);
	if (r < 0)
		return r;
	bool more = item(user, msg);

	protobuf_c_message_free_unpacked(msg, NULL);
	return more ? 1 : cf_fail(err, CF_CANCELLED, "ended by the caller");
}

int rpc_grpc_call_stream(struct rpc_grpc_client *client, const struct rpc_grpc_req *req,
                         bool (*item)(void *user, const ProtobufCMessage *msg), void *user,
                         struct cf_err *err)
{
	struct one o;
	grpc_op ops[4] = { 0 };
	grpc_byte_buffer *out = rpc_core_pack(req->msg);

	one_init(&o, client, req);
	size_t n = ops_begin(&o, out, ops);
	int r = run(&o, ops, n) ? 1 : 0; /* a refusal shows in the status */

	while (r == 1)
		r = next_item(&o, req, item, user, err);
	if (r < 0)
		grpc_call_cancel(o.call, NULL);
	grpc_op last = op_status(&o);
	bool ok = run(&o, &last, 1);

	if (r == 0)
		r = ok ? outcome(&o, err) : cf_fail(err, CF_INTERNAL, "grpc: no status");
	grpc_byte_buffer_destroy(out);
	one_fini(&o);
	return r;
}
