/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/extract.h"

#include "erofs/layer_image.h"
#include "erofs/layer_map.h"
#include "erofs/layer_out.h"
#include "erofs/merge.h"

#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

/* A directory being filled; its attributes are set when it is left. */
struct frame {
	struct layer_name_iter names;
	struct layer_file dir;
	int fd;
	size_t path_size; /* of x->path up to it */
};

struct extract {
	struct layer_image img;
	struct frame *frames; /* TAR_DEPTH_MAX + 1 */
	size_t depth;
	struct cf_buf path;         /* of the name at hand, below the root */
	struct layer_map linked;    /* inodes with several names → place in first_names, from 1 */
	struct cf_strv first_names; /* below the root */
	int root;                   /* O_PATH */
	bool is_root;
	struct layer_extract_stats stats;
};

static const char *shown(const struct extract *x)
{
	return x->path.size ? (const char *)x->path.data : "/";
}

static int io_fail(const struct extract *x, struct cf_err *err)
{
	return cf_fail_errno(err, errno, "extract: %s", shown(x));
}

/* What somebody without privilege cannot do is counted. */
static int unless_unprivileged(struct extract *x, int result, struct cf_err *err)
{
	if (result == 0)
		return 0;
	if (x->is_root || (errno != EPERM && errno != EINVAL))
		return io_fail(x, err);
	x->stats.left_out++;
	return 0;
}

/* ---- attributes ---- */

static const char *const prefixes[] = {
	[XATTR_USER] = "user.",
	[XATTR_ACL_ACCESS] = "system.posix_acl_access",
	[XATTR_ACL_DEFAULT] = "system.posix_acl_default",
	[XATTR_TRUSTED] = "trusted.",
	[XATTR_SECURITY] = "security.",
};

static int set_xattr(struct extract *x, int fd, const struct layer_xattr *a, struct cf_err *err)
{
	const char *prefix = a->index < CF_ARRAY_LEN(prefixes) ? prefixes[a->index] : NULL;

	if (!prefix)
		return cf_fail(err, CF_INVALID_ARGUMENT, "extract: %s: unknown attribute",
		               shown(x));
	cf_cleanup(cf_freep) char *name =
		cf_asprintf("%s%.*s", prefix, (int)a->name.size, (const char *)a->name.data);
	if (fsetxattr(fd, name, a->value.data ? (const void *)a->value.data : "", a->value.size,
	              0) == 0)
		return 0;
	if (errno == EOPNOTSUPP) {
		x->stats.left_out++;
		return 0;
	}
	return unless_unprivileged(x, -1, err);
}

static struct timespec time_of(const struct layer_inode *n)
{
	return (struct timespec){ .tv_sec = n->mtime, .tv_nsec = n->mtime_nsec };
}

/* Of a file or directory: owner first, since changing it takes setuid bits away. */
static int set_attributes(struct extract *x, int fd, const struct layer_file *f, struct cf_err *err)
{
	const struct timespec times[2] = { time_of(&f->inode), time_of(&f->inode) };
	size_t at = XATTR_HEADER_BYTES;
	struct layer_xattr a;
	bool bad = false;
	int r = unless_unprivileged(x, fchown(fd, f->inode.uid, f->inode.gid), err);

	while (r == 0 && layer_xattr_next(f->area, &at, &a, &bad))
		r = set_xattr(x, fd, &a, err);
	if (r == 0 && fchmod(fd, f->inode.mode & 07777) < 0)
		r = io_fail(x, err);
	if (r == 0 && futimens(fd, times) < 0)
		r = io_fail(x, err);
	return r;
}

/* Of a link or a device: what can be set without opening it. */
static int set_attributes_at(struct extract *x, int dir, const char *name,
                             const struct layer_file *f, struct cf_err *err)
{
	const struct timespec times[2] = { time_of(&f->inode), time_of(&f->inode) };
	x->stats.left_out += f->area.size > 0; /* it could only be opened as what it is */
	int r = unless_unprivileged(
		x, fchownat(dir, name, f->inode.uid, f->inode.gid, AT_SYMLINK_NOFOLLOW), err);

	if (r == 0 && f->kind != KIND_SYMLINK &&
	    fchmodat(dir, name, f->inode.mode & 07777, 0) < 0) /* a new node of ours, no link */
		r = io_fail(x, err);
	if (r == 0 && utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		r = io_fail(x, err);
	return r;
}

/* ---- names ---- */

static int write_file(struct extract *x, int dir, const char *name, const struct layer_file *f,
                      struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd =
		openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return io_fail(x, err);
	if (f->content.size > LAYER_EXTRACT_BYTES_MAX - x->stats.bytes)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "extract: over %llu GiB",
		               LAYER_EXTRACT_BYTES_MAX >> 30);
	x->stats.bytes += f->content.size;
	r = cf_write_all(fd, f->content, err);
	if (r < 0)
		return cf_wrap(err, r, "extract: %s", shown(x));
	return set_attributes(x, fd, f, err);
}

static int write_symlink(struct extract *x, int dir, const char *name, const struct layer_file *f,
                         struct cf_err *err)
{
	cf_cleanup(cf_freep) char *target = cf_view_dup(f->content); /* checked: holds no NUL */

	if (symlinkat(target, dir, name) < 0)
		return io_fail(x, err);
	return set_attributes_at(x, dir, name, f, err);
}

static int write_node(struct extract *x, int dir, const char *name, const struct layer_file *f,
                      struct cf_err *err)
{
	uint32_t d = f->inode.start;
	dev_t dev = f->kind == KIND_FIFO || f->kind == KIND_SOCKET
	                    ? 0
	                    : makedev(d >> 8 & 0xfff, (d & 0xff) | (d >> 12 & 0xfff00));

	if (mknodat(dir, name, (f->inode.mode & S_IFMT) | 0600, dev) < 0)
		return unless_unprivileged(x, -1, err);
	return set_attributes_at(x, dir, name, f, err);
}

/* True when this inode was written under another name, and has this one too now. */
static int link_known(struct extract *x, int dir, const char *name, uint64_t nid, bool *ret,
                      struct cf_err *err)
{
	uint32_t *known = layer_map_at(&x->linked, (uint32_t)nid);

	*ret = *known != 0;
	if (!*known) {
		cf_strv_add(&x->first_names, (const char *)x->path.data);
		*known = (uint32_t)x->first_names.count;
		return 0;
	}
	if (linkat(x->root, x->first_names.items[*known - 1], dir, name, 0) < 0)
		return io_fail(x, err);
	return 0;
}

static int enter_dir(struct extract *x, int dir, const char *name, const struct layer_file *f,
                     struct cf_err *err)
{
	int fd;

	/* Also what ends a directory that contains itself. */
	if (x->depth > TAR_DEPTH_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "extract: directories too deep");
	if (mkdirat(dir, name, 0700) < 0)
		return io_fail(x, err);
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return io_fail(x, err);
	x->frames[x->depth++] = (struct frame){ layer_image_names(f), *f, fd, x->path.size };
	return 0;
}

static int write_name(struct extract *x, int dir, const struct layer_name *n, const char *name,
                      struct cf_err *err)
{
	struct layer_file f;
	bool done = false;
	int r = layer_image_file(&x->img, n->nid, &f, err);

	if (r == 0 && f.kind != n->kind)
		r = cf_fail(err, CF_INVALID_ARGUMENT,
		            "extract: a name and its inode differ in kind");
	if (r < 0)
		return r;
	if (f.kind == KIND_DIR)
		return enter_dir(x, dir, name, &f, err);
	if (f.inode.nlink > 1)
		r = link_known(x, dir, name, n->nid, &done, err);
	if (r < 0 || done)
		return r;
	if (f.kind == KIND_FILE)
		return write_file(x, dir, name, &f, err);
	return f.kind == KIND_SYMLINK ? write_symlink(x, dir, name, &f, err)
	                              : write_node(x, dir, name, &f, err);
}

/* One name, or the end of a directory. */
static int step(struct extract *x, struct cf_err *err)
{
	struct frame *top = &x->frames[x->depth - 1];
	struct layer_name n;
	int r = layer_name_next(&top->names, &n, err);

	x->path.size = top->path_size;
	if (x->path.data)
		x->path.data[x->path.size] = '\0';
	if (r == 0) {
		r = set_attributes(x, top->fd, &top->dir, err);
		cf_close(&top->fd);
		x->depth--;
		return r;
	}
	if (r < 0)
		return r;
	if (++x->stats.names > LAYER_MERGE_NAMES_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "extract: more than %u names",
		               LAYER_MERGE_NAMES_MAX);
	if (x->path.size)
		cf_buf_add_byte(&x->path, '/');
	cf_buf_add_view(&x->path, n.name);
	cf_cleanup(cf_freep) char *name = cf_view_dup(n.name);
	return write_name(x, top->fd, &n, name, err);
}

static int write_tree(struct extract *x, const char *target, struct cf_err *err)
{
	struct layer_file root;
	int r = layer_image_file(&x->img, LAYER_ROOT_NID, &root, err);

	if (r == 0 && root.kind != KIND_DIR)
		r = cf_fail(err, CF_INVALID_ARGUMENT, "extract: the root is no directory");
	if (r == 0)
		r = enter_dir(x, AT_FDCWD, target, &root, err);
	if (r < 0)
		return r;
	x->root = openat(x->frames[0].fd, ".", O_PATH | O_CLOEXEC);
	if (x->root < 0)
		return io_fail(x, err);
	while (r == 0 && x->depth)
		r = step(x, err);
	return r;
}

/* ---- the files ---- */

/* Published images are never written again, so a mapping of one does not change under us. */
static int map_image(const char *path, struct cf_view *ret, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *p;

	if (fd < 0 || fstat(fd, &st) < 0)
		return cf_fail_errno(err, errno, "%s", path);
	if (st.st_size <= 0 || (uint64_t)st.st_size > LAYER_IMAGE_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s: %lld bytes", path,
		               (long long)st.st_size);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return cf_fail_errno(err, errno, "%s", path);
	*ret = cf_view(p, (size_t)st.st_size);
	return 0;
}

static void extract_fini(struct extract *x)
{
	while (x->depth)
		cf_close(&x->frames[--x->depth].fd);
	layer_map_fini(&x->linked);
	cf_strv_fini(&x->first_names);
	free(x->frames);
	cf_buf_fini(&x->path);
	cf_close(&x->root);
}

int layer_extract(const char *merged, const char *const *layers, size_t count, const char *target,
                  struct layer_extract_stats *ret, struct cf_err *err)
{
	struct extract x = { .root = -1, .is_root = geteuid() == 0 };
	struct cf_view *views;
	int r = 0;

	if (count == 0 || count > LAYER_MERGE_LAYERS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "extract: %zu layers", count);
	views = cf_zalloc_n(count + 1, sizeof(*views));
	for (size_t i = 0; r == 0 && i <= count; i++)
		r = map_image(i < count ? layers[i] : merged, &views[i], err);
	if (r == 0)
		r = layer_image_open_merged(&x.img, views[count], views, count, err);
	if (r == 0) {
		x.path.max = (TAR_DEPTH_MAX + 1) * (TAR_COMPONENT_MAX + 1);
		x.frames = cf_zalloc_n(TAR_DEPTH_MAX + 1, sizeof(*x.frames));
		r = write_tree(&x, target, err);
	}
	if (r == 0 && ret)
		*ret = x.stats;
	extract_fini(&x);
	for (size_t i = 0; i <= count; i++)
		if (views[i].size)
			munmap((void *)(uintptr_t)views[i].data, views[i].size);
	free(views);
	return r;
}
