/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks a snapshotter what containerd asks while an image is pulled and a container is made, and
 * prints how long it took.
 *   snapshotter_bench SOCKET cycle N CLIENTS | layers FROM COUNT
 */
#include "base/bytes.h"
#include "base/str.h"
#include "proto/containerd_snapshots.pb-c.h"
#include "proto/rpc_grpc.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#define T(x)    Containerd__Services__Snapshots__V1__##x
#define D(x)    &containerd__services__snapshots__v1__##x##__descriptor
#define INIT(x) containerd__services__snapshots__v1__##x##__init

static const char *sock;

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void die(const char *what, const struct cf_err *err)
{
	fprintf(stderr, "%s: %s\n", what, err->msg);
	exit(1);
}

static char *text(const char *s)
{
	return (char *)(uintptr_t)s;
}

static int call(struct rpc_grpc_client *c, const char *method, const void *msg,
                const ProtobufCMessageDescriptor *out, struct cf_err *err)
{
	struct rpc_grpc_req req = { .service = "containerd.services.snapshots.v1.Snapshots",
		                    .method = method,
		                    .msg = msg,
		                    .out = out };

	return rpc_grpc_call(c, &req, NULL, err);
}

static void prepare(struct rpc_grpc_client *c, const char *key, const char *parent, const char *ref)
{
	T(PrepareSnapshotRequest) req;
	T(PrepareSnapshotRequest__LabelsEntry) e[3], *list[3] = { &e[0], &e[1], &e[2] };
	static const char *const keys[] = { "containerd.io/snapshot.ref",
		                            "containerd.io/snapshot/cri.layer-digest",
		                            "containerd.io/snapshot/cri.image-ref" };
	struct cf_err err;

	INIT(prepare_snapshot_request)(&req);
	req.key = text(key);
	req.parent = text(parent);
	for (size_t i = 0; ref && i < 3; i++) {
		INIT(prepare_snapshot_request__labels_entry)(&e[i]);
		e[i].key = text(keys[i]);
		e[i].value = text(i == 2 ? "docker.io/library/bench:1" : ref);
		req.n_labels++;
	}
	req.labels = list;
	int r = call(c, "Prepare", &req.base, D(prepare_snapshot_response), &err);

	if (r != (ref ? -CF_ALREADY_EXISTS : 0))
		die("Prepare", &err);
}

static bool count_infos(void *user, const ProtobufCMessage *msg)
{
	*(size_t *)user += ((const T(ListSnapshotsResponse) *)msg)->n_info;
	return true;
}

static void find_ref(struct rpc_grpc_client *c, const char *ref)
{
	cf_cleanup(cf_freep) char *filter =
		cf_asprintf("labels.\"containerd.io/snapshot.ref\"==%s,parent==\"\"", ref);
	char *filters[] = { filter };
	T(ListSnapshotsRequest) req;
	struct rpc_grpc_req grpc = { .service = "containerd.services.snapshots.v1.Snapshots",
		                     .method = "List",
		                     .msg = &req.base,
		                     .out = D(list_snapshots_response) };
	struct cf_err err;
	size_t n = 0;

	INIT(list_snapshots_request)(&req);
	req.filters = filters;
	req.n_filters = 1;
	if (rpc_grpc_call_stream(c, &grpc, count_infos, &n, &err) < 0 || n != 1)
		die("List", &err);
}

static void by_key(struct rpc_grpc_client *c, const char *method, const char *key)
{
	T(StatSnapshotRequest) req; /* all of these have key = 2 */
	const ProtobufCMessageDescriptor *out = cf_streq(method, "Stat") ? D(stat_snapshot_response)
	                                        : cf_streq(method, "Mounts") ? D(mounts_response)
	                                        : cf_streq(method, "Usage")
	                                                ? D(usage_response)
	                                                : &google__protobuf__empty__descriptor;
	struct cf_err err;

	INIT(stat_snapshot_request)(&req);
	req.key = text(key);
	if (call(c, method, &req.base, out, &err) < 0)
		die(method, &err);
}

enum { PREPARE_LAYER, LIST_REF, PREPARE, MOUNTS, STAT, USAGE, REMOVE, STEPS };
static const char *const names[] = { "Prepare(layer)", "List(ref)", "Prepare(container)",
	                             "Mounts",         "Stat",      "Usage",
	                             "Remove" };

struct client {
	int no, n;
	float *us[STEPS];
};

#define TIMED(step, stmt)                                                                          \
	do {                                                                                       \
		double from_ = now_us();                                                           \
		stmt;                                                                              \
		x->us[step][i] = (float)(now_us() - from_);                                        \
	} while (0)

static void *cycle(void *arg)
{
	struct client *x = arg;
	struct rpc_grpc_client *c = NULL;
	struct cf_err err;

	if (rpc_grpc_client_new(sock, &c, &err) < 0)
		die("connect", &err);
	for (int i = 0; i < x->n; i++) {
		cf_cleanup(cf_freep) char *ref = cf_asprintf("sha256:%04d%060d", x->no, i);
		cf_cleanup(cf_freep) char *key = cf_asprintf("k8s.io/%d/%d", x->no, i);

		TIMED(PREPARE_LAYER, prepare(c, key, "", ref));
		TIMED(LIST_REF, find_ref(c, ref));
		TIMED(PREPARE, prepare(c, key, ref, NULL));
		TIMED(MOUNTS, by_key(c, "Mounts", key));
		TIMED(STAT, by_key(c, "Stat", key));
		TIMED(USAGE, by_key(c, "Usage", key));
		TIMED(REMOVE, by_key(c, "Remove", key));
	}
	rpc_grpc_client_free(c);
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return x < y ? -1 : x > y;
}

static void run_cycle(int n, int count)
{
	struct client *x = cf_zalloc_n((size_t)count, sizeof(*x));
	pthread_t *t = cf_zalloc_n((size_t)count, sizeof(*t));
	double from = now_us();

	for (int i = 0; i < count; i++) {
		x[i] = (struct client){ .no = 100 * count + i, .n = n };
		for (int s = 0; s < STEPS; s++)
			x[i].us[s] = cf_zalloc_n((size_t)n, sizeof(float));
		pthread_create(&t[i], NULL, cycle, &x[i]);
	}
	for (int i = 0; i < count; i++)
		pthread_join(t[i], NULL);
	double us = now_us() - from;

	printf("%d clients: %.0f calls/s\n", count, (double)n * count * STEPS / us * 1e6);
	for (int s = 0; s < STEPS && count == 1; s++) {
		qsort(x[0].us[s], (size_t)n, sizeof(float), by_size);
		printf("  %-20s p50 %7.3f ms  p99 %7.3f ms\n", names[s], x[0].us[s][n / 2] / 1e3,
		       x[0].us[s][n * 99 / 100] / 1e3);
	}
}

static int number(const char *s)
{
	uint64_t v;
	struct cf_err err;

	if (cf_parse_u64(cf_view_str(s), 10000000, &v, &err) < 0)
		die(s, &err);
	return (int)v;
}

static void *layers(void *arg)
{
	struct client *x = arg;
	struct rpc_grpc_client *c = NULL;
	struct cf_err err;

	if (rpc_grpc_client_new(sock, &c, &err) < 0)
		die("connect", &err);
	for (int i = 0; i < x->n; i++) {
		cf_cleanup(cf_freep) char *ref = cf_asprintf("sha256:%04d%060d", x->no, i);

		prepare(c, ref, "", ref);
	}
	rpc_grpc_client_free(c);
	return NULL;
}

int main(int argc, char **argv)
{
	if (argc < 5)
		return 2;
	sock = argv[1];
	if (cf_streq(argv[2], "cycle")) {
		run_cycle(number(argv[3]), number(argv[4]));
		return 0;
	}
	struct client x[8];
	pthread_t t[8];

	for (int i = 0; i < 8; i++) {
		x[i] = (struct client){ .no = number(argv[3]) + i, .n = number(argv[4]) / 8 };
		pthread_create(&t[i], NULL, layers, &x[i]);
	}
	for (int i = 0; i < 8; i++)
		pthread_join(t[i], NULL);
	return 0;
}
