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
#include <unistd.h>

#define OUT_MAX (BLOBCACHE_BODY_MAX + BLOBCACHE_HEAD_BYTES)

/* ---- requests ---- */

struct slot {
	struct blob_upload *up;
	uint32_t handle;
	int64_t touched_ms;
};

struct blob_conn {
	struct blob_store *store;
	uint64_t budget; /* bytes it may still store */
	struct slot slots[BLOB_SERVE_UPLOADS_MAX];
	uint32_t next_handle;
	/* The blob that was read last stays open: reads come in long rows. */
	char digest[BLOBCACHE_DIGEST + 1];
	int fd;
	uint64_t size;
};

struct blob_conn *blob_conn_new(const struct blob_serve_opts *opts)
{
	struct blob_conn *c = cf_zalloc(sizeof(*c));

	c->store = opts->store;
	c->budget = opts->size_max / BLOB_SERVE_BUDGET_PART;
	c->fd = -1;
	c->next_handle = 1;
	return c;
}

static void slot_clear(struct slot *s)
{
	s->up = blob_upload_free(s->up);
	s->handle = 0;
}

struct blob_conn *blob_conn_free(struct blob_conn *c)
{
	if (!c)
		return NULL;
	for (size_t i = 0; i < BLOB_SERVE_UPLOADS_MAX; i++)
		slot_clear(&c->slots[i]);
	cf_close(&c->fd);
	free(c);
	return NULL;
}

static int open_blob(struct blob_conn *c, const char *digest, struct cf_err *err)
{
	if (c->fd >= 0 && cf_streq(c->digest, digest))
		return 0;
	cf_close(&c->fd);
	int r = blob_store_get(c->store, digest, &c->fd, &c->size, err);

	if (r == 0)
		memcpy(c->digest, digest, sizeof(c->digest));
	return r;
}

static int do_hello(struct blob_conn *c, const struct blobcache_request *q, struct cf_buf *body,
                    struct cf_err *err)
{
	(void)err;
	/* A client that begins anew has forgotten what it had under way. */
	for (size_t i = 0; i < BLOB_SERVE_UPLOADS_MAX; i++)
		slot_clear(&c->slots[i]);
	cf_buf_add(body, q->nonce, sizeof(q->nonce));
	cf_buf_add_u32be(body, BLOBCACHE_VERSION);
	cf_buf_add_u32be(body, BLOBCACHE_DATA_MAX);
	return 0;
}

static int do_stat(struct blob_conn *c, const struct blobcache_request *q, struct cf_buf *body,
                   struct cf_err *err)
{
	int r = open_blob(c, q->digest, err);

	if (r == 0)
		cf_buf_add_u64be(body, c->size);
	return r;
}

static int do_read(struct blob_conn *c, const struct blobcache_request *q, struct cf_buf *body,
                   struct cf_err *err)
{
	int r = open_blob(c, q->digest, err);

	if (r < 0)
		return r;
	uint64_t left = q->offset < c->size ? c->size - q->offset : 0;
	size_t n = q->length < left ? q->length : (size_t)left;
	uint8_t *to = cf_buf_reserve(body, n);

	if (n && !to)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "no memory");
	r = n ? cf_pread_full(c->fd, to, n, (off_t)q->offset, err) : 0;
	if (r == 0)
		body->size += n;
	return r;
}

static void drop_stale(struct blob_conn *c)
{
	int64_t now = cf_now_ms();

	for (size_t i = 0; i < BLOB_SERVE_UPLOADS_MAX; i++)
		if (c->slots[i].up && now - c->slots[i].touched_ms > BLOB_SERVE_UPLOAD_MS)
			slot_clear(&c->slots[i]);
}

static struct slot *free_slot(struct blob_conn *c)
{
	drop_stale(c);
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
	if (q->offset > c->budget)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "this pod has stored its share");
	int r = blob_upload_begin(c->store, q->digest, q->offset, &s->up, err);

	if (r < 0)
		return r;
	c->budget -= q->offset; /* also when it comes to nothing: the disk had the work */
	s->handle = c->next_handle++;
	s->touched_ms = cf_now_ms();
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

	s->touched_ms = cf_now_ms();
	if (r < 0)
		slot_clear(s);
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
	slot_clear(s);
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
	int fd;
	struct blob_conn *conn;
};

struct blob_serve {
	struct blob_serve_opts opts;
	pthread_mutex_t lock;
	pthread_cond_t gone;
	struct peer *peers; /* under the lock */
	unsigned count;     /* threads; under the lock */
};

/* Fills @to. @timeout_ms < 0: as long as it takes. False: the peer is gone, or too slow. */
static bool take(int fd, uint8_t *to, size_t size, int64_t timeout_ms)
{
	int64_t until = timeout_ms < 0 ? -1 : cf_now_ms() + timeout_ms;

	for (size_t at = 0; at < size;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int64_t left = until < 0 ? -1 : until - cf_now_ms();

		if (until >= 0 && left <= 0)
			return false;
		if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
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

static bool serve_one(struct peer *p, uint8_t *in, struct cf_buf *out)
{
	struct blobcache_head head;
	struct cf_err err;

	if (!take(p->fd, in, 1, -1) ||
	    !take(p->fd, in + 1, BLOBCACHE_HEAD_BYTES - 1, BLOB_SERVE_FRAME_MS))
		return false;
	/* Not a frame, nor will anything behind it be found to be one. */
	if (blobcache_head_parse(cf_view(in, BLOBCACHE_HEAD_BYTES), &head, &err) < 0)
		return false;
	if (!take(p->fd, in, head.size, BLOB_SERVE_FRAME_MS))
		return false;
	cf_buf_reset(out);
	blob_conn_answer(p->conn, &head, cf_view(in, head.size), out);
	return !out->bad && give(p->fd, cf_buf_view(out));
}

static void forget(struct peer *p)
{
	struct blob_serve *s = p->s;

	pthread_mutex_lock(&s->lock);
	struct peer **at = &s->peers;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	cf_close(&p->fd);
	free(p);
	s->count--;
	pthread_cond_broadcast(&s->gone);
	pthread_mutex_unlock(&s->lock);
}

static void *peer_main(void *arg)
{
	struct peer *p = arg;
	cf_cleanup(cf_freep) uint8_t *in = cf_zalloc(BLOBCACHE_BODY_MAX);
	cf_cleanup(cf_buf_fini) struct cf_buf out = { .max = OUT_MAX };

	while (serve_one(p, in, &out))
		;
	p->conn = blob_conn_free(p->conn);
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

/* Under the lock. */
static int start(struct blob_serve *s, struct peer *p, struct cf_err *err)
{
	pthread_attr_t attr;
	pthread_t t;

	if (s->count >= BLOB_SERVE_CONNS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%u connections already", s->count);
	p->conn = blob_conn_new(&s->opts);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int e = pthread_create(&t, &attr, peer_main, p);

	pthread_attr_destroy(&attr);
	if (e != 0) {
		p->conn = blob_conn_free(p->conn);
		return cf_fail_errno(err, e, "thread for a connection");
	}
	p->next = s->peers;
	s->peers = p;
	s->count++;
	return 0;
}

int blob_serve_add(struct blob_serve *s, int fd_take, struct cf_err *err)
{
	struct peer *p = cf_zalloc(sizeof(*p));

	p->s = s;
	p->fd = fd_take;
	pthread_mutex_lock(&s->lock);
	int r = start(s, p, err);

	pthread_mutex_unlock(&s->lock);
	if (r < 0) {
		cf_close(&p->fd);
		free(p);
	}
	return r;
}

unsigned blob_serve_conns(struct blob_serve *s)
{
	pthread_mutex_lock(&s->lock);
	unsigned n = s->count;

	pthread_mutex_unlock(&s->lock);
	return n;
}

struct blob_serve *blob_serve_free(struct blob_serve *s)
{
	if (!s)
		return NULL;
	pthread_mutex_lock(&s->lock);
	for (struct peer *p = s->peers; p; p = p->next)
		shutdown(p->fd, SHUT_RDWR);
	while (s->count)
		pthread_cond_wait(&s->gone, &s->lock);
	pthread_mutex_unlock(&s->lock);
	pthread_cond_destroy(&s->gone);
	pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}
