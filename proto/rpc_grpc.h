/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * gRPC over unix sockets, made twice: over nghttp2 and over gRPC C core; COFFER_GRPC chooses. Handlers
 * are those of proto/rpc.h. What a peer sends is hostile until decoded and checked here (limits as in
 * rpc_unpack()).
 *
 * SERVER. The program's loop accepts; who may connect is decided there by peer credentials. One thread
 * of the server's own decodes, runs RPC_INLINE handlers and hands all others to a pool.
 *
 *   struct rpc_grpc_server_opts opts = { .loop = loop, .threads = 4,
 *                                        .services = services, .service_count = 1 };
 *   r = rpc_grpc_server_new(&opts, &server, err);
 *   r = rpc_grpc_server_listen(server, "/run/coffer/x.sock", err);
 *   …
 *   rpc_grpc_server_stop(server, 5000);
 *   rpc_grpc_server_free(server);
 *
 * Take a lock of your own (flock on the state directory) before you listen, so that a second
 * instance cannot take the socket away from the first.
 *
 * Never fork() without exec in a process that made one of these: its threads do not survive it.
 * Set-up and end of the library are done here.
 *
 * CLIENT. Blocking calls from any thread. Over nghttp2 it has no thread of its own, and the calls of
 * one client take turns; the wait counts against a call's deadline. Who wants two at once makes two
 * clients; an @item that calls through its own client is refused (FAILED_PRECONDITION). A connection
 * that was lost is made anew by the next call. Messages are read as they are used, so a slow @item
 * holds the server back. Metadata keys are in lower case, none "grpc-…" or "…-bin".
 */
#include "base/loop.h"
#include "base/mem.h"
#include "proto/rpc.h"

#define RPC_GRPC_STREAMS_MAX 1000 /* concurrent calls per connection */
#define RPC_GRPC_QUEUE_MAX   1024 /* calls waiting for the pool; more are RESOURCE_EXHAUSTED */

struct rpc_grpc_server;

struct rpc_grpc_server_opts {
	struct cf_loop *loop;                      /* borrowed; outlives the server */
	unsigned threads;                          /* of the pool, 1–64 */
	const struct rpc_service *const *services; /* borrowed */
	size_t service_count;
	/* NULL: our own uid or root. Loop thread. */
	bool (*allow)(const struct rpc_peer *peer, void *user);
	/* May be NULL. Any thread, for each answered call. */
	void (*answered)(const char *service, const char *method, enum cf_code code, int64_t us,
	                 void *user);
	void *user;
};

/* Loop thread, like all of the server's calls. */
cf_must_use int rpc_grpc_server_new(const struct rpc_grpc_server_opts *opts,
                                    struct rpc_grpc_server **ret, struct cf_err *err);
/* "/path" or "unix:///path": a socket of mode 0600, removed at the end. */
cf_must_use int rpc_grpc_server_listen(struct rpc_grpc_server *srv, const char *address,
                                       struct cf_err *err);
/* An inherited listening socket (socket activation); its file is left alone. */
cf_must_use int rpc_grpc_server_add_listener(struct rpc_grpc_server *srv, int fd_take,
                                             struct cf_err *err);
/* One connected stream socket. */
cf_must_use int rpc_grpc_server_add_conn(struct rpc_grpc_server *srv, int fd_take,
                                         struct cf_err *err);
/* Answered calls and those in flight, since the start. Any thread. */
uint64_t rpc_grpc_server_calls(const struct rpc_grpc_server *srv);
/*
 * Stops accepting, lets calls end for at most @drain_ms, cancels the rest and waits for their
 * handlers. Kept calls must be answered by then. New calls are refused with UNAVAILABLE.
 */
void rpc_grpc_server_stop(struct rpc_grpc_server *srv, int64_t drain_ms);
/* Stops at once if nobody did. NULL is fine; returns NULL. */
struct rpc_grpc_server *rpc_grpc_server_free(struct rpc_grpc_server *srv);

/* ---- client ---- */

struct rpc_grpc_client;

struct rpc_grpc_req {
	const char *service, *method;
	const ProtobufCMessage *msg;
	const ProtobufCMessageDescriptor *out;
	int64_t timeout_ms;      /* 0: none */
	const char *const *meta; /* key, value, key, value, …, NULL; may be NULL */
};

/* @path of a unix socket. Connects with the first call; a peer that is not there is UNAVAILABLE. */
cf_must_use int rpc_grpc_client_new(const char *path, struct rpc_grpc_client **ret,
                                    struct cf_err *err);
struct rpc_grpc_client *rpc_grpc_client_free(struct rpc_grpc_client *client);
CF_DEFINE_CLEANUP(struct rpc_grpc_client *, rpc_grpc_client_free);
/* *ret is the caller's; NULL throws the answer away. A peer's failure is its code and text. */
cf_must_use int rpc_grpc_call(struct rpc_grpc_client *client, const struct rpc_grpc_req *req,
                              ProtobufCMessage **ret, struct cf_err *err);
/* @item runs on this thread for each message; borrowed. False ends the call early (CANCELLED). */
cf_must_use int rpc_grpc_call_stream(struct rpc_grpc_client *client, const struct rpc_grpc_req *req,
                                     bool (*item)(void *user, const ProtobufCMessage *msg),
                                     void *user, struct cf_err *err);
