/* fuzz: proto */
/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a connection sends to the gRPC server over nghttp2: HTTP/2's frames, header lists, messages. The
 * first byte says whether the client's preface is put before the rest, how wide its windows are, and
 * where the bytes are cut in two. Whatever comes, the connection ends when the client's side does.
 */
#include "base/fd.h"
#include "proto/containerd_types.pb-c.h"
#include "proto/rpc_grpc.h"

#include <assert.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PREFACE      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define SETTINGS     "\0\0\0\4\0\0\0\0\0"
#define SETTINGS_ONE "\0\0\6\4\0\0\0\0\0\0\4\0\0\0\1" /* windows of one byte */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void echo(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	(void)user;
	(void)!call->ops->meta(call, "x-test");
	rpc_reply(call, msg);
}

static void fails(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	(void)user;
	rpc_fail(call, CF_NOT_FOUND, "no %s", ((const Containerd__Types__Mount *)msg)->source);
}

static void hold(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	(void)msg;
	(void)user;
	while (!rpc_cancelled(call))
		poll(NULL, 0, 1);
	rpc_fail(call, CF_CANCELLED, "nobody waits any more");
}

static void stream(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	struct cf_err err;
	int r = 0;

	(void)user;
	for (int i = 0; r == 0 && i < 3; i++)
		r = rpc_send(call, msg, &err);
	if (r < 0)
		rpc_fail_err(call, &err);
	else
		rpc_reply(call, NULL);
}

#define MOUNT &containerd__types__mount__descriptor, &containerd__types__mount__descriptor

static const struct rpc_method methods[] = {
	{ "Echo", MOUNT, echo, 0 },   { "EchoInline", MOUNT, echo, RPC_INLINE },
	{ "Fails", MOUNT, fails, 0 }, { "Who", MOUNT, echo, RPC_INLINE },
	{ "Hold", MOUNT, hold, 0 },   { "Stream", MOUNT, stream, RPC_STREAM },
};
static const struct rpc_service service = { "test.Service", methods, CF_ARRAY_LEN(methods), NULL };
static const struct rpc_service *const services[] = { &service };

static struct rpc_grpc_server *server(void)
{
	static struct rpc_grpc_server *srv;
	struct rpc_grpc_server_opts opts = { .threads = 2,
		                             .services = services,
		                             .service_count = 1 };
	struct cf_err err;

	if (srv)
		return srv;
	/* The loop is for listeners alone, and there is none. */
	assert(cf_loop_new(&opts.loop, &err) == 0);
	assert(rpc_grpc_server_new(&opts, &srv, &err) == 0);
	return srv;
}

static void put(int fd, struct cf_view v)
{
	while (v.size) {
		ssize_t n = send(fd, v.data, v.size, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		v = cf_view_sub(v, (size_t)n, SIZE_MAX);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t how = size ? data[0] : 0, sink[4096];
	struct cf_view in = cf_view_sub(cf_view(data, size), 1, SIZE_MAX);
	size_t cut = (size_t)(how >> 2) * in.size / 64;
	int fd[2];
	struct cf_err err;

	assert(cf_socketpair(SOCK_STREAM, fd, &err) == 0);
	assert(rpc_grpc_server_add_conn(server(), fd[1], &err) == 0);
	if (how & 1)
		put(fd[0], cf_view(PREFACE, sizeof(PREFACE) - 1));
	if (how & 1 && how & 2)
		put(fd[0], cf_view(SETTINGS_ONE, sizeof(SETTINGS_ONE) - 1));
	else if (how & 1)
		put(fd[0], cf_view(SETTINGS, sizeof(SETTINGS) - 1));
	put(fd[0], cf_view_sub(in, 0, cut));
	put(fd[0], cf_view_sub(in, cut, SIZE_MAX));
	shutdown(fd[0], SHUT_WR);
	while (recv(fd[0], sink, sizeof(sink), 0) > 0)
		;
	close(fd[0]);
	return 0;
}
