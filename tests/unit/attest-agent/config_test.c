/* SPDX-License-Identifier: Apache-2.0 */
#include "attest-agent/config.h"
#include "tests/harness/test.h"

CF_TEST(config_reads_the_peers_keys_from_toml)
{
	static const char text[] =
		"[token_configs.coco_as]\nurl = \"http://as\"\n"
		"[token_configs.kbs]\nurl = \"https://kbs:8443\"\ncert = \"PEM\"\n"
		"tee_key_algorithm = \"RSA-OAEP-256\"\n"
		"[eventlog_config]\ninit_pcr = 23\nenable_eventlog = true\n"
		"[log]\nlevel = \"debug\"\n[other]\nx = 1\n"
		"[coffer]\nallow_sample = true\ntoken_cache = false\ntpm_ak = \"ecc\"\n";
	struct aa_config c;
	struct cf_err err;

	aa_config_init(&c);
	EXPECT(c.token_cache && c.init_pcr == -1 && !c.enable_eventlog && !c.allow_sample);
	EXPECT_OK(aa_config_parse(&c, cf_view_str(text), &err), &err);
	EXPECT_STR(c.kbs_url, "https://kbs:8443");
	EXPECT_STR(c.kbs_cert, "PEM");
	EXPECT_STR(c.as_url, "http://as");
	EXPECT(c.tee_key == KBS_KEY_RSA && c.init_pcr == 23 && c.enable_eventlog);
	EXPECT(c.log_level == CF_LOG_DEBUG && c.allow_sample && !c.token_cache && c.tpm_ak_ecc);
	aa_config_fini(&c);
}

CF_TEST(config_reads_the_same_from_json)
{
	static const char text[] =
		" {\"token_configs\":{\"kbs\":{\"url\":\"http://k\"}},"
		"\"eventlog_config\":{\"init_pcr\":17,\"enable_eventlog\":false}}";
	struct aa_config c;
	struct cf_err err;

	aa_config_init(&c);
	EXPECT_OK(aa_config_parse(&c, cf_view_str(text), &err), &err);
	EXPECT_STR(c.kbs_url, "http://k");
	EXPECT(c.init_pcr == 17 && !c.enable_eventlog);
	aa_config_fini(&c);
}

CF_TEST(config_refuses_values_of_another_kind)
{
	static const char *const texts[] = {
		"[token_configs.kbs]\nurl = 1\n",
		"[token_configs.kbs]\ntee_key_algorithm = \"RSA1_5\"\n",
		"[eventlog_config]\ninit_pcr = -1\n",
		"[eventlog_config]\ninit_pcr = \"23\"\n",
		"[eventlog_config]\nenable_eventlog = 1\n",
		"[log]\nlevel = \"loud\"\n",
		"[coffer]\ntpm_ak = \"dsa\"\n",
		"{\"token_configs\":{\"kbs\":{\"url\":[]}}}",
		"{",
		"x",
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(texts); i++) {
		struct aa_config c;
		struct cf_err err;

		aa_config_init(&c);
		EXPECT_FAILS(aa_config_parse(&c, cf_view_str(texts[i]), &err), CF_INVALID_ARGUMENT);
		aa_config_fini(&c);
	}
}

CF_TEST(config_takes_kbc_params_only_where_no_url_is)
{
	struct aa_config c;

	aa_config_init(&c);
	aa_config_kbc_params(&c, NULL);
	aa_config_kbc_params(&c, "offline_fs_kbc::null");
	EXPECT(!c.kbs_url);
	aa_config_kbc_params(&c, "cc_kbc::http://one");
	aa_config_kbc_params(&c, "cc_kbc::http://two");
	EXPECT_STR(c.kbs_url, "http://one");
	aa_config_fini(&c);
}
