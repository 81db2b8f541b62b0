/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

int cli_version(int argc, char **argv)
{
	struct cf_buf out = { 0 };
	struct cf_jw w = { .out = &out };

	if (argc < 2 || !cf_streq(argv[1], "--json")) {
		printf("coffer %s\n", COFFER_VERSION);
		return CLI_OK;
	}
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "schema", "coffer.version/1");
	cf_jw_kstr(&w, "version", COFFER_VERSION);
	cf_jw_kstr(&w, "compiler", __VERSION__);
	cf_jw_end_obj(&w);
	printf("%s\n", (const char *)out.data);
	cf_buf_fini(&out);
	return CLI_OK;
}
