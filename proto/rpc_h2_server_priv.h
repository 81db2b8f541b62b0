/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The insides of the gRPC server over nghttp2. Private to proto/rpc_h2_server*.c, which are, from the
 * outside in: _server.c life and accepting, _conn.c a connection's bytes, _stream.c what HTTP/2 says of
 * a request, _call.c what a handler does with its call.
 *
 * THREADS. The program's loop accepts. From then on a connection belongs to the server's I/O thread,
 * which reads, closes and runs RPC_INLINE handlers. Whoever answers a call takes its connection's lock,
 * gives the answer to nghttp2 and writes to the socket there and then; only when the socket is full does
 * the I/O thread go on with it. Nothing waits while a lock is held, and no handler runs under one.
 *
 * LIVES. A connection lives while the I/O thread has it, and while one of its calls does. A call lives
 * while its stream is open or its handler has not answered. The server is touched under the lock of a
 * connection that is not dead, or before the last of its calls is counted off.
 */
#include "base/listener.h"
#include "base/loop.h"
#include "base/work.h"
#include "proto/rpc_grpc.h"
#include "proto/rpc_h2_wire.h"

#include <pthread.h>
#include <stdatomic.h>

#define RPC_H2_META_MAX      (16u << 10) /* a request's header list as HTTP/2 counts it */
#define RPC_H2_META_OVERHEAD 32u         /* … for each header, beside its name and value */
#define RPC_H2_META_PAIRS    64u         /* headers of a request */
#define RPC_H2_CALLS_MAX     RPC_GRPC_STREAMS_MAX /* … of a connection whose handlers run or wait */
#define RPC_H2_HELD_MAX      (64u << 20)  /* bytes of unanswered requests, of the whole server */
#define RPC_H2_CONN_HELD_MAX (40u << 20)  /* … of one connection */
#define RPC_H2_ANSWERS_MAX   (64u << 20)  /* bytes of answers that one connection has not read */
#define RPC_H2_STREAM_ROOM   (256u << 10) /* … of one stream: its sender waits */
#define RPC_H2_FRAMES_MAX    16384u       /* frames that wait for a peer that does not read */
#define RPC_H2_ACKS_MAX      256u         /* … of them answers to PING and SETTINGS */
#define RPC_H2_SETTINGS_MAX  32u          /* entries in a SETTINGS frame */
#define RPC_H2_RESETS_BURST  2000u        /* streams that a peer may take back at once … */
#define RPC_H2_RESETS_RATE   200u /* … and each second: a deadline that passes is one, too */
#define RPC_H2_WINDOW        (1u << 20)  /* bytes a stream may send ahead */
#define RPC_H2_CONN_WINDOW   (4u << 20)  /* … and all of a connection */
#define RPC_H2_READ_SIZE     (64u << 10) /* bytes taken from a connection at a turn */

struct nghttp2_session;
struct nghttp2_session_callbacks;
struct nghttp2_option;
struct scall;

struct rpc_grpc_server {
	struct rpc_grpc_server_opts opts;
	struct cf_work *work;
	struct cf_listener *listeners; /* the program's loop */
	struct cf_loop *io;
	pthread_t thread; /* runs .io */
	bool has_thread, is_stopped;
	struct nghttp2_session_callbacks *callbacks;
	struct nghttp2_option *option;
	struct sconn *conns; /* I/O thread */
	uint8_t *inbox;      /* RPC_H2_READ_SIZE; I/O thread */
	_Atomic bool is_draining;
	_Atomic uint64_t calls;
	_Atomic size_t held;

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t idle;
	size_t open_calls; /* requests that came whole, and whose answers are not sent */
};

struct sconn {
	struct rpc_grpc_server *srv;
	struct rpc_peer peer;
	struct cf_event *ev;         /* I/O thread */
	struct sconn *next, **link;  /* I/O thread: the server's */
	_Atomic unsigned refs;       /* the I/O thread's, one for each call, one for each user */
	_Atomic size_t answer_bytes; /* of answers that were not sent whole */

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t room;  /* a stream's buffer shrank, a call was cancelled */
	int fd;
	struct nghttp2_session *session; /* made with the first byte: idle connections are cheap */
	struct cf_buf out;               /* cut into frames and not sent: the socket is full */
	struct scall *calls;             /* all that live */
	size_t running;                  /* … and have a handler */
	struct scall *ready, **ready_last; /* … and shall get one */
	size_t held;                       /* bytes of requests */
	bool is_dead;                      /* closed */
	bool is_watch_asked;               /* the I/O thread will watch for room in the socket */
};

struct scall {
	struct rpc_call head; /* first: handlers see only this */
	struct sconn *conn;
	const struct rpc_service *service;
	const struct rpc_method *method; /* NULL: none that we have */
	int32_t id;                      /* of the stream */
	int64_t started_us;
	_Atomic bool is_cancelled;

	/* Under the connection's lock until the call is ready, then its handler's. */
	struct rpc_h2_msg in;
	struct cf_view msg; /* the request, within .in */
	struct cf_buf meta; /* name NUL value NUL … */
	size_t meta_size;   /* as HTTP/2 counts */
	unsigned meta_pairs;
	bool has_msg, is_post, is_grpc;
	ProtobufCMessage *req;
	enum cf_code refused; /* before there was a handler */
	unsigned http_status;
	char *why;

	/* Under the connection's lock. */
	struct scall *next, **link, *next_ready;
	size_t held;         /* what it charges its connection and the server with */
	size_t answer_bytes; /* … for its answer */
	struct cf_buf out;   /* messages of the answer, */
	size_t sent;         /* of which so much was cut into frames */
	enum cf_code code;   /* the end of the answer */
	char *text;          /* … percent-encoded */
	bool is_open;        /* the stream is */
	bool is_ready;       /* whole or refused: what comes now is nobody's */
	bool is_running;     /* ready and not answered */
	bool has_begun;      /* response headers were given to nghttp2 */
	bool is_ended;       /* .code and .text are known */
	bool is_deferred;    /* nghttp2 waits for more messages */
};

/* ---- rpc_h2_server.c ---- */

void rpc_h2_server_call_begins(struct rpc_grpc_server *srv);
/* The server may be gone afterwards. */
void rpc_h2_server_call_ends(struct rpc_grpc_server *srv);

/* ---- rpc_h2_server_conn.c ---- */

/* Takes @fd. Of no thread yet. */
struct sconn *rpc_h2_sconn_new(struct rpc_grpc_server *srv, int fd_take,
                               const struct rpc_peer *peer);
void rpc_h2_sconn_ref(struct sconn *c);
void rpc_h2_sconn_unref(struct sconn *c); /* not under its lock */
/* I/O thread: begins to read; tells the peer that no calls are taken any more; ends. */
void rpc_h2_sconn_begin(struct sconn *c);
void rpc_h2_sconn_drain(struct sconn *c);
void rpc_h2_sconn_close(struct sconn *c);
/* Sends what nghttp2 has to say. Any thread, with the lock. */
void rpc_h2_sconn_flush_locked(struct sconn *c);
/* It cannot go on: the I/O thread will close it. */
void rpc_h2_sconn_break_locked(struct sconn *c);

/* ---- rpc_h2_server_stream.c ---- */

int rpc_h2_streams_init(struct rpc_grpc_server *srv, struct cf_err *err);
void rpc_h2_streams_fini(struct rpc_grpc_server *srv);
/* With the lock: a session with our settings on their way. False: no memory. */
bool rpc_h2_session_begin(struct sconn *c);
/* With the lock, instead of the callback for each stream: no session will tell. */
void rpc_h2_streams_lost(struct sconn *c);
/* With the lock: hands the end, or what waits in .out, to nghttp2. */
void rpc_h2_stream_answer(struct scall *call);

/* ---- rpc_h2_server_call.c ---- */

/* A call that is ready: gives it to a handler, or answers it. I/O thread, without the lock. */
void rpc_h2_scall_start(struct scall *call);
extern const struct rpc_ops rpc_h2_scall_ops;
const char *rpc_h2_scall_meta(struct rpc_call *head, const char *key);
/* With the lock, when it is neither open nor running. */
void rpc_h2_scall_free(struct scall *call);
