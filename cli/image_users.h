/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Users and groups of an image, written where everybody can read them: a runtime that never sees an
 * image's files looks up `USER name` and supplementary groups in annotations of its topmost layer
 * (snapshotter/README.md, "Users"). The files are the caller's own.
 */
#include "proto/oci_manifest.h"

#define IMAGE_USERS_PASSWD "containerd.io/snapshot/coffer.passwd"
#define IMAGE_USERS_GROUP  "containerd.io/snapshot/coffer.group"
/* Annotations become containerd's labels, whose key and value have 4096 bytes together. */
#define IMAGE_USERS_MAX 3000u

/*
 * Adds the file at @path as annotation @key, one of those above.
 * -CF_INVALID_ARGUMENT: no such file format, or a line that holds a password's hash;
 * -CF_RESOURCE_EXHAUSTED: over IMAGE_USERS_MAX bytes; what reading failed with.
 */
cf_must_use int image_users_add(struct oci_pairs *annotations, const char *key, const char *path,
                                struct cf_err *err);
