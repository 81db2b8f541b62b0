/* fuzz: proto */
/* SPDX-License-Identifier: Apache-2.0 */
/* A key file; bytes that are none are taken for the JSON inside one. */
#include "proto/cosign_key.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void open_key(struct cf_view text)
{
	struct cf_pkey *key = NULL;
	int r = cosign_key_open(text, cf_view_str("secret"), &key, NULL);

	assert((r == 0) == (key != NULL) && (r < 0 || cosign_key_is(text)));
	cf_pkey_free(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cf_buf file = { 0 };

	open_key(cf_view(data, size));
	if (size > COSIGN_KEY_MAX)
		return 0;
	cf_buf_add_str(&file, "-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----\n");
	cf_b64_encode(CF_B64_STD, cf_view(data, size), &file);
	cf_buf_add_str(&file, "\n-----END ENCRYPTED COSIGN PRIVATE KEY-----\n");
	open_key(cf_buf_view(&file));
	cf_buf_fini(&file);
	return 0;
}
