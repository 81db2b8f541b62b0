/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crypto.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/str.h"
#include "snapshotter/blobcache/blob_serve.h"
#include "tests/harness/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1u << 20)

static char *dir;

static struct blob_store *store_new(uint64_t size_max)
{
	struct blob_store *st = NULL;
	struct cf_err err;

	if (!dir)
		dir = cf_test_tmpdir();
	struct blob_store_opts opts = { dir, size_max };

	EXPECT_OK(blob_store_open(&opts, &st, &err), &err);
	return st;
}

static void end(struct blob_store *st)
{
	blob_store_close(st);
	free(dir);
	dir = NULL;
}

struct made {
	struct cf_buf bytes;
	char digest[BLOBCACHE_DIGEST + 1];
};

static struct made make(unsigned seed, size_t size)
{
	struct made m = { .bytes.max = 64 * MIB };
	uint8_t hash[CF_HASH_SIZE_MAX];
	uint8_t *p = cf_buf_reserve(&m.bytes, size);

	for (size_t i = 0; i < size; i++)
		p[i] = (uint8_t)(seed + i * 31 + (i >> 8));
	m.bytes.size = size;
	cf_hash(CF_SHA256, cf_buf_view(&m.bytes), hash);
	memcpy(m.digest, "sha256:", 7);
	cf_hex_encode(cf_view(hash, 32), m.digest + 7);
	return m;
}

static int put(struct blob_store *st, const struct made *m, struct cf_err *err)
{
	cf_cleanup(blob_upload_freep) struct blob_upload *up = NULL;
	int r = blob_upload_begin(st, m->digest, m->bytes.size, &up, err);

	for (size_t at = 0; r == 0 && at < m->bytes.size; at += 1000)
		r = blob_upload_write(up, cf_view_sub(cf_buf_view(&m->bytes), at, 1000), err);
	return r < 0 ? r : blob_upload_finish(up, err);
}

static bool has(struct blob_store *st, const struct made *m)
{
	cf_cleanup(cf_freep) uint8_t *got = cf_zalloc(m->bytes.size + 1);
	struct cf_err err;
	uint64_t size;
	size_t n;

	if (blob_store_find(st, m->digest, &size, &err) < 0) {
		EXPECT(err.code == CF_NOT_FOUND);
		return false;
	}
	EXPECT(size == m->bytes.size);
	EXPECT_OK(blob_store_read(st, m->digest, 0, got, m->bytes.size + 1, &n, &err), &err);
	EXPECT(cf_view_eq(cf_view(got, n), cf_buf_view(&m->bytes)));
	return true;
}

CF_TEST(blob_store_keeps_what_its_name_says_and_nothing_else)
{
	struct blob_store *st = store_new(16 * MIB);
	struct made a = make(1, 100000), b = make(2, 5), wrong = make(3, 5);
	struct blob_upload *up = NULL;
	struct cf_err err;

	EXPECT(!has(st, &a));
	EXPECT_OK(put(st, &a, &err), &err);
	EXPECT(has(st, &a));
	EXPECT_FAILS(put(st, &a, &err), CF_ALREADY_EXISTS);
	memcpy(wrong.digest, b.digest, sizeof(b.digest));
	EXPECT_FAILS(put(st, &wrong, &err), CF_DATA_LOSS);
	EXPECT(!has(st, &b));
	EXPECT_OK(blob_upload_begin(st, b.digest, 5, &up, &err), &err);
	EXPECT_FAILS(put(st, &b, &err), CF_ALREADY_EXISTS); /* on its way */
	EXPECT_FAILS(blob_upload_write(up, cf_view_str("123456"), &err), CF_INVALID_ARGUMENT);
	EXPECT_OK(blob_upload_write(up, cf_view_str("123"), &err), &err);
	EXPECT_FAILS(blob_upload_finish(up, &err), CF_DATA_LOSS); /* two bytes are missing */
	EXPECT_FAILS(blob_upload_finish(up, &err), CF_FAILED_PRECONDITION);
	blob_upload_free(up);
	EXPECT(!has(st, &b));
	EXPECT_OK(put(st, &b, &err), &err);
	blob_store_close(st);
	st = store_new(16 * MIB);
	EXPECT(has(st, &a) && has(st, &b));
	cf_buf_fini(&a.bytes);
	cf_buf_fini(&b.bytes);
	cf_buf_fini(&wrong.bytes);
	end(st);
}

CF_TEST(blob_store_lets_go_of_what_was_used_longest_ago)
{
	struct blob_store *st = store_new(3 * MIB);
	struct made m[4];
	struct blob_store_stats s;
	struct cf_err err;

	for (unsigned i = 0; i < 4; i++)
		m[i] = make(i, MIB);
	for (unsigned i = 0; i < 3; i++)
		EXPECT_OK(put(st, &m[i], &err), &err);
	EXPECT(has(st, &m[0])); /* so 1 is the oldest */
	EXPECT_OK(put(st, &m[3], &err), &err);
	EXPECT(!has(st, &m[1]) && has(st, &m[0]) && has(st, &m[2]) && has(st, &m[3]));
	blob_store_stats(st, &s);
	EXPECT(s.blobs == 3 && s.bytes == 3 * MIB && s.evicted == 1 && s.stored == 4);
	/* One larger than all of it, and one beside an upload that holds the room. */
	struct made big = make(9, 3 * MIB + 1);
	struct blob_upload *up = NULL;

	EXPECT_FAILS(put(st, &big, &err), CF_RESOURCE_EXHAUSTED);
	EXPECT_OK(blob_upload_begin(st, m[1].digest, MIB, &up, &err), &err);
	EXPECT_FAILS(blob_upload_begin(st, big.digest, 2 * MIB + 1, &(struct blob_upload *){ NULL },
	                               &err),
	             CF_RESOURCE_EXHAUSTED);
	blob_upload_free(up);
	/* A start with less room lets go too. */
	blob_store_close(st);
	st = store_new(MIB);
	blob_store_stats(st, &s);
	EXPECT(s.blobs <= 1 && s.bytes <= MIB);
	for (unsigned i = 0; i < 4; i++)
		cf_buf_fini(&m[i].bytes);
	cf_buf_fini(&big.bytes);
	end(st);
}

CF_TEST(blob_store_lets_go_for_bytes_and_not_for_announcements)
{
	struct blob_store *st = store_new(4 * MIB);
	struct made a = make(1, 2 * MIB), b = make(2, 3 * MIB);
	struct blob_upload *up = NULL;
	struct cf_err err;

	EXPECT_OK(put(st, &a, &err), &err);
	EXPECT_OK(blob_upload_begin(st, b.digest, b.bytes.size, &up, &err), &err);
	EXPECT_OK(blob_upload_write(up, cf_view_sub(cf_buf_view(&b.bytes), 0, 2 * MIB), &err),
	          &err);
	EXPECT(has(st, &a));
	EXPECT_OK(blob_upload_write(up, cf_view_sub(cf_buf_view(&b.bytes), 2 * MIB, MIB), &err),
	          &err);
	EXPECT(!has(st, &a));
	/* Whoever was reading it is told, and nothing of it is held. */
	EXPECT_FAILS(blob_store_read(st, a.digest, 0, (uint8_t[1]){ 0 }, 1, &(size_t){ 0 }, &err),
	             CF_NOT_FOUND);
	EXPECT_OK(blob_upload_finish(up, &err), &err);
	EXPECT(has(st, &b));
	blob_upload_free(up);
	cf_buf_fini(&a.bytes);
	cf_buf_fini(&b.bytes);
	end(st);
}

CF_TEST(blob_store_hashes_a_large_blob_while_nobody_waits)
{
	struct blob_store *st = store_new(128 * MIB);
	struct made big = make(1, BLOB_STORE_CHECK_NOW_MAX + 1), bad = make(2, 40 * MIB);
	cf_cleanup(cf_freep) char *file = cf_asprintf("%s/blobs/%s", dir, bad.digest + 7);
	struct blob_store_stats s;
	struct cf_err err;
	uint64_t size;
	int r;

	EXPECT_OK(put(st, &big, &err), &err);
	EXPECT_OK(put(st, &bad, &err), &err);
	blob_store_close(st);
	int fd = open(file, O_WRONLY | O_CLOEXEC);

	EXPECT(fd >= 0 && pwrite(fd, "!", 1, 30 * MIB) == 1);
	close(fd);
	st = store_new(128 * MIB);
	EXPECT_FAILS(blob_store_read(st, big.digest, 0, (uint8_t[1]){ 0 }, 1, &(size_t){ 0 }, &err),
	             CF_UNAVAILABLE); /* nobody has looked at it yet */
	EXPECT_FAILS(blob_store_find(st, big.digest, &size, &err), CF_UNAVAILABLE);
	EXPECT_FAILS(blob_store_find(st, bad.digest, &size, &err), CF_UNAVAILABLE);
	EXPECT_FAILS(put(st, &big, &err), CF_ALREADY_EXISTS);
	while ((r = blob_store_find(st, big.digest, &size, &err)) == -CF_UNAVAILABLE)
		poll(NULL, 0, 5);
	EXPECT(r == 0 && size == big.bytes.size);
	while ((r = blob_store_find(st, bad.digest, &size, &err)) == -CF_UNAVAILABLE)
		poll(NULL, 0, 5);
	EXPECT(r == -CF_NOT_FOUND && access(file, F_OK) < 0);
	blob_store_stats(st, &s);
	EXPECT(s.damaged == 1 && s.blobs == 1);
	/* A close meanwhile waits for no hash, and takes no blob for damaged. */
	blob_store_close(st);
	st = store_new(128 * MIB);
	EXPECT_FAILS(blob_store_find(st, big.digest, &size, &err), CF_UNAVAILABLE);
	blob_store_close(st);
	st = store_new(128 * MIB);
	blob_store_stats(st, &s);
	EXPECT(s.blobs == 1);
	cf_buf_fini(&big.bytes);
	cf_buf_fini(&bad.bytes);
	end(st);
}

CF_TEST(blob_upload_that_stands_still_or_crawls_is_stale)
{
	struct blob_store *st = store_new(4 * MIB);
	struct made a = make(1, 3 * MIB);
	struct blob_upload *up = NULL;
	struct cf_err err;

	EXPECT_OK(blob_upload_begin(st, a.digest, a.bytes.size, &up, &err), &err);
	int64_t now = cf_now_ms();

	EXPECT(!blob_upload_is_stale(up, now + BLOB_STORE_STALL_MS / 2));
	EXPECT(blob_upload_is_stale(up, now + BLOB_STORE_STALL_MS + 1000));
	EXPECT_OK(blob_upload_write(up, cf_view_sub(cf_buf_view(&a.bytes), 0, MIB), &err), &err);
	/* It began before we looked at the clock, on a slow machine by more than a moment. */
	EXPECT(!blob_upload_is_stale(up, now + BLOB_STORE_STALL_MS - 5000));
	/* A MiB in that time is too little, whenever the last byte came. */
	EXPECT(blob_upload_is_stale(up, now + BLOB_STORE_STALL_MS + 2000));
	blob_upload_free(up);
	cf_buf_fini(&a.bytes);
	end(st);
}

/* ---- many at once ---- */

#define WRITERS    6u
#define FLOOD_MIB  8u
#define FLOOD_BLOB (MIB / 2)

struct writer {
	struct blob_store *st;
	unsigned seed;
};

/* Blobs that are finished, given up half-way, and announced larger than they are. */
static void *flood(void *arg)
{
	struct writer *w = arg;
	struct cf_err err;

	for (unsigned i = 0; i < 60; i++) {
		struct made m = make(w->seed * 1000 + i, FLOOD_BLOB + i * 1000);
		struct blob_upload *up = NULL;
		uint64_t size = m.bytes.size * (i % 3 == 2 ? 2 : 1);
		int r = blob_upload_begin(w->st, m.digest, size, &up, &err);
		size_t all = i % 3 == 1 ? m.bytes.size / 2 : m.bytes.size;

		for (size_t at = 0; r == 0 && at < all; at += 65536)
			r = blob_upload_write(up,
			                      cf_view_sub(cf_buf_view(&m.bytes), at,
			                                  all - at < 65536 ? all - at : 65536),
			                      &err);
		if (r == 0)
			(void)!blob_upload_finish(up, &err);
		blob_upload_free(up);
		cf_buf_fini(&m.bytes);
	}
	return NULL;
}

static uint64_t bytes_below(const char *name)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, name);
	DIR *d = opendir(path);
	uint64_t n = 0;
	struct stat s;

	EXPECT(d != NULL);
	for (struct dirent *e; (e = readdir(d));)
		if (e->d_name[0] != '.' && fstatat(dirfd(d), e->d_name, &s, 0) == 0)
			n += (uint64_t)s.st_size;
	closedir(d);
	return n;
}

CF_TEST(blob_store_stays_within_its_size_under_many_writers)
{
	struct blob_store *st = store_new(FLOOD_MIB * MIB);
	struct writer w[WRITERS];
	struct blob_store_stats s;
	pthread_t t[WRITERS];

	for (unsigned i = 0; i < WRITERS; i++) {
		w[i] = (struct writer){ st, i };
		EXPECT(pthread_create(&t[i], NULL, flood, &w[i]) == 0);
	}
	for (int i = 0; i < 200; i++) {
		/* (a file may be seen in both places) */
		EXPECT(bytes_below("tmp") + bytes_below("blobs") <=
		       FLOOD_MIB * MIB + 2 * WRITERS * FLOOD_BLOB);
		blob_store_stats(st, &s);
		EXPECT(s.bytes <= FLOOD_MIB * MIB && s.uploads <= WRITERS);
		poll(NULL, 0, 2);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(t[i], NULL);
	blob_store_stats(st, &s);
	EXPECT(s.uploads == 0 && s.stored > WRITERS && s.evicted > 0);
	EXPECT(bytes_below("blobs") == s.bytes && s.bytes <= FLOOD_MIB * MIB);
	EXPECT(bytes_below("tmp") == 0);
	end(st);
}

CF_TEST(blob_store_is_one_process_alone)
{
	struct blob_store *st = store_new(MIB), *other = NULL;
	struct blob_store_opts opts = { dir, MIB };
	struct cf_err err;

	EXPECT_FAILS(blob_store_open(&opts, &other, &err), CF_ALREADY_EXISTS);
	end(st);
}

/* A process fills the store until it is killed; what it said it stored is there, and nothing half. */
static void fill_for_ever(int say)
{
	struct blob_store *st = store_new(64 * MIB);
	struct cf_err err;

	for (unsigned i = 0;; i++) {
		struct made m = make(i % 200, 3000 + i % 200);

		if (put(st, &m, &err) == 0)
			(void)!write(say, m.digest, BLOBCACHE_DIGEST);
		cf_buf_fini(&m.bytes);
	}
}

static void check_said(int said)
{
	struct blob_store *st = store_new(64 * MIB);
	struct made m = { 0 };
	size_t count = 0;
	struct cf_err err;

	for (; read(said, m.digest, BLOBCACHE_DIGEST) == BLOBCACHE_DIGEST; count++) {
		uint64_t size;

		EXPECT_OK(blob_store_find(st, m.digest, &size, &err), &err);
	}
	struct blob_store_stats s;

	blob_store_stats(st, &s);
	EXPECT(s.blobs >= count && s.blobs <= 200);
	blob_store_close(st);
}

CF_TEST(blob_store_killed_at_any_moment_has_whole_blobs)
{
	dir = cf_test_tmpdir();
	for (int round = 0; round < 25; round++) {
		cf_cleanup(cf_freep) char *blobs = cf_asprintf("%s/blobs", dir);
		struct cf_err err;
		int p[2];

		EXPECT_OK(cf_rm_rf(blobs, &err), &err);
		EXPECT(pipe2(p, O_CLOEXEC) == 0);
		pid_t pid = fork();

		if (pid == 0)
			fill_for_ever(p[1]);
		close(p[1]);
		poll(NULL, 0, 3 + round * 2);
		EXPECT(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
		check_said(p[0]);
		close(p[0]);
	}
	free(dir);
	dir = NULL;
}

CF_TEST(blob_store_on_a_full_disk_refuses_and_recovers)
{
	dir = cf_test_tmpdir();
	if (mount("tmpfs", dir, "tmpfs", 0, "size=4m") < 0)
		SKIP("needs to mount");
	struct blob_store *st = store_new(64 * MIB);
	cf_cleanup(cf_freep) char *hog = cf_asprintf("%s/hog", dir);
	struct made a = make(1, MIB), b = make(2, MIB);
	struct cf_err err;

	EXPECT_OK(put(st, &a, &err), &err);
	int fd = open(hog, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	EXPECT(fd >= 0 && posix_fallocate(fd, 0, 3 * MIB - 65536) == 0);
	/* It makes room of its own, and when there is none left, says so. */
	EXPECT_FAILS(put(st, &b, &err), CF_RESOURCE_EXHAUSTED);
	EXPECT(ftruncate(fd, 0) == 0);
	close(fd);
	EXPECT_OK(put(st, &b, &err), &err);
	EXPECT(has(st, &b));
	cf_buf_fini(&a.bytes);
	cf_buf_fini(&b.bytes);
	blob_store_close(st);
	EXPECT(umount2(dir, MNT_DETACH) == 0);
	free(dir);
	dir = NULL;
}

/* ---- requests ---- */

static uint8_t ask(struct blob_conn *c, const struct blobcache_request *q, struct cf_buf *ret)
{
	cf_cleanup(cf_buf_fini) struct cf_buf in = { 0 }, out = { 0 };
	struct blobcache_head h, reply;
	struct cf_err err;

	blobcache_request_put(q, 7, &in);
	EXPECT_OK(blobcache_head_parse(cf_view_sub(cf_buf_view(&in), 0, BLOBCACHE_HEAD_BYTES), &h,
	                               &err),
	          &err);
	blob_conn_answer(c, &h, cf_view_sub(cf_buf_view(&in), BLOBCACHE_HEAD_BYTES, in.size), &out);
	EXPECT_OK(blobcache_head_parse(cf_view_sub(cf_buf_view(&out), 0, BLOBCACHE_HEAD_BYTES),
	                               &reply, &err),
	          &err);
	EXPECT(reply.is_reply && reply.op == q->op && reply.id == 7);
	EXPECT(reply.size == out.size - BLOBCACHE_HEAD_BYTES);
	if (ret)
		cf_buf_add_view(ret,
		                cf_view_sub(cf_buf_view(&out), BLOBCACHE_HEAD_BYTES, out.size));
	return reply.status;
}

static struct blobcache_request request(uint8_t op, const char *digest)
{
	struct blobcache_request q = { .op = op };

	if (digest)
		memcpy(q.digest, digest, BLOBCACHE_DIGEST);
	return q;
}

CF_TEST(blob_conn_stores_and_reads_within_its_share)
{
	struct blob_store *st = store_new(4 * MIB);
	struct blob_conn *c = blob_conn_new(&(struct blob_serve_opts){ st, 4 * MIB });
	struct made a = make(1, 100), big = make(2, 2 * MIB);
	struct blobcache_request q = request(BLOBCACHE_OFFER, a.digest);
	struct cf_buf body = { 0 };

	q.offset = a.bytes.size;
	EXPECT(ask(c, &q, &body) == 0 && body.size == 4);
	struct cf_rd rd = { .in = cf_buf_view(&body) };
	struct blobcache_request w = { .op = BLOBCACHE_WRITE, .data = cf_buf_view(&a.bytes) };

	w.handle = cf_rd_u32be(&rd);
	w.offset = 1;
	EXPECT(ask(c, &w, NULL) == CF_OUT_OF_RANGE);
	w.offset = 0;
	EXPECT(ask(c, &w, NULL) == CF_NOT_FOUND); /* the odd one ended it */
	cf_buf_reset(&body);
	EXPECT(ask(c, &q, &body) == 0);
	rd = (struct cf_rd){ .in = cf_buf_view(&body) };
	w.handle = cf_rd_u32be(&rd);
	EXPECT(ask(c, &w, NULL) == 0);
	struct blobcache_request f = { .op = BLOBCACHE_FINISH, .handle = w.handle };

	EXPECT(ask(c, &f, NULL) == 0 && ask(c, &f, NULL) == CF_NOT_FOUND);
	EXPECT(ask(c, &q, NULL) == CF_ALREADY_EXISTS);
	q = request(BLOBCACHE_READ, a.digest);
	q.offset = 90;
	q.length = 50;
	cf_buf_reset(&body);
	EXPECT(ask(c, &q, &body) == 0 && body.size == 10 &&
	       cf_view_eq(cf_buf_view(&body), cf_view_sub(cf_buf_view(&a.bytes), 90, 10)));
	q.offset = UINT64_MAX;
	cf_buf_reset(&body);
	EXPECT(ask(c, &q, &body) == 0 && body.size == 0);
	q.length = BLOBCACHE_DATA_MAX + 1;
	EXPECT(ask(c, &q, NULL) == CF_INVALID_ARGUMENT);
	q = request(BLOBCACHE_STAT, big.digest);
	EXPECT(ask(c, &q, NULL) == CF_NOT_FOUND);
	/* Half of the cache in its life, and it has used some. */
	q = request(BLOBCACHE_OFFER, big.digest);
	q.offset = big.bytes.size;
	EXPECT(ask(c, &q, NULL) == CF_RESOURCE_EXHAUSTED);
	struct blobcache_request hello = { .op = BLOBCACHE_HELLO, .nonce = "12345678" };

	cf_buf_reset(&body);
	EXPECT(ask(c, &hello, &body) == 0 && body.size == 16);
	cf_buf_fini(&body);
	cf_buf_fini(&a.bytes);
	cf_buf_fini(&big.bytes);
	blob_conn_free(c);
	end(st);
}

/* ---- connections ---- */

/* One request over a socket. Status, or -1 when the connection ended. */
static int talk(int fd, const struct blobcache_request *q)
{
	cf_cleanup(cf_buf_fini) struct cf_buf out = { .max = MIB };
	uint8_t in[BLOBCACHE_HEAD_BYTES], body[256];
	struct blobcache_head h;
	struct cf_err err;

	blobcache_request_put(q, 9, &out);
	if (cf_write_all(fd, cf_buf_view(&out), &err) < 0 ||
	    recv(fd, in, sizeof(in), MSG_WAITALL) != (ssize_t)sizeof(in))
		return -1;
	EXPECT_OK(blobcache_head_parse(cf_view(in, sizeof(in)), &h, &err), &err);
	EXPECT(h.size <= sizeof(body));
	EXPECT(!h.size || recv(fd, body, h.size, MSG_WAITALL) == (ssize_t)h.size);
	return h.status;
}

static int connect_to(struct blob_serve *s)
{
	struct cf_err err;
	int p[2];

	EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) == 0);
	EXPECT_OK(blob_serve_add(s, p[0], &err), &err);
	return p[1];
}

static int offer(int fd, struct made *m, uint64_t size)
{
	struct blobcache_request q = request(BLOBCACHE_OFFER, m->digest);

	q.offset = size;
	return talk(fd, &q);
}

CF_TEST(blob_serve_a_guest_that_connects_anew_has_the_share_it_had)
{
	struct blob_store *st = store_new(8 * MIB);
	struct blob_serve *s = blob_serve_new(&(struct blob_serve_opts){ st, 8 * MIB });
	struct made a = make(1, 10), b = make(2, 10), c = make(3, 10);
	struct blob_serve_stats stats;
	int fd = connect_to(s);

	signal(SIGPIPE, SIG_IGN);
	EXPECT(offer(fd, &a, 3 * MIB) == 0);
	EXPECT(offer(fd, &b, 2 * MIB) == CF_RESOURCE_EXHAUSTED);
	EXPECT(offer(fd, &a, 3 * MIB) == CF_RESOURCE_EXHAUSTED); /* not twice either */
	EXPECT(write(fd, "no frame begins like this", 25) == 25);
	EXPECT(recv(fd, (char[1]){ 0 }, 1, 0) <= 0); /* it hung up */
	close(fd);
	fd = connect_to(s);
	EXPECT(offer(fd, &b, 2 * MIB) == CF_RESOURCE_EXHAUSTED);
	EXPECT(offer(fd, &c, MIB) == 0);
	close(fd);
	blob_serve_stats(s, &stats);
	EXPECT(stats.over_share == 3 && stats.turned_away == 0);
	blob_serve_free(s);
	cf_buf_fini(&a.bytes);
	cf_buf_fini(&b.bytes);
	cf_buf_fini(&c.bytes);
	end(st);
}

CF_TEST(blob_serve_a_guest_whose_uploads_come_to_nothing_may_offer_no_more)
{
	struct blob_store *st = store_new(8 * MIB);
	struct blob_serve *s = blob_serve_new(&(struct blob_serve_opts){ st, 8 * MIB });
	struct blobcache_request hello = { .op = BLOBCACHE_HELLO };
	struct made a = make(1, 10);
	int fd = connect_to(s);

	for (unsigned i = 0; i < BLOB_SERVE_FAILED_MAX; i++) {
		EXPECT(offer(fd, &a, 10) == 0);
		EXPECT(talk(fd, &hello) == 0); /* forgets it */
	}
	EXPECT(offer(fd, &a, 10) == CF_RESOURCE_EXHAUSTED);
	struct blobcache_request q = request(BLOBCACHE_STAT, a.digest);

	EXPECT(talk(fd, &q) == CF_NOT_FOUND); /* reading goes on */
	close(fd);
	blob_serve_free(s);
	cf_buf_fini(&a.bytes);
	end(st);
}

CF_TEST(blobcache_refuses_each_truncation_and_odd_digests)
{
	struct made a = make(1, 10);
	struct cf_err err;

	for (uint8_t op = BLOBCACHE_HELLO; op <= BLOBCACHE_ABORT; op++) {
		cf_cleanup(cf_buf_fini) struct cf_buf in = { 0 };
		struct blobcache_request q = request(op, a.digest), got;
		struct blobcache_head h;

		blobcache_request_put(&q, 1, &in);
		struct cf_view all = cf_buf_view(&in);
		struct cf_view body = cf_view_sub(all, BLOBCACHE_HEAD_BYTES, all.size);

		EXPECT_OK(blobcache_head_parse(cf_view_sub(all, 0, BLOBCACHE_HEAD_BYTES), &h, &err),
		          &err);
		EXPECT_OK(blobcache_request_parse(&h, body, &got, &err), &err);
		for (size_t n = 0; n < body.size; n++)
			EXPECT_FAILS(
				blobcache_request_parse(&h, cf_view_sub(body, 0, n), &got, &err),
				CF_INVALID_ARGUMENT);
		for (size_t n = 0; n < BLOBCACHE_HEAD_BYTES; n++)
			EXPECT_FAILS(blobcache_head_parse(cf_view_sub(all, 0, n), &h, &err),
			             CF_INVALID_ARGUMENT);
	}
	static const char *const odd[] = {
		"",
		"sha256:",
		"sha512:",
		"../../../../etc/passwd",
		"sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"sha256:../../../../../../../../../../../../../../../../../../../../../x",
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(odd); i++)
		EXPECT(!blobcache_is_digest(cf_view_str(odd[i])));
	EXPECT(blobcache_is_digest(cf_view_str(a.digest)));
	cf_buf_fini(&a.bytes);
}
