/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/rpc_grpc.h"

#include "tests/fakes/grpc_world.h"

#include <sys/stat.h>

/* Core's threads keep two descriptors. */
static struct world *start(bool (*allow)(const struct rpc_peer *peer, void *user))
{
	cf_test_library_keeps_fds(2);
	struct world *w = world_start(allow);

	w->drain_ms = 2000;
	return w;
}

static struct rpc_grpc_client *client_new(const struct world *w)
{
	struct rpc_grpc_client *c = NULL;
	struct cf_err err;

	EXPECT_OK(rpc_grpc_client_new(w->path, &c, &err), &err);
	return c;
}

static struct rpc_grpc_req request(const char *method, const Mount *msg)
{
	return (struct rpc_grpc_req){ .service = "test.Service",
		                      .method = method,
		                      .msg = &msg->base,
		                      .out = &containerd__types__mount__descriptor,
		                      .timeout_ms = 20000 };
}

static int call(struct rpc_grpc_client *c, const char *method, const char *source,
                struct cf_err *err)
{
	Mount msg = MOUNT_INIT;
	struct rpc_grpc_req req = request(method, &msg);

	msg.source = text(source);
	return rpc_grpc_call(c, &req, NULL, err);
}

CF_TEST(grpc_call_brings_back_the_answer)
{
	struct world *w = start(NULL);
	struct rpc_grpc_client *c = client_new(w);
	const char *names[] = { "Echo", "EchoInline" };
	struct cf_err err;
	struct stat st;

	EXPECT(stat(w->path, &st) == 0 && (st.st_mode & 0777) == 0600);
	for (size_t i = 0; i < CF_ARRAY_LEN(names); i++) {
		Mount msg = MOUNT_INIT, *res = NULL;
		struct rpc_grpc_req req = request(names[i], &msg);

		msg.source = text("over there");
		EXPECT_OK(rpc_grpc_call(c, &req, (ProtobufCMessage **)&res, &err), &err);
		EXPECT_STR(res->source, "over there");
		containerd__types__mount__free_unpacked(res, NULL);
	}
	EXPECT(rpc_grpc_server_calls(w->srv) == 2);
	rpc_grpc_client_free(c);
	world_free(w);
}

CF_TEST(grpc_errors_keep_code_and_text)
{
	struct world *w = start(NULL);
	struct rpc_grpc_client *c = client_new(w);
	struct cf_err err;

	EXPECT_FAILS(call(c, "Fails", "bread", &err), CF_NOT_FOUND);
	EXPECT_STR(err.msg, "no \"bread\" hier: ä%");
	EXPECT_FAILS(call(c, "Nothing", "", &err), CF_UNIMPLEMENTED);
	EXPECT_FAILS(call(c, "Nothing", "", &err), CF_UNIMPLEMENTED);
	EXPECT_FAILS(call(c, "Echo", "not\xffutf8", &err), CF_INVALID_ARGUMENT);
	Mount msg = MOUNT_INIT;
	struct rpc_grpc_req req = { .service = "other.Service",
		                    .method = "Echo",
		                    .msg = &msg.base,
		                    .out = &containerd__types__mount__descriptor };

	EXPECT_FAILS(rpc_grpc_call(c, &req, NULL, &err), CF_UNIMPLEMENTED);
	char *big = cf_zalloc(RPC_MESSAGE_MAX + 1);

	memset(big, 'x', RPC_MESSAGE_MAX);
	EXPECT_FAILS(call(c, "Echo", big, &err), CF_RESOURCE_EXHAUSTED);
	big[RPC_MESSAGE_MAX - 100] = '\0'; /* one that just passes */
	EXPECT_OK(call(c, "Echo", big, &err), &err);
	free(big);
	rpc_grpc_client_free(c);
	world_free(w);
}

CF_TEST(grpc_handlers_see_peer_and_metadata)
{
	static const char *const meta[] = { "containerd-namespace", "k8s.io", "x-test", "value",
		                            NULL };
	struct world *w = start(NULL);
	struct rpc_grpc_client *c = client_new(w);
	Mount msg = MOUNT_INIT, *res = NULL;
	struct rpc_grpc_req req = request("Who", &msg);
	struct cf_err err;

	req.meta = meta;
	EXPECT_OK(rpc_grpc_call(c, &req, (ProtobufCMessage **)&res, &err), &err);
	cf_cleanup(cf_freep) char *uid = cf_asprintf("%d 1", (int)geteuid());

	EXPECT_STR(res->source, uid);
	EXPECT_STR(res->type, "k8s.io");
	EXPECT_STR(res->target, "value");
	containerd__types__mount__free_unpacked(res, NULL);
	rpc_grpc_client_free(c);
	world_free(w);
}

CF_TEST(grpc_handlers_know_how_long_they_have)
{
	struct world *w = start(NULL);
	struct rpc_grpc_client *c = client_new(w);
	Mount msg = MOUNT_INIT, *res = NULL;
	struct rpc_grpc_req req = request("Left", &msg);
	struct cf_err err;
	uint64_t ms;

	EXPECT_OK(rpc_grpc_call(c, &req, (ProtobufCMessage **)&res, &err), &err);
	EXPECT_OK(cf_parse_u64(cf_view_str(res->source), 20001, &ms, &err), &err);
	EXPECT(ms > 1000);
	containerd__types__mount__free_unpacked(res, NULL);
	req.timeout_ms = 0;
	EXPECT_OK(rpc_grpc_call(c, &req, (ProtobufCMessage **)&res, &err), &err);
	EXPECT_STR(res->source, "for ever");
	containerd__types__mount__free_unpacked(res, NULL);
	rpc_grpc_client_free(c);
	world_free(w);
}

CF_TEST(grpc_deadline_cancels_a_running_handler)
{
	struct world *w = start(NULL);
	struct rpc_grpc_client *c = client_new(w);
	Mount msg = MOUNT_INIT;
	struct rpc_grpc_req req = request("Hold", &msg);
	struct cf_err err;

	req.timeout_ms = 50;
	EXPECT_FAILS(rpc_grpc_call(c, &req, NULL, &err), CF_DEADLINE_EXCEEDED);
	while (!w->svc.cancelled_seen)
		poll(NULL, 0, 1);
	EXPECT_OK(call(c, "Echo", "", &err), &err);
	rpc_grpc_client_free(c);
	world_free(w);
}

struct holder {
	struct rpc_grpc_client *c;
	int r;
	int64_t timeout_ms;
	const char *method;
};

static void *hold_main(void *arg)
{
	struct holder *h = arg;
	Mount msg = MOUNT_INIT;
	struct rpc_grpc_req req = request(h->method, &msg);
	struct cf_err err;

	req.timeout_ms = h->timeout_ms;
	h->r = rpc_grpc_call(h->c, &req, NULL, &err);
	return NULL;
}

CF_TEST(grpc_a_kept_call_is_answered_later_also_when_nobody_waits)
{
	struct world *w = start(NULL);
	struct holder h = { .c = client_new(w), .timeout_ms = 5000, .method = "Keep" };
	struct rpc_grpc_client *d = client_new(w);
	struct cf_err err;
	pthread_t t;

	EXPECT(pthread_create(&t, NULL, hold_main, &h) == 0);
	while (!w->svc.kept)
		poll(NULL, 0, 1);
	EXPECT_OK(call(d, "Release", "", &err), &err);
	pthread_join(t, NULL);
	EXPECT(h.r == 0);
	h.timeout_ms = 30;
	hold_main(&h);
	EXPECT(h.r == -CF_DEADLINE_EXCEEDED && w->svc.kept);
	rpc_grpc_client_free(h.c);
	EXPECT_OK(call(d, "Release", "", &err), &err);
	rpc_grpc_client_free(d);
	world_free(w);
}

static bool count_item(void *user, const ProtobufCMessage *msg)
{
	EXPECT(msg);
	++*(size_t *)user;
	return true;
}

static bool one_item(void *user, const ProtobufCMessage *msg)
{
	(void)msg;
	++*(size_t *)user;
	poll(NULL, 0, 300); /* time enough for the sender to run into the window */
	return false;
}

CF_TEST(grpc_streams_come_whole_and_end)
{
	struct world *w = start(NULL);
	struct rpc_grpc_client *c = client_new(w);
	Mount msg = MOUNT_INIT;
	struct rpc_grpc_req req = request("Stream", &msg);
	struct cf_err err;
	size_t n = 0;

	w->svc.stream_count = 1000;
	EXPECT_OK(rpc_grpc_call_stream(c, &req, count_item, &n, &err), &err);
	EXPECT(n == 1000);
	w->svc.stream_count = 0;
	EXPECT_OK(rpc_grpc_call_stream(c, &req, count_item, &n, &err), &err);
	EXPECT(n == 1000);
	req = request("StreamFails", &msg);
	EXPECT_FAILS(rpc_grpc_call_stream(c, &req, count_item, &n, &err), CF_ABORTED);
	EXPECT(n == 1001 && cf_streq(err.msg, "enough"));
	rpc_grpc_client_free(c);
	world_free(w);
}

CF_TEST(grpc_a_stream_waits_for_its_reader_and_ends_when_he_goes)
{
	struct world *w = start(NULL);
	struct rpc_grpc_client *c = client_new(w), *d = client_new(w);
	Mount msg = MOUNT_INIT;
	struct rpc_grpc_req req = request("Stream", &msg);
	struct cf_err err;
	size_t n = 0;

	w->svc.stream_bytes = 64u << 10;
	w->svc.stream_count = 1000000;
	EXPECT_FAILS(rpc_grpc_call_stream(c, &req, one_item, &n, &err), CF_CANCELLED);
	EXPECT(w->svc.streamed < 1000);
	while (!w->svc.refused_sends)
		poll(NULL, 0, 1);
	EXPECT_OK(call(d, "Echo", "", &err), &err);
	rpc_grpc_client_free(c);
	rpc_grpc_client_free(d);
	world_free(w);
}

CF_TEST(grpc_stop_is_bounded_when_handlers_wait)
{
	struct world *w = start(NULL);
	struct holder h = { .c = client_new(w), .timeout_ms = 60000, .method = "Hold" };
	pthread_t t;

	w->drain_ms = 100;
	EXPECT(pthread_create(&t, NULL, hold_main, &h) == 0);
	poll(NULL, 0, 100);
	int64_t from = cf_now_ms();

	world_free(w);
	EXPECT(cf_now_ms() - from < 3000);
	pthread_join(t, NULL);
	EXPECT(h.r == -CF_UNAVAILABLE || h.r == -CF_CANCELLED);
	rpc_grpc_client_free(h.c);
}

static bool nobody(const struct rpc_peer *peer, void *user)
{
	(void)user;
	EXPECT(peer->uid == geteuid() && peer->pid == getpid());
	return false;
}

CF_TEST(grpc_server_asks_who_may_connect)
{
	struct world *w = start(nobody);
	struct rpc_grpc_client *c = client_new(w);
	struct cf_err err;

	EXPECT_FAILS(call(c, "Echo", "", &err), CF_UNAVAILABLE);
	rpc_grpc_client_free(c);
	world_free(w);
}

static void *call_many(void *arg)
{
	struct world *w = arg;
	struct rpc_grpc_client *c = client_new(w);
	struct cf_err err;

	for (int i = 0; i < 200; i++)
		EXPECT_OK(call(c, i % 2 ? "Echo" : "EchoInline", "x", &err), &err);
	rpc_grpc_client_free(c);
	return NULL;
}

CF_TEST(grpc_serves_many_clients_at_once)
{
	struct world *w = start(NULL);

	test_service_eight_at_once(call_many, w);
	EXPECT_INT(rpc_grpc_server_calls(w->srv), 8 * 200);
	world_free(w);
}
