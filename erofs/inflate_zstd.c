/* SPDX-License-Identifier: Apache-2.0 */
/* The door to libzstd. */
#include "erofs/inflate_ops.h"

#include <zstd.h>
#include <zstd_errors.h>

struct zstd {
	ZSTD_DCtx *ctx;
	bool any, in_frame;
};

static void *zstd_open(void)
{
	struct zstd *z = cf_zalloc(sizeof(*z));

	z->ctx = ZSTD_createDCtx();
	if (z->ctx && !ZSTD_isError(ZSTD_DCtx_setParameter(z->ctx, ZSTD_d_windowLogMax,
	                                                   INFLATE_ZSTD_WINDOW_LOG)))
		return z;
	ZSTD_freeDCtx(z->ctx);
	free(z);
	return NULL;
}

static void zstd_close(void *state)
{
	struct zstd *z = state;

	ZSTD_freeDCtx(z->ctx);
	free(z);
}

static int fail(size_t code, struct cf_err *err)
{
	enum cf_code why = CF_INVALID_ARGUMENT;

	if (ZSTD_getErrorCode(code) == ZSTD_error_frameParameter_windowTooLarge ||
	    ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation)
		why = CF_RESOURCE_EXHAUSTED;
	return cf_fail(err, why, "zstd: %s", ZSTD_getErrorName(code));
}

static int zstd_step(void *state, struct cf_view *in, uint8_t *out, size_t cap,
                     size_t *ret_produced, struct cf_err *err)
{
	struct zstd *z = state;
	ZSTD_inBuffer from = { in->data, in->size, 0 };
	ZSTD_outBuffer to = { out, cap, 0 };
	size_t before;

	do {
		before = from.pos + to.pos;
		if (!z->in_frame && from.pos == from.size)
			break; /* a call without input would begin a frame that may never come */
		size_t r = ZSTD_decompressStream(z->ctx, &to, &from);
		if (ZSTD_isError(r))
			return fail(r, err);
		z->any = true;
		z->in_frame = r != 0;
	} while (to.pos < to.size && before != from.pos + to.pos);
	*in = cf_view_sub(*in, from.pos, in->size);
	*ret_produced = to.pos;
	return 0;
}

static bool zstd_at_end(const void *state)
{
	const struct zstd *z = state;

	return z->any && !z->in_frame;
}

const struct inflate_ops inflate_zstd_ops = { "libzstd", zstd_open, zstd_close, zstd_step,
	                                      zstd_at_end };
