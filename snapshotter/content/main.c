/* SPDX-License-Identifier: Apache-2.0 */
/* coffer-snapshotter-content: see snapshotter/snap_worker.h, which is who talks to it. */
#include "base/crypto.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "erofs/layer_pipeline.h"
#include "erofs/layer_store.h"
#include "erofs/merge.h"
#include "snapshotter/snap_erofs.h"
#include "snapshotter/snap_tar_dir.h"
#include "snapshotter/snap_worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define EXIT_USAGE 2

static const char help[] =
	"usage: coffer-snapshotter-content --version | --help\n"
	"\n"
	"Turns a snapshot's directory into an image, merges images, and finds layers by digest.\n"
	"coffer-snapshotter starts it, of the same version and from its own folder; there is\n"
	"nothing to run by hand.\n";

/* ---- image DIR base|upper durable|relaxed ---- */

static int feed(void *user, struct cf_view v, struct cf_err *err)
{
	return layer_pipeline_feed(user, v, err);
}

/* The image must say all that the directory said. */
static int check_nothing_lost(const struct layer_result *res, struct cf_err *err)
{
	if (res->claimed.dropped_xattrs)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED,
		               "%llu attributes are larger than an image can hold",
		               (unsigned long long)res->claimed.dropped_xattrs);
	return 0;
}

static int make_image(char **args, struct cf_err *err)
{
	const char *dir = args[0];
	cf_cleanup(layer_pipeline_freep) struct layer_pipeline *p = NULL;
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/fs", dir);
	cf_cleanup(cf_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct layer_pipeline_opts opts = { .store_dir = dir,
		                            .build = { .is_upper = true, .for_merge = true },
		                            .not_durable = cf_streq(args[2], "relaxed") };
	struct snap_tar_dir_opts tar = { .is_base = cf_streq(args[1], "base"), .sink = feed };
	struct layer_result res;

	if (fd < 0)
		return cf_fail_errno(err, errno, "%s", path);
	int r = layer_store_tidy(dir, err);

	if (r == 0)
		r = layer_pipeline_new(&opts, &p, err);
	tar.user = p;
	if (r == 0)
		r = snap_tar_dir(fd, &tar, NULL, err);
	if (r == 0)
		r = layer_pipeline_finish(p, &res, err);
	if (r == 0)
		r = check_nothing_lost(&res, err);
	return r < 0 ? r : layer_pipeline_publish(p, SNAP_EROFS_LAYER, err);
}

/* ---- merge DIR durable|relaxed PATH ID … ---- */

static int merge_images(char **args, struct cf_err *err)
{
	const char *dir = args[0];
	size_t count = 0;

	for (char **a = args + 2; a[0] && a[1]; a += 2)
		count++;
	cf_cleanup(cf_freep) struct layer_merge_file *files = cf_zalloc_n(count, sizeof(*files));

	for (size_t i = 0; i < count; i++)
		files[i] =
			(struct layer_merge_file){ args[2 + 2 * i], cf_view_str(args[3 + 2 * i]) };
	int r = layer_store_tidy(dir, err);

	/* It can be made anew at any time, but a torn one must not be found under its name. */
	return r < 0 ? r
	             : layer_merge_files(files, count, dir, SNAP_EROFS_META,
	                                 !cf_streq(args[1], "relaxed"), err);
}

/* ---- diff-id PARENT CHAIN ID … ---- */

/* Source: OCI image-spec config.md, "Layer ChainID". */
static bool is_chain(const char *parent, const char *diff_id, const char *chain)
{
	cf_cleanup(cf_freep) char *both = cf_asprintf("%s %s", parent, diff_id);
	uint8_t digest[32];
	char hex[65];

	cf_sha256(cf_view_str(both), digest);
	cf_hex_encode(cf_view(digest, sizeof(digest)), hex);
	return cf_streq(cf_after(chain, "sha256:"), hex);
}

static int find_diff_id(char **args, struct cf_err *err)
{
	for (char **id = args + 2; *id; id++)
		if (is_chain(args[0], *id, args[1])) {
			fputs(*id, stdout);
			return 0;
		}
	return cf_fail(err, CF_NOT_FOUND, "no layer on top of %s is %s", args[0], args[1]);
}

static const struct {
	const char *name;
	int (*fn)(char **args, struct cf_err *err);
	int args; /* at least */
} jobs[] = {
	{ "image", make_image, 3 },
	{ "merge", merge_images, 4 },
	{ "diff-id", find_diff_id, 3 },
};

int main(int argc, char **argv)
{
	struct cf_err err;

	cf_log_init(SNAP_WORKER_PROGRAM);
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; argc > 1 && i < CF_ARRAY_LEN(jobs); i++) {
		if (!cf_streq(argv[1], jobs[i].name) || argc - 2 < jobs[i].args)
			continue;
		if (jobs[i].fn(argv + 2, &err) == 0)
			return fflush(stdout) == 0 ? 0 : 1;
		snap_worker_say(&err);
		return 1;
	}
	if (argc == 2 && cf_streq(argv[1], "--version")) {
		printf(SNAP_WORKER_PROGRAM " %s\n", COFFER_VERSION);
		return 0;
	}
	if (argc == 2 && cf_streq(argv[1], "--help")) {
		fputs(help, stdout);
		return 0;
	}
	fputs(help, stderr);
	return EXIT_USAGE;
}
