/* SPDX-License-Identifier: Apache-2.0 */
/* The real daemon on a socket of its own, asked as containerd asks it. */
#include "base/fd.h"
#include "base/str.h"
#include "proto/containerd_snapshots.pb-c.h"
#include "proto/grpc_health.pb-c.h"
#include "proto/rpc_grpc.h"
#include "snapshotter/snap_labels.h"
#include "tests/harness/snap_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- tests ---- */

CF_TEST(daemon_walks_the_states_with_containerds_codes)
{
	struct world *w = world_new("proxy");
	struct cf_err err;

	EXPECT_OK(prepare(w, "a", "", NULL, NULL, &err), &err);
	EXPECT(kind_of(w, "a") == 2);
	EXPECT_FAILS(prepare(w, "a", "", NULL, NULL, &err), CF_ALREADY_EXISTS);
	EXPECT_FAILS(view(w, "a", "", &err), CF_ALREADY_EXISTS);
	EXPECT_FAILS(prepare(w, "b", "nobody", NULL, NULL, &err), CF_NOT_FOUND);
	EXPECT_FAILS(prepare(w, "b", "a", NULL, NULL, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(prepare(w, "", "", NULL, NULL, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(prepare(w, "bad\xff", "", NULL, NULL, &err), CF_INVALID_ARGUMENT);
	EXPECT_OK(commit(w, "base", "a", &err), &err);
	EXPECT(kind_of(w, "base") == 3 && kind_of(w, "a") == 0);
	EXPECT_OK(view(w, "v", "base", &err), &err);
	EXPECT_OK(view(w, "empty-view", "", &err), &err);
	EXPECT(kind_of(w, "v") == 1);
	EXPECT_FAILS(commit(w, "x", "v", &err), CF_FAILED_PRECONDITION);
	EXPECT_FAILS(commit(w, "x", "nobody", &err), CF_NOT_FOUND);
	EXPECT_FAILS(drop(w, "base", &err), CF_FAILED_PRECONDITION);
	EXPECT(strstr(err.msg, "remove"));
	EXPECT(!mounts(w, "base", &err) && err.code == CF_FAILED_PRECONDITION);
	EXPECT(!mounts(w, "nobody", &err) && err.code == CF_NOT_FOUND);
	EXPECT_OK(drop(w, "v", &err), &err);
	EXPECT_OK(drop(w, "base", &err), &err);
	EXPECT_OK(drop(w, "empty-view", &err), &err);
	EXPECT_FAILS(drop(w, "base", &err), CF_NOT_FOUND);
	T(CleanupRequest) clean;

	INIT(cleanup_request)(&clean);
	EXPECT_OK(call(w, "Cleanup", &clean.base, &google__protobuf__empty__descriptor, NULL, &err),
	          &err);
	cf_cleanup(cf_freep) char *dirs = cf_asprintf("%s/snapshots", w->root);

	EXPECT(files_below(dirs) == 0);
	EXPECT_FAILS(
		call(w, "Nonsense", &clean.base, &google__protobuf__empty__descriptor, NULL, &err),
		CF_UNIMPLEMENTED);
	world_free(w);
}

static const char *const layer_a[] = {
	SNAP_LABEL_REF,          CHAIN_A, SNAP_LABEL_LAYER, "sha256:11", SNAP_LABEL_IMAGE_REF,
	"docker.io/library/x:1", NULL
};
static const char *const layer_b[] = {
	SNAP_LABEL_REF,          CHAIN_B, SNAP_LABEL_LAYER, "sha256:22", SNAP_LABEL_IMAGE_REF,
	"docker.io/library/x:1", NULL
};

CF_TEST(daemon_provides_layers_without_having_them)
{
	struct world *w = world_new("proxy");
	struct cf_err err;
	struct walk x;

	EXPECT_FAILS(prepare(w, "k8s.io/1/extract-1 " CHAIN_A, "", layer_a, NULL, &err),
	             CF_ALREADY_EXISTS);
	EXPECT(strstr(err.msg, CHAIN_A));
	EXPECT_OK(list(w, "labels.\"containerd.io/snapshot.ref\"==" CHAIN_A ",parent==\"\"", &x,
	               &err),
	          &err);
	EXPECT(x.infos == 1 && cf_streq(x.last, CHAIN_A));
	EXPECT_FAILS(prepare(w, "k8s.io/2/extract-2 " CHAIN_B, CHAIN_A, layer_b, NULL, &err),
	             CF_ALREADY_EXISTS);
	EXPECT_FAILS(prepare(w, "k8s.io/3/extract-3 " CHAIN_B, CHAIN_A, layer_b, NULL, &err),
	             CF_ALREADY_EXISTS);
	EXPECT_FAILS(prepare(w, "k8s.io/3/extract-3 " CHAIN_B, "nobody", layer_b, NULL, &err),
	             CF_NOT_FOUND);
	EXPECT_OK(list(w, NULL, &x, &err), &err);
	EXPECT(x.infos == 2);
	EXPECT_OK(list(w, "labels.\"containerd.io/snapshot.ref\"==" CHAIN_B ",parent==\"\"", &x,
	               &err),
	          &err);
	EXPECT(x.infos == 0 && x.pages == 0);
	EXPECT_FAILS(list(w, "name=", &x, &err), CF_INVALID_ARGUMENT);
	EXPECT_OK(prepare(w, "k8s.io/4/abc", CHAIN_B, NULL, NULL, &err), &err);
	cf_cleanup(cf_freep) char *m = mounts(w, "k8s.io/4/abc", &err);

	EXPECT(m && cf_starts_with(m, "fuse.nydus-overlayfs-coffer overlay workdir="));
	EXPECT(strstr(m, "/empty io.katacontainers.volume="));
	/* Byte for byte the same from another process. */
	rpc_grpc_client_free(w->c);
	daemon_end(w, SIGTERM);
	daemon_start(w);
	client_start(w);
	cf_cleanup(cf_freep) char *again = mounts(w, "k8s.io/4/abc", &err);

	EXPECT_STR(again, m);
	EXPECT_FAILS(drop(w, CHAIN_A, &err), CF_FAILED_PRECONDITION);
	world_free(w);
}

CF_TEST(daemon_takes_up_again_what_was_lost_with_its_state)
{
	struct world *w = world_new("proxy");
	struct cf_err err;
	struct walk x;

	EXPECT(kind_of(w, CHAIN_A) == 3); /* containerd asks for it by name: it knows it */
	EXPECT_OK(prepare(w, "c", "k8s.io/7/" CHAIN_B, NULL, NULL, &err), &err);
	cf_cleanup(cf_freep) char *m = mounts(w, "c", &err);

	EXPECT(strstr(m, "io.katacontainers.volume="));
	EXPECT_OK(list(w, "labels.\"coffer.resurrected\"", &x, &err), &err);
	EXPECT(x.infos == 2);
	EXPECT_FAILS(prepare(w, "x", "", layer_a, NULL, &err), CF_ALREADY_EXISTS);
	EXPECT_OK(list(w, NULL, &x, &err), &err);
	EXPECT(x.infos ==
	       4); /* both, the container, and the layer that came anew under its own name */
	/* Nothing of the kind for other names, nor for removal. */
	EXPECT(kind_of(w, "k8s.io/7/abc") == 0 && kind_of(w, "sha256:12") == 0);
	EXPECT_FAILS(drop(w, "k8s.io/9/" CHAIN_A, &err), CF_NOT_FOUND);
	world_free(w);
}

CF_TEST(daemon_keeps_nothing_of_an_unpacking_without_labels)
{
	struct world *w = world_new("proxy");
	T(PrepareSnapshotResponse) *res = NULL;
	struct cf_err err;

	EXPECT_OK(prepare(w, "k8s.io/1/extract-9 " CHAIN_A, "", NULL, &res, &err), &err);
	EXPECT_STR(res->mounts[0]->type, "bind");
	EXPECT_STR(res->mounts[0]->options[0], "rw");
	cf_cleanup(cf_freep) char *file = cf_asprintf("%s/layer-content", res->mounts[0]->source);

	containerd__services__snapshots__v1__prepare_snapshot_response__free_unpacked(res, NULL);
	EXPECT_OK(cf_write_file_atomic(file, cf_view_str("plain text"), 0644, &err), &err);
	EXPECT_OK(commit(w, "k8s.io/1/" CHAIN_A, "k8s.io/1/extract-9 " CHAIN_A, &err), &err);
	EXPECT(access(file, F_OK) < 0);
	EXPECT_OK(prepare(w, "c", "k8s.io/1/" CHAIN_A, NULL, NULL, &err), &err);
	cf_cleanup(cf_freep) char *m = mounts(w, "c", &err);

	EXPECT(strstr(m, "io.katacontainers.volume="));
	world_free(w);
}

CF_TEST(daemon_lists_in_pages)
{
	struct world *w = world_new("proxy");
	struct cf_err err;
	struct walk x;

	for (int i = 0; i < 250; i++) {
		cf_cleanup(cf_freep) char *key = cf_asprintf("k%d", i);

		EXPECT_OK(prepare(w, key, "", NULL, NULL, &err), &err);
	}
	EXPECT_OK(list(w, NULL, &x, &err), &err);
	EXPECT(x.infos == 250 && x.pages == 3);
	EXPECT_OK(list(w, "kind==active,name==k17", &x, &err), &err);
	EXPECT(x.infos == 1 && cf_streq(x.last, "k17"));
	world_free(w);
}

CF_TEST(daemon_in_overlay_mode_answers_as_containerds_own)
{
	struct world *w = world_new("overlay");
	struct cf_err err;
	T(UsageRequest) ureq;
	T(UsageResponse) *usage = NULL;

	EXPECT_OK(prepare(w, "a", "", layer_a, NULL, &err), &err);
	cf_cleanup(cf_freep) char *m = mounts(w, "a", &err);
	cf_cleanup(cf_freep) char *want = cf_asprintf("bind %s/snapshots/1/fs rw rbind", w->root);
	cf_cleanup(cf_freep) char *file = cf_asprintf("%s/snapshots/1/fs/f", w->root);

	EXPECT_STR(m, want);
	EXPECT_OK(cf_write_file_atomic(file, cf_view_str("content"), 0644, &err), &err);
	INIT(usage_request)(&ureq);
	ureq.key = text("a");
	EXPECT_OK(call(w, "Usage", &ureq.base, D(usage_response), &usage, &err), &err);
	EXPECT(usage->inodes == 2 && usage->size >= 512);
	containerd__services__snapshots__v1__usage_response__free_unpacked(usage, NULL);
	EXPECT_OK(commit(w, "base", "a", &err), &err);
	ureq.key = text("base");
	EXPECT_OK(call(w, "Usage", &ureq.base, D(usage_response), &usage, &err), &err);
	EXPECT(usage->inodes == 2);
	containerd__services__snapshots__v1__usage_response__free_unpacked(usage, NULL);
	EXPECT_OK(view(w, "v", "base", &err), &err);
	cf_cleanup(cf_freep) char *mv = mounts(w, "v", &err);
	cf_cleanup(cf_freep) char *want_v = cf_asprintf("bind %s/snapshots/1/fs ro rbind", w->root);

	EXPECT_STR(mv, want_v);
	EXPECT_OK(prepare(w, "b", "base", NULL, NULL, &err), &err);
	cf_cleanup(cf_freep) char *mb = mounts(w, "b", &err);
	cf_cleanup(cf_freep) char *want_b =
		cf_asprintf("overlay overlay index=off workdir=%s/snapshots/3/work "
	                    "upperdir=%s/snapshots/3/fs lowerdir=%s/snapshots/1/fs",
	                    w->root, w->root, w->root);

	EXPECT_STR(mb, want_b);
	EXPECT(access(file, F_OK) == 0);
	world_free(w);
}

CF_TEST(daemon_updates_labels)
{
	struct world *w = world_new("proxy");
	struct cf_err err;
	T(UpdateSnapshotRequest) req;
	T(UpdateSnapshotResponse) *res = NULL;
	T(Info) info;
	T(Info__LabelsEntry) e;
	T(Info__LabelsEntry) * labels[] = { &e };
	Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
	char *paths[] = { text("labels.a"), text("labels." SNAP_LABEL_LAYER) };

	EXPECT_FAILS(prepare(w, "x", "", layer_a, NULL, &err), CF_ALREADY_EXISTS);
	INIT(update_snapshot_request)(&req);
	EXPECT_FAILS(call(w, "Update", &req.base, D(update_snapshot_response), NULL, &err),
	             CF_INVALID_ARGUMENT);
	INIT(info)(&info);
	INIT(info__labels_entry)(&e);
	e.key = text("a");
	e.value = text("b");
	info.name = text(CHAIN_A);
	info.parent = text("bogus");
	info.n_labels = 1;
	info.labels = labels;
	req.info = &info;
	req.update_mask = &mask;
	mask.n_paths = 2;
	mask.paths = paths;
	EXPECT_OK(call(w, "Update", &req.base, D(update_snapshot_response), &res, &err), &err);
	EXPECT_STR(res->info->parent, "");
	bool has_a = false, has_layer = false;

	for (size_t i = 0; i < res->info->n_labels; i++) {
		has_a |= cf_streq(res->info->labels[i]->key, "a");
		has_layer |= cf_streq(res->info->labels[i]->key, SNAP_LABEL_LAYER);
	}
	EXPECT(has_a && !has_layer && res->info->n_labels == 5);
	containerd__services__snapshots__v1__update_snapshot_response__free_unpacked(res, NULL);
	paths[0] = text("parent");
	EXPECT_FAILS(call(w, "Update", &req.base, D(update_snapshot_response), NULL, &err),
	             CF_INVALID_ARGUMENT);
	world_free(w);
}

CF_TEST(daemon_says_it_is_well)
{
	struct world *w = world_new("proxy");
	Grpc__Health__V1__HealthCheckRequest req = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	Grpc__Health__V1__HealthCheckResponse *res = NULL;
	struct rpc_grpc_req grpc = { .service = "grpc.health.v1.Health",
		                     .method = "Check",
		                     .msg = &req.base,
		                     .timeout_ms = 10000,
		                     .out = &grpc__health__v1__health_check_response__descriptor };
	struct cf_err err;

	EXPECT_OK(rpc_grpc_call(w->c, &grpc, (ProtobufCMessage **)&res, &err), &err);
	EXPECT(res->status == 1);
	grpc__health__v1__health_check_response__free_unpacked(res, NULL);
	req.service = text("nobody");
	EXPECT_FAILS(rpc_grpc_call(w->c, &grpc, NULL, &err), CF_NOT_FOUND);
	world_free(w);
}

/* ---- kill -9: nothing that was answered is lost ---- */

#define HAMMERS 4
#define KEYS    400

struct hammer {
	struct world *w;
	int no;
	_Atomic int prepared, removed; /* keys 0 … n-1 were answered */
	_Atomic bool has_ended;
	struct cf_err err; /* why */
};

static void *hammer_main(void *arg)
{
	struct hammer *h = arg;
	struct rpc_grpc_client *c = NULL;
	struct world mine = *h->w;

	EXPECT_OK(rpc_grpc_client_new(h->w->sock, &c, &h->err), &h->err);
	mine.c = c;
	for (int i = 0; i < KEYS; i++) {
		cf_cleanup(cf_freep) char *key = cf_asprintf("h%d-%d", h->no, i);
		cf_cleanup(cf_freep) char *old = cf_asprintf("h%d-%d", h->no, i - 10);

		if (prepare(&mine, key, "", NULL, NULL, &h->err) < 0)
			break;
		h->prepared = i + 1;
		/* Each tenth goes again. */
		if (i >= 10 && i % 10 == 0 && drop(&mine, old, &h->err) < 0)
			break;
		if (i >= 10 && i % 10 == 0)
			h->removed = i - 10 + 1;
	}
	h->has_ended = true;
	rpc_grpc_client_free(c);
	return NULL;
}

static void check_hammer(struct world *w, const struct hammer *h)
{
	for (int i = 0; i < h->prepared; i++) {
		cf_cleanup(cf_freep) char *key = cf_asprintf("h%d-%d", h->no, i);
		int kind = kind_of(w, key);
		bool was_removed = i % 10 == 0 && i < h->removed;
		bool is_open = i % 10 == 0 && i >= h->removed && i + 10 < h->prepared + 1;

		/* A removal under way when it died may have happened or not. */
		EXPECT(is_open || kind == (was_removed ? 0 : 2));
	}
}

CF_TEST(daemon_killed_at_any_moment_has_lost_no_answer)
{
	for (int round = 0; round < 3; round++) {
		struct world *w = world_new("proxy");
		struct hammer h[HAMMERS];
		pthread_t t[HAMMERS];
		struct cf_err err;

		for (int i = 0; i < HAMMERS; i++) {
			h[i] = (struct hammer){ .w = w, .no = i };
			EXPECT(pthread_create(&t[i], NULL, hammer_main, &h[i]) == 0);
		}
		while (h[0].prepared < 20 + 40 * round && !h[0].has_ended)
			poll(NULL, 0, 1);
		if (h[0].has_ended)
			fail_msg("it ended by itself: %s", h[0].err.msg);
		daemon_end(w, SIGKILL);
		for (int i = 0; i < HAMMERS; i++)
			pthread_join(t[i], NULL);
		rpc_grpc_client_free(w->c);
		EXPECT(unlink(w->sock) == 0 || errno == ENOENT);
		daemon_start(w);
		client_start(w);
		for (int i = 0; i < HAMMERS; i++)
			check_hammer(w, &h[i]);
		/* Directories follow the records: none missing, none too many. */
		cf_cleanup(cf_freep) char *dirs = cf_asprintf("%s/snapshots", w->root);
		struct walk x;

		EXPECT_OK(list(w, NULL, &x, &err), &err);
		EXPECT(files_below(dirs) == 3 * x.infos);
		world_free(w);
	}
}

/* ---- starting and stopping ---- */

static int run_daemon(struct world *w, char *const *more, char **ret_said)
{
	cf_cleanup(cf_freep) char *bin = cf_test_bin("coffer-snapshotter");
	char *argv[16] = { bin };
	int p[2], status = 0;
	size_t n = 1;
	struct cf_buf said = { 0 };
	struct cf_err err;

	(void)w;
	while (more && *more)
		argv[n++] = *more++;
	EXPECT(pipe(p) == 0);
	pid_t pid = fork();

	if (pid == 0) {
		dup2(p[1], 1);
		dup2(p[1], 2);
		close(p[0]);
		close(p[1]);
		execv(bin, argv);
		_exit(127);
	}
	close(p[1]);
	EXPECT_OK(cf_read_all(p[0], 1u << 20, &said, &err), &err);
	close(p[0]);
	EXPECT(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	*ret_said = cf_buf_take_str(&said);
	return WEXITSTATUS(status);
}

CF_TEST(daemon_refuses_to_start_on_a_damaged_database_or_in_company)
{
	struct world *w = world_new("proxy");
	cf_cleanup(cf_freep) char *db = cf_asprintf("%s/metadata.sqlite", w->root);
	cf_cleanup(cf_freep) char *other = cf_asprintf("%s/other.sock", w->dir);
	char *argv[] = { text("--state-dir"), w->root, text("--listen"), other, NULL };
	struct cf_err err;
	char *said;

	EXPECT(run_daemon(w, argv, &said) == 1);
	EXPECT(strstr(said, "another instance"));
	free(said);
	rpc_grpc_client_free(cf_take(&w->c));
	daemon_end(w, SIGTERM);
	EXPECT_OK(cf_write_file_atomic(db, cf_view_str("SQLite format 3 no more"), 0600, &err),
	          &err);
	EXPECT(run_daemon(w, argv, &said) == 1);
	EXPECT(strstr(said, "database"));
	free(said);
	world_free(w);
}

CF_TEST(daemon_explains_its_options)
{
	static char *const cases[][4] = {
		{ (char *)(uintptr_t) "--help", NULL },
		{ (char *)(uintptr_t) "-version", NULL },
		{ (char *)(uintptr_t) "--fs-driver=fusedev", NULL },
		{ (char *)(uintptr_t) "--nonsense", NULL },
		{ (char *)(uintptr_t) "--state-dir=relative", NULL },
		{ (char *)(uintptr_t) "--nydus-overlayfs-path=/x/other-name", NULL },
		{ (char *)(uintptr_t) "--config=/nonexistent.toml", NULL },
	};
	static const int codes[] = { 0, 0, 2, 2, 2, 2, 2 };
	static const char *const says[] = { "proxy_plugins",  "Version:",      "proxy",
		                            "unknown option", "absolute path", "nydus-overlayfs",
		                            "nonexistent" };

	for (size_t i = 0; i < CF_ARRAY_LEN(cases); i++) {
		char *said;

		EXPECT_INT(run_daemon(NULL, cases[i], &said), codes[i]);
		EXPECT(strstr(said, says[i]));
		free(said);
	}
}

/* As systemd would: a bound socket as fd 3, and a place to say READY=1. */
CF_TEST(daemon_takes_its_socket_from_the_service_manager)
{
	cf_test_library_keeps_fds(2);
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *root = cf_asprintf("%s/root", dir);
	cf_cleanup(cf_freep) char *sock = cf_asprintf("%s/sock", dir);
	cf_cleanup(cf_freep) char *bin = cf_test_bin("coffer-snapshotter");
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct cf_err err;
	char said[256] = "";
	int status;
	int listener = cf_listen_unix(sock, &err);
	int notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/notify", dir);
	EXPECT(listener >= 0 && bind(notify, (struct sockaddr *)&sa, sizeof(sa)) == 0);
	pid_t pid = fork();

	if (pid == 0) {
		cf_cleanup(cf_freep) char *self = cf_asprintf("%d", (int)getpid());

		dup2(listener, 3);
		fcntl(3, F_SETFD, 0);
		setenv("LISTEN_PID", self, 1);
		setenv("LISTEN_FDS", "1", 1);
		setenv("NOTIFY_SOCKET", sa.sun_path, 1);
		execl(bin, bin, "--state-dir", root, "--log-level", "error", (char *)NULL);
		_exit(127);
	}
	EXPECT(recv(notify, said, sizeof(said) - 1, 0) > 0);
	EXPECT_STR(said, "READY=1");
	struct world w = { .sock = sock };

	client_start(&w);
	EXPECT_OK(prepare(&w, "a", "", NULL, NULL, &err), &err);
	rpc_grpc_client_free(w.c);
	EXPECT(kill(pid, SIGTERM) == 0 && waitpid(pid, &status, 0) == pid && status == 0);
	EXPECT(access(sock, F_OK) == 0); /* it is the manager's */
	close(listener);
	close(notify);
}
