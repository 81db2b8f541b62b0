/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What containerd's content store knows of an image whose layer is at hand: asked over containerd's
 * own socket, for the differ (snap_differ.h). Manifests and configurations in there came from a
 * registry: what they say is believed only where a digest proves it.
 */
#include "base/str.h"

#define SNAP_CONTENT_CONFIG_MAX (4u << 20) /* bytes of an image's configuration */
#define SNAP_CONTENT_IMAGES_MAX 64u        /* images with this layer that are looked at */
#define SNAP_CONTENT_TIMEOUT_MS 5000
#define SNAP_CONTENT_READ_MS    5000 /* a whole blob */

struct snap_content_layer {
	const char *layer;  /* digest of the layer's blob */
	const char *parent; /* chainID below, "sha256:…" */
	const char *chain;  /* chainID of the layer */
};

/*
 * The diffID with which @in.parent becomes @in.chain, out of the configurations of all images in
 * namespace @ns that have the layer; *ret_config is the configuration it was found in. The caller
 * frees both. Return: 0, -CF_NOT_FOUND (no image says so), or what containerd fails with.
 */
cf_must_use int snap_content_diff_id(const char *socket, const char *ns,
                                     const struct snap_content_layer *in, char **ret_diff_id,
                                     char **ret_config, struct cf_err *err);
/* The same for the lowest layer, whose diffID is known: the configuration that begins with it. */
cf_must_use int snap_content_config_of(const char *socket, const char *ns, const char *layer,
                                       const char *diff_id, char **ret_config, struct cf_err *err);

/*
 * Hands the blob @digest to @take in pieces, as long as that returns true; one over @size_max bytes is
 * -CF_RESOURCE_EXHAUSTED. Return: 0, also when @take wanted no more; or what containerd fails with.
 */
cf_must_use int snap_content_read(const char *socket, const char *ns, const char *digest,
                                  uint64_t size_max, bool (*take)(void *arg, struct cf_view piece),
                                  void *arg, struct cf_err *err);

/* Sets one label of the blob @digest. */
cf_must_use int snap_content_label(const char *socket, const char *ns, const char *digest,
                                   const char *key, const char *value, struct cf_err *err);

/*
 * Which of @diff_ids on top of @parent is @chain; the caller frees. NULL: none of them.
 * Source: OCI image-spec config.md, "Layer ChainID".
 */
char *snap_content_on_top(const char *parent, const char *chain, const struct cf_strv *diff_ids);
