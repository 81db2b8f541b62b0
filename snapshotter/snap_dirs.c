/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_dirs.h"

#include "base/fd.h"
#include "base/str.h"
#include "base/work.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define DELETIONS_MAX  65536 /* waiting; more are deleted by whoever asks */
#define WALK_DEPTH_MAX 256u

struct snap_dirs {
	char *root;
	int root_fd, snapshots_fd, trash_fd;
	struct cf_work *reclaim;
	pthread_mutex_t lock;
	pthread_cond_t idle;
	size_t deleting;     /* under the lock */
	uint64_t trash_next; /* under the lock */
};

struct deletion {
	struct snap_dirs *d;
	char *path;
};

static void id_text(int64_t id, char out[24])
{
	snprintf(out, 24, "%lld", (long long)id);
}

/* ---- deleting ---- */

static void run_deletion(void *arg)
{
	struct deletion *x = arg;
	struct cf_err err;

	/* What stays is tried again by the next cleanup or start. */
	(void)!cf_rm_rf(x->path, &err);
	pthread_mutex_lock(&x->d->lock);
	x->d->deleting--;
	pthread_cond_broadcast(&x->d->idle);
	pthread_mutex_unlock(&x->d->lock);
	free(x->path);
	free(x);
}

static void delete_later(struct snap_dirs *d, const char *name)
{
	struct deletion *x = cf_zalloc(sizeof(*x));
	struct cf_err err;

	*x = (struct deletion){ .d = d, .path = cf_asprintf("%s/trash/%s", d->root, name) };
	pthread_mutex_lock(&d->lock);
	d->deleting++;
	pthread_mutex_unlock(&d->lock);
	if (cf_work_add(d->reclaim, run_deletion, x, &err) < 0)
		run_deletion(x);
}

static void trash_name(struct snap_dirs *d, const char *what, char out[64])
{
	pthread_mutex_lock(&d->lock);
	uint64_t n = d->trash_next++;

	pthread_mutex_unlock(&d->lock);
	snprintf(out, 64, "%s.%d.%llu", what, (int)getpid(), (unsigned long long)n);
}

static int trash(struct snap_dirs *d, int dir_fd, const char *name, struct cf_err *err)
{
	char to[64];

	trash_name(d, name, to);
	if (renameat(dir_fd, name, d->trash_fd, to) < 0)
		return errno == ENOENT ? 0 : cf_fail_errno(err, errno, "drop snapshot directory");
	delete_later(d, to);
	return 0;
}

int snap_dirs_drop(struct snap_dirs *d, int64_t id, struct cf_err *err)
{
	char name[24];

	id_text(id, name);
	return trash(d, d->snapshots_fd, name, err);
}

/* ---- making ---- */

static int make_dir(int dir_fd, const char *name, mode_t mode, struct cf_err *err)
{
	if (mkdirat(dir_fd, name, mode) < 0 && errno != EEXIST)
		return cf_fail_errno(err, errno, "make directory %s", name);
	/* The umask is not ours to rely on. */
	if (fchmodat(dir_fd, name, mode, 0) < 0)
		return cf_fail_errno(err, errno, "mode of directory %s", name);
	return 0;
}

static int open_dir(int dir_fd, const char *name, int *ret, struct cf_err *err)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return cf_fail_errno(err, errno, "open directory %s", name);
	*ret = fd;
	return 0;
}

/* As containerd's overlay snapshotter: a new upper directory belongs to whom its parent's does. */
static int inherit(struct snap_dirs *d, int dir_fd, int64_t like, struct cf_err *err)
{
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), "%lld/fs", (long long)like);
	if (!like || fstatat(d->snapshots_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if ((st.st_uid || st.st_gid) && fchownat(dir_fd, "fs", st.st_uid, st.st_gid, 0) < 0)
		return cf_fail_errno(err, errno, "owner of a snapshot's directory");
	return 0;
}

int snap_dirs_make(struct snap_dirs *d, int64_t id, int64_t like, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = -1;
	char name[24];

	id_text(id, name);
	int r = make_dir(d->snapshots_fd, name, 0700, err);

	if (r == 0)
		r = open_dir(d->snapshots_fd, name, &fd, err);
	if (r == 0)
		r = make_dir(fd, "fs", 0755, err);
	if (r == 0)
		r = inherit(d, fd, like, err);
	if (r == 0)
		r = make_dir(fd, "work", 0711, err);
	return r;
}

int snap_dirs_own(struct snap_dirs *d, int64_t id, uid_t uid, gid_t gid, struct cf_err *err)
{
	char path[32];

	snprintf(path, sizeof(path), "%lld/fs", (long long)id);
	if (fchownat(d->snapshots_fd, path, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return cf_fail_errno(err, errno, "owner of a snapshot's directory");
	return 0;
}

int snap_dirs_sync(struct snap_dirs *d, int64_t id, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = -1;
	char name[24];

	id_text(id, name);
	int r = open_dir(d->snapshots_fd, name, &fd, err);

	return r == 0 && syncfs(fd) < 0 ? cf_fail_errno(err, errno, "sync") : r;
}

/* ---- emptying ---- */

#define FRESH "fresh" /* what becomes fs */

static int is_empty_dir(int dir_fd, const char *name, bool *ret, struct cf_err *err)
{
	int fd = -1;
	int r = open_dir(dir_fd, name, &fd, err);
	DIR *dir = r < 0 ? NULL : fdopendir(fd);
	size_t names = 0;

	if (!dir)
		return r < 0 ? r : cf_fail_errno(err, ENOMEM, "read directory");
	while (names < 3 && readdir(dir))
		names++;
	closedir(dir);
	*ret = names < 3; /* . and .. */
	return 0;
}

static int make_fresh(int dir_fd, const struct stat *like, struct cf_err *err)
{
	int r = make_dir(dir_fd, FRESH, like->st_mode & 07777, err);

	if (r == 0 && (like->st_uid || like->st_gid) &&
	    fchownat(dir_fd, FRESH, like->st_uid, like->st_gid, 0) < 0)
		r = cf_fail_errno(err, errno, "owner of a snapshot's directory");
	return r;
}

int snap_dirs_clear(struct snap_dirs *d, int64_t id, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = -1;
	bool is_empty = false;
	struct stat st;
	char name[24];

	id_text(id, name);
	int r = open_dir(d->snapshots_fd, name, &fd, err);

	if (r < 0)
		return r;
	/* Missing: we died between the two renames below. */
	bool is_there = fstatat(fd, "fs", &st, AT_SYMLINK_NOFOLLOW) == 0;

	if (is_there)
		r = is_empty_dir(fd, "fs", &is_empty, err);
	if (r < 0 || is_empty)
		return r;
	if (is_there)
		r = make_fresh(fd, &st, err);
	if (r == 0 && is_there)
		r = trash(d, fd, "fs", err);
	if (r == 0 && renameat(fd, FRESH, fd, "fs") < 0)
		r = errno == ENOENT ? make_dir(fd, "fs", 0755, err)
		                    : cf_fail_errno(err, errno, "empty snapshot directory");
	return r;
}

/* ---- reconciling ---- */

/* Calls @fn for each entry of @dir_fd; it may remove or rename what it is shown. */
static int each_entry(int dir_fd, int (*fn)(const char *name, void *user, struct cf_err *err),
                      void *user, struct cf_err *err)
{
	int fd = -1;
	int r = open_dir(dir_fd, ".", &fd, err);

	if (r < 0)
		return r;
	DIR *dir = fdopendir(fd);

	if (!dir) {
		cf_close(&fd);
		return cf_fail_errno(err, ENOMEM, "read directory");
	}
	for (struct dirent *e; r == 0 && (e = readdir(dir));)
		if (!cf_streq(e->d_name, ".") && !cf_streq(e->d_name, ".."))
			r = fn(e->d_name, user, err);
	closedir(dir);
	return r;
}

struct reconcile {
	struct snap_dirs *d;
	struct snap_store *st;
};

static int drop_unknown(const char *name, void *user, struct cf_err *err)
{
	struct reconcile *x = user;
	uint64_t id;
	struct cf_err ignored;

	if (cf_parse_u64(cf_view_str(name), INT64_MAX, &id, &ignored) == 0 &&
	    snap_store_has_id(x->st, (int64_t)id))
		return 0;
	return trash(x->d, x->d->snapshots_fd, name, err);
}

static int drop_trash(const char *name, void *user, struct cf_err *err)
{
	(void)err;
	delete_later(user, name);
	return 0;
}

int snap_dirs_cleanup(struct snap_dirs *d, struct snap_store *st, struct cf_err *err)
{
	struct reconcile x = { d, st };
	int r = each_entry(d->snapshots_fd, drop_unknown, &x, err);

	pthread_mutex_lock(&d->lock);
	while (d->deleting)
		pthread_cond_wait(&d->idle, &d->lock);
	pthread_mutex_unlock(&d->lock);
	return r;
}

static int make_missing(struct snap_dirs *d, struct snap_store *st, struct cf_err *err)
{
	cf_cleanup(snap_list_fini) struct snap_list all = { 0 };
	int r = 0;

	snap_store_list_files(st, &all);
	for (size_t i = 0; r == 0 && i < all.count; i++) {
		char path[32];

		snprintf(path, sizeof(path), "%lld/work", (long long)all.items[i]->id);
		if ((all.items[i]->flags & SNAP_HAS_DIR) &&
		    faccessat(d->snapshots_fd, path, F_OK, 0) < 0)
			r = snap_dirs_make(d, all.items[i]->id, all.items[i]->parent_id, err);
	}
	return r;
}

/* ---- life ---- */

static int open_root(struct snap_dirs *d, struct cf_err *err)
{
	int r = cf_mkdir_p(d->root, 0700, err);

	if (r == 0)
		r = open_dir(AT_FDCWD, d->root, &d->root_fd, err);
	if (r == 0)
		r = make_dir(d->root_fd, "snapshots", 0700, err);
	if (r == 0)
		r = make_dir(d->root_fd, "trash", 0700, err);
	if (r == 0)
		r = make_dir(d->root_fd, "empty", 0755, err);
	if (r == 0)
		r = open_dir(d->root_fd, "snapshots", &d->snapshots_fd, err);
	if (r == 0)
		r = open_dir(d->root_fd, "trash", &d->trash_fd, err);
	return r;
}

int snap_dirs_open(const char *root, struct snap_store *st, struct snap_dirs **ret,
                   struct cf_err *err)
{
	cf_cleanup(snap_dirs_closep) struct snap_dirs *d = cf_zalloc(sizeof(*d));
	struct reconcile x = { d, st };

	d->root = cf_strdup(root);
	d->root_fd = d->snapshots_fd = d->trash_fd = -1;
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->idle, NULL);
	int r = cf_work_new(1, DELETIONS_MAX, &d->reclaim, err);

	if (r == 0)
		r = open_root(d, err);
	if (r == 0)
		r = each_entry(d->trash_fd, drop_trash, d, err);
	if (r == 0)
		r = each_entry(d->snapshots_fd, drop_unknown, &x, err);
	if (r == 0)
		r = make_missing(d, st, err);
	if (r < 0)
		return cf_wrap(err, r, "%s", root);
	*ret = cf_take(&d);
	return 0;
}

struct snap_dirs *snap_dirs_close(struct snap_dirs *d)
{
	if (!d)
		return NULL;
	cf_work_free(d->reclaim);
	cf_close(&d->trash_fd);
	cf_close(&d->snapshots_fd);
	cf_close(&d->root_fd);
	pthread_cond_destroy(&d->idle);
	pthread_mutex_destroy(&d->lock);
	free(d->root);
	free(d);
	return NULL;
}

/* ---- usage ---- */

struct inode {
	dev_t dev;
	ino_t ino;
};

struct usage {
	bool (*stop)(void *user);
	void *user;
	int64_t size, inodes;
	struct inode *seen; /* hard-linked ones: they must count once */
	size_t seen_count, seen_cap;
};

static bool seen_before(struct usage *u, const struct stat *st)
{
	if (st->st_nlink < 2 || S_ISDIR(st->st_mode))
		return false;
	for (size_t i = 0; i < u->seen_count; i++)
		if (u->seen[i].ino == st->st_ino && u->seen[i].dev == st->st_dev)
			return true;
	cf_grow(&u->seen, &u->seen_cap, u->seen_count + 1);
	u->seen[u->seen_count++] = (struct inode){ st->st_dev, st->st_ino };
	return false;
}

static void count_one(struct usage *u, const struct stat *st)
{
	if (seen_before(u, st))
		return;
	u->size += (int64_t)st->st_blocks * 512;
	u->inodes++;
}

static int walk(int dir_fd, struct usage *u, unsigned depth, struct cf_err *err);

struct walk_arg {
	int dir_fd;
	struct usage *u;
	unsigned depth;
};

static int walk_entry(const char *name, void *user, struct cf_err *err)
{
	struct walk_arg *a = user;
	struct stat st;
	cf_cleanup(cf_closep) int fd = -1;

	if (a->u->stop && a->u->stop(a->u->user))
		return cf_fail(err, CF_CANCELLED, "counting was cancelled");
	/* A container may delete what we are about to look at. */
	if (fstatat(a->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : cf_fail_errno(err, errno, "stat");
	count_one(a->u, &st);
	if (!S_ISDIR(st.st_mode))
		return 0;
	int r = open_dir(a->dir_fd, name, &fd, err);

	if (r == -CF_NOT_FOUND)
		return 0;
	return r < 0 ? r : walk(fd, a->u, a->depth + 1, err);
}

static int walk(int dir_fd, struct usage *u, unsigned depth, struct cf_err *err)
{
	struct walk_arg a = { dir_fd, u, depth };

	/* Each level holds two descriptors; content this deep is not there to be counted. */
	if (depth > WALK_DEPTH_MAX)
		return 0;
	return each_entry(dir_fd, walk_entry, &a, err);
}

int snap_dirs_usage(struct snap_dirs *d, int64_t id, bool (*stop)(void *user), void *user,
                    int64_t *ret_size, int64_t *ret_inodes, struct cf_err *err)
{
	struct usage u = { .stop = stop, .user = user };
	cf_cleanup(cf_closep) int fd = -1;
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), "%lld/fs", (long long)id);
	int r = open_dir(d->snapshots_fd, path, &fd, err);

	if (r < 0)
		return r;
	if (fstat(fd, &st) == 0)
		count_one(&u, &st);
	r = walk(fd, &u, 0, err);
	free(u.seen);
	if (r < 0)
		return r;
	*ret_size = u.size;
	*ret_inodes = u.inodes;
	return 0;
}
