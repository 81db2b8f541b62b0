/* SPDX-License-Identifier: Apache-2.0 */
/* `coffer attest verify`: the key service's own verifier code, run once over a file. */
#include "cli/cmds_kbs.h"

int cli_attest_verify(int argc, char **argv)
{
	cf_cleanup(cf_strv_fini) struct cf_strv args = { 0 };

	cf_strv_add(&args, "coffer-kbs");
	cf_strv_add(&args, "verify");
	for (int i = 1; i < argc; i++)
		cf_strv_add(&args, argv[i]);
	return cli_exec("coffer-kbs", args.items);
}
