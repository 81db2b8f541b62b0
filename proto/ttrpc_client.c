/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "base/str.h"
#include "proto/ttrpc.h"
#include "proto/ttrpc_conn.h"

#include <assert.h>
#include <signal.h>
#include <sys/random.h>

#define FIRST_ID_MASK 0x00ffffffu /* leaves two thousand million ids */

/* One call in flight. Owned by whoever takes it out of the table: the loop, or a timed-out waiter. */
struct pend {
	uint32_t id;
	const ProtobufCMessageDescriptor *out;
	int64_t deadline_ms; /* INT64_MAX: none. Waiters watch their own, the loop those of others. */
	ttrpc_item *item;    /* streams */
	ttrpc_done *done;    /* async; NULL: somebody waits in ttrpc_call() */
	void *user;
	struct pend *next;

	/* for the waiter, under the lock */
	bool is_ended;
	bool is_busy; /* the loop runs .item for it just now */
	int r;
	ProtobufCMessage *msg;
	struct cf_err err;
};

struct ttrpc_client {
	struct ttrpc_conn conn; /* first */
	struct ttrpc_client_opts opts;
	size_t payload_max;
	struct cf_event *timer; /* loop thread: the nearest deadline of async calls */
	bool owns_loop;
	bool has_thread;
	pthread_t thread;

	/* under conn.lock */
	pthread_cond_t ended; /* a waited-for call ended */
	uint32_t next_id;
	struct pend *pends;
	struct cf_err why; /* the connection's end */
};

static struct ttrpc_client *client_of(struct ttrpc_conn *c)
{
	return (struct ttrpc_client *)c;
}

/* ---- the table, under the lock ---- */

static struct pend **find_locked(struct ttrpc_client *cl, uint32_t id)
{
	for (struct pend **p = &cl->pends; *p; p = &(*p)->next)
		if ((*p)->id == id)
			return p;
	return NULL;
}

static struct pend *take_locked(struct ttrpc_client *cl, uint32_t id)
{
	struct pend **link = find_locked(cl, id);
	struct pend *p = link ? *link : NULL;

	if (p)
		*link = p->next;
	return p;
}

/* ---- ends of calls, loop thread ---- */

/* @msg is handed on. @p is out of the table. */
static void end_call(struct ttrpc_client *cl, struct pend *p, int r, ProtobufCMessage *msg,
                     const struct cf_err *err)
{
	if (p->done) {
		p->done(p->user, r, msg, r < 0 ? err : NULL);
		free(p);
		return;
	}
	pthread_mutex_lock(&cl->conn.lock);
	p->r = r;
	p->msg = msg;
	if (r < 0)
		p->err = *err;
	p->is_ended = true;
	pthread_cond_broadcast(&cl->ended);
	pthread_mutex_unlock(&cl->conn.lock);
}

static void end_by_id(struct ttrpc_client *cl, uint32_t id, int r, ProtobufCMessage *msg,
                      const struct cf_err *err)
{
	pthread_mutex_lock(&cl->conn.lock);
	struct pend *p = take_locked(cl, id);

	pthread_mutex_unlock(&cl->conn.lock);
	if (p)
		end_call(cl, p, r, msg, err);
	else if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
}

static void end_all(struct ttrpc_client *cl, const struct cf_err *why)
{
	for (;;) {
		pthread_mutex_lock(&cl->conn.lock);
		struct pend *p = cl->pends;

		if (p)
			cl->pends = p->next;
		pthread_mutex_unlock(&cl->conn.lock);
		if (!p)
			return;
		end_call(cl, p, -(int)why->code, NULL, why);
	}
}

/* ---- frames, loop thread ---- */

struct found {
	bool is_there;
	const ProtobufCMessageDescriptor *out;
	ttrpc_item *item;
	void *user;
};

static struct found look_up(struct ttrpc_client *cl, uint32_t id)
{
	struct found f = { 0 };

	pthread_mutex_lock(&cl->conn.lock);
	struct pend **link = find_locked(cl, id);

	if (link) {
		f = (struct found){ true, (*link)->out, (*link)->item, (*link)->user };
		(*link)->is_busy = true;
	}
	pthread_mutex_unlock(&cl->conn.lock);
	return f;
}

static void look_away(struct ttrpc_client *cl, uint32_t id)
{
	pthread_mutex_lock(&cl->conn.lock);
	struct pend **link = find_locked(cl, id);

	if (link)
		(*link)->is_busy = false;
	pthread_cond_broadcast(&cl->ended);
	pthread_mutex_unlock(&cl->conn.lock);
}

static int deliver(const struct found *f, struct cf_view payload, struct cf_err *err)
{
	ProtobufCMessage *msg = NULL;
	int r = rpc_unpack(f->out, payload.data, payload.size, &msg, err);

	if (r < 0)
		return r;
	f->item(f->user, msg);
	protobuf_c_message_free_unpacked(msg, NULL);
	return 0;
}

static int refused(const struct ttrpc_response *res, struct cf_err *err)
{
	enum cf_code code = res->code > 0 && res->code <= CF_UNAUTHENTICATED
	                            ? (enum cf_code)res->code
	                            : CF_UNKNOWN;

	return cf_fail(err, code, "%.*s", (int)CF_MIN(res->text.size, sizeof(err->msg)),
	               (const char *)res->text.data);
}

static void on_response(struct ttrpc_client *cl, const struct found *f,
                        const struct ttrpc_frame *frame)
{
	struct ttrpc_response res;
	ProtobufCMessage *msg = NULL;
	struct cf_err err;
	int r = ttrpc_response_parse(frame->payload, &res, &err);

	if (r == 0 && res.code != 0)
		r = refused(&res, &err);
	if (r == 0 && !f->item)
		r = rpc_unpack(f->out, res.payload.data, res.payload.size, &msg, &err);
	else if (r == 0 && res.payload.size)
		r = deliver(f, res.payload, &err);
	end_by_id(cl, frame->stream_id, r, msg, &err);
}

static void on_data(struct ttrpc_client *cl, const struct found *f, const struct ttrpc_frame *frame)
{
	struct cf_err err;
	int r = 0;

	if (!f->item)
		r = cf_fail(&err, CF_INTERNAL, "ttrpc: stream data for a call that is none");
	else if (frame->payload.size || !(frame->flags & TTRPC_F_NO_DATA))
		r = deliver(f, frame->payload, &err);
	if (r < 0 || (frame->flags & TTRPC_F_REMOTE_CLOSED))
		end_by_id(cl, frame->stream_id, r, NULL, &err);
}

static void on_frame(struct ttrpc_conn *c, const struct ttrpc_frame *frame)
{
	struct ttrpc_client *cl = client_of(c);
	struct cf_err err;

	if (frame->type != TTRPC_RESPONSE && frame->type != TTRPC_DATA)
		return;
	/* Calls that timed out here get their late answers: nobody waits, nothing is done. */
	struct found f = look_up(cl, frame->stream_id);

	if (!f.is_there)
		return;
	if (frame->is_oversize) {
		int r = cf_fail(&err, CF_RESOURCE_EXHAUSTED, "ttrpc: the answer is too large");

		end_by_id(cl, frame->stream_id, r, NULL, &err);
	} else if (frame->type == TTRPC_RESPONSE) {
		on_response(cl, &f, frame);
	} else {
		on_data(cl, &f, frame);
	}
	look_away(cl, frame->stream_id);
}

/* ---- deadlines of async calls, loop thread ---- */

static void on_timer(void *arg);

/* Ends what is overdue and aims the timer at the next. */
static void check_deadlines(struct ttrpc_client *cl)
{
	int64_t now = cf_now_ms(), next = INT64_MAX;
	struct pend *late = NULL;

	pthread_mutex_lock(&cl->conn.lock);
	for (struct pend **link = &cl->pends; *link;) {
		struct pend *p = *link;

		if (p->done && p->deadline_ms <= now) {
			*link = p->next;
			p->next = late;
			late = p;
			continue;
		}
		if (p->done)
			next = CF_MIN(next, p->deadline_ms);
		link = &p->next;
	}
	pthread_mutex_unlock(&cl->conn.lock);
	if (next == INT64_MAX)
		cl->timer = cf_event_free(cl->timer);
	else if (cl->timer)
		cf_event_rearm(cl->timer, next - now);
	else
		cl->timer = cf_loop_timer(cl->conn.loop, next - now, false, on_timer, cl);
	while (late) {
		struct pend *p = late;
		struct cf_err err;
		int r = cf_fail(&err, CF_DEADLINE_EXCEEDED, "no answer in time");

		late = p->next;
		end_call(cl, p, r, NULL, &err);
	}
}

static void on_timer(void *arg)
{
	check_deadlines(arg);
}

static void on_woken(struct ttrpc_conn *c)
{
	check_deadlines(client_of(c));
}

static bool conn_wants(struct ttrpc_conn *c)
{
	(void)c;
	return true;
}

static void on_lost(struct ttrpc_conn *c, const struct cf_err *why)
{
	struct ttrpc_client *cl = client_of(c);

	pthread_mutex_lock(&c->lock);
	cl->why = *why;
	cl->why.code = CF_UNAVAILABLE;
	pthread_mutex_unlock(&c->lock);
	cl->timer = cf_event_free(cl->timer);
	end_all(cl, &cl->why);
	if (cl->opts.lost)
		cl->opts.lost(cl->opts.user, &cl->why);
}

static void conn_destroy(struct ttrpc_conn *c)
{
	struct ttrpc_client *cl = client_of(c);

	ttrpc_conn_fini(c);
	pthread_cond_destroy(&cl->ended);
	if (cl->owns_loop)
		cf_loop_free(c->loop);
	free(cl);
}

static const struct ttrpc_conn_ops conn_ops = {
	.frame = on_frame,
	.woken = on_woken,
	.wants = conn_wants,
	.lost = on_lost,
	.destroy = conn_destroy,
};

/* ---- calls, any thread ---- */

static int64_t deadline_of(const struct ttrpc_req *req)
{
	return req->timeout_ms > 0 ? cf_now_ms() + req->timeout_ms : INT64_MAX;
}

static int lost_err(const struct ttrpc_client *cl, struct cf_err *err)
{
	return cf_fail(err, CF_UNAVAILABLE, "%s",
	               cl->why.msg[0] ? cl->why.msg : "ttrpc: the connection is closed");
}

/* Sends the request and enters @p into the table; ids go out in order, hence both in one lock. */
static int submit_locked(struct ttrpc_client *cl, const struct ttrpc_req *req, struct pend *p,
                         struct cf_err *err)
{
	if (cl->conn.is_dead)
		return lost_err(cl, err);
	if (cl->next_id > UINT32_MAX - 2)
		return cf_fail(err, CF_UNAVAILABLE, "ttrpc: stream ids are used up");
	int64_t timeout_ns = CF_MIN(req->timeout_ms, INT64_MAX / 1000000) * 1000000;
	uint8_t flags = p->item ? TTRPC_F_REMOTE_CLOSED : 0;
	int r = ttrpc_put_request(&cl->conn.pending, cl->next_id, flags, req->service, req->method,
	                          req->msg, timeout_ns, req->meta, req->meta_count, cl->payload_max,
	                          err);

	if (r < 0)
		return r;
	p->id = cl->next_id;
	p->out = req->out;
	p->deadline_ms = deadline_of(req);
	cl->next_id += 2;
	p->next = cl->pends;
	cl->pends = p;
	ttrpc_conn_wake_locked(&cl->conn);
	return 0;
}

static int start(struct ttrpc_client *cl, const struct ttrpc_req *req, ttrpc_item *item,
                 ttrpc_done *done, void *user, struct cf_err *err)
{
	struct pend *p = cf_zalloc(sizeof(*p));

	p->item = item;
	p->done = done;
	p->user = user;
	pthread_mutex_lock(&cl->conn.lock);
	int r = ttrpc_conn_unsent_locked(&cl->conn) > TTRPC_OUT_PAUSE
	                ? cf_fail(err, CF_RESOURCE_EXHAUSTED, "ttrpc: the peer does not read")
	                : submit_locked(cl, req, p, err);

	pthread_mutex_unlock(&cl->conn.lock);
	if (r < 0)
		free(p);
	return r;
}

int ttrpc_start(struct ttrpc_client *client, const struct ttrpc_req *req, ttrpc_done *done,
                void *user, struct cf_err *err)
{
	return start(client, req, NULL, done, user, err);
}

int ttrpc_start_stream(struct ttrpc_client *client, const struct ttrpc_req *req, ttrpc_item *item,
                       ttrpc_done *done, void *user, struct cf_err *err)
{
	return start(client, req, item, done, user, err);
}

static int wait_for_room_locked(struct ttrpc_client *cl, int64_t deadline_ms, struct cf_err *err)
{
	while (!cl->conn.is_dead && ttrpc_conn_unsent_locked(&cl->conn) > TTRPC_OUT_ROOM)
		if (!cf_cond_wait_until(&cl->conn.room, &cl->conn.lock, deadline_ms))
			return cf_fail(err, CF_DEADLINE_EXCEEDED, "ttrpc: the peer does not read");
	return 0;
}

static void wait_for_end_locked(struct ttrpc_client *cl, struct pend *p, struct cf_err *err)
{
	while (!p->is_ended) {
		if (cf_cond_wait_until(&cl->ended, &cl->conn.lock, p->deadline_ms))
			continue;
		/* Still in the table: ours to take, unless the loop is in our .item just now. */
		if (!p->is_busy && take_locked(cl, p->id)) {
			p->r = cf_fail(err, CF_DEADLINE_EXCEEDED, "no answer in time");
			return;
		}
		pthread_cond_wait(&cl->ended, &cl->conn.lock);
	}
	if (p->r < 0 && err)
		*err = p->err;
}

static int call_and_wait(struct ttrpc_client *cl, const struct ttrpc_req *req, ttrpc_item *item,
                         void *user, ProtobufCMessage **ret, struct cf_err *err)
{
	struct pend p = { .item = item, .user = user };

	if (ttrpc_conn_on_loop(&cl->conn))
		return cf_fail(err, CF_FAILED_PRECONDITION,
		               "ttrpc: a blocking call on the loop's own thread");
	pthread_mutex_lock(&cl->conn.lock);
	int r = wait_for_room_locked(cl, deadline_of(req), err);

	if (r == 0)
		r = submit_locked(cl, req, &p, err);
	if (r == 0) {
		wait_for_end_locked(cl, &p, err);
		r = p.r;
	}
	pthread_mutex_unlock(&cl->conn.lock);
	if (r == 0 && ret)
		*ret = cf_take(&p.msg);
	if (p.msg)
		protobuf_c_message_free_unpacked(p.msg, NULL);
	return r;
}

int ttrpc_call(struct ttrpc_client *client, const struct ttrpc_req *req, ProtobufCMessage **ret,
               struct cf_err *err)
{
	return call_and_wait(client, req, NULL, NULL, ret, err);
}

int ttrpc_call_stream(struct ttrpc_client *client, const struct ttrpc_req *req, ttrpc_item *item,
                      void *user, struct cf_err *err)
{
	return call_and_wait(client, req, item, user, NULL, err);
}

/* ---- life ---- */

static void *thread_main(void *arg)
{
	struct ttrpc_client *cl = arg;

	cf_loop_run(cl->conn.loop);
	return NULL;
}

static int start_thread(struct ttrpc_client *cl, struct cf_err *err)
{
	sigset_t all, old;

	/* Signals are the program's business, not this thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int e = pthread_create(&cl->thread, NULL, thread_main, cl);

	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (e != 0)
		return cf_fail_errno(err, e, "ttrpc: client thread");
	cl->conn.loop_thread = cl->thread;
	cl->has_thread = true;
	return 0;
}

/*
 * Odd, and hardly the same twice: over virtio-serial an answer to our predecessor may still be on
 * its way, and must not fit one of our calls.
 */
static uint32_t first_id(void)
{
	uint32_t n = 0;

	if (getrandom(&n, sizeof(n), GRND_NONBLOCK) != sizeof(n))
		n = (uint32_t)cf_now_ms();
	return (n & FIRST_ID_MASK) | 1;
}

int ttrpc_client_new(const struct ttrpc_client_opts *opts, int fd_take, struct ttrpc_client **ret,
                     struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = fd_take;
	struct cf_loop *loop = opts->loop;
	int r = loop ? 0 : cf_loop_new(&loop, err);

	if (r < 0)
		return r;
	struct ttrpc_client *cl = cf_zalloc(sizeof(*cl));
	size_t max = opts->payload_max;

	cl->opts = *opts;
	cl->owns_loop = !opts->loop;
	cl->next_id = first_id();
	cl->payload_max = max && max < TTRPC_PAYLOAD_MAX ? max : TTRPC_PAYLOAD_MAX;
	r = ttrpc_conn_init(&cl->conn, &conn_ops, loop, cf_take_fd(&fd), false, cl->payload_max,
	                    err);
	if (r < 0) {
		if (cl->owns_loop)
			cf_loop_free(loop);
		free(cl);
		return r;
	}
	/* A guest answers each repeated mark: those come before its first frame. */
	cl->conn.reader.has_marks = true;
	pthread_cond_init(&cl->ended, NULL);
	ttrpc_conn_start(&cl->conn);
	if (cl->owns_loop)
		r = start_thread(cl, err);
	if (r < 0) {
		ttrpc_client_free(cl);
		return r;
	}
	*ret = cl;
	return 0;
}

int ttrpc_client_dial(const char *address, int64_t timeout_ms, const struct ttrpc_client_opts *opts,
                      struct ttrpc_client **ret, struct cf_err *err)
{
	int fd = ttrpc_dial_fd(address, timeout_ms, err);

	return fd < 0 ? fd : ttrpc_client_new(opts, fd, ret, err);
}

static void stop_loop(void *arg)
{
	cf_loop_stop(arg);
}

struct ttrpc_client *ttrpc_client_free(struct ttrpc_client *client)
{
	struct cf_err why;

	if (!client)
		return NULL;
	if (client->has_thread) {
		cf_loop_post(client->conn.loop, stop_loop, client->conn.loop);
		pthread_join(client->thread, NULL);
	}
	ttrpc_conn_close(&client->conn);
	client->timer = cf_event_free(client->timer);
	(void)!cf_fail(&why, CF_CANCELLED, "ttrpc: the client was closed");
	end_all(client, &why);
	ttrpc_conn_unref(&client->conn);
	return NULL;
}
