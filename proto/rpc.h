/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One handler signature for every transport: gRPC C core on the host, ttrpc in guest and shim.
 * Service files contain no transport code; a transport decodes, checks access and limits, and hands
 * over a struct rpc_call. Request messages come from a peer that may be hostile: their strings are
 * valid UTF-8 without NUL, sizes are capped, everything else is the handler's to check.
 *
 * A handler answers exactly once, with rpc_reply(), rpc_fail() or rpc_fail_err(); the call is gone
 * afterwards. It may keep the call and answer later, from any thread. @req is valid until then.
 */
#include "base/err.h"

#include <protobuf-c/protobuf-c.h>
#include <sys/types.h>

#define RPC_MESSAGE_MAX (16u << 20) /* gRPC; ttrpc caps at 4 MiB by its protocol */

/* Who is at the other end of a unix socket. */
struct rpc_peer {
	uid_t uid; /* (uid_t)-1: not known, or no unix socket */
	gid_t gid;
	pid_t pid;
};
#define RPC_PEER_UNKNOWN ((struct rpc_peer){ (uid_t)-1, (gid_t)-1, -1 })
struct rpc_peer rpc_peer_of(int fd);
bool rpc_peer_is_ours(const struct rpc_peer *peer); /* our own uid, or root */

struct rpc_call;

struct rpc_ops {
	/* One message of a server stream. Blocks for flow control; negative: the peer is gone. */
	int (*send)(struct rpc_call *call, const ProtobufCMessage *msg, struct cf_err *err);
	/* The answer: @msg with code 0, or NULL with a code and a text. Takes the call. */
	void (*finish)(struct rpc_call *call, const ProtobufCMessage *msg, enum cf_code code,
	               const char *text);
	/* The peer gave up, or the deadline passed. Any thread. */
	bool (*cancelled)(struct rpc_call *call);
	/* A metadata value, or NULL; borrowed until the call is answered. @key in lower case. */
	const char *(*meta)(struct rpc_call *call, const char *key);
};

/* The head of each transport's call object. */
struct rpc_call {
	const struct rpc_ops *ops;
	const char *service, *method; /* borrowed from the method table */
	const char *ns;               /* containerd-namespace, or NULL */
	int64_t deadline_ms;          /* CLOCK_MONOTONIC; INT64_MAX: none */
	uid_t uid;                    /* peer; (uid_t)-1 when unknown */
	gid_t gid;
	pid_t pid; /* -1 when unknown */
};

typedef void rpc_handler(struct rpc_call *call, const ProtobufCMessage *req, void *user);

enum {
	RPC_INLINE = 1u << 0, /* never blocks: may run on the I/O thread */
	RPC_STREAM = 1u << 1, /* server streaming: rpc_send() any number of times, then answer */
};

struct rpc_method {
	const char *name; /* short: "Prepare" */
	const ProtobufCMessageDescriptor *in, *out;
	rpc_handler *fn;
	unsigned flags;
};

/* A table with static lifetime. Methods without a row are answered UNIMPLEMENTED. */
struct rpc_service {
	const char *name; /* full: "containerd.services.snapshots.v1.Snapshots" */
	const struct rpc_method *methods;
	size_t method_count;
	void *user; /* handed to each handler */
};

cf_must_use static inline int rpc_send(struct rpc_call *call, const void *msg, struct cf_err *err)
{
	return call->ops->send(call, msg, err);
}
static inline void rpc_reply(struct rpc_call *call, const void *msg)
{
	call->ops->finish(call, msg, CF_OK, NULL);
}
void rpc_fail(struct rpc_call *call, enum cf_code code, const char *fmt, ...) cf_printf(3, 4);
/* Answers with what a callee failed with. */
static inline void rpc_fail_err(struct rpc_call *call, const struct cf_err *err)
{
	call->ops->finish(call, NULL, err->code, err->msg);
}
static inline bool rpc_cancelled(struct rpc_call *call)
{
	return call->ops->cancelled(call);
}

#define RPC_UNPACK_FACTOR 8u /* an honest message of short strings needs about six times its size */
#define RPC_UNPACK_SLACK  (256u << 10)

/*
 * Unpacks with a counting allocator: at most RPC_UNPACK_FACTOR × size + RPC_UNPACK_SLACK bytes of
 * memory, strings valid UTF-8 without NUL, at most 32 messages inside one another. Free with protobuf_c_message_free_unpacked(msg, NULL).
 * Return: 0, -CF_INVALID_ARGUMENT, -CF_RESOURCE_EXHAUSTED.
 */
cf_must_use int rpc_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size,
                           ProtobufCMessage **ret, struct cf_err *err);
