/* fuzz: erofs */
/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/layer_users.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte cuts the blob into pieces. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct layer_users_reader *r = layer_users_reader_new();
	struct layer_users_found f;
	size_t piece = size ? data[0] * 8u + 1 : 1;
	struct cf_err err;
	int rc = 0;

	for (size_t at = 1; rc == 0 && at < size; at += piece)
		rc = layer_users_read(r, cf_view_sub(cf_view(data, size), at, piece), &err);
	layer_users_take(r, &f);
	for (size_t i = 0; i < LAYER_USERS_FILES; i++)
		assert(f.text[i].size <= LAYER_USERS_TEXT_MAX &&
		       (f.is_there[i] || !f.text[i].size));
	layer_users_found_fini(&f);
	layer_users_reader_free(r);
	return 0;
}
