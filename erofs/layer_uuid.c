/* SPDX-License-Identifier: Apache-2.0 */
/* Of layer_build.h, apart from it: the sandboxed builder is told its image's id and hashes nothing. */
#include "erofs/layer_build.h"

#include "base/crypto.h"

void layer_uuid(struct cf_view diff_id, uint8_t out[LAYER_UUID_SIZE])
{
	cf_cleanup(cf_hasher_freep) struct cf_hasher *h = cf_hasher_new(CF_SHA256);
	uint8_t digest[32];

	cf_hasher_add(h, cf_view("coffer-erofs-v1", sizeof("coffer-erofs-v1")));
	cf_hasher_add(h, diff_id);
	cf_hasher_final(h, digest);
	memcpy(out, digest, LAYER_UUID_SIZE);
	out[6] = (out[6] & 0x0f) | 0x80;
	out[8] = (out[8] & 0x3f) | 0x80;
}
