/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A gRPC server with the test service on it, on a loop of its own thread; over what the build speaks. */
#include "base/fd.h"
#include "base/str.h"
#include "proto/rpc_grpc.h"
#include "tests/fakes/test_service.h"

#include <pthread.h>

struct world {
	struct cf_loop *loop;
	struct rpc_grpc_server *srv;
	char *dir, *path;
	pthread_t thread;
	struct test_service svc;
	bool (*allow)(const struct rpc_peer *peer, void *user);
	int64_t drain_ms;
	_Atomic bool is_up;
	_Atomic int answers[CF_CODE_MAX + 1];
};

static inline void on_answered(const char *service, const char *method, enum cf_code code,
                               int64_t us, void *user)
{
	struct world *w = user;

	EXPECT(service && method && us >= 0);
	w->answers[code]++;
}

static inline int answered(const struct world *w)
{
	int n = 0;

	for (size_t i = 0; i < CF_ARRAY_LEN(w->answers); i++)
		n += w->answers[i];
	return n;
}

static inline void *loop_main(void *arg)
{
	struct world *w = arg;
	struct cf_err err;
	struct rpc_grpc_server_opts opts = { .loop = w->loop,
		                             .threads = 4,
		                             .services = w->svc.list,
		                             .service_count = 1,
		                             .allow = w->allow,
		                             .answered = on_answered,
		                             .user = w };

	EXPECT_OK(rpc_grpc_server_new(&opts, &w->srv, &err), &err);
	EXPECT_OK(rpc_grpc_server_listen(w->srv, w->path, &err), &err);
	w->is_up = true;
	cf_loop_run(w->loop);
	rpc_grpc_server_stop(w->srv, w->drain_ms);
	rpc_grpc_server_free(w->srv);
	return NULL;
}

/* @allow as rpc_grpc_server_opts has it, NULL: its own rule. */
static inline struct world *world_start(bool (*allow)(const struct rpc_peer *peer, void *user))
{
	struct world *w = cf_zalloc(sizeof(*w));
	struct cf_err err;

	w->dir = cf_test_tmpdir();
	w->path = cf_asprintf("%s/sock", w->dir);
	w->allow = allow;
	test_service_init(&w->svc);
	EXPECT_OK(cf_loop_new(&w->loop, &err), &err);
	EXPECT(pthread_create(&w->thread, NULL, loop_main, w) == 0);
	while (!w->is_up)
		poll(NULL, 0, 1);
	return w;
}

static inline void stop(void *arg)
{
	cf_loop_stop(arg);
}

static inline void world_stop(struct world *w)
{
	cf_loop_post(w->loop, stop, w->loop);
}

static inline void world_free(struct world *w)
{
	world_stop(w);
	pthread_join(w->thread, NULL);
	cf_loop_free(w->loop);
	EXPECT(access(w->path, F_OK) < 0);
	free(w->path);
	free(w->dir);
	free(w);
}
