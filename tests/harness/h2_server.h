/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A gRPC server over nghttp2 with the test service on it, on a loop of its own thread, and peers that
 * speak raw frames to it.
 */
#include "base/fd.h"
#include "proto/rpc_h2_server_priv.h"
#include "tests/fakes/h2_raw.h"
#include "tests/fakes/test_service.h"

#include <pthread.h>

#define MAX_OF_A_FRAME 16384u
#define ECHO_MESSAGE                                                                               \
	"\0\0\0\0\x07\x12\x05"                                                                     \
	"bread" /* flag, length, Mount.source */

struct world {
	struct cf_loop *loop;
	struct rpc_grpc_server *srv;
	char *dir, *path;
	pthread_t thread;
	struct test_service svc;
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

static inline void *loop_main(void *arg)
{
	struct world *w = arg;
	struct cf_err err;
	struct rpc_grpc_server_opts opts = { .loop = w->loop,
		                             .threads = 4,
		                             .services = w->svc.list,
		                             .service_count = 1,
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

static inline struct world *world_start(void)
{
	struct world *w = cf_zalloc(sizeof(*w));
	struct cf_err err;

	w->dir = cf_test_tmpdir();
	w->path = cf_asprintf("%s/sock", w->dir);
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
	free(w->path);
	free(w->dir);
	free(w);
}

static inline struct raw hello(const struct world *w)
{
	struct raw r = raw_open(w->path);
	struct cf_buf b = { 0 };

	put_hello(&b);
	EXPECT(raw_send(&r, &b));
	return r;
}

static inline struct raw_answer ask(struct raw *r, uint32_t id, struct cf_buf *b)
{
	(void)!raw_send(r, b);
	return raw_answer_of(r, id, true);
}

static inline void echo_on(struct raw *r, uint32_t id)
{
	struct cf_buf b = { 0 };

	put_request(&b, id, 0, "Echo", NULL);
	put_data(&b, id, NGHTTP2_FLAG_END_STREAM, cf_view(ECHO_MESSAGE, sizeof(ECHO_MESSAGE) - 1));
	struct raw_answer a = ask(r, id, &b);

	EXPECT(a.is_ended && !a.is_reset);
	EXPECT_STR(a.status, "200");
	EXPECT_STR(a.grpc_status, "0");
	EXPECT(cf_view_eq(cf_buf_view(&a.data), cf_view(ECHO_MESSAGE, sizeof(ECHO_MESSAGE) - 1)));
	cf_buf_fini(&a.data);
}

/* The server serves others, whatever happened. */
static inline void echo(const struct world *w)
{
	struct raw r = hello(w);

	echo_on(&r, 1);
	raw_close(&r);
}

static inline struct raw_answer call_once(struct raw *r, uint32_t id, const char *method)
{
	struct cf_buf b = { 0 };

	put_call(&b, id, method);
	return ask(r, id, &b);
}

/* A peer whose windows are wide open, but who does not read. */
static inline struct raw hello_wide(const struct world *w)
{
	struct raw r = raw_open(w->path);
	struct cf_buf b = { 0 };

	cf_buf_add_str(&b, RAW_PREFACE);
	put_settings(&b, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, INT32_MAX);
	put_u32_frame(&b, NGHTTP2_WINDOW_UPDATE, 0, INT32_MAX - 65535);
	EXPECT(raw_send(&r, &b));
	return r;
}

static inline int answered(const struct world *w)
{
	int n = 0;

	for (size_t i = 0; i < CF_ARRAY_LEN(w->answers); i++)
		n += w->answers[i];
	return n;
}
