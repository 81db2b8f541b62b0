/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merged images as the kernel shows them: against what the layers must add up to, and against
 * overlayfs over the same layers. Needs root and EROFS; skipped otherwise.
 */
#include "erofs/extract.h"
#include "erofs/layer_store.h"
#include "erofs/layer_worker.h"
#include "erofs/merge.h"
#include "erofs/mount.h"
#include "tests/harness/erofs_tree.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>

#define LAYERS_MAX 130

/* This binary is its own helper. */
__attribute__((constructor)) static void become_helper(int argc, char **argv)
{
	cf_helper_main(argc, argv, layer_helpers, layer_helper_count);
}

struct fixture {
	char *dir;
	size_t count;
	char *ids[LAYERS_MAX];
	char *mounts[LAYERS_MAX];
};

/* Mounts of a test live and die with its own namespace. */
static void enter_namespace(void)
{
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		SKIP("mounting needs root");
}

static char *at(const struct fixture *x, const char *name)
{
	return cf_asprintf("%s/%s", x->dir, name);
}

/* Puts a layer made of @t into the store; @t is used up. Ids are made up. */
static void add_layer(struct fixture *x, struct mk_tar *t)
{
	const struct layer_build_opts opts = { .for_merge = true };
	struct cf_buf image = { .max = 1u << 30 };
	struct cf_err err = { 0 };
	char *id = cf_asprintf("sha256:%064zx", x->count + 1);
	cf_cleanup(cf_freep) char *name = layer_store_name(cf_view_str(id));
	cf_cleanup(cf_freep) char *path = at(x, name);

	mk_end(t);
	EXPECT_OK(mk_image(cf_buf_view(&t->b), 0, &opts, &image, NULL, &err), &err);
	EXPECT_OK(cf_write_file_atomic(path, cf_buf_view(&image), 0600, &err), &err);
	cf_buf_fini(&image);
	cf_buf_fini(&t->b);
	*t = (struct mk_tar){ 0 };
	x->ids[x->count++] = id;
}

static char *merge(struct fixture *x)
{
	struct cf_view ids[LAYERS_MAX];
	char *path = NULL;
	struct cf_err err = { 0 };

	for (size_t i = 0; i < x->count; i++)
		ids[i] = cf_view_str(x->ids[i]);
	EXPECT_OK(layer_merge_store(x->dir, ids, x->count, false, &path, &err), &err);
	return path;
}

static void mount_merged(struct fixture *x, const char *image, const char *target,
                         enum layer_mount_backing backing)
{
	const char *devices[LAYERS_MAX];
	struct cf_err err = { 0 };

	for (size_t i = 0; i < x->count; i++) {
		cf_cleanup(cf_freep) char *name = layer_store_name(cf_view_str(x->ids[i]));
		devices[i] = at(x, name);
	}
	EXPECT_OK(cf_mkdir_p(target, 0755, &err), &err);
	const struct layer_mount_opts opts = {
		.image = image, .devices = devices, .device_count = x->count, .backing = backing
	};
	EXPECT_OK(layer_mount(&opts, target, &err), &err);
	for (size_t i = 0; i < x->count; i++)
		free((char *)(uintptr_t)devices[i]);
}

static void fixture_fini(struct fixture *x)
{
	for (size_t i = 0; i < x->count; i++)
		free(x->ids[i]);
	free(x->dir);
}

/* The merged image as plain files in "plain". */
static void extract(struct fixture *x, const char *image)
{
	const char *layers[LAYERS_MAX];
	struct cf_err err = { 0 };
	cf_cleanup(cf_freep) char *target = at(x, "plain");

	for (size_t i = 0; i < x->count; i++) {
		cf_cleanup(cf_freep) char *name = layer_store_name(cf_view_str(x->ids[i]));
		layers[i] = at(x, name);
	}
	EXPECT_OK(layer_extract(image, layers, x->count, target, NULL, &err), &err);
	for (size_t i = 0; i < x->count; i++)
		free((char *)(uintptr_t)layers[i]);
}

/* ---- listing a mounted tree ---- */

static void list_path(struct cf_buf *out, const char *root, const char *path, bool with_attrs);

static void list_below(struct cf_buf *out, const char *root, const char *path, bool with_attrs)
{
	cf_cleanup(cf_freep) char *full = cf_asprintf("%s%s", root, path);
	struct dirent **names;
	int n = scandir(full, &names, NULL, alphasort);

	EXPECT(n >= 0);
	for (int i = 0; i < n; i++) {
		if (!cf_streq(names[i]->d_name, ".") && !cf_streq(names[i]->d_name, "..")) {
			cf_cleanup(cf_freep) char *below =
				cf_asprintf("%s/%s", path, names[i]->d_name);
			list_path(out, root, below, with_attrs);
		}
		free(names[i]);
	}
	free(names);
}

static void list_attributes(struct cf_buf *out, const char *full, const struct stat *st)
{
	char value[64];
	ssize_t n = lgetxattr(full, "user.a", value, sizeof(value));

	cf_buf_printf(out, " %o %u:%u %lld", st->st_mode & 07777, st->st_uid, st->st_gid,
	              (long long)st->st_mtime);
	if (n > 0)
		cf_buf_printf(out, " user.a=%.*s", (int)n, value);
	if (lgetxattr(full, "trusted.overlay.opaque", value, sizeof(value)) > 0 ||
	    lgetxattr(full, "trusted.coffer.implicit", value, sizeof(value)) > 0)
		cf_buf_add_str(out, " A-MARK");
}

static void list_path(struct cf_buf *out, const char *root, const char *path, bool with_attrs)
{
	cf_cleanup(cf_freep) char *full = cf_asprintf("%s%s", root, path);
	struct cf_buf content = { 0 };
	char target[4096];
	struct stat st;
	ssize_t n;

	EXPECT(lstat(full, &st) == 0);
	cf_buf_printf(out, "%s", *path ? path : "/");
	switch (st.st_mode & S_IFMT) {
	case S_IFREG:
		content = cf_test_read(full);
		cf_buf_printf(out, " f %zu %.10s", content.size, (const char *)content.data);
		if (st.st_nlink != 1)
			cf_buf_printf(out, " n%lu", (unsigned long)st.st_nlink);
		cf_buf_fini(&content);
		break;
	case S_IFDIR:
		cf_buf_add_str(out, " d");
		break;
	case S_IFLNK:
		n = readlink(full, target, sizeof(target));
		cf_buf_printf(out, " l %.*s", (int)n, target);
		break;
	default:
		cf_buf_printf(out, " %o %lx", st.st_mode & S_IFMT, (unsigned long)st.st_rdev);
	}
	if (with_attrs)
		list_attributes(out, full, &st);
	cf_buf_add_str(out, "\n");
	if (S_ISDIR(st.st_mode))
		list_below(out, root, path, with_attrs);
}

static char *list_mounted(const char *root, bool with_attrs)
{
	struct cf_buf out = { .max = 64u << 20 };

	list_path(&out, root, "", with_attrs);
	return cf_buf_take_str(&out);
}

static void expect_merged(struct fixture *x, const char *want)
{
	static const enum layer_mount_backing backings[] = { LAYER_BACKING_AUTO, LAYER_BACKING_FILE,
		                                             LAYER_BACKING_LOOP };
	cf_cleanup(cf_freep) char *image = merge(x);
	cf_cleanup(cf_freep) char *target = at(x, "m");
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(backings); i++) {
		mount_merged(x, image, target, backings[i]);
		cf_cleanup(cf_freep) char *got = list_mounted(target, false);
		if (!cf_streq(got, want))
			fail_msg("merged:\n%s", got);
		EXPECT_OK(layer_unmount(target, &err), &err);
	}
	extract(x, image);
	cf_cleanup(cf_freep) char *plain = at(x, "plain");
	cf_cleanup(cf_freep) char *unpacked = list_mounted(plain, false);
	EXPECT_STR(unpacked, want);
}

/* ---- tests ---- */

CF_TEST(merge_resolves_whiteouts_opaque_directories_and_links)
{
	struct fixture x = { .dir = cf_test_tmpdir() };
	struct mk_tar t = { 0 };
	cf_cleanup(cf_freep) char *big = cf_asprintf("%05000d", 7);

	enter_namespace();
	mk_dir(&t, "etc");
	mk_file(&t, "etc/keep", "kept");
	mk_file(&t, "etc/gone", "gone");
	mk_file(&t, "etc/changed", "old");
	mk_dir(&t, "opaque");
	mk_file(&t, "opaque/hidden", "x");
	mk_dir(&t, "becomes-file");
	mk_file(&t, "becomes-file/x", "x");
	mk_file(&t, "becomes-dir", "x");
	mk_file(&t, "linked", big);
	mk_file(&t, "big", big);
	mk_member(&t, '2', "sym", "etc/keep", cf_view(NULL, 0));
	mk_member(&t, '3', "dev", NULL, cf_view(NULL, 0));
	mk_member(&t, '6', "fifo", NULL, cf_view(NULL, 0));
	add_layer(&x, &t);

	mk_file(&t, "etc/.wh.gone", "");
	mk_file(&t, "etc/changed", "new one");
	mk_file(&t, "opaque/.wh..wh..opq", "");
	mk_file(&t, "opaque/shown", "s");
	mk_file(&t, "becomes-file", "f");
	mk_dir(&t, "becomes-dir");
	mk_file(&t, "becomes-dir/y", "y");
	mk_member(&t, '1', "link-below", "linked", cf_view(NULL, 0));
	mk_file(&t, ".wh.linked", ""); /* the link means the tree below, whatever the order */
	mk_file(&t, "one", "1");
	mk_member(&t, '1', "two", "one", cf_view(NULL, 0));
	mk_file(&t, ".wh.never-was", "");
	add_layer(&x, &t);

	mk_file(&t, ".wh.two", "");
	mk_file(&t, "top", "t");
	add_layer(&x, &t);

	expect_merged(&x, "/ d\n"
	                  "/becomes-dir d\n/becomes-dir/y f 1 y\n/becomes-file f 1 f\n"
	                  "/big f 5000 0000000000\n/dev 20000 103\n"
	                  "/etc d\n/etc/changed f 7 new one\n/etc/keep f 4 kept\n"
	                  "/fifo 10000 0\n/link-below f 5000 0000000000\n/one f 1 1\n"
	                  "/opaque d\n/opaque/shown f 1 s\n/sym l etc/keep\n/top f 1 t\n");
	fixture_fini(&x);
}

CF_TEST(merge_takes_attributes_from_the_topmost_layer_that_names_a_directory)
{
	struct fixture x = { .dir = cf_test_tmpdir() };
	struct mk_tar t = { 0 };

	enter_namespace();
	mk_pax(&t, 'x', "SCHILY.xattr.user.a", (struct cf_view)CF_VIEW_LIT("low"));
	mk_pax(&t, 'x', "uid", (struct cf_view)CF_VIEW_LIT("7"));
	mk_dir(&t, "d");
	mk_pax(&t, 'x', "mtime", (struct cf_view)CF_VIEW_LIT("5"));
	mk_dir(&t, "e");
	add_layer(&x, &t);
	mk_file(&t, "d/x", "x"); /* d is not named here */
	mk_dir(&t, "e");
	add_layer(&x, &t);

	cf_cleanup(cf_freep) char *image = merge(&x);
	cf_cleanup(cf_freep) char *target = at(&x, "m");
	mount_merged(&x, image, target, LAYER_BACKING_AUTO);
	cf_cleanup(cf_freep) char *got = list_mounted(target, true);
	EXPECT_STR(got, "/ d 755 0:0 0\n/d d 755 7:0 1000000000\n/d/x f 1 x 644 0:0 1000000000\n"
	                "/e d 755 0:0 1000000000\n");
	umount2(target, MNT_DETACH);
	fixture_fini(&x);
}

CF_TEST(merge_follows_links_for_parents_that_no_entry_names)
{
	struct fixture x = { .dir = cf_test_tmpdir() };
	struct mk_tar t = { 0 };

	enter_namespace();
	mk_dir(&t, "usr/lib");
	mk_file(&t, "usr/lib/libc", "c");
	mk_member(&t, '2', "lib", "usr/lib", cf_view(NULL, 0));
	mk_member(&t, '2', "lib64", "/./lib", cf_view(NULL, 0)); /* a link to a link */
	mk_member(&t, '2', "named", "usr/lib", cf_view(NULL, 0));
	mk_member(&t, '2', "loop", "loop", cf_view(NULL, 0));
	mk_member(&t, '2', "out", "../../../usr", cf_view(NULL, 0)); /* ends at the root */
	mk_member(&t, '2', "nowhere", "missing", cf_view(NULL, 0));
	add_layer(&x, &t);
	mk_file(&t, "lib/a", "1");
	mk_file(&t, "lib64/b", "2");
	mk_file(&t, "lib/.wh.libc", "");
	mk_dir(&t, "named"); /* says that it is a directory now */
	mk_file(&t, "named/d", "3");
	mk_file(&t, "loop/e", "4");
	mk_file(&t, "out/f", "5");
	mk_file(&t, "nowhere/g", "6");
	add_layer(&x, &t);
	expect_merged(&x,
	              "/ d\n/lib l usr/lib\n/lib64 l /./lib\n/loop d\n/loop/e f 1 4\n/named d\n"
	              "/named/d f 1 3\n/nowhere d\n/nowhere/g f 1 6\n/out l ../../../usr\n/usr d\n"
	              "/usr/f f 1 5\n/usr/lib d\n/usr/lib/a f 1 1\n/usr/lib/b f 1 2\n");
	fixture_fini(&x);
}

CF_TEST(merge_refuses_a_directory_that_takes_itself_away_through_a_link)
{
	static const char *const tricks[] = { "x/l/x", "x/l/.wh.x" };

	for (size_t i = 0; i < CF_ARRAY_LEN(tricks); i++) {
		cf_cleanup(cf_freep) char *base = cf_test_tmpdir();
		struct fixture x = { .dir = cf_asprintf("%s/%zu", base, i) };
		struct mk_tar t = { 0 };
		struct cf_view ids[2];
		char *path = NULL;
		struct cf_err err = { 0 };

		EXPECT_OK(cf_mkdir_p(x.dir, 0755, &err), &err);
		mk_member(&t, '2', "x/l", "/", cf_view(NULL, 0));
		add_layer(&x, &t);
		mk_dir(&t, "x");
		mk_file(&t, tricks[i], "");
		mk_file(&t, "x/m", "");
		add_layer(&x, &t);
		for (size_t j = 0; j < x.count; j++)
			ids[j] = cf_view_str(x.ids[j]);
		EXPECT_FAILS(layer_merge_store(x.dir, ids, x.count, false, &path, &err),
		             CF_INVALID_ARGUMENT);
		EXPECT(strstr(err.msg, "replaces itself"));
		fixture_fini(&x);
	}
}

/* ---- against overlayfs ---- */

static uint32_t dice(uint64_t *state, uint32_t sides)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*state >> 33) % sides;
}

/* Members over a small set of names, so that layers meet; parents are always named. */
static void random_layer(struct mk_tar *t, uint64_t *rng, struct cf_buf *content)
{
	static const char *const names[] = { "a", "b", "c" };
	bool in[3][3] = { { false } }; /* d = directory of this layer */
	char path[64];

	for (unsigned i = 0; i < 14; i++) {
		unsigned d = dice(rng, 3), e = dice(rng, 3), f = dice(rng, 3), what = dice(rng, 9);
		unsigned depth = 1 + dice(rng, 3);

		if (depth > 1 && !in[d][0]) {
			snprintf(path, sizeof(path), "%s", names[d]);
			mk_dir(t, path);
			in[d][0] = true;
		}
		if (depth == 3) {
			snprintf(path, sizeof(path), "%s/%s", names[d], names[e]);
			mk_dir(t, path);
		}
		const char *wh = what == 0 ? ".wh." : "";
		const char *leaf = what == 1 && depth > 1 ? ".wh..wh..opq" : names[f];
		if (depth == 1)
			snprintf(path, sizeof(path), "%s%s", wh, leaf);
		else if (depth == 2)
			snprintf(path, sizeof(path), "%s/%s%s", names[d], wh, leaf);
		else
			snprintf(path, sizeof(path), "%s/%s/%s%s", names[d], names[e], wh, leaf);
		if (depth == 1)
			in[f][0] = false;
		content->size = dice(rng, 3) ? dice(rng, 50) : dice(rng, 20000);
		if (what == 2)
			mk_dir(t, path);
		else if (what == 3)
			mk_member(t, '2', path, "target", cf_view(NULL, 0));
		else
			mk_member(t, '0', path, NULL,
			          what < 2 ? cf_view(NULL, 0) : cf_buf_view(content));
	}
}

static void mount_overlay_of(struct fixture *x, const char *target)
{
	int fs = fsopen("overlay", FSOPEN_CLOEXEC);
	struct cf_err err = { 0 };

	EXPECT(fs >= 0);
	for (size_t i = x->count; i-- > 0;) {
		cf_cleanup(cf_freep) char *dir = cf_asprintf("%s/l%zu", x->dir, i);
		cf_cleanup(cf_freep) char *name = layer_store_name(cf_view_str(x->ids[i]));
		cf_cleanup(cf_freep) char *image = at(x, name);

		EXPECT_OK(cf_mkdir_p(dir, 0755, &err), &err);
		EXPECT_OK(layer_mount(&(struct layer_mount_opts){ .image = image }, dir, &err),
		          &err);
		EXPECT(fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir+", dir, 0) == 0);
	}
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		fail_msg("overlay: %s", strerror(errno));
	int mnt = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	EXPECT_OK(cf_mkdir_p(target, 0755, &err), &err);
	EXPECT(move_mount(mnt, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) == 0);
	close(mnt);
	close(fs);
}

static void unmount_overlay(struct fixture *x, const char *target)
{
	umount2(target, MNT_DETACH);
	for (size_t i = 0; i < x->count; i++) {
		cf_cleanup(cf_freep) char *dir = cf_asprintf("%s/l%zu", x->dir, i);
		umount2(dir, MNT_DETACH);
	}
}

CF_TEST(merge_shows_what_overlayfs_shows_over_random_layers)
{
	struct cf_buf content = { .max = 1u << 20 };

	enter_namespace();
	for (size_t i = 0; i < 20000; i++)
		cf_buf_add_byte(&content, (uint8_t)('a' + i % 26));
	for (uint64_t seed = 1; seed <= 60; seed++) {
		cf_cleanup(cf_freep) char *base = cf_test_tmpdir();
		struct fixture x = { .dir = cf_asprintf("%s/s%llu", base,
			                                (unsigned long long)seed) };
		struct mk_tar t = { 0 };
		uint64_t rng = seed;
		struct cf_err err = { 0 };

		EXPECT_OK(cf_mkdir_p(x.dir, 0755, &err), &err);
		for (unsigned layers = 2 + dice(&rng, 4); layers; layers--) {
			random_layer(&t, &rng, &content);
			mk_dir(&t, "./");
			add_layer(&x, &t);
		}
		cf_cleanup(cf_freep) char *image = merge(&x);
		cf_cleanup(cf_freep) char *merged = at(&x, "m");
		cf_cleanup(cf_freep) char *overlay = at(&x, "o");
		mount_merged(&x, image, merged, LAYER_BACKING_AUTO);
		mount_overlay_of(&x, overlay);
		cf_cleanup(cf_freep) char *got = list_mounted(merged, true);
		extract(&x, image);
		cf_cleanup(cf_freep) char *plain = at(&x, "plain");
		cf_cleanup(cf_freep) char *unpacked = list_mounted(plain, true);
		if (!cf_streq(got, unpacked))
			fail_msg("seed %llu\nmounted:\n%s\nextracted:\n%s",
			         (unsigned long long)seed, got, unpacked);
		cf_cleanup(cf_freep) char *want = list_mounted(overlay, true);
		if (!cf_streq(got, want))
			fail_msg("seed %llu, %zu layers\nmerged:\n%s\noverlay:\n%s",
			         (unsigned long long)seed, x.count, got, want);
		umount2(merged, MNT_DETACH);
		unmount_overlay(&x, overlay);
		fixture_fini(&x);
	}
	cf_buf_fini(&content);
}

static double ms_between(const struct timespec *from, const struct timespec *to)
{
	return (double)(to->tv_sec - from->tv_sec) * 1e3 +
	       (double)(to->tv_nsec - from->tv_nsec) / 1e6;
}

CF_TEST(merge_of_120_layers_mounts_at_once)
{
	struct fixture x = { .dir = cf_test_tmpdir() };
	struct timespec from, to;
	struct mk_tar t = { 0 };
	char name[64], body[5000];
	struct stat st;

	enter_namespace();
	memset(body, 'b', sizeof(body));
	for (unsigned i = 0; i < 120; i++) {
		for (unsigned j = 0; j < 20; j++) {
			snprintf(name, sizeof(name), "dir-%u/file-%u-%u", j, i, j);
			mk_member(&t, '0', name, NULL, cf_view(body, j % 2 ? 100 : sizeof(body)));
		}
		add_layer(&x, &t);
	}
	clock_gettime(CLOCK_MONOTONIC, &from);
	cf_cleanup(cf_freep) char *image = merge(&x);
	clock_gettime(CLOCK_MONOTONIC, &to);
	print_message("120 layers merged in %.2f ms\n", ms_between(&from, &to));
	cf_cleanup(cf_freep) char *target = at(&x, "m");
	clock_gettime(CLOCK_MONOTONIC, &from);
	mount_merged(&x, image, target, LAYER_BACKING_AUTO);
	clock_gettime(CLOCK_MONOTONIC, &to);
	cf_cleanup(cf_freep) char *probe = cf_asprintf("%s/dir-6/file-119-6", target);
	EXPECT(stat(probe, &st) == 0 && st.st_size == sizeof(body));
	print_message("120 layers mounted in %.2f ms\n", ms_between(&from, &to));
	umount2(target, MNT_DETACH);
	fixture_fini(&x);
}

CF_TEST(mount_says_what_the_kernel_said)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *image = cf_asprintf("%s/noise", dir);
	struct cf_err err = { 0 };
	uint8_t noise[8192] = { 1 };

	enter_namespace();
	EXPECT_OK(cf_write_file_atomic(image, cf_view(noise, sizeof(noise)), 0600, &err), &err);
	EXPECT(layer_mount(&(struct layer_mount_opts){ .image = image }, dir, &err) < 0);
	print_message("%s\n", err.msg);
	EXPECT(strstr(err.msg, "noise"));
	EXPECT_OK(layer_unmount(dir, &err), &err);
}

CF_TEST(mount_falls_back_to_loop_on_tmpfs)
{
	struct fixture x = { .dir = cf_test_tmpdir() };
	struct mk_tar t = { 0 };
	cf_cleanup(cf_freep) char *target = at(&x, "m");

	enter_namespace();
	if (mount("tmpfs", x.dir, "tmpfs", 0, NULL) < 0)
		SKIP("no tmpfs");
	mk_file(&t, "f", "content");
	add_layer(&x, &t);
	cf_cleanup(cf_freep) char *image = merge(&x);
	mount_merged(&x, image, target, LAYER_BACKING_AUTO);
	cf_cleanup(cf_freep) char *got = list_mounted(target, false);
	EXPECT_STR(got, "/ d\n/f f 7 content\n");
	umount2(target, MNT_DETACH);
	umount2(x.dir, MNT_DETACH);
	fixture_fini(&x);
}

CF_TEST(mount_puts_a_writable_overlay_on_top)
{
	struct fixture x = { .dir = cf_test_tmpdir() };
	struct mk_tar t = { 0 };
	cf_cleanup(cf_freep) char *lower = at(&x, "lower:with,odd");
	cf_cleanup(cf_freep) char *upper = at(&x, "upper");
	cf_cleanup(cf_freep) char *work = at(&x, "work");
	cf_cleanup(cf_freep) char *root = at(&x, "root");
	cf_cleanup(cf_freep) char *file = at(&x, "root/new");
	struct cf_err err = { 0 };

	enter_namespace();
	mk_file(&t, "f", "content");
	add_layer(&x, &t);
	cf_cleanup(cf_freep) char *image = merge(&x);
	mount_merged(&x, image, lower, LAYER_BACKING_AUTO);
	EXPECT_OK(cf_mkdir_p(upper, 0755, &err), &err);
	EXPECT_OK(cf_mkdir_p(work, 0755, &err), &err);
	EXPECT_OK(cf_mkdir_p(root, 0755, &err), &err);
	const struct layer_overlay_opts opts = {
		.lower = lower, .upper = upper, .work = work, .nodev = true
	};
	EXPECT_OK(layer_mount_overlay(&opts, root, &err), &err);
	EXPECT_OK(cf_write_file_atomic(file, (struct cf_view)CF_VIEW_LIT("n"), 0644, &err), &err);
	cf_cleanup(cf_freep) char *got = list_mounted(root, false);
	EXPECT_STR(got, "/ d\n/f f 7 content\n/new f 1 n\n");
	EXPECT_OK(layer_unmount(root, &err), &err);
	EXPECT_OK(layer_unmount(lower, &err), &err);
	fixture_fini(&x);
}
