/* SPDX-License-Identifier: Apache-2.0 */
/* coffer-kbs: the choice of mode, nothing else. */
#include "base/log.h"
#include "kbs/serve.h"
#include "kbs/setup.h"
#include "kbs/verify_cmd.h"

#include <stdio.h>
#include <string.h>

static const char help[] =
	"usage: coffer-kbs serve --config FILE      the key service\n"
	"       coffer-kbs init DIR                 its configuration and keys\n"
	"       coffer-kbs verify --tee T --evidence FILE   a verdict over a file, offline\n"
	"       coffer-kbs call --config FILE METHOD PATH   one administrative call, locally\n"
	"       coffer-kbs --version | --help\n"
	"\n"
	"Each mode has its own --help. Options without a mode mean serve.\n";

static const struct {
	const char *name;
	int (*fn)(int argc, char **argv);
} modes[] = {
	{ "serve", serve_cmd },
	{ "init", init_cmd },
	{ "verify", verify_cmd },
	{ "call", call_cmd },
};

int main(int argc, char **argv)
{
	cf_log_init("coffer-kbs");
	for (size_t i = 0; argc > 1 && i < sizeof(modes) / sizeof(modes[0]); i++)
		if (!strcmp(argv[1], modes[i].name))
			return modes[i].fn(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "--version")) {
		puts("coffer-kbs " COFFER_VERSION);
		return 0;
	}
	if (argc > 1 && !strcmp(argv[1], "--help")) {
		fputs(help, stdout);
		return 0;
	}
	if (argc > 1)
		return serve_cmd(argc, argv);
	fputs(help, stderr);
	return 2;
}
