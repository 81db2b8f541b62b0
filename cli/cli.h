/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The coffer command: a tree of subcommands. Each command is one function in one file
 * (cli/NOUN_cmd.c) that takes the arguments behind its name, argv[0] being that name, and returns
 * an exit code. Exit codes are promises:
 */
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"

#include <stdio.h>

enum cli_exit {
	CLI_OK = 0,     /* done; the answer is yes */
	CLI_FAILED = 1, /* unclassified: bug, disk error */
	CLI_USAGE = 2,
	CLI_NO = 3, /* the answer is no: verdict contraindicated, policy false, check failed */
	CLI_NOT_FOUND = 4,
	CLI_EXISTS = 5,
	CLI_LOGIN = 6,       /* not logged in, not allowed by a server */
	CLI_REFUSED = 7,     /* refused by policy or attestation */
	CLI_UNAVAILABLE = 8, /* no answer; again may help */
	CLI_BAD_DATA = 9,    /* digest mismatch, malformed input */
	CLI_NO_SIGNATURE = 10,
	CLI_NO_TAG = 11,
	CLI_BAD_SIGNATURE = 12, /* image verify, as cosign */
	CLI_LIMIT = 20,         /* a limit was reached */
	CLI_LACKING = 21,       /* this machine lacks it */
	CLI_NOT_SET_UP = 22,
	CLI_INTERRUPTED = 130,
};
/* The exit code that a cf_code stands for. */
int cli_exit_code(enum cf_code code);

struct cli_command {
	const char *name;
	const char *summary;              /* one line for --help */
	int (*fn)(int argc, char **argv); /* NULL: has subcommands */
	const struct cli_command *subs;   /* ended by a row without name */
};

/* Prints "coffer: …" with what to do next, on stderr; gives the exit code that stands for it. */
int cli_fail(const struct cf_err *err);
/* A usage error: the message and where help is; CLI_USAGE. */
int cli_usage(const char *command, const char *fmt, ...) cf_printf(2, 3);
/* Path of a sibling program: beside this binary, then PATH. The caller frees. */
char *cli_program(const char *name);
/* Replaces this process by a sibling program; returns only when that fails. */
int cli_exec(const char *program, char **argv);
/* True when a person looks at @f. */
bool cli_is_terminal(FILE *f);

int cli_version(int argc, char **argv);
