/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The door to ISA-L, and to zlib where ISA-L is not: one gzip member after the other.
 * Source: RFC 1952. Zero bytes behind the last member are padding, anything else is refused.
 */
#include "erofs/inflate_ops.h"

#ifdef COFFER_HAVE_ISAL
#include <isa-l/igzip_lib.h>
#else
#include <zlib.h>
#endif

enum place {
	BEFORE_FIRST,
	IN_MEMBER,
	AFTER_MEMBER,
	IN_PADDING,
};

struct gzip {
	enum place place;
#ifdef COFFER_HAVE_ISAL
	struct inflate_state state;
#else
	z_stream state;
#endif
};

#ifdef COFFER_HAVE_ISAL
#define ENGINE "isa-l"

static bool engine_open(struct gzip *z)
{
	(void)z;
	return true;
}

static void engine_close(struct gzip *z)
{
	(void)z;
}

static bool engine_begin(struct gzip *z)
{
	isal_inflate_init(&z->state);
	z->state.crc_flag = ISAL_GZIP;
	return true;
}

/* Header, data and trailer of one member; ISA-L compares checksum and size. */
static int engine_step(struct gzip *z, struct cf_view *in, uint8_t *out, size_t cap,
                       size_t *ret_produced, bool *ret_ended, struct cf_err *err)
{
	/* 4 GiB at a time are enough; ISA-L's input pointer is not const, but it only reads. */
	uint32_t offered = (uint32_t)CF_MIN(in->size, (size_t)UINT32_MAX);
	int r;

	memcpy(&z->state.next_in, &in->data, sizeof(z->state.next_in));
	z->state.avail_in = offered;
	z->state.next_out = out;
	z->state.avail_out = (uint32_t)CF_MIN(cap, (size_t)UINT32_MAX);
	r = isal_inflate(&z->state);
	*ret_produced = (size_t)(z->state.next_out - out);
	*in = cf_view_sub(*in, offered - z->state.avail_in, in->size);
	*ret_ended = z->state.block_state == ISAL_BLOCK_FINISH;
	if (r == ISAL_INCORRECT_CHECKSUM)
		return cf_fail(err, CF_INVALID_ARGUMENT, "gzip: checksum or size differs");
	if (r < 0 || r == ISAL_NEED_DICT)
		return cf_fail(err, CF_INVALID_ARGUMENT, "gzip: malformed (%d)", r);
	return 0;
}

#else
#define ENGINE    "zlib"
#define GZIP_BITS (15 + 16)

static bool engine_open(struct gzip *z)
{
	return inflateInit2(&z->state, GZIP_BITS) == Z_OK;
}

static void engine_close(struct gzip *z)
{
	inflateEnd(&z->state);
}

static bool engine_begin(struct gzip *z)
{
	return inflateReset(&z->state) == Z_OK;
}

static int engine_step(struct gzip *z, struct cf_view *in, uint8_t *out, size_t cap,
                       size_t *ret_produced, bool *ret_ended, struct cf_err *err)
{
	uInt offered = (uInt)CF_MIN(in->size, (size_t)UINT32_MAX);
	int r;

	memcpy(&z->state.next_in, &in->data, sizeof(z->state.next_in));
	z->state.avail_in = offered;
	z->state.next_out = out;
	z->state.avail_out = (uInt)CF_MIN(cap, (size_t)UINT32_MAX);
	r = inflate(&z->state, Z_NO_FLUSH);
	*ret_produced = (size_t)(z->state.next_out - out);
	*in = cf_view_sub(*in, offered - z->state.avail_in, in->size);
	*ret_ended = r == Z_STREAM_END;
	if (r == Z_MEM_ERROR)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "gzip: no memory");
	if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR)
		return cf_fail(err, CF_INVALID_ARGUMENT, "gzip: %s",
		               z->state.msg ? z->state.msg : "malformed");
	return 0;
}
#endif

static void gzip_close(void *state)
{
	struct gzip *z = state;

	engine_close(z);
	free(z);
}

static void *gzip_open(void)
{
	struct gzip *z = cf_zalloc(sizeof(*z));

	if (engine_open(z))
		return z;
	free(z);
	return NULL;
}

/* Between members: another one, padding, or the end. False when @in is used up. */
static bool next_member(struct gzip *z, struct cf_view *in, int *r, struct cf_err *err)
{
	if (z->place == AFTER_MEMBER && in->size && in->data[0] == 0)
		z->place = IN_PADDING;
	while (z->place == IN_PADDING && in->size && in->data[0] == 0)
		*in = cf_view_sub(*in, 1, in->size);
	if (!in->size)
		return false;
	if (z->place == IN_PADDING || in->data[0] != 0x1f) {
		*r = cf_fail(err, CF_INVALID_ARGUMENT,
		             z->place == BEFORE_FIRST ? "gzip: not a gzip blob"
		                                      : "gzip: bytes behind the last member");
		return false;
	}
	if (!engine_begin(z)) {
		*r = cf_fail(err, CF_INTERNAL, "gzip: engine does not reset");
		return false;
	}
	z->place = IN_MEMBER;
	return true;
}

static int gzip_step(void *state, struct cf_view *in, uint8_t *out, size_t cap,
                     size_t *ret_produced, struct cf_err *err)
{
	struct gzip *z = state;
	size_t total = 0;

	while (total < cap) {
		size_t produced = 0, before = in->size;
		bool ended = false;
		int r = 0;

		if (z->place != IN_MEMBER && !next_member(z, in, &r, err)) {
			if (r < 0)
				return r;
			break;
		}
		r = engine_step(z, in, out + total, cap - total, &produced, &ended, err);
		if (r < 0)
			return r;
		total += produced;
		if (ended)
			z->place = AFTER_MEMBER;
		else if (!produced && before == in->size)
			break;
	}
	*ret_produced = total;
	return 0;
}

static bool gzip_at_end(const void *state)
{
	const struct gzip *z = state;

	return z->place == AFTER_MEMBER || z->place == IN_PADDING;
}

const struct inflate_ops inflate_gzip_ops = { ENGINE, gzip_open, gzip_close, gzip_step,
	                                      gzip_at_end };
