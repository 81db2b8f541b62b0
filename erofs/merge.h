/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Merges the layers of an image into one EROFS metadata image. Contents stay in the layer images,
 * which become its devices; whiteouts, opaque directories and hard links across layers are resolved
 * here, so that one mount shows the image's root and a lookup costs the same at 1 layer and at 120.
 *
 * Layer images come from a process that parsed a stranger's tar: their bytes are hostile and every
 * offset is checked. The kernel is handed only metadata that this code wrote.
 */
#include "erofs/layer_build.h"

#define LAYER_MERGE_LAYERS_MAX 512u
#define LAYER_MERGE_NAMES_MAX  4000000u /* of all layers together */

struct layer_merge_input {
	struct cf_view image;   /* the whole layer image, built with layer_build_opts.for_merge */
	struct cf_view diff_id; /* "sha256:…"; names the device */
	bool is_mapped; /* @image is a read-only file mapping, whose pages may be given back */
};

struct layer_merge_stats {
	uint64_t inodes;
	uint64_t image_bytes;
	uint64_t whiteouts;    /* that took something away */
	uint64_t linked_below; /* hard links that reached into lower layers */
};

/*
 * @layers: bottom first; the n-th is device n of the result, so mount them in this order. @uuid: of
 * the result, see layer_merge_uuid(). @fd: borrowed, an empty file. @ret may be NULL.
 * Return: 0, -CF_INVALID_ARGUMENT (a layer image is malformed, or a hard link leads nowhere; the
 * message names the layer's number), -CF_RESOURCE_EXHAUSTED.
 */
cf_must_use int layer_merge(const struct layer_merge_input *layers, size_t count,
                            const uint8_t uuid[LAYER_UUID_SIZE], int fd,
                            struct layer_merge_stats *ret, struct cf_err *err);
/* The id of the merged image of these layers, bottom first. */
void layer_merge_uuid(const struct cf_view *diff_ids, size_t count, uint8_t out[LAYER_UUID_SIZE]);

/*
 * The same over a store, in a sandboxed process (coffer-layer-helper, see layer_worker.h): opens the images of @diff_ids (bottom first) and publishes
 * "merged-<hex>.erofs" beside them, where <hex> stands for the list. When it is there already,
 * nothing is done. @ret_path: caller frees. -CF_NOT_FOUND when the store lacks a layer; otherwise as
 * layer_merge() and as layer_pipeline_feed() for a process that misbehaves.
 */
cf_must_use int layer_merge_store(const char *dir, const struct cf_view *diff_ids, size_t count,
                                  bool durable, char **ret_path, struct cf_err *err);

struct layer_merge_file {
	const char *path;       /* of a layer image */
	struct cf_view diff_id; /* as in struct layer_merge_input */
};
/*
 * The same over images that lie anywhere: publishes @dir/@name, in place of an equal name.
 * -CF_NOT_FOUND when an image is not there.
 */
cf_must_use int layer_merge_files(const struct layer_merge_file *layers, size_t count,
                                  const char *dir, const char *name, bool durable,
                                  struct cf_err *err);
