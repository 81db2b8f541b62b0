/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Somebody takes the state away while the daemon runs: it ends by itself and says so by its status, and
 * started anew it knows nothing, takes layers up again and makes containers.
 */
#include "tests/harness/snap_daemon.h"

#define END_MS 10000

static int ended_by_itself(struct world *w)
{
	int status = 0;

	for (int ms = 0; waitpid(w->pid, &status, WNOHANG) != w->pid; ms += 5) {
		EXPECT(ms < END_MS);
		poll(NULL, 0, 5);
	}
	w->pid = 0;
	w->c = rpc_grpc_client_free(w->c);
	EXPECT(access(w->sock, F_OK) < 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void starts_and_heals(struct world *w)
{
	struct cf_err err;

	daemon_start(w);
	client_start(w);
	EXPECT(kind_of(w, "container") == 0);
	EXPECT_OK(prepare(w, "another container", CHAIN_A, NULL, NULL, &err), &err);
	EXPECT(kind_of(w, CHAIN_A) == 3);
	world_free(w);
}

static struct world *with_state(void)
{
	const char *layer[] = { SNAP_LABEL_REF, CHAIN_A, NULL };
	struct world *w = world_new("proxy");
	struct cf_err err;

	EXPECT(prepare(w, "extract", "", layer, NULL, &err) == -CF_ALREADY_EXISTS);
	EXPECT_OK(prepare(w, "container", CHAIN_A, NULL, NULL, &err), &err);
	return w;
}

CF_TEST(lost_state_that_was_wiped_ends_the_daemon)
{
	struct world *w = with_state();
	struct cf_err err;

	EXPECT_OK(cf_rm_rf(w->root, &err), &err);
	EXPECT(ended_by_itself(w) == 1);
	starts_and_heals(w);
}

CF_TEST(lost_state_that_was_moved_ends_the_daemon)
{
	struct world *w = with_state();
	cf_cleanup(cf_freep) char *aside = cf_asprintf("%s.aside", w->root);

	EXPECT(rename(w->root, aside) == 0);
	EXPECT(ended_by_itself(w) == 1);
	starts_and_heals(w);
}

CF_TEST(lost_directories_alone_end_the_daemon)
{
	struct world *w = with_state();
	cf_cleanup(cf_freep) char *dirs = cf_asprintf("%s/snapshots", w->root);
	struct cf_err err;

	EXPECT_OK(cf_rm_rf(dirs, &err), &err);
	EXPECT(ended_by_itself(w) == 1);
	daemon_start(w);
	client_start(w);
	/* The records are there, and so are the directories again, before anything is said not to be there. */
	EXPECT(kind_of(w, "container") == 2 && kind_of(w, CHAIN_A) == 3 && kind_of(w, "x") == 0);
	EXPECT(files_below(dirs) == 3);
	world_free(w);
}

CF_TEST(lost_strangers_files_are_nothing_to_us)
{
	struct world *w = with_state();
	cf_cleanup(cf_freep) char *strange = cf_asprintf("%s/nydus.db", w->root);
	struct cf_err err;

	EXPECT_OK(cf_write_file_atomic(strange, cf_view_str("x"), 0600, &err), &err);
	EXPECT(unlink(strange) == 0);
	for (int i = 0; i < 50; i++) {
		EXPECT(kind_of(w, "container") == 2);
		poll(NULL, 0, 2);
	}
	world_free(w);
}
