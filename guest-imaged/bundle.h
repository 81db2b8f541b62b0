/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A container's bundle out of a pulled image: rootfs (the merged image below, a writable overlay on
 * top) and config.json with what the image says, in the form in which the peers' image service
 * writes it. Needs CAP_SYS_ADMIN.
 */
#include "guest-imaged/image_pull.h"

/* annotation of config.json: "true" when every layer of the image was encrypted */
#define BUNDLE_ENCRYPTED "io.coffer.image.encrypted"

/*
 * bundle_make() - rootfs and config.json at @path, which may exist
 * @work_dir: the writable halves of overlays lie in its overlay/ directory
 *
 * A rootfs that this image is already mounted on is kept as it is; another one there is
 * -CF_FAILED_PRECONDITION. On failure nothing stays mounted.
 */
cf_must_use int bundle_make(const struct pull_result *image, const char *path, const char *work_dir,
                            struct cf_err *err);
/* Takes the mounts away again. */
void bundle_unmake(const char *path);

/* The document alone; @rootfs_fd resolves names of users, -1: numbers only. */
cf_must_use int bundle_config(const struct pull_result *image, int rootfs_fd, struct cf_buf *ret,
                              struct cf_err *err);
