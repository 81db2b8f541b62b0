/* fuzz: proto */
/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a serial port: the mark is found at the same place however they come in pieces. */
#include "proto/vserial.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Where the first mark ends; 0: none. */
static size_t mark_end(struct cf_view in, size_t piece)
{
	struct vserial_sync s = { 0 };
	bool is_synced = false;

	for (size_t at = 0; at < in.size;) {
		struct cf_view part = cf_view_sub(in, at, piece);
		size_t used = vserial_sync_feed(&s, part, &is_synced);

		assert(used <= part.size && (is_synced || used == part.size));
		at += used;
		if (is_synced)
			return at;
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cf_view in = cf_view(data, size);
	const uint8_t *hit = size ? memmem(data, size, VSERIAL_MARK, VSERIAL_MARK_BYTES) : NULL;
	size_t wanted = hit ? (size_t)(hit - data) + VSERIAL_MARK_BYTES : 0;

	assert(mark_end(in, 1) == wanted);
	assert(mark_end(in, 3) == wanted);
	assert(mark_end(in, size + 1) == wanted);
	return 0;
}
