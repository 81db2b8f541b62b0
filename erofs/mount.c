/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/mount.h"

#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <linux/loop.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#define LOOP_TRIES 64 /* others take free loop devices too */

/* What the kernel had to say, behind our own words. */
static int mount_fail(int fs, int errnum, const char *what, struct cf_err *err)
{
	enum cf_code code = cf_code_from_errno(errnum);
	char said[256];
	ssize_t n = fs >= 0 ? read(fs, said, sizeof(said) - 1) : -1;
	const char *text = said;

	if (errnum == ENODEV || errnum == ENOSYS || errnum == ENOTBLK || errnum == EOPNOTSUPP)
		code = CF_UNIMPLEMENTED;
	if (n <= 0) {
		cf_fail_errno(err, errnum, "%s", what);
	} else {
		said[n] = '\0';
		while (n && said[n - 1] == '\n')
			said[--n] = '\0';
		if (n > 2 && said[1] == ' ') /* "e text": the level */
			text += 2;
		cf_fail_errno(err, errnum, "%s: %s", what, text);
	}
	if (err)
		err->code = code;
	return -(int)code;
}

static unsigned attributes(bool nosuid, bool nodev, bool noexec)
{
	return (nosuid ? MOUNT_ATTR_NOSUID : 0u) | (nodev ? MOUNT_ATTR_NODEV : 0u) |
	       (noexec ? MOUNT_ATTR_NOEXEC : 0u);
}

/* The configured context becomes a mount at @target. */
static int attach(int fs, unsigned attrs, const char *target, const char *what, struct cf_err *err)
{
	cf_cleanup(cf_closep) int mnt = -1;

	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return mount_fail(fs, errno, what, err);
	mnt = fsmount(fs, FSMOUNT_CLOEXEC, attrs);
	if (mnt < 0)
		return mount_fail(fs, errno, what, err);
	if (move_mount(mnt, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return cf_fail_errno(err, errno, "mount at %s", target);
	return 0;
}

static int set(int fs, const char *key, const char *value, const char *what, struct cf_err *err)
{
	int r = value ? fsconfig(fs, FSCONFIG_SET_STRING, key, value, 0)
	              : fsconfig(fs, FSCONFIG_SET_FLAG, key, NULL, 0);

	return r < 0 ? mount_fail(fs, errno, what, err) : 0;
}

/* ---- EROFS ---- */

/* @paths: the image, then its devices. */
static int mount_paths(const char *const *paths, size_t count, unsigned attrs, const char *target,
                       struct cf_err *err)
{
	cf_cleanup(cf_freep) char *what = cf_asprintf("mount of %s", paths[0]);
	cf_cleanup(cf_closep) int fs = fsopen("erofs", FSOPEN_CLOEXEC);
	int r;

	if (fs < 0)
		return mount_fail(-1, errno, "this kernel has no EROFS", err);
	r = set(fs, "ro", NULL, what, err);
	if (r == 0)
		r = set(fs, "source", paths[0], what, err);
	for (size_t i = 1; r == 0 && i < count; i++)
		r = set(fs, "device", paths[i], what, err);
	return r < 0 ? r : attach(fs, attrs | MOUNT_ATTR_RDONLY, target, what, err);
}

struct loops {
	char **paths; /* of the loop devices, in the images' order */
	int *fds;     /* kept until the mount holds them */
	size_t count;
};

static void loops_fini(struct loops *l)
{
	for (size_t i = 0; i < l->count; i++) {
		cf_close(&l->fds[i]);
		free(l->paths[i]);
	}
	free(l->fds);
	free(l->paths);
}

static int configure_loop(const char *loop, int file, int *ret_fd, struct cf_err *err)
{
	const struct loop_config config = {
		.fd = (uint32_t)file,
		.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
	};
	int fd = open(loop, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return cf_fail_errno(err, errno, "%s", loop);
	if (ioctl(fd, LOOP_CONFIGURE, &config) < 0) {
		int r = cf_fail_errno(err, errno, "%s", loop);

		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

static int add_loop(struct loops *l, int control, const char *image, struct cf_err *err)
{
	cf_cleanup(cf_closep) int file = open(image, O_RDONLY | O_CLOEXEC);
	int r = 0;

	if (file < 0)
		return cf_fail_errno(err, errno, "%s", image);
	for (unsigned tries = 0; tries < LOOP_TRIES; tries++) {
		int n = ioctl(control, LOOP_CTL_GET_FREE);
		int fd = -1;

		if (n < 0)
			return cf_fail_errno(err, errno, "no free loop device");
		cf_cleanup(cf_freep) char *path = cf_asprintf("/dev/loop%d", n);
		r = configure_loop(path, file, &fd, err);
		if (r == 0) {
			l->paths[l->count] = cf_take(&path);
			l->fds[l->count++] = fd;
			return 0;
		}
		if (!err || err->sys != EBUSY)
			return r;
	}
	return r;
}

static int mount_loops(const char *const *paths, size_t count, unsigned attrs, const char *target,
                       struct cf_err *err)
{
	cf_cleanup(cf_closep) int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	struct loops l = { 0 };
	int r = 0;

	if (control < 0)
		return mount_fail(-1, errno, "/dev/loop-control", err);
	l.paths = cf_zalloc_n(count, sizeof(*l.paths));
	l.fds = cf_zalloc_n(count, sizeof(*l.fds));
	for (size_t i = 0; r == 0 && i < count; i++)
		r = add_loop(&l, control, paths[i], err);
	if (r == 0)
		r = mount_paths((const char *const *)l.paths, count, attrs, target, err);
	loops_fini(&l);
	return r;
}

int layer_mount(const struct layer_mount_opts *o, const char *target, struct cf_err *err)
{
	unsigned attrs = attributes(o->nosuid, o->nodev, o->noexec);
	size_t count = 1 + o->device_count;
	cf_cleanup(cf_freep) const char **paths = cf_zalloc_n(count, sizeof(*paths));
	struct cf_err why;
	int r;

	paths[0] = o->image;
	for (size_t i = 0; i < o->device_count; i++)
		paths[1 + i] = o->devices[i];
	if (o->backing == LAYER_BACKING_LOOP)
		return mount_loops(paths, count, attrs, target, err);
	r = mount_paths(paths, count, attrs, target, &why);
	/* ENOTBLK: an old kernel, or a file system (tmpfs) that cannot back a file-backed mount. */
	if (r < 0 && why.sys == ENOTBLK && o->backing == LAYER_BACKING_AUTO)
		return mount_loops(paths, count, attrs, target, err);
	if (r < 0 && err)
		*err = why;
	return r;
}

/* ---- overlay ---- */

/* Before 6.8 there is one option with colons between the lowers: a colon in a name is escaped. */
static char *escape_lower(const char *path)
{
	struct cf_buf b = { 0 };

	for (; *path; path++) {
		if (*path == ':' || *path == '\\')
			cf_buf_add_byte(&b, '\\');
		cf_buf_add_byte(&b, (uint8_t)*path);
	}
	return cf_buf_take_str(&b);
}

static int set_lower(int fs, const char *lower, const char *what, struct cf_err *err)
{
	if (fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir+", lower, 0) == 0)
		return 0;
	cf_cleanup(cf_freep) char *escaped = escape_lower(lower);
	return set(fs, "lowerdir", escaped, what, err);
}

int layer_mount_overlay(const struct layer_overlay_opts *o, const char *target, struct cf_err *err)
{
	unsigned attrs = attributes(o->nosuid, o->nodev, o->noexec);
	cf_cleanup(cf_freep) char *what = cf_asprintf("overlay at %s", target);
	cf_cleanup(cf_closep) int fs = fsopen("overlay", FSOPEN_CLOEXEC);
	int r;

	if (fs < 0)
		return mount_fail(-1, errno, "this kernel has no overlayfs", err);
	r = set(fs, "source", "overlay", what, err);
	if (r == 0)
		r = set_lower(fs, o->lower, what, err);
	if (r == 0 && o->upper)
		r = set(fs, "upperdir", o->upper, what, err);
	if (r == 0 && o->work)
		r = set(fs, "workdir", o->work, what, err);
	if (!o->upper)
		attrs |= MOUNT_ATTR_RDONLY;
	return r < 0 ? r : attach(fs, attrs, target, what, err);
}

int layer_unmount(const char *target, struct cf_err *err)
{
	if (umount2(target, UMOUNT_NOFOLLOW) == 0 || errno == EINVAL || errno == ENOENT)
		return 0;
	if (errno == EBUSY)
		return cf_fail(err, CF_FAILED_PRECONDITION, "unmount %s: somebody still uses it",
		               target);
	return cf_fail_errno(err, errno, "unmount %s", target);
}
