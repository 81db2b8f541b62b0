/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The directories below the state directory, named by ids alone:
 *
 *   snapshots/ID/{fs,work}   0700, fs 0755, work 0711
 *   empty/                   0755, the lower directory of everything whose content is elsewhere
 *   trash/                   what is being deleted
 *
 * Rows are durable, directories follow them: one that is missing is made anew, one that nobody
 * knows is deleted. Deleting happens on a thread of its own.
 */
#include "snapshotter/snap_store.h"

struct snap_dirs;

/* Makes what is missing, also of the snapshots that @st knows; deletes what @st does not know. */
cf_must_use int snap_dirs_open(const char *root, struct snap_store *st, struct snap_dirs **ret,
                               struct cf_err *err);
struct snap_dirs *snap_dirs_close(struct snap_dirs *d); /* waits for deletions */
CF_DEFINE_CLEANUP(struct snap_dirs *, snap_dirs_close);

/* fs inherits owner and mode bits of @like's fs (0: root's, 0755). Existing directories are fine. */
cf_must_use int snap_dirs_make(struct snap_dirs *d, int64_t id, int64_t like, struct cf_err *err);
/* Gives fs to @uid:@gid, for a container whose root is another user here. */
cf_must_use int snap_dirs_own(struct snap_dirs *d, int64_t id, uid_t uid, gid_t gid,
                              struct cf_err *err);
/* What is in fs is on disk when 0 is returned. */
cf_must_use int snap_dirs_sync(struct snap_dirs *d, int64_t id, struct cf_err *err);
/* Moves it away at once, deletes it later. A missing one is fine. */
cf_must_use int snap_dirs_drop(struct snap_dirs *d, int64_t id, struct cf_err *err);
/* Empties fs (as snap_dirs_drop() of its content); its owner and mode stay. */
cf_must_use int snap_dirs_clear(struct snap_dirs *d, int64_t id, struct cf_err *err);
/* Drops every directory whose id @st does not know, and waits until they are gone. */
cf_must_use int snap_dirs_cleanup(struct snap_dirs *d, struct snap_store *st, struct cf_err *err);
/*
 * Disk usage of fs: bytes of allocated blocks and number of inodes, each inode once. @stop is asked
 * now and then; true ends with -CF_CANCELLED.
 */
cf_must_use int snap_dirs_usage(struct snap_dirs *d, int64_t id, bool (*stop)(void *user),
                                void *user, int64_t *ret_size, int64_t *ret_inodes,
                                struct cf_err *err);
