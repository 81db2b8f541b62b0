/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/blobcache/blob_serve.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/str.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OUT_MAX (BLOBCACHE_BODY_MAX + BLOBCACHE_HEAD_BYTES)

/* ---- shares ---- */

struct share {
	pthread_mutex_t *lock;
	struct share *next; /* the server's list */
	pid_t pid;
	int pidfd; /* -1: of one connection alone */
	unsigned conns;
	/* under the lock */
	uint64_t left; /* bytes it may still store */
	unsigned failed;
	uint64_t *stale, *over; /* the server's counters */
};

/* Also for what comes to nothing: the disk had the work. */
static int share_take(struct share *sh, uint64_t size, struct cf_err *err)
{
	pthread_mutex_lock(sh->lock);
	bool is_over = size > sh->left || sh->failed >= BLOB_SERVE_FAILED_MAX;

	if (is_over)
		++*sh->over;
	else
		sh->left -= size;
	pthread_mutex_unlock(sh->lock);
	return is_over ? cf_fail(err, CF_RESOURCE_EXHAUSTED, "this pod has stored its share") : 0;
}

static void share_give_back(struct share *sh, uint64_t size)
{
	pthread_mutex_lock(sh->lock);
	sh->left += size;
	pthread_mutex_unlock(sh->lock);
}

static void share_failed(struct share *sh, bool is_stale)
{
	pthread_mutex_lock(sh->lock);
	sh->failed++;
	*sh->stale += is_stale;
	pthread_mutex_unlock(sh->lock);
}

/* ---- requests ---- */

struct slot {
	struct blob_upload *up;
	uint32_t handle;
};

struct alone { /* a share without a server */
	struct share share;
	pthread_mutex_t lock;
	uint64_t stale, over;
};

struct blob_conn {
	struct blob_store *store;
	struct share *share; /* borrowed */
	struct alone alone;
	struct slot slots[BLOB_SERVE_UPLOADS_MAX];
	uint32_t next_handle;
};

static struct blob_conn *conn_new(struct blob_store *store, struct share *share)
{
	struct blob_conn *c = cf_zalloc(sizeof(*c));

	pthread_mutex_init(&c->alone.lock, NULL);
	c->store = store;
	c->share = share;
	c->next_handle = 1;
	return c;
}

struct blob_conn *blob_conn_new(const struct blob_serve_opts *opts)
{
	struct blob_conn *c = conn_new(opts->store, NULL);

	c->share = &c->alone.share;
	*c->share = (struct share){ .lock = &c->alone.lock,
		                    .left = opts->size_max / BLOB_SERVE_SHARE_PART,
		                    .stale = &c->alone.stale,
		                    .over = &c->alone.over };
	return c;
}

static void slot_clear(struct slot *s)
{
	s->up = blob_upload_free(s->up);
	s->handle = 0;
}

/* One that came to nothing. */
static void slot_fail(struct blob_conn *c, struct slot *s, bool is_stale)
{
	if (!s->up)
		return;
	slot_clear(s);
	share_failed(c->share, is_stale);
}

static void fail_all(struct blob_conn *c)
{
	for (size_t i = 0; i < BLOB_SERVE_UPLOADS_MAX; i++)
		slot_fail(c, &c->slots[i], false);
}

struct blob_conn *blob_conn_free(struct blob_conn *c)
{
	if (!c)
		return NULL;
	fail_all(c);
	pthread_mutex_destroy(&c->alone.lock);
	free(c);
	return NULL;
}

static int do_hello(struct blob_conn *c, const struct blobcache_request *q, struct cf_buf *body,
                    struct cf_err *err)
{
	(void)err;
	/* A client that begins anew has forgotten what it had under way. */
	fail_all(c);
	cf_buf_add(body, q->nonce, sizeof(q->nonce));
	cf_buf_add_u32be(body, BLOBCACHE_VERSION);
	cf_buf_add_u32be(body, BLOBCACHE_DATA_MAX);
	return 0;
}

static int do_stat(struct blob_conn *c, const struct blobcache_request *q, struct cf_buf *body,
                   struct cf_err *err)
{
	uint64_t size = 0;
	int r = blob_store_find(c->store, q->digest, &size, err);

	if (r == 0)
		cf_buf_add_u64be(body, size);
	return r;
}

static int do_read(struct blob_conn *c, const struct blobcache_request *q, struct cf_buf *body,
                   struct cf_err *err)
{
	uint8_t *to = cf_buf_reserve(body, q->length);
	size_t n = 0;

	if (q->length && !to)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "no memory");
	int r = blob_store_read(c->store, q->digest, q->offset, to, q->length, &n, err);

	if (r == 0)
		body->size += n;
	return r;
}

static bool drop_stale(struct blob_conn *c)
{
	int64_t now = cf_now_ms();
	bool has_uploads = false;

	for (size_t i = 0; i < BLOB_SERVE_UPLOADS_MAX; i++) {
		struct slot *s = &c->slots[i];

		if (s->up && blob_upload_is_stale(s->up, now))
			slot_fail(c, s, true);
		has_uploads |= s->up != NULL;
	}
	return has_uploads;
}

static struct slot *free_slot(struct blob_conn *c)
{
	(void)drop_stale(c);
	for (size_t i = 0; i < BLOB_SERVE_UPLOADS_MAX; i++)
		if (!c->slots[i].up)
			return &c->slots[i];
	return NULL;
}

static struct slot *find_slot(struct blob_conn *c, uint32_t handle, struct cf_err *err)
{
	for (size_t i = 0; i < BLOB_SERVE_UPLOADS_MAX; i++)
		if (c->slots[i].up && c->slots[i].handle == handle)
			return &c->slots[i];
	(void)!cf_fail(err, CF_NOT_FOUND, "no upload %u", handle);
	return NULL;
}

static int do_offer(struct blob_conn *c, const struct blobcache_request *q, struct cf_buf *body,
                    struct cf_err *err)
{
	struct slot *s = free_slot(c);

	if (!s)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "too many uploads at once");
	int r = share_take(c->share, q->offset, err);

	if (r < 0)
		return r;
	r = blob_upload_begin(c->store, q->digest, q->offset, &s->up, err);
	if (r < 0) {
		share_give_back(c->share, q->offset);
		return r;
	}
	s->handle = c->next_handle++;
	cf_buf_add_u32be(body, s->handle);
	return 0;
}

static int do_write(struct blob_conn *c, const struct blobcache_request *q, struct cf_buf *body,
                    struct cf_err *err)
{
	struct slot *s = find_slot(c, q->handle, err);

	(void)body;
	if (!s)
		return -CF_NOT_FOUND;
	int r = q->offset == blob_upload_offset(s->up)
	                ? blob_upload_write(s->up, q->data, err)
	                : cf_fail(err, CF_OUT_OF_RANGE, "upload %u: not the next byte", q->handle);

	if (r < 0)
		slot_fail(c, s, false);
	return r;
}

static int do_finish(struct blob_conn *c, const struct blobcache_request *q, struct cf_buf *body,
                     struct cf_err *err)
{
	struct slot *s = find_slot(c, q->handle, err);

	(void)body;
	if (!s)
		return -CF_NOT_FOUND;
	int r = blob_upload_finish(s->up, err);

	if (r < 0)
		slot_fail(c, s, false);
	else
		slot_clear(s);
	return r;
}

static int do_abort(struct blob_conn *c, const struct blobcache_request *q, struct cf_buf *body,
                    struct cf_err *err)
{
	struct slot *s = find_slot(c, q->handle, err);

	(void)body;
	if (!s)
		return -CF_NOT_FOUND;
	slot_fail(c, s, false);
	return 0;
}

static int answer(struct blob_conn *c, const struct blobcache_head *head, struct cf_view in,
                  struct cf_buf *body, struct cf_err *err)
{
	static int (*const table[])(struct blob_conn *, const struct blobcache_request *,
	                            struct cf_buf *, struct cf_err *) = {
		[BLOBCACHE_HELLO] = do_hello, [BLOBCACHE_STAT] = do_stat,
		[BLOBCACHE_READ] = do_read,   [BLOBCACHE_OFFER] = do_offer,
		[BLOBCACHE_WRITE] = do_write, [BLOBCACHE_FINISH] = do_finish,
		[BLOBCACHE_ABORT] = do_abort,
	};
	struct blobcache_request q;
	int r = blobcache_request_parse(head, in, &q, err);

	return r < 0 ? r : table[q.op](c, &q, body, err);
}

void blob_conn_answer(struct blob_conn *c, const struct blobcache_head *head, struct cf_view in,
                      struct cf_buf *out)
{
	cf_cleanup(cf_buf_fini) struct cf_buf body = { .max = BLOBCACHE_BODY_MAX };
	struct cf_err err;
	int r = answer(c, head, in, &body, &err);

	if (r < 0)
		cf_buf_reset(&body);
	struct blobcache_head reply = { .op = head->op,
		                        .is_reply = true,
		                        .status = r < 0 ? (uint8_t)-r : 0,
		                        .id = head->id,
		                        .size = (uint32_t)body.size };

	blobcache_head_put(&reply, out);
	cf_buf_add_view(out, cf_buf_view(&body));
}

/* ---- connections ---- */

struct peer {
	struct blob_serve *s;
	struct peer *next;
	struct share *share;
	int fd;
	struct blob_conn *conn;
	uint8_t *in; /* NULL while idle, as @out is empty then */
	struct cf_buf out;
};

struct blob_serve {
	struct blob_serve_opts opts;
	pthread_mutex_t lock; /* all below, and the shares */
	pthread_cond_t gone;
	struct peer *peers;
	struct share *shares;
	unsigned shares_count;
	struct blob_serve_stats stats; /* connections: threads */
};

/* Fills @to. False: the peer is gone, or too slow. */
static bool take(int fd, uint8_t *to, size_t size)
{
	int64_t until = cf_now_ms() + BLOB_SERVE_FRAME_MS;

	for (size_t at = 0; at < size;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int64_t left = until - cf_now_ms();

		if (left <= 0 || (poll(&p, 1, (int)left) < 0 && errno != EINTR))
			return false;
		ssize_t n = recv(fd, to + at, size - at, MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return false;
		at += n > 0 ? (size_t)n : 0;
	}
	return true;
}

static bool give(int fd, struct cf_view v)
{
	int64_t until = cf_now_ms() + BLOB_SERVE_FRAME_MS;

	while (v.size) {
		struct pollfd p = { .fd = fd, .events = POLLOUT };
		int64_t left = until - cf_now_ms();

		if (left <= 0 || (poll(&p, 1, (int)left) < 0 && errno != EINTR))
			return false;
		ssize_t n = send(fd, v.data, v.size, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		v = cf_view_sub(v, n > 0 ? (size_t)n : 0, v.size);
	}
	return true;
}

/* Until something comes. Most guests are idle most of their lives, and cost little then. */
static bool wait_begin(struct peer *p)
{
	for (;;) {
		struct pollfd fd = { .fd = p->fd, .events = POLLIN };
		bool has_uploads = drop_stale(p->conn);
		int r = poll(&fd, 1, has_uploads || p->in ? BLOB_SERVE_IDLE_MS : -1);

		if (r > 0)
			return true;
		if (r < 0 && errno != EINTR)
			return false;
		if (r == 0) {
			cf_buf_fini(&p->out);
			free(p->in);
			p->in = NULL;
		}
	}
}

static bool serve_one(struct peer *p)
{
	uint8_t raw[BLOBCACHE_HEAD_BYTES];
	struct blobcache_head head;
	struct cf_err err;

	if (!wait_begin(p) || !take(p->fd, raw, sizeof(raw)))
		return false;
	/* Not a frame, nor will anything behind it be found to be one. */
	if (blobcache_head_parse(cf_view(raw, sizeof(raw)), &head, &err) < 0)
		return false;
	if (!p->in)
		p->in = cf_zalloc(BLOBCACHE_BODY_MAX);
	if (!take(p->fd, p->in, head.size))
		return false;
	p->out.max = OUT_MAX;
	cf_buf_reset(&p->out);
	blob_conn_answer(p->conn, &head, cf_view(p->in, head.size), &p->out);
	return !p->out.bad && give(p->fd, cf_buf_view(&p->out));
}

/* Under the lock, as all of the shares' list. */
static bool is_alive(const struct share *sh)
{
	struct pollfd p = { .fd = sh->pidfd, .events = POLLIN };

	return sh->pidfd >= 0 && poll(&p, 1, 0) == 0;
}

/* Those of processes that have ended. */
static void forget_shares(struct blob_serve *s)
{
	for (struct share **at = &s->shares; *at;) {
		struct share *sh = *at;

		if (sh->conns || is_alive(sh)) {
			at = &sh->next;
			continue;
		}
		*at = sh->next;
		cf_close(&sh->pidfd);
		free(sh);
		s->shares_count--;
	}
}

/* 0: unknown, as from another PID namespace. */
static pid_t peer_pid(int fd)
{
	struct ucred uc = { 0 };
	socklen_t size = sizeof(uc);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &uc, &size) == 0 ? uc.pid : 0;
}

/* NULL: too many. */
static struct share *share_of(struct blob_serve *s, int fd)
{
	pid_t pid = peer_pid(fd);

	forget_shares(s);
	for (struct share *sh = s->shares; pid && sh; sh = sh->next)
		if (sh->pid == pid && is_alive(sh))
			return sh;
	if (s->shares_count >= BLOB_SERVE_SHARES_MAX)
		return NULL;
	struct share *sh = cf_zalloc(sizeof(*sh));

	*sh = (struct share){ .lock = &s->lock,
		              .next = s->shares,
		              .pid = pid,
		              .pidfd = pid ? (int)syscall(SYS_pidfd_open, pid, 0) : -1,
		              .left = s->opts.size_max / BLOB_SERVE_SHARE_PART,
		              .stale = &s->stats.stale,
		              .over = &s->stats.over_share };
	s->shares = sh;
	s->shares_count++;
	return sh;
}

static void forget(struct peer *p)
{
	struct blob_serve *s = p->s;

	pthread_mutex_lock(&s->lock);
	struct peer **at = &s->peers;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	p->share->conns--;
	cf_close(&p->fd);
	free(p);
	s->stats.connections--;
	pthread_cond_broadcast(&s->gone);
	pthread_mutex_unlock(&s->lock);
}

static void *peer_main(void *arg)
{
	struct peer *p = arg;

	while (serve_one(p))
		;
	p->conn = blob_conn_free(p->conn);
	cf_buf_fini(&p->out);
	free(p->in);
	forget(p);
	return NULL;
}

struct blob_serve *blob_serve_new(const struct blob_serve_opts *opts)
{
	struct blob_serve *s = cf_zalloc(sizeof(*s));

	s->opts = *opts;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->gone, NULL);
	return s;
}

static int start_thread(struct peer *p, struct cf_err *err)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int e = pthread_create(&t, &attr, peer_main, p);

	pthread_attr_destroy(&attr);
	return e == 0 ? 0 : cf_fail_errno(err, e, "thread for a connection");
}

/* Under the lock. */
static int start(struct blob_serve *s, struct peer *p, struct cf_err *err)
{
	if (s->stats.connections >= BLOB_SERVE_CONNS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%u connections already",
		               BLOB_SERVE_CONNS_MAX);
	p->share = share_of(s, p->fd);
	if (!p->share)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%u guests already",
		               BLOB_SERVE_SHARES_MAX);
	p->conn = conn_new(s->opts.store, p->share);
	int r = start_thread(p, err);

	if (r < 0) {
		p->conn = blob_conn_free(p->conn);
		return r;
	}
	p->share->conns++;
	p->next = s->peers;
	s->peers = p;
	s->stats.connections++;
	return 0;
}

int blob_serve_add(struct blob_serve *s, int fd_take, struct cf_err *err)
{
	struct peer *p = cf_zalloc(sizeof(*p));

	p->s = s;
	p->fd = fd_take;
	pthread_mutex_lock(&s->lock);
	int r = start(s, p, err);

	s->stats.turned_away += r < 0;
	pthread_mutex_unlock(&s->lock);
	if (r < 0) {
		cf_close(&p->fd);
		free(p);
	}
	return r;
}

void blob_serve_stats(struct blob_serve *s, struct blob_serve_stats *ret)
{
	pthread_mutex_lock(&s->lock);
	*ret = s->stats;
	pthread_mutex_unlock(&s->lock);
}

struct blob_serve *blob_serve_free(struct blob_serve *s)
{
	if (!s)
		return NULL;
	pthread_mutex_lock(&s->lock);
	for (struct peer *p = s->peers; p; p = p->next)
		shutdown(p->fd, SHUT_RDWR);
	while (s->stats.connections)
		pthread_cond_wait(&s->gone, &s->lock);
	while (s->shares) {
		struct share *sh = s->shares;

		s->shares = sh->next;
		cf_close(&sh->pidfd);
		free(sh);
	}
	pthread_mutex_unlock(&s->lock);
	pthread_cond_destroy(&s->gone);
	pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}
