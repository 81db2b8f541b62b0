/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Decompression of layer blobs, streaming: gzip (members may follow each other) and zstd (frames
 * and skippable frames may follow each other). The doors to ISA-L, zlib and libzstd. Every byte is
 * hostile; a stranger's blob is inflated in a sandboxed process only (layer_pipeline.h).
 */
#include "base/bytes.h"

#define INFLATE_ZSTD_WINDOW_LOG 27u /* largest window we take: 128 MiB */
#define INFLATE_MAGIC_BYTES     4u  /* enough for inflate_sniff() */

enum inflate_format {
	INFLATE_PLAIN, /* not compressed: there is nothing to inflate */
	INFLATE_GZIP,
	INFLATE_ZSTD,
};

/* By the first bytes of a blob; INFLATE_PLAIN when they are no magic we know, or too few. */
enum inflate_format inflate_sniff(struct cf_view head);

struct inflate;

/* @format: gzip or zstd. */
cf_must_use int inflate_new(enum inflate_format format, struct inflate **ret, struct cf_err *err);
struct inflate *inflate_free(struct inflate *z);
CF_DEFINE_CLEANUP(struct inflate *, inflate_free);

/*
 * Eats from the front of *@in, writes at most @cap bytes to @out, stops when either is used up.
 * Call again with *@in empty until it produces nothing: output may be left inside.
 * Return: 0, -CF_INVALID_ARGUMENT (malformed, a checksum differs, bytes behind the last member),
 * -CF_RESOURCE_EXHAUSTED (window over the limit).
 */
cf_must_use int inflate_step(struct inflate *z, struct cf_view *in, uint8_t *out, size_t cap,
                             size_t *ret_produced, struct cf_err *err);
/* The input ended. -CF_INVALID_ARGUMENT when it did so inside a member or frame. */
cf_must_use int inflate_finish(struct inflate *z, struct cf_err *err);

const char *inflate_engine(enum inflate_format format); /* "isa-l", "zlib", "libzstd" */
