/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Small gzip texts in memory: the door to zlib for what is not a layer (initdata, manifests of
 * peers). The compressed bytes may be hostile; layers have a streaming pipeline of their own.
 */
#include "base/bytes.h"

/*
 * Inflates exactly one gzip member that fills @in to its end; appends to @ret.
 * Return: 0, -CF_INVALID_ARGUMENT (not gzip, cut short, followed by more, checksum wrong),
 * -CF_RESOURCE_EXHAUSTED (over @max bytes of output).
 */
cf_must_use int cf_gunzip(struct cf_view in, size_t max, struct cf_buf *ret, struct cf_err *err);
/* Compresses; the same input gives the same bytes (no time, no name). Appends to @ret. */
cf_must_use int cf_gzip(struct cf_view in, struct cf_buf *ret, struct cf_err *err);
bool cf_is_gzip(struct cf_view in); /* begins with gzip's magic bytes */
