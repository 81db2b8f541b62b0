/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "erofs/layer_worker.h"
#include "guest-imaged/oneshot_layer.h"
#include "guest-imaged/oneshot_pull.h"

#include <stdio.h>

int main(int argc, char **argv)
{
	cf_helper_main(argc, argv, layer_helpers, layer_helper_count);
	if (argc > 2 && cf_streq(argv[1], "--oneshot") && cf_streq(argv[2], "layer"))
		return imaged_oneshot_layer(argc - 2, argv + 2);
	if (argc > 2 && cf_streq(argv[1], "--oneshot") && cf_streq(argv[2], "pull"))
		return imaged_oneshot_pull(argc - 2, argv + 2);
	if (argc > 1 && cf_streq(argv[1], "--version")) {
		printf("coffer-imaged %s\n", COFFER_VERSION);
		return 0;
	}
	fprintf(stderr, "usage: coffer-imaged --oneshot layer TAR[.gz|.zst]|- --out IMG.erofs\n");
	return 2;
}
