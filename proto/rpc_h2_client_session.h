/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A client's HTTP/2 connection without its socket: bytes in, bytes out, one call at a time. What the
 * server sends is hostile. Private to proto/rpc_h2_client*.c.
 *
 *   rpc_h2_session_start(s, …, &st, err)
 *   until st.is_over: send what rpc_h2_session_out() appends; rpc_h2_session_in() what came;
 *                     take st.in's messages; rpc_h2_session_used()
 *   rpc_h2_session_end(s)
 *   rpc_h2_stream_outcome(&st, err)
 */
#include "proto/rpc_grpc.h"
#include "proto/rpc_h2_wire.h"

#define RPC_H2_CLIENT_HEADERS (16u << 10)  /* of an answer, and of a request; 32 a line on top */
#define RPC_H2_CLIENT_WINDOW  (256u << 10) /* what the server may send ahead of what was used */
#define RPC_H2_CLIENT_BATCH   (64u << 10)  /* about what is handed out at once */
#define RPC_H2_CLIENT_PAIRS   16u          /* metadata with a request */

/* What one call sends and what it got. */
struct rpc_h2_stream {
	int32_t id;
	struct cf_buf body; /* the request, framed */
	size_t body_sent;
	int64_t deadline_ms; /* INT64_MAX: none */

	struct rpc_h2_msg in; /* whole messages are taken after each feed, also when .is_over */
	size_t unused;        /* bytes that came since the last rpc_h2_session_used() */
	unsigned http_status; /* 0: not known yet */
	char *content_type, *status, *text; /* NULL: none came */
	size_t header_bytes;
	bool has_head;  /* the answer's first headers were judged */
	bool has_ended; /* the server said all it had to say */
	bool is_closed; /* in both directions */
	bool is_over;   /* nothing more is awaited */
	int r;          /* the first thing that went wrong, told in .err */
	struct cf_err err;
};

void rpc_h2_stream_fini(struct rpc_h2_stream *st);
/* Of a stream that is over: 0, or the server's code and text, or what was wrong with its answer. */
cf_must_use int rpc_h2_stream_outcome(const struct rpc_h2_stream *st, struct cf_err *err);

struct rpc_h2_session;

cf_must_use int rpc_h2_session_new(struct rpc_h2_session **ret, struct cf_err *err);
struct rpc_h2_session *rpc_h2_session_free(struct rpc_h2_session *s);
/*
 * Begins a call; @st holds the framed request and the deadline, and stays until rpc_h2_session_end().
 * Return: 0, -CF_INVALID_ARGUMENT or -CF_RESOURCE_EXHAUSTED (metadata), -CF_UNAVAILABLE.
 */
cf_must_use int rpc_h2_session_start(struct rpc_h2_session *s, const struct rpc_grpc_req *req,
                                     struct rpc_h2_stream *st, struct cf_err *err);
/* Bytes from the server. -CF_UNAVAILABLE: no HTTP/2, the connection is of no more use. */
cf_must_use int rpc_h2_session_in(struct rpc_h2_session *s, struct cf_view bytes,
                                  struct cf_err *err);
/* Appends what is to be sent, up to about RPC_H2_CLIENT_BATCH. Nothing: nothing to send now. */
cf_must_use int rpc_h2_session_out(struct rpc_h2_session *s, struct cf_buf *to, struct cf_err *err);
/* The messages that came so far were used: the server may send as much again. */
void rpc_h2_session_used(struct rpc_h2_session *s);
/* Forgets the stream; one that still runs is cancelled (RST_STREAM) with the next bytes out. */
void rpc_h2_session_end(struct rpc_h2_session *s);
/* Another call may be begun: the server neither said goodbye nor broke the protocol. */
bool rpc_h2_session_is_good(const struct rpc_h2_session *s);
/* The session waits for bytes; false: a breach of protocol ended it. */
bool rpc_h2_session_listens(const struct rpc_h2_session *s);
