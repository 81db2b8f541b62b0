/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Compressed forms of bytes, for tests of what takes them apart. */
#include "tests/harness/test.h"

#include <zlib.h>
#include <zstd.h>

#define COMPRESSED_MAX (1u << 28)

static inline struct cf_buf gzip_of(struct cf_view v)
{
	struct cf_buf b = { .max = COMPRESSED_MAX };
	z_stream s = { 0 };

	EXPECT(deflateInit2(&s, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
	size_t cap = deflateBound(&s, v.size) + 64;
	s.next_in = (Bytef *)(uintptr_t)v.data;
	s.avail_in = (uInt)v.size;
	s.next_out = cf_buf_reserve(&b, cap);
	s.avail_out = (uInt)cap;
	EXPECT(deflate(&s, Z_FINISH) == Z_STREAM_END);
	b.size = s.total_out;
	deflateEnd(&s);
	return b;
}

static inline struct cf_buf zstd_of(struct cf_view v)
{
	struct cf_buf b = { .max = COMPRESSED_MAX };
	size_t cap = ZSTD_compressBound(v.size);

	b.size = ZSTD_compress(cf_buf_reserve(&b, cap), cap, v.data, v.size, 3);
	return b;
}
