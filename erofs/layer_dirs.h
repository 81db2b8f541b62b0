/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Writes the directories of a finished tree: the last step of building or merging. Internal to this
 * folder.
 */
#include "erofs/layer_out.h"
#include "erofs/layer_tree.h"

/* The root's attributes share block 0 with the superblock. */
#define LAYER_ROOT_XATTRS_MAX 1024u

enum layer_marks {
	LAYER_MARK_OVERLAY = 1,  /* opaque directories and those with whiteouts tell overlayfs */
	LAYER_MARK_IMPLICIT = 2, /* implicit ones say so to our merge */
};

/*
 * Sorts and writes every directory of @t. All other living nodes have their nid in .ref and a kind.
 * @inodes counts on. @block0 (LAYER_BLOCK_BYTES, zeroed) gets the root inode.
 */
cf_must_use int layer_dirs_write(struct layer_tree *t, struct layer_out *o, unsigned marks,
                                 uint64_t *inodes, uint8_t *block0, struct cf_err *err);
