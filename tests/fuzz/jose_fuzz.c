/* fuzz: proto */
/* SPDX-License-Identifier: Apache-2.0 */
/* The first byte chooses the reader: JWK, JWS or JWE with one key of each kind. */
#include "proto/jose_jwe.h"
#include "proto/jose_jwk.h"
#include "proto/jose_jws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct cf_pkey *keys[2];

static void make_keys(void)
{
	if (keys[0])
		return;
	if (cf_pkey_generate(CF_PKEY_EC_P256, 0, &keys[0], NULL) < 0 ||
	    cf_pkey_generate(CF_PKEY_RSA, 2048, &keys[1], NULL) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cf_buf plain = { 0 };
	struct jwk *jwk = NULL;
	struct jws *jws = NULL;

	make_keys();
	if (!size)
		return 0;
	struct cf_view text = cf_view_sub(cf_view(data, size), 1, size);
	if (data[0] == 'k' && jwk_parse_text(text, &jwk, NULL) == 0)
		jwk_free(jwk);
	if (data[0] == 's' && jws_parse(text, &jws, NULL) == 0) {
		if (jws_verify(jws, keys[0], JWS_ANY, NULL) == 0)
			abort();
		jws_free(jws);
	}
	if (data[0] == 'e' && jwe_open(text, (const struct cf_pkey *const *)keys, 2,
	                               JWE_ALLOW_RSA1_5 | JWE_RETRY_REORDERED, &plain, NULL) == 0)
		abort();
	cf_buf_fini(&plain);
	return 0;
}
