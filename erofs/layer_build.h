/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Layer builder: the tar stream of one layer in, a mountable EROFS image out, in one pass. The door
 * for building; it runs inside a sandboxed process when the tar is a stranger's (layer_pipeline.h).
 * Every byte fed is hostile.
 *
 * The image says what overlayfs says: a whiteout is a character device 0:0, an opaque directory has
 * trusted.overlay.opaque=y. Both apply to lower layers, wherever in the layer they stand. The same
 * bytes give the same image, on any machine.
 */
#include "erofs/tar_reader.h"

#define LAYER_UUID_SIZE 16u

struct layer_build_opts {
	struct tar_limits limits;
	bool strict; /* refuse a name whose parent is no directory, instead of replacing the parent */
	/*
	 * The image is for layer_merge(), not to be mounted by itself: hard links to files of lower
	 * layers are kept as marks instead of refused, implicit parents are marked.
	 */
	bool for_merge;
	/*
	 * The tar is that of an overlay's upper directory, written by our own program from what lies
	 * on a disk, not of a registry. Then the disk's own words count: a character device 0:0 is a
	 * whiteout, trusted.overlay.opaque=y makes a directory opaque, a name that starts with ".wh."
	 * is a name like any other, and a FIFO whose extended header says that it was a socket
	 * (SCHILY.filetype=socket) is one.
	 */
	bool is_upper;
};

struct layer_stats {
	struct tar_stats tar;
	uint64_t inodes;
	uint64_t whiteouts;
	uint64_t opaque;
	uint64_t pending_links;    /* for_merge: hard links to lower layers */
	uint64_t dropped_xattrs;   /* unknown namespace, empty name, too long, reserved */
	uint64_t replaced_parents; /* something that was no directory had to become one */
	uint64_t dead_bytes;       /* contents of files that later entries replaced */
	uint64_t image_bytes;
};

struct layer_build;

/* @fd is borrowed: an empty file, readable and writable. @opts may be NULL. */
struct layer_build *layer_build_new(int fd, const struct layer_build_opts *opts);
struct layer_build *layer_build_free(struct layer_build *b);
CF_DEFINE_CLEANUP(struct layer_build *, layer_build_free);

/*
 * The next bytes of the uncompressed tar, cut anywhere. Return: 0, -CF_INVALID_ARGUMENT (malformed
 * or forbidden; the message names the member), -CF_RESOURCE_EXHAUSTED (a limit, or the store is
 * full), or the file's error. After an error only layer_build_free() may follow.
 */
cf_must_use int layer_build_feed(struct layer_build *b, struct cf_view in, struct cf_err *err);
/* The tar ended: writes the rest and, last, the superblock. @ret may be NULL. */
cf_must_use int layer_build_finish(struct layer_build *b, const uint8_t uuid[LAYER_UUID_SIZE],
                                   struct layer_stats *ret, struct cf_err *err);

/* The id of the image of a layer: RFC 9562 version 8, from the diffID's text "sha256:…". */
void layer_uuid(struct cf_view diff_id, uint8_t out[LAYER_UUID_SIZE]);
