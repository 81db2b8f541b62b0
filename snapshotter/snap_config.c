/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_config.h"

#include "base/toml.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#define NYDUS_NAME "containerd-nydus-grpc"

static const char usage_text[] =
	"Usage: coffer-snapshotter [OPTION]...\n"
	"Serve containerd's snapshot API so that no image layer is fetched or unpacked on this "
	"host:\n"
	"the guest pulls the image itself.\n"
	"\n"
	"  --listen PATH         socket to serve (/run/coffer/snapshotter.sock); also --address\n"
	"  --state-dir DIR       state (/var/lib/coffer/snapshotter); also --root\n"
	"  --config FILE         settings (/etc/coffer/snapshotter.toml, if it is there)\n"
	"  --fs-driver MODE      proxy: guest pull (default); overlay: ordinary layers\n"
	"  --nydus-overlayfs-path PATH\n"
	"                        mount helper containerd is told of (nydus-overlayfs-coffer)\n"
	"  --log-level LEVEL     error, warn, info or debug\n"
	"  --help, --version\n"
	"\n"
	"Started as containerd-nydus-grpc it uses that program's places. Put this into "
	"containerd's\n"
	"configuration:\n"
	"\n"
	"  [proxy_plugins.coffer]\n"
	"    type = \"snapshot\"\n"
	"    address = \"/run/coffer/snapshotter.sock\"\n";

enum {
	OPT_ROOT = 1,
	OPT_ADDRESS,
	OPT_CONFIG,
	OPT_DRIVER,
	OPT_HELPER,
	OPT_LEVEL,
	OPT_IGNORED,
	OPT_HELP,
	OPT_VERSION
};

static const struct option options[] = {
	{ "root", required_argument, NULL, OPT_ROOT },
	{ "state-dir", required_argument, NULL, OPT_ROOT },
	{ "address", required_argument, NULL, OPT_ADDRESS },
	{ "listen", required_argument, NULL, OPT_ADDRESS },
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "fs-driver", required_argument, NULL, OPT_DRIVER },
	{ "nydus-overlayfs-path", required_argument, NULL, OPT_HELPER },
	{ "log-level", required_argument, NULL, OPT_LEVEL },
	/* nydus-snapshotter's, without a meaning here. */
	{ "nydus-image", required_argument, NULL, OPT_IGNORED },
	{ "nydusd", required_argument, NULL, OPT_IGNORED },
	{ "nydusd-config", required_argument, NULL, OPT_IGNORED },
	{ "config-path", required_argument, NULL, OPT_IGNORED },
	{ "daemon-mode", required_argument, NULL, OPT_IGNORED },
	{ "log-to-stdout", optional_argument, NULL, OPT_IGNORED },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

void snap_config_fini(struct snap_config *c)
{
	free(c->root);
	free(c->address);
	free(c->helper);
	free(c->file);
	*c = (struct snap_config){ 0 };
}

static void set(char **to, const char *text)
{
	free(*to);
	*to = cf_strdup(text);
}

/* ---- values ---- */

static int set_driver(struct snap_config *c, const char *text, struct cf_err *err)
{
	c->has_driver = true;
	if (cf_streq(text, "proxy")) {
		c->mode = SNAP_MODE_GUEST_PULL;
		return 0;
	}
	if (cf_streq(text, "overlay") || cf_streq(text, "nodev")) {
		c->mode = SNAP_MODE_OVERLAY;
		return 0;
	}
	return cf_fail(err, CF_INVALID_ARGUMENT,
	               "fs_driver \"%s\" is not served: use \"proxy\" (the guest pulls) or"
	               " \"overlay\" (layers on this host)",
	               text);
}

static int set_level(struct snap_config *c, const char *text, struct cf_err *err)
{
	if (cf_streq(text, "trace"))
		text = "debug";
	if (cf_streq(text, "warning"))
		text = "warn";
	c->has_level = true;
	return cf_log_level_parse(text, &c->level, err);
}

static int set_one_of(const char *key, const char *text, const char *no, const char *yes, bool *ret,
                      struct cf_err *err)
{
	if (!cf_streq(text, no) && !cf_streq(text, yes))
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s is \"%s\" or \"%s\", not \"%s\"", key,
		               no, yes, text);
	*ret = cf_streq(text, yes);
	return 0;
}

/* ---- the file ---- */

static int text_of(const struct cf_toml *v, const char *path, const char **ret, struct cf_err *err)
{
	if (!cf_toml_is(v, CF_TOML_STRING))
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s must be a string", path);
	*ret = cf_toml_str(v);
	return 0;
}

static int text_key(struct snap_config *c, const char *path, const char *text, struct cf_err *err)
{
	if (cf_streq(path, "root") && text[0])
		set(&c->root, text);
	else if (cf_streq(path, "address") && text[0])
		set(&c->address, text);
	else if (cf_streq(path, "snapshot.nydus_overlayfs_path") && text[0])
		set(&c->helper, text);
	else if (cf_streq(path, "daemon.fs_driver") && text[0])
		return set_driver(c, text, err);
	else if (cf_streq(path, "log.level") && text[0])
		return set_level(c, text, err);
	else if (cf_streq(path, "metadata"))
		return set_one_of(path, text, "full", "minimal", &c->is_minimal, err);
	else if (cf_streq(path, "durability"))
		return set_one_of(path, text, "strict", "relaxed", &c->is_relaxed, err);
	return 0;
}

static const char *const text_keys[] = {
	"root",     "address",   "snapshot.nydus_overlayfs_path", "daemon.fs_driver", "log.level",
	"metadata", "durability"
};
/* nydus-snapshotter's, which mean nothing where nothing is mounted and nothing fetched. */
static const char *const ignored_tables[] = { "system.",        "daemon.",  "cgroup.",
	                                      "log.",           "metrics.", "remote.",
	                                      "cache_manager.", "image.",   "experimental." };
static const char *const ignored_keys[] = { "version",
	                                    "uid",
	                                    "gid",
	                                    "daemon_mode",
	                                    "cleanup_on_close",
	                                    "snapshot.enable_kata_volume",
	                                    "snapshot.enable_nydus_overlayfs" };

static bool is_in(const char *path, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (cf_streq(path, list[i]))
			return true;
	return false;
}

static void warn_unknown(const char *path)
{
	if (is_in(path, ignored_keys, CF_ARRAY_LEN(ignored_keys)))
		return;
	for (size_t i = 0; i < CF_ARRAY_LEN(ignored_tables); i++)
		if (cf_starts_with(path, ignored_tables[i]))
			return;
	cf_log_warn("unknown setting", CF_F_STR("key", path));
}

static int file_value(struct snap_config *c, const char *path, const struct cf_toml *v,
                      struct cf_err *err)
{
	bool is_bool = cf_toml_is(v, CF_TOML_BOOL);
	const char *text;

	if (is_in(path, text_keys, CF_ARRAY_LEN(text_keys))) {
		int r = text_of(v, path, &text, err);

		return r < 0 ? r : text_key(c, path, text, err);
	}
	if (is_bool && cf_streq(path, "snapshot.sync_remove"))
		c->is_sync_remove = cf_toml_bool(v);
	else if (is_bool && cf_streq(path, "resurrect"))
		c->is_strict = !cf_toml_bool(v);
	else if (is_bool && cf_streq(path, "snapshot.enable_overlayfs_volatile"))
		c->is_volatile = cf_toml_bool(v);
	else
		warn_unknown(path);
	return 0;
}

static int file_table(struct snap_config *c, const struct cf_toml *table, const char *prefix,
                      struct cf_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < cf_toml_count(table); i++) {
		const struct cf_toml *v = cf_toml_at(table, i);
		cf_cleanup(cf_freep) char *path =
			cf_asprintf("%s%s", prefix, cf_toml_key_at(table, i));

		if (cf_toml_is(v, CF_TOML_TABLE) && !prefix[0]) {
			cf_cleanup(cf_freep) char *inner = cf_asprintf("%s.", path);

			r = file_table(c, v, inner, err);
		} else {
			r = file_value(c, path, v, err);
		}
	}
	return r;
}

static int read_file(struct snap_config *c, struct cf_err *err)
{
	cf_cleanup(cf_toml_freep) struct cf_toml *root = NULL;
	int r = cf_toml_read_file(c->file, SNAP_CONFIG_SIZE_MAX, &root, err);

	if (r == 0)
		r = file_table(c, root, "", err);
	return r < 0 ? cf_wrap(err, r, "%s", c->file) : 0;
}

/* ---- the command line ---- */

static void print_version(void)
{
	printf("Version: %s\nRevision: -\nGo version: none, this is C\nBuild time: -\n",
	       COFFER_VERSION);
}

static int apply_option(struct snap_config *c, int opt, const char *value, struct cf_err *err)
{
	switch (opt) {
	case OPT_ROOT:
		set(&c->root, value);
		return 0;
	case OPT_ADDRESS:
		set(&c->address, value);
		return 0;
	case OPT_HELPER:
		set(&c->helper, value);
		return 0;
	case OPT_DRIVER:
		return set_driver(c, value, err);
	case OPT_LEVEL:
		return set_level(c, value, err);
	case OPT_HELP:
		fputs(usage_text, stdout);
		return SNAP_CONFIG_DONE;
	case OPT_VERSION:
		print_version();
		return SNAP_CONFIG_DONE;
	case OPT_CONFIG: /* read before: the command line overrides the file */
	case OPT_IGNORED:
		return 0;
	default:
		return cf_fail(err, CF_INVALID_ARGUMENT, "unknown option; --help lists them");
	}
}

/* @want 0: all options but the file's name; else this one alone. */
static int walk_options(int argc, char **argv, struct snap_config *c, int want, struct cf_err *err)
{
	int r = 0;

	optind = 1;
	opterr = 0;
	for (int opt; r == 0 && (opt = getopt_long_only(argc, argv, "", options, NULL)) != -1;) {
		if (want && opt == want)
			set(&c->file, optarg);
		else if (!want)
			r = apply_option(c, opt, optarg, err);
	}
	if (r == 0 && optind < argc)
		return cf_fail(err, CF_INVALID_ARGUMENT, "unexpected argument %s", argv[optind]);
	return r;
}

static void set_defaults(struct snap_config *c, bool is_nydus)
{
	set(&c->root, is_nydus ? "/var/lib/containerd/io.containerd.snapshotter.v1.nydus"
	                       : "/var/lib/coffer/snapshotter");
	set(&c->address, is_nydus ? "/run/containerd-nydus/containerd-nydus-grpc.sock"
	                          : "/run/coffer/snapshotter.sock");
	set(&c->helper, is_nydus ? "nydus-overlayfs" : "nydus-overlayfs-coffer");
}

/* Kata looks at the last element of the mount type's path. */
static int check_helper(const char *helper, struct cf_err *err)
{
	const char *slash = strrchr(helper, '/');

	if (!cf_starts_with(slash ? slash + 1 : helper, "nydus-overlayfs"))
		return cf_fail(
			err, CF_INVALID_ARGUMENT,
			"mount helper %s: Kata wants a name that begins with nydus-overlayfs",
			helper);
	return 0;
}

static int check(const struct snap_config *c, struct cf_err *err)
{
	if (c->root[0] != '/' || strlen(c->root) > SNAP_ROOT_BYTES_MAX ||
	    strpbrk(c->root, ",:\\\n"))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "state directory %s: want an absolute path of at most %u bytes"
		               " without , : \\",
		               c->root, SNAP_ROOT_BYTES_MAX);
	return check_helper(c->helper, err);
}

int snap_config_read(int argc, char **argv, struct snap_config *ret, struct cf_err *err)
{
	const char *slash = strrchr(argv[0], '/');
	bool is_nydus = cf_streq(slash ? slash + 1 : argv[0], NYDUS_NAME);
	static const char default_file[] = "/etc/coffer/snapshotter.toml";
	cf_cleanup(snap_config_fini) struct snap_config c = { 0 };

	set_defaults(&c, is_nydus);
	int r = walk_options(argc, argv, &c, OPT_CONFIG, err);

	if (r == 0 && !c.file && !is_nydus && access(default_file, F_OK) == 0)
		set(&c.file, default_file);
	if (r == 0 && c.file)
		r = read_file(&c, err);
	if (r == 0)
		r = walk_options(argc, argv, &c, 0, err);
	/* Under its name its default applies, which is a driver that we do not have. */
	if (r == 0 && is_nydus && !c.has_driver)
		r = set_driver(&c, "fusedev", err);
	if (r == 0)
		r = check(&c, err);
	if (r != 0)
		return r;
	*ret = c;
	c = (struct snap_config){ 0 };
	return 0;
}
