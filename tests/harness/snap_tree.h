/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * For tests of coffer-snapshotter: mounts what it answers, as containerd does, and tells what a
 * directory holds.
 */
#include "base/crypto.h"
#include "tests/harness/snap_daemon.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

/* Mounts of a test, its daemon's too, live and die with its own namespace. Before world_new(). */
static inline void tree_namespace(void)
{
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		SKIP("mounting needs root");
	umask(0);
}

/* ---- mounting ---- */

/* Drops @prefix wherever a path of @options begins with it. */
static inline char *tree_shorten(const char *options, const char *prefix)
{
	struct cf_buf b = { .max = 1u << 20 };

	while (*options) {
		if (cf_starts_with(options, prefix)) {
			options += strlen(prefix);
			continue;
		}
		cf_buf_add_byte(&b, (uint8_t)*options++);
	}
	return cf_buf_take_str(&b);
}

/* containerd's way: what does not fit a page is said from a directory that all have in common. */
static inline int tree_mount_overlay(struct world *w, const char *options, const char *target)
{
	cf_cleanup(cf_freep) char *common = cf_asprintf("%s/snapshots/", w->root);
	cf_cleanup(cf_freep) char *shorter = tree_shorten(options, common);
	bool fits = strlen(options) < 4000;
	cf_cleanup(cf_closep) int here = open(".", O_PATH | O_CLOEXEC);
	int r;

	EXPECT(fits || chdir(common) == 0);
	r = mount("overlay", target, "overlay", 0, fits ? options : shorter);
	EXPECT(fchdir(here) == 0);
	return r;
}

static inline int tree_mount_bind(const char *source, const char *target, bool is_readonly)
{
	int r = mount(source, target, NULL, MS_BIND | MS_REC, NULL);

	if (r == 0 && is_readonly)
		r = mount(NULL, target, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL);
	return r;
}

/* Mounts @key at @target, made when missing. */
static inline void tree_mount(struct world *w, const char *key, const char *target)
{
	struct cf_err err;
	T(MountsRequest) req;
	T(MountsResponse) *res = NULL;
	struct cf_buf options = { .max = 1u << 20 };
	bool is_readonly = false;
	int r;

	INIT(mounts_request)(&req);
	req.key = text(key);
	EXPECT_OK(call(w, "Mounts", &req.base, D(mounts_response), &res, &err), &err);
	EXPECT(res->n_mounts == 1);
	const Containerd__Types__Mount *m = res->mounts[0];

	for (size_t i = 0; i < m->n_options; i++) {
		is_readonly |= cf_streq(m->options[i], "ro");
		cf_buf_printf(&options, "%s%s", i ? "," : "", m->options[i]);
	}
	EXPECT_OK(cf_mkdir_p(target, 0755, &err), &err);
	if (cf_streq(m->type, "overlay"))
		r = tree_mount_overlay(w, (const char *)options.data, target);
	else
		r = tree_mount_bind(m->source, target, is_readonly);
	if (r < 0)
		fail_msg("mount %s %s %s: %s", m->type, m->source, (const char *)options.data,
		         strerror(errno));
	cf_buf_fini(&options);
	containerd__services__snapshots__v1__mounts_response__free_unpacked(res, NULL);
}

static inline void tree_unmount(const char *target)
{
	EXPECT(umount2(target, UMOUNT_NOFOLLOW) == 0);
}

/* ---- telling ---- */

static inline void tree_tell_xattrs(struct cf_buf *out, const char *path)
{
	char names[4096], value[4096];
	ssize_t size = llistxattr(path, names, sizeof(names));

	for (ssize_t at = 0; at < size; at += (ssize_t)strlen(names + at) + 1) {
		ssize_t n = lgetxattr(path, names + at, value, sizeof(value));

		if (cf_starts_with(names + at, "trusted.overlay."))
			continue;
		cf_buf_printf(out, " %s=%.*s", names + at, (int)CF_MAX(n, 0), value);
	}
}

static inline void tree_tell_file(struct cf_buf *out, const char *path, const struct stat *st)
{
	struct cf_err err;
	cf_cleanup(cf_buf_fini) struct cf_buf content = { .max = 64u << 20 };
	uint8_t digest[32];
	char hex[65];

	EXPECT_OK(cf_read_file(path, 64u << 20, &content, &err), &err);
	EXPECT(content.size == (size_t)st->st_size);
	cf_sha256(cf_buf_view(&content), digest);
	cf_hex_encode(cf_view(digest, 32), hex);
	if (content.size <= 40)
		cf_buf_printf(out, " %zu '%.*s'", content.size, (int)content.size,
		              (const char *)content.data);
	else
		cf_buf_printf(out, " %zu %.16s", content.size, hex);
}

enum {
	TREE_TIMES = 1u << 0,  /* also of files; directories never */
	TREE_LINKS = 1u << 1,  /* numbers of names */
	TREE_XATTRS = 1u << 2, /* but overlayfs' own */
};

static inline void tree_tell_one(struct cf_buf *out, const char *path, const char *shown,
                                 unsigned what)
{
	char target[4096];
	struct stat st;

	EXPECT(lstat(path, &st) == 0);
	cf_buf_printf(out, "%s %o %u:%u", shown, st.st_mode, st.st_uid, st.st_gid);
	if (S_ISREG(st.st_mode))
		tree_tell_file(out, path, &st);
	if (S_ISLNK(st.st_mode)) {
		ssize_t n = readlink(path, target, sizeof(target));

		cf_buf_printf(out, " -> %.*s", (int)n, target);
	}
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
		cf_buf_printf(out, " %u:%u", major(st.st_rdev), minor(st.st_rdev));
	if ((what & TREE_LINKS) && !S_ISDIR(st.st_mode))
		cf_buf_printf(out, " n%u", (unsigned)st.st_nlink);
	if ((what & TREE_TIMES) && !S_ISDIR(st.st_mode))
		cf_buf_printf(out, " %lld.%09ld", (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	if (what & TREE_XATTRS)
		tree_tell_xattrs(out, path);
	cf_buf_add_byte(out, '\n');
}

static inline void tree_tell_below(struct cf_buf *out, const char *dir, const char *shown,
                                   unsigned what)
{
	struct dirent **names = NULL;
	int count = scandir(dir, &names, NULL, alphasort);

	EXPECT(count >= 0);
	for (int i = 0; i < count; i++) {
		cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, names[i]->d_name);
		cf_cleanup(cf_freep) char *below = cf_asprintf("%s/%s", shown, names[i]->d_name);
		bool is_dir = false;
		struct stat st;

		if (!cf_streq(names[i]->d_name, ".") && !cf_streq(names[i]->d_name, "..")) {
			tree_tell_one(out, path, below, what);
			is_dir = lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
		}
		if (is_dir)
			tree_tell_below(out, path, below, what);
		free(names[i]);
	}
	free(names);
}

/* One line a name, in order; the caller frees. */
static inline char *tree_tell(const char *dir, unsigned what)
{
	struct cf_buf out = { .max = 64u << 20 };

	tree_tell_one(&out, dir, "/", what);
	tree_tell_below(&out, dir, "", what);
	return cf_buf_take_str(&out);
}

/* ---- filling ---- */

static inline void tree_file(const char *dir, const char *name, const char *content, mode_t mode)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	EXPECT(fd >= 0 && write(fd, content, strlen(content)) == (ssize_t)strlen(content));
	EXPECT(fchmod(fd, mode) == 0);
	close(fd);
}

static inline void tree_dir(const char *dir, const char *name, mode_t mode)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, name);

	EXPECT(mkdir(path, mode) == 0 && chmod(path, mode) == 0);
}

static inline void tree_remove(const char *dir, const char *name)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, name);
	struct cf_err err;

	EXPECT_OK(cf_rm_rf(path, &err), &err);
}
