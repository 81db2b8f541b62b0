/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-imaged/tree_copy.h"

#include "base/fd.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

#include <sys/xattr.h>
#include <unistd.h>

#define LIST_MAX_BYTES  (64u << 10)
#define VALUE_MAX_BYTES (64u << 10)

struct link_seen {
	ino_t ino;
	char *path; /* below the target's root */
};

struct copy {
	int to_root;
	struct link_seen *links; /* files with several names */
	size_t link_count, link_cap;
	char *names, *value; /* room for attributes */
};

/* A path that names @name in directory @fd for calls that take no directory. */
static char *at(int fd, const char *name)
{
	return cf_asprintf("/proc/self/fd/%d/%s", fd, name);
}

static int copy_xattrs(struct copy *c, int from, int to, const char *name, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *src = at(from, name);
	cf_cleanup(cf_freep) char *dst = at(to, name);
	ssize_t size = llistxattr(src, c->names, LIST_MAX_BYTES);

	if (size < 0 && errno != ENOTSUP)
		return cf_fail_errno(err, errno, "attributes of %s", name);
	for (char *n = c->names; size > 0 && n < c->names + size; n += strlen(n) + 1) {
		ssize_t len = lgetxattr(src, n, c->value, VALUE_MAX_BYTES);

		if (len < 0)
			return cf_fail_errno(err, errno, "attribute %s of %s", n, name);
		if (lsetxattr(dst, n, c->value, (size_t)len, 0) < 0)
			return cf_fail_errno(err, errno, "attribute %s of %s", n, name);
	}
	return 0;
}

/* Owner, then mode (which chown may change), then attributes, then times. */
static int copy_meta(struct copy *c, int from, int to, const char *name, const struct stat *st,
                     struct cf_err *err)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };

	if (fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return cf_fail_errno(err, errno, "owner of %s", name);
	if (!S_ISLNK(st->st_mode) && fchmodat(to, name, st->st_mode & 07777, 0) < 0)
		return cf_fail_errno(err, errno, "mode of %s", name);
	int r = copy_xattrs(c, from, to, name, err);

	if (r == 0 && utimensat(to, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		r = cf_fail_errno(err, errno, "times of %s", name);
	return r;
}

static int copy_file(int from, int to, const char *name, struct cf_err *err)
{
	cf_cleanup(cf_closep) int in = openat(from, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	cf_cleanup(cf_closep) int out =
		openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	char buf[65536];
	ssize_t n;

	if (in < 0 || out < 0)
		return cf_fail_errno(err, errno, "%s", name);
	while ((n = read(in, buf, sizeof(buf))) > 0) {
		int r = cf_write_all(out, cf_view(buf, (size_t)n), err);

		if (r < 0)
			return r;
	}
	return n < 0 ? cf_fail_errno(err, errno, "read %s", name) : 0;
}

static int copy_symlink(int from, int to, const char *name, struct cf_err *err)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);

	if (n < 0)
		return cf_fail_errno(err, errno, "%s", name);
	target[n] = '\0';
	if (symlinkat(target, to, name) < 0)
		return cf_fail_errno(err, errno, "%s", name);
	return 0;
}

static int copy_node(int from, int to, const char *name, const struct stat *st, struct cf_err *err)
{
	if (S_ISREG(st->st_mode))
		return copy_file(from, to, name, err);
	if (S_ISLNK(st->st_mode))
		return copy_symlink(from, to, name, err);
	if (mknodat(to, name, (st->st_mode & S_IFMT) | 0600, st->st_rdev) < 0)
		return cf_fail_errno(err, errno, "%s", name);
	return 0;
}

/* 1: it was linked to a name that is there already. */
static int copy_link(struct copy *c, int to, const char *path, const char *name,
                     const struct stat *st, struct cf_err *err)
{
	if (st->st_nlink < 2)
		return 0;
	for (size_t i = 0; i < c->link_count; i++) {
		if (c->links[i].ino != st->st_ino)
			continue;
		if (linkat(c->to_root, c->links[i].path, to, name, 0) < 0)
			return cf_fail_errno(err, errno, "link %s", path);
		return 1;
	}
	cf_grow(&c->links, &c->link_cap, c->link_count + 1);
	c->links[c->link_count++] = (struct link_seen){ st->st_ino, cf_strdup(path) };
	return 0;
}

static int copy_dir(struct copy *c, int from, int to, const char *path, unsigned depth,
                    struct cf_err *err);

static int copy_subdir(struct copy *c, int from, int to, const char *path, const char *name,
                       unsigned depth, struct cf_err *err)
{
	cf_cleanup(cf_closep) int in =
		openat(from, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (in < 0 || mkdirat(to, name, 0700) < 0)
		return cf_fail_errno(err, errno, "%s", path);
	cf_cleanup(cf_closep) int out =
		openat(to, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (out < 0)
		return cf_fail_errno(err, errno, "%s", path);
	return copy_dir(c, in, out, path, depth + 1, err);
}

static int copy_entry(struct copy *c, int from, int to, const char *path, const char *name,
                      unsigned depth, struct cf_err *err)
{
	struct stat st;
	int r;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return cf_fail_errno(err, errno, "%s", path);
	if (S_ISDIR(st.st_mode)) {
		r = copy_subdir(c, from, to, path, name, depth, err);
	} else {
		r = copy_link(c, to, path, name, &st, err);
		if (r > 0)
			return 0;
		if (r == 0)
			r = copy_node(from, to, name, &st, err);
	}
	return r < 0 ? r : copy_meta(c, from, to, name, &st, err);
}

static int copy_dir(struct copy *c, int from, int to, const char *path, unsigned depth,
                    struct cf_err *err)
{
	int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	int r = 0;

	if (!d) {
		r = cf_fail_errno(err, errno, "%s", path);
		cf_close(&fd);
		return r;
	}
	if (depth > TREE_COPY_DEPTH_MAX)
		r = cf_fail(err, CF_RESOURCE_EXHAUSTED, "over %u directories deep",
		            TREE_COPY_DEPTH_MAX);
	while (r == 0 && (e = readdir(d))) {
		if (cf_streq(e->d_name, ".") || cf_streq(e->d_name, ".."))
			continue;
		cf_cleanup(cf_freep) char *deeper =
			cf_asprintf("%s%s%s", path, path[0] ? "/" : "", e->d_name);

		r = copy_entry(c, from, to, deeper, e->d_name, depth, err);
	}
	closedir(d);
	return r;
}

static int copy_root(struct copy *c, int from, struct cf_err *err)
{
	struct stat st;
	int r = copy_dir(c, from, c->to_root, "", 0, err);

	if (r == 0 && fstat(from, &st) < 0)
		r = cf_fail_errno(err, errno, "root");
	if (r == 0)
		r = copy_meta(c, from, c->to_root, ".", &st, err);
	return r;
}

int tree_copy(const char *from, const char *to, struct cf_err *err)
{
	cf_cleanup(cf_closep) int in = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct copy c = { .to_root = -1 };

	if (in < 0)
		return cf_fail_errno(err, errno, "%s", from);
	if (mkdir(to, 0700) < 0)
		return cf_fail_errno(err, errno, "%s", to);
	c.to_root = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c.to_root < 0)
		return cf_fail_errno(err, errno, "%s", to);
	c.names = cf_zalloc(LIST_MAX_BYTES);
	c.value = cf_zalloc(VALUE_MAX_BYTES);
	int r = copy_root(&c, in, err);

	for (size_t i = 0; i < c.link_count; i++)
		free(c.links[i].path);
	free(c.links);
	free(c.names);
	free(c.value);
	cf_close(&c.to_root);
	return r < 0 ? cf_wrap(err, r, "copy of the tree") : 0;
}
