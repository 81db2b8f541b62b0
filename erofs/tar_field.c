/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/tar_field.h"

/* Source: POSIX.1-2017 pax "ustar Interchange Format"; GNU tar manual, "Basic Tar Format". */
struct field {
	size_t at, size;
};
static const struct field NAME = { 0, 100 }, MODE = { 100, 8 }, UID = { 108, 8 }, GID = { 116, 8 },
			  SIZE = { 124, 12 }, MTIME = { 136, 12 }, CHECKSUM = { 148, 8 },
			  LINK = { 157, 100 }, MAGIC = { 257, 8 }, MAJOR = { 329, 8 },
			  MINOR = { 337, 8 }, PREFIX = { 345, 155 }, STAR_PREFIX = { 345, 131 },
			  STAR_MAGIC = { 508, 4 };
#define TYPE_AT 156

static struct cf_view field(struct cf_view block, struct field f)
{
	return cf_view_sub(block, f.at, f.size);
}

/* Up to the first NUL. */
static struct cf_view text(struct cf_view block, struct field f)
{
	struct cf_view v = field(block, f);
	ssize_t nul = cf_view_find(v, 0);

	return nul < 0 ? v : cf_view_sub(v, 0, (size_t)nul);
}

static bool base256(struct cf_view f, int64_t *ret)
{
	uint8_t flip = f.data[0] & 0x40 ? 0xff : 0;
	uint64_t v = 0;

	for (size_t i = 0; i < f.size; i++) {
		uint8_t c = f.data[i] ^ flip;

		if (i == 0)
			c &= 0x7f;
		if (v >> 55)
			return false;
		v = v << 8 | c;
	}
	if (v >> 63)
		return false;
	*ret = flip ? (int64_t)~v : (int64_t)v;
	return true;
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\0';
}

bool tar_field_number(struct cf_view f, int64_t *ret)
{
	uint64_t v = 0;

	if (f.size && f.data[0] & 0x80)
		return base256(f, ret);
	while (f.size && is_blank(f.data[0]))
		f = cf_view_sub(f, 1, f.size);
	while (f.size && is_blank(f.data[f.size - 1]))
		f.size--;
	for (size_t i = 0; i < f.size; i++) {
		/* Some writers leave old bytes behind the terminator. */
		if (is_blank(f.data[i]))
			break;
		if (f.data[i] < '0' || f.data[i] > '7')
			return false;
		v = v << 3 | (uint64_t)(f.data[i] - '0'); /* at most 12 digits: 36 bits */
	}
	*ret = (int64_t)v;
	return true;
}

bool tar_block_is_zero(struct cf_view block)
{
	for (size_t i = 0; i < block.size; i++)
		if (block.data[i])
			return false;
	return true;
}

/* The sum counts its own field as blanks. Some old tars summed signed bytes. */
static bool checksum_fits(struct cf_view block)
{
	int64_t want, plain = 0, with_sign = 0;

	if (!tar_field_number(field(block, CHECKSUM), &want))
		return false;
	for (size_t i = 0; i < block.size; i++) {
		bool own = i >= CHECKSUM.at && i < CHECKSUM.at + CHECKSUM.size;
		uint8_t c = own ? ' ' : block.data[i];

		plain += c;
		with_sign += (int8_t)c;
	}
	return want == plain || want == with_sign;
}

static enum tar_format format_of(struct cf_view block)
{
	struct cf_view magic = field(block, MAGIC);

	if (cf_view_eq(magic, cf_view("ustar  ", 8)))
		return TAR_GNU;
	if (!cf_view_eq(cf_view_sub(magic, 0, 6), cf_view("ustar", 6)))
		return TAR_V7;
	if (cf_view_eq(field(block, STAR_MAGIC), cf_view("tar", 4)))
		return TAR_STAR;
	return TAR_USTAR;
}

int tar_header_parse(struct cf_view block, struct tar_header *ret, struct cf_err *err)
{
	struct tar_header h = { .format = format_of(block) };
	const struct {
		struct field at;
		int64_t *to;
	} numbers[] = {
		{ MODE, &h.mode }, { UID, &h.uid },     { GID, &h.gid },
		{ SIZE, &h.size }, { MTIME, &h.mtime },
	};

	if (!checksum_fits(block))
		return cf_fail(err, CF_INVALID_ARGUMENT, "tar: header checksum is wrong");
	h.type = (char)block.data[TYPE_AT];
	h.name = text(block, NAME);
	h.link = text(block, LINK);
	if (h.format == TAR_USTAR)
		h.prefix = text(block, PREFIX);
	if (h.format == TAR_STAR)
		h.prefix = text(block, STAR_PREFIX);
	for (size_t i = 0; i < CF_ARRAY_LEN(numbers); i++)
		if (!tar_field_number(field(block, numbers[i].at), numbers[i].to))
			return cf_fail(err, CF_INVALID_ARGUMENT, "tar: %.*s: a number is malformed",
			               (int)h.name.size, (const char *)h.name.data);
	/* Only devices need these, and v7 headers have other bytes there. */
	if ((h.type == '3' || h.type == '4') &&
	    (!tar_field_number(field(block, MAJOR), &h.dev_major) ||
	     !tar_field_number(field(block, MINOR), &h.dev_minor)))
		return cf_fail(err, CF_INVALID_ARGUMENT, "tar: %.*s: device number is malformed",
		               (int)h.name.size, (const char *)h.name.data);
	*ret = h;
	return 0;
}
