/* SPDX-License-Identifier: Apache-2.0 */
/* The server half of gRPC's door over nghttp2: its life, and whom it lets in. */
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "proto/rpc_grpc_accept.h"
#include "proto/rpc_h2_server_priv.h"

#include <assert.h>
#include <signal.h>

#define CANCEL_WAIT_MS 1000 /* after everything was cancelled */

/* ---- calls, counted ---- */

void rpc_h2_server_call_begins(struct rpc_grpc_server *srv)
{
	pthread_mutex_lock(&srv->lock);
	srv->open_calls++;
	pthread_mutex_unlock(&srv->lock);
}

void rpc_h2_server_call_ends(struct rpc_grpc_server *srv)
{
	/* Never without the lock: who waits for the last call frees the server. */
	pthread_mutex_lock(&srv->lock);
	if (--srv->open_calls == 0)
		pthread_cond_broadcast(&srv->idle);
	pthread_mutex_unlock(&srv->lock);
}

static bool wait_idle(struct rpc_grpc_server *srv, int64_t ms)
{
	int64_t until = cf_now_ms() + ms;

	pthread_mutex_lock(&srv->lock);
	while (srv->open_calls && cf_cond_wait_until(&srv->idle, &srv->lock, until))
		;
	bool is_idle = srv->open_calls == 0;

	pthread_mutex_unlock(&srv->lock);
	return is_idle;
}

uint64_t rpc_grpc_server_calls(const struct rpc_grpc_server *srv)
{
	return srv->calls;
}

/* ---- accepting, the program's loop ---- */

static void begin_conn(void *arg)
{
	rpc_h2_sconn_begin(arg);
}

int rpc_grpc_server_add_conn(struct rpc_grpc_server *srv, int fd_take, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = fd_take;
	struct rpc_peer peer;

	if (srv->is_stopped)
		return cf_fail(err, CF_UNAVAILABLE, "grpc: shutting down");
	int r = rpc_grpc_admit(&srv->opts, fd, &peer, err);

	if (r < 0)
		return r;
	cf_loop_post(srv->io, begin_conn, rpc_h2_sconn_new(srv, cf_take_fd(&fd), &peer));
	return 0;
}

static void on_conn(void *user, int fd_take)
{
	struct cf_err err;

	/* A refused peer sees its connection closed; there is nobody here to tell. */
	(void)!rpc_grpc_server_add_conn(user, fd_take, &err);
}

int rpc_grpc_server_add_listener(struct rpc_grpc_server *srv, int fd_take, struct cf_err *err)
{
	return cf_listener_add(&srv->listeners, srv->opts.loop, fd_take, NULL, on_conn, srv, err);
}

int rpc_grpc_server_listen(struct rpc_grpc_server *srv, const char *address, struct cf_err *err)
{
	return rpc_grpc_listen(&srv->listeners, srv->opts.loop, address, on_conn, srv, err);
}

/* ---- life ---- */

static void close_conns(void *arg)
{
	struct rpc_grpc_server *srv = arg;

	while (srv->conns)
		rpc_h2_sconn_close(srv->conns);
}

static void *io_main(void *arg)
{
	struct rpc_grpc_server *srv = arg;

	cf_loop_run(srv->io);
	close_conns(srv);
	/* What was posted for connections before they died. Nobody posts any more. */
	cf_loop_run_once(srv->io, 0);
	return NULL;
}

static int start_io(struct rpc_grpc_server *srv, struct cf_err *err)
{
	sigset_t all, old;
	int r = cf_loop_new(&srv->io, err);

	if (r < 0)
		return r;
	/* Signals are the program's business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int e = pthread_create(&srv->thread, NULL, io_main, srv);

	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (e != 0)
		return cf_fail_errno(err, e, "grpc: I/O thread");
	srv->has_thread = true;
	return 0;
}

static void check_table(const struct rpc_grpc_server_opts *opts)
{
	for (size_t i = 0; i < opts->service_count; i++)
		for (size_t j = 0; j < opts->services[i]->method_count; j++)
			assert((opts->services[i]->methods[j].flags & (RPC_INLINE | RPC_STREAM)) !=
			       (RPC_INLINE | RPC_STREAM)); /* a stream blocks */
}

int rpc_grpc_server_new(const struct rpc_grpc_server_opts *opts, struct rpc_grpc_server **ret,
                        struct cf_err *err)
{
	struct rpc_grpc_server *srv = cf_zalloc(sizeof(*srv));

	check_table(opts);
	srv->opts = *opts;
	srv->inbox = cf_zalloc(RPC_H2_READ_SIZE);
	pthread_mutex_init(&srv->lock, NULL);
	pthread_cond_init(&srv->idle, NULL);
	int r = rpc_h2_streams_init(srv, err);

	if (r == 0)
		r = cf_work_new(opts->threads, RPC_GRPC_QUEUE_MAX, &srv->work, err);
	if (r == 0)
		r = start_io(srv, err);
	if (r < 0) {
		rpc_grpc_server_free(srv);
		return r;
	}
	*ret = srv;
	return 0;
}

static void drain_conns(void *arg)
{
	struct rpc_grpc_server *srv = arg;

	for (struct sconn *c = srv->conns; c; c = c->next)
		rpc_h2_sconn_drain(c);
}

static void end_io(void *arg)
{
	cf_loop_stop(arg);
}

/* With a drained peer still connected: its new calls are refused until the calls in flight are done. */
static void end_calls(struct rpc_grpc_server *srv, int64_t drain_ms)
{
	cf_loop_post(srv->io, drain_conns, srv);
	if (wait_idle(srv, drain_ms))
		return;
	cf_loop_post(srv->io, close_conns, srv);
	if (!wait_idle(srv, CANCEL_WAIT_MS))
		cf_log_warn("grpc: calls do not end");
}

void rpc_grpc_server_stop(struct rpc_grpc_server *srv, int64_t drain_ms)
{
	if (srv->is_stopped)
		return;
	srv->is_stopped = true;
	srv->is_draining = true;
	cf_listeners_close(&srv->listeners);
	if (srv->has_thread)
		end_calls(srv, drain_ms);
	if (srv->has_thread) {
		cf_loop_post(srv->io, end_io, srv->io);
		pthread_join(srv->thread, NULL);
	}
	/* After the thread that gives it work. What waits in it is cancelled by now, and ends at once. */
	srv->work = cf_work_free(srv->work);
	(void)!wait_idle(srv, CANCEL_WAIT_MS); /* calls that were kept */
}

struct rpc_grpc_server *rpc_grpc_server_free(struct rpc_grpc_server *srv)
{
	if (!srv)
		return NULL;
	rpc_grpc_server_stop(srv, 0);
	cf_loop_free(srv->io);
	rpc_h2_streams_fini(srv);
	pthread_cond_destroy(&srv->idle);
	pthread_mutex_destroy(&srv->lock);
	free(srv->inbox);
	free(srv);
	return NULL;
}
