/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The tree of a merged image as plain files: for machines where nothing can be mounted, for want of
 * privilege or of EROFS. Reads merged image and layers as hostile; writes below a new directory,
 * never through a link.
 */
#include "base/err.h"

#define LAYER_EXTRACT_BYTES_MAX (256ull << 30) /* of all files together */

struct layer_extract_stats {
	uint64_t names, bytes;
	/* not root: owners, device nodes and protected attributes that were left out */
	uint64_t left_out;
};

/*
 * @merged and @layers (bottom first): paths, as layer_mount() takes them. @target must not exist; it
 * becomes the root directory. What was written stays when this fails: the caller removes it.
 * As root owners, modes, times, attributes and devices are all set or the call fails (attributes that
 * the file system there does not know are counted); otherwise what needs privilege is counted.
 */
cf_must_use int layer_extract(const char *merged, const char *const *layers, size_t count,
                              const char *target, struct layer_extract_stats *ret,
                              struct cf_err *err);
