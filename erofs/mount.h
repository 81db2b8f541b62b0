/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Mounting EROFS images and the overlay on top, through the new mount API: no limit on the length
 * of options, and the kernel's own words when it refuses. Needs CAP_SYS_ADMIN over the mount
 * namespace. The kernel parses the image: hand it only what layer_merge() or layer_build() wrote.
 */
#include "base/err.h"

enum layer_mount_backing {
	LAYER_BACKING_AUTO, /* the file itself where the kernel can (6.12), else a loop device */
	LAYER_BACKING_FILE,
	LAYER_BACKING_LOOP,
};

struct layer_mount_opts {
	const char *image;
	const char *const *devices; /* paths of the layer images, bottom first; borrowed */
	size_t device_count;
	enum layer_mount_backing backing;
	bool nosuid, nodev, noexec;
};

/*
 * Mounts read-only at @target, a directory. Loop devices, where needed, go away with the mount.
 * Return: 0; -CF_UNIMPLEMENTED (this kernel cannot: the text says what), -CF_INVALID_ARGUMENT (it
 * does not like the image), or by errno.
 */
cf_must_use int layer_mount(const struct layer_mount_opts *opts, const char *target,
                            struct cf_err *err);

struct layer_overlay_opts {
	const char *lower;
	const char *upper, *work; /* NULL both: read-only */
	bool nosuid, nodev, noexec;
};
/* One lower, one upper: the writable root of a container. */
cf_must_use int layer_mount_overlay(const struct layer_overlay_opts *opts, const char *target,
                                    struct cf_err *err);

/* Not mounted is fine. -CF_FAILED_PRECONDITION when somebody still uses it. */
cf_must_use int layer_unmount(const char *target, struct cf_err *err);
