/* SPDX-License-Identifier: Apache-2.0 */
/* Long lists and readers that do not read: nobody else waits for them. */
#include "tests/harness/snap_daemon.h"

#include <pthread.h>
#include <semaphore.h>

#define RECORDS 700u
#define READERS 10 /* more than any pool of the daemon has threads */

static void fill(struct world *w)
{
	cf_cleanup(cf_freep) char *value = cf_asprintf("%04000d", 7);
	const char *const labels[] = { "containerd.io/snapshot/big", value, NULL };
	struct cf_err err;

	for (unsigned i = 0; i < RECORDS; i++) {
		cf_cleanup(cf_freep) char *key = cf_asprintf("key %u", i);

		EXPECT_OK(view(w, key, "", &err), &err);
		EXPECT_OK(drop(w, key, &err), &err);
		EXPECT_OK(prepare(w, key, "", labels, NULL, &err), &err);
	}
}

struct reader {
	struct world *w;
	pthread_t thread;
	sem_t *began, *go_on;
	size_t infos, largest;
	bool has_begun;
};

/* The first message makes it stop reading, until it is told to go on. */
static bool hesitate(void *user, const ProtobufCMessage *msg)
{
	const T(ListSnapshotsResponse) *res = (const T(ListSnapshotsResponse) *)msg;
	struct reader *x = user;

	x->infos += res->n_info;
	x->largest = CF_MAX(x->largest, protobuf_c_message_get_packed_size(msg));
	if (!x->has_begun) {
		x->has_begun = true;
		sem_post(x->began);
		sem_wait(x->go_on);
	}
	return true;
}

static void *read_slowly(void *arg)
{
	struct reader *x = arg;
	T(ListSnapshotsRequest) req;
	struct rpc_grpc_req grpc = { .service = SERVICE,
		                     .method = "List",
		                     .msg = &req.base,
		                     .out = D(list_snapshots_response),
		                     .timeout_ms = 120000 };
	struct rpc_grpc_client *c = NULL;
	struct cf_err err;

	INIT(list_snapshots_request)(&req);
	EXPECT_OK(rpc_grpc_client_new(x->w->sock, &c, &err), &err);
	EXPECT_OK(rpc_grpc_call_stream(c, &grpc, hesitate, x, &err), &err);
	rpc_grpc_client_free(c);
	return NULL;
}

/* All that containerd asks while others hold their lists up. */
static void everything_goes_on(struct world *w)
{
	static const char *const layer[] = { SNAP_LABEL_REF, CHAIN_A, NULL };
	struct cf_err err;
	struct walk x;

	EXPECT_FAILS(prepare(w, "k8s.io/1/extract-1 " CHAIN_A, "", layer, NULL, &err),
	             CF_ALREADY_EXISTS);
	EXPECT_OK(list(w, "labels.\"containerd.io/snapshot.ref\"==" CHAIN_A ",parent==\"\"", &x,
	               &err),
	          &err);
	EXPECT_INT(x.infos, 1);
	EXPECT_OK(prepare(w, "container", CHAIN_A, NULL, NULL, &err), &err);
	cf_cleanup(cf_freep) char *m = mounts(w, "container", &err);

	EXPECT(m);
	EXPECT_OK(drop(w, "container", &err), &err);
	EXPECT_OK(drop(w, CHAIN_A, &err), &err);
	EXPECT_OK(drop(w, "key 0", &err), &err);
	EXPECT_OK(prepare(w, "key 0", "", NULL, NULL, &err), &err);
}

CF_TEST(list_readers_that_do_not_read_hold_nobody_up)
{
	struct world *w = world_new("proxy");
	struct reader readers[READERS] = { 0 };
	sem_t began, go_on;

	fill(w);
	sem_init(&began, 0, 0);
	sem_init(&go_on, 0, 0);
	for (int i = 0; i < READERS; i++) {
		readers[i] = (struct reader){ .w = w, .began = &began, .go_on = &go_on };
		EXPECT(pthread_create(&readers[i].thread, NULL, read_slowly, &readers[i]) == 0);
	}
	sem_wait(&began); /* one at least has its first message, and reads no more */
	everything_goes_on(w);
	for (int i = 0; i < READERS; i++)
		sem_post(&go_on);
	for (int i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		/* Each saw one moment: those who began later may miss what was away just then. */
		EXPECT(readers[i].infos >= RECORDS - 1 && readers[i].infos <= RECORDS + 2);
		EXPECT(readers[i].largest < 2u << 20); /* far below what a client takes */
	}
	sem_destroy(&began);
	sem_destroy(&go_on);
	world_free(w);
}
