/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/jcs.h"
#include "proto/kbs_wire.h"
#include "tests/harness/test.h"

static void expect_jcs(const char *text, const char *want)
{
	cf_cleanup(cf_json_freep) struct cf_json *j = NULL;
	struct cf_buf out = { 0 };
	struct cf_err err;

	EXPECT_OK(cf_json_parse(cf_view_str(text), 0, &j, &err), &err);
	EXPECT_OK(jcs_print(j, &out, &err), &err);
	EXPECT_STR(out.data, want);
	cf_buf_fini(&out);
}

CF_TEST(jcs_sorts_and_escapes_as_the_rfc_says)
{
	expect_jcs("{ \"b\" : [1, -2, true, null], \"a\":{\"d\":\"x\",\"c\":\"\"} }",
	           "{\"a\":{\"c\":\"\",\"d\":\"x\"},\"b\":[1,-2,true,null]}");
	expect_jcs("[\"\\u20ac$\\u000f\\nA'B\\u0022\\u005c\\\\\\\"\\/\\u007f\"]",
	           "[\"\xe2\x82\xac$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\x7f\"]");
	/* The example of the RFC: U+1F600 (a surrogate pair) sorts before U+FB33. */
	expect_jcs(
		"{\"\\u20ac\":1,\"\\r\":2,\"\\ufb33\":3,\"1\":4,\"\\ud83d\\ude00\":5,\"\\u0080\":6,"
		"\"\\u00f6\":7}",
		"{\"\\r\":2,\"1\":4,\"\xc2\x80\":6,\"\xc3\xb6\":7,\"\xe2\x82\xac\":1,"
		"\"\xf0\x9f\x98\x80\":5,\"\xef\xac\xb3\":3}");
}

CF_TEST(jcs_refuses_numbers_that_need_care)
{
	static const char *const texts[] = { "[1.5]", "[1e3]", "[9007199254740993]",
		                             "[-9007199254740993]" };

	for (size_t i = 0; i < CF_ARRAY_LEN(texts); i++) {
		cf_cleanup(cf_json_freep) struct cf_json *j = NULL;
		struct cf_buf out = { 0 };
		struct cf_err err;

		EXPECT_OK(cf_json_parse(cf_view_str(texts[i]), 0, &j, &err), &err);
		EXPECT_FAILS(jcs_print(j, &out, &err), CF_INVALID_ARGUMENT);
		cf_buf_fini(&out);
	}
}

/* The peers' own example. */
CF_TEST(jcs_digest_agrees_with_the_peers)
{
	static const char want[] =
		"e71ce8e70d814ba6639c3612ebee0ff1f76f650f8dbb5e47157e0f3f525cd22c"
		"4597480a186427c813ca941da78870c3";
	cf_cleanup(cf_json_freep) struct cf_json *j = NULL;
	struct cf_buf out = { 0 };
	uint8_t sum[48];
	struct cf_err err;

	EXPECT_OK(cf_json_parse(cf_view_str("{\"b\":1,\"a\":\"test\",\"c\":{\"d\":\"e\"}}"), 0, &j,
	                        &err),
	          &err);
	EXPECT_OK(jcs_print(j, &out, &err), &err);
	cf_hash(CF_SHA384, cf_buf_view(&out), sum);
	cf_cleanup(cf_freep) char *hex = cf_hex_dup(cf_view(sum, 48));
	EXPECT_STR(hex, want);
	cf_buf_fini(&out);
}

CF_TEST(kbs_request_reads_what_it_writes)
{
	struct kbs_request q = { 0 };
	struct cf_buf text = { 0 };
	struct cf_err err;

	kbs_request_print("tpm", cf_view_str("{\"ek_cert\":\"AA==\"}"), &text);
	EXPECT_OK(kbs_request_parse(cf_buf_view(&text), &q, &err), &err);
	EXPECT(cf_view_eq_str(q.version, "0.4.0"));
	EXPECT_STR(q.tee, "tpm");
	EXPECT(q.hashes == (1u << CF_SHA256 | 1u << CF_SHA384 | 1u << CF_SHA512));
	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(q.tpm, "ek_cert")), "AA=="));
	kbs_request_fini(&q);
	cf_buf_reset(&text);
	kbs_request_print("sample", (struct cf_view){ 0 }, &text);
	EXPECT_OK(kbs_request_parse(cf_buf_view(&text), &q, &err), &err);
	EXPECT(!q.tpm);
	kbs_request_fini(&q);
	cf_buf_fini(&text);
}

CF_TEST(kbs_request_takes_what_old_clients_send)
{
	struct kbs_request q = { 0 };
	struct cf_err err;

	EXPECT_OK(kbs_request_parse(cf_view_str("{\"version\":\"0.1.0\",\"tee\":\"azsnpvtpm\","
	                                        "\"extra-params\":\"\"}"),
	                            &q, &err),
	          &err);
	EXPECT_STR(q.tee, "az-snp-vtpm");
	EXPECT(q.hashes == 0 && !q.tpm);
	kbs_request_fini(&q);
}

CF_TEST(kbs_request_refuses_other_shapes)
{
	static const char *const texts[] = {
		"",
		"[]",
		"{}",
		"{\"version\":\"0.4.0\"}",
		"{\"tee\":\"tpm\"}",
		"{\"version\":4,\"tee\":\"tpm\"}",
		"{\"version\":\"0.4.0\",\"tee\":\"\"}",
		"{\"version\":\"0.4.0\",\"tee\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}",
		"{\"version\":\"0.4.0\",\"tee\":\"tpm\",\"extra-params\":{\"coffer-tpm\":[]}}",
		"{\"version\":\"0.4.0\",\"tee\":\"tpm\",\"tee\":\"snp\"}",
	};
	struct kbs_request q = { 0 };
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(texts); i++)
		EXPECT_FAILS(kbs_request_parse(cf_view_str(texts[i]), &q, &err),
		             CF_INVALID_ARGUMENT);
	EXPECT(!q.root);
}

CF_TEST(kbs_challenge_reads_what_it_writes)
{
	static const uint8_t nonce[32] = { 1, 2, 3 };
	struct kbs_challenge c = { 0 };
	struct cf_buf text = { 0 };
	struct cf_err err;

	kbs_challenge_print(cf_view(nonce, 32), (struct cf_view){ 0 }, &text);
	EXPECT_STR(text.data, "{\"nonce\":\"AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\","
	                      "\"extra-params\":\"\"}");
	EXPECT_OK(kbs_challenge_parse(cf_buf_view(&text), &c, &err), &err);
	EXPECT(c.hash == CF_SHA384 && !c.tpm);
	kbs_challenge_fini(&c);
	cf_buf_reset(&text);
	kbs_challenge_print(cf_view(nonce, 32), cf_view_str("{\"secret\":\"AA==\"}"), &text);
	EXPECT_OK(kbs_challenge_parse(cf_buf_view(&text), &c, &err), &err);
	EXPECT(cf_json_get(c.tpm, "secret"));
	kbs_challenge_fini(&c);
	cf_buf_fini(&text);
	EXPECT_OK(kbs_challenge_parse(cf_view_str("{\"nonce\":\"x\",\"extra-params\":{"
	                                          "\"selected-hash-algorithm\":\"sha512\"}}"),
	                              &c, &err),
	          &err);
	EXPECT(c.hash == CF_SHA512);
	kbs_challenge_fini(&c);
	EXPECT_FAILS(kbs_challenge_parse(cf_view_str("{\"nonce\":\"x\",\"extra-params\":{"
	                                             "\"selected-hash-algorithm\":\"md5\"}}"),
	                                 &c, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT_FAILS(kbs_challenge_parse(cf_view_str("{\"nonce\":\"\"}"), &c, &err),
	             CF_INVALID_ARGUMENT);
}

CF_TEST(kbs_attestation_reads_what_it_writes)
{
	struct kbs_attestation_parts p = {
		.nonce = CF_VIEW_LIT("bm9uY2U="),
		.tee_pubkey = CF_VIEW_LIT("{\"kty\":\"EC\"}"),
		.primary_evidence = CF_VIEW_LIT("{\"svn\":\"1\"}"),
		.additional_evidence = CF_VIEW_LIT(""),
	};
	struct kbs_attestation a = { 0 };
	struct cf_buf text = { 0 };
	struct cf_err err;

	kbs_attestation_print(&p, &text);
	EXPECT_OK(kbs_attestation_parse(cf_buf_view(&text), &a, &err), &err);
	EXPECT(!a.init_data.data && cf_view_eq_str(a.nonce, "bm9uY2U="));
	EXPECT(cf_json_get(a.tee_pubkey, "kty") && cf_json_get(a.primary_evidence, "svn"));
	kbs_attestation_fini(&a);
	cf_buf_reset(&text);
	p.init_data = cf_view_str("version = \"0.1.0\"\n");
	kbs_attestation_print(&p, &text);
	EXPECT_OK(kbs_attestation_parse(cf_buf_view(&text), &a, &err), &err);
	EXPECT(cf_view_eq(a.init_data, p.init_data));
	kbs_attestation_fini(&a);
	cf_buf_fini(&text);
}

#define RD "\"runtime-data\":{\"nonce\":\"x\",\"tee-pubkey\":{}}"
#define EV "\"tee-evidence\":{\"primary_evidence\":{},\"additional_evidence\":\"\"}"

CF_TEST(kbs_attestation_refuses_other_shapes)
{
	static const char *const texts[] = {
		"{}",
		"{" RD "}",
		"{" EV "}",
		"{\"init-data\":\"x\"," RD "," EV "}",
		"{\"init-data\":{\"format\":\"json\",\"body\":\"\"}," RD "," EV "}",
		"{\"init-data\":{\"format\":\"toml\"}," RD "," EV "}",
		"{\"runtime-data\":{\"nonce\":\"\",\"tee-pubkey\":{}}," EV "}",
		"{\"runtime-data\":{\"nonce\":\"x\",\"tee-pubkey\":[]}," EV "}",
		"{\"runtime-data\":{\"nonce\":\"x\"}," EV "}",
		"{" RD ",\"tee-evidence\":{\"additional_evidence\":\"\"}}",
		"{" RD
		",\"tee-evidence\":{\"primary_evidence\":null,\"additional_evidence\":\"\"}}",
		"{" RD ",\"tee-evidence\":{\"primary_evidence\":{},\"additional_evidence\":{}}}",
		"{" RD ",\"tee-evidence\":{\"primary_evidence\":{}}}",
	};
	struct kbs_attestation a = { 0 };
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(texts); i++)
		EXPECT_FAILS(kbs_attestation_parse(cf_view_str(texts[i]), &a, &err),
		             CF_INVALID_ARGUMENT);
	EXPECT_OK(kbs_attestation_parse(
			  cf_view_str("{\"init-data\":{\"format\":\"toml\",\"body\":\"\"}," RD
	                              "," EV "}"),
			  &a, &err),
	          &err);
	EXPECT(a.init_data.data && !a.init_data.size);
	kbs_attestation_fini(&a);
}

CF_TEST(kbs_uris_give_plugin_and_path)
{
	static const struct {
		const char *text, *plugin, *path, *query;
	} good[] = {
		{ "kbs:///default/key/1", "resource", "default/key/1", NULL },
		{ "kbs://host:8080/a/b/c", "resource", "a/b/c", NULL },
		{ "kbs:///a/b/c?version=2", "resource", "a/b/c", "version=2" },
		{ "kbs+pkcs11:///one", "pkcs11", "one", NULL },
		{ "/a/b/c", "resource", "a/b/c", NULL },
		{ "a/b/c", "resource", "a/b/c", NULL },
	};
	static const char *const bad[] = {
		"",
		"kbs://",
		"kbs:///",
		"kbs:///a/b",
		"kbs:///a/b/c/d",
		"kbs:///a//c",
		"kbs:///a/../c",
		"kbs:///a/b/.",
		"kbs:///a/b/c d",
		"kbs:///a/b/c\n",
		"kbs+:///a",
		"kbs+X:///a",
		"kbs+p:///",
		"https://a/b/c",
		"kbs:///a/b/c#d",
		"kbs:///a\\b/b/c",
		"kbs://host",
	};
	struct kbs_uri u = { 0 };
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(good); i++) {
		EXPECT_OK(kbs_uri_parse(cf_view_str(good[i].text), &u, &err), &err);
		EXPECT_STR(u.plugin, good[i].plugin);
		EXPECT_STR(u.path, good[i].path);
		EXPECT(cf_streq(u.query, good[i].query));
		kbs_uri_fini(&u);
	}
	for (size_t i = 0; i < CF_ARRAY_LEN(bad); i++)
		EXPECT_FAILS(kbs_uri_parse(cf_view_str(bad[i]), &u, &err), CF_INVALID_ARGUMENT);
}

CF_TEST(kbs_errors_become_one_readable_text)
{
	struct cf_buf body = { 0 };

	kbs_error_print("PolicyDeny", "no", &body);
	EXPECT_STR(body.data,
	           "{\"type\":\"https://github.com/confidential-containers/kbs/errors/PolicyDeny\","
	           "\"detail\":\"no\"}");
	cf_cleanup(cf_freep) char *text = kbs_error_text(cf_buf_view(&body));
	cf_cleanup(cf_freep) char *html = kbs_error_text(cf_view_str("<html>\n"));
	cf_cleanup(cf_freep) char *none = kbs_error_text(cf_view_str(""));
	EXPECT_STR(text, "PolicyDeny: no");
	EXPECT_STR(html, "\"<html>\\n\"");
	EXPECT_STR(none, "no reason given");
	cf_buf_fini(&body);
}

CF_TEST(kbs_token_lifetime_is_read_without_trust)
{
	/* {"iat":1760000000,"exp":1760000300} */
	EXPECT(kbs_token_lifetime("e30.eyJpYXQiOjE3NjAwMDAwMDAsImV4cCI6MTc2MDAwMDMwMH0.AA") == 300);
	/* {"iat":-9223372036854775808,"exp":9223372036854775807} */
	EXPECT(kbs_token_lifetime(
		       "e30."
		       "eyJpYXQiOi05MjIzMzcyMDM2ODU0Nzc1ODA4LCJleHAiOjkyMjMzNzIwMzY4NTQ3NzU4MDd9."
		       "AA") == 0);
	EXPECT(kbs_token_lifetime("e30.eyJleHAiOjE3NjAwMDAzMDB9.AA") == 0);
	EXPECT(kbs_token_lifetime("e30.e30.AA") == 0);
	EXPECT(kbs_token_lifetime("junk") == 0);
	EXPECT(kbs_token_lifetime("") == 0);
}
