/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon under eight clients is killed, or its disk is copied as a power cut would leave it, at
 * random moments, again and again: what was answered is there, what was removed is gone, directories
 * follow the records, and it always starts. COFFER_CRASH_ROUNDS: how often (40).
 */
#include "base/fd.h"
#include "base/loop.h"
#include "base/str.h"
#include "proto/containerd_snapshots.pb-c.h"
#include "proto/rpc_grpc.h"
#include "snapshotter/snap_labels.h"
#include "tests/harness/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define T(x)    Containerd__Services__Snapshots__V1__##x
#define D(x)    &containerd__services__snapshots__v1__##x##__descriptor
#define INIT(x) containerd__services__snapshots__v1__##x##__init
#define SERVICE "containerd.services.snapshots.v1.Snapshots"

#define CLIENTS    8
#define SLOTS      24
#define ROUNDS     40
#define CUTS       100
#define LABEL      "containerd.io/snapshot/v"
#define DISK_MIB   64
#define COPIES_MAX 50

static char *text(const char *s)
{
	return (char *)(uintptr_t)s;
}

/* ---- what a client knows of one key ---- */

struct slot {
	int kind;      /* 0: not there, 2: active, 3: committed */
	bool is_layer; /* committed without ever having had a directory */
	int version;   /* of its label */
	bool is_open;  /* a change is under way: any of before and after is right */
	struct {
		int kind, version;
		bool is_layer;
	} after;
};

struct client {
	const char *sock;
	int no;
	unsigned seed;
	struct rpc_grpc_client *c;
	pthread_mutex_t lock; /* slots */
	struct slot slots[SLOTS];
	_Atomic bool *stop;
	_Atomic int *changes;
	pthread_t thread;
};

static void key_of(const struct client *x, int i, int kind, char out[96])
{
	/* Not of a layer's shape: the daemon would take such a name up again when asked about it. */
	if (kind == 3)
		snprintf(out, 96, "chain-%d-%d", x->no, i);
	else
		snprintf(out, 96, "k8s.io/%d/container-%d", x->no, i);
}

static int call(struct client *x, const char *method, const void *msg,
                const ProtobufCMessageDescriptor *out, void *ret, struct cf_err *err)
{
	struct rpc_grpc_req req = {
		.service = SERVICE, .method = method, .msg = msg, .out = out, .timeout_ms = 20000
	};

	return rpc_grpc_call(x->c, &req, ret, err);
}

static int do_prepare(struct client *x, const char *key, const char *ref, struct cf_err *err)
{
	T(PrepareSnapshotRequest) req;
	T(PrepareSnapshotRequest__LabelsEntry) e, *list[1] = { &e };

	INIT(prepare_snapshot_request)(&req);
	INIT(prepare_snapshot_request__labels_entry)(&e);
	req.key = text(key);
	e.key = text(SNAP_LABEL_REF);
	e.value = text(ref);
	req.labels = list;
	req.n_labels = ref ? 1 : 0;
	int r = call(x, "Prepare", &req.base, D(prepare_snapshot_response), NULL, err);

	return ref && r == -CF_ALREADY_EXISTS ? 0 : r;
}

static int do_commit(struct client *x, const char *key, const char *name, struct cf_err *err)
{
	T(CommitSnapshotRequest) req;

	INIT(commit_snapshot_request)(&req);
	req.key = text(key);
	req.name = text(name);
	return call(x, "Commit", &req.base, &google__protobuf__empty__descriptor, NULL, err);
}

static int do_remove(struct client *x, const char *key, struct cf_err *err)
{
	T(RemoveSnapshotRequest) req;

	INIT(remove_snapshot_request)(&req);
	req.key = text(key);
	return call(x, "Remove", &req.base, &google__protobuf__empty__descriptor, NULL, err);
}

static int do_update(struct client *x, const char *key, int version, struct cf_err *err)
{
	T(UpdateSnapshotRequest) req;
	T(Info) info;
	T(Info__LabelsEntry) e, *list[1] = { &e };
	Google__Protobuf__FieldMask mask;
	char value[16], *paths[] = { text("labels." LABEL) };

	INIT(update_snapshot_request)(&req);
	INIT(info)(&info);
	INIT(info__labels_entry)(&e);
	google__protobuf__field_mask__init(&mask);
	snprintf(value, sizeof(value), "%d", version);
	e.key = text(LABEL);
	e.value = value;
	info.name = text(key);
	info.labels = list;
	info.n_labels = 1;
	mask.paths = paths;
	mask.n_paths = 1;
	req.info = &info;
	req.update_mask = &mask;
	return call(x, "Update", &req.base, D(update_snapshot_response), NULL, err);
}

/* The next change of a slot: what it leads to, then the call. */
enum change { PREPARE, LAYER, COMMIT, REMOVE, UPDATE };

static enum change choose(const struct client *x, const struct slot *s, unsigned dice)
{
	(void)x;
	if (s->kind == 0)
		return dice % 2 ? PREPARE : LAYER;
	if (dice % 3 == 0)
		return UPDATE;
	if (s->kind == 2)
		return dice % 2 ? COMMIT : REMOVE;
	return REMOVE;
}

static void foresee(struct slot *s, enum change what)
{
	s->after.kind = what == PREPARE ? 2 : what == LAYER || what == COMMIT ? 3 : 0;
	s->after.is_layer = what == LAYER;
	s->after.version = 0;
	if (what == UPDATE) {
		s->after.kind = s->kind;
		s->after.is_layer = s->is_layer;
		s->after.version = s->version + 1;
	}
	s->is_open = true;
}

static void settle(struct slot *s)
{
	s->kind = s->after.kind;
	s->version = s->after.version;
	s->is_layer = s->after.is_layer;
	s->is_open = false;
}

static int run_change(struct client *x, int i, enum change what, int kind, int version,
                      struct cf_err *err)
{
	char active[96], layer[96], extract[160];

	key_of(x, i, 2, active);
	key_of(x, i, 3, layer);
	snprintf(extract, sizeof(extract), "k8s.io/%d/extract-%d %s", x->no, i, layer);
	switch (what) {
	case PREPARE:
		return do_prepare(x, active, NULL, err);
	case LAYER:
		return do_prepare(x, extract, layer, err);
	case COMMIT:
		return do_commit(x, active, layer, err);
	case REMOVE:
		return do_remove(x, kind == 3 ? layer : active, err);
	case UPDATE:
		break;
	}
	return do_update(x, kind == 3 ? layer : active, version + 1, err);
}

static void *client_main(void *arg)
{
	struct client *x = arg;
	struct cf_err err;

	while (!*x->stop) {
		int i = rand_r(&x->seed) % SLOTS;
		struct slot *s = &x->slots[i];
		enum change what = choose(x, s, (unsigned)rand_r(&x->seed) >> 4);

		pthread_mutex_lock(&x->lock);
		foresee(s, what);
		pthread_mutex_unlock(&x->lock);
		int r = run_change(x, i, what, s->kind, s->version, &err);

		/* Only a daemon that is gone may fail a call that is right. */
		if (r < 0 && err.code != CF_UNAVAILABLE && err.code != CF_CANCELLED &&
		    err.code != CF_UNKNOWN)
			fail_msg("change %d of slot %d: %s", (int)what, i, err.msg);
		if (r < 0)
			return NULL;
		pthread_mutex_lock(&x->lock);
		settle(s);
		pthread_mutex_unlock(&x->lock);
		(*x->changes)++;
	}
	return NULL;
}

/* ---- the daemon ---- */

struct world {
	char *dir, *root, *sock;
	pid_t pid;
	struct client clients[CLIENTS];
	_Atomic bool stop;
	_Atomic int changes;
};

static pid_t daemon_start(const char *root, const char *sock)
{
	cf_cleanup(cf_freep) char *bin = cf_test_bin("coffer-snapshotter");
	char *argv[] = { bin,           text("--state-dir"),
		         text(root),    text("--listen"),
		         text(sock),    text("--fs-driver"),
		         text("proxy"), text("--log-level"),
		         text("error"), NULL };
	struct cf_err err;
	int fd, status;
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nothing running */
		execv(bin, argv);
		_exit(127);
	}
	for (int i = 0; (fd = cf_connect_unix(sock, &err)) < 0; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			fail_msg("it does not start: status %x", status);
		EXPECT(i < 6000);
		poll(NULL, 0, 5);
	}
	close(fd);
	return pid;
}

static void daemon_kill(pid_t pid)
{
	EXPECT(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
}

static void connect_all(struct client *x, const char *sock)
{
	struct cf_err err;

	for (int i = 0; i < CLIENTS; i++) {
		x[i].sock = sock;
		EXPECT_OK(rpc_grpc_client_new(sock, &x[i].c, &err), &err);
	}
}

static void disconnect_all(struct client *x)
{
	for (int i = 0; i < CLIENTS; i++)
		x[i].c = rpc_grpc_client_free(x[i].c);
}

static void clients_start(struct world *w)
{
	w->stop = false;
	for (int i = 0; i < CLIENTS; i++) {
		w->clients[i].stop = &w->stop;
		w->clients[i].changes = &w->changes;
		EXPECT(pthread_create(&w->clients[i].thread, NULL, client_main, &w->clients[i]) ==
		       0);
	}
}

static void clients_end(struct world *w)
{
	w->stop = true;
	for (int i = 0; i < CLIENTS; i++)
		pthread_join(w->clients[i].thread, NULL);
}

static struct world *world_new(void)
{
	struct world *w = cf_zalloc(sizeof(*w));

	cf_test_library_keeps_fds(2);
	w->dir = cf_test_tmpdir();
	w->root = cf_asprintf("%s/root", w->dir);
	w->sock = cf_asprintf("%s/sock", w->dir);
	for (int i = 0; i < CLIENTS; i++) {
		w->clients[i].no = i;
		w->clients[i].seed = (unsigned)(getpid() * 100 + i);
		pthread_mutex_init(&w->clients[i].lock, NULL);
	}
	return w;
}

static void world_free(struct world *w)
{
	for (int i = 0; i < CLIENTS; i++)
		pthread_mutex_destroy(&w->clients[i].lock);
	free(w->dir);
	free(w->root);
	free(w->sock);
	free(w);
}

/* ---- looking afterwards ---- */

static int look(struct client *x, const char *key, int *ret_version)
{
	T(StatSnapshotRequest) req;
	T(StatSnapshotResponse) *res = NULL;
	struct cf_err err;

	INIT(stat_snapshot_request)(&req);
	req.key = text(key);
	if (call(x, "Stat", &req.base, D(stat_snapshot_response), &res, &err) < 0) {
		if (err.code != CF_NOT_FOUND)
			fail_msg("Stat %s: %s", key, err.msg);
		return 0;
	}
	int kind = (int)res->info->kind;

	*ret_version = 0;
	for (size_t i = 0; i < res->info->n_labels; i++)
		if (cf_streq(res->info->labels[i]->key, LABEL))
			*ret_version = (int)strtol(res->info->labels[i]->value, NULL, 10);
	containerd__services__snapshots__v1__stat_snapshot_response__free_unpacked(res, NULL);
	return kind;
}

/* Counts what is there. */
static void check_slot(struct client *x, int i, size_t *records, size_t *dirs)
{
	struct slot *s = &x->slots[i];
	char active[96], layer[96];
	int version = 0, kind;

	key_of(x, i, 2, active);
	key_of(x, i, 3, layer);
	kind = look(x, active, &version);
	if (kind == 0)
		kind = look(x, layer, &version);
	bool is_before = kind == s->kind && (kind == 0 || version == s->version);
	bool is_after =
		s->is_open && kind == s->after.kind && (kind == 0 || version == s->after.version);

	if (!is_before && !is_after)
		fail_msg("client %d slot %d: kind %d version %d, expected %d %d%s", x->no, i, kind,
		         version, s->kind, s->version, s->is_open ? " or what was under way" : "");
	if (is_after)
		settle(s);
	s->is_open = false;
	*records += kind != 0;
	*dirs += kind != 0 && !s->is_layer;
}

static size_t entries(const char *root, const char *name)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", root, name);
	DIR *d = opendir(path);
	size_t n = 0;

	EXPECT(d);
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] >= '0' && e->d_name[0] <= '9';
	closedir(d);
	return n;
}

static bool count_infos(void *user, const ProtobufCMessage *msg)
{
	*(size_t *)user += ((const T(ListSnapshotsResponse) *)msg)->n_info;
	return true;
}

static void check(struct client *clients, const char *root)
{
	size_t records = 0, dirs = 0, listed = 0;
	T(ListSnapshotsRequest) req;
	T(CleanupRequest) clean;
	struct cf_err err;

	for (int i = 0; i < CLIENTS; i++)
		for (int k = 0; k < SLOTS; k++)
			check_slot(&clients[i], k, &records, &dirs);
	INIT(list_snapshots_request)(&req);
	struct rpc_grpc_req grpc = { .service = SERVICE,
		                     .method = "List",
		                     .msg = &req.base,
		                     .out = D(list_snapshots_response) };

	EXPECT_OK(rpc_grpc_call_stream(clients[0].c, &grpc, count_infos, &listed, &err), &err);
	if (listed != records)
		fail_msg("%zu records, %zu known", listed, records);
	INIT(cleanup_request)(&clean);
	EXPECT_OK(call(&clients[0], "Cleanup", &clean.base, &google__protobuf__empty__descriptor,
	               NULL, &err),
	          &err);
	if (entries(root, "snapshots") != dirs)
		fail_msg("%zu directories for %zu snapshots", entries(root, "snapshots"), dirs);
	EXPECT(entries(root, "trash") == 0);
}

static unsigned number(const char *name, unsigned usual)
{
	const char *s = getenv(name);

	return s ? (unsigned)strtoul(s, NULL, 10) : usual;
}

static void wait_for_changes(struct world *w, int count)
{
	int until = w->changes + count;

	for (int ms = 0; w->changes < until && ms < 500; ms++)
		poll(NULL, 0, 1);
}

CF_TEST(crash_kill_at_random_points_loses_no_answer)
{
	struct world *w = world_new();
	unsigned rounds = number("COFFER_CRASH_ROUNDS", ROUNDS), seed = (unsigned)getpid();

	for (unsigned i = 0; i < rounds; i++) {
		w->pid = daemon_start(w->root, w->sock);
		connect_all(w->clients, w->sock);
		if (i)
			check(w->clients, w->root);
		clients_start(w);
		wait_for_changes(w, rand_r(&seed) % 150);
		daemon_kill(w->pid);
		clients_end(w);
		disconnect_all(w->clients);
		unlink(w->sock);
	}
	w->pid = daemon_start(w->root, w->sock);
	connect_all(w->clients, w->sock);
	check(w->clients, w->root);
	disconnect_all(w->clients);
	daemon_kill(w->pid);
	printf("%u kills, %d changes answered\n", rounds, (int)w->changes);
	world_free(w);
}

/* ---- power cuts: the disk below is copied while the daemon stands still ---- */

static int run(const char *const *argv)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	EXPECT(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
#define RUN(...) run((const char *const[]){ __VA_ARGS__, NULL })

/* The clients' knowledge as of now, and the disk as it is; the daemon does nothing meanwhile. */
static void cut(struct world *w, const char *disk, const char *copy, struct client *ret)
{
	int status;

	/* All of its threads stand before anything is noted. */
	EXPECT(kill(w->pid, SIGSTOP) == 0);
	EXPECT(waitpid(w->pid, &status, WUNTRACED) == w->pid && WIFSTOPPED(status));
	for (int i = 0; i < CLIENTS; i++) {
		pthread_mutex_lock(&w->clients[i].lock);
		ret[i].no = i;
		memcpy(ret[i].slots, w->clients[i].slots, sizeof(ret[i].slots));
		pthread_mutex_unlock(&w->clients[i].lock);
	}
	/*
	 * Somebody's sync(2) may write to the disk meanwhile, and half of what it wrote is no moment
	 * that ever was: the copy counts when the disk is still the same afterwards.
	 */
	int tries = 0;

	do {
		EXPECT(tries++ < COPIES_MAX);
		/* A new file: the loop device of the copy before may still write to that one. */
		EXPECT(unlink(copy) == 0 || errno == ENOENT);
		EXPECT(RUN("cp", "--sparse=always", disk, copy) == 0);
	} while (RUN("cmp", "-s", disk, copy) != 0);
	if (tries > 1)
		printf("copied %d times: the disk was written to\n", tries);
	EXPECT(kill(w->pid, SIGCONT) == 0);
}

static void check_cut(const char *dir, const char *copy, struct client *known)
{
	cf_cleanup(cf_freep) char *mnt = cf_asprintf("%s/cut", dir);
	cf_cleanup(cf_freep) char *root = cf_asprintf("%s/root", mnt);
	cf_cleanup(cf_freep) char *sock = cf_asprintf("%s/cut.sock", dir);

	mkdir(mnt, 0700);
	EXPECT(RUN("mount", "-o", "loop", copy, mnt) == 0);
	pid_t pid = daemon_start(root, sock);

	connect_all(known, sock);
	check(known, root);
	disconnect_all(known);
	daemon_kill(pid);
	EXPECT(umount(mnt) == 0 && unlink(sock) == 0);
}

static bool disk_mount(struct world *w, const char *disk, const char *mnt)
{
	cf_cleanup(cf_freep) char *size = cf_asprintf("%dM", DISK_MIB);

	mkdir(mnt, 0700);
	/* Nothing reaches the disk by itself: only what is synced. */
	return RUN("truncate", "-s", size, disk) == 0 && RUN("mkfs.ext4", "-q", "-F", disk) == 0 &&
	       RUN("mount", "-o", "loop,commit=300", disk, mnt) == 0 && w;
}

CF_TEST(crash_power_cut_at_random_points_loses_no_answer)
{
	struct world *w = world_new();
	cf_cleanup(cf_freep) char *disk = cf_asprintf("%s/disk", w->dir);
	cf_cleanup(cf_freep) char *copy = cf_asprintf("%s/copy", w->dir);
	cf_cleanup(cf_freep) char *mnt = cf_asprintf("%s/mnt", w->dir);
	unsigned cuts = number("COFFER_CRASH_CUTS", CUTS / 5), seed = (unsigned)getpid();
	struct client *known = cf_zalloc_n(CLIENTS, sizeof(*known));

	if (geteuid() != 0 || !disk_mount(w, disk, mnt)) {
		free(known);
		world_free(w);
		SKIP("needs to mount a loop device");
	}
	free(w->root);
	w->root = cf_asprintf("%s/root", mnt);
	w->pid = daemon_start(w->root, w->sock);
	connect_all(w->clients, w->sock);
	clients_start(w);
	for (unsigned i = 0; i < cuts; i++) {
		wait_for_changes(w, rand_r(&seed) % 60);
		cut(w, disk, copy, known);
		check_cut(w->dir, copy, known);
	}
	clients_end(w);
	disconnect_all(w->clients);
	daemon_kill(w->pid);
	EXPECT(umount(mnt) == 0);
	printf("%u cuts, %d changes answered\n", cuts, (int)w->changes);
	free(known);
	world_free(w);
}

/* ---- a full disk ---- */

static int64_t fill(const char *mnt)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/hog", mnt);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	static const char zeros[4096];
	int64_t n = 0;

	EXPECT(fd >= 0);
	for (ssize_t k; (k = write(fd, zeros, sizeof(zeros))) > 0;)
		n += k;
	close(fd);
	return n;
}

CF_TEST(crash_full_disk_refuses_cleanly_and_recovers)
{
	struct world *w = world_new();
	cf_cleanup(cf_freep) char *hog = cf_asprintf("%s/root/hog", w->dir);
	struct cf_err err;
	int refused = 0, made = 0;

	mkdir(w->root, 0700);
	if (mount("tmpfs", w->root, "tmpfs", 0, "size=8m") < 0) {
		world_free(w);
		SKIP("needs to mount");
	}
	w->pid = daemon_start(w->root, w->sock);
	connect_all(w->clients, w->sock);
	struct client *x = &w->clients[0];

	EXPECT_OK(do_prepare(x, "before", NULL, &err), &err);
	EXPECT(fill(w->root) > 0);
	for (int i = 0; i < 300; i++) {
		char key[32];
		int version;

		snprintf(key, sizeof(key), "full-%d", i);
		int r = do_prepare(x, key, NULL, &err);

		made += r == 0;
		refused += r < 0;
		if (r < 0 && err.code != CF_RESOURCE_EXHAUSTED)
			fail_msg("a full disk is answered %s: %s", cf_code_name(err.code), err.msg);
		/* Reading goes on, and what was refused is not half there. */
		EXPECT(look(x, "before", &version) == 2);
		EXPECT(look(x, key, &version) == (r == 0 ? 2 : 0));
	}
	EXPECT(refused > 0);
	EXPECT(unlink(hog) == 0);
	EXPECT_OK(do_prepare(x, "after", NULL, &err), &err);
	EXPECT_OK(do_commit(x, "before", "kept", &err), &err);
	EXPECT_OK(do_remove(x, "after", &err), &err);
	daemon_kill(w->pid);
	disconnect_all(w->clients);
	unlink(w->sock);
	w->pid = daemon_start(w->root, w->sock);
	connect_all(w->clients, w->sock);
	int version;

	EXPECT(look(&w->clients[0], "kept", &version) == 3);
	disconnect_all(w->clients);
	daemon_kill(w->pid);
	EXPECT(umount2(w->root, MNT_DETACH) == 0);
	printf("%d refused, %d made\n", refused, made);
	world_free(w);
}
