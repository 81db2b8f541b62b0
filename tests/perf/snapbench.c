/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks any snapshotter what containerd asks, and prints what it took: one line for each phase,
 * "phase=NAME key=value …", times in microseconds.
 *
 *   snapbench SOCKET [-s SNAPSHOTTER] [-n NAMESPACE] PHASE…
 *     guestpull N CLIENTS    layer Prepare, List(ref), container Prepare, Mounts, Stat, Usage, Remove
 *     native N CLIENTS       Prepare, Commit, Remove, as for a layer that is unpacked
 *     populate N DEPTH       layers up to N in chains of DEPTH, by 8 clients
 *     verify N DEPTH         each of them is there, with its parent
 *     prepare N              Prepare(layer) alone, sequential
 *     listall                List without filters
 *     gcstorm N              N removals by one client while 4 others Prepare
 *     start NAME COMMAND…    runs a server, leaves it running, and waits for its first good answer: that
 *                            NAME is there, or not there where NAME is "nobody"
 */
#include "base/fd.h"
#include "base/str.h"
#include "proto/containerd_snapshots.pb-c.h"
#include "proto/rpc_grpc.h"

#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define T(x)    Containerd__Services__Snapshots__V1__##x
#define D(x)    &containerd__services__snapshots__v1__##x##__descriptor
#define INIT(x) containerd__services__snapshots__v1__##x##__init

#define CLIENTS_MAX      64
#define POPULATE_CLIENTS 8
#define STORM_CLIENTS    4
#define READY_MS         60000
#define NOBODY           "nobody"
#define READY_STEP_NS    100000 /* far below what is measured */

static const char *sock, *snapshotter = "";
static const char *meta[] = { "containerd-namespace", "snapbench", NULL };

/* Clients of all phases of all runs have numbers of their own, and so have the names they make. */
static int client_number(void)
{
	static int next;

	return (int)getpid() * 1000 + next++;
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void die(const char *what, const struct cf_err *err)
{
	fprintf(stderr, "snapbench: %s: %s\n", what, err->msg);
	exit(1);
}

static char *text(const char *s)
{
	return (char *)(uintptr_t)s;
}

static struct rpc_grpc_client *connected(void)
{
	struct rpc_grpc_client *c = NULL;
	struct cf_err err;

	if (rpc_grpc_client_new(sock, &c, &err) < 0)
		die("connect", &err);
	return c;
}

/* ---- calls ---- */

static struct rpc_grpc_req request(const char *method, const void *msg,
                                   const ProtobufCMessageDescriptor *out)
{
	return (struct rpc_grpc_req){ .service = "containerd.services.snapshots.v1.Snapshots",
		                      .method = method,
		                      .msg = msg,
		                      .out = out,
		                      .meta = meta };
}

static int call(struct rpc_grpc_client *c, const char *method, const void *msg,
                const ProtobufCMessageDescriptor *out, struct cf_err *err)
{
	struct rpc_grpc_req req = request(method, msg, out);

	return rpc_grpc_call(c, &req, NULL, err);
}

static int try_prepare(struct rpc_grpc_client *c, const char *key, const char *parent,
                       const char *ref, struct cf_err *err)
{
	T(PrepareSnapshotRequest) req;
	T(PrepareSnapshotRequest__LabelsEntry) e[4], *list[4] = { &e[0], &e[1], &e[2], &e[3] };
	static const char *const keys[] = { "containerd.io/gc.root", "containerd.io/snapshot.ref",
		                            "containerd.io/snapshot/cri.layer-digest",
		                            "containerd.io/snapshot/cri.image-ref" };
	const char *const values[] = { "snapbench", ref, ref, "docker.io/library/bench:1" };

	INIT(prepare_snapshot_request)(&req);
	req.snapshotter = text(snapshotter);
	req.key = text(key);
	req.parent = text(parent);
	/* The first keeps containerd's own collector away; a proxied snapshotter never sees it. */
	size_t from = snapshotter[0] ? 0 : 1, to = ref ? 4 : 1;

	for (size_t i = from; i < to; i++) {
		INIT(prepare_snapshot_request__labels_entry)(&e[i]);
		e[i].key = text(keys[i]);
		e[i].value = text(values[i]);
	}
	req.labels = &list[from];
	req.n_labels = to > from ? to - from : 0;
	return call(c, "Prepare", &req.base, D(prepare_snapshot_response), err);
}

static void prepare(struct rpc_grpc_client *c, const char *key, const char *parent, const char *ref)
{
	struct cf_err err;

	if (try_prepare(c, key, parent, ref, &err) != (ref ? -CF_ALREADY_EXISTS : 0))
		die("Prepare", &err);
}

static void commit(struct rpc_grpc_client *c, const char *name, const char *key)
{
	T(CommitSnapshotRequest) req;
	T(CommitSnapshotRequest__LabelsEntry) e, *list[1] = { &e };
	struct cf_err err;

	INIT(commit_snapshot_request)(&req);
	INIT(commit_snapshot_request__labels_entry)(&e);
	e.key = text("containerd.io/gc.root");
	e.value = text("snapbench");
	req.snapshotter = text(snapshotter);
	req.name = text(name);
	req.key = text(key);
	req.labels = list;
	req.n_labels = 1;
	if (call(c, "Commit", &req.base, &google__protobuf__empty__descriptor, &err) < 0)
		die("Commit", &err);
}

static bool count_infos(void *user, const ProtobufCMessage *msg)
{
	*(size_t *)user += ((const T(ListSnapshotsResponse) *)msg)->n_info;
	return true;
}

static size_t list(struct rpc_grpc_client *c, char *filter)
{
	T(ListSnapshotsRequest) req;
	struct cf_err err;
	size_t n = 0;

	INIT(list_snapshots_request)(&req);
	struct rpc_grpc_req grpc = request("List", &req.base, D(list_snapshots_response));

	req.snapshotter = text(snapshotter);
	req.filters = &filter;
	req.n_filters = filter ? 1 : 0;
	if (rpc_grpc_call_stream(c, &grpc, count_infos, &n, &err) < 0)
		die("List", &err);
	return n;
}

static void find_ref(struct rpc_grpc_client *c, const char *ref)
{
	cf_cleanup(cf_freep) char *filter =
		cf_asprintf("labels.\"containerd.io/snapshot.ref\"==%s,parent==\"\"", ref);
	struct cf_err err = { .msg = "not one answer" };

	if (list(c, filter) != 1)
		die("List", &err);
}

static int try_key(struct rpc_grpc_client *c, const char *method, const char *key,
                   struct cf_err *err)
{
	T(StatSnapshotRequest) req; /* all of these have snapshotter = 1, key = 2 */
	const ProtobufCMessageDescriptor *out = &google__protobuf__empty__descriptor;

	if (cf_streq(method, "Stat"))
		out = D(stat_snapshot_response);
	if (cf_streq(method, "Mounts"))
		out = D(mounts_response);
	if (cf_streq(method, "Usage"))
		out = D(usage_response);
	INIT(stat_snapshot_request)(&req);
	req.snapshotter = text(snapshotter);
	req.key = text(key);
	return call(c, method, &req.base, out, err);
}

static void by_key(struct rpc_grpc_client *c, const char *method, const char *key)
{
	struct cf_err err;

	if (try_key(c, method, key, &err) < 0)
		die(method, &err);
}

/* ---- measuring ---- */

struct samples {
	const char *name;
	float *us;
	size_t count;
};

struct client {
	int no, n;
	struct rpc_grpc_client *c;
	const struct phase *phase;
	struct samples *steps;
};

struct phase {
	const char *name;
	size_t step_count;
	const char *const *steps;
	void (*once)(struct client *x, int i);
};

#define TIMED(step, stmt)                                                                          \
	do {                                                                                       \
		double from_ = now_us();                                                           \
		stmt;                                                                              \
		x->steps[step].us[x->steps[step].count++] = (float)(now_us() - from_);             \
	} while (0)

static void *client_main(void *arg)
{
	struct client *x = arg;

	for (int i = 0; i < x->n; i++)
		x->phase->once(x, i);
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static void print_step(const struct client *x, int clients, size_t step, const char *name)
{
	size_t total = 0;

	for (int i = 0; i < clients; i++)
		total += x[i].steps[step].count;
	if (!total)
		return;
	float *all = cf_zalloc_n(total, sizeof(*all));
	size_t at = 0;

	for (int i = 0; i < clients; i++) {
		memcpy(all + at, x[i].steps[step].us, x[i].steps[step].count * sizeof(*all));
		at += x[i].steps[step].count;
	}
	qsort(all, total, sizeof(*all), by_size);
	printf(" %s.p50=%.0f %s.p90=%.0f %s.p99=%.0f %s.max=%.0f", name, (double)all[total / 2],
	       name, (double)all[total * 9 / 10], name, (double)all[total * 99 / 100], name,
	       (double)all[total - 1]);
	free(all);
}

static void run_phase(const struct phase *p, int n, int clients)
{
	struct client x[CLIENTS_MAX] = { 0 };
	pthread_t t[CLIENTS_MAX];
	struct cf_err err;

	for (int i = 0; i < clients; i++) {
		x[i] = (struct client){ .no = client_number(), .n = n, .phase = p };
		x[i].c = connected();
		(void)!try_key(x[i].c, "Stat", "nobody", &err); /* connects */
		x[i].steps = cf_zalloc_n(p->step_count, sizeof(x[i].steps[0]));
		for (size_t s = 0; s < p->step_count; s++)
			x[i].steps[s].us = cf_zalloc_n((size_t)n, sizeof(float));
	}
	double from = now_us();

	for (int i = 0; i < clients; i++)
		pthread_create(&t[i], NULL, client_main, &x[i]);
	for (int i = 0; i < clients; i++)
		pthread_join(t[i], NULL);
	double us = now_us() - from;

	printf("phase=%s clients=%d calls_per_s=%.0f", p->name, clients,
	       (double)n * clients * (double)p->step_count / us * 1e6);
	for (size_t s = 0; s < p->step_count; s++)
		print_step(x, clients, s, p->steps[s]);
	printf("\n");
	for (int i = 0; i < clients; i++)
		rpc_grpc_client_free(x[i].c);
}

/* ---- phases ---- */

enum { LAYER, LIST_REF, CONTAINER, MOUNTS, STAT, USAGE, REMOVE, PULL_STEPS };
static const char *const pull_steps[] = { "prepare_layer", "list_ref", "prepare_container",
	                                  "mounts",        "stat",     "usage",
	                                  "remove" };

static void pull_once(struct client *x, int i)
{
	cf_cleanup(cf_freep) char *ref = cf_asprintf("sha256:%016d%048d", x->no, i);
	cf_cleanup(cf_freep) char *key = cf_asprintf("k8s.io/%d/%d", x->no, i);

	TIMED(LAYER, prepare(x->c, key, "", ref));
	TIMED(LIST_REF, find_ref(x->c, ref));
	TIMED(CONTAINER, prepare(x->c, key, ref, NULL));
	TIMED(MOUNTS, by_key(x->c, "Mounts", key));
	TIMED(STAT, by_key(x->c, "Stat", key));
	TIMED(USAGE, by_key(x->c, "Usage", key));
	TIMED(REMOVE, by_key(x->c, "Remove", key));
}

static void prepare_once(struct client *x, int i)
{
	cf_cleanup(cf_freep) char *ref = cf_asprintf("sha256:%016d%048d", x->no, i);
	cf_cleanup(cf_freep) char *key = cf_asprintf("k8s.io/%d/extract-1-%d", x->no, i);

	TIMED(0, prepare(x->c, key, "", ref));
}

static const char *const native_steps[] = { "prepare", "commit", "remove" };

static void native_once(struct client *x, int i)
{
	cf_cleanup(cf_freep) char *key = cf_asprintf("native-%d-%d", x->no, i);
	cf_cleanup(cf_freep) char *name = cf_asprintf("layer-%d-%d", x->no, i);

	TIMED(0, prepare(x->c, key, "", NULL));
	TIMED(1, commit(x->c, name, key));
	TIMED(2, by_key(x->c, "Remove", name));
}

static const struct phase guestpull = { "guestpull", PULL_STEPS, pull_steps, pull_once };
static const struct phase prepares = { "prepare", 1, pull_steps, prepare_once };
static const struct phase native = { "native", 3, native_steps, native_once };

static void layer_name(char out[80], int i)
{
	snprintf(out, 80, "sha256:%064x", (unsigned)i);
}

static void layer_parent(char out[80], int i, int depth)
{
	out[0] = '\0';
	if (i % depth)
		layer_name(out, i - 1);
}

struct range {
	int from, to, depth;
	void (*each)(struct rpc_grpc_client *c, int i, int depth);
	pthread_t thread;
};

static void *range_main(void *arg)
{
	struct range *x = arg;
	struct rpc_grpc_client *c = connected();

	for (int i = x->from; i < x->to; i++)
		x->each(c, i, x->depth);
	rpc_grpc_client_free(c);
	return NULL;
}

/* Whole chains go to one client, base first. */
static void in_parallel(int n, int depth, int clients,
                        void (*each)(struct rpc_grpc_client *c, int i, int depth))
{
	struct range x[CLIENTS_MAX];
	int share = (n / depth + clients - 1) / clients * depth;

	for (int i = 0; i < clients; i++) {
		x[i] = (struct range){ i * share, (i + 1) * share, depth, each, 0 };
		if (x[i].to > n)
			x[i].to = n;
		pthread_create(&x[i].thread, NULL, range_main, &x[i]);
	}
	for (int i = 0; i < clients; i++)
		pthread_join(x[i].thread, NULL);
}

static void populate_one(struct rpc_grpc_client *c, int i, int depth)
{
	char name[80], parent[80];

	layer_name(name, i);
	layer_parent(parent, i, depth);
	cf_cleanup(cf_freep) char *key = cf_asprintf("k8s.io/%d/extract-1-x %s", i, name);

	prepare(c, key, parent, name);
}

static void verify_one(struct rpc_grpc_client *c, int i, int depth)
{
	T(StatSnapshotRequest) req;
	T(StatSnapshotResponse) *res = NULL;
	struct cf_err err = { .msg = "another parent" };
	char name[80], parent[80];

	layer_name(name, i);
	layer_parent(parent, i, depth);
	INIT(stat_snapshot_request)(&req);
	struct rpc_grpc_req grpc = request("Stat", &req.base, D(stat_snapshot_response));

	req.key = name;
	if (rpc_grpc_call(c, &grpc, (ProtobufCMessage **)&res, &err) < 0 ||
	    !cf_streq(res->info->parent, parent))
		die("a layer that was there", &err);
	protobuf_c_message_free_unpacked(&res->base, NULL);
}

static void remove_one(struct rpc_grpc_client *c, int i, int depth)
{
	cf_cleanup(cf_freep) char *key = cf_asprintf("storm-%d", i);

	(void)depth;
	by_key(c, "Remove", key);
}

static void storm_add(struct rpc_grpc_client *c, int i, int depth)
{
	cf_cleanup(cf_freep) char *key = cf_asprintf("storm-%d", i);

	(void)depth;
	prepare(c, key, "", NULL);
}

static void timed_range(const char *phase, int n, int depth, int clients,
                        void (*each)(struct rpc_grpc_client *c, int i, int depth))
{
	double from = now_us();

	in_parallel(n, depth, clients, each);
	double us = now_us() - from;

	printf("phase=%s n=%d us=%.0f calls_per_s=%.0f\n", phase, n, us, n / us * 1e6);
}

struct storm {
	struct client x;
	_Atomic bool *stop;
};

static void *storm_main(void *arg)
{
	struct storm *s = arg;

	for (int i = 0; i < s->x.n && !*s->stop; i++)
		prepare_once(&s->x, i);
	return NULL;
}

static void gcstorm(int n)
{
	struct storm s[STORM_CLIENTS];
	struct client shown[STORM_CLIENTS];
	pthread_t t[STORM_CLIENTS];
	_Atomic bool stop = false;

	in_parallel(n, 1, POPULATE_CLIENTS, storm_add);
	for (int i = 0; i < STORM_CLIENTS; i++) {
		s[i] = (struct storm){ .x = { .no = client_number(), .n = 1000000 },
			               .stop = &stop };
		s[i].x.c = connected();
		s[i].x.steps = cf_zalloc(sizeof(struct samples));
		s[i].x.steps->us = cf_zalloc_n(1000000, sizeof(float));
		pthread_create(&t[i], NULL, storm_main, &s[i]);
	}
	double from = now_us();

	in_parallel(n, 1, 1, remove_one);
	double us = now_us() - from;

	stop = true;
	for (int i = 0; i < STORM_CLIENTS; i++) {
		pthread_join(t[i], NULL);
		rpc_grpc_client_free(s[i].x.c);
		shown[i] = s[i].x;
	}
	printf("phase=gcstorm n=%d us=%.0f removes_per_s=%.0f", n, us, n / us * 1e6);
	print_step(shown, STORM_CLIENTS, 0, "prepare_layer");
	printf("\n");
}

static void listall(void)
{
	struct rpc_grpc_client *c = connected();
	double best = 0;
	size_t n = 0;

	for (int i = 0; i < 5; i++) {
		double from = now_us();

		n = list(c, NULL);
		double us = now_us() - from;

		best = i == 0 || us < best ? us : best;
	}
	printf("phase=listall n=%zu us=%.0f\n", n, best);
	rpc_grpc_client_free(c);
}

/* A client of its own for each try: core waits a second before it connects anew. */
static bool answers(const char *name, struct cf_err *err)
{
	struct rpc_grpc_client *c = connected();
	int r = try_key(c, "Stat", name, err);

	rpc_grpc_client_free(c);
	return r == (cf_streq(name, NOBODY) ? -CF_NOT_FOUND : 0);
}

/*
 * Starts a server and leaves it running: the time from its exec to the moment its socket accepts, and
 * to its first answer. What this client needs to get going is done before.
 */
static void start(char **argv)
{
	struct cf_err err;
	pid_t pid;
	int fd = -1;
	double accepts = 0;
	const struct timespec step = { .tv_nsec = READY_STEP_NS };

	(void)answers(argv[0], &err);
	double from = now_us();

	if (posix_spawnp(&pid, argv[1], NULL, NULL, argv + 1, environ) != 0)
		exit(1);
	for (; now_us() - from < READY_MS * 1e3; ppoll(NULL, 0, &step, NULL)) {
		if (fd < 0 && (fd = cf_connect_unix(sock, &err)) < 0)
			continue;
		accepts = accepts > 0 ? accepts : now_us() - from;
		if (!answers(argv[0], &err))
			continue;
		printf("phase=start pid=%d accepts=%.0f us=%.0f\n", (int)pid, accepts,
		       now_us() - from);
		close(fd);
		return;
	}
	die("start", &err);
}

/* ---- arguments ---- */

static int number(char **argv, int i)
{
	uint64_t v = 0;
	struct cf_err err = { .msg = "a number is missing" };

	if (!argv[i] || cf_parse_u64(cf_view_str(argv[i]), 10000000, &v, &err) < 0)
		die("arguments", &err);
	return (int)v;
}

/* Returns how many arguments the phase took. */
static int run(char **argv, int i)
{
	const char *name = argv[i];
	struct cf_err err = { .msg = "no such phase" };

	if (cf_streq(name, "guestpull"))
		return run_phase(&guestpull, number(argv, i + 1), number(argv, i + 2)), 3;
	if (cf_streq(name, "native"))
		return run_phase(&native, number(argv, i + 1), number(argv, i + 2)), 3;
	if (cf_streq(name, "prepare"))
		return run_phase(&prepares, number(argv, i + 1), 1), 2;
	if (cf_streq(name, "populate"))
		return timed_range("populate", number(argv, i + 1), number(argv, i + 2),
		                   POPULATE_CLIENTS, populate_one),
		       3;
	if (cf_streq(name, "verify"))
		return timed_range("verify", number(argv, i + 1), number(argv, i + 2),
		                   POPULATE_CLIENTS, verify_one),
		       3;
	if (cf_streq(name, "gcstorm"))
		return gcstorm(number(argv, i + 1)), 2;
	if (cf_streq(name, "listall"))
		return listall(), 1;
	if (cf_streq(name, "start"))
		return start(&argv[i + 1]), 1000;
	die(name, &err);
	return 0;
}

int main(int argc, char **argv)
{
	int i = 2;

	if (argc < 3) {
		fprintf(stderr, "snapbench SOCKET [-s SNAPSHOTTER] [-n NAMESPACE] PHASE…\n");
		return 2;
	}
	sock = argv[1];
	for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
		if (cf_streq(argv[i], "-s"))
			snapshotter = argv[i + 1];
		if (cf_streq(argv[i], "-n"))
			meta[1] = argv[i + 1];
	}
	while (i < argc)
		i += run(argv, i);
	return 0;
}
