/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-imaged/blob_cache.h"

#include "base/crypto.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/str.h"
#include "proto/blobcache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define PORTS       "/sys/class/virtio-ports"
#define FRAME_MAX   (BLOBCACHE_HEAD_BYTES + BLOBCACHE_BODY_MAX)
#define HELLO_BODY  (BLOBCACHE_NONCE + 8u)
#define HELLO_BYTES (BLOBCACHE_HEAD_BYTES + HELLO_BODY)

struct blob_cache {
	char *path;
	bool is_plain_offered;
	pthread_mutex_t lock; /* all below: one exchange at a time */
	int fd;               /* -1: not open */
	int64_t retry_ms;     /* not before */
	uint32_t next_id;
	struct cf_buf frame;
};

/* Time that one blob has made us wait for the cache, which is judged by it. */
struct patience {
	int64_t waited_ms;
	uint64_t bytes;
};

/* ---- life ---- */

struct blob_cache *blob_cache_new(const char *path, bool is_plain_offered)
{
	struct blob_cache *c = cf_zalloc(sizeof(*c));

	c->path = cf_strdup(path);
	c->is_plain_offered = is_plain_offered;
	c->fd = -1;
	c->frame.max = FRAME_MAX;
	pthread_mutex_init(&c->lock, NULL);
	return c;
}

struct blob_cache *blob_cache_free(struct blob_cache *c)
{
	if (!c)
		return NULL;
	cf_close(&c->fd);
	cf_buf_fini(&c->frame);
	pthread_mutex_destroy(&c->lock);
	free(c->path);
	free(c);
	return NULL;
}

static bool is_our_port(const char *port)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf(PORTS "/%s/name", port);
	cf_cleanup(cf_buf_fini) struct cf_buf name = { 0 };
	struct cf_err err;

	return port[0] != '.' && cf_read_file(path, 256, &name, &err) == 0 &&
	       cf_view_eq_str(cf_buf_view(&name), BLOBCACHE_PORT "\n");
}

char *blob_cache_path(void)
{
	const char *given = getenv("COFFER_BLOB_CACHE");
	char *found = NULL;

	if (given)
		return given[0] ? cf_strdup(given) : NULL;
	DIR *dir = opendir(PORTS);

	if (!dir)
		return NULL;
	for (struct dirent *e; !found && (e = readdir(dir));)
		if (is_our_port(e->d_name))
			found = cf_asprintf("/dev/%s", e->d_name);
	closedir(dir);
	return found;
}

/* ---- bytes; under the lock ---- */

/* Ready for @events before @until_ms. */
static bool wait_for(int fd, short events, int64_t until_ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int64_t left = until_ms - cf_now_ms();

	return left > 0 && poll(&p, 1, (int)left) > 0 && (p.revents & events);
}

static bool is_again(ssize_t n)
{
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static bool send_all(int fd, struct cf_view v, int64_t until_ms)
{
	while (v.size) {
		ssize_t n = write(fd, v.data, v.size);

		if (n == 0 || (n < 0 && !is_again(n)))
			return false;
		if (n < 0 && !wait_for(fd, POLLOUT, until_ms))
			return false;
		v = cf_view_sub(v, n > 0 ? (size_t)n : 0, v.size);
	}
	return true;
}

static bool receive(int fd, uint8_t *to, size_t size, int64_t until_ms)
{
	for (size_t at = 0; at < size;) {
		ssize_t n = read(fd, to + at, size - at);

		if (n == 0 || (n < 0 && !is_again(n)))
			return false;
		if (n < 0 && !wait_for(fd, POLLIN, until_ms))
			return false;
		at += n > 0 ? (size_t)n : 0;
	}
	return true;
}

static void give_up(struct blob_cache *c)
{
	cf_close(&c->fd);
	c->retry_ms = cf_now_ms() + BLOB_CACHE_RETRY_MS;
}

/* At the beginning of @v, which is long enough. */
static bool is_hello(struct cf_view v, uint32_t id, const uint8_t *nonce)
{
	struct cf_view body = cf_view_sub(v, BLOBCACHE_HEAD_BYTES, HELLO_BODY);
	struct blobcache_head h;
	struct cf_err err;

	return blobcache_head_parse(cf_view_sub(v, 0, BLOBCACHE_HEAD_BYTES), &h, &err) == 0 &&
	       h.is_reply && h.op == BLOBCACHE_HELLO && h.status == 0 && h.id == id &&
	       h.size == HELLO_BODY && memcmp(body.data, nonce, BLOBCACHE_NONCE) == 0;
}

/* A port's stream may still hold what an earlier session was sent: skipped, up to our own answer. */
static bool find_hello(int fd, uint32_t id, const uint8_t *nonce, int64_t until_ms)
{
	uint8_t w[4096];
	size_t have = 0, at = 0;

	for (size_t skipped = 0; skipped < BLOB_CACHE_RESYNC_MAX; skipped += at) {
		ssize_t n = read(fd, w + have, sizeof(w) - have);

		if (n == 0 || (n < 0 && !is_again(n)) || cf_now_ms() > until_ms)
			return false;
		if (n < 0 && !wait_for(fd, POLLIN, until_ms))
			return false;
		have += n > 0 ? (size_t)n : 0;
		for (at = 0; have - at >= HELLO_BYTES; at++)
			if (is_hello(cf_view(w + at, HELLO_BYTES), id, nonce))
				return have - at == HELLO_BYTES; /* nothing follows it */
		memmove(w, w + at, have - at);
		have -= at;
	}
	return false;
}

static bool hello(struct blob_cache *c)
{
	cf_cleanup(cf_buf_fini) struct cf_buf out = { 0 };
	struct blobcache_request q = { .op = BLOBCACHE_HELLO };
	int64_t until = cf_now_ms() + BLOB_CACHE_REPLY_MS;

	if (getrandom(q.nonce, sizeof(q.nonce), 0) != sizeof(q.nonce) ||
	    getrandom(&c->next_id, sizeof(c->next_id), 0) != sizeof(c->next_id))
		return false;
	uint32_t id = c->next_id++;

	blobcache_request_put(&q, id, &out);
	return send_all(c->fd, cf_buf_view(&out), until) && find_hello(c->fd, id, q.nonce, until);
}

static int open_path(const char *path)
{
	struct stat s;
	struct cf_err err;

	if (stat(path, &s) < 0)
		return -1;
	if (!S_ISSOCK(s.st_mode))
		return open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	return cf_connect_unix_nonblock(path, &err);
}

/* Between two exchanges nothing comes: bytes are a stranger's, and an end is another daemon's start. */
static bool is_quiet(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 0;
}

/* @is_begin: nothing is under way, so that a daemon that was started anew costs nothing. */
static bool is_open(struct blob_cache *c, bool is_begin)
{
	if (c->fd >= 0 && is_begin && !is_quiet(c->fd))
		cf_close(&c->fd);
	if (c->fd >= 0)
		return true;
	if (cf_now_ms() < c->retry_ms)
		return false;
	c->fd = open_path(c->path);
	if (c->fd >= 0 && hello(c))
		return true;
	give_up(c);
	return false;
}

/* The answer's body lies in c->frame. False: the cache is of no use. */
static bool exchange(struct blob_cache *c, const struct blobcache_request *q, uint8_t *ret_status)
{
	uint8_t in[BLOBCACHE_HEAD_BYTES];
	bool syncs = q->op == BLOBCACHE_FINISH;
	int64_t until = cf_now_ms() + (syncs ? BLOB_CACHE_FINISH_MS : BLOB_CACHE_REPLY_MS);
	uint32_t id = c->next_id++;
	struct blobcache_head h;
	struct cf_err err;

	cf_buf_reset(&c->frame);
	blobcache_request_put(q, id, &c->frame);
	if (c->frame.bad || !send_all(c->fd, cf_buf_view(&c->frame), until) ||
	    !receive(c->fd, in, sizeof(in), until) ||
	    blobcache_head_parse(cf_view(in, sizeof(in)), &h, &err) < 0 || !h.is_reply ||
	    h.op != q->op || h.id != id)
		return false;
	cf_buf_reset(&c->frame);
	uint8_t *to = cf_buf_reserve(&c->frame, h.size + 1);

	if (!to || !receive(c->fd, to, h.size, until))
		return false;
	c->frame.size = h.size;
	*ret_status = h.status;
	return true;
}

/* True: it said yes. *ret gets a copy of the answer's body. */
static bool ask(struct blob_cache *c, const struct blobcache_request *q, struct patience *p,
                struct cf_buf *ret)
{
	uint8_t status = CF_UNAVAILABLE;

	pthread_mutex_lock(&c->lock);
	int64_t from = cf_now_ms();
	bool is_begin = q->op == BLOBCACHE_STAT || q->op == BLOBCACHE_OFFER;

	if (is_open(c, is_begin) && !exchange(c, q, &status))
		give_up(c);
	if (ret && status == 0) {
		cf_buf_reset(ret);
		cf_buf_add_view(ret, cf_buf_view(&c->frame));
	}
	p->waited_ms += cf_now_ms() - from;
	pthread_mutex_unlock(&c->lock);
	return status == 0;
}

static bool is_too_slow(const struct patience *p)
{
	return p->waited_ms > BLOB_CACHE_GRACE_MS &&
	       p->bytes / (uint64_t)p->waited_ms < BLOB_CACHE_BYTES_PER_MS;
}

/* ---- reading ---- */

static bool set_digest(struct blobcache_request *q, const struct oci_descriptor *d)
{
	if (!blobcache_is_digest(cf_view_str(d->digest.text)))
		return false; /* the cache knows SHA-256 alone */
	memcpy(q->digest, d->digest.text, BLOBCACHE_DIGEST);
	return true;
}

static bool has_blob(struct blob_cache *c, const struct oci_descriptor *d, struct patience *p)
{
	cf_cleanup(cf_buf_fini) struct cf_buf body = { 0 };
	struct blobcache_request q = { .op = BLOBCACHE_STAT };

	if (!set_digest(&q, d) || !ask(c, &q, p, &body))
		return false;
	struct cf_rd rd = { .in = cf_buf_view(&body) };
	uint64_t size = cf_rd_u64be(&rd);

	return !rd.bad && !cf_rd_left(&rd) && size == d->size;
}

/* One piece into @buf. False: no piece of the length that must come. */
static bool read_piece(struct blob_cache *c, const struct oci_descriptor *d, struct patience *p,
                       struct cf_buf *buf)
{
	uint64_t left = d->size - p->bytes;
	struct blobcache_request q = {
		.op = BLOBCACHE_READ,
		.offset = p->bytes,
		.length = left < BLOBCACHE_DATA_MAX ? (uint32_t)left : BLOBCACHE_DATA_MAX,
	};

	if (!set_digest(&q, d) || !ask(c, &q, p, buf) || buf->size != q.length)
		return false;
	p->bytes += buf->size;
	return !is_too_slow(p);
}

int blob_cache_fetch(struct blob_cache *c, const struct oci_descriptor *d, oci_sink *sink,
                     void *arg, struct cf_err *err)
{
	cf_cleanup(cf_hasher_freep) struct cf_hasher *h = NULL;
	cf_cleanup(cf_buf_fini) struct cf_buf piece = { .max = BLOBCACHE_BODY_MAX };
	struct patience p = { 0 };
	struct oci_digest got;

	if (!has_blob(c, d, &p))
		return BLOB_CACHE_MISS;
	h = oci_hasher_new(d->digest.alg);
	while (p.bytes < d->size) {
		if (!read_piece(c, d, &p, &piece))
			return BLOB_CACHE_BROKEN;
		cf_hasher_add(h, cf_buf_view(&piece));
		int r = sink(arg, cf_buf_view(&piece), err);

		if (r < 0)
			return r;
	}
	oci_hasher_final(h, d->digest.alg, &got);
	return oci_digest_eq(&got, &d->digest) ? 0 : BLOB_CACHE_BROKEN;
}

/* ---- writing ---- */

struct blob_offer {
	struct blob_cache *c;
	uint32_t handle;
	bool is_dead;
	struct patience p;
	struct cf_buf held; /* pieces come small, frames are large */
};

struct blob_offer *blob_cache_offer(struct blob_cache *c, const struct oci_descriptor *d,
                                    bool is_encrypted)
{
	cf_cleanup(cf_buf_fini) struct cf_buf body = { 0 };
	struct blobcache_request q = { .op = BLOBCACHE_OFFER, .offset = d->size };
	struct patience p = { 0 };

	/* In clear it would tell the host what TLS kept from it. */
	if (!c || (!is_encrypted && !c->is_plain_offered))
		return NULL;
	if (!set_digest(&q, d) || !ask(c, &q, &p, &body) || body.size != sizeof(uint32_t))
		return NULL;
	struct cf_rd rd = { .in = cf_buf_view(&body) };
	struct blob_offer *o = cf_zalloc(sizeof(*o));

	o->c = c;
	o->handle = cf_rd_u32be(&rd);
	o->held.max = BLOBCACHE_DATA_MAX;
	return o;
}

static void flush(struct blob_offer *o)
{
	struct blobcache_request q = { .op = BLOBCACHE_WRITE,
		                       .handle = o->handle,
		                       .offset = o->p.bytes,
		                       .data = cf_buf_view(&o->held) };

	if (o->is_dead || !o->held.size)
		return;
	o->is_dead = !ask(o->c, &q, &o->p, NULL);
	o->p.bytes += o->held.size;
	o->is_dead |= is_too_slow(&o->p);
	cf_buf_reset(&o->held);
}

void blob_offer_piece(struct blob_offer *o, struct cf_view piece)
{
	while (o && !o->is_dead && piece.size) {
		struct cf_view part = cf_view_sub(piece, 0, BLOBCACHE_DATA_MAX - o->held.size);

		cf_buf_add_view(&o->held, part);
		piece = cf_view_sub(piece, part.size, piece.size);
		if (o->held.size == BLOBCACHE_DATA_MAX)
			flush(o);
	}
}

void blob_offer_end(struct blob_offer *o, bool is_good)
{
	if (!o)
		return;
	if (is_good)
		flush(o);
	struct blobcache_request q = { .op = is_good && !o->is_dead ? BLOBCACHE_FINISH
		                                                    : BLOBCACHE_ABORT,
		                       .handle = o->handle };

	(void)!ask(o->c, &q, &o->p, NULL);
	cf_buf_fini(&o->held);
	free(o);
}
