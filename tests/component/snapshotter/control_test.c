/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket, instances, socket activation and settings of the real daemon. */
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "proto/containerd_snapshots.pb-c.h"
#include "proto/rpc_grpc.h"
#include "tests/harness/test.h"

#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define T(x)    Containerd__Services__Snapshots__V1__##x
#define D(x)    &containerd__services__snapshots__v1__##x##__descriptor
#define INIT(x) containerd__services__snapshots__v1__##x##__init
#define SERVICE "containerd.services.snapshots.v1.Snapshots"
#define CHAIN   "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static char *text(const char *s)
{
	return (char *)(uintptr_t)s;
}

struct world {
	char *dir, *sock, *control;
	pid_t pid;
};

static void wait_for(const char *path)
{
	struct cf_err err;
	int fd;

	for (int i = 0; (fd = cf_connect_unix(path, &err)) < 0; i++) {
		EXPECT(i < 2000);
		poll(NULL, 0, 5);
	}
	close(fd);
}

/* @args behind the program's name, NULL-terminated; @uid 0: stay. */
static pid_t spawn(const char *const *args, uid_t uid)
{
	cf_cleanup(cf_freep) char *bin = cf_test_bin("coffer-snapshotter");
	char *argv[16] = { bin };
	size_t n = 1;

	while (args[n - 1]) {
		argv[n] = text(args[n - 1]);
		n++;
	}
	pid_t pid = fork(); /* before this process has a client of its own */

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
		if (uid && setuid(uid) < 0)
			_exit(126);
		execv(bin, argv);
		_exit(127);
	}
	return pid;
}

/* @option: one more, "--name=value", or NULL. */
static struct world world_with(const char *config, const char *option)
{
	struct world w = { .dir = cf_test_tmpdir() };
	cf_cleanup(cf_freep) char *root = cf_asprintf("%s/root", w.dir);
	cf_cleanup(cf_freep) char *file = cf_asprintf("%s/config.toml", w.dir);
	struct cf_err err;

	cf_test_library_keeps_fds(2);
	w.sock = cf_asprintf("%s/sock", w.dir);
	w.control = cf_asprintf("%s/system.sock", w.dir);
	EXPECT_OK(cf_write_file_atomic(file, cf_view_str(config), 0600, &err), &err);
	const char *args[] = { "--state-dir", root,          "--listen", w.sock, "--config",
		               file,          "--log-level", "error",    option, NULL };

	w.pid = spawn(args, 0);
	wait_for(w.sock);
	wait_for(w.control);
	return w;
}

static struct world world_new(const char *config)
{
	return world_with(config, NULL);
}

static void world_end(struct world *w)
{
	int status = 0;

	EXPECT(kill(w->pid, SIGTERM) == 0 && waitpid(w->pid, &status, 0) == w->pid);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	EXPECT(access(w->control, F_OK) < 0);
	free(w->dir);
	free(w->sock);
	free(w->control);
}

/* ---- HTTP by hand ---- */

static unsigned ask(const char *sock, const char *method, const char *path, const char *body,
                    char **ret_body)
{
	cf_cleanup(cf_freep) char *req =
		cf_asprintf("%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
	                    "Content-Length: %zu\r\n\r\n%s",
	                    method, path, strlen(body), body);
	cf_cleanup(cf_buf_fini) struct cf_buf answer = { 0 };
	struct cf_err err;
	cf_cleanup(cf_closep) int fd = cf_connect_unix(sock, &err);
	unsigned status = 0;

	EXPECT(fd >= 0);
	EXPECT_OK(cf_write_all(fd, cf_view_str(req), &err), &err);
	EXPECT_OK(cf_read_all(fd, 1u << 20, &answer, &err), &err);
	cf_buf_add_str(&answer, "");
	EXPECT(sscanf((const char *)answer.data, "HTTP/1.1 %u", &status) == 1);
	const char *at = strstr((const char *)answer.data, "\r\n\r\n");

	EXPECT(at);
	if (ret_body)
		*ret_body = cf_strdup(at + 4);
	return status;
}

static struct cf_json *get_json(const char *sock, const char *path)
{
	cf_cleanup(cf_freep) char *body = NULL;
	struct cf_json *j = NULL;
	struct cf_err err;

	EXPECT(ask(sock, "GET", path, "", &body) == 200);
	EXPECT_OK(cf_json_parse(cf_view_str(body), 0, &j, &err), &err);
	return j;
}

/* ---- gRPC ---- */

static int prepare(const char *sock, const char *snapshotter, const char *key, const char *parent,
                   const char *ref, struct cf_err *err)
{
	cf_cleanup(rpc_grpc_client_freep) struct rpc_grpc_client *c = NULL;
	T(PrepareSnapshotRequest) msg;
	T(PrepareSnapshotRequest__LabelsEntry) label, *list[1] = { &label };
	struct rpc_grpc_req req = { .service = SERVICE,
		                    .method = "Prepare",
		                    .msg = &msg.base,
		                    .out = D(prepare_snapshot_response),
		                    .timeout_ms = 30000 };

	INIT(prepare_snapshot_request)(&msg);
	INIT(prepare_snapshot_request__labels_entry)(&label);
	msg.snapshotter = text(snapshotter);
	msg.key = text(key);
	msg.parent = text(parent);
	label.key = text("containerd.io/snapshot.ref");
	label.value = text(ref);
	msg.labels = list;
	msg.n_labels = ref ? 1 : 0;
	int r = rpc_grpc_client_new(sock, &c, err);

	return r < 0 ? r : rpc_grpc_call(c, &req, NULL, err);
}

static int mounts(const char *sock, const char *key, char **ret_type, struct cf_err *err)
{
	cf_cleanup(rpc_grpc_client_freep) struct rpc_grpc_client *c = NULL;
	T(MountsRequest) msg;
	ProtobufCMessage *answer = NULL;
	struct rpc_grpc_req req = { .service = SERVICE,
		                    .method = "Mounts",
		                    .msg = &msg.base,
		                    .out = D(mounts_response),
		                    .timeout_ms = 30000 };

	INIT(mounts_request)(&msg);
	msg.key = text(key);
	int r = rpc_grpc_client_new(sock, &c, err);

	if (r == 0)
		r = rpc_grpc_call(c, &req, &answer, err);
	if (r < 0)
		return r;
	*ret_type = cf_strdup(((T(MountsResponse) *)answer)->mounts[0]->type);
	protobuf_c_message_free_unpacked(answer, NULL);
	return 0;
}

/* ---- tests ---- */

CF_TEST(a_container_that_was_created_before_the_state_was_lost_has_mounts)
{
	struct world w = world_new("");
	cf_cleanup(cf_freep) char *type = NULL;
	cf_cleanup(cf_freep) char *again = NULL;
	char *none = NULL;
	struct cf_err err;

	EXPECT_OK(mounts(w.sock, "k8s.io/17/abc", &type, &err), &err);
	EXPECT(cf_starts_with(type, "fuse.nydus-overlayfs"));
	EXPECT_OK(mounts(w.sock, "k8s.io/17/abc", &again, &err), &err);
	/* No name that containerd's metadata layer gives, or that of an unpacking. */
	EXPECT(mounts(w.sock, "abc", &none, &err) == -CF_NOT_FOUND);
	EXPECT(mounts(w.sock, "k8s.io/x/abc", &none, &err) == -CF_NOT_FOUND);
	EXPECT(mounts(w.sock, "k8s.io/1/", &none, &err) == -CF_NOT_FOUND);
	EXPECT(mounts(w.sock, "k8s.io/9/extract-1 " CHAIN, &none, &err) == -CF_NOT_FOUND);
	struct cf_json *j = get_json(w.control, "/v1/health");

	EXPECT(cf_json_int(cf_json_get(j, "snapshots")) == 1);
	cf_json_free(j);
	world_end(&w);
}

CF_TEST(control_shows_what_is_there)
{
	struct world w = world_new("");
	cf_cleanup(cf_freep) char *metrics = NULL;
	struct cf_err err;
	struct stat st;

	EXPECT(stat(w.control, &st) == 0 && (st.st_mode & 07777) == 0600);
	EXPECT(prepare(w.sock, "x", "k8s.io/1/extract-1 " CHAIN, "", CHAIN, &err) ==
	       -CF_ALREADY_EXISTS);
	EXPECT_OK(prepare(w.sock, "x", "k8s.io/2/a pod", CHAIN, NULL, &err), &err);

	struct cf_json *j = get_json(w.control, "/v1/health");

	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(j, "status")), "ok"));
	EXPECT(cf_json_int(cf_json_get(j, "snapshots")) == 2);
	cf_json_free(j);

	j = get_json(w.control, "/v1/snapshots?kind=active");
	const struct cf_json *list = cf_json_get(j, "snapshots");

	EXPECT(cf_json_len(list) == 1);
	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(cf_json_at(list, 0), "name")),
	                      "k8s.io/2/a pod"));
	cf_json_free(j);

	j = get_json(w.control, "/v1/snapshots?limit=1");
	EXPECT(cf_json_len(cf_json_get(j, "snapshots")) == 1);
	EXPECT(cf_json_int(cf_json_get(j, "next_after")) == 1);
	cf_json_free(j);
	j = get_json(w.control, "/v1/snapshots?limit=1&after=1");
	EXPECT(cf_json_len(cf_json_get(j, "snapshots")) == 1 && !cf_json_get(j, "next_after"));
	cf_json_free(j);

	j = get_json(w.control, "/v1/snapshots/k8s.io/2/a%20pod");
	EXPECT(cf_view_eq_str(cf_json_str(cf_json_at(cf_json_get(j, "chain"), 0)), CHAIN));
	EXPECT(cf_json_len(cf_json_get(j, "mounts")) == 1);
	cf_json_free(j);

	EXPECT(ask(w.control, "GET", "/metrics", "", &metrics) == 200);
	EXPECT(strstr(metrics, "coffer_snapshots{instance=\"\",kind=\"committed\"} 1\n"));
	EXPECT(strstr(metrics, "coffer_rpc_seconds_count{method=\"Prepare\",code=\"OK\"} 1\n"));
	EXPECT(strstr(metrics,
	              "coffer_rpc_seconds_count{method=\"Prepare\",code=\"ALREADY_EXISTS\"} 1\n"));
	EXPECT(strstr(metrics, "snapshotter_snapshot_operation_elapsed_milliseconds_count{"
	                       "snapshot_operation=\"PREPARE\"} 2\n"));
	EXPECT(strstr(metrics, "\ncoffer_store_fsync_seconds_count "));
	EXPECT(strstr(metrics, "\nsnapshotter_memory_usage_kilobytes "));
	world_end(&w);
}

CF_TEST(control_answers_as_the_system_controller_without_nydusd)
{
	struct world w = world_new("");
	cf_cleanup(cf_freep) char *list = NULL;
	cf_cleanup(cf_freep) char *records = NULL;

	EXPECT(ask(w.control, "GET", "/api/v1/daemons", "", &list) == 200);
	EXPECT(cf_streq(list, "[]\n"));
	EXPECT(ask(w.control, "GET", "/api/v1/daemons/records", "", &records) == 501);
	EXPECT(cf_streq(records, "{\"code\":\"Unknown\",\"message\":\"not implemented\"}\n"));
	EXPECT(ask(w.control, "PUT", "/api/v1/daemons/upgrade", "", NULL) == 501);
	EXPECT(ask(w.control, "PUT", "/api/v1/prefetch", "", NULL) == 501);
	EXPECT(ask(w.control, "GET", "/api/v1/daemons/x/backend", "", NULL) == 404);
	world_end(&w);
}

CF_TEST(control_refuses_what_it_does_not_know)
{
	struct world w = world_new("");
	cf_cleanup(cf_freep) char *big = cf_asprintf("%*s", 5000, "x");

	EXPECT(ask(w.control, "GET", "/", "", NULL) == 404);
	EXPECT(ask(w.control, "POST", "/v1/health", "", NULL) == 405);
	EXPECT(ask(w.control, "GET", "/v1/snapshots/nobody", "", NULL) == 404);
	EXPECT(ask(w.control, "GET", "/v1/snapshots/%zz", "", NULL) == 400);
	EXPECT(ask(w.control, "GET", "/v1/snapshots/%4", "", NULL) == 400);
	EXPECT(ask(w.control, "GET", "/v1/snapshots/a%00b", "", NULL) == 400);
	EXPECT(ask(w.control, "GET", "/v1/snapshots/%ff", "", NULL) == 400);
	EXPECT(ask(w.control, "GET", "/v1/snapshots?kind=x", "", NULL) == 400);
	EXPECT(ask(w.control, "GET", "/v1/snapshots?limit=-1", "", NULL) == 400);
	EXPECT(ask(w.control, "GET", "/v1/snapshots?limit=100000", "", NULL) == 400);
	EXPECT(ask(w.control, "POST", "/v1/pulls", big, NULL) == 413);
	EXPECT(ask(w.control, "POST", "/v1/gc", "x", NULL) == 413);
	EXPECT(ask(w.control, "GET", "/v1/health", "", NULL) == 200);
	world_end(&w);
}

CF_TEST(control_collects_what_nobody_knows)
{
	struct world w = world_new("");
	cf_cleanup(cf_freep) char *stray = cf_asprintf("%s/root/snapshots/77/fs", w.dir);
	struct cf_err err;

	EXPECT_OK(cf_mkdir_p(stray, 0755, &err), &err);
	EXPECT(ask(w.control, "POST", "/v1/gc", "", NULL) == 200);
	EXPECT(access(stray, F_OK) < 0);
	world_end(&w);
}

CF_TEST(control_lists_pulls_with_what_was_reported)
{
	struct world w = world_new("");
	struct cf_err err;

	EXPECT(prepare(w.sock, "x", "e", "", CHAIN, &err) == -CF_ALREADY_EXISTS);
	EXPECT_OK(prepare(w.sock, "x", "pod", CHAIN, NULL, &err), &err);
	EXPECT(ask(w.control, "POST", "/v1/pulls", "{\"snapshot_id\": 9, \"state\": \"done\"}",
	           NULL) == 404);
	EXPECT(ask(w.control, "POST", "/v1/pulls", "{\"snapshot_id\": 2, \"state\": \"x\"}",
	           NULL) == 400);
	EXPECT(ask(w.control, "POST", "/v1/pulls", "{", NULL) == 400);
	struct cf_json *j = get_json(w.control, "/v1/pulls");
	const struct cf_json *one = cf_json_at(cf_json_get(j, "pulls"), 0);

	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(one, "state")), "handed-over"));
	cf_json_free(j);
	EXPECT(ask(w.control, "POST", "/v1/pulls",
	           "{\"snapshot_id\": 2, \"root\": \"/x\", \"state\": \"done\"}", NULL) == 404);
	cf_cleanup(cf_freep) char *report =
		cf_asprintf("{\"snapshot_id\": 2, \"root\": \"%s/root\", \"state\": \"pulling\","
	                    "\"layers\": 3, \"layers_done\": 1}",
	                    w.dir);

	EXPECT(ask(w.control, "POST", "/v1/pulls", report, NULL) == 204);
	j = get_json(w.control, "/v1/pulls");
	one = cf_json_at(cf_json_get(j, "pulls"), 0);
	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(one, "state")), "pulling"));
	EXPECT(cf_json_int(cf_json_get(one, "layers_done")) == 1);
	cf_json_free(j);
	world_end(&w);
}

CF_TEST(control_lets_no_other_user_in)
{
	struct world w = world_new("");
	int status = 0;

	if (geteuid() != 0)
		SKIP("needs root");
	/* Whoever can reach the socket's file is still asked who he is. */
	EXPECT(chmod(w.dir, 0755) == 0 && chmod(w.control, 0666) == 0);
	pid_t pid = fork();

	if (pid == 0) {
		struct cf_err err;
		char c;

		if (setuid(65534) < 0)
			_exit(2);
		int fd = cf_connect_unix(w.control, &err);

		(void)!write(fd, "GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n", 36);
		_exit(fd >= 0 && read(fd, &c, 1) <= 0 ? 0 : 1);
	}
	EXPECT(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	world_end(&w);
}

CF_TEST(instances_keep_to_their_own_state)
{
	char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *config = cf_asprintf(
		"[[instance]]\nname = \"second\"\nroot = \"%s/second\"\nfs_driver = \"overlay\"\n",
		dir);
	struct world w = world_new(config);
	struct cf_err err;

	free(dir);
	EXPECT_OK(prepare(w.sock, "second", "same key", "", NULL, &err), &err);
	EXPECT_OK(prepare(w.sock, "first", "same key", "", NULL, &err), &err);
	EXPECT(prepare(w.sock, "", "same key", "", NULL, &err) == -CF_ALREADY_EXISTS);
	/* The second is an ordinary overlay snapshotter: it provides no layer by its name alone. */
	EXPECT_OK(prepare(w.sock, "second", "x", "", CHAIN, &err), &err);
	EXPECT(prepare(w.sock, "first", "x", "", CHAIN, &err) == -CF_ALREADY_EXISTS);

	struct cf_json *j = get_json(w.control, "/v1/snapshots?instance=second");

	EXPECT(cf_json_len(cf_json_get(j, "snapshots")) == 2);
	cf_json_free(j);
	world_end(&w);
}

CF_TEST(content_without_records_is_put_aside)
{
	struct world w = world_new("[daemon]\nfs_driver = \"overlay\"\n");
	cf_cleanup(cf_freep) char *root = cf_asprintf("%s/root", w.dir);
	cf_cleanup(cf_freep) char *sqlite = cf_asprintf("%s/metadata.sqlite", root);
	cf_cleanup(cf_freep) char *file = cf_asprintf("%s/config.toml", w.dir);
	cf_cleanup(cf_freep) char *inner = cf_asprintf("%s/snapshots/7/fs/kept", root);
	const char *args[] = { "--state-dir", root, "--listen", w.sock, "--config", file, NULL };
	struct cf_err err;
	size_t aside = 0;

	EXPECT_OK(cf_mkdir_p(inner, 0755, &err), &err);
	int status = 0;

	EXPECT(kill(w.pid, SIGTERM) == 0 && waitpid(w.pid, &status, 0) == w.pid);
	EXPECT(unlink(sqlite) == 0);
	w.pid = spawn(args, 0);
	wait_for(w.control);
	DIR *dir = opendir(root);

	EXPECT(dir);
	for (struct dirent *e; (e = readdir(dir));) {
		cf_cleanup(cf_freep) char *kept = cf_asprintf("%s/%s/7/fs/kept", root, e->d_name);

		aside += cf_starts_with(e->d_name, "snapshots.lost.") && access(kept, F_OK) == 0;
	}
	closedir(dir);
	EXPECT(aside == 1 && access(inner, F_OK) < 0);
	world_end(&w);
}

CF_TEST(the_command_line_overrules_the_files_driver)
{
	struct world w = world_with("[daemon]\nfs_driver = \"fusedev\"\n", "--fs-driver=proxy");
	struct cf_json *j = get_json(w.control, "/v1/config");
	const struct cf_json *first = cf_json_at(cf_json_get(j, "instances"), 0);

	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(first, "fs_driver")), "proxy"));
	cf_json_free(j);
	world_end(&w);
}

static void expect_refused(const char *config, const char *want)
{
	char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *root = cf_asprintf("%s/r", dir);
	cf_cleanup(cf_freep) char *sock = cf_asprintf("%s/s", dir);
	cf_cleanup(cf_freep) char *file = cf_asprintf("%s/refused.toml", dir);
	cf_cleanup(cf_freep) char *log = cf_asprintf("%s/log", dir);
	cf_cleanup(cf_buf_fini) struct cf_buf said = { 0 };
	const char *args[] = { "--state-dir", root, "--listen", sock, "--config", file, NULL };
	struct cf_err err;
	int status = 0;

	EXPECT_OK(cf_write_file_atomic(file, cf_view_str(config), 0600, &err), &err);
	int keep = dup(2), fd = open(log, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	EXPECT(fd >= 0 && dup2(fd, 2) == 2);
	pid_t pid = spawn(args, 0);

	EXPECT(waitpid(pid, &status, 0) == pid);
	EXPECT(dup2(keep, 2) == 2);
	close(keep);
	close(fd);
	EXPECT_OK(cf_read_file(log, 1u << 16, &said, &err), &err);
	cf_buf_add_str(&said, "");
	if (!strstr((const char *)said.data, want))
		fprintf(stderr, "said: %s, wanted: %s\n", (const char *)said.data, want);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 2);
	EXPECT(strstr((const char *)said.data, want));
	free(dir);
}

CF_TEST(settings_are_refused_with_file_and_line)
{
	static const struct {
		const char *config, *want;
	} cases[] = {
		{ "version = 1\nroot = 3\n", "refused.toml:2: root: want a string" },
		{ "a = \n", "refused.toml:1: " },
		{ "version = 2\n", "refused.toml:1: version: want 1" },
		{ "[daemon]\nfs_driver = \"fusedev\"\n", "refused.toml:2: daemon.fs_driver: " },
		{ "[daemon]\nfs_driver = \"blockdev\"\n", "needs nydusd" },
		{ "[daemon]\nfs_driver = \"x\"\n", "is not known" },
		{ "[log]\nlevel = \"loud\"\n", "refused.toml:2: log.level: " },
		{ "uid = -1\n", "refused.toml:1: uid: " },
		{ "[image]\nvalidate_signature = true\n", "verified in the guest" },
		{ "[remote.auth]\nenable_cri_keychain = true\n", "serves no image service" },
		{ "\n[[instance]]\nname = \"a\"\n", "refused.toml:2: instance: " },
		{ "[[instance]]\nname = \"a b\"\nroot = \"/x\"\n", "plugin's name" },
		{ "[[instance]]\nname = \"a\"\nroot = \"/x\"\n[[instance]]\nname = \"a\"\n"
		  "root = \"/y\"\n",
		  "two instances named a" },
		{ "instance = 1\n", "refused.toml:1: instance: want a array" },
		{ "durability = \"none\"\n", "strict" },
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(cases); i++)
		expect_refused(cases[i].config, cases[i].want);
}

/* What another uid gets of containerd's socket: > 0 when it is let in. */
static int knock_as(const char *sock, uid_t uid)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		struct cf_err err;
		char answer[64];

		if (setuid(uid) < 0)
			_exit(2);
		int fd = cf_connect_unix(sock, &err);

		(void)!write(fd, preface, sizeof(preface) - 1);
		_exit(fd >= 0 && read(fd, answer, sizeof(answer)) > 0 ? 1 : 0);
	}
	EXPECT(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

CF_TEST(containerds_socket_lets_in_whom_the_settings_name)
{
	if (geteuid() != 0)
		SKIP("needs root");
	struct world w = world_new("");

	EXPECT(chmod(w.dir, 0755) == 0 && chmod(w.sock, 0666) == 0);
	EXPECT(knock_as(w.sock, 65534) == 0);
	world_end(&w);

	struct world named = world_new("uid = 65534\n");
	struct stat st;

	EXPECT(stat(named.sock, &st) == 0 && st.st_uid == 65534 && (st.st_mode & 0777) == 0600);
	EXPECT(chmod(named.dir, 0755) == 0);
	EXPECT(knock_as(named.sock, 65534) == 1);
	EXPECT(chmod(named.sock, 0666) == 0);
	EXPECT(knock_as(named.sock, 65533) == 0);
	world_end(&named);
}

static unsigned get_tcp(uint16_t port, const char *path)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
		                  .sin_port = htons(port),
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	cf_cleanup(cf_freep) char *req =
		cf_asprintf("GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
	cf_cleanup(cf_buf_fini) struct cf_buf answer = { 0 };
	cf_cleanup(cf_closep) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unsigned status = 0;
	struct cf_err err;

	EXPECT(fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0);
	EXPECT_OK(cf_write_all(fd, cf_view_str(req), &err), &err);
	EXPECT_OK(cf_read_all(fd, 1u << 20, &answer, &err), &err);
	cf_buf_add_str(&answer, "");
	EXPECT(sscanf((const char *)answer.data, "HTTP/1.1 %u", &status) == 1);
	return status;
}

static uint16_t free_port(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	cf_cleanup(cf_closep) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(sa);

	EXPECT(fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0);
	EXPECT(getsockname(fd, (struct sockaddr *)&sa, &len) == 0);
	return ntohs(sa.sin_port);
}

CF_TEST(metrics_address_serves_metrics_alone)
{
	uint16_t port = free_port();
	cf_cleanup(cf_freep) char *config =
		cf_asprintf("[metrics]\naddress = \"127.0.0.1:%u\"\n", port);
	struct world w = world_new(config);

	EXPECT(get_tcp(port, "/v1/metrics") == 200);
	EXPECT(get_tcp(port, "/metrics") == 200);
	EXPECT(get_tcp(port, "/v1/snapshots") == 404);
	EXPECT(get_tcp(port, "/v1/config") == 404);
	world_end(&w);
}
