/* SPDX-License-Identifier: Apache-2.0 */
#include "base/gzip.h"

#define ZLIB_CONST 1 /* zlib reads its input and says so */
#include <zlib.h>

#define GZIP_WINDOW (15 + 16) /* zlib's way to ask for the gzip wrapper */
#define CHUNK_SIZE  16384u

bool cf_is_gzip(struct cf_view in)
{
	return in.size >= 2 && in.data[0] == 0x1f && in.data[1] == 0x8b;
}

/* Feeds at most UINT_MAX bytes at a time: zlib counts in unsigned int. */
static void feed(z_stream *z, struct cf_view *in)
{
	size_t n = CF_MIN(in->size, (size_t)1 << 30);

	z->next_in = in->data;
	z->avail_in = (uInt)n;
	*in = cf_view_sub(*in, n, in->size);
}

static int add_output(z_stream *z, const uint8_t *chunk, size_t base, size_t max,
                      struct cf_buf *ret, struct cf_err *err)
{
	size_t n = CHUNK_SIZE - z->avail_out;

	if (n > max - (ret->size - base))
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "gzip: inflates to more than %zu bytes",
		               max);
	cf_buf_add(ret, chunk, n);
	return cf_buf_check(ret, "gzip", err);
}

static int inflate_all(z_stream *z, struct cf_view in, size_t max, struct cf_buf *ret,
                       struct cf_err *err)
{
	uint8_t chunk[CHUNK_SIZE];
	size_t base = ret->size;
	int zr = Z_OK;

	while (zr != Z_STREAM_END) {
		if (z->avail_in == 0)
			feed(z, &in);
		z->next_out = chunk;
		z->avail_out = sizeof(chunk);
		zr = inflate(z, Z_NO_FLUSH);
		if (zr != Z_OK && zr != Z_STREAM_END)
			return cf_fail(err, CF_INVALID_ARGUMENT, "gzip: %s",
			               zr == Z_BUF_ERROR ? "cut short" : "damaged");
		int r = add_output(z, chunk, base, max, ret, err);
		if (r < 0)
			return r;
	}
	if (z->avail_in || in.size)
		return cf_fail(err, CF_INVALID_ARGUMENT, "gzip: more bytes after the end");
	return 0;
}

int cf_gunzip(struct cf_view in, size_t max, struct cf_buf *ret, struct cf_err *err)
{
	z_stream z = { 0 };
	int r;

	if (!cf_is_gzip(in))
		return cf_fail(err, CF_INVALID_ARGUMENT, "gzip: no gzip header");
	if (inflateInit2(&z, GZIP_WINDOW) != Z_OK)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "gzip: no memory");
	r = inflate_all(&z, in, max, ret, err);
	inflateEnd(&z);
	return r;
}

int cf_gzip(struct cf_view in, struct cf_buf *ret, struct cf_err *err)
{
	z_stream z = { 0 };
	uint8_t chunk[CHUNK_SIZE];
	int zr;

	if (deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) !=
	    Z_OK)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "gzip: no memory");
	do {
		if (z.avail_in == 0)
			feed(&z, &in);
		z.next_out = chunk;
		z.avail_out = sizeof(chunk);
		zr = deflate(&z, in.size ? Z_NO_FLUSH : Z_FINISH);
		cf_buf_add(ret, chunk, sizeof(chunk) - z.avail_out);
	} while (zr == Z_OK || (zr == Z_BUF_ERROR && !ret->bad));
	deflateEnd(&z);
	if (zr != Z_STREAM_END)
		return cf_fail(err, CF_INTERNAL, "gzip: deflate ends with %d", zr);
	return cf_buf_check(ret, "gzip", err);
}
