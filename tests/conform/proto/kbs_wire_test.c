/* SPDX-License-Identifier: Apache-2.0 */
/* Runtime data and messages as the peers write them. */
#include "proto/jcs.h"
#include "proto/kbs_wire.h"
#include "tests/harness/test.h"

static struct cf_json *load(const char *rel)
{
	cf_cleanup(cf_freep) char *path = cf_test_source(rel);
	struct cf_buf text = cf_test_read(path);
	struct cf_json *j = NULL;
	struct cf_err err;

	EXPECT_OK(cf_json_parse(cf_buf_view(&text), 0, &j, &err), &err);
	cf_buf_fini(&text);
	return j;
}

static void check_digest(const struct cf_json *c, const struct cf_json *runtime, const char *name,
                         enum cf_hash_alg alg)
{
	const struct cf_json *add = cf_json_get(runtime, "additional-evidence");
	uint8_t sum[CF_HASH_SIZE_MAX];
	struct cf_err err;

	EXPECT_OK(kbs_report_data(alg, add != NULL, cf_json_str(add),
	                          cf_json_str(cf_json_get(runtime, "nonce")),
	                          cf_json_get(runtime, "tee-pubkey"), sum, &err),
	          &err);
	cf_cleanup(cf_freep) char *hex = cf_hex_dup(cf_view(sum, cf_hash_size(alg)));
	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(c, name)), hex));
}

CF_TEST(kbs_runtime_data_is_canonical_and_hashes_as_the_peers)
{
	cf_cleanup(cf_json_freep) struct cf_json *cases = load("tests/data/kbs/runtime-data.json");

	EXPECT(cf_json_len(cases) == 3);
	for (size_t i = 0; i < cf_json_len(cases); i++) {
		const struct cf_json *c = cf_json_at(cases, i);
		struct cf_view want = cf_json_str(cf_json_get(c, "canonical"));
		cf_cleanup(cf_json_freep) struct cf_json *runtime = NULL;
		struct cf_buf again = { 0 };
		struct cf_err err;

		EXPECT_OK(cf_json_parse(want, 0, &runtime, &err), &err);
		EXPECT_OK(jcs_print(runtime, &again, &err), &err);
		EXPECT(cf_view_eq(cf_buf_view(&again), want));
		cf_buf_fini(&again);
		check_digest(c, runtime, "sha256", CF_SHA256);
		check_digest(c, runtime, "sha384", CF_SHA384);
		check_digest(c, runtime, "sha512", CF_SHA512);
	}
}

static void parse_member(const struct cf_json *all, const char *key, struct cf_buf *text)
{
	cf_buf_reset(text);
	cf_json_print(cf_json_get(all, key), text);
}

CF_TEST(kbs_messages_of_the_sample_tee_are_read)
{
	cf_cleanup(cf_json_freep) struct cf_json *all = load("tests/data/kbs/rcar-sample.json");
	struct cf_buf text = { 0 }, report = { 0 };
	struct kbs_request q = { 0 };
	struct kbs_challenge c = { 0 };
	struct kbs_attestation a = { 0 };
	uint8_t sum[CF_HASH_SIZE_MAX];
	struct cf_err err;

	parse_member(all, "request", &text);
	EXPECT_OK(kbs_request_parse(cf_buf_view(&text), &q, &err), &err);
	EXPECT_STR(q.tee, "sample");
	EXPECT(q.hashes == (1u << CF_SHA256 | 1u << CF_SHA384 | 1u << CF_SHA512));
	parse_member(all, "challenge", &text);
	EXPECT_OK(kbs_challenge_parse(cf_buf_view(&text), &c, &err), &err);
	parse_member(all, "attestation", &text);
	EXPECT_OK(kbs_attestation_parse(cf_buf_view(&text), &a, &err), &err);
	EXPECT(cf_view_eq(a.nonce, c.nonce) && !a.init_data.data);
	EXPECT_OK(kbs_report_data(c.hash, true, a.additional_evidence, a.nonce, a.tee_pubkey, sum,
	                          &err),
	          &err);
	EXPECT_OK(cf_json_need_b64(a.primary_evidence, "report_data", CF_B64_STD, &report, &err),
	          &err);
	EXPECT(cf_view_eq(cf_buf_view(&report), cf_view(sum, 48)));
	kbs_request_fini(&q);
	kbs_challenge_fini(&c);
	kbs_attestation_fini(&a);
	cf_buf_fini(&text);
	cf_buf_fini(&report);
}
