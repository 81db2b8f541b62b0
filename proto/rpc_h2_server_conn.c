/* SPDX-License-Identifier: Apache-2.0 */
/* One connection: its bytes in, its bytes out, its end. */
#include "base/fd.h"
#include "proto/rpc_h2_server_priv.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH_SIZE (16u << 10) /* frames are put together up to here before they are sent */
#define BATCH_MIN  512u        /* an answer of the usual size */

struct sconn *rpc_h2_sconn_new(struct rpc_grpc_server *srv, int fd_take,
                               const struct rpc_peer *peer)
{
	struct sconn *c = cf_zalloc(sizeof(*c));

	c->srv = srv;
	c->fd = fd_take;
	c->peer = *peer;
	c->ready_last = &c->ready;
	atomic_init(&c->refs, 1);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->room, NULL);
	return c;
}

void rpc_h2_sconn_ref(struct sconn *c)
{
	atomic_fetch_add(&c->refs, 1);
}

void rpc_h2_sconn_unref(struct sconn *c)
{
	if (atomic_fetch_sub(&c->refs, 1) > 1)
		return;
	cf_buf_fini(&c->out);
	pthread_cond_destroy(&c->room);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/* ---- bytes out ---- */

void rpc_h2_sconn_break_locked(struct sconn *c)
{
	/* The I/O thread reads the end. What the peer was sent before, it can still read. */
	if (!c->is_dead)
		shutdown(c->fd, SHUT_RDWR);
}

static void on_room_asked(void *arg)
{
	struct sconn *c = arg;

	pthread_mutex_lock(&c->lock);
	c->is_watch_asked = false;
	if (!c->is_dead)
		cf_event_set(c->ev, CF_LOOP_READ | CF_LOOP_WRITE);
	pthread_mutex_unlock(&c->lock);
	rpc_h2_sconn_unref(c);
}

static void ask_for_room(struct sconn *c)
{
	if (c->is_watch_asked)
		return;
	c->is_watch_asked = true;
	rpc_h2_sconn_ref(c);
	cf_loop_post(c->srv->io, on_room_asked, c);
}

/* True: all of .out is gone. */
static bool send_out(struct sconn *c)
{
	while (c->out.size) {
		ssize_t n = send(c->fd, c->out.data, c->out.size, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n >= 0) {
			cf_buf_consume(&c->out, (size_t)n);
		} else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			ask_for_room(c);
			return false;
		} else if (errno != EINTR) {
			rpc_h2_sconn_break_locked(c);
			return false;
		}
	}
	return true;
}

/* Frames into .out, up to about BATCH_SIZE. Negative: the session is broken. */
static ssize_t cut_frames(struct sconn *c)
{
	const uint8_t *frame;
	ssize_t n = 0;

	(void)cf_buf_reserve(&c->out, BATCH_MIN);
	while (c->out.size < BATCH_SIZE && (n = nghttp2_session_mem_send(c->session, &frame)) > 0)
		cf_buf_add(&c->out, frame, (size_t)n);
	return c->out.bad ? -1 : n;
}

static bool is_flooded(const struct sconn *c)
{
	return nghttp2_session_get_outbound_queue_size(c->session) > RPC_H2_FRAMES_MAX;
}

void rpc_h2_sconn_flush_locked(struct sconn *c)
{
	ssize_t n = 1; /* there may be more */

	if (c->is_dead || !c->session)
		return;
	while (send_out(c) && n > 0)
		n = cut_frames(c);
	if (c->out.size == 0)
		cf_buf_fini(&c->out);
	bool is_over = !nghttp2_session_want_read(c->session) &&
	               !nghttp2_session_want_write(c->session) && c->out.size == 0;

	if (n < 0 || is_over || is_flooded(c))
		rpc_h2_sconn_break_locked(c);
}

/* ---- bytes in; I/O thread ---- */

static bool feed_locked(struct sconn *c, struct cf_view bytes)
{
	if (!c->session && !rpc_h2_session_begin(c))
		return false;
	return nghttp2_session_mem_recv(c->session, bytes.data, bytes.size) >= 0;
}

static struct scall *take_ready_locked(struct sconn *c)
{
	struct scall *list = c->ready;

	c->ready = NULL;
	c->ready_last = &c->ready;
	return list;
}

/* Several frames to nghttp2, and only then to handlers: none of them runs under the lock. */
static bool feed(struct sconn *c, struct cf_view bytes)
{
	pthread_mutex_lock(&c->lock);
	bool ok = feed_locked(c, bytes);
	struct scall *list = take_ready_locked(c);

	rpc_h2_sconn_flush_locked(c);
	pthread_mutex_unlock(&c->lock);
	for (struct scall *call = list, *next; call; call = next) {
		next = call->next_ready;
		rpc_h2_scall_start(call);
	}
	return ok;
}

static bool on_readable(struct sconn *c)
{
	ssize_t n = recv(c->fd, c->srv->inbox, RPC_H2_READ_SIZE, MSG_DONTWAIT);

	if (n > 0)
		return feed(c, cf_view(c->srv->inbox, (size_t)n));
	return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

static void on_writable(struct sconn *c)
{
	pthread_mutex_lock(&c->lock);
	rpc_h2_sconn_flush_locked(c);
	if (c->out.size == 0)
		cf_event_set(c->ev, CF_LOOP_READ);
	pthread_mutex_unlock(&c->lock);
}

static void on_io(int fd, unsigned what, void *arg)
{
	struct sconn *c = arg;

	(void)fd;
	if (what & CF_LOOP_WRITE)
		on_writable(c);
	if (what & CF_LOOP_READ && !on_readable(c))
		rpc_h2_sconn_close(c);
}

/* ---- life; I/O thread ---- */

void rpc_h2_sconn_begin(struct sconn *c)
{
	struct rpc_grpc_server *srv = c->srv;

	c->next = srv->conns;
	c->link = &srv->conns;
	if (c->next)
		c->next->link = &c->next;
	srv->conns = c;
	c->ev = cf_loop_fd(srv->io, c->fd, CF_LOOP_READ, on_io, c);
}

void rpc_h2_sconn_drain(struct sconn *c)
{
	pthread_mutex_lock(&c->lock);
	if (!c->session)
		rpc_h2_sconn_break_locked(c);
	else if (nghttp2_submit_shutdown_notice(c->session) == 0)
		rpc_h2_sconn_flush_locked(c);
	pthread_mutex_unlock(&c->lock);
}

void rpc_h2_sconn_close(struct sconn *c)
{
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	c->ev = cf_event_free(c->ev);
	pthread_mutex_lock(&c->lock);
	rpc_h2_streams_lost(c);
	nghttp2_session_del(c->session);
	c->session = NULL;
	c->is_dead = true;
	cf_close(&c->fd);
	pthread_mutex_unlock(&c->lock);
	rpc_h2_sconn_unref(c);
}
