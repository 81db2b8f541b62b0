/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/ttrpc_conn.h"

#include "base/fd.h"
#include "proto/vserial.h"

#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define READS_PER_EVENT 16           /* then others on the loop get their turn */
#define KEEP_BYTES      (256u << 10) /* a larger send buffer is given back when it runs empty */

bool ttrpc_conn_on_loop(const struct ttrpc_conn *c)
{
	return pthread_equal(pthread_self(), c->loop_thread);
}

void ttrpc_conn_ref(struct ttrpc_conn *c)
{
	atomic_fetch_add(&c->refs, 1);
}

void ttrpc_conn_unref(struct ttrpc_conn *c)
{
	unsigned before = atomic_fetch_sub(&c->refs, 1);

	assert(before > 0);
	if (before == 1)
		c->ops->destroy(c);
}

void ttrpc_conn_fini(struct ttrpc_conn *c)
{
	ttrpc_conn_close(c);
	ttrpc_reader_fini(&c->reader);
	cf_buf_fini(&c->writing);
	cf_buf_fini(&c->pending);
	pthread_cond_destroy(&c->room);
	pthread_mutex_destroy(&c->lock);
}

size_t ttrpc_conn_unsent_locked(const struct ttrpc_conn *c)
{
	return c->unsent + c->pending.size;
}

void ttrpc_conn_wake_locked(struct ttrpc_conn *c)
{
	uint64_t one = 1;

	if (c->is_woken || c->is_dead)
		return;
	c->is_woken = write(c->wake_fd, &one, sizeof(one)) == sizeof(one);
}

/* ---- sending, loop thread ---- */

/* When everything was sent: takes what waits. Returns whether there is something to send. */
static bool next_batch(struct ttrpc_conn *c)
{
	pthread_mutex_lock(&c->lock);
	if (c->written == c->writing.size) {
		if (c->writing.cap > KEEP_BYTES)
			cf_buf_fini(&c->writing);
		cf_buf_reset(&c->writing);
		struct cf_buf empty = c->writing;

		c->writing = c->pending;
		c->pending = empty;
		c->pending.max = TTRPC_OUT_MAX;
		c->written = 0;
	}
	c->unsent = c->writing.size - c->written;
	if (ttrpc_conn_unsent_locked(c) <= TTRPC_OUT_ROOM)
		pthread_cond_broadcast(&c->room);
	bool more = c->unsent > 0;

	pthread_mutex_unlock(&c->lock);
	return more;
}

static ssize_t write_some(struct ttrpc_conn *c)
{
	const uint8_t *from = c->writing.data + c->written;
	size_t size = c->writing.size - c->written;
	ssize_t n;

	do
		n = c->is_port ? write(c->fd, from, size)
		               : send(c->fd, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n;
}

/* Sends until the socket is full. Return: 0, or negative when the connection is broken. */
static int flush_out(struct ttrpc_conn *c, struct cf_err *err)
{
	while (next_batch(c)) {
		ssize_t n = write_some(c);

		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0)
			return cf_fail_errno(err, errno, "ttrpc: send");
		c->written += (size_t)n;
	}
	return 0;
}

/* ---- receiving, loop thread ---- */

static bool may_read(struct ttrpc_conn *c)
{
	pthread_mutex_lock(&c->lock);
	bool room = ttrpc_conn_unsent_locked(c) <= TTRPC_OUT_PAUSE;

	pthread_mutex_unlock(&c->lock);
	return room && c->ops->wants(c);
}

/* Hands out all whole frames that are buffered. False: paused or closed, frames may be left. */
static bool parse_frames(struct ttrpc_conn *c)
{
	struct ttrpc_frame f;

	while (!c->is_dead && may_read(c)) {
		int r = ttrpc_reader_next(&c->reader, &f);

		if (r == 0)
			return true;
		if (r == TTRPC_FRAME)
			c->ops->frame(c, &f);
		else if (c->ops->mark)
			c->ops->mark(c);
	}
	return false;
}

/* One read. 1: go on; 0: nothing there now; negative: the peer is gone. */
static int read_some(struct ttrpc_conn *c, struct cf_err *err)
{
	size_t size;
	uint8_t *room = ttrpc_reader_room(&c->reader, &size);
	ssize_t n;

	do
		n = c->is_port ? read(c->fd, room, size) : recv(c->fd, room, size, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n < 0)
		return cf_fail_errno(err, errno, "ttrpc: receive");
	if (n == 0)
		return cf_fail(err, CF_UNAVAILABLE, "ttrpc: the peer closed the connection");
	ttrpc_reader_added(&c->reader, (size_t)n);
	/* A port gives one of its buffers a read: a short one says nothing of what is behind it. */
	return c->is_port || (size_t)n == size ? 1 : 0;
}

static int receive(struct ttrpc_conn *c, struct cf_err *err)
{
	int r = 1;

	for (int i = 0; r == 1 && i < READS_PER_EVENT && parse_frames(c); i++)
		r = read_some(c, err);
	if (r < 0)
		return r;
	if (!c->is_dead)
		parse_frames(c);
	/* An edge comes once: what it announced and we did not read yet, we announce ourselves. */
	if (r == 1 && c->is_port)
		ttrpc_conn_resume(c);
	return 0;
}

/* ---- ports ---- */

int ttrpc_edge_new(int fd, struct cf_err *err)
{
	cf_cleanup(cf_closep) int edge = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLET };

	if (edge < 0 || epoll_ctl(edge, EPOLL_CTL_ADD, fd, &ev) < 0)
		return cf_fail_errno(err, errno, "epoll");
	return cf_take_fd(&edge);
}

void ttrpc_edge_clear(int edge_fd)
{
	struct epoll_event ev;

	(void)!epoll_wait(edge_fd, &ev, 1, 0);
}

static bool ends_in_mark(const struct ttrpc_conn *c)
{
	struct cf_view in = ttrpc_reader_pending(&c->reader);

	return in.size >= VSERIAL_MARK_BYTES &&
	       cf_view_eq_str(cf_view_sub(in, in.size - VSERIAL_MARK_BYTES, VSERIAL_MARK_BYTES),
	                      VSERIAL_MARK);
}

static void on_stale(void *arg)
{
	struct ttrpc_conn *c = arg;

	c->stale = cf_event_free(c->stale);
	if (!ends_in_mark(c))
		return;
	ttrpc_conn_ref(c);
	ttrpc_reader_skip(&c->reader, ttrpc_reader_pending(&c->reader).size);
	c->ops->mark(c);
	ttrpc_conn_unref(c);
}

/*
 * The host's process may die in the middle of a frame and its successor open the port before we
 * notice: then the successor's marks look like that frame's payload.
 */
static void watch_stale(struct ttrpc_conn *c)
{
	if (!c->is_port || c->is_dead || !c->ops->mark)
		return;
	if (!ends_in_mark(c))
		c->stale = cf_event_free(c->stale);
	else if (!c->stale)
		c->stale = cf_loop_timer(c->loop, VSERIAL_STALE_MS, false, on_stale, c);
}

/* ---- events ---- */

static void watch(struct ttrpc_conn *c)
{
	if (c->is_dead || !c->io || c->is_port)
		return;
	unsigned mask = (c->written < c->writing.size ? CF_LOOP_WRITE : 0u) |
	                (may_read(c) ? CF_LOOP_READ : 0u);

	if (mask != c->io_mask)
		cf_event_set(c->io, mask);
	c->io_mask = mask;
}

static void step(struct ttrpc_conn *c, bool readable)
{
	struct cf_err err;

	ttrpc_conn_ref(c); /* callbacks may let go of the connection */
	int r = flush_out(c, &err);

	if (r == 0 && !c->is_dead && readable)
		r = receive(c, &err);
	if (r == 0 && !c->is_dead)
		r = flush_out(c, &err);
	if (r < 0)
		ttrpc_conn_lose(c, &err);
	watch(c);
	watch_stale(c);
	ttrpc_conn_unref(c);
}

static void on_io(int fd, unsigned what, void *arg)
{
	struct ttrpc_conn *c = arg;

	(void)fd;
	if (c->is_port)
		ttrpc_edge_clear(c->edge_fd);
	step(c, what & CF_LOOP_READ);
}

static void on_wake(int fd, unsigned what, void *arg)
{
	struct ttrpc_conn *c = arg;
	uint64_t n;

	(void)what;
	ttrpc_conn_ref(c);
	pthread_mutex_lock(&c->lock);
	if (read(fd, &n, sizeof(n)) == sizeof(n))
		c->is_woken = false;
	pthread_mutex_unlock(&c->lock);
	c->ops->woken(c);
	/* Room may have come up: frames that were left in the buffer are due. */
	if (!c->is_dead)
		step(c, c->is_port || !(c->io_mask & CF_LOOP_READ));
	ttrpc_conn_unref(c);
}

void ttrpc_conn_resume(struct ttrpc_conn *c)
{
	pthread_mutex_lock(&c->lock);
	ttrpc_conn_wake_locked(c);
	pthread_mutex_unlock(&c->lock);
}

/* ---- life ---- */

int ttrpc_conn_init(struct ttrpc_conn *c, const struct ttrpc_conn_ops *ops, struct cf_loop *loop,
                    int fd_take, bool is_port, size_t payload_max, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = fd_take;
	cf_cleanup(cf_closep) int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	cf_cleanup(cf_closep) int edge = -1;

	if (wake < 0)
		return cf_fail_errno(err, errno, "eventfd");
	if (is_port) {
		edge = ttrpc_edge_new(fd, err);
		if (edge < 0)
			return edge;
	}
	c->is_port = is_port;
	c->edge_fd = cf_take_fd(&edge);
	c->ops = ops;
	c->loop = loop;
	c->fd = cf_take_fd(&fd);
	c->wake_fd = cf_take_fd(&wake);
	atomic_init(&c->loop_thread, pthread_self());
	atomic_init(&c->is_dead, false);
	atomic_init(&c->refs, 1);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->room, NULL);
	ttrpc_reader_init(&c->reader, payload_max);
	c->pending.max = TTRPC_OUT_MAX;
	return 0;
}

void ttrpc_conn_start(struct ttrpc_conn *c)
{
	c->io_mask = CF_LOOP_READ;
	c->io = cf_loop_fd(c->loop, c->is_port ? c->edge_fd : c->fd, c->io_mask, on_io, c);
	c->wake = cf_loop_fd(c->loop, c->wake_fd, CF_LOOP_READ, on_wake, c);
}

void ttrpc_conn_close(struct ttrpc_conn *c)
{
	pthread_mutex_lock(&c->lock);
	bool was_dead = atomic_exchange(&c->is_dead, true);

	pthread_cond_broadcast(&c->room);
	pthread_mutex_unlock(&c->lock);
	if (was_dead)
		return;
	c->io = cf_event_free(c->io);
	c->wake = cf_event_free(c->wake);
	c->stale = cf_event_free(c->stale);
	/* Nobody writes to wake_fd any more: is_dead is read under the same lock. */
	cf_close(&c->wake_fd);
	cf_close(&c->edge_fd);
	cf_close(&c->fd);
}

void ttrpc_conn_lose(struct ttrpc_conn *c, const struct cf_err *why)
{
	if (c->is_dead)
		return;
	ttrpc_conn_close(c);
	c->ops->lost(c, why);
}
