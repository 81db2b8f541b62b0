/* SPDX-License-Identifier: Apache-2.0 */
/* Against containerd's own ttrpc in Go, both ways. Skipped where Go or its sources are not installed. */
#include "base/str.h"
#include "proto/containerd_types.pb-c.h"
#include "proto/ttrpc.h"
#include "tests/harness/test.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define GOCODE "/usr/share/gocode"

typedef Containerd__Types__Mount Mount;

static char *text(const char *s)
{
	return (char *)(uintptr_t)s;
}

static pid_t spawn(char *const *argv)
{
	pid_t pid = fork();

	if (pid == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	return pid;
}

static int wait_for(pid_t pid)
{
	int status = -1;

	EXPECT(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The peer's program, built into @dir; the caller frees. */
static char *peer_build(const char *dir)
{
	cf_cleanup(cf_freep) char *source = cf_test_source("tests/conform/go/ttrpc_peer.go");
	cf_cleanup(cf_freep) char *cache = cf_asprintf("%s/cache", dir);
	char *bin = cf_asprintf("%s/ttrpc_peer", dir);
	char *version[] = { text("sh"), text("-c"), text("go version >/dev/null 2>&1"), NULL };
	char *build[] = { text("go"), text("build"), text("-o"), bin, source, NULL };

	if (access(GOCODE "/src/github.com/containerd/ttrpc", F_OK) < 0 ||
	    wait_for(spawn(version)) != 0) {
		free(bin);
		SKIP("no Go, or no sources of containerd's ttrpc "
		     "(golang-go golang-github-containerd-containerd-dev)");
	}
	setenv("GO111MODULE", "off", 1);
	setenv("GOFLAGS", "", 1);
	setenv("GOPATH", GOCODE, 1);
	if (!getenv("HOME"))
		setenv("GOCACHE", cache, 0);
	EXPECT(wait_for(spawn(build)) == 0);
	return bin;
}

static void echo(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	Mount res = *(const Mount *)msg;
	const char *meta = call->ops->meta(call, "x-test");

	(void)user;
	res.target = text(meta ? meta : "");
	rpc_reply(call, &res);
}

static void fails(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	(void)msg;
	(void)user;
	rpc_fail(call, CF_NOT_FOUND, "no bread");
}

static void slow(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	(void)user;
	while (!rpc_cancelled(call))
		poll(NULL, 0, 1);
	rpc_reply(call, msg);
}

#define MOUNT_TYPES &containerd__types__mount__descriptor, &containerd__types__mount__descriptor
static const struct rpc_method methods[] = {
	{ "Echo", MOUNT_TYPES, echo, 0 },
	{ "Fails", MOUNT_TYPES, fails, RPC_INLINE },
	{ "Slow", MOUNT_TYPES, slow, 0 },
};

struct ended {
	struct cf_loop *loop;
	int status;
};

static void on_child(pid_t pid, int status, void *arg)
{
	struct ended *e = arg;

	(void)pid;
	e->status = status;
	cf_loop_stop(e->loop);
}

CF_TEST(ttrpc_serves_containerds_client)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *peer = peer_build(dir);
	cf_cleanup(cf_freep) char *sock = cf_asprintf("%s/sock", dir);
	struct rpc_service service = { "test.Service", methods, CF_ARRAY_LEN(methods), NULL };
	const struct rpc_service *services[] = { &service };
	struct ended e = { .status = -1 };
	struct cf_work *work = NULL;
	struct ttrpc_server *srv = NULL;
	struct cf_err err;

	EXPECT_OK(cf_loop_new(&e.loop, &err), &err);
	EXPECT_OK(cf_work_new(4, 128, &work, &err), &err);
	struct ttrpc_server_opts opts = {
		.loop = e.loop, .work = work, .services = services, .service_count = 1
	};

	EXPECT_OK(ttrpc_server_new(&opts, &srv, &err), &err);
	EXPECT_OK(ttrpc_server_listen(srv, sock, &err), &err);
	char *argv[] = { peer, text("call"), sock, NULL };
	struct cf_event *ev = cf_loop_child(e.loop, spawn(argv), on_child, &e);

	cf_loop_run(e.loop);
	EXPECT_INT(e.status, 0);
	cf_event_free(ev);
	ttrpc_server_free(srv);
	cf_work_free(work);
	cf_loop_free(e.loop);
}

CF_TEST(ttrpc_calls_containerds_server)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *peer = peer_build(dir);
	cf_cleanup(cf_freep) char *sock = cf_asprintf("%s/sock", dir);
	char *argv[] = { peer, text("serve"), sock, NULL };
	pid_t pid = spawn(argv);
	struct ttrpc_client_opts opts = { 0 };
	struct ttrpc_client *c = NULL;
	struct ttrpc_meta meta[] = { { "x-test", "value" } };
	Mount msg = CONTAINERD__TYPES__MOUNT__INIT, *res = NULL;
	struct ttrpc_req req = { .service = "test.Go",
		                 .method = "Echo",
		                 .msg = &msg.base,
		                 .out = &containerd__types__mount__descriptor,
		                 .timeout_ms = 5000,
		                 .meta = meta,
		                 .meta_count = 1 };
	char *big = cf_zalloc((3u << 20) + 1);
	struct cf_err err;

	memset(big, 'x', 3u << 20);
	msg.source = big;
	EXPECT_OK(ttrpc_client_dial(sock, 5000, &opts, &c, &err), &err);
	EXPECT_OK(ttrpc_call(c, &req, (ProtobufCMessage **)&res, &err), &err);
	EXPECT(strlen(res->source) == 3u << 20 && cf_streq(res->target, "value"));
	containerd__types__mount__free_unpacked(res, NULL);
	msg.source = text("");
	req.method = "Fails";
	EXPECT_FAILS(ttrpc_call(c, &req, NULL, &err), CF_NOT_FOUND);
	EXPECT_STR(err.msg, "no such thing");
	req.method = "Nothing";
	EXPECT_FAILS(ttrpc_call(c, &req, NULL, &err), CF_UNIMPLEMENTED);
	req.method = "Slow";
	req.timeout_ms = 50;
	EXPECT_FAILS(ttrpc_call(c, &req, NULL, &err), CF_DEADLINE_EXCEEDED);
	req.method = "Echo";
	req.timeout_ms = 5000;
	EXPECT_OK(ttrpc_call(c, &req, NULL, &err), &err);
	free(big);
	ttrpc_client_free(c);
	EXPECT(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
}
