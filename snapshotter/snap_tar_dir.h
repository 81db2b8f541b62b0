/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A directory as a tar: what a container left in an overlay's upper directory, for the builder's
 * is_upper (erofs/layer_build.h). Everything in it is a container's: names with any bytes, devices,
 * links that lead anywhere, files that change while they are read. Nothing is followed, no device
 * is opened, and what an image could not say is refused, not left out.
 *
 *   whiteouts and opaque marks    as the disk has them; left out when nothing lies below
 *   attributes                    user.*, trusted.*, security.*, POSIX ACLs; overlayfs' own are not
 *                                 content and stay behind
 *   hard links, holes, sockets    kept
 *
 * Names of a directory come sorted, so that the same content is the same tar.
 */
#include "base/bytes.h"

#define SNAP_TAR_EXTENTS_MAX 4096u       /* of one file; behind them holes are written as zeroes */
#define SNAP_TAR_DEPTH_MAX   256u        /* directories in one another, as images have it */
#define SNAP_TAR_PATH_MAX    4096u       /* bytes of a path */
#define SNAP_TAR_NAMES_MAX   2000000u    /* of one directory */
#define SNAP_TAR_XATTRS_MAX  (64u << 10) /* bytes of one inode's attribute names, as Linux has it */

struct snap_tar_dir_opts {
	bool is_base; /* nothing lies below: whiteouts and opaque marks hide nothing */
	int (*sink)(void *user, struct cf_view v, struct cf_err *err);
	bool (*stop)(void *stop_user); /* may be NULL; true ends with -CF_CANCELLED */
	void *user, *stop_user;
};

struct snap_tar_dir_stats {
	uint64_t members, bytes;
};

/*
 * @fd: the directory, open for reading; becomes the tar's root. @ret may be NULL.
 * Return: 0, -CF_FAILED_PRECONDITION (a mount in it, a directory that overlayfs redirects elsewhere),
 * -CF_RESOURCE_EXHAUSTED (a limit above), -CF_CANCELLED, the sink's error, or by errno.
 */
cf_must_use int snap_tar_dir(int fd, const struct snap_tar_dir_opts *opts,
                             struct snap_tar_dir_stats *ret, struct cf_err *err);
