/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nghttp2 says of a connection's streams, and what is said to it. All of it runs with the
 * connection's lock. Source: grpc, doc/PROTOCOL-HTTP2.md; RFC 9113.
 */
#include "base/str.h"
#include "proto/rpc_h2_server_priv.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>

#define HTTP_OK                     200u
#define HTTP_METHOD_NOT_ALLOWED     405u
#define HTTP_UNSUPPORTED_MEDIA_TYPE 415u

/* ---- a request comes ---- */

static struct scall *scall_new(struct sconn *c, int32_t id)
{
	struct scall *call = cf_zalloc(sizeof(*call));

	*call = (struct scall){
		.head = { .ops = &rpc_h2_scall_ops,
		          .deadline_ms = INT64_MAX,
		          .uid = c->peer.uid,
		          .gid = c->peer.gid,
		          .pid = c->peer.pid },
		.conn = c,
		.id = id,
		.http_status = HTTP_OK,
		.is_open = true,
		.next = c->calls,
		.link = &c->calls,
	};
	if (call->next)
		call->next->link = &call->next;
	c->calls = call;
	rpc_h2_sconn_ref(c);
	return call;
}

/* Its handler is next, or its refusal: what still comes on the stream is thrown away. */
static void make_ready(struct scall *call)
{
	struct sconn *c = call->conn;

	call->is_ready = call->is_running = true;
	call->started_us = cf_now_us();
	call->head.ns = rpc_h2_scall_meta(&call->head, "containerd-namespace");
	c->running++;
	*c->ready_last = call;
	c->ready_last = &call->next_ready;
	rpc_h2_server_call_begins(c->srv);
}

static void refuse(struct scall *call, enum cf_code code, const char *why)
{
	if (call->is_ready)
		return;
	call->refused = code;
	call->why = cf_strdup(why);
	rpc_h2_msg_fini(&call->in);
	make_ready(call);
}

static bool charge(struct scall *call, size_t n)
{
	struct sconn *c = call->conn;

	call->held += n;
	c->held += n;
	c->srv->held += n;
	if (c->held <= RPC_H2_CONN_HELD_MAX && c->srv->held <= RPC_H2_HELD_MAX)
		return true;
	refuse(call, CF_RESOURCE_EXHAUSTED, "too many requests at once: try again later");
	return false;
}

static void find_method(struct scall *call, struct cf_view path)
{
	const struct rpc_grpc_server *srv = call->conn->srv;
	ssize_t slash = path.size ? cf_view_find(cf_view_sub(path, 1, SIZE_MAX), '/') : -1;

	if (slash < 0 || path.data[0] != '/')
		return;
	struct cf_view service = cf_view_sub(path, 1, (size_t)slash);
	struct cf_view method = cf_view_sub(path, (size_t)slash + 2, SIZE_MAX);

	for (size_t i = 0; i < srv->opts.service_count; i++) {
		const struct rpc_service *s = srv->opts.services[i];

		for (size_t j = 0; cf_view_eq_str(service, s->name) && j < s->method_count; j++)
			if (cf_view_eq_str(method, s->methods[j].name)) {
				call->service = s;
				call->method = &s->methods[j];
				call->head.service = s->name;
				call->head.method = s->methods[j].name;
			}
	}
}

/* What HTTP/2 does not allow, and values that are no UTF-8, no handler sees: there is no NUL in the rest. */
static bool is_meta(struct cf_view name, struct cf_view value)
{
	return nghttp2_check_header_name(name.data, name.size) &&
	       nghttp2_check_header_value(value.data, value.size) && cf_view_is_utf8(value);
}

static void keep_meta(struct scall *call, struct cf_view name, struct cf_view value)
{
	if (!is_meta(name, value) || !charge(call, name.size + value.size + 2))
		return;
	cf_buf_add_view(&call->meta, name);
	cf_buf_add_byte(&call->meta, 0);
	cf_buf_add_view(&call->meta, value);
	cf_buf_add_byte(&call->meta, 0);
}

static void take_timeout(struct scall *call, struct cf_view value)
{
	int64_t ms;

	if (rpc_h2_timeout_parse(value, &ms))
		call->head.deadline_ms = cf_now_ms() + ms;
	else
		refuse(call, CF_INVALID_ARGUMENT, "malformed grpc-timeout");
}

static void take_header(struct scall *call, struct cf_view name, struct cf_view value)
{
	call->meta_size += name.size + value.size + RPC_H2_META_OVERHEAD;
	if (++call->meta_pairs > RPC_H2_META_PAIRS || call->meta_size > RPC_H2_META_MAX)
		refuse(call, CF_RESOURCE_EXHAUSTED, "too much metadata");
	else if (cf_view_eq_str(name, ":method"))
		call->is_post = cf_view_eq_str(value, "POST");
	else if (cf_view_eq_str(name, ":path"))
		find_method(call, value);
	else if (cf_view_eq_str(name, "content-type"))
		call->is_grpc = rpc_h2_is_grpc(value);
	else if (cf_view_eq_str(name, "grpc-timeout"))
		take_timeout(call, value);
	if (!call->is_ready && !cf_view_starts_with(name, ":"))
		keep_meta(call, name, value);
}

static void refuse_http(struct scall *call, unsigned status, const char *why)
{
	if (!call->is_ready)
		call->http_status = status;
	refuse(call, CF_INVALID_ARGUMENT, why);
}

/* All headers are there. */
static void check_head(struct scall *call)
{
	if (!call->is_post)
		refuse_http(call, HTTP_METHOD_NOT_ALLOWED, "a gRPC request is a POST");
	else if (!call->is_grpc)
		refuse_http(call, HTTP_UNSUPPORTED_MEDIA_TYPE,
		            "the content-type is not application/grpc");
	else if (call->conn->srv->is_draining)
		refuse(call, CF_UNAVAILABLE, "shutting down");
	else if (!call->method)
		refuse(call, CF_UNIMPLEMENTED, "unknown service or method");
}

static void take_data(struct scall *call, struct cf_view piece)
{
	struct cf_view second;
	struct cf_err err;

	if (piece.size == 0 || !charge(call, piece.size))
		return;
	if (call->has_msg)
		refuse(call, CF_INVALID_ARGUMENT, "more than one request message");
	else if (rpc_h2_msg_feed(&call->in, piece, &err) < 0)
		refuse(call, err.code, err.msg);
	else
		call->has_msg = rpc_h2_msg_next(&call->in, &call->msg);
	if (call->has_msg && !call->is_ready &&
	    (rpc_h2_msg_next(&call->in, &second) || !rpc_h2_msg_is_between(&call->in)))
		refuse(call, CF_INVALID_ARGUMENT, "more than one request message");
}

static void request_ends(struct scall *call)
{
	if (call->is_ready)
		return;
	if (!rpc_h2_msg_is_between(&call->in))
		refuse(call, CF_INVALID_ARGUMENT, "the request ends within its message");
	else if (!call->has_msg)
		refuse(call, CF_INVALID_ARGUMENT, "no request message");
	else
		make_ready(call);
}

/* ---- what nghttp2 tells ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct sconn *c = user;

	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	struct scall *call = scall_new(c, frame->hd.stream_id);

	nghttp2_session_set_stream_user_data(session, call->id, call);
	/* Streams are counted by nghttp2; this is for those that were reset while their handlers run. */
	if (c->running >= RPC_H2_CALLS_MAX)
		refuse(call, CF_RESOURCE_EXHAUSTED, "too many calls run: try again later");
	else
		(void)charge(call, sizeof(*call));
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user)
{
	struct scall *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	(void)flags;
	(void)user;
	/* A client has no use for trailers: they are let pass. */
	if (call && !call->is_ready && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		take_header(call, cf_view(name, name_size), cf_view(value, value_size));
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct scall *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	(void)user;
	if (!call || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		check_head(call);
	if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
		request_ends(call);
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t size, void *user)
{
	struct scall *call = nghttp2_session_get_stream_user_data(session, id);

	(void)flags;
	(void)user;
	if (call && !call->is_ready)
		take_data(call, cf_view(data, size));
	return 0;
}

static void stream_gone(struct scall *call)
{
	call->is_open = false;
	if (call->is_running) {
		call->is_cancelled = true;
		pthread_cond_broadcast(&call->conn->room);
		return;
	}
	rpc_h2_scall_free(call);
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *user)
{
	struct scall *call = nghttp2_session_get_stream_user_data(session, id);

	(void)error;
	(void)user;
	if (call)
		stream_gone(call);
	return 0;
}

/* An answer that came before the request's end: nobody will look at the rest of that. */
static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	(void)user;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
	    nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0)
		return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
		                                 NGHTTP2_NO_ERROR);
	return 0;
}

void rpc_h2_streams_lost(struct sconn *c)
{
	for (struct scall *call = c->calls, *next; call; call = next) {
		next = call->next;
		if (call->is_open)
			stream_gone(call);
	}
}

/* ---- the answer ---- */

#define NV_TEXT(n, v)                                                                              \
	(nghttp2_nv)                                                                               \
	{                                                                                          \
		.name = (uint8_t *)(uintptr_t)(n), .value = (uint8_t *)(uintptr_t)(v),             \
		.namelen = strlen(n), .valuelen = strlen(v),                                       \
	}

static size_t end_headers(const struct scall *call, char code[4], nghttp2_nv *nv)
{
	unsigned number = (unsigned)call->code <= CF_CODE_MAX ? call->code : CF_UNKNOWN;

	snprintf(code, 4, "%u", number);
	nv[0] = NV_TEXT("grpc-status", code);
	if (!call->text)
		return 1;
	nv[1] = NV_TEXT("grpc-message", call->text);
	/* Seldom twice the same: it is not worth a place in the peer's table. */
	nv[1].flags = NGHTTP2_NV_FLAG_NO_INDEX;
	return 2;
}

static int submit_end(struct scall *call)
{
	char code[4];
	nghttp2_nv nv[2];
	size_t n = end_headers(call, code, nv);

	return nghttp2_submit_trailer(call->conn->session, call->id, nv, n);
}

static ssize_t read_out(nghttp2_session *session, int32_t id, uint8_t *buf, size_t size,
                        uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct scall *call = source->ptr;
	struct cf_view piece = cf_view_sub(cf_buf_view(&call->out), call->sent, size);

	(void)session;
	(void)id;
	(void)user;
	if (piece.size == 0 && !call->is_ended) {
		call->is_deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	if (piece.size)
		memcpy(buf, piece.data, piece.size);
	call->sent += piece.size;
	pthread_cond_broadcast(&call->conn->room);
	if (call->sent < call->out.size || !call->is_ended)
		return (ssize_t)piece.size;
	*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
	return submit_end(call) == 0 ? (ssize_t)piece.size : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* Response headers; with them the end, when there is no message. */
static int submit_begin(struct scall *call)
{
	bool is_end = call->out.size == 0;
	nghttp2_data_provider messages = { .source.ptr = call, .read_callback = read_out };
	char status[12], code[4];
	nghttp2_nv nv[4];
	size_t n = 2;

	snprintf(status, sizeof(status), "%u", call->http_status);
	nv[0] = NV_TEXT(":status", status);
	nv[1] = NV_TEXT("content-type", RPC_H2_CONTENT_TYPE);
	if (is_end)
		n += end_headers(call, code, &nv[2]);
	call->has_begun = true;
	return nghttp2_submit_response(call->conn->session, call->id, nv, n,
	                               is_end ? NULL : &messages);
}

void rpc_h2_stream_answer(struct scall *call)
{
	struct sconn *c = call->conn;
	int e = 0;

	if (!call->has_begun) {
		e = submit_begin(call);
	} else if (call->is_deferred) {
		call->is_deferred = false;
		e = nghttp2_session_resume_data(c->session, call->id);
	}
	/* Without memory for a message the peer must not believe that it has them all. */
	if (e != 0 || call->out.bad)
		rpc_h2_sconn_break_locked(c);
}

/* ---- sessions ---- */

bool rpc_h2_session_begin(struct sconn *c)
{
	static const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, RPC_GRPC_STREAMS_MAX },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, RPC_H2_WINDOW },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, RPC_H2_META_MAX },
		/* Streams are served as they come: nobody need build a tree of them. */
		{ NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 },
	};
	struct rpc_grpc_server *srv = c->srv;

	return nghttp2_session_server_new2(&c->session, srv->callbacks, c, srv->option) == 0 &&
	       nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings,
	                               CF_ARRAY_LEN(settings)) == 0 &&
	       nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0,
	                                             RPC_H2_CONN_WINDOW) == 0;
}

int rpc_h2_streams_init(struct rpc_grpc_server *srv, struct cf_err *err)
{
	if (nghttp2_session_callbacks_new(&srv->callbacks) != 0 ||
	    nghttp2_option_new(&srv->option) != 0)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "grpc: no memory");
	nghttp2_session_callbacks *cb = srv->callbacks;

	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_sent);
	nghttp2_option_set_no_closed_streams(srv->option, 1);
	/*
	 * HTTP's own rules are not asked for: older clients in Go (grpc 1.50 is one) give the socket's path as
	 * their :authority, and nghttp2 would refuse that. What is read of a request is checked where it is.
	 */
	nghttp2_option_set_no_http_messaging(srv->option, 1);
	nghttp2_option_set_max_outbound_ack(srv->option, RPC_H2_ACKS_MAX);
	nghttp2_option_set_max_settings(srv->option, RPC_H2_SETTINGS_MAX);
	nghttp2_option_set_stream_reset_rate_limit(srv->option, RPC_H2_RESETS_BURST,
	                                           RPC_H2_RESETS_RATE);
	return 0;
}

void rpc_h2_streams_fini(struct rpc_grpc_server *srv)
{
	nghttp2_session_callbacks_del(srv->callbacks);
	nghttp2_option_del(srv->option);
}
