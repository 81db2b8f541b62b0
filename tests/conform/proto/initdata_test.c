/* SPDX-License-Identifier: Apache-2.0 */
/* A published initdata file with its digests and the value in each TEE's field. */
#include "base/json.h"
#include "proto/initdata.h"
#include "tests/harness/test.h"

static void expect_hex(const struct cf_json *obj, const char *key, struct cf_view got)
{
	cf_cleanup(cf_freep) char *hex = cf_hex_dup(got);

	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(obj, key)), hex));
}

CF_TEST(initdata_digests_and_fields_are_the_published_ones)
{
	cf_cleanup(cf_freep) char *toml = cf_test_source("tests/data/initdata/initdata.toml");
	cf_cleanup(cf_freep) char *expected = cf_test_source("tests/data/initdata/expected.json");
	struct cf_buf text = cf_test_read(toml), json = cf_test_read(expected);
	cf_cleanup(initdata_freep) struct initdata *d = NULL;
	cf_cleanup(cf_json_freep) struct cf_json *want = NULL;
	uint8_t digest[CF_HASH_SIZE_MAX], field[64];
	struct cf_err err;

	EXPECT_OK(initdata_parse(cf_buf_view(&text), &d, &err), &err);
	EXPECT_OK(cf_json_parse(cf_buf_view(&json), 0, &want, &err), &err);
	initdata_digest(d, digest);
	EXPECT(d->alg == CF_SHA384);
	struct cf_view view = cf_view(digest, cf_hash_size(d->alg));
	expect_hex(cf_json_get(want, "digests"), "sha384", view);
	initdata_field(view, field, 48);
	expect_hex(want, "tdx_mr_config_id_48", cf_view(field, 48));
	initdata_field(view, field, 32);
	expect_hex(want, "snp_host_data_32", cf_view(field, 32));
	initdata_field(view, field, 64);
	expect_hex(want, "cca_rpv_64", cf_view(field, 64));
	initdata_pcr8_value(cf_buf_view(&text), field);
	expect_hex(want, "tpm_pcr8_after_extend_sha256_digest", cf_view(field, 32));
	EXPECT(initdata_get(d, "aa.toml") && initdata_get(d, "cdh.toml") &&
	       initdata_get(d, "policy.rego"));
	cf_buf_fini(&text);
	cf_buf_fini(&json);
}
