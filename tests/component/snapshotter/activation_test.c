/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Socket activation: somebody else (systemd; here the test) holds the listening socket, so a client
 * never finds nobody there, not while the daemon ends and not while it starts.
 */
#include "base/fd.h"
#include "base/str.h"
#include "proto/grpc_health.pb-c.h"
#include "proto/rpc_grpc.h"
#include "tests/harness/test.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define RESTARTS        5
#define FIRST_FD        3
#define SYSTEMD_BACKLOG 4096 /* systemd.socket(5), Backlog= */

struct world {
	char *dir, *root, *sock, *control, *notify;
	int listen_fd, control_fd, notify_fd;
	pid_t pid;
	_Atomic bool ends;
	_Atomic unsigned answered, refused;
};

static void move_fd(int from, int to)
{
	if (dup2(from, to) < 0)
		_exit(125);
}

/* As systemd starts it: sockets from fd 3 on, their names, and where to say READY=1. */
static void start(struct world *w)
{
	cf_cleanup(cf_freep) char *bin = cf_test_bin("coffer-snapshotter");

	w->pid = fork();
	if (w->pid)
		return;
	char pid[16];
	/* Away from where they are to end up. */
	int a = fcntl(w->listen_fd, F_DUPFD, 100), b = fcntl(w->control_fd, F_DUPFD, 100);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "2", 1);
	setenv("LISTEN_FDNAMES", "snapshots:control", 1);
	setenv("NOTIFY_SOCKET", w->notify, 1);
	move_fd(a, FIRST_FD);
	move_fd(b, FIRST_FD + 1);
	execl(bin, bin, "--state-dir", w->root, "--listen", w->sock, "--log-level", "error", NULL);
	_exit(127);
}

static void wait_ready(struct world *w)
{
	char text[256] = "";

	do {
		struct pollfd p = { .fd = w->notify_fd, .events = POLLIN };

		EXPECT(poll(&p, 1, 20000) == 1);
		ssize_t n = recv(w->notify_fd, text, sizeof(text) - 1, 0);

		EXPECT(n > 0);
		text[n] = '\0';
	} while (!cf_streq(text, "READY=1"));
}

static void stop(struct world *w, int signo)
{
	int status = 0;

	EXPECT(kill(w->pid, signo) == 0 && waitpid(w->pid, &status, 0) == w->pid);
	if (signo == SIGTERM)
		EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int notify_socket(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	EXPECT(fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0);
	return fd;
}

/* A new connection for each call, as one that containerd lost. */
static void *knock(void *arg)
{
	struct world *w = arg;

	while (!w->ends) {
		struct cf_err err;
		int fd = cf_connect_unix(w->sock, &err);

		if (fd >= 0)
			close(fd);
		else
			w->refused++;
		poll(NULL, 0, 1);
	}
	return NULL;
}

static int check(struct world *w, struct cf_err *err)
{
	cf_cleanup(rpc_grpc_client_freep) struct rpc_grpc_client *c = NULL;
	Grpc__Health__V1__HealthCheckRequest msg = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	struct rpc_grpc_req req = { .service = "grpc.health.v1.Health",
		                    .method = "Check",
		                    .msg = &msg.base,
		                    .out = &grpc__health__v1__health_check_response__descriptor,
		                    .timeout_ms = 20000 };
	int r = rpc_grpc_client_new(w->sock, &c, err);

	return r < 0 ? r : rpc_grpc_call(c, &req, NULL, err);
}

CF_TEST(activation_refuses_no_connection_over_restarts)
{
	struct world w = { .dir = cf_test_tmpdir() };
	struct cf_err err;
	pthread_t thread;

	cf_test_library_keeps_fds(2);
	w.root = cf_asprintf("%s/root", w.dir);
	w.sock = cf_asprintf("%s/sock", w.dir);
	w.control = cf_asprintf("%s/control", w.dir);
	w.notify = cf_asprintf("%s/notify", w.dir);
	w.notify_fd = notify_socket(w.notify);
	w.listen_fd = cf_listen_unix(w.sock, &err);
	w.control_fd = cf_listen_unix(w.control, &err);
	EXPECT(w.listen_fd >= 0 && w.control_fd >= 0);
	/* As long a queue as systemd's: gRPC takes a full one for a connection and fails at once. */
	EXPECT(listen(w.listen_fd, SYSTEMD_BACKLOG) == 0);

	start(&w); /* before this process has threads and clients of its own */
	wait_ready(&w);
	stop(&w, SIGTERM);
	EXPECT(access(w.sock, F_OK) == 0 && access(w.control, F_OK) == 0); /* not its files */
	EXPECT(pthread_create(&thread, NULL, knock, &w) == 0);
	for (int i = 0; i < RESTARTS; i++) {
		start(&w);
		/* Asked at once: the connection waits in the socket until somebody is there. */
		cf_cleanup(cf_closep) int early = cf_connect_unix(w.sock, &err);

		EXPECT(early >= 0);
		wait_ready(&w);
		stop(&w, i % 2 ? SIGKILL : SIGTERM);
	}
	w.ends = true;
	start(&w); /* a full queue holds the knocking thread until somebody takes from it */
	pthread_join(thread, NULL);
	EXPECT(w.refused == 0);
	EXPECT_OK(check(&w, &err), &err);
	cf_cleanup(cf_closep) int fd = cf_connect_unix(w.control, &err);
	static const char get[] = "GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	cf_cleanup(cf_buf_fini) struct cf_buf answer = { 0 };

	EXPECT(fd >= 0);
	EXPECT_OK(cf_write_all(fd, cf_view_str(get), &err), &err);
	EXPECT_OK(cf_read_all(fd, 65536, &answer, &err), &err);
	EXPECT(cf_view_starts_with(cf_buf_view(&answer), "HTTP/1.1 200 OK"));
	stop(&w, SIGTERM);
	close(w.listen_fd);
	close(w.control_fd);
	close(w.notify_fd);
	free(w.dir);
	free(w.root);
	free(w.sock);
	free(w.control);
	free(w.notify);
}
