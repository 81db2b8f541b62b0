/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/test.h"

#include "base/fd.h"
#include "kbs/config.h"

static int read_text(const char *text, struct kbs_config *c, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/kbs.toml", dir);

	EXPECT_OK(cf_write_file_atomic(path, cf_view_str(text), 0600, err), err);
	return kbs_config_read(path, c, err);
}

CF_TEST(config_is_closed_unless_told_otherwise)
{
	cf_cleanup(kbs_config_fini) struct kbs_config c = { 0 };
	struct cf_err err;

	EXPECT_OK(read_text("[http_server]\ninsecure_http = true\n[coffer]\nstate_dir = \"s\"\n",
	                    &c, &err),
	          &err);
	EXPECT(!c.admin_allow_all && c.persona_count == 0 && !c.allow_sample);
	EXPECT_INT(c.tpm_roots->count, 0);
	EXPECT_INT(c.listen_count, 1);
	EXPECT_STR(c.listen[0].address, "127.0.0.1");
	EXPECT_INT(c.listen[0].port, 8080);
	EXPECT_INT(c.sessions_max, 100000);
	EXPECT(cf_ends_with(c.state_dir, "/s") && c.state_dir[0] == '/');
	EXPECT(c.warnings.count == 1); /* plain HTTP is said aloud */
	EXPECT_OK(kbs_config_listen(&c, "[::1]:99", &err), &err);
	EXPECT_STR(c.listen[0].address, "::1");
	EXPECT_FAILS(kbs_config_listen(&c, "nowhere", &err), CF_INVALID_ARGUMENT);
}

CF_TEST(config_refuses_what_would_weaken_it_silently)
{
	static const char *const bad[] = {
		"",                                                         /* no TLS, not said */
		"[http_server]\ncertificate = \"x\"\n",                     /* half of it */
		"[http_server]\ninsecure_http = 1\n",                       /* no boolean */
		"[http_server]\ninsecure_http = true\nsockets = [\"x\"]\n", /* no port */
		"[http_server]\ninsecure_http = true\npayload_request_size = 0", /* out of range */
		"[http_server]\ninsecure_http = true\n[admin]\ntype = \"Open\"", /* unknown */
		"[http_server]\ninsecure_http = true\n[[admin.personas]]\nid = \"a\"\n[admin]\n",
		"[http_server]\ninsecure_http = true\n[[coffer.tpm.ek_roots]]\npem = \"x.pem\"\n",
		"[http_server]\ninsecure_http = true\n[[coffer.tpm.ek_roots]]\nsoftware = true\n",
		("[http_server]\ninsecure_http = true\n[[coffer.tpm.ek_roots]]\npem = \"x\"\n"
		 "software = true\noperator_vtpm = true\n"),
	};
	struct kbs_config c = { 0 };
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(bad); i++)
		if (read_text(bad[i], &c, &err) == 0)
			fail_msg("taken: %s", bad[i]);
}

CF_TEST(config_speaks_the_peers_generations)
{
	cf_cleanup(kbs_config_fini) struct kbs_config open = { 0 }, closed = { 0 };
	struct cf_err err;

	EXPECT_OK(read_text("[http_server]\ninsecure_http = true\n[admin]\ntype = "
	                    "\"InsecureAllowAll\"\n",
	                    &open, &err),
	          &err);
	EXPECT(open.admin_allow_all);
	EXPECT_OK(read_text("[http_server]\ninsecure_http = true\n[admin]\n"
	                    "authorization_mode = \"DenyAll\"\n[unknown]\nx = 1\n",
	                    &closed, &err),
	          &err);
	EXPECT(!closed.admin_allow_all);
	EXPECT(closed.warnings.count == 2); /* plain HTTP, the unknown table */
}
