/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Small tar archives for tests, in memory. */
#include "base/bytes.h"

#define TAR_BLOCK 512

/* @value in @digits octal digits. */
static inline void tar_octal(char *field, size_t digits, size_t value)
{
	for (size_t i = digits; i > 0; i--, value /= 8)
		field[i - 1] = (char)('0' + value % 8);
}

/* A regular file, mode 0644, owner 0:0. */
static inline void tar_add_file(struct cf_buf *tar, const char *name, const char *content)
{
	char h[TAR_BLOCK] = { 0 };
	size_t sum = 0;

	memcpy(h, name, strlen(name));
	tar_octal(h + 100, 7, 0644);
	tar_octal(h + 108, 7, 0);
	tar_octal(h + 116, 7, 0);
	tar_octal(h + 124, 11, strlen(content));
	tar_octal(h + 136, 11, 1000000000);
	memset(h + 148, ' ', 8);
	h[156] = '0';
	memcpy(h + 257,
	       "ustar\0"
	       "00",
	       8);
	for (size_t i = 0; i < sizeof(h); i++)
		sum += (unsigned char)h[i];
	tar_octal(h + 148, 6, sum);
	h[154] = '\0';
	cf_buf_add(tar, h, sizeof(h));
	cf_buf_add_str(tar, content);
	cf_buf_add_zero(tar, (TAR_BLOCK - strlen(content) % TAR_BLOCK) % TAR_BLOCK);
}

static inline void tar_end(struct cf_buf *tar)
{
	cf_buf_add_zero(tar, 2 * TAR_BLOCK);
}
