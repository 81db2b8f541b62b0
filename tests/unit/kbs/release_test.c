/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/test.h"

#include "kbs/release.h"

#define SUBMOD(status, extra) "{\"ear.status\":\"" status "\",\"coffer\":{" extra "}}"
#define OURS                  "sha256:aa"

static int decide(const char *submods, const char *listed, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *text = cf_asprintf("{\"submods\":{%s}}", submods);
	cf_cleanup(cf_json_freep) struct cf_json *claims = NULL;
	cf_cleanup(cf_strv_fini) struct cf_strv list = { 0 };
	struct release_input in = { .path = "a/b/c", .listed = &list };

	EXPECT_OK(cf_json_parse(cf_view_str(text), 0, &claims, err), err);
	in.claims = claims;
	if (listed)
		cf_strv_split(&list, cf_view_str(listed), ' ');
	return release_decide(&in, err);
}

CF_TEST(release_wants_every_submodule_affirming_and_the_initdata_listed)
{
	static const struct {
		const char *submods, *listed, *says; /* says NULL: released */
	} table[] = {
		{ "\"cpu0\":" SUBMOD("affirming", "\"initdata\":\"" OURS "\""), OURS, NULL },
		{ "\"cpu0\":" SUBMOD("affirming", "\"initdata\":\"" OURS "\""), "none " OURS,
		  NULL },
		{ "\"cpu0\":" SUBMOD("affirming", "\"initdata\":\"" OURS "\""), "any", NULL },
		{ "\"cpu0\":" SUBMOD("affirming", ""), "any", NULL },
		{ "\"cpu0\":" SUBMOD("affirming", "\"initdata\":\"none\""), "none", NULL },
		{ "\"cpu0\":" SUBMOD("affirming", "\"initdata\":\"" OURS "\""), "none",
		  "not for guests" },
		{ "\"cpu0\":" SUBMOD("affirming", "\"initdata\":\"" OURS "\""), NULL,
		  "(0 digests" },
		{ "\"cpu0\":" SUBMOD("affirming", ""), OURS, "did not prove which initdata" },
		{ "\"cpu0\":" SUBMOD("affirming", "\"initdata\":\"\""), "", "did not prove" },
		{ "\"cpu0\":" SUBMOD("warning",
		                     "\"initdata\":\"" OURS "\",\"check\":\"pcr09\","
		                     "\"covers\":\"command line\",\"ref\":\"k7q2-9fxt\""),
		  "any",
		  "cpu0 is warning, not affirming: check pcr09 (command line) failed, ref "
		  "k7q2-9fxt" },
		{ "\"cpu0\":" SUBMOD("contraindicated", ""), "any", "contraindicated" },
		{ "\"cpu0\":" SUBMOD("none", ""), "any", "none, not affirming" },
		{ "\"cpu0\":" SUBMOD("affirming", "") ",\"gpu0\":" SUBMOD("warning", ""), "any",
		  "gpu0 is warning" },
		{ "\"cpu0\":{}", "any", "not affirming" },
		{ "", "any", "no submodule" },
	};
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(table); i++) {
		int r = decide(table[i].submods, table[i].listed, &err);

		if (!table[i].says) {
			EXPECT_OK(r, &err);
			continue;
		}
		if (r != -CF_PERMISSION_DENIED || !strstr(err.msg, table[i].says))
			fail_msg("row %zu: %d %s", i, r, err.msg);
	}
}
