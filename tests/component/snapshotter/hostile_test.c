/* SPDX-License-Identifier: Apache-2.0 */
/* What no honest containerd sends: too long, too much, not text, too many connections, another user. */
#include "base/fd.h"
#include "base/loop.h"
#include "base/str.h"
#include "proto/containerd_snapshots.pb-c.h"
#include "proto/rpc_grpc.h"
#include "snapshotter/snap_store.h"
#include "tests/harness/test.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define T(x)     Containerd__Services__Snapshots__V1__##x
#define D(x)     &containerd__services__snapshots__v1__##x##__descriptor
#define INIT(x)  containerd__services__snapshots__v1__##x##__init
#define IDLE_MAX 10000
#define NOBODY   65534

struct world {
	char *dir, *root, *sock;
	pid_t pid;
	struct rpc_grpc_client *c;
};

static char *text(const char *s)
{
	return (char *)(uintptr_t)s;
}

static pid_t daemon_start(const struct world *w, rlim_t fds)
{
	cf_cleanup(cf_freep) char *bin = cf_test_bin("coffer-snapshotter");
	char *argv[] = { bin,           text("--state-dir"),
		         w->root,       text("--listen"),
		         w->sock,       text("--fs-driver"),
		         text("proxy"), text("--log-level"),
		         text("error"), NULL };
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (fds)
			setrlimit(RLIMIT_NOFILE, &(struct rlimit){ fds, fds });
		execv(bin, argv);
		_exit(127);
	}
	struct cf_err err;
	int fd;

	for (int i = 0; (fd = cf_connect_unix(w->sock, &err)) < 0; i++) {
		EXPECT(i < 6000);
		poll(NULL, 0, 5);
	}
	close(fd);
	return pid;
}

static struct world *world_new(rlim_t fds)
{
	struct world *w = cf_zalloc(sizeof(*w));
	struct cf_err err;

	cf_test_library_keeps_fds(2);
	w->dir = cf_test_tmpdir();
	w->root = cf_asprintf("%s/root", w->dir);
	w->sock = cf_asprintf("%s/sock", w->dir);
	w->pid = daemon_start(w, fds);
	EXPECT_OK(rpc_grpc_client_new(w->sock, &w->c, &err), &err);
	return w;
}

static void world_free(struct world *w)
{
	rpc_grpc_client_free(w->c);
	EXPECT(kill(w->pid, SIGKILL) == 0 && waitpid(w->pid, NULL, 0) == w->pid);
	free(w->dir);
	free(w->root);
	free(w->sock);
	free(w);
}

static int call(struct rpc_grpc_client *c, const char *method, const void *msg,
                const ProtobufCMessageDescriptor *out, struct cf_err *err)
{
	struct rpc_grpc_req req = { .service = "containerd.services.snapshots.v1.Snapshots",
		                    .method = method,
		                    .msg = msg,
		                    .out = out,
		                    .timeout_ms = 30000 };

	return rpc_grpc_call(c, &req, NULL, err);
}

/* Each label's key is of @key bytes and its value of @value bytes. */
static int prepare(struct world *w, const char *key, size_t labels, size_t key_bytes,
                   size_t value_bytes, struct cf_err *err)
{
	T(PrepareSnapshotRequest) req;
	T(PrepareSnapshotRequest__LabelsEntry) *e = cf_zalloc_n(labels + 1, sizeof(*e));
	T(PrepareSnapshotRequest__LabelsEntry) **list = cf_zalloc_n(labels + 1, sizeof(*list));
	cf_cleanup(cf_freep) char *value = cf_zalloc(value_bytes + 1);

	memset(value, 'v', value_bytes);
	INIT(prepare_snapshot_request)(&req);
	req.key = text(key);
	for (size_t i = 0; i < labels; i++) {
		INIT(prepare_snapshot_request__labels_entry)(&e[i]);
		e[i].key = cf_asprintf("%0*zu", (int)key_bytes, i);
		e[i].value = value;
		list[i] = &e[i];
	}
	req.labels = list;
	req.n_labels = labels;
	int r = call(w->c, "Prepare", &req.base, D(prepare_snapshot_response), err);

	for (size_t i = 0; i < labels; i++)
		free(e[i].key);
	free(e);
	free(list);
	return r;
}

static int stat_key(struct rpc_grpc_client *c, const char *key, struct cf_err *err)
{
	T(StatSnapshotRequest) req;

	INIT(stat_snapshot_request)(&req);
	req.key = text(key);
	return call(c, "Stat", &req.base, D(stat_snapshot_response), err);
}

/* A key as bytes: Any's second field has the number and the wire type of every request's key. */
static int stat_bytes(struct rpc_grpc_client *c, const void *data, size_t size, struct cf_err *err)
{
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;

	any.value.data = (uint8_t *)(uintptr_t)data;
	any.value.len = size;
	return call(c, "Stat", &any.base, D(stat_snapshot_response), err);
}

CF_TEST(hostile_keys_and_labels_meet_their_limits)
{
	struct world *w = world_new(0);
	char key[SNAP_KEY_MAX + 2];
	struct cf_err err;

	memset(key, '/', sizeof(key));
	memcpy(key, "../", 3);
	key[SNAP_KEY_MAX] = '\0';
	EXPECT_OK(prepare(w, key, 0, 0, 0, &err), &err);
	EXPECT_OK(stat_key(w->c, key, &err), &err);
	key[SNAP_KEY_MAX] = '/';
	key[SNAP_KEY_MAX + 1] = '\0';
	EXPECT_FAILS(prepare(w, key, 0, 0, 0, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(stat_key(w->c, key, &err), CF_NOT_FOUND);
	/* 64 labels of 4 KiB are 256 KiB to the byte; one more byte is too much. */
	EXPECT_OK(prepare(w, "full", 64, 96, 4000 - 2, &err), &err);
	EXPECT_OK(stat_key(w->c, "full", &err), &err);
	EXPECT_FAILS(prepare(w, "over", 65, 96, 4000, &err), CF_RESOURCE_EXHAUSTED);
	EXPECT_FAILS(stat_key(w->c, "over", &err), CF_NOT_FOUND);
	EXPECT_FAILS(prepare(w, "key", 1, SNAP_LABEL_KEY_MAX + 1, 1, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(prepare(w, "many", 20000, 8, 8, &err), CF_RESOURCE_EXHAUSTED);
	EXPECT_FAILS(stat_bytes(w->c, "full\0", 5, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(stat_bytes(w->c, "\xc0\xaf", 2, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(stat_bytes(w->c, "\xed\xa0\x80", 3, &err), CF_INVALID_ARGUMENT);
	EXPECT_OK(stat_bytes(w->c, "full", 4, &err), &err);
	world_free(w);
}

/* ---- connections that say nothing ---- */

static rlim_t own_fds(void)
{
	struct rlimit r;

	EXPECT(getrlimit(RLIMIT_NOFILE, &r) == 0);
	r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
	return r.rlim_cur;
}

/* A full queue of connections is no refusal: the daemon is busy taking those before. */
static int connect_idle(const char *sock, int *fds, int count)
{
	struct cf_err err;
	int n = 0;

	for (int tries = 0; n < count && tries < 2000; tries++) {
		while (n < count && (fds[n] = cf_connect_unix(sock, &err)) >= 0)
			n++;
		if (n < count)
			poll(NULL, 0, 1);
	}
	return n;
}

/* As containerd does it: a queue that is full at the moment is tried again. */
static void expect_answer(const char *sock, int64_t ms_max)
{
	int64_t from = cf_now_ms();
	struct cf_err err;
	int r;

	do {
		cf_cleanup(rpc_grpc_client_freep) struct rpc_grpc_client *c = NULL;

		EXPECT_OK(rpc_grpc_client_new(sock, &c, &err), &err);
		r = stat_key(c, "nobody", &err);
	} while (r == -CF_UNAVAILABLE && cf_now_ms() - from < ms_max);
	if (r != -CF_NOT_FOUND || cf_now_ms() - from > ms_max)
		fail_msg("answered %s after %lld ms", cf_code_name(err.code),
		         (long long)(cf_now_ms() - from));
}

CF_TEST(hostile_idle_connections_do_not_starve_containerd)
{
	rlim_t fds_max = own_fds();
	int count = fds_max > IDLE_MAX + 200 ? IDLE_MAX : (int)fds_max - 200;
	struct world *w = world_new(0);
	int *fds = cf_zalloc_n((size_t)count, sizeof(*fds));
	struct cf_err err;

	EXPECT_FAILS(stat_key(w->c, "nobody", &err), CF_NOT_FOUND);
	int n = connect_idle(w->sock, fds, count);

	EXPECT(n == count);
	/* The connection that was there, and a new one. */
	int64_t from = cf_now_ms();

	EXPECT_FAILS(stat_key(w->c, "nobody", &err), CF_NOT_FOUND);
	EXPECT(cf_now_ms() - from < 10000);
	expect_answer(w->sock, 20000);
	printf("%d idle connections; a new client was answered %lld ms after them\n", n,
	       (long long)(cf_now_ms() - from));
	for (int i = 0; i < n; i++)
		close(fds[i]);
	free(fds);
	expect_answer(w->sock, 20000);
	world_free(w);
}

CF_TEST(hostile_connections_that_take_all_descriptors_leave_the_others_served)
{
	struct world *w = world_new(200);
	int fds[400];
	struct cf_err err;

	own_fds();
	EXPECT_FAILS(stat_key(w->c, "nobody", &err), CF_NOT_FOUND); /* containerd is connected */
	int n = connect_idle(w->sock, fds, 400);

	EXPECT(n > 100);
	for (int i = 0; i < 50; i++)
		EXPECT_FAILS(stat_key(w->c, "nobody", &err), CF_NOT_FOUND);
	for (int i = 0; i < n; i++)
		close(fds[i]);
	/* When they are gone, new ones come in again. */
	for (int i = 0; i < 200; i++) {
		cf_cleanup(rpc_grpc_client_freep) struct rpc_grpc_client *c = NULL;

		EXPECT_OK(rpc_grpc_client_new(w->sock, &c, &err), &err);
		if (stat_key(c, "nobody", &err) == -CF_NOT_FOUND)
			break;
		EXPECT(i < 199);
		poll(NULL, 0, 20);
	}
	EXPECT_OK(prepare(w, "works", 0, 0, 0, &err), &err);
	world_free(w);
}

CF_TEST(hostile_users_are_turned_away)
{
	struct world *w = world_new(0);
	int status = 0;

	if (geteuid() != 0) {
		world_free(w);
		SKIP("needs to become somebody else");
	}
	EXPECT(chmod(w->dir, 0755) == 0 && chmod(w->sock, 0666) == 0);
	pid_t pid = fork();

	if (pid == 0) {
		struct cf_err err;
		char byte;

		if (setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
			_exit(2);
		int fd = cf_connect_unix(w->sock, &err);
		struct pollfd p = { .fd = fd, .events = POLLIN };

		/* Closed without a byte, or never let in. */
		_exit(fd < 0 || (poll(&p, 1, 10000) == 1 && read(fd, &byte, 1) <= 0) ? 0 : 1);
	}
	EXPECT(waitpid(pid, &status, 0) == pid);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	world_free(w);
}
