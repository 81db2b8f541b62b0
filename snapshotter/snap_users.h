/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Users of an image whose layers containerd has but which is unpacked by the differ that writes
 * nothing: /etc/passwd and /etc/group are looked for in the blob, by a sandboxed process
 * (erofs/layer_users.h), and laid where the commit keeps them (snap_identity_keep). A hint that is
 * worth a little reading: large layers, encrypted ones and whatever fails go without.
 */
#include "base/bytes.h"

#define SNAP_USERS_BLOB_MAX (64ull << 20) /* bytes of a blob that is looked into */

struct snap_users_layer {
	const char *containerd, *ns; /* its socket; namespace of the blob */
	const char *digest, *media_type;
	int64_t size; /* as the manifest has it */
};

/* Below @dir: etc/passwd and etc/group, each only when the layer says something about it. */
void snap_users_find(const struct snap_users_layer *layer, const char *dir);
