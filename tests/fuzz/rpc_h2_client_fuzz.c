/* fuzz: proto */
/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server sends → frames → headers, messages, an outcome. The first byte chooses how the stream is
 * cut into reads, and whether the caller has enough after some messages.
 */
#include "proto/containerd_types.pb-c.h"
#include "proto/rpc_h2_client_session.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void send_all(struct rpc_h2_session *s)
{
	struct cf_buf out = { 0 };

	do
		cf_buf_reset(&out);
	while (rpc_h2_session_out(s, &out, NULL) == 0 && out.size);
	cf_buf_fini(&out);
}

static void unpack(struct cf_view v)
{
	ProtobufCMessage *msg = NULL;

	if (rpc_unpack(&containerd__types__mount__descriptor, v.data, v.size, &msg, NULL) == 0)
		protobuf_c_message_free_unpacked(msg, NULL);
}

/* False: no more can come, or no more is wanted. */
static bool take(struct rpc_h2_session *s, struct rpc_h2_stream *st, size_t *left)
{
	struct cf_view v;

	while (*left && rpc_h2_msg_next(&st->in, &v)) {
		unpack(v);
		--*left;
	}
	rpc_h2_session_used(s);
	return *left && !st->is_over && rpc_h2_session_listens(s);
}

static void receive(struct rpc_h2_session *s, struct rpc_h2_stream *st, struct cf_view in,
                    size_t step, size_t left)
{
	bool more = true;

	while (more && in.size) {
		if (rpc_h2_session_in(s, cf_view_sub(in, 0, step), NULL) < 0)
			return;
		in = cf_view_sub(in, step, in.size);
		send_all(s);
		more = take(s, st, &left);
	}
}

static void call(struct rpc_h2_session *s, const struct rpc_grpc_req *req, struct cf_view in,
                 size_t step, size_t left)
{
	struct rpc_h2_stream st = { .deadline_ms = INT64_MAX };
	struct cf_err err = { 0 };

	rpc_h2_pack(req->msg, &st.body);
	if (rpc_h2_session_start(s, req, &st, NULL) == 0) {
		send_all(s);
		receive(s, &st, in, step, left);
		assert(st.header_bytes < RPC_H2_CLIENT_HEADERS + (1u << 17));
		if (st.is_over)
			assert(rpc_h2_stream_outcome(&st, &err) == -(int)err.code);
		rpc_h2_session_end(s);
		send_all(s);
	}
	rpc_h2_stream_fini(&st);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Containerd__Types__Mount msg = CONTAINERD__TYPES__MOUNT__INIT;
	struct rpc_grpc_req req = { .service = "x", .method = "y", .msg = &msg.base };
	struct rpc_h2_session *s = NULL;

	if (size < 1 || rpc_h2_session_new(&s, NULL) < 0)
		return 0;
	struct cf_view in = cf_view_sub(cf_view(data, size), 1, size);

	send_all(s);
	call(s, &req, in, data[0] & 0x80 ? in.size + 1 : data[0] + 1u, data[0] & 1 ? 2 : SIZE_MAX);
	rpc_h2_session_free(s);
	return 0;
}
