/* SPDX-License-Identifier: Apache-2.0 */
/* The server half of the door to gRPC C core; rpc_grpc_client.c is the other. */
#include "proto/rpc_grpc.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "base/work.h"
#include "proto/rpc_core.h"
#include "proto/rpc_grpc_accept.h"

#include <assert.h>
#include <errno.h>
#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#define ARMED_PER_METHOD  4 /* announced calls that core may hold ready for us */
#define ACCEPTS_PER_EVENT 16
#define PEERS_MAX         65536 /* fds whose peers we remember */
#define CANCEL_WAIT_MS    1000  /* after everything was cancelled */
#define META_COPIES_MAX   16

/* What a completion of the queue is about. */
struct tag {
	enum { TAG_CALL, TAG_CLOSED, TAG_ENDED, TAG_UNKNOWN, TAG_SHUTDOWN } kind;
	void *obj;
};

struct gmethod {
	const struct rpc_service *service;
	const struct rpc_method *m;
	void *registered;
	struct rpc_grpc_server *srv;
};

/*
 * One call. References: one until it is answered, one until core has said how it closed; the queue's
 * thread or the answering thread drops the last.
 */
struct gcall {
	struct rpc_call head; /* first: handlers see only this */
	struct rpc_grpc_server *srv;
	struct gmethod *gm;
	struct tag arrived, closed, ended;
	grpc_call *call;
	gpr_timespec deadline;
	grpc_metadata_array md;
	grpc_byte_buffer *in, *out;
	grpc_completion_queue *pluck; /* streams: their batches are waited for one by one */
	ProtobufCMessage *req;
	char *ns;
	char *meta_copies[META_COPIES_MAX];
	size_t meta_count;
	int64_t started_us;
	int was_cancelled; /* written by core */
	_Atomic bool is_cancelled;
	_Atomic unsigned refs;
	bool has_sent; /* initial metadata is out */
};

/* A call to a method nobody registered. */
struct unknown {
	struct tag tag;
	struct rpc_grpc_server *srv;
	grpc_call *call;
	grpc_call_details details;
	grpc_metadata_array md;
	bool is_answered;
	int was_cancelled;
};

struct rpc_grpc_server {
	struct rpc_grpc_server_opts opts;
	struct cf_work *work;
	grpc_server *core;
	grpc_completion_queue *cq;
	grpc_server_credentials *creds;
	pthread_t thread;
	bool has_thread, is_stopped;
	struct gmethod *methods;
	size_t method_count;
	struct cf_listener *listeners;
	struct tag shutdown_tag;
	_Atomic bool is_draining;
	_Atomic uint64_t calls;

	pthread_mutex_t lock; /* peers, is_shut */
	pthread_cond_t shut;
	bool is_shut;
	struct rpc_peer *peers; /* by fd: that is all core tells of a call's connection */
	size_t peers_cap;
};

static struct gcall *gcall_of(struct rpc_call *call)
{
	return (struct gcall *)call;
}

/* ---- peers ---- */

static void peer_remember(struct rpc_grpc_server *srv, int fd, const struct rpc_peer *peer)
{
	if (fd >= PEERS_MAX)
		return;
	pthread_mutex_lock(&srv->lock);
	size_t had = srv->peers_cap;

	cf_grow(&srv->peers, &srv->peers_cap, (size_t)fd + 1);
	for (size_t i = had; i < srv->peers_cap; i++)
		srv->peers[i] = RPC_PEER_UNKNOWN;
	srv->peers[fd] = *peer;
	pthread_mutex_unlock(&srv->lock);
}

static struct rpc_peer peer_of_call(struct rpc_grpc_server *srv, grpc_call *call)
{
	struct rpc_peer peer = RPC_PEER_UNKNOWN;
	char *name = grpc_call_get_peer(call);
	const char *digits = name ? cf_after(name, "fd:") : NULL;
	uint64_t fd;
	struct cf_err err;

	if (digits && cf_parse_u64(cf_view_str(digits), PEERS_MAX - 1, &fd, &err) == 0) {
		pthread_mutex_lock(&srv->lock);
		if (fd < srv->peers_cap)
			peer = srv->peers[fd];
		pthread_mutex_unlock(&srv->lock);
	}
	gpr_free(name);
	return peer;
}

/* ---- calls ---- */

static void pluck_drain(grpc_completion_queue *cq)
{
	grpc_completion_queue_shutdown(cq);
	while (grpc_completion_queue_pluck(cq, NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL)
	               .type != GRPC_QUEUE_SHUTDOWN)
		;
	grpc_completion_queue_destroy(cq);
}

static void gcall_free(struct gcall *c)
{
	grpc_metadata_array_destroy(&c->md);
	if (c->in)
		grpc_byte_buffer_destroy(c->in);
	if (c->out)
		grpc_byte_buffer_destroy(c->out);
	if (c->call)
		grpc_call_unref(c->call);
	if (c->pluck)
		pluck_drain(c->pluck);
	if (c->req)
		protobuf_c_message_free_unpacked(c->req, NULL);
	for (size_t i = 0; i < c->meta_count; i++)
		free(c->meta_copies[i]);
	free(c->ns);
	free(c);
}

static void gcall_unref(struct gcall *c)
{
	unsigned before = atomic_fetch_sub(&c->refs, 1);

	assert(before > 0);
	if (before == 1)
		gcall_free(c);
}

static char *meta_dup(const struct gcall *c, const char *key)
{
	for (size_t i = 0; i < c->md.count; i++) {
		grpc_slice v = c->md.metadata[i].value;
		struct cf_view text = cf_view(GRPC_SLICE_START_PTR(v), GRPC_SLICE_LENGTH(v));

		if (grpc_slice_str_cmp(c->md.metadata[i].key, key) == 0 && !cf_view_has_nul(text) &&
		    cf_view_is_utf8(text))
			return cf_view_dup(text);
	}
	return NULL;
}

static const char *call_meta(struct rpc_call *head, const char *key)
{
	struct gcall *c = gcall_of(head);
	char *copy = c->meta_count < META_COPIES_MAX ? meta_dup(c, key) : NULL;

	if (copy)
		c->meta_copies[c->meta_count++] = copy;
	return copy;
}

static bool call_cancelled(struct rpc_call *head)
{
	struct gcall *c = gcall_of(head);

	if (c->pluck && !c->is_cancelled &&
	    grpc_completion_queue_pluck(c->pluck, &c->closed, gpr_time_0(GPR_CLOCK_MONOTONIC), NULL)
	                    .type == GRPC_OP_COMPLETE)
		c->is_cancelled =
			true; /* nothing but a cancellation closes a call we did not answer */
	return c->is_cancelled || cf_now_ms() > head->deadline_ms;
}

static bool pluck_tag(struct gcall *c, struct tag *tag)
{
	bool ok = grpc_completion_queue_pluck(c->pluck, tag, gpr_inf_future(GPR_CLOCK_MONOTONIC),
	                                      NULL)
	                  .success != 0;

	rpc_core_takes(tag);
	return ok;
}

static bool start_batch(grpc_call *call, const grpc_op *ops, size_t n, struct tag *tag)
{
	rpc_core_gives(tag);
	return grpc_call_start_batch(call, ops, n, tag, NULL) == GRPC_CALL_OK;
}

static int call_send(struct rpc_call *head, const ProtobufCMessage *msg, struct cf_err *err)
{
	struct gcall *c = gcall_of(head);
	grpc_op ops[2] = { 0 };
	size_t n = 0;

	if (!c->pluck)
		return cf_fail(err, CF_INTERNAL, "%s is no stream", head->method);
	grpc_byte_buffer *out = rpc_core_pack(msg);

	if (!c->has_sent)
		ops[n++].op = GRPC_OP_SEND_INITIAL_METADATA;
	c->has_sent = true;
	ops[n].op = GRPC_OP_SEND_MESSAGE;
	ops[n++].data.send_message.send_message = out;
	/* Waiting for the completion is the flow control: it comes when the peer's window has room. */
	bool ok = start_batch(c->call, ops, n, &c->ended) && pluck_tag(c, &c->ended);

	grpc_byte_buffer_destroy(out);
	return ok ? 0 : cf_fail(err, CF_CANCELLED, "the caller is gone");
}

static void report(struct gcall *c, enum cf_code code)
{
	struct rpc_grpc_server *srv = c->srv;

	srv->calls++;
	if (srv->opts.answered)
		srv->opts.answered(c->head.service, c->head.method, code,
		                   cf_now_us() - c->started_us, srv->opts.user);
}

static size_t answer_ops(struct gcall *c, grpc_op *ops, enum cf_code code, grpc_slice *text)
{
	size_t n = 0;

	if (!c->has_sent)
		ops[n++].op = GRPC_OP_SEND_INITIAL_METADATA;
	if (c->out) {
		ops[n].op = GRPC_OP_SEND_MESSAGE;
		ops[n++].data.send_message.send_message = c->out;
	}
	ops[n].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
	ops[n].data.send_status_from_server.status = (grpc_status_code)code;
	ops[n++].data.send_status_from_server.status_details = text;
	return n;
}

static void call_finish(struct rpc_call *head, const ProtobufCMessage *msg, enum cf_code code,
                        const char *text)
{
	struct gcall *c = gcall_of(head);
	grpc_op ops[3] = { 0 };

	if (msg && code == CF_OK && protobuf_c_message_get_packed_size(msg) > RPC_MESSAGE_MAX) {
		code = CF_RESOURCE_EXHAUSTED;
		text = "the answer is too large";
	}
	if (msg && code == CF_OK)
		c->out = rpc_core_pack(msg);
	grpc_slice says = grpc_slice_from_copied_string(text ? text : "");
	size_t n = answer_ops(c, ops, code, &says);
	bool is_stream = c->pluck;

	report(c, code);
	/* From here on a unary call belongs to its completion, which may free it at any moment. */
	bool is_under_way = start_batch(c->call, ops, n, &c->ended);

	grpc_slice_unref(says);
	if (is_under_way && !is_stream)
		return;
	if (is_under_way) {
		pluck_tag(c, &c->ended);
		if (!c->is_cancelled)
			pluck_tag(c, &c->closed);
	}
	gcall_unref(c); /* answered */
	if (is_stream)
		gcall_unref(c); /* closed */
}

static const struct rpc_ops call_ops = {
	.send = call_send,
	.finish = call_finish,
	.cancelled = call_cancelled,
	.meta = call_meta,
};

/* ---- arrival, queue thread ---- */

static void arm(struct gmethod *gm)
{
	struct rpc_grpc_server *srv = gm->srv;

	if (srv->is_draining)
		return;
	struct gcall *c = cf_zalloc(sizeof(*c));

	c->srv = srv;
	c->gm = gm;
	c->arrived = (struct tag){ TAG_CALL, c };
	c->closed = (struct tag){ TAG_CLOSED, c };
	c->ended = (struct tag){ TAG_ENDED, c };
	atomic_init(&c->refs, 1);
	grpc_metadata_array_init(&c->md);
	if (gm->m->flags & RPC_STREAM)
		c->pluck = grpc_completion_queue_create_for_pluck(NULL);
	grpc_call_error e = grpc_server_request_registered_call(
		srv->core, gm->registered, &c->call, &c->deadline, &c->md, &c->in,
		c->pluck ? c->pluck : srv->cq, srv->cq, &c->arrived);

	if (e != GRPC_CALL_OK)
		gcall_free(c);
}

static int64_t deadline_ms_of(gpr_timespec t)
{
	if (gpr_time_cmp(t, gpr_inf_future(t.clock_type)) == 0)
		return INT64_MAX;
	gpr_timespec left = gpr_time_sub(t, gpr_now(t.clock_type));

	return cf_now_ms() + left.tv_sec * 1000 + left.tv_nsec / 1000000;
}

/* Core tells how the call closed, while its handler still runs: that is how it learns of cancelling. */
static void watch_close(struct gcall *c)
{
	grpc_op op = { .op = GRPC_OP_RECV_CLOSE_ON_SERVER };

	op.data.recv_close_on_server.cancelled = &c->was_cancelled;
	atomic_fetch_add(&c->refs, 1);
	if (!start_batch(c->call, &op, 1, &c->closed))
		abort(); /* once per call and never refused */
}

static void run_handler(void *arg)
{
	struct gcall *c = arg;

	c->gm->m->fn(&c->head, c->req, c->gm->service->user);
}

static int decode(struct gcall *c, struct cf_err *err)
{
	if (!c->in)
		return cf_fail(err, CF_INVALID_ARGUMENT, "no request message");
	return rpc_core_unpack(c->gm->m->in, c->in, &c->req, err);
}

static void on_call(struct gcall *c)
{
	struct rpc_grpc_server *srv = c->srv;
	struct rpc_peer peer = peer_of_call(srv, c->call);
	struct cf_err err;

	arm(c->gm);
	c->started_us = cf_now_us();
	c->ns = meta_dup(c, "containerd-namespace");
	c->head = (struct rpc_call){
		.ops = &call_ops,
		.service = c->gm->service->name,
		.method = c->gm->m->name,
		.ns = c->ns,
		.deadline_ms = deadline_ms_of(c->deadline),
		.uid = peer.uid,
		.gid = peer.gid,
		.pid = peer.pid,
	};
	watch_close(c);
	if (decode(c, &err) < 0)
		rpc_fail_err(&c->head, &err);
	else if (c->gm->m->flags & RPC_INLINE)
		run_handler(c);
	else if (cf_work_add(srv->work, run_handler, c, &err) < 0)
		rpc_fail_err(&c->head, &err);
}

static void arm_unknown(struct rpc_grpc_server *srv)
{
	if (srv->is_draining)
		return;
	struct unknown *u = cf_zalloc(sizeof(*u));

	u->srv = srv;
	u->tag = (struct tag){ TAG_UNKNOWN, u };
	grpc_call_details_init(&u->details);
	grpc_metadata_array_init(&u->md);
	grpc_server_request_call(srv->core, &u->call, &u->details, &u->md, srv->cq, srv->cq,
	                         &u->tag);
}

static void unknown_free(struct unknown *u)
{
	grpc_call_details_destroy(&u->details);
	grpc_metadata_array_destroy(&u->md);
	if (u->call)
		grpc_call_unref(u->call);
	free(u);
}

/* Without this a call to a method we do not have would hang until the client's deadline. */
static void on_unknown(struct unknown *u, bool success)
{
	grpc_op ops[3] = { 0 };

	if (!success || u->is_answered) {
		unknown_free(u);
		return;
	}
	arm_unknown(u->srv);
	u->is_answered = true;
	u->srv->calls++;
	grpc_slice text = grpc_slice_from_static_string("unknown service or method");

	ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	ops[1].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
	ops[1].data.send_status_from_server.status = GRPC_STATUS_UNIMPLEMENTED;
	ops[1].data.send_status_from_server.status_details = &text;
	ops[2].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
	ops[2].data.recv_close_on_server.cancelled = &u->was_cancelled;
	if (!start_batch(u->call, ops, 3, &u->tag))
		unknown_free(u);
}

static void on_closed(struct gcall *c)
{
	if (c->was_cancelled)
		c->is_cancelled = true;
	gcall_unref(c);
}

static void on_shut(struct rpc_grpc_server *srv)
{
	pthread_mutex_lock(&srv->lock);
	srv->is_shut = true;
	pthread_cond_broadcast(&srv->shut);
	pthread_mutex_unlock(&srv->lock);
}

static void on_event(const struct tag *tag, bool success)
{
	switch (tag->kind) {
	case TAG_CALL:
		if (success)
			on_call(tag->obj);
		else
			gcall_unref(tag->obj); /* shutting down: nothing arrived */
		break;
	case TAG_CLOSED:
		on_closed(tag->obj);
		break;
	case TAG_ENDED:
		gcall_unref(tag->obj);
		break;
	case TAG_UNKNOWN:
		on_unknown(tag->obj, success);
		break;
	case TAG_SHUTDOWN:
		on_shut(tag->obj);
		break;
	}
}

static void *queue_main(void *arg)
{
	struct rpc_grpc_server *srv = arg;

	for (;;) {
		grpc_event e = grpc_completion_queue_next(
			srv->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);

		if (e.type == GRPC_QUEUE_SHUTDOWN)
			return NULL;
		rpc_core_takes(e.tag);
		on_event(e.tag, e.success != 0);
	}
}

/* ---- accepting, loop thread ---- */

int rpc_grpc_server_add_conn(struct rpc_grpc_server *srv, int fd_take, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = fd_take;
	struct rpc_peer peer;
	int r = rpc_grpc_admit(&srv->opts, fd, &peer, err);

	if (r < 0)
		return r;
	peer_remember(srv, fd, &peer);
	grpc_server_add_channel_from_fd(srv->core, cf_take_fd(&fd), srv->creds);
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

static grpc_arg int_arg(const char *key, int value)
{
	/* Core takes the key without const and does not write to it. */
	return (grpc_arg){ .type = GRPC_ARG_INTEGER,
		           .key = (char *)(uintptr_t)key,
		           .value.integer = value };
}

static void make_core(struct rpc_grpc_server *srv)
{
	grpc_arg args[] = {
		int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, RPC_MESSAGE_MAX),
		int_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, RPC_MESSAGE_MAX),
		int_arg(GRPC_ARG_MAX_CONCURRENT_STREAMS, RPC_GRPC_STREAMS_MAX),
		/* containerd's client may ping an idle connection. */
		int_arg(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10000),
		int_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
	};
	grpc_channel_args list = { CF_ARRAY_LEN(args), args };

	srv->core = grpc_server_create(&list, NULL);
	srv->cq = grpc_completion_queue_create_for_next(NULL);
	grpc_server_register_completion_queue(srv->core, srv->cq, NULL);
	srv->creds = grpc_insecure_server_credentials_create();
}

static void register_methods(struct rpc_grpc_server *srv)
{
	for (size_t i = 0; i < srv->opts.service_count; i++)
		srv->method_count += srv->opts.services[i]->method_count;
	srv->methods = cf_zalloc_n(srv->method_count + 1, sizeof(srv->methods[0]));
	struct gmethod *gm = srv->methods;

	for (size_t i = 0; i < srv->opts.service_count; i++) {
		const struct rpc_service *s = srv->opts.services[i];

		for (size_t j = 0; j < s->method_count; j++, gm++) {
			cf_cleanup(cf_freep) char *path =
				cf_asprintf("/%s/%s", s->name, s->methods[j].name);

			assert((s->methods[j].flags & (RPC_INLINE | RPC_STREAM)) !=
			       (RPC_INLINE | RPC_STREAM));
			*gm = (struct gmethod){ .service = s, .m = &s->methods[j], .srv = srv };
			gm->registered = grpc_server_register_method(
				srv->core, path, NULL, GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER,
				0);
			assert(gm->registered); /* NULL: the table names a method twice */
		}
	}
}

static int start_queue(struct rpc_grpc_server *srv, struct cf_err *err)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	grpc_server_start(srv->core);
	for (size_t i = 0; i < srv->method_count; i++)
		for (int k = 0; k < ARMED_PER_METHOD; k++)
			arm(&srv->methods[i]);
	arm_unknown(srv);
	int e = pthread_create(&srv->thread, NULL, queue_main, srv);

	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (e != 0)
		return cf_fail_errno(err, e, "grpc: queue thread");
	srv->has_thread = true;
	return 0;
}

int rpc_grpc_server_new(const struct rpc_grpc_server_opts *opts, struct rpc_grpc_server **ret,
                        struct cf_err *err)
{
	struct rpc_grpc_server *srv = cf_zalloc(sizeof(*srv));

	srv->opts = *opts;
	srv->shutdown_tag = (struct tag){ TAG_SHUTDOWN, srv };
	pthread_mutex_init(&srv->lock, NULL);
	pthread_cond_init(&srv->shut, NULL);
	rpc_core_init();
	make_core(srv);
	register_methods(srv);
	int r = cf_work_new(opts->threads, RPC_GRPC_QUEUE_MAX, &srv->work, err);

	if (r == 0)
		r = start_queue(srv, err);
	if (r < 0) {
		rpc_grpc_server_free(srv);
		return r;
	}
	*ret = srv;
	return 0;
}

uint64_t rpc_grpc_server_calls(const struct rpc_grpc_server *srv)
{
	return srv->calls;
}

static bool wait_shut(struct rpc_grpc_server *srv, int64_t ms)
{
	int64_t until = cf_now_ms() + ms;

	pthread_mutex_lock(&srv->lock);
	while (!srv->is_shut && cf_cond_wait_until(&srv->shut, &srv->lock, until))
		;
	bool is_shut = srv->is_shut;

	pthread_mutex_unlock(&srv->lock);
	return is_shut;
}

void rpc_grpc_server_stop(struct rpc_grpc_server *srv, int64_t drain_ms)
{
	if (srv->is_stopped)
		return;
	srv->is_stopped = true;
	srv->is_draining = true;
	cf_listeners_close(&srv->listeners);
	grpc_server_shutdown_and_notify(srv->core, srv->cq, &srv->shutdown_tag);
	if (srv->has_thread && !wait_shut(srv, drain_ms)) {
		grpc_server_cancel_all_calls(srv->core);
		if (!wait_shut(srv, CANCEL_WAIT_MS))
			cf_log_warn("grpc: calls do not end");
	}
	srv->work = cf_work_free(srv->work);
	if (srv->has_thread)
		(void)!wait_shut(srv, CANCEL_WAIT_MS);
	grpc_completion_queue_shutdown(srv->cq);
	if (srv->has_thread)
		pthread_join(srv->thread, NULL);
}

struct rpc_grpc_server *rpc_grpc_server_free(struct rpc_grpc_server *srv)
{
	if (!srv)
		return NULL;
	rpc_grpc_server_stop(srv, 0);
	grpc_server_destroy(srv->core);
	grpc_completion_queue_destroy(srv->cq);
	grpc_server_credentials_release(srv->creds);
	grpc_shutdown();
	pthread_cond_destroy(&srv->shut);
	pthread_mutex_destroy(&srv->lock);
	free(srv->methods);
	free(srv->peers);
	free(srv);
	return NULL;
}
