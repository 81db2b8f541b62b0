/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshotter with content (overlay and erofs mode) is killed at random moments while four clients
 * fill, commit, view and remove layers on top of each other: what was committed has its content and
 * that of all below, what was removed is gone, no file, directory, mount or process of an interrupted
 * build is left, and it always starts. COFFER_CRASH_ROUNDS: how often (8).
 */
#include "base/loop.h"
#include "tests/harness/snap_tree.h"

#include <pthread.h>
#include <stdatomic.h>

#define CLIENTS   4
#define SLOTS     10
#define ROUNDS    8
#define CHANGES   24 /* between two kills, at most */
#define FILES     40 /* small ones in a layer: a build should take a moment */
#define BALLAST   (192u << 10)
#define DEPTH_MAX 6
#define ORPHAN_MS 5000 /* helpers of a killed daemon may take this long to end */

enum kind { NONE = 0, VIEWED = 1, ACTIVE = 2, COMMITTED = 3 }; /* the wire's numbers */

/* What a client knows of one snapshot. */
struct slot {
	enum kind kind;
	int parent;   /* a slot of the same client, or -1 */
	int children; /* how many have it as parent */
	int depth;
	unsigned version; /* what its files say */
	bool is_open;     /* a change is under way: before and after are both right */
	enum kind after;
	unsigned after_version;
};

struct client {
	struct world w; /* the daemon's, with a connection of its own */
	int no;
	unsigned seed, versions;
	struct slot slots[SLOTS];
	const _Atomic bool *stop;
	_Atomic int *changes;
	pthread_t thread;
};

struct sweep {
	struct world *w;
	bool is_erofs;
	struct client clients[CLIENTS];
	_Atomic bool stop;
	_Atomic int changes;
	unsigned seed;
};

static void key_of(const struct client *x, int i, enum kind kind, char out[64])
{
	const char *word = kind == COMMITTED ? "layer" : kind == VIEWED ? "view" : "active";

	snprintf(out, 64, "test/%d/%s-%d", x->no, word, i);
}

/* ---- filling a layer: as a container would, in its upper directory ---- */

static char *upper_of(struct client *x, const char *key, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *all = mounts(&x->w, key, err);
	const char *upper = all ? strstr(all, "upperdir=") : NULL;

	if (!all)
		return NULL;
	upper = upper ? upper + strlen("upperdir=") : all + strlen("bind ");
	return cf_strndup(upper, strcspn(upper, " "));
}

static void write_at(const char *dir, const char *name, const char *data, size_t size)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, name);
	cf_cleanup(cf_closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		fail_msg("%s: %s", path, strerror(errno));
}

static void ballast(unsigned version, char *out)
{
	for (size_t i = 0; i < BALLAST; i++)
		out[i] = (char)(version * 31 + i * i);
}

static void fill_layer(const char *dir, int slot, unsigned version)
{
	cf_cleanup(cf_freep) char *big = cf_zalloc(BALLAST);
	char name[64], says[32];
	int n = snprintf(says, sizeof(says), "%u", version);

	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "slot-%d-file-%d", slot, i);
		write_at(dir, name, says, (size_t)n);
	}
	ballast(version, big);
	snprintf(name, sizeof(name), "slot-%d-big", slot);
	write_at(dir, name, big, BALLAST);
}

static void expect_file(const char *dir, const char *name, const char *data, size_t size)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, name);
	cf_cleanup(cf_buf_fini) struct cf_buf got = { .max = 1u << 20 };
	struct cf_err err;

	EXPECT_OK(cf_read_file(path, 1u << 20, &got, &err), &err);
	if (got.size != size || memcmp(got.data, data, size) != 0)
		fail_msg("%s: %zu bytes, not the %zu that were committed", path, got.size, size);
}

static void expect_layer(const char *dir, int slot, unsigned version)
{
	cf_cleanup(cf_freep) char *big = cf_zalloc(BALLAST);
	char name[64], says[32];
	int n = snprintf(says, sizeof(says), "%u", version);

	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "slot-%d-file-%d", slot, i);
		expect_file(dir, name, says, (size_t)n);
	}
	ballast(version, big);
	snprintf(name, sizeof(name), "slot-%d-big", slot);
	expect_file(dir, name, big, BALLAST);
}

/* ---- changes ---- */

enum change { PREPARE, VIEW, COMMIT, REMOVE };

static int roll(struct client *x, int sides)
{
	return (int)((unsigned)rand_r(&x->seed) >> 4) % sides;
}

/* A committed one that is not too deep, or -1. */
static int choose_parent(struct client *x)
{
	for (int tries = 0; tries < 4; tries++) {
		int i = roll(x, SLOTS);

		if (x->slots[i].kind == COMMITTED && x->slots[i].depth < DEPTH_MAX)
			return i;
	}
	return -1;
}

/* False: nothing can be done with this one now. */
static bool choose(struct client *x, struct slot *s, enum change *ret)
{
	if (s->kind == NONE) {
		s->parent = choose_parent(x);
		*ret = s->parent >= 0 && roll(x, 4) == 0 ? VIEW : PREPARE;
		return true;
	}
	*ret = s->kind == ACTIVE && roll(x, 4) ? COMMIT : REMOVE;
	return s->kind != COMMITTED || (s->children == 0 && roll(x, 3) == 0);
}

static void foresee(struct client *x, struct slot *s, enum change what)
{
	static const enum kind leads_to[] = {
		[PREPARE] = ACTIVE, [VIEW] = VIEWED, [COMMIT] = COMMITTED, [REMOVE] = NONE
	};

	s->after = leads_to[what];
	s->after_version = what == COMMIT ? ++x->versions : s->version;
	s->is_open = true;
}

static void settle(struct client *x, struct slot *s, bool is_done)
{
	enum kind was = s->kind;

	s->is_open = false;
	if (!is_done)
		return;
	s->kind = s->after;
	s->version = s->after_version;
	if (was == NONE) {
		s->depth = s->parent < 0 ? 1 : x->slots[s->parent].depth + 1;
		if (s->parent >= 0)
			x->slots[s->parent].children++;
	}
	if (s->kind == NONE && s->parent >= 0)
		x->slots[s->parent].children--;
}

static int run_commit(struct client *x, int i, struct cf_err *err)
{
	char key[64], name[64];

	key_of(x, i, ACTIVE, key);
	key_of(x, i, COMMITTED, name);
	cf_cleanup(cf_freep) char *upper = upper_of(x, key, err);

	if (!upper)
		return -(int)err->code;
	fill_layer(upper, i, x->slots[i].after_version);
	return commit(&x->w, name, key, err);
}

static int run_change(struct client *x, int i, enum change what, struct cf_err *err)
{
	struct slot *s = &x->slots[i];
	char key[64], parent[64] = "";

	if (s->parent >= 0)
		key_of(x, s->parent, COMMITTED, parent);
	if (what == COMMIT)
		return run_commit(x, i, err);
	key_of(x, i, what == REMOVE ? s->kind : s->after, key);
	if (what == PREPARE)
		return prepare(&x->w, key, parent, NULL, NULL, err);
	return what == VIEW ? view(&x->w, key, parent, err) : drop(&x->w, key, err);
}

static void *client_main(void *arg)
{
	struct client *x = arg;
	enum change what;
	struct cf_err err;

	while (!*x->stop) {
		int i = roll(x, SLOTS);

		if (!choose(x, &x->slots[i], &what))
			continue;
		foresee(x, &x->slots[i], what);
		int r = run_change(x, i, what, &err);

		/* Only a daemon that is gone may fail a call that is right. */
		if (r < 0 && err.code != CF_UNAVAILABLE && err.code != CF_CANCELLED &&
		    err.code != CF_UNKNOWN)
			fail_msg("change %d of slot %d: %s", (int)what, i, err.msg);
		if (r < 0)
			return NULL;
		settle(x, &x->slots[i], true);
		(*x->changes)++;
	}
	return NULL;
}

/* ---- looking afterwards ---- */

static void check_slot(struct client *x, int i)
{
	static const enum kind all[] = { VIEWED, ACTIVE, COMMITTED };
	struct slot *s = &x->slots[i];
	enum kind found = NONE;
	char key[64];

	for (size_t k = 0; k < CF_ARRAY_LEN(all); k++) {
		key_of(x, i, all[k], key);
		int kind = kind_of(&x->w, key);

		if (kind && (found || kind != (int)all[k]))
			fail_msg("%s is of kind %d", key, kind);
		if (kind)
			found = all[k];
	}
	if (found != s->kind && !(s->is_open && found == s->after))
		fail_msg("client %d slot %d is %d, expected %d%s", x->no, i, (int)found,
		         (int)s->kind, s->is_open ? " or what was under way" : "");
	settle(x, s, s->is_open && found == s->after && found != s->kind);
}

static void check_content(struct client *x, int i)
{
	cf_cleanup(cf_freep) char *target = cf_asprintf("%s/look", x->w.dir);
	struct cf_err err;
	char key[64];

	key_of(x, i, COMMITTED, key);
	EXPECT_OK(view(&x->w, "look", key, &err), &err);
	tree_mount(&x->w, "look", target);
	for (int k = i; k >= 0; k = x->slots[k].parent)
		expect_layer(target, k, x->slots[k].version);
	tree_unmount(target);
	EXPECT_OK(drop(&x->w, "look", &err), &err);
}

static bool is_empty(const char *path)
{
	return files_below(path) == 0;
}

static void expect_entry(const struct sweep *s, enum kind kind, const char *dir, const char *name)
{
	bool is_image = cf_streq(name, "layer.erofs") || cf_streq(name, "fsmeta.erofs");

	if (cf_streq(name, "fs") || cf_streq(name, "work"))
		return;
	if (!is_image || !s->is_erofs || kind != COMMITTED)
		fail_msg("%s/%s was left behind", dir, name);
}

static int64_t id_of(struct client *x, int i)
{
	cf_cleanup(cf_freep) char *upper = NULL;
	char key[64];
	struct cf_err err;

	key_of(x, i, ACTIVE, key);
	upper = upper_of(x, key, &err);
	EXPECT(upper);
	return strtoll(strstr(upper, "/snapshots/") + strlen("/snapshots/"), NULL, 10);
}

/* What a snapshot's directory holds, by what the snapshot is: "/v1/snapshots" would need a control
 * socket, so actives are told by their mounts and the rest are committed or views. */
static void check_dir(const struct sweep *s, const char *path, bool is_active, size_t *images)
{
	DIR *d = opendir(path);
	cf_cleanup(cf_freep) char *layer = cf_asprintf("%s/layer.erofs", path);
	cf_cleanup(cf_freep) char *fs = cf_asprintf("%s/fs", path);
	bool has_image = access(layer, F_OK) == 0;

	EXPECT(d);
	for (struct dirent *e; (e = readdir(d));)
		if (!cf_streq(e->d_name, ".") && !cf_streq(e->d_name, ".."))
			expect_entry(s, is_active ? ACTIVE : COMMITTED, path, e->d_name);
	closedir(d);
	if (has_image && !is_empty(fs))
		fail_msg("%s has an image and is not empty", fs);
	*images += has_image;
}

static bool is_id_active(struct sweep *s, int64_t id)
{
	for (int c = 0; c < CLIENTS; c++)
		for (int i = 0; i < SLOTS; i++)
			if (s->clients[c].slots[i].kind == ACTIVE && id_of(&s->clients[c], i) == id)
				return true;
	return false;
}

static size_t numbered(const char *root, const char *name)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", root, name);
	DIR *d = opendir(path);
	size_t n = 0;

	for (struct dirent *e; d && (e = readdir(d));)
		n += e->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

static void check_dirs(struct sweep *s, size_t records, size_t committed)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/snapshots", s->w->root);
	DIR *d = opendir(path);
	size_t images = 0, dirs = 0;

	EXPECT(d);
	for (struct dirent *e; (e = readdir(d));) {
		if (e->d_name[0] == '.')
			continue;
		cf_cleanup(cf_freep) char *one = cf_asprintf("%s/%s", path, e->d_name);

		check_dir(s, one, is_id_active(s, strtoll(e->d_name, NULL, 10)), &images);
		dirs++;
	}
	closedir(d);
	if (dirs != records)
		fail_msg("%zu directories for %zu snapshots", dirs, records);
	if (images != (s->is_erofs ? committed : 0))
		fail_msg("%zu images for %zu committed layers", images, committed);
	EXPECT(numbered(s->w->root, "trash") == 0);
}

/* One mount for each layer that an active or a view stands on. */
static size_t stood_on(const struct sweep *s)
{
	size_t n = 0;

	for (int c = 0; s->is_erofs && c < CLIENTS; c++) {
		bool is_seen[SLOTS] = { false };

		for (int i = 0; i < SLOTS; i++) {
			const struct slot *x = &s->clients[c].slots[i];
			bool stands = (x->kind == ACTIVE || x->kind == VIEWED) && x->parent >= 0;

			n += stands && !is_seen[x->parent];
			if (stands)
				is_seen[x->parent] = true;
		}
	}
	return n;
}

static void clean_up(struct sweep *s)
{
	T(CleanupRequest) req;
	struct cf_err err;

	INIT(cleanup_request)(&req);
	EXPECT_OK(call(&s->clients[0].w, "Cleanup", &req.base, &google__protobuf__empty__descriptor,
	               NULL, &err),
	          &err);
}

/* @all: the content of every layer is looked at, not of one in three. */
static void check(struct sweep *s, bool all)
{
	size_t records = 0, committed = 0;

	for (int c = 0; c < CLIENTS; c++)
		for (int i = 0; i < SLOTS; i++)
			check_slot(&s->clients[c], i);
	for (int c = 0; c < CLIENTS; c++) {
		for (int i = 0; i < SLOTS; i++) {
			const struct slot *x = &s->clients[c].slots[i];

			records += x->kind != NONE;
			committed += x->kind == COMMITTED;
			if (x->kind == COMMITTED && (all || rand_r(&s->seed) % 3 == 0))
				check_content(&s->clients[c], i);
		}
	}
	clean_up(s);
	check_dirs(s, records, committed);
	if (numbered(s->w->root, "mounts") != stood_on(s))
		fail_msg("%zu mounts, %zu layers are stood on", numbered(s->w->root, "mounts"),
		         stood_on(s));
}

/* ---- the sweep ---- */

static void connect_all(struct sweep *s)
{
	for (int i = 0; i < CLIENTS; i++) {
		struct client *x = &s->clients[i];

		x->w = *s->w;
		client_start(&x->w);
	}
}

static void disconnect_all(struct sweep *s)
{
	for (int i = 0; i < CLIENTS; i++)
		s->clients[i].w.c = rpc_grpc_client_free(s->clients[i].w.c);
}

static void clients_start(struct sweep *s)
{
	s->stop = false;
	for (int i = 0; i < CLIENTS; i++) {
		struct client *x = &s->clients[i];

		x->stop = &s->stop;
		x->changes = &s->changes;
		EXPECT(pthread_create(&x->thread, NULL, client_main, x) == 0);
	}
}

static void clients_end(struct sweep *s)
{
	s->stop = true;
	for (int i = 0; i < CLIENTS; i++)
		pthread_join(s->clients[i].thread, NULL);
}

static void wait_for_changes(struct sweep *s, int count)
{
	int until = s->changes + count;

	for (int ms = 0; s->changes < until && ms < 2000; ms++)
		poll(NULL, 0, 1);
}

/* What the killed daemon had started is ours now, and ends. */
static void reap_orphans(void)
{
	int64_t end = cf_now_ms() + ORPHAN_MS;
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0) {
		EXPECT(cf_now_ms() < end);
		if (pid == 0)
			poll(NULL, 0, 2);
	}
	EXPECT(errno == ECHILD);
}

static void round_of(struct sweep *s, bool is_first)
{
	daemon_start(s->w);
	connect_all(s);
	if (!is_first)
		check(s, false);
	clients_start(s);
	wait_for_changes(s, 1 + rand_r(&s->seed) % CHANGES);
	poll(NULL, 0, rand_r(&s->seed) % 20);
	daemon_end(s->w, SIGKILL);
	clients_end(s);
	disconnect_all(s);
	unlink(s->w->sock);
	reap_orphans();
}

static void end_all(struct sweep *s)
{
	daemon_start(s->w);
	connect_all(s);
	check(s, true);
	disconnect_all(s);
	daemon_end(s->w, SIGKILL);
	unlink(s->w->sock);
	world_free(s->w);
	free(s);
}

static void sweep(const char *driver)
{
	const char *rounds_text = getenv("COFFER_CRASH_ROUNDS");
	unsigned rounds = rounds_text ? (unsigned)strtoul(rounds_text, NULL, 10) : ROUNDS;

	tree_namespace();
	EXPECT(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);

	struct sweep *s = cf_zalloc(sizeof(*s));

	s->w = world_new(driver);
	s->w->c = rpc_grpc_client_free(s->w->c);
	daemon_end(s->w, SIGTERM);
	s->is_erofs = cf_streq(driver, "erofs");
	s->seed = (unsigned)getpid();
	for (int i = 0; i < CLIENTS; i++) {
		s->clients[i].no = i;
		s->clients[i].seed = s->seed * 100 + (unsigned)i;
		for (int k = 0; k < SLOTS; k++)
			s->clients[i].slots[k].parent = -1;
	}
	for (unsigned i = 0; i < rounds; i++)
		round_of(s, i == 0);
	printf("%s: %u kills, %d changes answered\n", driver, rounds, (int)s->changes);
	end_all(s);
}

CF_TEST(crash_in_overlay_mode_keeps_what_was_committed)
{
	sweep("overlay");
}

CF_TEST(crash_in_erofs_mode_keeps_what_was_committed)
{
	sweep("erofs");
}

static char *beside(const char *upper, const char *name)
{
	return cf_asprintf("%.*s/%s", (int)(strrchr(upper, '/') - upper), upper, name);
}

/* Else overlay mode would commit the directory, and erofs mode later take that image for it. */
CF_TEST(crash_leaves_no_image_of_a_commit_that_was_not)
{
	tree_namespace();

	struct world *w = world_new("erofs");
	struct client x = { .w = *w };
	struct cf_err err;

	EXPECT_OK(prepare(w, "a", "", NULL, NULL, &err), &err);
	cf_cleanup(cf_freep) char *upper = upper_of(&x, "a", &err);

	EXPECT(upper);
	cf_cleanup(cf_freep) char *image = beside(upper, "layer.erofs");
	cf_cleanup(cf_freep) char *draft = beside(upper, ".building-0123456789abcdef");

	EXPECT_OK(cf_write_file_atomic(image, cf_view_str("of an attempt"), 0600, &err), &err);
	EXPECT_OK(cf_write_file_atomic(draft, cf_view_str("of another"), 0600, &err), &err);
	w->c = rpc_grpc_client_free(w->c);
	daemon_end(w, SIGKILL);
	unlink(w->sock);
	w->driver = "overlay";
	daemon_start(w);
	EXPECT(access(image, F_OK) < 0 && access(draft, F_OK) < 0);
	EXPECT(access(upper, F_OK) == 0);
	world_free(w);
}
