/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that come in while a start still brings its records in: each is answered as at any other time. */
#include "tests/harness/snap_daemon.h"
#include "tests/harness/snap_db.h"

#include <pthread.h>

#define LAYERS 1000
#define ROUNDS 8
#define CALLS  40 /* of each thread, from the first moment on */
#define END_MS 20000

static void layer_name(char out[80], int i)
{
	snprintf(out, 80, "sha256:%064x", (unsigned)i);
}

/* Two to a chain. */
static struct world *with_layers(void)
{
	struct world *w = world_new("proxy");
	char name[80], below[80] = "";
	struct cf_err err;

	for (int i = 0; i < LAYERS; i++) {
		const char *labels[] = { SNAP_LABEL_REF, name, NULL };

		layer_name(name, i);
		EXPECT(prepare(w, "extract", i % 2 ? below : "", labels, NULL, &err) ==
		       -CF_ALREADY_EXISTS);
		layer_name(below, i);
	}
	EXPECT_OK(prepare(w, "container", name, NULL, NULL, &err), &err);
	return w;
}

static void kill_daemon(struct world *w)
{
	daemon_end(w, SIGKILL);
	w->c = rpc_grpc_client_free(w->c);
	EXPECT(unlink(w->sock) == 0);
}

/* ---- what each kind of call is answered ---- */

static void expect_there(struct world *w, int round, int i)
{
	T(StatSnapshotResponse) *res = NULL;
	char name[80], below[80] = "";
	struct cf_err err;

	(void)round;
	layer_name(name, i);
	if (i % 2)
		layer_name(below, i - 1);
	EXPECT_OK(stat_key(w, name, &res, &err), &err);
	EXPECT_STR(res->info->name, name);
	EXPECT_STR(res->info->parent, below);
	EXPECT(res->info->kind == 3 && res->info->n_labels > 0);
	containerd__services__snapshots__v1__stat_snapshot_response__free_unpacked(res, NULL);
}

static void expect_not_there(struct world *w, int round, int i)
{
	cf_cleanup(cf_freep) char *name = cf_asprintf("nobody-%d-%d", round, i);

	EXPECT_INT(kind_of(w, name), 0);
}

static void expect_prepared(struct world *w, int round, int i)
{
	cf_cleanup(cf_freep) char *key = cf_asprintf("container-%d-%d", round, i);
	cf_cleanup(cf_freep) char *mounted = NULL;
	char name[80];
	struct cf_err err;

	layer_name(name, i);
	EXPECT_OK(prepare(w, key, name, NULL, NULL, &err), &err);
	EXPECT_INT(kind_of(w, key), 2);
	mounted = mounts(w, key, &err);
	EXPECT(mounted && strstr(mounted, "fuse"));
	EXPECT_OK(drop(w, key, &err), &err);
	EXPECT_INT(kind_of(w, key), 0);
}

static void expect_listed(struct world *w, int round, int i)
{
	char name[80];
	struct walk x;
	struct cf_err err;

	(void)round;
	layer_name(name, i);
	cf_cleanup(cf_freep) char *filter = cf_asprintf("labels.\"" SNAP_LABEL_REF "\"==%s", name);

	EXPECT_OK(list(w, filter, &x, &err), &err);
	EXPECT(x.infos == 1 && cf_streq(x.last, name));
}

static void expect_kept(struct world *w, int round, int i)
{
	char name[80];
	struct cf_err err;

	(void)round;
	layer_name(name, i - i % 2);
	EXPECT_FAILS(drop(w, name, &err), CF_FAILED_PRECONDITION);
}

static void expect_mounted(struct world *w, int round, int i)
{
	struct cf_err err;
	cf_cleanup(cf_freep) char *mounted = mounts(w, "container", &err);

	(void)round, (void)i;
	EXPECT(mounted && strstr(mounted, "fuse"));
}

static void (*const kinds[])(struct world *, int round, int i) = {
	expect_there, expect_not_there, expect_prepared, expect_listed, expect_kept, expect_mounted,
};

struct caller {
	struct world w; /* with a client of its own */
	int kind, round;
};

static void *caller_main(void *arg)
{
	struct caller *c = arg;

	client_start(&c->w);
	for (int i = 0; i < CALLS; i++)
		kinds[c->kind](&c->w, c->round, i * (LAYERS / CALLS));
	rpc_grpc_client_free(c->w.c);
	return NULL;
}

CF_TEST(start_answers_every_call_from_the_first_moment_on)
{
	struct world *w = with_layers();

	for (int round = 0; round < ROUNDS; round++) {
		struct caller callers[CF_ARRAY_LEN(kinds)];
		pthread_t threads[CF_ARRAY_LEN(kinds)];

		kill_daemon(w);
		daemon_start(w);
		for (size_t i = 0; i < CF_ARRAY_LEN(kinds); i++) {
			callers[i] = (struct caller){ .w = *w, .kind = (int)i, .round = round };
			EXPECT(pthread_create(&threads[i], NULL, caller_main, &callers[i]) == 0);
		}
		for (size_t i = 0; i < CF_ARRAY_LEN(kinds); i++)
			pthread_join(threads[i], NULL);
		client_start(w);
	}
	world_free(w);
}

/* One kind of call alone is the first, and what comes after it is right too. */
CF_TEST(start_answers_whatever_is_asked_first)
{
	struct world *w = with_layers();

	for (size_t first = 0; first < CF_ARRAY_LEN(kinds); first++) {
		kill_daemon(w);
		daemon_start(w);
		client_start(w);
		for (size_t i = 0; i < CF_ARRAY_LEN(kinds); i++)
			kinds[(first + i) % CF_ARRAY_LEN(kinds)](w, (int)first, 2 * (int)i);
	}
	world_free(w);
}

/* ---- damage ---- */

static int lose_a_row(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	char name[80];

	layer_name(name, *(int *)user);
	struct snap_record rec = { .id = *(int *)user + 1, .name = name };

	return snap_rows_delete(tx, &rec, err);
}

static void damage(struct world *w, int layer)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/metadata.sqlite", w->root);

	snap_db_edit(path, lose_a_row, &layer);
}

static void expect_ended(struct world *w)
{
	int status = 0;

	for (int ms = 0; waitpid(w->pid, &status, WNOHANG) != w->pid; ms += 5) {
		EXPECT(ms < END_MS);
		poll(NULL, 0, 5);
	}
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	EXPECT(access(w->sock, F_OK) < 0);
	w->pid = 0;
}

/* What was read by itself is there; that the rest is not whole is found before anything rests on it. */
CF_TEST(start_ends_where_a_record_is_missing)
{
	struct world *w = with_layers();
	const int lost = 501;
	char name[80];
	struct cf_err err;

	kill_daemon(w);
	damage(w, lost);
	for (int round = 0; round < 4; round++) {
		daemon_start(w);
		client_start(w);
		layer_name(name, round % 2 ? lost : 7);
		int kind = kind_of(w, name);

		EXPECT(kind == -1 ||
		       (kind == 3 && round % 2 == 0)); /* never that it is not there */
		EXPECT(prepare(w, "another", name, NULL, NULL, &err) < 0);
		EXPECT(err.code == CF_DATA_LOSS || err.code == CF_UNAVAILABLE);
		w->c = rpc_grpc_client_free(w->c);
		expect_ended(w);
	}
	world_free(w);
}
