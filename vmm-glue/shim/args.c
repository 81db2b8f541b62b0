/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/args.h"

#include "base/str.h"

#include <stddef.h>
#include <string.h>

struct flag {
	const char *name;
	size_t offset; /* of a const char * in struct shim_args */
};

static const struct flag flags[] = {
	{ "namespace", offsetof(struct shim_args, ns) },
	{ "address", offsetof(struct shim_args, address) },
	{ "publish-binary", offsetof(struct shim_args, publish_binary) },
	{ "id", offsetof(struct shim_args, id) },
	{ "bundle", offsetof(struct shim_args, bundle) },
	{ "socket", offsetof(struct shim_args, socket) },
	{ "debug-socket", offsetof(struct shim_args, debug_socket) },
};

static const struct {
	const char *name;
	enum shim_action action;
} switches[] = {
	{ "info", SHIM_INFO },
	{ "v", SHIM_VERSION },
	{ "version", SHIM_VERSION },
	{ "h", SHIM_HELP },
	{ "help", SHIM_HELP },
}, actions[] = {
	{ "start", SHIM_START },
	{ "delete", SHIM_DELETE },
	{ "run", SHIM_RUN },
	{ "none-init", SHIM_NONE_INIT },
	{ "probe", SHIM_PROBE },
};

/* "-name", "--name", "-name=value": the name's length, or 0 when @arg is no flag. */
static size_t flag_name(const char *arg, const char **ret)
{
	const char *name = arg + 1;

	if (arg[0] != '-' || !arg[1])
		return 0;
	if (*name == '-')
		name++;
	*ret = name;
	return strcspn(name, "=");
}

static bool name_is(const char *want, const char *name, size_t len)
{
	return strlen(want) == len && !strncmp(want, name, len);
}

static int parse_flag(int argc, char **argv, int *i, struct shim_args *ret, struct cf_err *err)
{
	const char *name = NULL;
	size_t len = flag_name(argv[*i], &name);

	if (name_is("debug", name, len)) {
		ret->is_debug = !cf_streq(name + len, "=false");
		return 0;
	}
	for (size_t k = 0; k < CF_ARRAY_LEN(switches); k++) {
		if (!name_is(switches[k].name, name, len))
			continue;
		ret->action = switches[k].action;
		return 0;
	}
	for (size_t k = 0; k < CF_ARRAY_LEN(flags); k++) {
		const char **slot = (const char **)(void *)((char *)ret + flags[k].offset);

		if (!name_is(flags[k].name, name, len))
			continue;
		if (name[len] == '=') {
			*slot = name + len + 1;
			return 0;
		}
		if (*i + 1 >= argc)
			return cf_fail(err, CF_INVALID_ARGUMENT, "flag -%s needs a value",
			               flags[k].name);
		*slot = argv[++*i];
		return 0;
	}
	return cf_fail(err, CF_INVALID_ARGUMENT, "unknown flag %s (see --help)", argv[*i]);
}

static int parse_action(const char *word, struct shim_args *ret, struct cf_err *err)
{
	for (size_t k = 0; k < CF_ARRAY_LEN(actions); k++) {
		if (!cf_streq(actions[k].name, word))
			continue;
		ret->action = actions[k].action;
		return 0;
	}
	return cf_fail(err, CF_INVALID_ARGUMENT, "unknown action \"%s\" (start, delete or run)",
	               word);
}

/* containerd's own processes always say in which namespace they are. */
static bool needs_namespace(enum shim_action action)
{
	return action == SHIM_DAEMON || action == SHIM_START || action == SHIM_DELETE;
}

int shim_args_parse(int argc, char **argv, struct shim_args *ret, struct cf_err *err)
{
	struct shim_args args = { .action = SHIM_DAEMON };
	const char *name;
	int i = 1;
	int r;

	for (; i < argc && flag_name(argv[i], &name); i++) {
		r = parse_flag(argc, argv, &i, &args, err);
		if (r < 0)
			return r;
	}
	if (i < argc && args.action == SHIM_DAEMON) {
		r = parse_action(argv[i++], &args, err);
		if (r < 0)
			return r;
	}
	args.rest_argc = argc - i;
	args.rest_argv = argv + i;
	if (needs_namespace(args.action) && (!args.ns || !*args.ns))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "-namespace must be given and not be empty");
	*ret = args;
	return 0;
}
