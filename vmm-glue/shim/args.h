/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The shim's command line, as containerd's shim manager writes it: Go-style flags ("-id x",
 * "--id x", "-id=x"), then one action word. The texts are borrowed from argv.
 */
#include "base/err.h"

enum shim_action {
	SHIM_DAEMON, /* no action word: serve the task API */
	SHIM_START,
	SHIM_DELETE,
	SHIM_RUN,       /* one pod without containerd, for "coffer pod run" */
	SHIM_NONE_INIT, /* internal: the process that becomes driver none's guest */
	SHIM_PROBE,     /* prints which accelerator works here */
	SHIM_INFO,
	SHIM_VERSION,
	SHIM_HELP,
};

struct shim_args {
	enum shim_action action;
	const char *ns, *address, *publish_binary, *id, *bundle, *socket, *debug_socket;
	bool is_debug;
	int rest_argc; /* what follows the action word */
	char **rest_argv;
};

/* Return: 0, -CF_INVALID_ARGUMENT (unknown flag or action, a flag without value, empty -namespace). */
cf_must_use int shim_args_parse(int argc, char **argv, struct shim_args *ret, struct cf_err *err);
