/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/ttrpc.h"

#include "base/fd.h"
#include "base/str.h"
#include "tests/fakes/test_service.h"

#include <pthread.h>
#include <sys/socket.h>

/* ---- a server on a thread of its own ---- */

struct world {
	struct cf_loop *loop;
	struct cf_work *work;
	struct ttrpc_server *srv;
	char *dir, *address;
	pthread_t thread;
	struct test_service svc;
	_Atomic int answered;
};

static void count_answer(const char *service, const char *method, enum cf_code code, int64_t us,
                         void *user)
{
	struct world *w = user;

	(void)code;
	EXPECT_STR(service, "test.Service");
	EXPECT(method && us >= 0);
	w->answered++;
}

static void *loop_main(void *arg)
{
	struct world *w = arg;
	struct cf_err err;
	struct ttrpc_server_opts opts = {
		.loop = w->loop,
		.work = w->work,
		.services = w->svc.list,
		.service_count = 1,
		.answered = count_answer,
		.user = w,
	};

	EXPECT_OK(ttrpc_server_new(&opts, &w->srv, &err), &err);
	EXPECT_OK(ttrpc_server_listen(w->srv, w->address, &err), &err);
	cf_loop_run(w->loop);
	ttrpc_server_free(w->srv);
	for (size_t i = 0; i < w->svc.more_count; i++)
		rpc_fail(w->svc.more_kept[i], CF_CANCELLED, "the end");
	return NULL;
}

static struct world *world_new(void)
{
	struct world *w = cf_zalloc(sizeof(*w));
	struct cf_err err;

	w->dir = cf_test_tmpdir();
	w->address = cf_asprintf("unix://%s/sock", w->dir);
	test_service_init(&w->svc);
	w->svc.too_large_bytes = TTRPC_PAYLOAD_MAX;
	EXPECT_OK(cf_loop_new(&w->loop, &err), &err);
	EXPECT_OK(cf_work_new(4, 64, &w->work, &err), &err);
	EXPECT(pthread_create(&w->thread, NULL, loop_main, w) == 0);
	return w;
}

static void stop(void *arg)
{
	cf_loop_stop(arg);
}

static void world_free(struct world *w)
{
	cf_loop_post(w->loop, stop, w->loop);
	pthread_join(w->thread, NULL);
	cf_work_free(w->work);
	cf_loop_free(w->loop);
	free(w->address);
	free(w->dir);
	free(w);
}

static struct ttrpc_client *client_new(const struct world *w)
{
	struct ttrpc_client_opts opts = { 0 };
	struct ttrpc_client *c = NULL;
	struct cf_err err;

	EXPECT_OK(ttrpc_client_dial(w->address, 2000, &opts, &c, &err), &err);
	return c;
}

static struct ttrpc_req request(const char *method, const Mount *msg)
{
	return (struct ttrpc_req){ .service = "test.Service",
		                   .method = method,
		                   .msg = &msg->base,
		                   .out = &containerd__types__mount__descriptor };
}

static int call(struct ttrpc_client *c, const char *method, const char *source, struct cf_err *err)
{
	Mount msg = MOUNT_INIT;
	struct ttrpc_req req = request(method, &msg);

	msg.source = text(source);
	return ttrpc_call(c, &req, NULL, err);
}

/* ---- tests ---- */

CF_TEST(ttrpc_call_brings_back_the_answer)
{
	struct world *w = world_new();
	struct ttrpc_client *c = client_new(w);
	const char *names[] = { "Echo", "EchoInline" };
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(names); i++) {
		Mount msg = MOUNT_INIT, *res = NULL;
		struct ttrpc_req req = request(names[i], &msg);

		msg.source = text("over there");
		EXPECT_OK(ttrpc_call(c, &req, (ProtobufCMessage **)&res, &err), &err);
		EXPECT_STR(res->source, "over there");
		containerd__types__mount__free_unpacked(res, NULL);
	}
	ttrpc_client_free(c);
	world_free(w);
}

CF_TEST(ttrpc_errors_keep_code_and_text)
{
	struct world *w = world_new();
	struct ttrpc_client *c = client_new(w);
	struct cf_err err;

	EXPECT_FAILS(call(c, "Fails", "bread", &err), CF_NOT_FOUND);
	EXPECT_STR(err.msg, "no \"bread\" hier: ä%");
	EXPECT_FAILS(call(c, "Nothing", "", &err), CF_UNIMPLEMENTED);
	EXPECT_STR(err.msg, "method Nothing");
	EXPECT_FAILS(call(c, "TooLarge", "", &err), CF_RESOURCE_EXHAUSTED);
	struct ttrpc_req req = { .service = "other.Service",
		                 .method = "Echo",
		                 .out = &containerd__types__mount__descriptor };

	EXPECT_FAILS(ttrpc_call(c, &req, NULL, &err), CF_UNIMPLEMENTED);
	EXPECT_STR(err.msg, "service other.Service");
	char *big = cf_zalloc(TTRPC_PAYLOAD_MAX + 1);

	memset(big, 'x', TTRPC_PAYLOAD_MAX);
	EXPECT_FAILS(call(c, "Echo", big, &err), CF_RESOURCE_EXHAUSTED);
	free(big);
	EXPECT_OK(call(c, "Echo", "still here", &err), &err);
	ttrpc_client_free(c);
	world_free(w);
}

CF_TEST(ttrpc_handlers_see_peer_and_metadata)
{
	struct world *w = world_new();
	struct ttrpc_client *c = client_new(w);
	struct ttrpc_meta meta[] = { { "containerd-namespace-ttrpc", "k8s.io" },
		                     { "x-test", "value" } };
	Mount msg = MOUNT_INIT, *res = NULL;
	struct ttrpc_req req = request("Who", &msg);
	struct cf_err err;

	req.meta = meta;
	req.meta_count = 2;
	EXPECT_OK(ttrpc_call(c, &req, (ProtobufCMessage **)&res, &err), &err);
	cf_cleanup(cf_freep) char *uid = cf_asprintf("%d 1", (int)geteuid());

	EXPECT_STR(res->source, uid);
	EXPECT_STR(res->type, "k8s.io");
	EXPECT_STR(res->target, "value");
	containerd__types__mount__free_unpacked(res, NULL);
	ttrpc_client_free(c);
	world_free(w);
}

CF_TEST(ttrpc_deadline_ends_both_sides)
{
	struct world *w = world_new();
	struct ttrpc_client *c = client_new(w);
	Mount msg = MOUNT_INIT;
	struct ttrpc_req req = request("Hold", &msg);
	struct cf_err err;

	req.timeout_ms = 30;
	EXPECT_FAILS(ttrpc_call(c, &req, NULL, &err), CF_DEADLINE_EXCEEDED);
	while (!w->svc.cancelled_seen)
		poll(NULL, 0, 1);
	EXPECT_OK(call(c, "Echo", "", &err), &err);
	ttrpc_client_free(c);
	world_free(w);
}

CF_TEST(ttrpc_a_kept_call_is_answered_later)
{
	struct world *w = world_new();
	struct ttrpc_client *c = client_new(w), *d = client_new(w);
	Mount msg = MOUNT_INIT;
	struct cf_err err;
	struct ttrpc_req req = request("Keep", &msg);

	req.timeout_ms = 20; /* the caller does not wait; the handler answers after it */
	EXPECT_FAILS(ttrpc_call(c, &req, NULL, &err), CF_DEADLINE_EXCEEDED);
	EXPECT_OK(call(d, "Release", "", &err), &err);
	EXPECT_OK(call(c, "Echo", "", &err), &err);
	/* And one whose connection is gone when it is answered. */
	EXPECT_FAILS(ttrpc_call(c, &req, NULL, &err), CF_DEADLINE_EXCEEDED);
	ttrpc_client_free(c);
	EXPECT_OK(call(d, "Release", "", &err), &err);
	EXPECT_OK(call(d, "Echo", "", &err), &err);
	ttrpc_client_free(d);
	world_free(w);
}

static void count_item(void *user, const ProtobufCMessage *msg)
{
	EXPECT(strlen(((const Mount *)msg)->source) > 0);
	++*(size_t *)user;
}

CF_TEST(ttrpc_streams_come_whole_and_end)
{
	struct world *w = world_new();
	struct ttrpc_client *c = client_new(w);
	Mount msg = MOUNT_INIT;
	struct ttrpc_req req = request("Stream", &msg);
	struct cf_err err;
	size_t n = 0;

	EXPECT_OK(ttrpc_call_stream(c, &req, count_item, &n, &err), &err);
	EXPECT(n == 3);
	req = request("StreamFails", &msg);
	msg.source = text("one");
	EXPECT_FAILS(ttrpc_call_stream(c, &req, count_item, &n, &err), CF_ABORTED);
	EXPECT(n == 4 && cf_streq(err.msg, "enough"));
	req = request("Echo", &msg); /* a unary answer is one item and the end */
	EXPECT_OK(ttrpc_call_stream(c, &req, count_item, &n, &err), &err);
	EXPECT(n == 5);
	ttrpc_client_free(c);
	world_free(w);
}

/* The stream runs on one connection while another client and the same client call. */
struct side {
	struct ttrpc_client *c;
	_Atomic bool stop;
	int64_t worst_ms;
	int calls;
};

static void *side_calls(void *arg)
{
	struct side *s = arg;
	struct cf_err err;

	while (!s->stop) {
		int64_t from = cf_now_ms();

		EXPECT_OK(call(s->c, "EchoInline", "hello", &err), &err);
		s->worst_ms = CF_MAX(s->worst_ms, cf_now_ms() - from);
		s->calls++;
	}
	return NULL;
}

CF_TEST(ttrpc_streams_a_gigabyte_while_other_calls_run)
{
	struct world *w = world_new();
	struct ttrpc_client *c = client_new(w), *d = client_new(w);
	struct side same = { .c = c }, other = { .c = d };
	pthread_t t1, t2;
	Mount msg = MOUNT_INIT;
	struct ttrpc_req req = request("Stream", &msg);
	struct cf_err err;
	size_t n = 0;

	w->svc.stream_bytes = 32u << 10;
	w->svc.stream_count = (1u << 30) / w->svc.stream_bytes;
	EXPECT(pthread_create(&t1, NULL, side_calls, &same) == 0);
	EXPECT(pthread_create(&t2, NULL, side_calls, &other) == 0);
	int64_t from = cf_now_ms();

	EXPECT_OK(ttrpc_call_stream(c, &req, count_item, &n, &err), &err);
	int64_t ms = cf_now_ms() - from;

	same.stop = other.stop = true;
	pthread_join(t1, NULL);
	pthread_join(t2, NULL);
	EXPECT(n == w->svc.stream_count);
	EXPECT(same.calls > 10 && other.calls > 10);
	print_message(
		"1 GiB in %lld ms; beside it on the same connection %d calls, slowest %lld ms; "
		"on another %d, slowest %lld ms\n",
		(long long)ms, same.calls, (long long)same.worst_ms, other.calls,
		(long long)other.worst_ms);
	ttrpc_client_free(c);
	ttrpc_client_free(d);
	world_free(w);
}

static int raw_connect(const struct world *w)
{
	struct cf_err err;
	int fd = ttrpc_dial_fd(w->address, 2000, &err);

	EXPECT(fd >= 0);
	return fd;
}

static void raw_send(int fd, struct cf_view v)
{
	struct cf_err err;

	EXPECT_OK(cf_write_all(fd, v, &err), &err);
}

/* The next frame's stream id and status code. */
static int raw_answer(int fd, uint32_t *id)
{
	uint8_t head[10], body[4096];
	struct ttrpc_response res;
	struct cf_err err;

	EXPECT(recv(fd, head, sizeof(head), MSG_WAITALL) == sizeof(head));
	struct cf_rd rd = { .in = { head, sizeof(head) } };
	size_t n = cf_rd_u32be(&rd);

	*id = cf_rd_u32be(&rd);
	EXPECT(head[8] == TTRPC_RESPONSE && n <= sizeof(body));
	EXPECT(n == 0 || recv(fd, body, n, MSG_WAITALL) == (ssize_t)n);
	EXPECT_OK(ttrpc_response_parse(cf_view(body, n), &res, &err), &err);
	return res.code;
}

CF_TEST(ttrpc_server_answers_what_breaks_the_protocol)
{
	struct world *w = world_new();
	int fd = raw_connect(w);
	uint32_t id;

	raw_send(fd, (struct cf_view)CF_VIEW_LIT("\0\0\0\0\0\0\0\2\1\0")); /* even id */
	EXPECT(raw_answer(fd, &id) == CF_INVALID_ARGUMENT && id == 2);
	raw_send(fd, (struct cf_view)CF_VIEW_LIT("\0\0\0\1\0\0\0\3\1\0\x0a")); /* malformed */
	EXPECT(raw_answer(fd, &id) == CF_INVALID_ARGUMENT && id == 3);
	raw_send(fd, (struct cf_view)CF_VIEW_LIT("\0\0\0\0\0\0\0\1\1\0")); /* id goes back */
	EXPECT(raw_answer(fd, &id) == CF_INVALID_ARGUMENT && id == 1);
	raw_send(fd, (struct cf_view)CF_VIEW_LIT("\0\0\0\0\0\0\0\5\1\0")); /* no service named */
	EXPECT(raw_answer(fd, &id) == CF_UNIMPLEMENTED && id == 5);
	raw_send(fd, (struct cf_view)CF_VIEW_LIT("\0\0\0\0\0\0\0\7\3\0")); /* data, no stream */
	EXPECT(raw_answer(fd, &id) == CF_INVALID_ARGUMENT && id == 7);
	raw_send(fd,
	         (struct cf_view)CF_VIEW_LIT("\0\0\0\0\0\0\0\7\x9\0")); /* unknown type: ignored */
	raw_send(fd, (struct cf_view)CF_VIEW_LIT("\0\0\0\x14\0\0\0\x9\1\2"
	                                         "\x0a\x0ctest.Service\x12\x04"
	                                         "Echo"));
	EXPECT(raw_answer(fd, &id) == CF_UNIMPLEMENTED && id == 9); /* client streaming */
	char *zeroes = cf_zalloc(TTRPC_PAYLOAD_MAX + 1);

	raw_send(fd, (struct cf_view)CF_VIEW_LIT("\0\x40\0\1\0\0\0\xb\1\0")); /* 4 MiB and one */
	raw_send(fd, cf_view(zeroes, TTRPC_PAYLOAD_MAX + 1));
	free(zeroes);
	EXPECT(raw_answer(fd, &id) == CF_RESOURCE_EXHAUSTED && id == 11);
	raw_send(fd, (struct cf_view)CF_VIEW_LIT("\0\0\0\x14\0\0\0\xd\1\0"
	                                         "\x0a\x0ctest.Service\x12\x04"
	                                         "Echo"));
	EXPECT(raw_answer(fd, &id) == CF_OK && id == 13);
	close(fd);
	world_free(w);
}

CF_TEST(ttrpc_server_does_not_read_on_for_a_peer_that_does_not_read)
{
	struct world *w = world_new();
	int fd = raw_connect(w);
	struct cf_buf b = { .max = 64u << 20 };
	Mount msg = MOUNT_INIT;
	struct cf_err err;
	char *big = cf_zalloc((1u << 20) + 1);
	size_t sent = 0;

	memset(big, 'x', 1u << 20);
	msg.source = big;
	for (uint32_t i = 0; i < 40; i++)
		EXPECT_OK(ttrpc_put_request(&b, 2 * i + 1, 0, "test.Service", "EchoInline",
		                            &msg.base, 0, NULL, 0, TTRPC_PAYLOAD_MAX, &err),
		          &err);
	EXPECT(cf_set_nonblock(fd, true) == 0);
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLOUT };

		if (poll(&p, 1, 300) == 0)
			break; /* the server took what it takes */
		ssize_t n = send(fd, b.data + sent, b.size - sent, MSG_NOSIGNAL);

		EXPECT(n > 0);
		sent += (size_t)n;
		EXPECT(sent < b.size);
	}
	EXPECT(sent < 16u << 20);
	close(fd);
	free(big);
	cf_buf_fini(&b);
	struct ttrpc_client *c = client_new(w);

	EXPECT_OK(call(c, "Echo", "others are served", &err), &err);
	ttrpc_client_free(c);
	world_free(w);
}

CF_TEST(ttrpc_a_streams_sender_is_woken_when_its_peer_goes)
{
	struct world *w = world_new();
	int fd = raw_connect(w);

	w->svc.stream_bytes = 64u << 10;
	w->svc.stream_count = 1000000;
	raw_send(fd, (struct cf_view)CF_VIEW_LIT("\0\0\0\x16\0\0\0\1\1\1"
	                                         "\x0a\x0ctest.Service\x12\x06Stream"));
	int last = -1;

	while (last != w->svc.streamed || last < 1) { /* until the sender stands still */
		last = w->svc.streamed;
		poll(NULL, 0, 50);
	}
	EXPECT(last < 100);
	close(fd);
	world_free(w); /* would wait for ever for the pool if the sender still slept */
}

struct ended {
	int count;
	int r;
	enum cf_code code;
	struct cf_loop *loop;
};

static void on_end(void *user, int r, ProtobufCMessage *msg, const struct cf_err *err)
{
	struct ended *e = user;

	e->count++;
	e->r = r;
	e->code = err ? err->code : CF_OK;
	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
}

CF_TEST(ttrpc_async_calls_end_on_the_loop)
{
	struct world *w = world_new();
	struct cf_loop *loop = NULL;
	struct cf_err err;
	struct ended e = { 0 };
	struct ttrpc_client *c = NULL;
	Mount msg = MOUNT_INIT;
	struct ttrpc_req req = request("Echo", &msg);

	EXPECT_OK(cf_loop_new(&loop, &err), &err);
	struct ttrpc_client_opts opts = { .loop = loop };

	EXPECT_OK(ttrpc_client_dial(w->address, 2000, &opts, &c, &err), &err);
	EXPECT_OK(ttrpc_start(c, &req, on_end, &e, &err), &err);
	while (e.count < 1)
		cf_loop_run_once(loop, -1);
	EXPECT(e.r == 0);
	req = request("Hold", &msg);
	req.timeout_ms = 20;
	EXPECT_OK(ttrpc_start(c, &req, on_end, &e, &err), &err);
	while (e.count < 2)
		cf_loop_run_once(loop, -1);
	EXPECT(e.code == CF_DEADLINE_EXCEEDED);
	/* Blocking there would be waiting for oneself. */
	EXPECT_FAILS(ttrpc_call(c, &req, NULL, &err), CF_FAILED_PRECONDITION);
	req.timeout_ms = 5000;
	EXPECT_OK(ttrpc_start(c, &req, on_end, &e, &err), &err);
	ttrpc_client_free(c);
	EXPECT(e.count == 3 && e.code == CF_CANCELLED);
	cf_loop_free(loop);
	world_free(w);
}

static void *hold_call(void *arg)
{
	struct cf_err err;

	EXPECT_FAILS(call(arg, "Hold", "", &err), CF_UNAVAILABLE);
	EXPECT_FAILS(call(arg, "Echo", "", &err), CF_UNAVAILABLE);
	return NULL;
}

CF_TEST(ttrpc_a_lost_connection_ends_all_calls)
{
	struct world *w = world_new();
	struct ttrpc_client *c = client_new(w);
	pthread_t t;

	EXPECT(pthread_create(&t, NULL, hold_call, c) == 0);
	poll(NULL, 0, 20);
	world_free(w);
	pthread_join(t, NULL);
	ttrpc_client_free(c);
}

static void *call_many(void *arg)
{
	struct world *w = arg;
	struct ttrpc_client *c = client_new(w);
	struct cf_err err;

	for (int i = 0; i < 200; i++)
		EXPECT_OK(call(c, i % 2 ? "Echo" : "EchoInline", "x", &err), &err);
	ttrpc_client_free(c);
	return NULL;
}

CF_TEST(ttrpc_serves_many_clients_at_once)
{
	struct world *w = world_new();

	test_service_eight_at_once(call_many, w);
	while (w->answered < 8 * 200) /* the server's loop counts after the answer is on its way */
		poll(NULL, 0, 1);
	EXPECT_INT(w->answered, 8 * 200);
	world_free(w);
}

CF_TEST(ttrpc_addresses_are_checked)
{
	static const char *const bad[] = { "",
		                           "unix://",
		                           "tcp://1.2.3.4:5",
		                           "vsock://3",
		                           "vsock://a:1",
		                           "vsock://3:x",
		                           "hvsock:///p",
		                           "fd://x",
		                           "relative/path" };
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(bad); i++) {
		EXPECT_FAILS(ttrpc_dial_fd(bad[i], 0, &err), CF_INVALID_ARGUMENT);
		EXPECT_FAILS(ttrpc_listen_fd(bad[i], &err), CF_INVALID_ARGUMENT);
	}
	EXPECT_FAILS(ttrpc_dial_fd("unix:///nonexistent/sock", 20, &err), CF_NOT_FOUND);
	EXPECT_FAILS(ttrpc_listen_fd("hvsock:///tmp/x:1", &err), CF_INVALID_ARGUMENT);
}

static void *hybrid_peer(void *arg)
{
	int fd = accept(*(int *)arg, NULL, NULL);
	char line[32] = "";
	struct cf_err err;

	EXPECT(read(fd, line, sizeof(line) - 1) > 0);
	EXPECT_STR(line, "CONNECT 1024\n");
	EXPECT_OK(cf_write_all(fd, cf_view_str("OK 77\nrest"), &err), &err);
	close(fd);
	return NULL;
}

CF_TEST(ttrpc_dials_hybrid_vsock_and_leaves_what_follows)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/hv", dir);
	cf_cleanup(cf_freep) char *address = cf_asprintf("hvsock://%s:1024", path);
	struct cf_err err;
	pthread_t t;
	char rest[8] = "";
	int l = cf_listen_unix(path, &err);

	EXPECT(l >= 0);
	EXPECT(pthread_create(&t, NULL, hybrid_peer, &l) == 0);
	cf_cleanup(cf_closep) int fd = ttrpc_dial_fd(address, 2000, &err);

	EXPECT(fd >= 0 && read(fd, rest, sizeof(rest)) == 4);
	EXPECT_STR(rest, "rest");
	pthread_join(t, NULL);
	close(l);
}

static bool nobody(const struct rpc_peer *peer, void *user)
{
	(void)user;
	EXPECT(peer->uid == geteuid());
	return false;
}

CF_TEST(ttrpc_server_asks_who_may_connect)
{
	struct cf_loop *loop = NULL;
	struct ttrpc_server *srv = NULL;
	struct cf_err err;
	int pair[2];

	EXPECT_OK(cf_loop_new(&loop, &err), &err);
	struct ttrpc_server_opts opts = { .loop = loop, .allow = nobody };

	EXPECT_OK(ttrpc_server_new(&opts, &srv, &err), &err);
	EXPECT_OK(cf_socketpair(SOCK_STREAM, pair, &err), &err);
	EXPECT_FAILS(ttrpc_server_add_conn(srv, pair[0], &err), CF_PERMISSION_DENIED);
	close(pair[1]);
	ttrpc_server_free(srv);
	cf_loop_free(loop);
}

CF_TEST(ttrpc_server_takes_so_many_calls_at_once_and_reads_on_when_one_ends)
{
	struct world *w = world_new();
	int fd = raw_connect(w);
	struct cf_buf b = { 0 };
	Mount msg = MOUNT_INIT;
	struct cf_err err;
	uint32_t id = 0;

	/* All but the last are kept; the last may only be read when one was answered. */
	for (uint32_t i = 0; i < TTRPC_CALLS_MAX; i++)
		EXPECT_OK(ttrpc_put_request(&b, 2 * i + 1, 0, "test.Service", "Keep", &msg.base, 0,
		                            NULL, 0, TTRPC_PAYLOAD_MAX, &err),
		          &err);
	EXPECT_OK(ttrpc_put_request(&b, 2 * TTRPC_CALLS_MAX + 1, 0, "test.Service", "EchoInline",
	                            &msg.base, 0, NULL, 0, TTRPC_PAYLOAD_MAX, &err),
	          &err);
	raw_send(fd, cf_buf_view(&b));
	cf_buf_fini(&b);
	struct pollfd p = { .fd = fd, .events = POLLIN };

	EXPECT(poll(&p, 1, 300) == 0);
	struct ttrpc_client *c = client_new(w);

	/* Answers the last one that was kept, on the other connection. */
	EXPECT_OK(call(c, "Release", "", &err), &err);
	EXPECT(raw_answer(fd, &id) == CF_OK && id == 2 * TTRPC_CALLS_MAX - 1);
	EXPECT(raw_answer(fd, &id) == CF_OK && id == 2 * TTRPC_CALLS_MAX + 1);
	ttrpc_client_free(c);
	close(fd);
	world_free(w);
}

CF_TEST(ttrpc_server_takes_so_many_connections)
{
	struct cf_loop *loop = NULL;
	struct ttrpc_server *srv = NULL;
	struct cf_err err;
	int pair[2], far[TTRPC_CONNS_MAX];

	EXPECT_OK(cf_loop_new(&loop, &err), &err);
	struct ttrpc_server_opts opts = { .loop = loop };

	EXPECT_OK(ttrpc_server_new(&opts, &srv, &err), &err);
	for (unsigned i = 0; i < TTRPC_CONNS_MAX; i++) {
		EXPECT_OK(cf_socketpair(SOCK_STREAM, pair, &err), &err);
		far[i] = pair[1];
		EXPECT_OK(ttrpc_server_add_conn(srv, pair[0], &err), &err);
	}
	EXPECT_OK(cf_socketpair(SOCK_STREAM, pair, &err), &err);
	EXPECT_FAILS(ttrpc_server_add_conn(srv, pair[0], &err), CF_RESOURCE_EXHAUSTED);
	close(pair[1]);
	for (unsigned i = 0; i < TTRPC_CONNS_MAX; i++)
		close(far[i]);
	ttrpc_server_free(srv);
	cf_loop_free(loop);
}

CF_TEST(ttrpc_drained_server_ends_what_runs_and_takes_nothing_new)
{
	struct cf_loop *loop = NULL;
	struct ttrpc_server *srv = NULL;
	struct test_service svc = { 0 };
	struct cf_err err;
	struct ended first = { 0 }, second = { 0 };
	struct ttrpc_client *c = NULL;
	Mount msg = MOUNT_INIT;
	int pair[2];

	EXPECT_OK(cf_loop_new(&loop, &err), &err);
	test_service_init(&svc);
	struct ttrpc_server_opts opts = { .loop = loop, .services = svc.list, .service_count = 1 };
	struct ttrpc_client_opts copts = { .loop = loop };
	struct ttrpc_req req = request("Keep", &msg);

	EXPECT_OK(ttrpc_server_new(&opts, &srv, &err), &err);
	EXPECT_OK(cf_socketpair(SOCK_STREAM, pair, &err), &err);
	EXPECT_OK(ttrpc_server_add_conn(srv, pair[0], &err), &err);
	EXPECT_OK(ttrpc_client_new(&copts, pair[1], &c, &err), &err);
	EXPECT_OK(ttrpc_start(c, &req, on_end, &first, &err), &err);
	while (!svc.kept)
		cf_loop_run_once(loop, 100);
	ttrpc_server_drain(srv);
	EXPECT(ttrpc_server_calls(srv) == 1);
	req = request("EchoInline", &msg);
	EXPECT_OK(ttrpc_start(c, &req, on_end, &second, &err), &err);
	while (!second.count)
		cf_loop_run_once(loop, 100);
	EXPECT(second.code == CF_UNAVAILABLE);
	rpc_reply(svc.kept, &msg.base);
	while (!first.count)
		cf_loop_run_once(loop, 100);
	EXPECT(first.r == 0);
	ttrpc_client_free(c);
	ttrpc_server_free(srv);
	cf_loop_free(loop);
}
