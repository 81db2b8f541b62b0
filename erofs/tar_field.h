/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The header block of a tar member, decoded field by field. Internal to the tar reader; every byte
 * is hostile.
 */
#include "erofs/tar_reader.h"

enum tar_format {
	TAR_V7,
	TAR_USTAR,
	TAR_STAR, /* ustar with star's shorter prefix */
	TAR_GNU,
};

struct tar_header {
	enum tar_format format;
	char type;             /* typeflag as written */
	struct cf_view name;   /* borrowed from the block */
	struct cf_view prefix; /* ustar only */
	struct cf_view link;
	int64_t mode, uid, gid, size, mtime;
	int64_t dev_major, dev_minor;
};

/*
 * A numeric field: octal between blanks and NULs, or base-256 in two's complement. An empty field
 * is 0. Return: false when it is neither or does not fit.
 */
bool tar_field_number(struct cf_view field, int64_t *ret);
/* -CF_INVALID_ARGUMENT: checksum or a number is wrong. @block has TAR_BLOCK_BYTES. */
cf_must_use int tar_header_parse(struct cf_view block, struct tar_header *ret, struct cf_err *err);
bool tar_block_is_zero(struct cf_view block);
