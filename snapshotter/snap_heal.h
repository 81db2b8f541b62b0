/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Taking up what containerd knows and we do not, because our state was lost. */
#include "snapshotter/snap_service.h"

/* Whether containerd's metadata layer named @key: "NS/NUMBER/…". */
bool snap_heal_is_backend_key(const char *key);
/*
 * A container was created, then our state was lost, and now it is started: a record and its
 * directories are made anew. containerd itself tells the guest the image's name, so a volume that
 * says nothing about it is enough. Return: a reference; NULL where this is none of these (@err is
 * left alone), or on failure.
 */
struct snap_record *snap_heal_container(struct snap_service *s, const char *key,
                                        struct cf_err *err);

/*
 * A store that never held anything beside directories that hold content: the records were lost. The
 * directories may be mounted by containers that run, and nobody can say which, so they are put aside
 * as snapshots.lost.SECONDS instead of being deleted as unknown. Before snap_dirs_open().
 */
cf_must_use int snap_heal_keep_dirs(const char *root, struct snap_store *st, struct cf_err *err);
