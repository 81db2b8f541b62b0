/* SPDX-License-Identifier: Apache-2.0 */
/* coffer-kbs: options and the choice of mode, nothing else. */
#include "base/log.h"
#include "kbs/verify_cmd.h"

#include <stdio.h>
#include <string.h>

static const char help[] = "usage: coffer-kbs verify --tee TEE --evidence FILE [options]\n"
			   "       coffer-kbs --version | --help\n"
			   "\n"
			   "  verify   judge evidence in a file, offline\n";

int main(int argc, char **argv)
{
	cf_log_init("coffer-kbs");
	if (argc > 1 && !strcmp(argv[1], "verify"))
		return verify_cmd(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "--version")) {
		puts("coffer-kbs " COFFER_VERSION);
		return 0;
	}
	fputs(help, argc > 1 && !strcmp(argv[1], "--help") ? stdout : stderr);
	return argc > 1 && !strcmp(argv[1], "--help") ? 0 : 2;
}
