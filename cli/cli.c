/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

int cli_exit_code(enum cf_code code)
{
	switch (code) {
	case CF_OK:
		return CLI_OK;
	case CF_NOT_FOUND:
		return CLI_NOT_FOUND;
	case CF_ALREADY_EXISTS:
		return CLI_EXISTS;
	case CF_PERMISSION_DENIED:
	case CF_UNAUTHENTICATED:
		return CLI_REFUSED;
	case CF_UNAVAILABLE:
	case CF_DEADLINE_EXCEEDED:
		return CLI_UNAVAILABLE;
	case CF_INVALID_ARGUMENT:
	case CF_DATA_LOSS:
	case CF_OUT_OF_RANGE:
		return CLI_BAD_DATA;
	case CF_RESOURCE_EXHAUSTED:
		return CLI_LIMIT;
	case CF_UNIMPLEMENTED:
		return CLI_LACKING;
	case CF_FAILED_PRECONDITION:
		return CLI_NOT_SET_UP;
	case CF_CANCELLED:
		return CLI_INTERRUPTED;
	case CF_UNKNOWN:
	case CF_ABORTED:
	case CF_INTERNAL:
		break;
	}
	return CLI_FAILED;
}

int cli_fail(const struct cf_err *err)
{
	fprintf(stderr, "coffer: %s\n", err->msg);
	return cli_exit_code(err->code);
}

int cli_usage(const char *command, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "coffer %s: ", command);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\ntry: coffer %s --help\n", command);
	return CLI_USAGE;
}

char *cli_program(const char *name)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n > 0) {
		self[n] = '\0';
		char *slash = strrchr(self, '/');
		char *beside = cf_asprintf("%.*s/%s", (int)(slash - self), self, name);

		if (access(beside, X_OK) == 0)
			return beside;
		free(beside);
	}
	return cf_strdup(name);
}

int cli_exec(const char *program, char **argv)
{
	cf_cleanup(cf_freep) char *path = cli_program(program);

	execvp(path, argv);
	fprintf(stderr, "coffer: cannot run %s: %s\n", program, strerror(errno));
	return errno == ENOENT ? CLI_NOT_SET_UP : CLI_FAILED;
}

bool cli_is_terminal(FILE *f)
{
	return isatty(fileno(f)) == 1;
}
