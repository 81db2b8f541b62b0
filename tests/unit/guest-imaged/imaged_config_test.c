/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-imaged/imaged_config.h"
#include "tests/harness/test.h"

CF_TEST(imaged_config_reads_what_the_peers_write)
{
	static const char text[] =
		"socket = \"unix:///x/cdh.sock\"\nskip_sealed_secret_verification = true\n"
		"[aa]\naa_socket = \"unix:///x/aa.sock\"\n"
		"[kbc]\nname = \"cc_kbc\"\nurl = \"https://kbs:8080\"\nkbs_cert = \"PEM\"\n"
		"[image]\nwork_dir = \"/w\"\nimage_security_policy_uri = \"kbs:///a/b/c\"\n"
		"image_security_policy = "
		"'{\"default\":[]}'\nmax_concurrent_layer_downloads_per_image = 7\n"
		"authenticated_registry_credentials_uri = \"kbs:///a/b/d\"\n"
		"extra_root_certificates = [\"one\", \"two\"]\n"
		"[image.image_pull_proxy]\nhttps_proxy = \"http://p:1\"\nno_proxy = "
		"\"10.0.0.0/8\"\n"
		"[log]\nlevel = \"debug\"\n";
	struct imaged_config c;
	struct cf_err err;

	imaged_config_init(&c);
	EXPECT_STR(c.socket, IMAGED_SOCKET);
	EXPECT_OK(imaged_config_parse(cf_view_str(text), &c, &err), &err);
	EXPECT_STR(c.socket, "unix:///x/cdh.sock");
	EXPECT_STR(c.aa_socket, "unix:///x/aa.sock");
	EXPECT_STR(c.kbs_url, "https://kbs:8080");
	EXPECT_STR(c.kbs_cert, "PEM");
	EXPECT_STR(c.work_dir, "/w");
	EXPECT_STR(c.policy_uri, "kbs:///a/b/c");
	EXPECT_STR(c.policy, "{\"default\":[]}");
	EXPECT_STR(c.auth_uri, "kbs:///a/b/d");
	EXPECT_INT(c.layers_at_once, 7);
	EXPECT_INT(c.ca.count, 2);
	EXPECT_STR(c.https_proxy, "http://p:1");
	EXPECT_STR(c.no_proxy, "10.0.0.0/8");
	EXPECT(c.log_level == CF_LOG_DEBUG);
	imaged_config_fini(&c);
}

CF_TEST(imaged_config_keeps_what_it_had_when_a_file_is_refused)
{
	static const char *const refused[] = {
		"socket = 1\n",                   /* no text */
		"socket = \"127.0.0.1:50000\"\n", /* no unix socket */
		"[kbc]\nname = \"other_kbc\"\n",
		"[image]\nwork_dir = 5\n",
		"[image]\nmax_concurrent_layer_downloads_per_image = 0\n",
		"[image]\nmax_concurrent_layer_downloads_per_image = 17\n",
		"[image]\nextra_root_certificates = \"one\"\n",
		"[image]\nimage_pull_proxy = \"x\"\n",
		"[log]\nlevel = \"loud\"\n",
		"[[credentials]]\nresource_uri = \"kbs:///a/b/c\"\npath = \"/x\"\n",
		"image = 1\n",
		"[kbc\n",
	};
	struct imaged_config c;

	imaged_config_init(&c);
	for (size_t i = 0; i < CF_ARRAY_LEN(refused); i++) {
		struct cf_err err;

		EXPECT(imaged_config_parse(cf_view_str(refused[i]), &c, &err) < 0);
		EXPECT_STR(c.work_dir, IMAGED_WORK_DIR);
	}
	imaged_config_fini(&c);
}
