/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "base/listener.h"
#include "base/str.h"
#include "proto/ttrpc_session.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct scall *scall_of(struct rpc_call *call)
{
	return (struct scall *)call;
}

static void scall_free(struct scall *call)
{
	for (size_t i = 0; i < call->meta_count; i++) {
		free((void *)(uintptr_t)call->meta[i].key);
		free((void *)(uintptr_t)call->meta[i].value);
	}
	free(call->meta);
	if (call->req)
		protobuf_c_message_free_unpacked(call->req, NULL);
	struct sconn *conn = call->conn;

	free(call);
	ttrpc_conn_unref(&conn->conn);
}

/* ---- what handlers see; any thread ---- */

static bool call_cancelled(struct rpc_call *head)
{
	struct scall *call = scall_of(head);

	return call->is_expired || call->conn->conn.is_dead;
}

static const char *call_meta(struct rpc_call *head, const char *key)
{
	struct scall *call = scall_of(head);

	for (size_t i = 0; i < call->meta_count; i++)
		if (cf_streq(call->meta[i].key, key))
			return call->meta[i].value;
	return NULL;
}

static int gone(struct scall *call, struct cf_err *err)
{
	if (call->is_expired)
		return cf_fail(err, CF_DEADLINE_EXCEEDED, "the call's deadline passed");
	return cf_fail(err, CF_CANCELLED, "the caller is gone");
}

static int wait_for_room(struct scall *call, struct cf_err *err)
{
	struct ttrpc_conn *c = &call->conn->conn;

	while (!call_cancelled(&call->head) && ttrpc_conn_unsent_locked(c) > TTRPC_OUT_ROOM) {
		if (ttrpc_conn_on_loop(c))
			return cf_fail(err, CF_RESOURCE_EXHAUSTED, "the send queue is full");
		pthread_cond_wait(&c->room, &c->lock);
	}
	return call_cancelled(&call->head) ? gone(call, err) : 0;
}

static int call_send(struct rpc_call *head, const ProtobufCMessage *msg, struct cf_err *err)
{
	struct scall *call = scall_of(head);
	struct ttrpc_conn *c = &call->conn->conn;

	pthread_mutex_lock(&c->lock);
	int r = wait_for_room(call, err);

	if (r == 0)
		r = ttrpc_put_data(&c->pending, call->id, 0, msg, call->conn->payload_max, err);
	if (r == 0)
		ttrpc_conn_wake_locked(c);
	pthread_mutex_unlock(&c->lock);
	return r;
}

static int put_answer(struct scall *call, const ProtobufCMessage *msg, enum cf_code code,
                      const char *text, struct cf_err *err)
{
	struct cf_buf *out = &call->conn->conn.pending;
	size_t max = call->conn->payload_max;

	if (code != CF_OK || !(call->method->flags & RPC_STREAM))
		return ttrpc_put_response(out, call->id, code ? NULL : msg, code, text, max, err);
	int r = msg ? ttrpc_put_data(out, call->id, 0, msg, max, err) : 0;

	if (r < 0)
		return r;
	return ttrpc_put_data(out, call->id, TTRPC_F_REMOTE_CLOSED | TTRPC_F_NO_DATA, NULL, max,
	                      err);
}

static void answer_locked(struct scall *call, const ProtobufCMessage *msg, enum cf_code code,
                          const char *text)
{
	struct cf_err err;

	call->is_answered = true;
	call->code = code;
	if (put_answer(call, msg, code, text, &err) == 0)
		return;
	/* Too large, most likely: then its caller shall at least hear that. */
	struct cf_err second;

	call->code = err.code;
	if (put_answer(call, NULL, err.code, err.msg, &second) < 0)
		call->code = second.code;
}

static void call_finish(struct rpc_call *head, const ProtobufCMessage *msg, enum cf_code code,
                        const char *text)
{
	struct scall *call = scall_of(head);
	struct sconn *conn = call->conn;

	pthread_mutex_lock(&conn->conn.lock);
	bool is_ours = conn->is_detached;

	if (!is_ours) {
		if (!call->is_answered)
			answer_locked(call, msg, code, text);
		call->next_ended = conn->ended;
		conn->ended = call;
		ttrpc_conn_wake_locked(&conn->conn);
	}
	pthread_mutex_unlock(&conn->conn.lock);
	if (is_ours)
		scall_free(call);
}

static const struct rpc_ops call_ops = {
	.send = call_send,
	.finish = call_finish,
	.cancelled = call_cancelled,
	.meta = call_meta,
};

/* ---- calls on the loop's thread ---- */

static void scall_unlink(struct scall *call)
{
	*call->link = call->next;
	if (call->next)
		call->next->link = call->link;
	call->deadline = cf_event_free(call->deadline);
	call->conn->call_count--;
	call->conn->srv->call_count--;
}

static void scall_link(struct scall *call)
{
	struct sconn *conn = call->conn;

	call->next = conn->calls;
	call->link = &conn->calls;
	if (call->next)
		call->next->link = &call->next;
	conn->calls = call;
	conn->call_count++;
	conn->srv->call_count++;
}

static struct scall *take_ended(struct sconn *conn)
{
	pthread_mutex_lock(&conn->conn.lock);
	struct scall *list = conn->ended;

	conn->ended = NULL;
	pthread_mutex_unlock(&conn->conn.lock);
	return list;
}

static void report(struct ttrpc_server *srv, const struct scall *call)
{
	if (srv->opts.answered)
		srv->opts.answered(call->head.service, call->head.method, call->code,
		                   cf_now_us() - call->started_us, srv->opts.user);
}

static void reap(struct sconn *conn)
{
	for (struct scall *call = take_ended(conn), *next; call; call = next) {
		next = call->next_ended;
		scall_unlink(call);
		report(conn->srv, call);
		scall_free(call);
	}
}

static void on_deadline(void *arg)
{
	struct scall *call = arg;
	struct ttrpc_conn *c = &call->conn->conn;

	pthread_mutex_lock(&c->lock);
	call->is_expired = true;
	if (!call->is_answered)
		answer_locked(call, NULL, CF_DEADLINE_EXCEEDED, "the call's deadline passed");
	pthread_cond_broadcast(&c->room);
	ttrpc_conn_wake_locked(c);
	pthread_mutex_unlock(&c->lock);
}

static void answer_id(struct sconn *conn, uint32_t id, enum cf_code code, const char *text)
{
	struct cf_err err;

	pthread_mutex_lock(&conn->conn.lock);
	/* A full queue is the peer's own doing: it does not read. */
	int r = ttrpc_put_response(&conn->conn.pending, id, NULL, code, text, conn->payload_max,
	                           &err);

	if (r == 0)
		ttrpc_conn_wake_locked(&conn->conn);
	pthread_mutex_unlock(&conn->conn.lock);
}

static void answer_idf(struct sconn *conn, uint32_t id, enum cf_code code, const char *what,
                       struct cf_view name)
{
	cf_cleanup(cf_freep) char *text =
		cf_asprintf("%s %.*s", what, (int)CF_MIN(name.size, 256u), (const char *)name.data);

	answer_id(conn, id, code, text);
}

static void run_handler(void *arg)
{
	struct scall *call = arg;

	call->method->fn(&call->head, call->req, call->user);
}

static void dispatch(struct scall *call)
{
	struct cf_work *work = call->conn->srv->opts.work;
	struct cf_err err;

	if (!work || (call->method->flags & RPC_INLINE))
		run_handler(call);
	else if (cf_work_add(work, run_handler, call, &err) < 0)
		rpc_fail_err(&call->head, &err);
}

static void take_meta(struct scall *call, const struct ttrpc_request *req)
{
	call->meta = cf_zalloc_n(req->meta_count ? req->meta_count : 1, sizeof(call->meta[0]));
	for (; call->meta_count < req->meta_count; call->meta_count++)
		call->meta[call->meta_count] = (struct ttrpc_meta){
			.key = cf_view_dup(req->meta[call->meta_count].key),
			.value = cf_view_dup(req->meta[call->meta_count].value),
		};
	/* containerd's ttrpc clients suffix the header's name. */
	call->head.ns = call_meta(&call->head, "containerd-namespace-ttrpc");
	if (!call->head.ns)
		call->head.ns = call_meta(&call->head, "containerd-namespace");
}

static struct scall *scall_new(struct sconn *conn, uint32_t id, const struct ttrpc_request *req,
                               const struct rpc_service *service, const struct rpc_method *method)
{
	struct scall *call = cf_zalloc(sizeof(*call));

	*call = (struct scall){
		.head = { .ops = &call_ops,
		          .service = service->name,
		          .method = method->name,
		          .deadline_ms = INT64_MAX,
		          .uid = conn->peer.uid,
		          .gid = conn->peer.gid,
		          .pid = conn->peer.pid },
		.conn = conn,
		.method = method,
		.user = service->user,
		.id = id,
		.started_us = cf_now_us(),
	};
	ttrpc_conn_ref(&conn->conn);
	take_meta(call, req);
	scall_link(call);
	if (req->timeout_ns > 0) {
		int64_t ms = req->timeout_ns / 1000000 + 1;

		call->head.deadline_ms = cf_now_ms() + ms;
		call->deadline = cf_loop_timer(conn->conn.loop, ms, false, on_deadline, call);
	}
	return call;
}

static const struct rpc_service *find_service(const struct ttrpc_server *srv, struct cf_view name)
{
	for (size_t i = 0; i < srv->opts.service_count; i++)
		if (cf_view_eq_str(name, srv->opts.services[i]->name))
			return srv->opts.services[i];
	return NULL;
}

static const struct rpc_method *find_method(const struct rpc_service *s, struct cf_view name)
{
	for (size_t i = 0; i < s->method_count; i++)
		if (cf_view_eq_str(name, s->methods[i].name))
			return &s->methods[i];
	return NULL;
}

static void on_request(struct sconn *conn, const struct ttrpc_frame *f)
{
	struct ttrpc_request req;
	struct cf_err err;

	if (ttrpc_request_parse(f->payload, &req, &err) < 0) {
		answer_id(conn, f->stream_id, err.code, err.msg);
		return;
	}
	if (conn->srv->is_draining) {
		answer_id(conn, f->stream_id, CF_UNAVAILABLE, "shutting down");
		return;
	}
	const struct rpc_service *service = find_service(conn->srv, req.service);
	const struct rpc_method *method = service ? find_method(service, req.method) : NULL;

	if (!service) {
		answer_idf(conn, f->stream_id, CF_UNIMPLEMENTED, "service", req.service);
		return;
	}
	if (!method) {
		answer_idf(conn, f->stream_id, CF_UNIMPLEMENTED, "method", req.method);
		return;
	}
	if (f->flags & TTRPC_F_REMOTE_OPEN) {
		answer_id(conn, f->stream_id, CF_UNIMPLEMENTED, "client streaming is not served");
		return;
	}
	struct scall *call = scall_new(conn, f->stream_id, &req, service, method);

	if (rpc_unpack(method->in, req.payload.data, req.payload.size, &call->req, &err) < 0)
		rpc_fail_err(&call->head, &err);
	else
		dispatch(call);
}

static void on_frame(struct ttrpc_conn *c, const struct ttrpc_frame *f)
{
	struct sconn *conn = sconn_of(c);

	if (f->type != TTRPC_REQUEST && f->type != TTRPC_DATA)
		return;
	if (!(f->stream_id & 1)) {
		answer_id(conn, f->stream_id, CF_INVALID_ARGUMENT, "stream id must be odd");
		return;
	}
	if (f->type == TTRPC_DATA) {
		/* Nobody here takes client streams; a stream we know ends by its own answer. */
		if (f->stream_id > conn->last_id)
			answer_id(conn, f->stream_id, CF_INVALID_ARGUMENT, "no such stream");
		return;
	}
	if (f->stream_id <= conn->last_id) {
		answer_id(conn, f->stream_id, CF_INVALID_ARGUMENT, "stream ids must increase");
		return;
	}
	conn->last_id = f->stream_id;
	if (f->is_oversize)
		answer_id(conn, f->stream_id, CF_RESOURCE_EXHAUSTED, "message is too large");
	else
		on_request(conn, f);
}

/* ---- connections ---- */

static bool conn_wants(struct ttrpc_conn *c)
{
	return sconn_of(c)->call_count < TTRPC_CALLS_MAX;
}

static void on_woken(struct ttrpc_conn *c)
{
	reap(sconn_of(c));
}

/* Lets go of the calls whose handlers still run: from here on whoever answers one frees it. */
static struct scall *let_go(struct sconn *conn)
{
	pthread_mutex_lock(&conn->conn.lock);
	struct scall *ended = conn->ended;

	conn->ended = NULL;
	conn->is_detached = true;
	/* Under the lock: once it is free, the others may be freed at any moment. */
	while (conn->calls)
		scall_unlink(conn->calls);
	pthread_mutex_unlock(&conn->conn.lock);
	return ended;
}

void ttrpc_session_detach(struct sconn *conn)
{
	struct ttrpc_server *srv = conn->srv;

	for (struct scall *call = let_go(conn), *next; call; call = next) {
		next = call->next_ended;
		report(srv, call);
		scall_free(call);
	}
	*conn->link = conn->next;
	if (conn->next)
		conn->next->link = conn->link;
	srv->conn_count--;
	conn->srv = NULL;
	ttrpc_conn_unref(&conn->conn);
}

static void on_lost(struct ttrpc_conn *c, const struct cf_err *why)
{
	struct port *p = sconn_of(c)->port;

	(void)why;
	ttrpc_session_detach(sconn_of(c));
	if (p)
		ttrpc_port_wait(p);
}

static void conn_destroy(struct ttrpc_conn *c)
{
	ttrpc_conn_fini(c);
	free(sconn_of(c));
}

const struct ttrpc_conn_ops ttrpc_session_ops = {
	.frame = on_frame,
	.woken = on_woken,
	.wants = conn_wants,
	.lost = on_lost,
	.mark = ttrpc_port_on_mark,
	.destroy = conn_destroy,
};

static bool is_allowed(const struct ttrpc_server *srv, const struct rpc_peer *peer, int fd)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof(sa);

	if (srv->opts.allow)
		return srv->opts.allow(peer, srv->opts.user);
	if (getsockname(fd, (struct sockaddr *)&sa, &len) == 0 && sa.ss_family == AF_UNIX)
		return rpc_peer_is_ours(peer);
	return true;
}

void ttrpc_session_add(struct ttrpc_server *srv, struct sconn *conn)
{
	conn->srv = srv;
	conn->next = srv->conns;
	conn->link = &srv->conns;
	if (conn->next)
		conn->next->link = &conn->next;
	srv->conns = conn;
	srv->conn_count++;
	ttrpc_conn_start(&conn->conn);
}

int ttrpc_server_add_conn(struct ttrpc_server *srv, int fd_take, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = fd_take;
	struct rpc_peer peer = rpc_peer_of(fd);

	if (!is_allowed(srv, &peer, fd))
		return cf_fail(err, CF_PERMISSION_DENIED, "ttrpc: uid %u may not connect",
		               (unsigned)peer.uid);
	if (srv->conn_count >= TTRPC_CONNS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "ttrpc: %u connections are open",
		               TTRPC_CONNS_MAX);
	struct sconn *conn = cf_zalloc(sizeof(*conn));

	conn->peer = peer;
	conn->payload_max = srv->opts.payload_max;
	int r = ttrpc_conn_init(&conn->conn, &ttrpc_session_ops, srv->opts.loop, cf_take_fd(&fd),
	                        false, conn->payload_max, err);

	if (r < 0) {
		free(conn);
		return r;
	}
	ttrpc_session_add(srv, conn);
	return 0;
}

/* ---- listeners ---- */

static void on_conn(void *user, int fd_take)
{
	struct cf_err err;

	/* A refused peer sees its connection closed; there is nobody here to tell. */
	(void)!ttrpc_server_add_conn(user, fd_take, &err);
}

int ttrpc_server_add_listener(struct ttrpc_server *srv, int fd_take, struct cf_err *err)
{
	return cf_listener_add(&srv->listeners, srv->opts.loop, fd_take, NULL, on_conn, srv, err);
}

static const char *unix_path(const char *address)
{
	const char *path = cf_after(address, "unix://");

	return path ? path : address[0] == '/' ? address : NULL;
}

static const char *port_path(const char *address)
{
	const char *rest = cf_after(address, "virtio-serial:");

	return rest && cf_after(rest, "//") ? cf_after(rest, "//") : rest;
}

int ttrpc_server_listen(struct ttrpc_server *srv, const char *address, struct cf_err *err)
{
	int listens = 0;
	socklen_t len = sizeof(listens);

	if (port_path(address)) {
		int port = open(port_path(address), O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

		return port < 0 ? cf_fail_errno(err, errno, "open %s", port_path(address))
		                : ttrpc_server_add_port(srv, port, err);
	}
	int fd = ttrpc_listen_fd(address, err);

	if (fd < 0)
		return fd;
	/* An inherited fd may be one connection instead. */
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && !listens)
		return ttrpc_server_add_conn(srv, fd, err);
	return cf_listener_add(&srv->listeners, srv->opts.loop, fd, unix_path(address), on_conn,
	                       srv, err);
}

/* ---- life ---- */

int ttrpc_server_new(const struct ttrpc_server_opts *opts, struct ttrpc_server **ret,
                     struct cf_err *err)
{
	for (size_t i = 0; i < opts->service_count; i++)
		for (size_t j = 0; j < opts->services[i]->method_count; j++)
			if ((opts->services[i]->methods[j].flags & (RPC_INLINE | RPC_STREAM)) ==
			    (RPC_INLINE | RPC_STREAM))
				return cf_fail(err, CF_INTERNAL, "%s.%s: a stream blocks",
				               opts->services[i]->name,
				               opts->services[i]->methods[j].name);
	struct ttrpc_server *srv = cf_zalloc(sizeof(*srv));

	srv->opts = *opts;
	if (!srv->opts.payload_max || srv->opts.payload_max > TTRPC_PAYLOAD_MAX)
		srv->opts.payload_max = TTRPC_PAYLOAD_MAX;
	*ret = srv;
	return 0;
}

void ttrpc_server_drain(struct ttrpc_server *srv)
{
	srv->is_draining = true;
	cf_listeners_close(&srv->listeners);
}

size_t ttrpc_server_calls(const struct ttrpc_server *srv)
{
	return srv->call_count;
}

struct ttrpc_server *ttrpc_server_free(struct ttrpc_server *srv)
{
	if (!srv)
		return NULL;
	cf_listeners_close(&srv->listeners);
	while (srv->conns) {
		struct sconn *conn = srv->conns;

		ttrpc_conn_close(&conn->conn);
		ttrpc_session_detach(conn);
	}
	ttrpc_port_close_all(srv);
	free(srv);
	return NULL;
}
