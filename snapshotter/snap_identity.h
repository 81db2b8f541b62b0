/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Who the users of an image are, where its files never come to this host. containerd looks up
 * `USER name` and supplementary groups in the /etc of a container's root, which under guest pull is
 * empty: names are not found, groups are lost. Whoever builds an image may put both files into
 * annotations of a layer, which reach us as labels; they are shown to containerd as a directory below
 * the container's own. Where containerd has unpacked a layer on this host all the same (an image that
 * another snapshotter had pulled), both files are kept as such labels when the rest is thrown away.
 *
 *   containerd.io/snapshot/coffer.passwd   base64 of /etc/passwd, at most SNAP_IDENTITY_MAX bytes
 *   containerd.io/snapshot/coffer.group    base64 of /etc/group
 *
 * The labels are a registry's word: they decide which numbers the guest is asked for, nothing more,
 * and the guest's policy sees those numbers.
 */
#include "snapshotter/snap_store.h"

#define SNAP_LABEL_PASSWD "containerd.io/snapshot/coffer.passwd"
#define SNAP_LABEL_GROUP  "containerd.io/snapshot/coffer.group"
#define SNAP_IDENTITY_MAX 3072u
#define SNAP_IDENTITY_DIR "identity" /* in a snapshot's directory */
/* What is kept of an unpacked file, to the end of a line: containerd's labels hold 4096 bytes. */
#define SNAP_IDENTITY_KEPT 3000u

/* Whether any of @chain (nearest first) brings a file that can be used. */
bool snap_identity_is_in(const struct snap_list *chain);
/* Makes @root/snapshots/@id/identity/etc with what @chain brings; what is there stays. */
cf_must_use int snap_identity_make(const char *root, int64_t id, const struct snap_list *chain,
                                   struct cf_err *err);
/*
 * Adds to @labels what a layer that was unpacked in @dir has of both files; labels that are there stay.
 * The content is a stranger's: links are not followed, and a file that is none hides those of the
 * layers below. -CF_RESOURCE_EXHAUSTED: too many bytes of labels.
 */
cf_must_use int snap_identity_keep(const char *dir, struct snap_labels *labels, struct cf_err *err);
