/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_erofs.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "base/work.h"
#include "erofs/layer_store.h"
#include "erofs/mount.h"
#include "snapshotter/snap_worker.h"

#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef EROFS_SUPER_MAGIC_V1
#define EROFS_SUPER_MAGIC_V1 0xE0F5E1E2
#endif
#define BUCKETS 256u

#define BUILDERS       2u /* images being built at a time: each has two processes */
#define BUILDS_WAITING 64u

/* A committed snapshot that somebody stands on. */
struct stand {
	struct stand *next;
	int64_t id;
	size_t holders;
	bool is_busy; /* one thread mounts or unmounts; the others wait */
};

struct snap_erofs {
	struct snap_erofs_opts opts;
	char *mounts; /* the directory */
	struct cf_work *builders;
	pthread_mutex_t convert; /* held while a directory of old is turned into an image */
	pthread_mutex_t lock;
	pthread_cond_t ready;
	struct stand *buckets[BUCKETS]; /* under the lock */
};

/* ---- paths ---- */

char *snap_erofs_path(const char *root, int64_t id)
{
	return cf_asprintf("%s/" SNAP_EROFS_MOUNTS "/%lld", root, (long long)id);
}

static char *dir_of(const struct snap_erofs *e, int64_t id)
{
	return cf_asprintf("%s/snapshots/%lld", e->opts.root, (long long)id);
}

static char *file_of(const struct snap_erofs *e, int64_t id, const char *name)
{
	return cf_asprintf("%s/snapshots/%lld/%s", e->opts.root, (long long)id, name);
}

/* ---- from a directory to an image ---- */

static const char *durability(const struct snap_erofs *e)
{
	return e->opts.is_relaxed ? "relaxed" : "durable";
}

/* The snapshot's own directory is as durable as what is in it. */
static int sync_parent(const struct snap_erofs *e, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/snapshots", e->opts.root);

	return e->opts.is_relaxed ? 0 : cf_fsync_dir(path, err);
}

int snap_erofs_build(struct snap_erofs *e, int64_t id, bool is_base, bool (*stop)(void *user),
                     void *user, struct snap_erofs_usage *ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *dir = dir_of(e, id);
	cf_cleanup(cf_freep) char *image = file_of(e, id, SNAP_EROFS_LAYER);
	const char *args[] = { "image", dir, is_base ? "base" : "upper", durability(e), NULL };
	struct stat st;
	int r = snap_worker_run(args, stop, user, NULL, err);

	if (r == 0)
		r = sync_parent(e, err);
	if (r < 0)
		return r;
	if (stat(image, &st) < 0)
		return cf_fail_errno(err, errno, "%s", image);
	*ret = (struct snap_erofs_usage){ (int64_t)st.st_blocks * 512, 1 };
	return 0;
}

int snap_erofs_later(struct snap_erofs *e, void (*fn)(void *arg), void *arg, struct cf_err *err)
{
	return cf_work_add(e->builders, fn, arg, err);
}

/* ---- from images to a mount ---- */

/* A layer that was committed as a directory, or whose image went missing beside it. */
static int need_image(struct snap_erofs *e, const struct snap_record *layer, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *image = file_of(e, layer->id, SNAP_EROFS_LAYER);
	struct snap_erofs_usage ignored;
	int r = 0;

	if (access(image, F_OK) == 0)
		return 0;
	if (layer->flags & SNAP_GUEST_PULL)
		return cf_fail(err, CF_FAILED_PRECONDITION,
		               "layer %s was left to the guest: its content is not on this host",
		               layer->name);
	if (layer->flags & SNAP_EROFS)
		return cf_fail(err, CF_DATA_LOSS, "the image of layer %s is gone", layer->name);
	pthread_mutex_lock(&e->convert);
	if (access(image, F_OK) < 0)
		r = snap_erofs_build(e, layer->id, layer->parent_id == 0, NULL, NULL, &ignored,
		                     err);
	pthread_mutex_unlock(&e->convert);
	return r;
}

/* Bottom first, as merging and mounting want them. */
struct layers {
	size_t count;
	char **paths, **ids;
};

static void layers_fini(struct layers *l)
{
	for (size_t i = 0; i < l->count; i++) {
		free(l->paths[i]);
		free(l->ids[i]);
	}
	free(l->paths);
	free(l->ids);
}

static int collect(struct snap_erofs *e, const struct snap_record *top, struct layers *ret,
                   struct cf_err *err)
{
	cf_cleanup(snap_list_fini) struct snap_list below = { 0 };
	int r = 0;

	snap_store_chain(e->opts.store, top, &below);
	ret->paths = cf_zalloc_n(below.count + 1, sizeof(*ret->paths));
	ret->ids = cf_zalloc_n(below.count + 1, sizeof(*ret->ids));
	for (size_t i = 0; r == 0 && i <= below.count; i++) {
		const struct snap_record *layer =
			i < below.count ? below.items[below.count - 1 - i] : top;

		r = need_image(e, layer, err);
		ret->paths[i] = file_of(e, layer->id, SNAP_EROFS_LAYER);
		ret->ids[i] = cf_asprintf("snapshot:%lld", (long long)layer->id);
		ret->count = i + 1;
	}
	return r;
}

static int merge(struct snap_erofs *e, int64_t id, const struct layers *l, const char *meta,
                 struct cf_err *err)
{
	cf_cleanup(cf_strv_fini) struct cf_strv args = { 0 };
	cf_cleanup(cf_freep) char *dir = dir_of(e, id);

	if (access(meta, F_OK) == 0)
		return 0;
	cf_strv_add(&args, "merge");
	cf_strv_add(&args, dir);
	cf_strv_add(&args, durability(e));
	for (size_t i = 0; i < l->count; i++) {
		cf_strv_add(&args, l->paths[i]);
		cf_strv_add(&args, l->ids[i]);
	}
	return snap_worker_run((const char *const *)args.items, NULL, NULL, NULL, err);
}

static bool is_mounted(const char *path)
{
	struct statfs st;

	return statfs(path, &st) == 0 && (unsigned long)st.f_type == EROFS_SUPER_MAGIC_V1;
}

static int mount_layers(struct snap_erofs *e, const struct snap_record *rec, const char *target,
                        struct cf_err *err)
{
	cf_cleanup(layers_fini) struct layers l = { 0 };
	cf_cleanup(cf_freep) char *meta = file_of(e, rec->id, SNAP_EROFS_META);
	struct layer_mount_opts opts = { 0 };
	int r = collect(e, rec, &l, err);

	if (r < 0)
		return r;
	opts.image = l.paths[0];
	if (l.count > 1) {
		r = merge(e, rec->id, &l, meta, err);
		opts = (struct layer_mount_opts){ .image = meta,
			                          .devices = (const char *const *)l.paths,
			                          .device_count = l.count };
	}
	if (r == 0)
		r = cf_mkdir_p(target, 0700, err);
	return r < 0 ? r : layer_mount(&opts, target, err);
}

static int need_mount(struct snap_erofs *e, const struct snap_record *rec, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *target = snap_erofs_path(e->opts.root, rec->id);

	if (is_mounted(target))
		return 0;
	int r = mount_layers(e, rec, target, err);

	return r < 0 ? cf_wrap(err, r, "mount the layers of %s", rec->name) : 0;
}

/* Whoever looks at it already keeps looking: overlay and bind mounts hold their own reference. */
static void take_away(const char *target)
{
	if (umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
		cf_log_warn("a mount stays", CF_F_STR("path", target),
		            CF_F_STR("why", strerror(errno)));
	(void)!rmdir(target);
}

/* ---- who stands on what ---- */

static struct stand **find(struct snap_erofs *e, int64_t id)
{
	struct stand **s = &e->buckets[(uint64_t)id % BUCKETS];

	while (*s && (*s)->id != id)
		s = &(*s)->next;
	return s;
}

/* Under the lock: the stand of @id, ours alone until leave(). */
static struct stand *enter(struct snap_erofs *e, int64_t id)
{
	for (;;) {
		struct stand **s = find(e, id);

		if (!*s) {
			*s = cf_zalloc(sizeof(**s));
			(*s)->id = id;
		}
		if (!(*s)->is_busy) {
			(*s)->is_busy = true;
			return *s;
		}
		pthread_cond_wait(&e->ready, &e->lock);
	}
}

static void leave(struct snap_erofs *e, struct stand *s)
{
	s->is_busy = false;
	if (s->holders == 0) {
		*find(e, s->id) = s->next;
		free(s);
	}
	pthread_cond_broadcast(&e->ready);
}

/* @more: holders that come with it. */
static int with_mount(struct snap_erofs *e, const struct snap_record *rec, size_t more,
                      struct cf_err *err)
{
	pthread_mutex_lock(&e->lock);
	struct stand *s = enter(e, rec->id);

	pthread_mutex_unlock(&e->lock);
	int r = need_mount(e, rec, err);

	pthread_mutex_lock(&e->lock);
	if (r == 0)
		s->holders += more;
	leave(e, s);
	pthread_mutex_unlock(&e->lock);
	return r;
}

int snap_erofs_hold(struct snap_erofs *e, const struct snap_record *rec, struct cf_err *err)
{
	return with_mount(e, rec, 1, err);
}

int snap_erofs_check(struct snap_erofs *e, const struct snap_record *rec, struct cf_err *err)
{
	return with_mount(e, rec, 0, err);
}

void snap_erofs_release(struct snap_erofs *e, int64_t id, bool is_inner)
{
	cf_cleanup(cf_freep) char *target = snap_erofs_path(e->opts.root, id);
	cf_cleanup(cf_freep) char *meta = file_of(e, id, SNAP_EROFS_META);

	pthread_mutex_lock(&e->lock);
	struct stand *s = enter(e, id);
	bool is_last = s->holders <= 1;

	s->holders -= s->holders > 0;
	pthread_mutex_unlock(&e->lock);
	if (is_last) {
		take_away(target);
		if (is_inner)
			(void)!unlink(meta);
	}
	pthread_mutex_lock(&e->lock);
	leave(e, s);
	pthread_mutex_unlock(&e->lock);
}

/* ---- life ---- */

/* Mounts of earlier lives: they may be of another state directory with the same ids. */
static int take_away_all(struct snap_erofs *e, struct cf_err *err)
{
	int r = cf_mkdir_p(e->mounts, 0700, err);
	DIR *dir = r < 0 ? NULL : opendir(e->mounts);

	if (r == 0 && !dir)
		r = cf_fail_errno(err, errno, "%s", e->mounts);
	for (struct dirent *d; r == 0 && (d = readdir(dir));) {
		cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", e->mounts, d->d_name);

		if (d->d_name[0] != '.')
			take_away(path);
	}
	if (dir)
		closedir(dir);
	return r;
}

static void hold_again(struct snap_erofs *e, const struct snap_record *rec)
{
	cf_cleanup(snap_list_fini) struct snap_list chain = { 0 };
	struct cf_err err = { 0 };

	snap_store_chain(e->opts.store, rec, &chain);
	if (!chain.count)
		return;
	struct stand *s = enter(e, chain.items[0]->id);

	s->holders++;
	leave(e, s);
	/* One that cannot be mounted must not keep the others from being served. */
	if (snap_erofs_check(e, chain.items[0], &err) < 0)
		cf_log_error("a snapshot cannot be mounted", CF_F_STR("name", rec->name),
		             CF_F_STR("why", err.msg));
}

/* A commit that was durable when we died left its directory full. */
static void clear_again(struct snap_erofs *e, const struct snap_record *rec)
{
	cf_cleanup(cf_freep) char *image = file_of(e, rec->id, SNAP_EROFS_LAYER);
	struct cf_err err = { 0 };

	if (access(image, F_OK) < 0)
		cf_log_error("the image of a layer is gone", CF_F_STR("name", rec->name));
	else if (snap_dirs_clear(e->opts.dirs, rec->id, &err) < 0)
		cf_log_warn("a committed directory stays", CF_F_STR("why", err.msg));
}

/*
 * What was being made when we died. An image beside a snapshot that was not committed is of an attempt:
 * who commits it as a directory, in overlay mode, must not find that one later.
 */
static void tidy_again(struct snap_erofs *e, const struct snap_record *rec)
{
	cf_cleanup(cf_freep) char *dir = dir_of(e, rec->id);
	cf_cleanup(cf_freep) char *image = file_of(e, rec->id, SNAP_EROFS_LAYER);
	struct cf_err err = { 0 };

	if (!(rec->flags & SNAP_HAS_DIR) || (rec->flags & (SNAP_KATA | SNAP_NULL_EXTRACT)))
		return;
	if (layer_store_tidy(dir, &err) < 0)
		cf_log_warn("an unfinished image stays", CF_F_STR("why", err.msg));
	if (rec->kind != SNAP_COMMITTED)
		(void)!unlink(image);
}

static void resume(struct snap_erofs *e)
{
	cf_cleanup(snap_list_fini) struct snap_list all = { 0 };

	snap_store_list_files(e->opts.store, &all);
	for (size_t i = 0; i < all.count; i++)
		tidy_again(e, all.items[i]);
	for (size_t i = 0; i < all.count; i++) {
		if (all.items[i]->flags & SNAP_ON_EROFS)
			hold_again(e, all.items[i]);
		if (all.items[i]->flags & SNAP_EROFS)
			clear_again(e, all.items[i]);
	}
}

int snap_erofs_open(const struct snap_erofs_opts *opts, struct snap_erofs **ret, struct cf_err *err)
{
	cf_cleanup(snap_erofs_closep) struct snap_erofs *e = cf_zalloc(sizeof(*e));

	e->opts = *opts;
	e->mounts = cf_asprintf("%s/" SNAP_EROFS_MOUNTS, opts->root);
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->ready, NULL);
	pthread_mutex_init(&e->convert, NULL);
	int r = cf_work_new(BUILDERS, BUILDS_WAITING, &e->builders, err);

	if (r == 0)
		r = take_away_all(e, err);
	if (r < 0)
		return r;
	resume(e);
	*ret = cf_take(&e);
	return 0;
}

struct snap_erofs *snap_erofs_close(struct snap_erofs *e)
{
	if (!e)
		return NULL;
	cf_work_free(e->builders);
	for (size_t i = 0; i < BUCKETS; i++)
		while (e->buckets[i]) {
			struct stand *s = e->buckets[i];

			e->buckets[i] = s->next;
			free(s);
		}
	pthread_cond_destroy(&e->ready);
	pthread_mutex_destroy(&e->lock);
	pthread_mutex_destroy(&e->convert);
	free(e->mounts);
	free(e);
	return NULL;
}
