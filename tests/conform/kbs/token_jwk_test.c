/* SPDX-License-Identifier: Apache-2.0 */
/* The peers' trust scenarios for a token's header key (x5c chains). */
#include "tests/harness/test.h"

#include "base/crypto.h"
#include "kbs/token.h"

#include <unistd.h>

#define CERT_BEGIN "-----BEGIN CERTIFICATE-----"
#define CERT_END   "-----END CERTIFICATE-----"

struct anchors {
	struct cf_cert *certs[8];
	size_t count;
};

static void load_anchors(const char *pem, struct anchors *ret)
{
	struct cf_err err;

	for (const char *at = strstr(pem, CERT_BEGIN); at; at = strstr(at + 1, CERT_BEGIN)) {
		const char *end = strstr(at, CERT_END) + strlen(CERT_END);

		EXPECT(ret->count < CF_ARRAY_LEN(ret->certs));
		EXPECT_OK(cf_cert_parse(cf_view(at, (size_t)(end - at)), &ret->certs[ret->count++],
		                        &err),
		          &err);
	}
}

static void scenario(unsigned n, bool accept)
{
	cf_cleanup(cf_freep) char *rel = cf_asprintf("evidence/token-jwk/scenario%02u-jwk.json", n);
	cf_cleanup(cf_freep) char *rel2 =
		cf_asprintf("evidence/token-jwk/scenario%02u-trust.pem", n);
	cf_cleanup(cf_freep) char *jwk_path = cf_test_vector(rel);
	cf_cleanup(cf_freep) char *pem_path = cf_test_vector(rel2);
	cf_cleanup(cf_buf_fini) struct cf_buf jwk = cf_test_read(jwk_path),
					      pem = cf_test_read(pem_path);
	cf_cleanup(cf_json_freep) struct cf_json *doc = NULL;
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	struct anchors anchors = { 0 };
	struct cf_err err;
	int r;

	EXPECT_OK(cf_json_parse(cf_buf_view(&jwk), 0, &doc, &err), &err);
	load_anchors((const char *)pem.data, &anchors);
	r = token_jwk_trusted(doc, anchors.certs, anchors.count, -1, &key, &err);
	if ((r == 0) != accept)
		fail_msg("scenario %u: %s", n, r < 0 ? err.msg : "accepted");
	for (size_t i = 0; i < anchors.count; i++)
		cf_cert_free(anchors.certs[i]);
}

CF_TEST(token_jwk_takes_a_key_certified_by_an_anchor)
{
	scenario(1, true);
}

CF_TEST(token_jwk_refuses_a_key_that_is_not_its_certificates)
{
	scenario(2, false);
}

CF_TEST(token_jwk_refuses_a_key_without_certificates)
{
	scenario(3, false);
}

CF_TEST(token_jwk_refuses_another_anchor)
{
	scenario(4, false);
}
