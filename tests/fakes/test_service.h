/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A service whose methods show what an rpc server does with them; the same one for ttrpc and gRPC.
 * Echo and EchoInline answer what was asked; Fails and StreamFails fail; Who tells what the server knows
 * of its caller, Left how long he waits; Hold waits until nobody wants the answer; Keep is answered by a
 * later Release; Stream sends stream_count items of stream_bytes; TooLarge answers with too_large_bytes.
 */
#include "base/loop.h"
#include "base/str.h"
#include "proto/containerd_types.pb-c.h"
#include "proto/rpc.h"
#include "tests/harness/test.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define TEST_SERVICE_KEPT_MAX 512

typedef Containerd__Types__Mount Mount;
#define MOUNT_INIT  CONTAINERD__TYPES__MOUNT__INIT
#define MOUNT_TYPES &containerd__types__mount__descriptor, &containerd__types__mount__descriptor

struct test_service {
	struct rpc_service service;
	const struct rpc_service *list[1]; /* for the server's options */
	_Atomic int cancelled_seen, streamed, refused_sends;
	struct rpc_call *_Atomic kept; /* the newest */
	struct rpc_call *more_kept[TEST_SERVICE_KEPT_MAX];
	size_t more_count, too_large_bytes;
	_Atomic size_t stream_bytes, stream_count;
};

static inline char *text(const char *s)
{
	return (char *)(uintptr_t)s;
}

static inline void test_echo(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	(void)user;
	rpc_reply(call, msg);
}

static inline void test_fails(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	(void)user;
	rpc_fail(call, CF_NOT_FOUND, "no \"%s\" hier: ä%%", ((const Mount *)msg)->source);
}

static inline void test_who(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	Mount res = MOUNT_INIT;
	cf_cleanup(cf_freep) char *uid =
		cf_asprintf("%d %d", (int)call->uid, call->pid == getpid());

	(void)msg;
	(void)user;
	res.type = text(call->ns ? call->ns : "none");
	res.source = uid;
	res.target = text(call->ops->meta(call, "x-test") ? call->ops->meta(call, "x-test") : "");
	rpc_reply(call, &res);
}

/* How long the caller would wait, in milliseconds. */
static inline void test_left(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	Mount res = MOUNT_INIT;
	long long left = (long long)(call->deadline_ms - cf_now_ms());
	cf_cleanup(cf_freep) char *says = cf_asprintf("%lld", left);

	(void)msg;
	(void)user;
	res.source = call->deadline_ms == INT64_MAX ? text("for ever") : says;
	rpc_reply(call, &res);
}

/* Holds the call until its deadline or its caller is gone. */
static inline void test_hold(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	struct test_service *s = user;

	while (!rpc_cancelled(call))
		poll(NULL, 0, 1);
	(void)msg;
	s->cancelled_seen++;
	rpc_fail(call, CF_DEADLINE_EXCEEDED, "nobody waits any more");
}

static inline void test_keep(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	struct test_service *s = user;

	(void)msg;
	if (s->kept)
		s->more_kept[s->more_count++] = s->kept;
	s->kept = call;
}

static inline void test_release(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	struct test_service *s = user;
	struct rpc_call *kept = s->kept;

	s->kept = NULL;
	rpc_reply(kept, msg);
	rpc_reply(call, msg);
}

static inline void test_stream(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	struct test_service *s = user;
	Mount item = MOUNT_INIT;
	char *big = cf_zalloc(s->stream_bytes + 1);
	struct cf_err err;
	int r = 0;

	(void)msg;
	memset(big, 'x', s->stream_bytes);
	item.source = big;
	for (size_t i = 0; r == 0 && i < s->stream_count; i++) {
		r = rpc_send(call, &item, &err);
		s->streamed++;
	}
	free(big);
	if (r < 0)
		s->refused_sends++;
	if (r < 0)
		rpc_fail_err(call, &err);
	else
		rpc_reply(call, NULL);
}

static inline void test_stream_fails(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	struct cf_err err;

	(void)user;
	EXPECT(rpc_send(call, msg, &err) == 0);
	rpc_fail(call, CF_ABORTED, "enough");
}

static inline void test_too_large(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	struct test_service *s = user;
	Mount res = MOUNT_INIT;
	char *big = cf_zalloc(s->too_large_bytes + 1);

	(void)msg;
	memset(big, 'x', s->too_large_bytes);
	res.source = big;
	rpc_reply(call, &res);
	free(big);
}

static const struct rpc_method test_service_methods[] = {
	{ "Echo", MOUNT_TYPES, test_echo, 0 },
	{ "EchoInline", MOUNT_TYPES, test_echo, RPC_INLINE },
	{ "Fails", MOUNT_TYPES, test_fails, 0 },
	{ "Who", MOUNT_TYPES, test_who, RPC_INLINE },
	{ "Left", MOUNT_TYPES, test_left, RPC_INLINE },
	{ "Hold", MOUNT_TYPES, test_hold, 0 },
	{ "Keep", MOUNT_TYPES, test_keep, RPC_INLINE },
	{ "Release", MOUNT_TYPES, test_release, RPC_INLINE },
	{ "Stream", MOUNT_TYPES, test_stream, RPC_STREAM },
	{ "StreamFails", MOUNT_TYPES, test_stream_fails, RPC_STREAM },
	{ "TooLarge", MOUNT_TYPES, test_too_large, 0 },
};

static inline void test_service_init(struct test_service *s)
{
	s->service = (struct rpc_service){ "test.Service", test_service_methods,
		                           CF_ARRAY_LEN(test_service_methods), s };
	s->list[0] = &s->service;
	s->stream_bytes = 10;
	s->stream_count = 3;
}

/* Runs @fn on eight threads and waits for all of them. */
static inline void test_service_eight_at_once(void *(*fn)(void *arg), void *arg)
{
	pthread_t t[8];

	for (size_t i = 0; i < CF_ARRAY_LEN(t); i++)
		EXPECT(pthread_create(&t[i], NULL, fn, arg) == 0);
	for (size_t i = 0; i < CF_ARRAY_LEN(t); i++)
		pthread_join(t[i], NULL);
}
