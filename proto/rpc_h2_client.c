/* SPDX-License-Identifier: Apache-2.0 */
/* The client half of rpc_grpc.h over nghttp2: sockets, turns and deadlines. */
#include "base/fd.h"
#include "base/str.h"
#include "proto/rpc_grpc.h"
#include "proto/rpc_h2_client_session.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#define IN_BYTES       (32u << 10)
#define IDLE_READS_MAX 16 /* of what came while nobody called */

struct rpc_grpc_client {
	char *path;
	pthread_mutex_t lock;
	pthread_cond_t turn;
	bool is_busy;    /* under the lock; all below belongs to the thread that made it true */
	pthread_t owner; /* that one; under the lock */

	int fd; /* -1: not connected */
	struct rpc_h2_session *session;
	struct cf_buf out;
	size_t out_sent;
	bool is_mute; /* the server takes nothing any more; it may have told why before */
	bool is_lost;
	uint8_t in[IN_BYTES];
};

/* ---- turns ---- */

static int late(struct cf_err *err)
{
	return cf_fail(err, CF_DEADLINE_EXCEEDED, "no answer in time");
}

static int take_turn(struct rpc_grpc_client *c, int64_t deadline_ms, struct cf_err *err)
{
	int r = 0;

	pthread_mutex_lock(&c->lock);
	if (c->is_busy && pthread_equal(c->owner, pthread_self()))
		r = cf_fail(err, CF_FAILED_PRECONDITION, "grpc: a call within a call's item");
	while (r == 0 && c->is_busy)
		if (!cf_cond_wait_until(&c->turn, &c->lock, deadline_ms) && c->is_busy)
			r = late(err);
	if (r == 0) {
		c->is_busy = true;
		c->owner = pthread_self();
	}
	pthread_mutex_unlock(&c->lock);
	return r;
}

static void end_turn(struct rpc_grpc_client *c)
{
	pthread_mutex_lock(&c->lock);
	c->is_busy = false;
	pthread_cond_signal(&c->turn);
	pthread_mutex_unlock(&c->lock);
}

/* ---- the socket ---- */

static void disconnect(struct rpc_grpc_client *c)
{
	cf_close(&c->fd);
	c->session = rpc_h2_session_free(c->session);
	cf_buf_fini(&c->out);
	c->out_sent = 0;
	c->is_mute = c->is_lost = false;
}

static bool has_out(const struct rpc_grpc_client *c)
{
	return c->out_sent < c->out.size;
}

/* To a server that takes nothing, all is sent: what the session learns by sending must not wait. */
static ssize_t send_some(struct rpc_grpc_client *c)
{
	size_t size = c->out.size - c->out_sent;
	ssize_t n = c->is_mute ? (ssize_t)size
	                       : send(c->fd, c->out.data + c->out_sent, size,
	                              MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n >= 0 || errno == EAGAIN)
		return n;
	c->is_mute = errno != EINTR;
	return 0;
}

/* Sends until there is nothing more to send, or the socket is full. */
static int send_out(struct rpc_grpc_client *c, struct cf_err *err)
{
	for (;;) {
		int r = 0;

		if (!has_out(c)) {
			cf_buf_reset(&c->out);
			c->out_sent = 0;
			r = rpc_h2_session_out(c->session, &c->out, err);
		}
		if (r < 0 || !has_out(c))
			return r;
		ssize_t n = send_some(c);

		if (n < 0)
			return 0;
		c->out_sent += (size_t)n;
	}
}

static int lost(struct rpc_grpc_client *c, const char *why, struct cf_err *err)
{
	c->is_lost = true;
	return cf_fail(err, CF_UNAVAILABLE, "grpc: %s: %s", c->path, why);
}

/* Return: 1: something came; 0: nothing just now; negative: the connection is over. */
static int read_in(struct rpc_grpc_client *c, struct cf_err *err)
{
	ssize_t n = recv(c->fd, c->in, sizeof(c->in), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return lost(c, n == 0 ? "the connection was closed" : strerrordesc_np(errno), err);
	int r = rpc_h2_session_in(c->session, cf_view(c->in, (size_t)n), err);

	return r < 0 ? r : 1;
}

static int await(struct rpc_grpc_client *c, int64_t deadline_ms, struct cf_err *err)
{
	int64_t left = deadline_ms == INT64_MAX ? -1 : deadline_ms - cf_now_ms();
	short out = has_out(c) ? POLLOUT : 0;
	struct pollfd p = { .fd = c->fd, .events = (short)(POLLIN | out) };

	if (deadline_ms != INT64_MAX && left <= 0)
		return late(err);
	if (!rpc_h2_session_listens(c->session))
		return lost(c, "the server broke the protocol", err);
	poll(&p, 1, (int)CF_MIN(left, INT_MAX));
	return 0;
}

static int connect_now(struct rpc_grpc_client *c, struct cf_err *err)
{
	struct cf_err why;
	cf_cleanup(cf_closep) int fd = cf_connect_unix_nonblock(c->path, &why);

	if (fd < 0)
		return cf_fail(err, CF_UNAVAILABLE, "grpc: %s", why.msg);
	int r = rpc_h2_session_new(&c->session, err);

	if (r == 0)
		c->fd = cf_take_fd(&fd);
	return r;
}

/* What came while nobody called: pings, a goodbye, the end. */
static void catch_up(struct rpc_grpc_client *c)
{
	int r = 1;

	for (int i = 0; r > 0 && i < IDLE_READS_MAX; i++)
		r = read_in(c, NULL);
	if (r < 0 || !rpc_h2_session_is_good(c->session))
		disconnect(c);
}

static int be_connected(struct rpc_grpc_client *c, struct cf_err *err)
{
	if (c->fd >= 0)
		catch_up(c);
	return c->fd >= 0 ? 0 : connect_now(c, err);
}

/* ---- one call ---- */

struct sink {
	const ProtobufCMessageDescriptor *type;
	bool (*item)(void *user, const ProtobufCMessage *msg); /* NULL: one message is awaited */
	void *user;
	ProtobufCMessage *one;
};

static int take_one(struct sink *k, struct cf_view v, struct cf_err *err)
{
	if (k->one)
		return cf_fail(err, CF_INTERNAL, "grpc: more than one answer message");
	return rpc_unpack(k->type, v.data, v.size, &k->one, err);
}

static int take_item(struct sink *k, struct cf_view v, struct cf_err *err)
{
	ProtobufCMessage *msg = NULL;
	int r = rpc_unpack(k->type, v.data, v.size, &msg, err);

	if (r < 0)
		return r;
	bool more = k->item(k->user, msg);

	protobuf_c_message_free_unpacked(msg, NULL);
	return more ? 0 : cf_fail(err, CF_CANCELLED, "ended by the caller");
}

static int deliver(struct rpc_grpc_client *c, struct rpc_h2_stream *st, struct sink *k,
                   struct cf_err *err)
{
	struct cf_view v;
	int r = 0;

	while (r == 0 && rpc_h2_msg_next(&st->in, &v))
		r = k->item ? take_item(k, v, err) : take_one(k, v, err);
	rpc_h2_session_used(c->session);
	return r;
}

static int pump(struct rpc_grpc_client *c, struct rpc_h2_stream *st, struct sink *k,
                struct cf_err *err)
{
	while (!st->is_over) {
		int r = send_out(c, err); /* may end the call too */

		if (r == 0 && !st->is_over)
			r = await(c, st->deadline_ms, err);
		if (r == 0 && !st->is_over)
			r = read_in(c, err);
		/* What the server failed with counts more than what came before it. */
		if (r >= 0 && (k->item || st->r == 0))
			r = deliver(c, st, k, err);
		if (r < 0)
			return r;
	}
	return rpc_h2_stream_outcome(st, err);
}

/*
 * Leaves the connection fit for the next call, or none. After a call that we broke off it is closed:
 * nobody reads an idle connection, and what the server still had under way would hold it up there.
 */
static void settle(struct rpc_grpc_client *c, const struct rpc_h2_stream *st)
{
	bool is_clean = st->is_closed && !c->is_lost;

	rpc_h2_session_end(c->session);
	if (send_out(c, NULL) < 0 || has_out(c) || c->is_mute || !is_clean ||
	    !rpc_h2_session_is_good(c->session))
		disconnect(c);
}

static int call_in_turn(struct rpc_grpc_client *c, const struct rpc_grpc_req *req,
                        struct rpc_h2_stream *st, struct sink *k, struct cf_err *err)
{
	int r = be_connected(c, err);

	if (r == 0)
		r = rpc_h2_session_start(c->session, req, st, err);
	if (r < 0)
		return r;
	r = pump(c, st, k, err);
	settle(c, st);
	return r;
}

static int64_t deadline_of(const struct rpc_grpc_req *req)
{
	int64_t now = cf_now_ms();

	if (req->timeout_ms <= 0 || req->timeout_ms > INT64_MAX - now)
		return INT64_MAX;
	return now + req->timeout_ms;
}

static int call(struct rpc_grpc_client *c, const struct rpc_grpc_req *req, struct sink *k,
                struct cf_err *err)
{
	cf_cleanup(rpc_h2_stream_fini) struct rpc_h2_stream st = { .body.max = RPC_H2_FRAMED_MAX,
		                                                   .deadline_ms =
		                                                           deadline_of(req) };

	rpc_h2_pack(req->msg, &st.body);
	int r = cf_buf_check(&st.body, "grpc: the request", err);

	if (r == 0)
		r = take_turn(c, st.deadline_ms, err);
	if (r < 0)
		return r;
	r = call_in_turn(c, req, &st, k, err);
	end_turn(c);
	return r;
}

int rpc_grpc_call(struct rpc_grpc_client *client, const struct rpc_grpc_req *req,
                  ProtobufCMessage **ret, struct cf_err *err)
{
	struct sink k = { .type = req->out };
	int r = call(client, req, &k, err);

	if (r == 0 && !k.one)
		r = cf_fail(err, CF_INTERNAL, "grpc: no answer message");
	if (r == 0 && ret)
		*ret = cf_take(&k.one);
	if (k.one)
		protobuf_c_message_free_unpacked(k.one, NULL);
	return r;
}

int rpc_grpc_call_stream(struct rpc_grpc_client *client, const struct rpc_grpc_req *req,
                         bool (*item)(void *user, const ProtobufCMessage *msg), void *user,
                         struct cf_err *err)
{
	struct sink k = { .type = req->out, .item = item, .user = user };

	return call(client, req, &k, err);
}

/* ---- life ---- */

int rpc_grpc_client_new(const char *path, struct rpc_grpc_client **ret, struct cf_err *err)
{
	struct rpc_grpc_client *c = cf_zalloc(sizeof(*c));

	(void)err;
	c->path = cf_strdup(path);
	c->fd = -1;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->turn, NULL);
	*ret = c;
	return 0;
}

struct rpc_grpc_client *rpc_grpc_client_free(struct rpc_grpc_client *client)
{
	if (!client)
		return NULL;
	disconnect(client);
	pthread_cond_destroy(&client->turn);
	pthread_mutex_destroy(&client->lock);
	free(client->path);
	free(client);
	return NULL;
}
