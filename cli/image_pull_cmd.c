/* SPDX-License-Identifier: Apache-2.0 */
/* coffer image pull: runs coffer-imaged for one image. */
#include "cli/cli.h"
#include "cli/cmds_image.h"

int cli_image_pull(int argc, char **argv)
{
	struct cf_strv args = { 0 };

	cf_strv_add(&args, "coffer-imaged");
	cf_strv_add(&args, "--oneshot");
	cf_strv_add(&args, "pull");
	for (int i = 1; i < argc; i++)
		cf_strv_add(&args, argv[i]);
	int code = cli_exec("coffer-imaged", args.items);

	cf_strv_fini(&args);
	return code;
}
