/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A directory of layer images, one file per diffID: "sha256-<hex>.erofs". An image appears under its
 * name whole or not at all, and only after the diffID was computed over the very bytes it was built
 * from. Files that are being built have names that start with a dot.
 */
#include "base/bytes.h"

#define LAYER_DRAFT_PREFIX ".building-" /* names of files that are being built */
#define LAYER_E_MISSING    1            /* outcome: the store does not have it */

/* "sha256:…" → "sha256-….erofs"; NULL when @diff_id is no digest of a kind we know. Caller frees. */
char *layer_store_name(struct cf_view diff_id);
/* Opens the image of @diff_id for reading. Return: 0, LAYER_E_MISSING, negative. */
cf_must_use int layer_store_find(const char *dir, struct cf_view diff_id, int *ret_fd,
                                 struct cf_err *err);
/* Removes what interrupted builds left. Call when nobody builds. */
cf_must_use int layer_store_tidy(const char *dir, struct cf_err *err);

/* A file being built. */
struct layer_draft {
	char *dir, *path; /* path NULL: published, or never there */
	int fd;           /* readable and writable */
};
cf_must_use int layer_draft_open(const char *dir, struct layer_draft *ret, struct cf_err *err);
/* fsync (when @durable), rename to dir/@name, fsync of the directory. An equal name is replaced. */
cf_must_use int layer_draft_publish(struct layer_draft *d, const char *name, bool durable,
                                    struct cf_err *err);
void layer_draft_fini(struct layer_draft *d); /* removes it unless published */
