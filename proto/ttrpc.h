/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * ttrpc: containerd's and Kata's RPC over one byte stream. Server and client, both on a loop.
 *
 * SERVER. Handlers are those of proto/rpc.h. On the loop's thread:
 *
 *   static void prepare(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
 *   {
 *           const My__Request *req = (const My__Request *)msg;
 *           My__Response res = MY__RESPONSE__INIT;
 *           …
 *           rpc_reply(call, &res);      // or rpc_fail(call, CF_NOT_FOUND, "no %s", req->key);
 *   }
 *   static const struct rpc_method methods[] = {
 *           { "Prepare", &my__request__descriptor, &my__response__descriptor, prepare, 0 },
 *   };
 *   struct rpc_service service = { "my.Service", methods, CF_ARRAY_LEN(methods), state };
 *   const struct rpc_service *services[] = { &service };
 *   struct ttrpc_server_opts opts = { .loop = loop, .work = work,
 *                                     .services = services, .service_count = 1 };
 *
 *   r = ttrpc_server_new(&opts, &server, err);
 *   r = ttrpc_server_listen(server, "unix:///run/coffer/x.sock", err);
 *
 * A handler runs on the pool (.work) unless its row says RPC_INLINE or there is no pool; then it
 * runs on the loop's thread and must not block. It may keep the call and answer later from any
 * thread. A call whose connection or deadline is gone reads as rpc_cancelled(); answering it is
 * still required and does nothing but free it. rpc_send() blocks while TTRPC_OUT_ROOM bytes wait;
 * on the loop's thread, where it must not block, it fails with RESOURCE_EXHAUSTED instead.
 *
 * CLIENT. One connection, calls from any thread:
 *
 *   struct ttrpc_client_opts opts = { .loop = NULL };   // NULL: a thread of its own drives it
 *   r = ttrpc_client_dial("unix:///run/coffer/x.sock", 2000, &opts, &client, err);
 *   struct ttrpc_req req = { .service = "my.Service", .method = "Prepare", .msg = &request.base,
 *                            .out = &my__response__descriptor, .timeout_ms = 5000 };
 *   My__Response *res;
 *
 *   r = ttrpc_call(client, &req, (ProtobufCMessage **)&res, err);
 *   …
 *   my__response__free_unpacked(res, NULL);
 *
 * ttrpc_call() blocks; a peer's failure comes back as its code with its text. On a loop's own
 * thread use ttrpc_start(), whose callback runs on that loop.
 *
 * ADDRESSES, for listen and dial: "unix:///path" or "/path"; "vsock://CID:PORT" (CID -1: any);
 * "fd://N": inherited, a listening socket or one connected stream; "virtio-serial:/path": listen
 * opens the guest's port, dial connects to the chardev's socket (proto/vserial.h). Dial also takes
 * "hvsock:///path:PORT" (hybrid vsock of Cloud Hypervisor and Firecracker), "remote:///path" and
 * "mock:///path" (as unix).
 *
 * The input of both sides is hostile. Limits: a message is at most 4 MiB (.payload_max lowers it),
 * TTRPC_CALLS_MAX calls in flight per connection, TTRPC_CONNS_MAX connections; when a peer does not
 * read its answers, its requests are not read either. There is no cancel frame in ttrpc: a
 * client's timeout only ends its own wait; the server learns of it by the timeout in the request.
 */
#include "base/loop.h"
#include "base/work.h"
#include "proto/rpc.h"
#include "proto/ttrpc_frame.h"

#define TTRPC_CALLS_MAX 256u /* per connection; more wait unread */
#define TTRPC_CONNS_MAX 256u /* per server; more are closed at once */

/* ---- addresses ---- */

/* A listening socket, or a connected stream for fd://; unix sockets are 0600. An fd ≥ 0. */
cf_must_use int ttrpc_listen_fd(const char *address, struct cf_err *err);
/* A connected stream, waiting at most @timeout_ms for the peer to appear. An fd ≥ 0. */
cf_must_use int ttrpc_dial_fd(const char *address, int64_t timeout_ms, struct cf_err *err);

/* ---- server ---- */

struct ttrpc_server;

struct ttrpc_server_opts {
	struct cf_loop *loop; /* borrowed; outlives the server */
	struct cf_work *work; /* borrowed, or NULL: every handler runs inline */
	const struct rpc_service *const *services; /* borrowed, as all below it */
	size_t service_count;
	size_t payload_max; /* 0: TTRPC_PAYLOAD_MAX */
	/* NULL: over unix sockets our own uid or root, over anything else everybody. */
	bool (*allow)(const struct rpc_peer *peer, void *user);
	/* May be NULL. Loop thread, for each answered call: for the one log line and metrics. */
	void (*answered)(const char *service, const char *method, enum cf_code code, int64_t us,
	                 void *user);
	void *user;
};

cf_must_use int ttrpc_server_new(const struct ttrpc_server_opts *opts, struct ttrpc_server **ret,
                                 struct cf_err *err);
/* Any number of addresses. Loop thread, like everything of the server. */
cf_must_use int ttrpc_server_listen(struct ttrpc_server *srv, const char *address,
                                    struct cf_err *err);
/* A listening socket of any family. */
cf_must_use int ttrpc_server_add_listener(struct ttrpc_server *srv, int fd_take,
                                          struct cf_err *err);
/* One connected stream socket. */
cf_must_use int ttrpc_server_add_conn(struct ttrpc_server *srv, int fd_take, struct cf_err *err);
/*
 * A virtio-serial port, open for reading and writing: serves one session after the other, each
 * begun by the host's mark (proto/vserial.h). Whoever has the host's end may call: there is no uid.
 */
cf_must_use int ttrpc_server_add_port(struct ttrpc_server *srv, int fd_take, struct cf_err *err);
/* Stops accepting; new requests are answered UNAVAILABLE. */
void ttrpc_server_drain(struct ttrpc_server *srv);
size_t ttrpc_server_calls(const struct ttrpc_server *srv); /* in flight, over all connections */
/*
 * Closes everything. Calls still running see themselves cancelled and must still be answered, before
 * or after; free the pool after the server and before the loop.
 */
struct ttrpc_server *ttrpc_server_free(struct ttrpc_server *srv);

/* ---- client ---- */

struct ttrpc_client;

struct ttrpc_client_opts {
	struct cf_loop *loop; /* borrowed; NULL: a thread of its own */
	size_t payload_max;   /* 0: TTRPC_PAYLOAD_MAX */
	/*
	 * May be NULL. Once, on the loop's thread, when the connection is lost (not when freed). It
	 * may free the client if .loop was given.
	 */
	void (*lost)(void *user, const struct cf_err *why);
	void *user;
};

/* Takes a connected stream socket, also on failure. With .loop: on the loop's thread. */
cf_must_use int ttrpc_client_new(const struct ttrpc_client_opts *opts, int fd_take,
                                 struct ttrpc_client **ret, struct cf_err *err);
cf_must_use int ttrpc_client_dial(const char *address, int64_t timeout_ms,
                                  const struct ttrpc_client_opts *opts, struct ttrpc_client **ret,
                                  struct cf_err *err);
/*
 * Closes; async calls still pending end with CANCELLED. With .loop: on the loop's thread. No
 * ttrpc_call() may be running.
 */
struct ttrpc_client *ttrpc_client_free(struct ttrpc_client *client);
CF_DEFINE_CLEANUP(struct ttrpc_client *, ttrpc_client_free);

/* What to call; everything borrowed for the duration of the call that takes it. */
struct ttrpc_req {
	const char *service, *method;
	const ProtobufCMessage *msg;
	const ProtobufCMessageDescriptor *out;
	int64_t timeout_ms; /* 0: none */
	const struct ttrpc_meta *meta;
	size_t meta_count;
};

/*
 * Calls and waits. *ret is the caller's (protobuf_c_message_free_unpacked(msg, NULL)); @ret NULL
 * throws the answer away. Not on the loop's thread.
 * Return: 0; -CODE as the peer answered; -CF_UNAVAILABLE (connection lost), -CF_DEADLINE_EXCEEDED,
 * -CF_RESOURCE_EXHAUSTED (request too large, queue full).
 */
cf_must_use int ttrpc_call(struct ttrpc_client *client, const struct ttrpc_req *req,
                           ProtobufCMessage **ret, struct cf_err *err);

/*
 * The end of an async call, on the loop's thread, exactly once. @r 0: @msg is the answer, owned by
 * the callee (free it); negative: @err says why. For a stream @msg is NULL.
 */
typedef void ttrpc_done(void *user, int r, ProtobufCMessage *msg, const struct cf_err *err);
/* A message of a server stream, on the loop's thread, borrowed. Be prompt: streams share the link. */
typedef void ttrpc_item(void *user, const ProtobufCMessage *msg);

/* Any thread. 0: @done follows (never before ttrpc_start() returned on the loop's own thread). */
cf_must_use int ttrpc_start(struct ttrpc_client *client, const struct ttrpc_req *req,
                            ttrpc_done *done, void *user, struct cf_err *err);
/* As ttrpc_start() for a server-streaming method. */
cf_must_use int ttrpc_start_stream(struct ttrpc_client *client, const struct ttrpc_req *req,
                                   ttrpc_item *item, ttrpc_done *done, void *user,
                                   struct cf_err *err);
/* As ttrpc_call() for a server-streaming method: @item runs on the loop's thread. */
cf_must_use int ttrpc_call_stream(struct ttrpc_client *client, const struct ttrpc_req *req,
                                  ttrpc_item *item, void *user, struct cf_err *err);
