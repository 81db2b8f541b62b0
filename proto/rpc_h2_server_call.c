/* SPDX-License-Identifier: Apache-2.0 */
/* What handlers see of a call, and its end. */
#include "base/str.h"
#include "proto/rpc_h2_server_priv.h"

static struct scall *scall_of(struct rpc_call *head)
{
	return (struct scall *)head;
}

void rpc_h2_scall_free(struct scall *call)
{
	struct sconn *c = call->conn;
	struct rpc_grpc_server *srv = c->srv;
	bool was_counted = call->is_ready;

	*call->link = call->next;
	if (call->next)
		call->next->link = call->link;
	c->held -= call->held;
	srv->held -= call->held;
	c->answer_bytes -= call->answer_bytes;
	if (call->req)
		protobuf_c_message_free_unpacked(call->req, NULL);
	rpc_h2_msg_fini(&call->in);
	cf_buf_fini(&call->meta);
	cf_buf_fini(&call->out);
	free(call->why);
	free(call->text);
	free(call);
	/* Never the last: whoever holds the lock has one of his own. */
	rpc_h2_sconn_unref(c);
	if (was_counted)
		rpc_h2_server_call_ends(srv);
}

/* ---- what handlers see; any thread ---- */

static bool call_cancelled(struct rpc_call *head)
{
	return scall_of(head)->is_cancelled ||
	       (head->deadline_ms != INT64_MAX && cf_now_ms() > head->deadline_ms);
}

const char *rpc_h2_scall_meta(struct rpc_call *head, const char *key)
{
	const struct scall *call = scall_of(head);
	struct cf_view all = cf_buf_view(&call->meta);

	for (size_t at = 0; at < all.size;) {
		const char *name = (const char *)cf_view_sub(all, at, SIZE_MAX).data;

		at += strlen(name) + 1;
		const char *value = (const char *)cf_view_sub(all, at, SIZE_MAX).data;

		at += strlen(value) + 1;
		if (cf_streq(name, key))
			return value;
	}
	return NULL;
}

static void wait_for_room(struct scall *call)
{
	struct sconn *c = call->conn;

	while (!call_cancelled(&call->head) && call->out.size - call->sent > RPC_H2_STREAM_ROOM)
		(void)cf_cond_wait_until(&c->room, &c->lock, call->head.deadline_ms);
}

static void append(struct scall *call, const struct cf_buf *msg)
{
	cf_buf_consume(&call->out, call->sent);
	call->sent = 0;
	call->out.max = RPC_H2_STREAM_ROOM + RPC_H2_FRAMED_MAX;
	cf_buf_add_view(&call->out, cf_buf_view(msg));
}

static int call_send(struct rpc_call *head, const ProtobufCMessage *msg, struct cf_err *err)
{
	struct scall *call = scall_of(head);
	struct sconn *c = call->conn;
	struct cf_buf packed = { .max = RPC_H2_FRAMED_MAX };

	if (!(call->method->flags & RPC_STREAM))
		return cf_fail(err, CF_INTERNAL, "%s is no stream", head->method);
	rpc_h2_pack(msg, &packed);
	int r = cf_buf_check(&packed, "a message of the answer", err);

	if (r < 0)
		return r;
	pthread_mutex_lock(&c->lock);
	if (!call_cancelled(head)) {
		append(call, &packed);
		rpc_h2_stream_answer(call);
		rpc_h2_sconn_flush_locked(c);
		wait_for_room(call);
	}
	bool is_gone = call_cancelled(head);

	pthread_mutex_unlock(&c->lock);
	cf_buf_fini(&packed);
	return is_gone ? cf_fail(err, CF_CANCELLED, "the caller is gone") : 0;
}

static void report(struct scall *call, enum cf_code code)
{
	struct rpc_grpc_server *srv = call->conn->srv;

	srv->calls++;
	if (srv->opts.answered && call->method)
		srv->opts.answered(call->head.service, call->head.method, code,
		                   cf_now_us() - call->started_us, srv->opts.user);
}

/* Packs the last message into @out, within what the connection may have waiting. NULL, or why not. */
static const char *pack_answer(struct scall *call, const ProtobufCMessage *msg, struct cf_buf *out)
{
	struct sconn *c = call->conn;

	out->max = RPC_H2_FRAMED_MAX;
	rpc_h2_pack(msg, out);
	if (out->bad)
		return "the answer is too large";
	call->answer_bytes = out->size;
	c->answer_bytes += out->size;
	return c->answer_bytes > RPC_H2_ANSWERS_MAX ? "too many answers wait for their reader"
	                                            : NULL;
}

/* With the lock. */
static void end_call(struct scall *call, struct cf_buf *out, enum cf_code code, const char *text)
{
	struct sconn *c = call->conn;

	call->is_running = false;
	c->running--;
	if (!call->is_open) {
		rpc_h2_scall_free(call);
		return;
	}
	if (call->out.size == 0) {
		cf_buf_fini(&call->out);
		call->out = *out;
		*out = (struct cf_buf){ 0 };
		call->sent = 0;
	} else {
		append(call, out);
	}
	call->is_ended = true;
	call->code = code;
	call->text = text && text[0] ? rpc_h2_text_encode(text) : NULL;
	rpc_h2_stream_answer(call);
	rpc_h2_sconn_flush_locked(c);
}

static void call_finish(struct rpc_call *head, const ProtobufCMessage *msg, enum cf_code code,
                        const char *text)
{
	struct scall *call = scall_of(head);
	struct sconn *c = call->conn;
	struct cf_buf out = { 0 };
	const char *refused = msg && code == CF_OK ? pack_answer(call, msg, &out) : NULL;

	if (refused) {
		code = CF_RESOURCE_EXHAUSTED;
		text = refused;
		cf_buf_fini(&out);
	}
	report(call, code);
	rpc_h2_sconn_ref(c); /* the call may take its own with it */
	pthread_mutex_lock(&c->lock);
	end_call(call, &out, code, text);
	pthread_mutex_unlock(&c->lock);
	rpc_h2_sconn_unref(c);
	cf_buf_fini(&out);
}

const struct rpc_ops rpc_h2_scall_ops = {
	.send = call_send,
	.finish = call_finish,
	.cancelled = call_cancelled,
	.meta = rpc_h2_scall_meta,
};

/* ---- to the handler ---- */

/* Pool thread, or the I/O thread for RPC_INLINE. */
static void run(void *arg)
{
	struct scall *call = arg;
	struct cf_err err;

	if (call_cancelled(&call->head)) {
		rpc_fail(&call->head, call->is_cancelled ? CF_CANCELLED : CF_DEADLINE_EXCEEDED,
		         "nobody waits for the answer");
		return;
	}
	if (rpc_unpack(call->method->in, call->msg.data, call->msg.size, &call->req, &err) < 0) {
		rpc_fail_err(&call->head, &err);
		return;
	}
	rpc_h2_msg_fini(&call->in);
	call->method->fn(&call->head, call->req, call->service->user);
}

void rpc_h2_scall_start(struct scall *call)
{
	struct cf_err err;

	if (call->refused)
		call_finish(&call->head, NULL, call->refused, call->why);
	else if (call->method->flags & RPC_INLINE)
		run(call);
	else if (cf_work_add(call->conn->srv->work, run, call, &err) < 0)
		rpc_fail_err(&call->head, &err);
}
