/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_tar_dir.h"

#include "base/fd.h"
#include "base/str.h"
#include "snapshotter/snap_tar.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define CHUNK_BYTES    (64u << 10)
#define LINKS_AT_FIRST 64u
#define VALUE_MAX      (64u << 10) /* of one attribute, as Linux has it */

/* A file with several names: where its first one is. */
struct link {
	ino_t ino; /* 0: this slot is free */
	char *path;
};

struct walk {
	const struct snap_tar_dir_opts *opts;
	struct snap_tar_dir_stats stats;
	dev_t dev;
	struct cf_buf path; /* of the member at hand, without a slash before it */
	struct cf_buf out;  /* headers waiting for the sink */
	struct link *links; /* open addressing */
	size_t link_count, link_slots;
	uint8_t chunk[CHUNK_BYTES];
};

/* The member at hand. */
struct item {
	struct stat st;
	char proc[40]; /* the inode, by a path that nobody can bend */
	struct cf_buf names, values;
	struct snap_tar_xattr *xattrs;
	size_t xattr_cap;
	struct snap_tar_extent *extents;
	size_t extent_cap;
	struct snap_tar_member m;
};

static void item_fini(struct item *it)
{
	cf_buf_fini(&it->names);
	cf_buf_fini(&it->values);
	free(it->xattrs);
	free(it->extents);
}

static const char *shown(const struct walk *w)
{
	return w->path.size ? (const char *)w->path.data : "/";
}

static int io_fail(const struct walk *w, struct cf_err *err)
{
	return cf_fail_errno(err, errno, "read %.150s", shown(w));
}

static int flush(struct walk *w, struct cf_err *err)
{
	int r = cf_buf_check(&w->out, "tar", err);

	if (r == 0 && w->out.size)
		r = w->opts->sink(w->opts->user, cf_buf_view(&w->out), err);
	cf_buf_reset(&w->out);
	return r;
}

static bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

/* ---- links ---- */

static struct link *link_slot(struct link *links, size_t slots, ino_t ino)
{
	size_t i = (size_t)(ino * 0x9E3779B97F4A7C15ull) & (slots - 1);

	while (links[i].ino && links[i].ino != ino)
		i = (i + 1) & (slots - 1);
	return &links[i];
}

static void grow_links(struct walk *w)
{
	size_t slots = w->link_slots ? w->link_slots * 2 : LINKS_AT_FIRST;
	struct link *links = cf_zalloc_n(slots, sizeof(*links));

	for (size_t i = 0; i < w->link_slots; i++)
		if (w->links[i].ino)
			*link_slot(links, slots, w->links[i].ino) = w->links[i];
	free(w->links);
	w->links = links;
	w->link_slots = slots;
}

/* The first name of this inode, or NULL: then this is it. */
static const char *first_name(struct walk *w, const struct stat *st)
{
	/* Whiteouts share an inode among each other; that is no content. */
	if (st->st_nlink < 2 || S_ISDIR(st->st_mode) || is_whiteout(st))
		return NULL;
	if (w->link_count * 2 >= w->link_slots)
		grow_links(w);
	struct link *l = link_slot(w->links, w->link_slots, st->st_ino);

	if (l->ino)
		return l->path;
	*l = (struct link){ st->st_ino, cf_strdup(shown(w)) };
	w->link_count++;
	return NULL;
}

/* ---- attributes ---- */

enum verdict {
	XATTR_KEEP,
	XATTR_LEAVE,
	XATTR_REFUSE,
};

/*
 * Of overlayfs' own marks, those of its bookkeeping are no content. Those that say "my content is
 * elsewhere" make this directory less than it seems.
 */
static enum verdict judge_overlay(const struct walk *w, const char *name, struct cf_view value)
{
	if (cf_streq(name, "redirect") || cf_streq(name, "metacopy") || cf_streq(name, "whiteout"))
		return XATTR_REFUSE;
	if (!cf_streq(name, "opaque") || w->opts->is_base)
		return XATTR_LEAVE;
	return cf_view_eq_str(value, "y") ? XATTR_KEEP : XATTR_REFUSE;
}

static enum verdict judge_xattr(const struct walk *w, const char *name, struct cf_view value)
{
	const char *overlay = cf_after(name, "trusted.overlay.");

	if (overlay)
		return judge_overlay(w, overlay, value);
	if (cf_starts_with(name, "user.overlay."))
		return XATTR_LEAVE; /* as of every layer: images do not carry it */
	return cf_starts_with(name, "user.") || cf_starts_with(name, "trusted.") ||
	                       cf_starts_with(name, "security.") ||
	                       cf_starts_with(name, "system.posix_acl_")
	               ? XATTR_KEEP
	               : XATTR_LEAVE;
}

/* *ret_size -1: it has none of this name (any more). */
static int read_value(struct walk *w, struct item *it, const char *name, ssize_t *ret_size,
                      struct cf_err *err)
{
	uint8_t *p = cf_buf_reserve(&it->values, VALUE_MAX);

	if (!p)
		return cf_buf_check(&it->values, "attributes", err);
	*ret_size = getxattr(it->proc, name, p, VALUE_MAX);
	if (*ret_size < 0 && errno != ENODATA)
		return io_fail(w, err);
	return 0;
}

static int take_xattr(struct walk *w, struct item *it, const char *name, struct cf_err *err)
{
	ssize_t size = -1;
	int r = read_value(w, it, name, &size, err);

	if (r < 0 || size < 0)
		return r;
	struct cf_view value = cf_view(it->values.data + it->values.size, (size_t)size);

	switch (judge_xattr(w, name, value)) {
	case XATTR_LEAVE:
		return 0;
	case XATTR_REFUSE:
		return cf_fail(err, CF_FAILED_PRECONDITION,
		               "%.150s: overlayfs keeps its content elsewhere (%s)", shown(w),
		               name);
	case XATTR_KEEP:
		break;
	}
	cf_grow(&it->xattrs, &it->xattr_cap, it->m.xattr_count + 1);
	/* The buffer may move: places now, pointers at the end. */
	it->xattrs[it->m.xattr_count++] = (struct snap_tar_xattr){
		cf_view_str(name), { (const uint8_t *)(uintptr_t)it->values.size, (size_t)size }
	};
	it->values.size += (size_t)size;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct snap_tar_xattr *x = a, *y = b;

	return strcmp((const char *)x->name.data, (const char *)y->name.data);
}

static int read_xattrs(struct walk *w, struct item *it, struct cf_err *err)
{
	ssize_t size = listxattr(it->proc, NULL, 0);
	char *names = NULL;
	int r = 0;

	if (size > 0) {
		names = (char *)cf_buf_reserve(&it->names, SNAP_TAR_XATTRS_MAX);
		size = listxattr(it->proc, names, SNAP_TAR_XATTRS_MAX);
	}
	if (size < 0)
		return errno == ENOTSUP ? 0 : io_fail(w, err);
	for (ssize_t at = 0; r == 0 && at < size; at += (ssize_t)strlen(names + at) + 1)
		r = take_xattr(w, it, names + at, err);
	for (size_t i = 0; i < it->m.xattr_count; i++)
		it->xattrs[i].value.data = it->values.data + (uintptr_t)it->xattrs[i].value.data;
	if (it->m.xattr_count)
		qsort(it->xattrs, it->m.xattr_count, sizeof(it->xattrs[0]), by_name);
	it->m.xattrs = it->xattrs;
	return r;
}

/* ---- content ---- */

static void add_extent(struct item *it, uint64_t from, uint64_t to)
{
	cf_grow(&it->extents, &it->extent_cap, it->m.extent_count + 1);
	it->extents[it->m.extent_count++] = (struct snap_tar_extent){ from, to - from };
}

/* Where the file has bytes. A file system that does not know says: everywhere. */
static void find_extents(struct item *it, int fd)
{
	off_t end = it->st.st_size, at = 0;

	while (at < end && it->m.extent_count < SNAP_TAR_EXTENTS_MAX) {
		off_t from = lseek(fd, at, SEEK_DATA);

		if (from < 0 && errno == ENXIO)
			break;
		off_t to = from < 0 ? -1 : lseek(fd, from, SEEK_HOLE);

		if (to < 0 || it->m.extent_count + 1 == SNAP_TAR_EXTENTS_MAX)
			to = end;
		if (from < 0)
			from = at;
		if (from >= end)
			break;
		to = CF_MIN(to, end);
		add_extent(it, (uint64_t)from, (uint64_t)to);
		at = to;
	}
	it->m.extents = it->extents;
	it->m.is_sparse = true;
}

/* @size bytes at @at; where the file became shorter, zeroes. */
static int send_range(struct walk *w, int fd, uint64_t at, uint64_t size, struct cf_err *err)
{
	while (size) {
		size_t want = (size_t)CF_MIN(size, (uint64_t)CHUNK_BYTES);
		ssize_t n = pread(fd, w->chunk, want, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return io_fail(w, err);
		if (n == 0) {
			memset(w->chunk, 0, want);
			n = (ssize_t)want;
		}
		if (w->opts->stop && w->opts->stop(w->opts->stop_user))
			return cf_fail(err, CF_CANCELLED, "reading was cancelled");
		int r = w->opts->sink(w->opts->user, cf_view(w->chunk, (size_t)n), err);

		if (r < 0)
			return r;
		at += (uint64_t)n;
		size -= (uint64_t)n;
	}
	return 0;
}

static int send_content(struct walk *w, const struct item *it, int fd, struct cf_err *err)
{
	int r = 0;

	if (!it->m.is_sparse)
		return send_range(w, fd, 0, it->m.size, err);
	for (size_t i = 0; r == 0 && i < it->m.extent_count; i++)
		r = send_range(w, fd, it->extents[i].offset, it->extents[i].size, err);
	return r;
}

/* ---- members ---- */

static int put_header(struct walk *w, struct item *it, uint64_t *ret_stored, struct cf_err *err)
{
	int r = snap_tar_header(&it->m, &w->out, ret_stored, err);

	if (r == 0 && w->out.size >= CHUNK_BYTES)
		r = flush(w, err);
	w->stats.members++;
	return r;
}

static int put_file(struct walk *w, struct item *it, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = open(it->proc, O_RDONLY | O_CLOEXEC);
	uint64_t stored;

	if (fd < 0)
		return io_fail(w, err);
	it->m.size = (uint64_t)it->st.st_size;
	w->stats.bytes += it->m.size;
	if ((uint64_t)it->st.st_blocks * 512 < it->m.size)
		find_extents(it, fd);
	int r = put_header(w, it, &stored, err);

	if (r == 0)
		r = flush(w, err);
	if (r == 0)
		r = send_content(w, it, fd, err);
	if (r == 0)
		cf_buf_add_zero(&w->out, snap_tar_padding(stored));
	return r;
}

static int put_symlink(struct walk *w, struct item *it, int fd, struct cf_err *err)
{
	char target[SNAP_TAR_PATH_MAX + 1];
	ssize_t n = readlinkat(fd, "", target, sizeof(target) - 1);
	uint64_t stored;

	if (n < 0)
		return io_fail(w, err);
	target[n] = '\0';
	it->m.link = target;
	return put_header(w, it, &stored, err);
}

static char type_char(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return '0';
	case S_IFLNK:
		return '2';
	case S_IFCHR:
		return '3';
	case S_IFBLK:
		return '4';
	case S_IFDIR:
		return '5';
	default:
		return '6';
	}
}

static void fill_member(const struct walk *w, struct item *it)
{
	const struct stat *st = &it->st;
	bool is_device = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode);

	it->m = (struct snap_tar_member){
		.type = type_char(st->st_mode),
		.path = w->path.size ? (const char *)w->path.data : "./",
		.mode = st->st_mode & 07777,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.mtime = st->st_mtim.tv_sec,
		.mtime_nsec = (uint32_t)st->st_mtim.tv_nsec,
		.dev_major = is_device ? major(st->st_rdev) : 0,
		.dev_minor = is_device ? minor(st->st_rdev) : 0,
		.is_socket = S_ISSOCK(st->st_mode),
	};
}

/* @fd: the inode, by O_PATH. */
static int put_inode(struct walk *w, struct item *it, int fd, struct cf_err *err)
{
	uint64_t stored;

	fill_member(w, it);
	const char *first = first_name(w, &it->st);

	if (first) {
		it->m.type = '1';
		it->m.link = first;
		it->m.is_socket = false;
		return put_header(w, it, &stored, err);
	}
	snprintf(it->proc, sizeof(it->proc), "/proc/self/fd/%d", fd);
	int r = read_xattrs(w, it, err);

	if (r < 0)
		return r;
	if (S_ISREG(it->st.st_mode))
		return put_file(w, it, err);
	return S_ISLNK(it->st.st_mode) ? put_symlink(w, it, fd, err)
	                               : put_header(w, it, &stored, err);
}

static int put(struct walk *w, int fd, const struct stat *st, struct cf_err *err)
{
	cf_cleanup(item_fini) struct item it = { .st = *st, .values = { .max = 4u << 20 } };

	return put_inode(w, &it, fd, err);
}

/* ---- directories ---- */

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int read_names(const struct walk *w, int fd, struct cf_strv *ret, struct cf_err *err)
{
	int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = own < 0 ? NULL : fdopendir(own);

	if (!dir) {
		int r = io_fail(w, err);

		cf_close(&own);
		return r;
	}
	errno = 0;
	for (struct dirent *e; (e = readdir(dir)) && ret->count <= SNAP_TAR_NAMES_MAX; errno = 0)
		if (!cf_streq(e->d_name, ".") && !cf_streq(e->d_name, ".."))
			cf_strv_add(ret, e->d_name);
	int r = errno ? io_fail(w, err) : 0;

	closedir(dir);
	if (r == 0 && ret->count > SNAP_TAR_NAMES_MAX)
		r = cf_fail(err, CF_RESOURCE_EXHAUSTED, "%.150s: more than %u names", shown(w),
		            SNAP_TAR_NAMES_MAX);
	if (ret->count)
		qsort(ret->items, ret->count, sizeof(ret->items[0]), compare);
	return r;
}

static int put_dir(struct walk *w, int path_fd, const struct stat *st, unsigned depth,
                   struct cf_err *err);

static int put_name(struct walk *w, int dir, const char *name, unsigned depth, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	/* A container may delete what we are about to read. */
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return io_fail(w, err);
	if (st.st_dev != w->dev)
		return cf_fail(err, CF_FAILED_PRECONDITION, "%.150s: something is mounted there",
		               shown(w));
	if (is_whiteout(&st) && w->opts->is_base)
		return 0;
	return S_ISDIR(st.st_mode) ? put_dir(w, fd, &st, depth, err) : put(w, fd, &st, err);
}

static int put_names(struct walk *w, int dir, const struct cf_strv *names, unsigned depth,
                     struct cf_err *err)
{
	size_t above = w->path.size;
	int r = 0;

	for (size_t i = 0; r == 0 && i < names->count; i++) {
		cf_buf_printf(&w->path, "%s%s", above ? "/" : "", names->items[i]);
		r = cf_buf_check(&w->path, "a path", err);
		if (r == 0 && w->opts->stop && w->opts->stop(w->opts->stop_user))
			r = cf_fail(err, CF_CANCELLED, "reading was cancelled");
		if (r == 0)
			r = put_name(w, dir, names->items[i], depth, err);
		w->path.size = above;
		if (w->path.data)
			w->path.data[above] = '\0';
	}
	return r;
}

static int put_dir(struct walk *w, int path_fd, const struct stat *st, unsigned depth,
                   struct cf_err *err)
{
	cf_cleanup(cf_strv_fini) struct cf_strv names = { 0 };
	cf_cleanup(cf_closep) int fd = -1;

	if (depth > SNAP_TAR_DEPTH_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%.150s: over %u directories deep",
		               shown(w), SNAP_TAR_DEPTH_MAX);
	int r = put(w, path_fd, st, err);

	if (r < 0)
		return r;
	fd = openat(path_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return io_fail(w, err);
	r = read_names(w, fd, &names, err);
	return r < 0 ? r : put_names(w, fd, &names, depth + 1, err);
}

int snap_tar_dir(int fd, const struct snap_tar_dir_opts *opts, struct snap_tar_dir_stats *ret,
                 struct cf_err *err)
{
	struct walk *w = cf_zalloc(sizeof(*w));
	struct stat st = { 0 };
	int r = 0;

	w->opts = opts;
	w->path.max = SNAP_TAR_PATH_MAX;
	if (fstat(fd, &st) < 0)
		r = io_fail(w, err);
	w->dev = st.st_dev;
	if (r == 0)
		r = put_dir(w, fd, &st, 0, err);
	if (r == 0)
		snap_tar_end(&w->out);
	if (r == 0)
		r = flush(w, err);
	if (r == 0 && ret)
		*ret = w->stats;
	for (size_t i = 0; i < w->link_slots; i++)
		free(w->links[i].path);
	free(w->links);
	cf_buf_fini(&w->path);
	cf_buf_fini(&w->out);
	free(w);
	return r;
}
