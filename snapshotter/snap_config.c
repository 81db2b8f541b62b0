/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_config.h"

#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#define NYDUS_NAME "containerd-nydus-grpc"

static const char usage_text[] =
	"Usage: coffer-snapshotter [OPTION]...\n"
	"       coffer-snapshotter fsck --containerd-meta FILE [OPTION]...   (fsck --help)\n"
	"Serve containerd's snapshot API so that no image layer is fetched or unpacked on this "
	"host:\n"
	"the guest pulls the image itself.\n"
	"\n"
	"  --listen PATH         socket to serve (/run/coffer/snapshotter.sock); also --address.\n"
	"                        A socket passed by the service manager is served instead\n"
	"  --state-dir DIR       state (/var/lib/coffer/snapshotter); also --root. What\n"
	"                        nydus-snapshotter left there is taken over\n"
	"  --config FILE         settings (/etc/coffer/snapshotter.toml, if it is there)\n"
	"  --fs-driver MODE      proxy: guest pull (default); overlay: ordinary layers;\n"
	"                        erofs: ordinary layers, kept as EROFS images\n"
	"  --nydus-overlayfs-path PATH\n"
	"                        mount helper containerd is told of (nydus-overlayfs-coffer)\n"
	"  --control PATH        socket for status and metrics (system.sock beside --listen);\n"
	"                        \"none\": no such socket\n"
	"  --metrics-address ADDRESS:PORT\n"
	"                        serve /metrics and /v1/metrics there too (off)\n"
	"  --containerd PATH     containerd's socket, asked what layers are made of when it uses\n"
	"                        our differ (/run/containerd/containerd.sock)\n"
	"  --notify PATH         datagram socket, or directory of such, that is told of pulls\n"
	"  --log-level LEVEL     error, warn, info (default) or debug\n"
	"  --help, --version\n"
	"\n"
	"Taken without effect, for units written for nydus-snapshotter: --nydusd, --nydus-image,\n"
	"--nydusd-config, --config-path, --daemon-mode, --log-to-stdout (logs go to stderr).\n"
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
	OPT_CONTROL,
	OPT_METRICS,
	OPT_CONTAINERD,
	OPT_NOTIFY,
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
	{ "control", required_argument, NULL, OPT_CONTROL },
	{ "metrics-address", required_argument, NULL, OPT_METRICS },
	{ "containerd", required_argument, NULL, OPT_CONTAINERD },
	{ "notify", required_argument, NULL, OPT_NOTIFY },
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
	free(c->control);
	free(c->metrics);
	free(c->containerd);
	free(c->notify);
	for (size_t i = 0; c->instances && i < c->instance_count; i++) {
		free(c->instances[i].name);
		free(c->instances[i].root);
	}
	free(c->instances);
	*c = (struct snap_config){ 0 };
}

static void set(char **to, const char *text)
{
	free(*to);
	*to = cf_strdup(text);
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
		c->has_driver = true;
		return snap_config_set_driver(value, &c->mode, err);
	case OPT_LEVEL:
		return snap_config_set_level(c, value, err);
	case OPT_CONTROL:
		c->is_control_off = cf_streq(value, "none");
		if (!c->is_control_off)
			set(&c->control, value);
		return 0;
	case OPT_NOTIFY:
		set(&c->notify, value);
		return 0;
	case OPT_CONTAINERD:
		set(&c->containerd, value);
		return 0;
	case OPT_METRICS:
		set(&c->metrics, value);
		return 0;
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

/* @want 0: all options but the file's name; else this one alone, and which ones overrule the file. */
static int walk_options(int argc, char **argv, struct snap_config *c, int want, struct cf_err *err)
{
	int r = 0;

	optind = 1;
	opterr = 0;
	for (int opt; r == 0 && (opt = getopt_long_only(argc, argv, "", options, NULL)) != -1;) {
		if (want && opt == want)
			set(&c->file, optarg);
		else if (want)
			c->has_driver_option |= opt == OPT_DRIVER;
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
	set(&c->containerd, "/run/containerd/containerd.sock");
	set(&c->helper, is_nydus ? "nydus-overlayfs" : "nydus-overlayfs-coffer");
	/* The file adds its instances behind the first. */
	c->instances = cf_zalloc_n(SNAP_INSTANCES_MAX, sizeof(c->instances[0]));
	c->instances[0].name = cf_strdup("");
	c->instance_count = 1;
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

static int check_root(const char *root, struct cf_err *err)
{
	if (root[0] != '/' || strlen(root) > SNAP_ROOT_BYTES_MAX || strpbrk(root, ",:\\\n"))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "state directory %s: want an absolute path of at most %u bytes"
		               " without , : \\",
		               root, SNAP_ROOT_BYTES_MAX);
	return 0;
}

static int check(const struct snap_config *c, struct cf_err *err)
{
	int r = check_helper(c->helper, err);

	for (size_t i = 0; r == 0 && i < c->instance_count; i++)
		r = check_root(c->instances[i].root, err);
	return r;
}

/* What the first instance is, and what the others take from it. */
static void settle_instances(struct snap_config *c)
{
	set(&c->instances[0].root, c->root);
	c->instances[0].mode = c->mode;
	for (size_t i = 1; i < c->instance_count; i++)
		if (!c->instances[i].has_driver)
			c->instances[i].mode = c->mode;
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
		r = snap_config_read_file(&c, err);
	if (r == 0)
		r = walk_options(argc, argv, &c, 0, err);
	/* Under its name its default applies, which is a driver that we do not have. */
	if (r == 0 && is_nydus && !c.has_driver)
		r = snap_config_set_driver("fusedev", &c.mode, err);
	settle_instances(&c);
	if (r == 0)
		r = check(&c, err);
	if (r != 0)
		return r;
	*ret = c;
	c = (struct snap_config){ 0 };
	return 0;
}
