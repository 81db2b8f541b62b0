/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/rpc_h2_client_session.h"

#include "base/str.h"

#include <assert.h>
#include <nghttp2/nghttp2.h>

#define HEADER_OVERHEAD    32u /* RFC 9113, 6.5.2 */
#define FIXED_HEADERS      8u
#define CONTENT_TYPE_SHOWN 64u /* bytes of it in an error's text */

struct rpc_h2_session {
	nghttp2_session *ng;
	struct rpc_h2_stream *st; /* the running call's, or NULL */
};

/* ---- what an answer means ---- */

void rpc_h2_stream_fini(struct rpc_h2_stream *st)
{
	cf_buf_fini(&st->body);
	rpc_h2_msg_fini(&st->in);
	free(st->content_type);
	free(st->status);
	free(st->text);
}

#define fail(st, ...)                                                                              \
	do {                                                                                       \
		if ((st)->r == 0)                                                                  \
			(st)->r = cf_fail(&(st)->err, __VA_ARGS__);                                \
		(st)->is_over = true;                                                              \
	} while (0)

int rpc_h2_stream_outcome(const struct rpc_h2_stream *st, struct cf_err *err)
{
	assert(st->is_over);
	if (st->r < 0 && err)
		*err = st->err;
	return st->r;
}

/* Source: grpc, doc/http-grpc-status-mapping.md: of an answer that says nothing itself. */
static enum cf_code code_of_http(unsigned status)
{
	switch (status) {
	case 400:
		return CF_INTERNAL;
	case 401:
		return CF_UNAUTHENTICATED;
	case 403:
		return CF_PERMISSION_DENIED;
	case 404:
		return CF_UNIMPLEMENTED;
	case 429:
	case 502:
	case 503:
	case 504:
		return CF_UNAVAILABLE;
	default:
		return CF_UNKNOWN;
	}
}

/* Source: grpc, doc/PROTOCOL-HTTP2.md, Errors. */
static enum cf_code code_of_reset(uint32_t error)
{
	switch (error) {
	case NGHTTP2_REFUSED_STREAM:
		return CF_UNAVAILABLE;
	case NGHTTP2_CANCEL:
		return CF_CANCELLED;
	case NGHTTP2_ENHANCE_YOUR_CALM:
		return CF_RESOURCE_EXHAUSTED;
	case NGHTTP2_INADEQUATE_SECURITY:
		return CF_PERMISSION_DENIED;
	case NGHTTP2_STREAM_CLOSED:
	case NGHTTP2_HTTP_1_1_REQUIRED:
		return CF_UNKNOWN;
	default:
		return CF_INTERNAL;
	}
}

static bool is_grpc(const struct rpc_h2_stream *st)
{
	return st->http_status == 200 && rpc_h2_is_grpc(cf_view_str(st->content_type));
}

static void fail_no_grpc(struct rpc_h2_stream *st)
{
	const char *type = st->content_type ? st->content_type : "no content type";

	fail(st, code_of_http(st->http_status), "grpc: no gRPC answer: HTTP status %u, %.*s",
	     st->http_status, (int)CONTENT_TYPE_SHOWN, type);
}

/* The server's own word. */
static void judge_status(struct rpc_h2_stream *st)
{
	uint64_t code;

	if (!st->status)
		fail(st, CF_UNKNOWN, "grpc: the answer ended without a status");
	else if (cf_parse_u64(cf_view_str(st->status), CF_CODE_MAX, &code, NULL) < 0)
		fail(st, CF_UNKNOWN, "%s", st->text ? st->text : "");
	else if (code != CF_OK)
		fail(st, (enum cf_code)code, "%s", st->text ? st->text : "");
	else if (!rpc_h2_msg_is_between(&st->in))
		fail(st, CF_INTERNAL, "grpc: the answer ended within a message");
}

static void on_end(struct rpc_h2_stream *st)
{
	st->has_ended = true;
	if (!st->has_head && !is_grpc(st))
		fail_no_grpc(st);
	else
		judge_status(st);
	st->is_over = true;
}

/* ---- nghttp2's callbacks: 0 unless the session itself cannot go on ---- */

static struct rpc_h2_stream *stream_of(const struct rpc_h2_session *s, int32_t id)
{
	return s->st && s->st->id == id ? s->st : NULL;
}

/* Gives @to a new text. */
static void set_take(char **to, char *text)
{
	free(*to);
	*to = text;
}

static char *plain(struct cf_view v)
{
	return cf_view_has_nul(v) || !cf_view_is_utf8(v) ? cf_strdup("?") : cf_view_dup(v);
}

static void take_header(struct rpc_h2_stream *st, struct cf_view name, struct cf_view value)
{
	uint64_t n;

	if (cf_view_eq_str(name, ":status"))
		st->http_status = cf_parse_u64(value, 999, &n, NULL) < 0 ? 0 : (unsigned)n;
	else if (cf_view_eq_str(name, "content-type"))
		set_take(&st->content_type, plain(value));
	else if (cf_view_eq_str(name, "grpc-status"))
		set_take(&st->status, plain(value));
	else if (cf_view_eq_str(name, "grpc-message"))
		set_take(&st->text, rpc_h2_text_decode(value));
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user)
{
	struct rpc_h2_stream *st = stream_of(user, frame->hd.stream_id);

	(void)ng;
	(void)flags;
	if (!st || st->is_over)
		return 0;
	st->header_bytes += name_size + value_size + HEADER_OVERHEAD;
	if (st->header_bytes > RPC_H2_CLIENT_HEADERS) {
		fail(st, CF_RESOURCE_EXHAUSTED, "grpc: over %u bytes of metadata",
		     RPC_H2_CLIENT_HEADERS);
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	}
	take_header(st, cf_view(name, name_size), cf_view(value, value_size));
	return 0;
}

/* The first headers of an answer; those of 1xx are not yet it. Only the last may hold the status. */
static void on_head(struct rpc_h2_stream *st)
{
	free(cf_take(&st->status));
	free(cf_take(&st->text));
	if (st->http_status / 100 == 1)
		return;
	st->has_head = true;
	if (!is_grpc(st))
		fail_no_grpc(st);
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
	struct rpc_h2_stream *st = stream_of(user, frame->hd.stream_id);
	bool is_headers = frame->hd.type == NGHTTP2_HEADERS;

	(void)ng;
	if (!st || st->is_over || (!is_headers && frame->hd.type != NGHTTP2_DATA))
		return 0;
	if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
		on_end(st);
	else if (is_headers)
		on_head(st);
	return 0;
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t size, void *user)
{
	struct rpc_h2_stream *st = stream_of(user, stream_id);

	(void)flags;
	if (!st)
		return nghttp2_session_consume_connection(ng, size); /* nobody will use these */
	st->unused += size;
	if (st->is_over)
		return 0;
	int r = rpc_h2_msg_feed(&st->in, cf_view(data, size), &st->err);

	if (r < 0) {
		st->r = r;
		st->is_over = true;
	}
	return 0;
}

static int on_close(nghttp2_session *ng, int32_t stream_id, uint32_t error, void *user)
{
	struct rpc_h2_stream *st = stream_of(user, stream_id);

	(void)ng;
	if (!st)
		return 0;
	st->is_closed = true;
	/* A server may cancel at the deadline a moment before our own clock tells. */
	bool is_late = error == NGHTTP2_CANCEL && cf_now_ms() >= st->deadline_ms;

	if (!st->has_ended)
		fail(st, is_late ? CF_DEADLINE_EXCEEDED : code_of_reset(error),
		     "grpc: the server ended the call: %s", nghttp2_http2_strerror(error));
	return 0;
}

/* A request that could not go out: the server said goodbye just before. */
static int on_not_sent(nghttp2_session *ng, const nghttp2_frame *frame, int why, void *user)
{
	struct rpc_h2_stream *st = stream_of(user, frame->hd.stream_id);

	(void)ng;
	if (!st || frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	st->is_closed = true; /* never was open */
	fail(st, CF_UNAVAILABLE, "grpc: the server takes no more calls: %s", nghttp2_strerror(why));
	return 0;
}

static ssize_t read_body(nghttp2_session *ng, int32_t stream_id, uint8_t *to, size_t size,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct rpc_h2_stream *st = source->ptr;
	struct cf_view left = cf_view_sub(cf_buf_view(&st->body), st->body_sent, size);

	(void)ng;
	(void)user;
	assert(st->id == stream_id);
	if (left.size)
		memcpy(to, left.data, left.size);
	st->body_sent += left.size;
	if (st->body_sent == st->body.size)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)left.size;
}

/* ---- life ---- */

static int ng_fail(struct cf_err *err, int ng, const char *what)
{
	return cf_fail(err, ng == NGHTTP2_ERR_NOMEM ? CF_RESOURCE_EXHAUSTED : CF_UNAVAILABLE,
	               "grpc: %s: %s", what, nghttp2_strerror(ng));
}

static int make_callbacks(nghttp2_session_callbacks **ret)
{
	nghttp2_session_callbacks *cb;
	int r = nghttp2_session_callbacks_new(&cb);

	if (r != 0)
		return r;
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, on_not_sent);
	*ret = cb;
	return 0;
}

static int make_session(struct rpc_h2_session *s, const nghttp2_session_callbacks *cb)
{
	nghttp2_option *opt;
	int r = nghttp2_option_new(&opt);

	if (r != 0)
		return r;
	/* Windows open as messages are used, not as they come. */
	nghttp2_option_set_no_auto_window_update(opt, 1);
	/* Go's servers leave blanks at the ends of grpc-message as they are. */
	nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(opt, 1);
	r = nghttp2_session_client_new2(&s->ng, cb, s, opt);
	nghttp2_option_del(opt);
	return r;
}

static int say_hello(struct rpc_h2_session *s)
{
	static const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 }, /* promises are dropped */
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, RPC_H2_CLIENT_WINDOW },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, RPC_H2_CLIENT_HEADERS },
	};
	int r = nghttp2_submit_settings(s->ng, NGHTTP2_FLAG_NONE, settings, CF_ARRAY_LEN(settings));

	if (r != 0)
		return r;
	return nghttp2_session_set_local_window_size(s->ng, NGHTTP2_FLAG_NONE, 0,
	                                             RPC_H2_CLIENT_WINDOW);
}

int rpc_h2_session_new(struct rpc_h2_session **ret, struct cf_err *err)
{
	struct rpc_h2_session *s = cf_zalloc(sizeof(*s));
	nghttp2_session_callbacks *cb = NULL;
	int r = make_callbacks(&cb);

	if (r == 0)
		r = make_session(s, cb);
	nghttp2_session_callbacks_del(cb);
	if (r == 0)
		r = say_hello(s);
	if (r != 0) {
		rpc_h2_session_free(s);
		return ng_fail(err, r, "session");
	}
	*ret = s;
	return 0;
}

struct rpc_h2_session *rpc_h2_session_free(struct rpc_h2_session *s)
{
	if (!s)
		return NULL;
	nghttp2_session_del(s->ng);
	free(s);
	return NULL;
}

/* ---- a call's request ---- */

struct headers {
	nghttp2_nv nv[FIXED_HEADERS + RPC_H2_CLIENT_PAIRS];
	size_t count, bytes;
};

static void add(struct headers *h, const char *name, const char *value)
{
	size_t name_size = strlen(name), value_size = strlen(value);

	assert(h->count < CF_ARRAY_LEN(h->nv));
	/* nghttp2 takes both without const, and copies them. */
	h->nv[h->count++] = (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)name,
		                          .value = (uint8_t *)(uintptr_t)value,
		                          .namelen = name_size,
		                          .valuelen = value_size };
	h->bytes += name_size + value_size + HEADER_OVERHEAD;
}

/* A name of ours or of HTTP's own, and one whose value would have to be coded, is no metadata. */
static bool is_meta(const char *name, const char *value)
{
	return name[0] != ':' && !cf_starts_with(name, "grpc-") && !cf_ends_with(name, "-bin") &&
	       nghttp2_check_header_name((const uint8_t *)name, strlen(name)) &&
	       nghttp2_check_header_value_rfc9113((const uint8_t *)value, strlen(value));
}

static int add_meta(struct headers *h, const char *const *meta, struct cf_err *err)
{
	size_t pairs = 0;

	for (const char *const *m = meta; m && m[0]; m += 2, pairs++) {
		if (!is_meta(m[0], m[1]))
			return cf_fail(err, CF_INVALID_ARGUMENT, "grpc: no metadata: %s", m[0]);
		if (pairs == RPC_H2_CLIENT_PAIRS)
			return cf_fail(err, CF_RESOURCE_EXHAUSTED, "grpc: over %u metadata pairs",
			               RPC_H2_CLIENT_PAIRS);
		add(h, m[0], m[1]);
	}
	if (h->bytes > RPC_H2_CLIENT_HEADERS)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "grpc: over %u bytes of metadata",
		               RPC_H2_CLIENT_HEADERS);
	return 0;
}

int rpc_h2_session_start(struct rpc_h2_session *s, const struct rpc_grpc_req *req,
                         struct rpc_h2_stream *st, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("/%s/%s", req->service, req->method);
	nghttp2_data_provider body = { .source.ptr = st, .read_callback = read_body };
	char timeout[RPC_H2_TIMEOUT_SIZE];
	struct headers h = { 0 };

	assert(!s->st);
	add(&h, ":method", "POST");
	add(&h, ":scheme", "http");
	add(&h, ":path", path);
	add(&h, ":authority", "localhost");
	add(&h, "te", "trailers");
	add(&h, "content-type", RPC_H2_CONTENT_TYPE);
	add(&h, "user-agent", "grpc-c-coffer/" COFFER_VERSION);
	if (st->deadline_ms != INT64_MAX) {
		rpc_h2_timeout_format(st->deadline_ms - cf_now_ms(), timeout);
		add(&h, "grpc-timeout", timeout);
	}
	int r = add_meta(&h, req->meta, err);

	if (r < 0)
		return r;
	st->id = nghttp2_submit_request(s->ng, NULL, h.nv, h.count, &body, NULL);
	if (st->id < 0)
		return ng_fail(err, st->id, "request");
	s->st = st;
	return 0;
}

void rpc_h2_session_used(struct rpc_h2_session *s)
{
	struct rpc_h2_stream *st = s->st;

	if (st->unused)
		nghttp2_session_consume(s->ng, st->id, st->unused);
	st->unused = 0;
}

void rpc_h2_session_end(struct rpc_h2_session *s)
{
	struct rpc_h2_stream *st = s->st;

	if (!st)
		return;
	rpc_h2_session_used(s);
	if (!st->is_closed)
		nghttp2_submit_rst_stream(s->ng, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_CANCEL);
	s->st = NULL;
}

/* ---- bytes ---- */

int rpc_h2_session_in(struct rpc_h2_session *s, struct cf_view bytes, struct cf_err *err)
{
	ssize_t n = nghttp2_session_mem_recv(s->ng, bytes.data, bytes.size);

	return n < 0 ? ng_fail(err, (int)n, "the peer speaks no HTTP/2") : 0;
}

int rpc_h2_session_out(struct rpc_h2_session *s, struct cf_buf *to, struct cf_err *err)
{
	const uint8_t *data;
	ssize_t n = 1;

	while (n > 0 && to->size < RPC_H2_CLIENT_BATCH) {
		n = nghttp2_session_mem_send(s->ng, &data);
		if (n > 0)
			cf_buf_add(to, data, (size_t)n);
	}
	return n < 0 ? ng_fail(err, (int)n, "session") : cf_buf_check(to, "grpc: output", err);
}

bool rpc_h2_session_is_good(const struct rpc_h2_session *s)
{
	return rpc_h2_session_listens(s) && nghttp2_session_check_request_allowed(s->ng);
}

bool rpc_h2_session_listens(const struct rpc_h2_session *s)
{
	return nghttp2_session_want_read(s->ng);
}
