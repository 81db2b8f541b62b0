/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/blobcache/blob_store.h"

#include "base/crypto.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/str.h"
#include "base/work.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define BUCKETS   1024u
#define HEX       64u
#define PIECE_MAX (256u << 10)

struct blob {
	char hex[HEX + 1]; /* also its file's name */
	uint64_t size;
	time_t used, touched;
	enum { UNCHECKED, CHECKING, CHECKED } state; /* of its hash, since the start */
	struct blob *next;                           /* in the bucket */
	struct blob *newer, *older;                  /* in the order of use */
};

struct blob_store {
	char *dir;
	int lock_fd, blobs_fd, tmp_fd;
	uint64_t size_max;
	pthread_mutex_t lock; /* all below */
	struct blob *buckets[BUCKETS];
	struct blob *newest, *oldest;
	uint64_t reserved; /* bytes that uploads under way have announced … */
	uint64_t written;  /* … and brought */
	bool is_closing;
	struct cf_work *work; /* hashes large blobs */
	struct blob_upload *uploads[BLOB_STORE_UPLOADS_MAX];
	struct blob_store_stats stats;
};

struct blob_upload {
	struct blob_store *st;
	char hex[HEX + 1], tmp[HEX + 32];
	uint64_t size, offset;
	int64_t began_ms, touched_ms;
	int fd;
	struct cf_hasher *hasher;
	bool is_finished;
};

/* ---- the index; under the lock ---- */

static const char *hex_of(const char *digest)
{
	return digest + strlen("sha256:");
}

static struct blob **bucket(struct blob_store *st, const char *hex)
{
	uint8_t b[2] = { 0 };
	struct cf_err err;

	(void)!cf_hex_decode(cf_view(hex, 4), b, sizeof(b), &err);
	return &st->buckets[(b[0] << 8 | b[1]) % BUCKETS];
}

static struct blob *find(struct blob_store *st, const char *hex)
{
	struct blob *b = *bucket(st, hex);

	while (b && !cf_streq(b->hex, hex))
		b = b->next;
	return b;
}

static void unlink_order(struct blob_store *st, struct blob *b)
{
	*(b->newer ? &b->newer->older : &st->newest) = b->older;
	*(b->older ? &b->older->newer : &st->oldest) = b->newer;
	b->newer = b->older = NULL;
}

static void link_newest(struct blob_store *st, struct blob *b)
{
	b->older = st->newest;
	*(st->newest ? &st->newest->newer : &st->oldest) = b;
	st->newest = b;
}

static void add(struct blob_store *st, struct blob *b)
{
	struct blob **head = bucket(st, b->hex);

	b->next = *head;
	*head = b;
	link_newest(st, b);
	st->stats.blobs++;
	st->stats.bytes += b->size;
}

static void drop(struct blob_store *st, struct blob *b)
{
	struct blob **at = bucket(st, b->hex);

	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	unlink_order(st, b);
	st->stats.blobs--;
	st->stats.bytes -= b->size;
	(void)!unlinkat(st->blobs_fd, b->hex, 0);
	free(b);
}

/* Bytes that may still be written without taking from others what is left to them. */
static uint64_t disk_room(struct blob_store *st)
{
	struct statvfs fs;

	if (fstatvfs(st->blobs_fd, &fs) < 0)
		return 0;
	uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	uint64_t keep = (uint64_t)fs.f_blocks * fs.f_frsize / 100 * BLOB_STORE_FREE_MIN_PERCENT;

	return free_bytes > keep ? free_bytes - keep : 0;
}

/* Whether a blob of @size bytes can have a place, when all others go. */
static bool could_hold(struct blob_store *st, uint64_t size)
{
	if (size > st->size_max || st->reserved > st->size_max - size)
		return false;
	return disk_room(st) + st->stats.bytes >= size;
}

/* For @size bytes that are here. */
static bool make_room(struct blob_store *st, uint64_t size)
{
	while (st->stats.bytes + st->written + size > st->size_max || disk_room(st) < size) {
		if (!st->oldest)
			return false;
		drop(st, st->oldest);
		st->stats.evicted++;
	}
	return true;
}

/* ---- opening ---- */

static bool is_name(const char *name)
{
	cf_cleanup(cf_freep) char *digest = cf_asprintf("sha256:%s", name);

	return blobcache_is_digest(cf_view_str(digest));
}

static int by_use(const void *a, const void *b)
{
	const struct blob *const *x = a, *const *y = b;

	return ((*x)->used > (*y)->used) - ((*x)->used < (*y)->used);
}

struct found {
	struct blob **items;
	size_t count, cap;
};

/* What is no blob of ours goes: names we do not make, links, directories stay with a warning. */
static void look_at(struct blob_store *st, const char *name, struct found *found)
{
	struct stat s;

	if (name[0] == '.')
		return;
	if (fstatat(st->blobs_fd, name, &s, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (!S_ISREG(s.st_mode) || !is_name(name)) {
		(void)!unlinkat(st->blobs_fd, name, 0);
		return;
	}
	struct blob *b = cf_zalloc(sizeof(*b));

	memcpy(b->hex, name, HEX);
	b->size = (uint64_t)s.st_size;
	b->used = b->touched = s.st_mtime;
	cf_grow(&found->items, &found->cap, found->count + 1);
	found->items[found->count++] = b;
}

static int scan(struct blob_store *st, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/blobs", st->dir);
	DIR *dir = opendir(path);
	struct found found = { 0 };

	if (!dir)
		return cf_fail_errno(err, errno, "%s", path);
	for (struct dirent *e; (e = readdir(dir));)
		look_at(st, e->d_name, &found);
	closedir(dir);
	if (found.count)
		qsort(found.items, found.count, sizeof(found.items[0]), by_use);
	for (size_t i = 0; i < found.count; i++)
		add(st, found.items[i]);
	free(found.items);
	while (st->oldest && st->stats.bytes > st->size_max)
		drop(st, st->oldest);
	return 0;
}

static int open_dir(const char *dir, const char *name, int *ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, name);
	int r = cf_mkdir_p(path, 0700, err);

	if (r < 0)
		return r;
	*ret = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret < 0 ? cf_fail_errno(err, errno, "%s", path) : 0;
}

static int take_lock(struct blob_store *st, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/lock", st->dir);

	st->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (st->lock_fd < 0)
		return cf_fail_errno(err, errno, "%s", path);
	if (flock(st->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return cf_fail(err, CF_ALREADY_EXISTS, "another instance uses %s", st->dir);
	return 0;
}

int blob_store_open(const struct blob_store_opts *opts, struct blob_store **ret, struct cf_err *err)
{
	cf_cleanup(blob_store_closep) struct blob_store *st = cf_zalloc(sizeof(*st));
	cf_cleanup(cf_freep) char *tmp = cf_asprintf("%s/tmp", opts->dir);

	st->lock_fd = st->blobs_fd = st->tmp_fd = -1;
	st->dir = cf_strdup(opts->dir);
	st->size_max = opts->size_max;
	pthread_mutex_init(&st->lock, NULL);
	int r = cf_mkdir_p(opts->dir, 0700, err);

	if (r == 0)
		r = take_lock(st, err);
	if (r == 0 && access(tmp, F_OK) == 0)
		r = cf_rm_rf(tmp, err);
	if (r == 0)
		r = open_dir(opts->dir, "tmp", &st->tmp_fd, err);
	if (r == 0)
		r = open_dir(opts->dir, "blobs", &st->blobs_fd, err);
	if (r == 0)
		r = scan(st, err);
	if (r == 0)
		r = cf_work_new(1, BLOB_STORE_CHECKS_MAX, &st->work, err);
	if (r < 0)
		return r;
	*ret = cf_take(&st);
	return 0;
}

struct blob_store *blob_store_close(struct blob_store *st)
{
	if (!st)
		return NULL;
	pthread_mutex_lock(&st->lock);
	st->is_closing = true;
	pthread_mutex_unlock(&st->lock);
	cf_work_free(st->work);
	for (struct blob *b = st->newest, *older; b; b = older) {
		older = b->older;
		free(b);
	}
	cf_close(&st->blobs_fd);
	cf_close(&st->tmp_fd);
	cf_close(&st->lock_fd);
	pthread_mutex_destroy(&st->lock);
	free(st->dir);
	free(st);
	return NULL;
}

/* ---- reading ---- */

static bool is_closing(struct blob_store *st)
{
	pthread_mutex_lock(&st->lock);
	bool is = st->is_closing;

	pthread_mutex_unlock(&st->lock);
	return is;
}

/* False also when the disk fails, or the store is closed meanwhile. */
static bool hash_is(struct blob_store *st, int fd, uint64_t size, const char *hex)
{
	cf_cleanup(cf_hasher_freep) struct cf_hasher *h = cf_hasher_new(CF_SHA256);
	cf_cleanup(cf_freep) uint8_t *piece = cf_zalloc(PIECE_MAX);
	uint8_t hash[CF_HASH_SIZE_MAX];
	char text[2 * CF_HASH_SIZE_MAX + 1];
	struct cf_err err;

	for (uint64_t at = 0; at < size;) {
		size_t n = size - at < PIECE_MAX ? (size_t)(size - at) : PIECE_MAX;

		if (is_closing(st) || cf_pread_full(fd, piece, n, (off_t)at, &err) < 0)
			return false;
		cf_hasher_add(h, cf_view(piece, n));
		at += n;
	}
	cf_hasher_final(h, hash);
	cf_hex_encode(cf_view(hash, HEX / 2), text);
	return cf_streq(text, hex);
}

/* The time of use is the file's, so that the order outlives us. */
static void touch(struct blob_store *st, struct blob *b, int fd)
{
	unlink_order(st, b);
	link_newest(st, b);
	b->used = time(NULL);
	if (b->used - b->touched < (time_t)BLOB_STORE_TOUCH_SECONDS)
		return;
	b->touched = b->used;
	(void)!futimens(fd, NULL);
}

static void judge(struct blob_store *st, const char *hex, bool is_good)
{
	struct blob *b;

	pthread_mutex_lock(&st->lock);
	b = find(st, hex);
	if (b && is_good)
		b->state = CHECKED;
	if (b && !is_good && !st->is_closing) {
		drop(st, b);
		st->stats.damaged++;
	}
	pthread_mutex_unlock(&st->lock);
}

/* A blob to be hashed: nobody else does while its state says so. */
struct to_check {
	struct blob_store *st;
	char hex[HEX + 1];
	uint64_t size;
	int fd;
};

static bool check_blob(struct to_check *c)
{
	bool is_good = hash_is(c->st, c->fd, c->size, c->hex);

	judge(c->st, c->hex, is_good);
	cf_close(&c->fd);
	return is_good;
}

static void check_job(void *arg)
{
	struct to_check *c = arg;

	(void)check_blob(c);
	free(c);
}

/* Under the lock. -CF_NOT_FOUND, or the caller's *ret_fd. */
static int open_blob(struct blob_store *st, const char *hex, struct blob **ret, int *ret_fd,
                     struct cf_err *err)
{
	struct blob *b = find(st, hex);

	*ret_fd = b ? openat(st->blobs_fd, hex, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (b && *ret_fd < 0)
		drop(st, b); /* somebody removed the file */
	if (*ret_fd < 0)
		return cf_fail(err, CF_NOT_FOUND, "blob %s is not cached", hex);
	touch(st, b, *ret_fd);
	*ret = b;
	return 0;
}

static int being_checked(struct blob *b, struct cf_err *err)
{
	return cf_fail(err, CF_UNAVAILABLE, "blob %s is being hashed", b->hex);
}

/* Under the lock. The fd goes to the job; a full queue leaves it to who asks next. */
static int check_later(struct blob_store *st, struct blob *b, int *fd_take, struct cf_err *err)
{
	cf_cleanup(cf_freep) struct to_check *c = cf_zalloc(sizeof(*c));
	struct cf_err full;

	*c = (struct to_check){ .st = st, .size = b->size, .fd = *fd_take };
	memcpy(c->hex, b->hex, sizeof(c->hex));
	if (cf_work_add(st->work, check_job, c, &full) == 0) {
		(void)cf_take(&c);
		(void)cf_take_fd(fd_take);
		b->state = CHECKING;
	}
	return being_checked(b, err);
}

/* *ret_check: hash it before you say that it is there; the state says that you do. */
static int find_locked(struct blob_store *st, const char *hex, struct to_check *ret_check,
                       uint64_t *ret_size, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = -1;
	struct blob *b = NULL;
	int r = open_blob(st, hex, &b, &fd, err);

	if (r < 0)
		return r;
	*ret_size = b->size;
	if (b->state == CHECKED)
		return 0;
	if (b->state == CHECKING)
		return being_checked(b, err);
	if (b->size > BLOB_STORE_CHECK_NOW_MAX)
		return check_later(st, b, &fd, err);
	b->state = CHECKING;
	*ret_check = (struct to_check){ .st = st, .size = b->size, .fd = cf_take_fd(&fd) };
	memcpy(ret_check->hex, b->hex, sizeof(b->hex));
	return 0;
}

int blob_store_find(struct blob_store *st, const char *digest, uint64_t *ret_size,
                    struct cf_err *err)
{
	struct to_check check = { .fd = -1 };
	uint64_t size = 0;

	pthread_mutex_lock(&st->lock);
	int r = find_locked(st, hex_of(digest), &check, &size, err);

	pthread_mutex_unlock(&st->lock);
	if (r == 0 && check.fd >= 0 && !check_blob(&check))
		r = cf_fail(err, CF_NOT_FOUND, "blob %s was damaged", digest);
	pthread_mutex_lock(&st->lock);
	st->stats.hits += r == 0;
	st->stats.misses += r < 0;
	pthread_mutex_unlock(&st->lock);
	if (r == 0)
		*ret_size = size;
	return r;
}

int blob_store_read(struct blob_store *st, const char *digest, uint64_t offset, uint8_t *to,
                    size_t size, size_t *ret_size, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = -1;
	struct blob *b = NULL;
	size_t n = 0;

	pthread_mutex_lock(&st->lock);
	int r = open_blob(st, hex_of(digest), &b, &fd, err);

	if (r == 0 && b->state != CHECKED)
		r = being_checked(b, err);
	if (r == 0 && offset < b->size)
		n = b->size - offset < size ? (size_t)(b->size - offset) : size;
	st->stats.bytes_served += n;
	pthread_mutex_unlock(&st->lock);
	if (r < 0)
		return r;
	r = n ? cf_pread_full(fd, to, n, (off_t)offset, err) : 0;
	if (r < 0)
		judge(st, hex_of(digest), false); /* shorter than it was, or the disk fails */
	else
		*ret_size = n;
	return r;
}

void blob_store_stats(struct blob_store *st, struct blob_store_stats *ret)
{
	pthread_mutex_lock(&st->lock);
	*ret = st->stats;
	pthread_mutex_unlock(&st->lock);
}

/* ---- writing ---- */

/* Under the lock: a place among the uploads, room for its bytes. */
static int admit(struct blob_store *st, struct blob_upload *up, struct cf_err *err)
{
	size_t slot = BLOB_STORE_UPLOADS_MAX;

	for (size_t i = 0; i < BLOB_STORE_UPLOADS_MAX; i++) {
		if (!st->uploads[i])
			slot = i;
		else if (st->uploads[i]->size == up->size && cf_streq(st->uploads[i]->hex, up->hex))
			return cf_fail(err, CF_ALREADY_EXISTS, "blob %s is on its way", up->hex);
	}
	if (find(st, up->hex))
		return cf_fail(err, CF_ALREADY_EXISTS, "blob %s is cached", up->hex);
	if (slot == BLOB_STORE_UPLOADS_MAX || !could_hold(st, up->size)) {
		st->stats.refused++;
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "no room for a blob of %llu bytes",
		               (unsigned long long)up->size);
	}
	st->uploads[slot] = up;
	st->reserved += up->size;
	st->stats.uploads++;
	snprintf(up->tmp, sizeof(up->tmp), "%s.%zu", up->hex, slot);
	return 0;
}

/* Under the lock. */
static void dismiss(struct blob_upload *up)
{
	struct blob_store *st = up->st;

	for (size_t i = 0; i < BLOB_STORE_UPLOADS_MAX; i++) {
		if (st->uploads[i] != up)
			continue;
		st->uploads[i] = NULL;
		st->reserved -= up->size;
		st->written -= up->offset;
		st->stats.uploads--;
	}
}

int blob_upload_begin(struct blob_store *st, const char *digest, uint64_t size,
                      struct blob_upload **ret, struct cf_err *err)
{
	cf_cleanup(blob_upload_freep) struct blob_upload *up = cf_zalloc(sizeof(*up));

	up->st = st;
	up->size = size;
	up->fd = -1;
	up->began_ms = up->touched_ms = cf_now_ms();
	memcpy(up->hex, hex_of(digest), HEX);
	pthread_mutex_lock(&st->lock);
	int r = admit(st, up, err);

	pthread_mutex_unlock(&st->lock);
	if (r < 0)
		return r;
	up->fd = openat(st->tmp_fd, up->tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (up->fd < 0)
		return cf_fail_errno(err, errno, "tmp/%s", up->tmp);
	up->hasher = cf_hasher_new(CF_SHA256);
	*ret = cf_take(&up);
	return 0;
}

/* The bytes count as written from here on. */
static bool take_room(struct blob_upload *up, size_t size)
{
	struct blob_store *st = up->st;

	pthread_mutex_lock(&st->lock);
	bool has_room = make_room(st, size);

	if (has_room) {
		st->written += size;
		st->stats.bytes_written += size;
		up->offset += size;
	}
	pthread_mutex_unlock(&st->lock);
	return has_room;
}

int blob_upload_write(struct blob_upload *up, struct cf_view data, struct cf_err *err)
{
	off_t at = (off_t)up->offset;

	if (data.size > up->size - up->offset)
		return cf_fail(err, CF_INVALID_ARGUMENT, "more bytes than were announced");
	up->touched_ms = cf_now_ms();
	if (!take_room(up, data.size))
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "no room on the disk");
	int r = cf_pwrite_full(up->fd, data.data, data.size, at, err);

	if (r < 0)
		return r;
	cf_hasher_add(up->hasher, data);
	/* The disk begins now: who finishes waits for the last piece alone. */
	(void)!sync_file_range(up->fd, at, (off_t)data.size, SYNC_FILE_RANGE_WRITE);
	return 0;
}

uint64_t blob_upload_offset(const struct blob_upload *up)
{
	return up->offset;
}

bool blob_upload_is_stale(const struct blob_upload *up, int64_t now_ms)
{
	int64_t ms = now_ms - up->began_ms;

	return now_ms - up->touched_ms > BLOB_STORE_STALL_MS ||
	       (ms > BLOB_STORE_STALL_MS &&
	        up->offset / (uint64_t)(ms / 1000) < BLOB_STORE_BYTES_PER_S);
}

static int check(struct blob_upload *up, struct cf_err *err)
{
	uint8_t hash[CF_HASH_SIZE_MAX];
	char text[2 * CF_HASH_SIZE_MAX + 1];

	up->is_finished = true;
	if (up->offset != up->size)
		return cf_fail(err, CF_DATA_LOSS, "blob %s: %llu bytes instead of %llu", up->hex,
		               (unsigned long long)up->offset, (unsigned long long)up->size);
	cf_hasher_final(up->hasher, hash);
	cf_hex_encode(cf_view(hash, HEX / 2), text);
	if (!cf_streq(text, up->hex))
		return cf_fail(err, CF_DATA_LOSS, "these bytes are not blob %s", up->hex);
	return 0;
}

static int publish(struct blob_upload *up, struct cf_err *err)
{
	struct blob_store *st = up->st;

	if (fsync(up->fd) < 0)
		return cf_fail_errno(err, errno, "sync of blob %s", up->hex);
	if (renameat(st->tmp_fd, up->tmp, st->blobs_fd, up->hex) < 0)
		return cf_fail_errno(err, errno, "rename of blob %s", up->hex);
	up->tmp[0] = '\0';
	if (fsync(st->blobs_fd) == 0)
		return 0;
	int e = errno;

	(void)!unlinkat(st->blobs_fd, up->hex, 0);
	return cf_fail_errno(err, e, "sync of the blobs");
}

/* Under the lock. */
static void admit_blob(struct blob_upload *up)
{
	struct blob_store *st = up->st;
	struct blob *b = cf_zalloc(sizeof(*b));

	memcpy(b->hex, up->hex, HEX);
	b->size = up->size;
	b->used = b->touched = time(NULL);
	b->state = CHECKED;
	add(st, b);
	st->stats.stored++;
}

int blob_upload_finish(struct blob_upload *up, struct cf_err *err)
{
	struct blob_store *st = up->st;

	if (up->is_finished)
		return cf_fail(err, CF_FAILED_PRECONDITION, "the upload has ended");
	int r = check(up, err);

	if (r == 0)
		r = publish(up, err);
	pthread_mutex_lock(&st->lock);
	dismiss(up);
	if (r == 0)
		admit_blob(up);
	else
		st->stats.refused++;
	pthread_mutex_unlock(&st->lock);
	return r;
}

struct blob_upload *blob_upload_free(struct blob_upload *up)
{
	if (!up)
		return NULL;
	pthread_mutex_lock(&up->st->lock);
	dismiss(up);
	pthread_mutex_unlock(&up->st->lock);
	if (up->fd >= 0 && up->tmp[0])
		(void)!unlinkat(up->st->tmp_fd, up->tmp, 0);
	cf_close(&up->fd);
	cf_hasher_free(up->hasher);
	free(up);
	return NULL;
}
