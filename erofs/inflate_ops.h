/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One row per decompressor. Internal to this folder. */
#include "erofs/inflate.h"

struct inflate_ops {
	const char *engine;
	void *(*open)(void); /* NULL: no memory */
	void (*close)(void *state);
	int (*step)(void *state, struct cf_view *in, uint8_t *out, size_t cap, size_t *ret_produced,
	            struct cf_err *err);
	bool (*at_end)(const void *state); /* between two members, at least one of them read */
};

extern const struct inflate_ops inflate_gzip_ops, inflate_zstd_ops;
