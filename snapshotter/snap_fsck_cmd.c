/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_fsck.h"

#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <sys/file.h>

#define EXIT_AGREE  0
#define EXIT_DIFFER 1
#define EXIT_FAILED 2

static const char usage_text[] =
	"Usage: coffer-snapshotter fsck --containerd-meta FILE [OPTION]...\n"
	"Compare containerd's records with the snapshotter's. Both must be stopped.\n"
	"\n"
	"  --containerd-meta FILE  containerd's database, as a rule\n"
	"                          /var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db\n"
	"  --state-dir DIR         the snapshotter's state (/var/lib/coffer/snapshotter); also "
	"--root\n"
	"  --snapshotter NAME      its name in containerd's proxy_plugins; found when only one is\n"
	"                          there that is not containerd's own\n"
	"  --repair                put back what containerd knows and the state lacks\n"
	"  --help\n"
	"\n"
	"Exit status: 0 they agree (or were made to), 1 they differ, 2 usage or failure.\n";

struct options {
	const char *meta, *root, *snapshotter;
	bool repair, help;
};

enum { OPT_META = 1, OPT_ROOT, OPT_SNAPSHOTTER, OPT_REPAIR, OPT_HELP };

static int read_options(int argc, char **argv, struct options *o, struct cf_err *err)
{
	static const struct option known[] = {
		{ "containerd-meta", required_argument, NULL, OPT_META },
		{ "root", required_argument, NULL, OPT_ROOT },
		{ "state-dir", required_argument, NULL, OPT_ROOT },
		{ "snapshotter", required_argument, NULL, OPT_SNAPSHOTTER },
		{ "repair", no_argument, NULL, OPT_REPAIR },
		{ "help", no_argument, NULL, OPT_HELP },
		{ NULL, 0, NULL, 0 },
	};

	optind = 1;
	opterr = 0;
	for (int opt; (opt = getopt_long(argc, argv, "", known, NULL)) != -1;) {
		if (opt == OPT_META)
			o->meta = optarg;
		else if (opt == OPT_ROOT)
			o->root = optarg;
		else if (opt == OPT_SNAPSHOTTER)
			o->snapshotter = optarg;
		else if (opt == OPT_REPAIR)
			o->repair = true;
		else if (opt == OPT_HELP)
			o->help = true;
		else
			return cf_fail(err, CF_INVALID_ARGUMENT, "unknown option; see --help");
	}
	if (optind < argc || (!o->meta && !o->help))
		return cf_fail(err, CF_INVALID_ARGUMENT, "want --containerd-meta FILE");
	return 0;
}

/* containerd's own ones never speak to a socket. */
static bool is_builtin(const char *name)
{
	static const char *const own[] = { "overlayfs", "native", "btrfs",     "zfs",   "devmapper",
		                           "aufs",      "erofs",  "blockfile", "stargz" };

	for (size_t i = 0; i < CF_ARRAY_LEN(own); i++)
		if (cf_streq(name, own[i]))
			return true;
	return false;
}

static int choose(struct bolt *meta, char **ret, struct cf_err *err)
{
	cf_cleanup(snap_fsck_rows_fini) struct snap_fsck_rows rows = { 0 };
	const char *only = NULL;
	int r = snap_fsck_read(meta, NULL, &rows, err);

	for (size_t i = 0; r == 0 && i < rows.snapshotters.count; i++) {
		const char *name = rows.snapshotters.items[i];

		if (is_builtin(name))
			continue;
		if (only)
			return cf_fail(err, CF_INVALID_ARGUMENT,
			               "containerd knows %s and %s: say --snapshotter", only, name);
		only = name;
	}
	if (r == 0 && !only)
		return cf_fail(err, CF_NOT_FOUND, "containerd has no snapshots but its own");
	if (r == 0)
		*ret = cf_strdup(only);
	return r;
}

static void print_line(const char *line, void *user)
{
	(void)user;
	puts(line);
}

static int compare(const struct options *o, struct bolt *meta, struct snap_store *st,
                   struct snap_fsck_result *ret, struct cf_err *err)
{
	cf_cleanup(snap_fsck_rows_fini) struct snap_fsck_rows rows = { 0 };
	cf_cleanup(cf_freep) char *name = cf_strdup(o->snapshotter);
	int r = name ? 0 : choose(meta, &name, err);

	if (r == 0)
		r = snap_fsck_read(meta, name, &rows, err);
	if (r == 0)
		r = snap_fsck_compare(&rows, st, o->repair, print_line, NULL, ret, err);
	if (r == 0)
		printf("%s: %zu agree, %zu missing here, %zu unknown to containerd,"
		       " %zu with another parent, %zu put back\n",
		       name, ret->agreed, ret->missing, ret->surplus, ret->other_parent,
		       ret->repaired);
	return r;
}

static int take_lock(const char *root, int *ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/lock", root);
	int r = cf_mkdir_p(root, 0700, err);

	if (r < 0)
		return r;
	*ret = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (*ret < 0)
		return cf_fail_errno(err, errno, "%s", path);
	if (flock(*ret, LOCK_EX | LOCK_NB) < 0)
		return cf_fail(err, CF_UNAVAILABLE, "stop the snapshotter that uses %s first",
		               root);
	return 0;
}

static int check(const struct options *o, struct snap_fsck_result *ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *db = cf_asprintf("%s/metadata.sqlite", o->root);
	cf_cleanup(snap_store_closep) struct snap_store *st = NULL;
	cf_cleanup(cf_closep) int lock = -1;
	struct bolt_file meta;
	int r = take_lock(o->root, &lock, err);

	if (r < 0)
		return r;
	r = bolt_file_open(o->meta, &meta, err);
	if (r == -CF_UNAVAILABLE)
		return cf_wrap(err, r, "stop containerd first");
	if (r < 0)
		return r;
	r = snap_store_open(db, false, &st, err);
	if (r == 0)
		r = compare(o, &meta.db, st, ret, err);
	bolt_file_close(&meta);
	return r;
}

int snap_fsck_main(int argc, char **argv)
{
	struct options o = { .root = "/var/lib/coffer/snapshotter" };
	struct snap_fsck_result result = { 0 };
	struct cf_err err;
	int r = read_options(argc, argv, &o, &err);

	if (r == 0 && o.help) {
		fputs(usage_text, stdout);
		return EXIT_AGREE;
	}
	if (r == 0)
		r = check(&o, &result, &err);
	if (r < 0) {
		fprintf(stderr, "coffer-snapshotter fsck: %s\n", err.msg);
		return EXIT_FAILED;
	}
	bool open = result.missing != result.repaired || result.surplus || result.other_parent;

	return open ? EXIT_DIFFER : EXIT_AGREE;
}
