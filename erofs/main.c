/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coffer-layer-helper: the sandboxed processes of the layer pipeline and of merging, in a program
 * that links nothing else. It starts in a moment, and what a stranger's bytes may break is small.
 */
#include "erofs/layer_worker.h"

#include "base/str.h"

#include <stdio.h>

static const char usage[] =
	"usage: coffer-layer-helper --version | --help\n"
	"\n"
	"Inflates, builds and merges image layers in a sandbox. Other programs of coffer start it, "
	"of\n"
	"the same version and from their own folder; there is nothing to run by hand.\n";

int main(int argc, char **argv)
{
	cf_helper_main(argc, argv, layer_helpers, layer_helper_count);
	if (argc == 2 && cf_streq(argv[1], "--version")) {
		printf("coffer-layer-helper %s\n", COFFER_VERSION);
		return 0;
	}
	if (argc == 2 && cf_streq(argv[1], "--help")) {
		fputs(usage, stdout);
		return 0;
	}
	fputs(usage, stderr);
	return 2;
}
