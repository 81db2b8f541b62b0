/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Content as EROFS images. At Commit the snapshot's directory becomes an image, made by a sandboxed
 * process (erofs/layer_pipeline.h); who stands on it later gets one mount of all layers below.
 *
 *   snapshots/ID/layer.erofs     a committed snapshot's content, and
 *   snapshots/ID/fs              its directory, empty by then (owner and mode are looked at)
 *   snapshots/ID/fsmeta.erofs    names and attributes of it and all below; contents stay in the
 *                                layer.erofs files. Made when the first one stands on it, not for
 *                                the lowest one, whose layer.erofs is enough
 *   mounts/ID                    where that is mounted, as long as somebody stands on it
 *
 * The names are those of containerd's own erofs snapshotter. Directories that were committed before
 * (overlay mode) are turned into images when somebody stands on them. Any thread.
 */
#include "snapshotter/snap_dirs.h"

#define SNAP_EROFS_LAYER  "layer.erofs"
#define SNAP_EROFS_META   "fsmeta.erofs"
#define SNAP_EROFS_MOUNTS "mounts"

struct snap_erofs;

struct snap_erofs_opts {
	const char *root; /* borrowed, like the two below, until it is closed */
	struct snap_store *store;
	struct snap_dirs *dirs;
	bool is_relaxed; /* images are not synced before they are acknowledged */
};

/* Mounts again what the snapshots at hand stand on; takes away every other mount of ours. */
cf_must_use int snap_erofs_open(const struct snap_erofs_opts *opts, struct snap_erofs **ret,
                                struct cf_err *err);
/* Leaves the mounts where they are: containers may be starting on them. */
struct snap_erofs *snap_erofs_close(struct snap_erofs *e);
CF_DEFINE_CLEANUP(struct snap_erofs *, snap_erofs_close);

struct snap_erofs_usage {
	int64_t size, inodes; /* allocated bytes and files on this host */
};
/*
 * Turns the directory of @id into its layer.erofs, synced. @is_base: nothing lies below. The
 * directory is left as it is: snap_dirs_clear() it once the commit is durable.
 * Return: 0, what snap_tar_dir() and layer_pipeline_feed() fail with.
 */
cf_must_use int snap_erofs_build(struct snap_erofs *e, int64_t id, bool is_base,
                                 bool (*stop)(void *user), void *user, struct snap_erofs_usage *ret,
                                 struct cf_err *err);
/*
 * Runs @fn(@arg) on a thread kept for building, so that long builds do not keep those that serve.
 * -CF_RESOURCE_EXHAUSTED: too many wait already, @fn never runs.
 */
cf_must_use int snap_erofs_later(struct snap_erofs *e, void (*fn)(void *arg), void *arg,
                                 struct cf_err *err);

/*
 * Somebody is about to stand on committed @rec: it is mounted when 0 is returned, and stays so until
 * snap_erofs_release(). -CF_FAILED_PRECONDITION: a layer below has no content on this host.
 */
cf_must_use int snap_erofs_hold(struct snap_erofs *e, const struct snap_record *rec,
                                struct cf_err *err);
/* For those that hold already: mounts it again when somebody took the mount away. */
cf_must_use int snap_erofs_check(struct snap_erofs *e, const struct snap_record *rec,
                                 struct cf_err *err);
/*
 * The one who held is gone. The last one takes the mount with it and, when it was committed on top
 * (@is_inner: @id is now in the middle of an image), fsmeta.erofs too.
 */
void snap_erofs_release(struct snap_erofs *e, int64_t id, bool is_inner);

/* The mount of @id as containerd is told of it; the caller frees. */
char *snap_erofs_path(const char *root, int64_t id);
