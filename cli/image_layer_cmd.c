/* SPDX-License-Identifier: Apache-2.0 */
/* coffer image layer: runs coffer-imaged for one layer. */
#include "cli/image_layer_cmd.h"
#include "cli/cli.h"

int cli_image_layer(int argc, char **argv)
{
	struct cf_strv args = { 0 };

	cf_strv_add(&args, "coffer-imaged");
	cf_strv_add(&args, "--oneshot");
	cf_strv_add(&args, "layer");
	for (int i = 1; i < argc; i++)
		cf_strv_add(&args, argv[i]);
	int code = cli_exec("coffer-imaged", args.items);
	cf_strv_fini(&args);
	return code;
}
