/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/vserial.h"

#include "base/fd.h"
#include "base/str.h"
#include "proto/containerd_types.pb-c.h"
#include "proto/ttrpc.h"
#include "proto/ttrpc.pb-c.h"
#include "tests/harness/test.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

CF_TEST(vserial_mark_is_found_at_every_cut_behind_any_rubbish)
{
	static const struct cf_view streams[] = {
		CF_VIEW_LIT(VSERIAL_MARK "rest"),
		CF_VIEW_LIT("stale bytes" VSERIAL_MARK "rest"),
		CF_VIEW_LIT("CFRSYN" VSERIAL_MARK "rest"),
		CF_VIEW_LIT("CCFCFRSYNC0" VSERIAL_MARK "rest"),
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(streams); i++) {
		for (size_t cut = 0; cut <= streams[i].size; cut++) {
			struct vserial_sync s = { 0 };
			bool synced;
			size_t used =
				vserial_sync_feed(&s, cf_view_sub(streams[i], 0, cut), &synced);

			EXPECT(synced == (cut >= streams[i].size - 4));
			if (!synced) {
				EXPECT(used == cut);
				used += vserial_sync_feed(
					&s, cf_view_sub(streams[i], cut, streams[i].size), &synced);
			}
			EXPECT(synced && used == streams[i].size - 4);
		}
	}
}

/*
 * What a machine does with a virtio-serial port, with a pseudo terminal in its place: the guest has
 * the master, the slave is open exactly while somebody is connected to the chardev's socket.
 */
struct machine {
	char *dir, *socket, *address;
	int listener, master;
	char slave[128];
	_Atomic bool stop;
	pthread_t relay;

	struct cf_loop *loop;
	pthread_t guest;
	struct ttrpc_server *srv;
	struct rpc_service service;
	const struct rpc_service *services[1];
	struct rpc_call *kept;
	_Atomic int kept_cancelled;
};

static void pump(int from, int to)
{
	uint8_t buf[16384];
	ssize_t n = read(from, buf, sizeof(buf));
	struct cf_err err;

	if (n > 0 && cf_write_all(to, cf_view(buf, (size_t)n), &err) < 0)
		return;
}

static void serve_one(struct machine *m, int host)
{
	int slave = open(m->slave, O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct pollfd p[2] = { { .fd = host, .events = POLLIN },
		               { .fd = slave, .events = POLLIN } };
	char c;

	EXPECT(slave >= 0);
	while (!m->stop) {
		poll(p, 2, 20);
		if ((p[0].revents & (POLLIN | POLLHUP)) && recv(host, &c, 1, MSG_PEEK) <= 0)
			break;
		if (p[0].revents & POLLIN)
			pump(host, slave);
		if (p[1].revents & POLLIN)
			pump(slave, host);
	}
	tcflush(slave, TCIOFLUSH); /* queued bytes are dropped when the host's side closes */
	close(slave);
	close(host);
}

static void *relay_main(void *arg)
{
	struct machine *m = arg;

	while (!m->stop) {
		struct pollfd p = { .fd = m->listener, .events = POLLIN };

		if (poll(&p, 1, 20) > 0)
			serve_one(m, accept4(m->listener, NULL, NULL, SOCK_CLOEXEC));
	}
	return NULL;
}

static void echo(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	(void)user;
	rpc_reply(call, msg);
}

static void keep(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	(void)msg;
	((struct machine *)user)->kept = call;
}

static void release(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	struct machine *m = user;

	m->kept_cancelled = rpc_cancelled(m->kept);
	rpc_reply(m->kept, msg);
	m->kept = NULL;
	rpc_reply(call, msg);
}

#define MOUNT_TYPES &containerd__types__mount__descriptor, &containerd__types__mount__descriptor
static const struct rpc_method methods[] = {
	{ "Echo", MOUNT_TYPES, echo, RPC_INLINE },
	{ "Keep", MOUNT_TYPES, keep, RPC_INLINE },
	{ "Release", MOUNT_TYPES, release, RPC_INLINE },
};

static void *guest_main(void *arg)
{
	struct machine *m = arg;

	cf_loop_run(m->loop);
	ttrpc_server_free(m->srv);
	return NULL;
}

static struct machine *machine_new(void)
{
	struct machine *m = cf_zalloc(sizeof(*m));
	struct termios t;
	struct cf_err err;

	m->dir = cf_test_tmpdir();
	m->socket = cf_asprintf("%s/port", m->dir);
	m->address = cf_asprintf("virtio-serial:%s", m->socket);
	m->listener = cf_listen_unix(m->socket, &err);
	m->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	EXPECT(m->listener >= 0 && m->master >= 0 && grantpt(m->master) == 0 &&
	       unlockpt(m->master) == 0 && ptsname_r(m->master, m->slave, sizeof(m->slave)) == 0);
	EXPECT(tcgetattr(m->master, &t) == 0);
	cfmakeraw(&t);
	EXPECT(tcsetattr(m->master, TCSANOW, &t) == 0);
	m->service = (struct rpc_service){ "test.Port", methods, CF_ARRAY_LEN(methods), m };
	m->services[0] = &m->service;
	EXPECT_OK(cf_loop_new(&m->loop, &err), &err);
	struct ttrpc_server_opts opts = { .loop = m->loop,
		                          .services = m->services,
		                          .service_count = 1 };

	EXPECT_OK(ttrpc_server_new(&opts, &m->srv, &err), &err);
	EXPECT_OK(ttrpc_server_add_port(m->srv, m->master, &err), &err);
	EXPECT(pthread_create(&m->guest, NULL, guest_main, m) == 0);
	EXPECT(pthread_create(&m->relay, NULL, relay_main, m) == 0);
	return m;
}

static void stop_loop(void *arg)
{
	cf_loop_stop(arg);
}

static void machine_free(struct machine *m)
{
	m->stop = true;
	pthread_join(m->relay, NULL);
	cf_loop_post(m->loop, stop_loop, m->loop);
	pthread_join(m->guest, NULL);
	cf_loop_free(m->loop);
	close(m->listener);
	free(m->socket);
	free(m->address);
	free(m->dir);
	free(m);
}

static struct ttrpc_client *dial(struct machine *m)
{
	struct ttrpc_client_opts opts = { 0 };
	struct ttrpc_client *c = NULL;
	struct cf_err err;

	EXPECT_OK(ttrpc_client_dial(m->address, 5000, &opts, &c, &err), &err);
	return c;
}

static int call(struct ttrpc_client *c, const char *method, size_t bytes, int64_t timeout_ms,
                struct cf_err *err)
{
	Containerd__Types__Mount msg = CONTAINERD__TYPES__MOUNT__INIT, *res = NULL;
	char *big = cf_zalloc(bytes + 1);
	struct ttrpc_req req = { .service = "test.Port",
		                 .method = method,
		                 .msg = &msg.base,
		                 .out = &containerd__types__mount__descriptor,
		                 .timeout_ms = timeout_ms };

	memset(big, 'x', bytes);
	msg.source = big;
	int r = ttrpc_call(c, &req, (ProtobufCMessage **)&res, err);

	if (r == 0)
		EXPECT(strlen(res->source) == bytes || strcmp(method, "Echo") != 0);
	if (res)
		containerd__types__mount__free_unpacked(res, NULL);
	free(big);
	return r;
}

CF_TEST(vserial_serves_one_host_after_the_other)
{
	struct machine *m = machine_new();
	struct cf_err err;

	for (int i = 0; i < 5; i++) {
		struct ttrpc_client *c = dial(m);

		for (int j = 0; j < 5; j++)
			EXPECT_OK(call(c, "Echo", 30000, 5000, &err), &err);
		ttrpc_client_free(c);
	}
	machine_free(m);
}

CF_TEST(vserial_calls_of_a_host_that_went_are_cancelled)
{
	struct machine *m = machine_new();
	struct ttrpc_client *c = dial(m);
	struct cf_err err;

	EXPECT_FAILS(call(c, "Keep", 0, 30, &err), CF_DEADLINE_EXCEEDED);
	ttrpc_client_free(c);
	c = dial(m);
	EXPECT_OK(call(c, "Release", 0, 5000, &err), &err);
	EXPECT(m->kept_cancelled == 1);
	EXPECT_OK(call(c, "Echo", 10, 5000, &err), &err);
	ttrpc_client_free(c);
	machine_free(m);
}

CF_TEST(vserial_a_new_mark_in_a_session_begins_a_new_one)
{
	struct machine *m = machine_new();
	struct cf_err err;
	bool synced = false;
	struct vserial_sync s = { 0 };
	int fd = vserial_dial_fd(m->socket, 5000, &err);
	uint8_t buf[64];

	EXPECT(fd >= 0);
	EXPECT_OK(cf_write_all(fd, cf_view_str(VSERIAL_MARK), &err), &err);
	while (!synced) {
		ssize_t n = read(fd, buf, sizeof(buf));

		EXPECT(n > 0);
		vserial_sync_feed(&s, cf_view(buf, (size_t)n), &synced);
	}
	struct ttrpc_client_opts opts = { 0 };
	struct ttrpc_client *c = NULL;

	EXPECT_OK(ttrpc_client_new(&opts, fd, &c, &err), &err);
	EXPECT_OK(call(c, "Echo", 10, 5000, &err), &err);
	ttrpc_client_free(c);
	machine_free(m);
}

CF_TEST(vserial_a_frame_cut_short_by_a_dead_host_does_not_swallow_the_next_session)
{
	struct machine *m = machine_new();
	struct cf_err err;
	int fd = vserial_dial_fd(m->socket, 5000, &err);

	EXPECT(fd >= 0);
	/* The successor comes over the same open port: nothing tells the guest but the mark. */
	EXPECT_OK(cf_write_all(fd, (struct cf_view)CF_VIEW_LIT("\0\0\x40\0\0\0\0\1\1\0half"), &err),
	          &err);
	poll(NULL, 0, 50);
	struct vserial_sync s = { 0 };
	bool synced = false;
	int64_t until = cf_now_ms() + 10000;

	while (!synced && cf_now_ms() < until) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		uint8_t buf[64];

		EXPECT_OK(cf_write_all(fd, cf_view_str(VSERIAL_MARK), &err), &err);
		if (poll(&p, 1, VSERIAL_REPEAT_MS) == 0)
			continue;
		ssize_t n = read(fd, buf, sizeof(buf));

		EXPECT(n > 0);
		vserial_sync_feed(&s, cf_view(buf, (size_t)n), &synced);
	}
	EXPECT(synced);
	struct ttrpc_client_opts opts = { 0 };
	struct ttrpc_client *c = NULL;

	EXPECT_OK(ttrpc_client_new(&opts, fd, &c, &err), &err);
	EXPECT_OK(call(c, "Echo", 10, 5000, &err), &err);
	ttrpc_client_free(c);
	machine_free(m);
}

/* A request for Echo as it lies on the wire. */
static void add_request(struct cf_buf *out)
{
	Ttrpc__Request req = TTRPC__REQUEST__INIT;
	uint8_t payload[128];

	req.service = (char *)"test.Port";
	req.method = (char *)"Echo";
	size_t size = ttrpc__request__pack(&req, payload);

	cf_buf_add_u32be(out, (uint32_t)size);
	cf_buf_add_u32be(out, 1); /* stream */
	cf_buf_add(out, "\1\0", 2);
	cf_buf_add(out, payload, size);
}

/*
 * A virtio-serial port gives one of its buffers a read, however much room there is, and announces
 * what arrived together once. A socket of packets does the same.
 */
CF_TEST(vserial_reads_on_behind_a_short_read)
{
	struct rpc_service service = { "test.Port", methods, CF_ARRAY_LEN(methods), NULL };
	const struct rpc_service *services[] = { &service };
	struct ttrpc_server_opts opts = { .services = services, .service_count = 1 };
	struct ttrpc_server *srv = NULL;
	struct cf_buf frame = { 0 };
	struct cf_err err;
	uint8_t buf[256];
	int pair[2];

	EXPECT_OK(cf_loop_new(&opts.loop, &err), &err);
	EXPECT_OK(ttrpc_server_new(&opts, &srv, &err), &err);
	EXPECT_OK(cf_socketpair(SOCK_SEQPACKET, pair, &err), &err);
	EXPECT(cf_set_nonblock(pair[0], true) == 0);
	EXPECT_OK(ttrpc_server_add_port(srv, pair[0], &err), &err);
	EXPECT_OK(cf_write_all(pair[1], cf_view_str(VSERIAL_MARK), &err), &err);
	add_request(&frame);
	for (size_t at = 0; at < frame.size; at += 8) {
		struct cf_view piece = cf_view_sub(cf_buf_view(&frame), at, 8);

		EXPECT_OK(cf_write_all(pair[1], piece, &err), &err);
	}
	/* The mark's echo, then the answer; each turn of the loop sees at most one edge. */
	for (int i = 0; i < 20; i++)
		cf_loop_run_once(opts.loop, 0);
	EXPECT(recv(pair[1], buf, sizeof(buf), MSG_DONTWAIT) == VSERIAL_MARK_BYTES);
	EXPECT(recv(pair[1], buf, sizeof(buf), MSG_DONTWAIT) == 10);
	cf_buf_fini(&frame);
	ttrpc_server_free(srv);
	cf_loop_free(opts.loop);
	close(pair[1]);
}

CF_TEST(vserial_dial_gives_up_in_time)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/port", dir);
	struct cf_err err;
	int64_t from = cf_now_ms();

	EXPECT_FAILS(vserial_dial_fd(path, 30, &err), CF_NOT_FOUND);
	int l = cf_listen_unix(path, &err);

	EXPECT(l >= 0);
	EXPECT_FAILS(vserial_dial_fd(path, 300, &err), CF_DEADLINE_EXCEEDED);
	EXPECT(cf_now_ms() - from < 5000);
	close(l);
}
