/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What a snapshot is mounted with. The answer is made from the records alone, so it is the same
 * bytes at any time, also after a restart.
 *
 * A guest-pull snapshot is answered with Kata's `image_guest_pull` volume: the content stays in the
 * registry, the guest pulls it. What the volume's metadata says about the image comes from labels,
 * which belong to whichever image brought the layers first: the guest takes it as a hint and
 * resolves the image by its name itself.
 */
#include "base/str.h"
#include "snapshotter/snap_store.h"

#define SNAP_VOLUME_PREFIX    "io.katacontainers.volume="
#define SNAP_VOLUME_JSON_MAX  (16u << 10) /* more hints than fit are left out */
#define SNAP_VOLUME_DUMMY_REF "dummy-image-reference"

struct snap_mount {
	char *type, *source;
	struct cf_strv options; /* the order counts */
};
void snap_mount_fini(struct snap_mount *m);

struct snap_mount_opts {
	const char *root; /* the state directory */
	const char
		*helper; /* nydus-overlayfs… : a name in containerd's PATH, or an absolute path */
	bool is_minimal; /* tell the guest no more than nydus-snapshotter does */
	bool is_volatile; /* overlay's volatile for writable ones */
};

/*
 * @chain: the committed records below @rec, nearest first.
 * Return: 0, -CF_FAILED_PRECONDITION (committed snapshots have no mounts).
 */
cf_must_use int snap_mount_of(const struct snap_mount_opts *opts, const struct snap_record *rec,
                              const struct snap_list *chain, struct snap_mount *ret,
                              struct cf_err *err);

/* The volume's JSON alone, for tests. */
void snap_volume_json(const struct snap_mount_opts *opts, const struct snap_record *rec,
                      const struct snap_list *chain, struct cf_buf *out);
