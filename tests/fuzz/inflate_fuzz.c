/* fuzz: erofs */
/* SPDX-License-Identifier: Apache-2.0 */
/* A blob of any bytes; the first byte chooses format and pieces. Output is bounded here. */
#include "erofs/inflate.h"

#define OUTPUT_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t out[4096];
	struct inflate *z;
	struct cf_err err;
	size_t total = 0;

	if (size < 1 || inflate_new(data[0] & 1 ? INFLATE_ZSTD : INFLATE_GZIP, &z, &err) < 0)
		return 0;
	size_t step = data[0] & 2 ? 13 : size, cap = data[0] & 4 ? 100 : sizeof(out);
	struct cf_view in = cf_view(data + 1, size - 1);
	int r = 0;
	while (r == 0 && total < OUTPUT_MAX) {
		struct cf_view piece = cf_view_sub(in, 0, step);
		size_t had = piece.size, produced = 0;

		r = inflate_step(z, &piece, out, cap, &produced, &err);
		total += produced;
		in = cf_view_sub(in, had - piece.size, in.size);
		if (r == 0 && !produced && had == piece.size)
			break;
	}
	if (r == 0 && inflate_finish(z, &err) < 0 && !err.msg[0])
		abort();
	inflate_free(z);
	return 0;
}
