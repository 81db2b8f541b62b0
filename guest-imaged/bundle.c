/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-imaged/bundle.h"

#include "base/crypto.h"
#include "base/fd.h"
#include "erofs/mount.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/stat.h>
#include <sys/stat.h>
#include <unistd.h>

struct places {
	char *rootfs, *lower, *marker, *config, *overlay, *upper, *work;
};

static void places_fini(struct places *p)
{
	free(p->rootfs);
	free(p->lower);
	free(p->marker);
	free(p->config);
	free(p->overlay);
	free(p->upper);
	free(p->work);
}

static struct places places_of(const char *path, const char *work_dir)
{
	uint8_t hash[32];
	char hex[65];

	cf_sha256(cf_view_str(path), hash);
	cf_hex_encode(cf_view(hash, sizeof(hash)), hex);
	return (struct places){
		.rootfs = cf_asprintf("%s/rootfs", path),
		.lower = cf_asprintf("%s/.lower", path),
		.marker = cf_asprintf("%s/.image", path),
		.config = cf_asprintf("%s/config.json", path),
		.overlay = cf_asprintf("%s/overlay/%s", work_dir, hex),
		.upper = cf_asprintf("%s/overlay/%s/upperdir", work_dir, hex),
		.work = cf_asprintf("%s/overlay/%s/workdir", work_dir, hex),
	};
}

static bool is_mounted(const char *path)
{
	struct statx st;

	return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &st) == 0 &&
	       (st.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

/* 1: this very image is mounted there already. */
static int check_present(const struct places *p, const struct pull_result *image,
                         struct cf_err *err)
{
	struct cf_buf marker = { 0 };

	if (!is_mounted(p->rootfs))
		return 0;
	int r = cf_read_file(p->marker, 4096, &marker, NULL);
	bool same = r == 0 && cf_view_eq_str(cf_buf_view(&marker), image->manifest.text);

	cf_buf_fini(&marker);
	if (!same)
		return cf_fail(err, CF_FAILED_PRECONDITION, "%s has another image mounted",
		               p->rootfs);
	return 1;
}

/*
 * Nobody tells us that a container is gone, but its bundle is gone with it: what it wrote is memory
 * that the next one needs.
 */
static void sweep_one(const char *dir)
{
	cf_cleanup(cf_freep) char *owner = cf_asprintf("%s/bundle", dir);
	struct cf_buf path = { 0 };

	if (cf_read_file(owner, PATH_MAX, &path, NULL) == 0 && path.size > 0 &&
	    !cf_view_has_nul(cf_buf_view(&path)) && access((const char *)path.data, F_OK) < 0 &&
	    errno == ENOENT)
		(void)!cf_rm_rf(dir, NULL);
	cf_buf_fini(&path);
}

static void sweep(const char *work_dir)
{
	cf_cleanup(cf_freep) char *all = cf_asprintf("%s/overlay", work_dir);
	DIR *d = opendir(all);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		cf_cleanup(cf_freep) char *dir = cf_asprintf("%s/%s", all, e->d_name);

		if (e->d_name[0] != '.')
			sweep_one(dir);
	}
	if (d)
		closedir(d);
}

static int make_dirs(const struct places *p, const char *bundle, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *owner = cf_asprintf("%s/bundle", p->overlay);
	int r = cf_rm_rf(p->overlay, err); /* what an earlier container wrote is not ours to show */

	/* The bundle first: a sweep of another pull must find it. */
	if (r == 0)
		r = cf_mkdir_p(bundle, 0755, err);
	if (r == 0)
		r = cf_mkdir_p(p->upper, 0755, err);
	if (r == 0)
		r = cf_write_file_atomic(owner, cf_view_str(bundle), 0600, err);
	if (r == 0)
		r = cf_mkdir_p(p->work, 0755, err);
	if (r == 0)
		r = cf_mkdir_p(p->lower, 0755, err);
	if (r == 0)
		r = cf_mkdir_p(p->rootfs, 0755, err);
	return r;
}

static int mount_lower(const struct places *p, const struct pull_result *image, struct cf_err *err)
{
	struct cf_strv devices = { 0 };

	pull_result_devices(image, &devices);
	struct layer_mount_opts opts = { .image = image->merged,
		                         .devices = (const char *const *)devices.items,
		                         .device_count = devices.count };
	int r = layer_mount(&opts, p->lower, err);

	cf_strv_fini(&devices);
	return r;
}

/* The overlay's root takes its owner and mode from the upper directory: make them the image's. */
static int adopt_root(const struct places *p, struct cf_err *err)
{
	struct stat st;

	if (stat(p->lower, &st) < 0 || chown(p->upper, st.st_uid, st.st_gid) < 0 ||
	    chmod(p->upper, st.st_mode & 07777) < 0)
		return cf_fail_errno(err, errno, "root of the overlay");
	return 0;
}

static int mount_rootfs(const struct places *p, const struct pull_result *image, struct cf_err *err)
{
	struct layer_overlay_opts opts = { .lower = p->lower, .upper = p->upper, .work = p->work };
	int r = mount_lower(p, image, err);

	if (r < 0)
		return r;
	r = adopt_root(p, err);
	if (r == 0)
		r = layer_mount_overlay(&opts, p->rootfs, err);
	/* The overlay holds a mount of its own of what lies below: this one would only be left behind. */
	if (r == 0)
		r = layer_unmount(p->lower, err);
	if (r == 0)
		(void)!rmdir(p->lower);
	return r;
}

static int write_config(const struct places *p, const struct pull_result *image, struct cf_err *err)
{
	cf_cleanup(cf_closep) int root = open(p->rootfs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct cf_buf text = { 0 };
	int r = bundle_config(image, root, &text, err);

	if (r == 0)
		r = cf_write_file_atomic(p->config, cf_buf_view(&text), 0644, err);
	if (r == 0)
		r = cf_write_file_atomic(p->marker, cf_view_str(image->manifest.text), 0600, err);
	cf_buf_fini(&text);
	return r;
}

static void unmount_both(const struct places *p)
{
	(void)!layer_unmount(p->rootfs, NULL);
	(void)!layer_unmount(p->lower, NULL);
}

static int make(const struct places *p, const struct pull_result *image, const char *bundle,
                struct cf_err *err)
{
	int r = check_present(p, image, err);

	if (r > 0)
		return write_config(p, image, err);
	if (r < 0)
		return r;
	unmount_both(p); /* half a bundle of a process that died */
	r = make_dirs(p, bundle, err);
	if (r == 0)
		r = mount_rootfs(p, image, err);
	if (r == 0)
		r = write_config(p, image, err);
	if (r < 0) {
		unmount_both(p);
		(void)!cf_rm_rf(p->overlay, NULL);
	}
	return r;
}

int bundle_make(const struct pull_result *image, const char *path, const char *work_dir,
                struct cf_err *err)
{
	struct places p = places_of(path, work_dir);
	int r;

	sweep(work_dir);
	r = make(&p, image, path, err);

	places_fini(&p);
	return r < 0 ? cf_wrap(err, r, "bundle %s", path) : 0;
}

void bundle_unmake(const char *path)
{
	struct places p = places_of(path, "");

	unmount_both(&p);
	places_fini(&p);
}
