/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content as EROFS images: what a container may leave behind comes back as it was; what is answered
 * can be mounted after a kill, and after somebody took the mounts away; content of other modes.
 */
#include "tests/harness/snap_tree.h"

#include <sys/socket.h>
#include <sys/un.h>

static struct world *start(const char *driver)
{
	tree_namespace();
	return world_new(driver);
}

static char *at(const struct world *w, const char *name)
{
	return cf_asprintf("%s/m-%s", w->dir, name);
}

static void fill_layer(struct world *w, const char *name, const char *parent,
                       void (*fill)(const char *dir))
{
	cf_cleanup(cf_freep) char *key = cf_asprintf("key of %s", name);
	cf_cleanup(cf_freep) char *target = at(w, "fill");
	struct cf_err err;

	EXPECT_OK(prepare(w, key, parent, NULL, NULL, &err), &err);
	tree_mount(w, key, target);
	fill(target);
	tree_unmount(target);
	EXPECT_OK(commit(w, name, key, &err), &err);
}

/* What @key shows; the caller frees. */
static char *told(struct world *w, const char *key, unsigned what)
{
	cf_cleanup(cf_freep) char *target = at(w, "told");

	tree_mount(w, key, target);
	char *tree = tree_tell(target, what);

	tree_unmount(target);
	return tree;
}

static char *viewed(struct world *w, const char *name, unsigned what)
{
	struct cf_err err;

	EXPECT_OK(view(w, "a view", name, &err), &err);
	char *tree = told(w, "a view", what);

	EXPECT_OK(drop(w, "a view", &err), &err);
	return tree;
}

/* ---- everything a file system has ---- */

static void make_socket(const char *dir)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = "socket" };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cf_cleanup(cf_closep) int here = open(".", O_PATH | O_CLOEXEC);

	EXPECT(chdir(dir) == 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0);
	EXPECT(fchdir(here) == 0);
	close(fd);
}

static void make_sparse(const char *dir)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/sparse", dir);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	EXPECT(pwrite(fd, "begin", 5, 0) == 5 && pwrite(fd, "middle", 6, 9 << 20) == 6);
	EXPECT(ftruncate(fd, 32 << 20) == 0);
	close(fd);
	cf_cleanup(cf_freep) char *hole = cf_asprintf("%s/all hole", dir);

	fd = open(hole, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	EXPECT(ftruncate(fd, 1 << 20) == 0);
	close(fd);
}

static void node(const char *dir, const char *name, mode_t mode, dev_t dev)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, name);

	EXPECT(mknod(path, mode, dev) == 0 && chmod(path, mode & 07777) == 0);
}

static void attribute(const char *dir, const char *name, const char *key, const char *value)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, name);

	if (lsetxattr(path, key, value, strlen(value), 0) < 0)
		fail_msg("%s %s: %s", path, key, strerror(errno));
}

static void fill_everything(const char *dir)
{
	cf_cleanup(cf_freep) char *link1 = cf_asprintf("%s/link", dir);
	cf_cleanup(cf_freep) char *long_target = cf_asprintf("%04000d", 1);
	cf_cleanup(cf_freep) char *link2 = cf_asprintf("%s/long link", dir);
	cf_cleanup(cf_freep) char *file = cf_asprintf("%s/two\nlines\x01\xff", dir);
	cf_cleanup(cf_freep) char *other = cf_asprintf("%s/other name", dir);
	cf_cleanup(cf_freep) char *third = cf_asprintf("%s/d/third name", dir);
	struct timespec times[2] = { { 1, 5 }, { -2, 750000000 } };
	/* cap_net_raw as VFS_CAP_REVISION_2, effective */
	static const uint8_t capability[20] = { 1, 0, 0, 2, 0, 0x20 };
	char name[256];

	tree_dir(dir, "d", 01777);
	tree_file(dir, "two\nlines\x01\xff", "names may be anything", 04755);
	EXPECT(link(file, other) == 0 && link(file, third) == 0);
	EXPECT(symlink("../../../etc/passwd", link1) == 0 && symlink(long_target, link2) == 0);
	EXPECT(lchown(link1, 7, 8) == 0 && lchown(file, 4000000000u, 4000000001u) == 0);
	/* Marks of layers and of overlayfs are names like any other. */
	tree_file(dir, ".wh.file", "no whiteout", 0644);
	tree_file(dir, "d/.wh..wh..opq", "not opaque", 0644);
	memset(name, 'n', 255);
	name[255] = '\0';
	tree_file(dir, name, "long", 0);
	node(dir, "null", S_IFCHR | 0666, makedev(1, 3));
	node(dir, "big numbers", S_IFBLK | 0600, makedev(4095, 1048575));
	node(dir, "fifo", S_IFIFO | 0640, 0);
	make_socket(dir);
	make_sparse(dir);
	attribute(dir, "d", "trusted.mine", "one");
	attribute(dir, ".wh.file", "user.a=b %41 \n", "two\nlines=x");
	attribute(dir, ".wh.file", "user.plain", "");
	attribute(dir, "null", "trusted.device", "x");
	EXPECT(lsetxattr(file, "security.capability", capability, sizeof(capability), 0) == 0);
	EXPECT(utimensat(AT_FDCWD, file, times, 0) == 0);
	EXPECT(utimensat(AT_FDCWD, link1, times, AT_SYMLINK_NOFOLLOW) == 0);
}

#define ALL (TREE_TIMES | TREE_LINKS | TREE_XATTRS)

CF_TEST(erofs_gives_back_whatever_a_container_left)
{
	struct world *w = start("erofs");
	cf_cleanup(cf_freep) char *target = at(w, "in");
	struct cf_err err;
	struct stat st;

	EXPECT_OK(prepare(w, "a", "", NULL, NULL, &err), &err);
	tree_mount(w, "a", target);
	fill_everything(target);
	cf_cleanup(cf_freep) char *before = tree_tell(target, ALL);

	tree_unmount(target);
	EXPECT_OK(commit(w, "base", "a", &err), &err);
	cf_cleanup(cf_freep) char *base = viewed(w, "base", ALL);

	EXPECT_STR(base, before);
	/* The same in an upper layer, under a merge. */
	EXPECT_OK(prepare(w, "b", "base", NULL, NULL, &err), &err);
	tree_mount(w, "b", target);
	tree_dir(target, "above", 0755);
	cf_cleanup(cf_freep) char *above = cf_asprintf("%s/above", target);

	fill_everything(above);
	cf_cleanup(cf_freep) char *both = tree_tell(target, ALL);

	tree_unmount(target);
	EXPECT_OK(commit(w, "top", "b", &err), &err);
	cf_cleanup(cf_freep) char *top = viewed(w, "top", ALL);

	EXPECT_STR(top, both);
	/* Holes stayed holes: 33 MiB of file, and the layers are small. */
	cf_cleanup(cf_freep) char *image = cf_asprintf("%s/snapshots/1/layer.erofs", w->root);

	EXPECT(stat(image, &st) == 0 && st.st_blocks * 512 < 1 << 20);
	world_free(w);
}

static void fill_some(const char *dir)
{
	tree_file(dir, "file", "content", 0644);
	tree_dir(dir, "dir", 0755);
	tree_file(dir, "dir/below", "content", 0644);
}

static void fill_more(const char *dir)
{
	tree_file(dir, "file", "content", 0644);
	tree_file(dir, "dir/below", "content", 0644);
}

static void fill_change(const char *dir)
{
	tree_remove(dir, "file");
	tree_remove(dir, "dir");
	tree_dir(dir, "dir", 0755);
	tree_file(dir, "dir/new", "new", 0644);
}

#define SOME                                                                                       \
	"/ 40755 0:0\n/dir 40755 0:0\n/dir/below 100644 0:0 7 'content'\n/file 100644 0:0 7 "      \
	"'content'\n"
#define CHANGED "/ 40755 0:0\n/dir 40755 0:0\n/dir/new 100644 0:0 3 'new'\n"

static size_t mounts_below(const struct world *w)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/mounts", w->root);

	return files_below(path);
}

CF_TEST(erofs_mounts_only_what_somebody_stands_on)
{
	struct world *w = start("erofs");
	cf_cleanup(cf_freep) char *fs = cf_asprintf("%s/snapshots/1/fs", w->root);
	cf_cleanup(cf_freep) char *inner = cf_asprintf("%s/snapshots/2/fsmeta.erofs", w->root);
	struct cf_err err;

	fill_layer(w, "1", "", fill_some);
	fill_layer(w, "2", "1", fill_change);
	fill_layer(w, "3", "2", fill_more);
	EXPECT_INT(mounts_below(w), 0);
	EXPECT_INT(files_below(fs), 0);
	EXPECT(access(inner, F_OK) < 0); /* in the middle of the image by now */
	EXPECT_OK(prepare(w, "a", "3", NULL, NULL, &err), &err);
	EXPECT_OK(prepare(w, "b", "3", NULL, NULL, &err), &err);
	cf_cleanup(cf_freep) char *a = mounts(w, "a", &err);

	EXPECT(strstr(a, "overlay overlay index=off workdir=") == a);
	EXPECT(strstr(a, "/mounts/3 redirect_dir=off"));
	EXPECT(mounts_below(w) > 0);
	EXPECT_OK(drop(w, "a", &err), &err);
	EXPECT(mounts_below(w) > 0);
	EXPECT_OK(drop(w, "b", &err), &err);
	EXPECT_INT(mounts_below(w), 0);
	EXPECT_OK(drop(w, "3", &err), &err);
	EXPECT_OK(drop(w, "2", &err), &err);
	EXPECT_OK(drop(w, "1", &err), &err);
	T(CleanupRequest) clean;
	cf_cleanup(cf_freep) char *all = cf_asprintf("%s/snapshots", w->root);

	INIT(cleanup_request)(&clean);
	EXPECT_OK(call(w, "Cleanup", &clean.base, &google__protobuf__empty__descriptor, NULL, &err),
	          &err);
	EXPECT_INT(files_below(all), 0);
	world_free(w);
}

CF_TEST(erofs_survives_kill_and_lost_mounts)
{
	struct world *w = start("erofs");
	struct cf_err err;

	fill_layer(w, "1", "", fill_some);
	fill_layer(w, "2", "1", fill_change);
	EXPECT_OK(prepare(w, "a", "2", NULL, NULL, &err), &err);
	EXPECT_OK(view(w, "v", "1", &err), &err);
	cf_cleanup(cf_freep) char *before = mounts(w, "a", &err);

	w->c = rpc_grpc_client_free(w->c);
	daemon_end(w, SIGKILL);
	world_unmount(w); /* as after a reboot */
	daemon_start(w);
	client_start(w);
	cf_cleanup(cf_freep) char *after = mounts(w, "a", &err);

	EXPECT_STR(after, before);
	cf_cleanup(cf_freep) char *a = told(w, "a", 0);
	cf_cleanup(cf_freep) char *v = told(w, "v", 0);

	EXPECT_STR(a, CHANGED);
	EXPECT_STR(v, SOME);
	world_unmount(w); /* an administrator who tidies up */
	cf_cleanup(cf_freep) char *again = told(w, "a", 0);

	EXPECT_STR(again, CHANGED);
	EXPECT_OK(drop(w, "v", &err), &err);
	EXPECT_OK(drop(w, "a", &err), &err);
	EXPECT_INT(mounts_below(w), 0);
	world_free(w);
}

/* Killed between the durable commit and the emptying of the directory: emptied at the next start. */
CF_TEST(erofs_empties_a_committed_directory_at_the_next_start)
{
	struct world *w = start("erofs");
	cf_cleanup(cf_freep) char *fs = cf_asprintf("%s/snapshots/1/fs", w->root);

	fill_layer(w, "1", "", fill_some);
	w->c = rpc_grpc_client_free(w->c);
	daemon_end(w, SIGKILL);
	tree_file(fs, "left over", "x", 0644);
	EXPECT(chown(fs, 5, 6) == 0 && chmod(fs, 0711) == 0);
	daemon_start(w);
	client_start(w);
	struct stat st;

	EXPECT_INT(files_below(fs), 0);
	EXPECT(stat(fs, &st) == 0 && st.st_uid == 5 && st.st_gid == 6);
	EXPECT_INT(st.st_mode & 07777, 0711);
	cf_cleanup(cf_freep) char *v = viewed(w, "1", 0);

	EXPECT_STR(v, SOME);
	world_free(w);
}

static void restart_as(struct world *w, const char *driver)
{
	w->c = rpc_grpc_client_free(w->c);
	daemon_end(w, SIGTERM);
	w->driver = driver;
	daemon_start(w);
	client_start(w);
}

CF_TEST(erofs_and_overlay_take_over_from_each_other)
{
	struct world *w = start("overlay");
	struct cf_err err;

	fill_layer(w, "1", "", fill_some);
	fill_layer(w, "2", "1", fill_change);
	EXPECT_OK(prepare(w, "old", "2", NULL, NULL, &err), &err);
	restart_as(w, "erofs");
	cf_cleanup(cf_freep) char *old = told(w, "old", 0); /* as it was promised */
	cf_cleanup(cf_freep) char *two = viewed(w, "2", 0);

	EXPECT_STR(old, CHANGED);
	EXPECT_STR(two, CHANGED);
	EXPECT_OK(commit(w, "3", "old", &err), &err);
	fill_layer(w, "4", "3", fill_more);
	restart_as(w, "overlay");
	cf_cleanup(cf_freep) char *four = viewed(w, "4", 0);

	EXPECT_STR(four, "/ 40755 0:0\n/dir 40755 0:0\n/dir/below 100644 0:0 7 'content'\n"
	                 "/dir/new 100644 0:0 3 'new'\n/file 100644 0:0 7 'content'\n");
	world_free(w);
}

static void fill_some_again(const char *dir)
{
	tree_file(dir, "file", "content", 0644);
	tree_dir(dir, "dir2", 0755);
}

CF_TEST(erofs_reports_what_lies_on_the_disk)
{
	struct world *w = start("erofs");
	T(UsageRequest) req;
	T(UsageResponse) *res = NULL;
	struct cf_err err;
	struct stat st;

	fill_layer(w, "1", "", fill_some);
	fill_layer(w, "2", "1", fill_some_again);
	INIT(usage_request)(&req);
	req.key = text("2");
	EXPECT_OK(call(w, "Usage", &req.base, D(usage_response), &res, &err), &err);
	cf_cleanup(cf_freep) char *image = cf_asprintf("%s/snapshots/2/layer.erofs", w->root);

	EXPECT(stat(image, &st) == 0);
	EXPECT_INT(res->size, (int64_t)st.st_blocks * 512);
	EXPECT_INT(res->inodes, 1);
	containerd__services__snapshots__v1__usage_response__free_unpacked(res, NULL);
	world_free(w);
}

/* ---- what is refused ---- */

CF_TEST(erofs_refuses_what_an_image_could_not_say)
{
	struct world *w = start("erofs");
	cf_cleanup(cf_freep) char *fs = cf_asprintf("%s/snapshots/2/fs", w->root);
	cf_cleanup(cf_freep) char *inner = cf_asprintf("%s/d", fs);
	struct cf_err err;

	fill_layer(w, "1", "", fill_some);
	EXPECT_OK(prepare(w, "a", "1", NULL, NULL, &err), &err);
	tree_dir(fs, "d", 0755);
	attribute(fs, "d", "trusted.overlay.redirect", "/file");
	EXPECT_FAILS(commit(w, "2", "a", &err), CF_FAILED_PRECONDITION);
	EXPECT(strstr(err.msg, "redirect"));
	EXPECT(lremovexattr(inner, "trusted.overlay.redirect") == 0);
	EXPECT(mount("none", inner, "tmpfs", 0, NULL) == 0);
	/* The daemon sees it where mounts of ours reach it: it has our namespace. */
	EXPECT_FAILS(commit(w, "2", "a", &err), CF_FAILED_PRECONDITION);
	EXPECT(umount(inner) == 0);
	EXPECT_FAILS(commit(w, "1", "a", &err), CF_ALREADY_EXISTS);
	attribute(fs, "d", "trusted.coffer.implicit", "a mark of ours");
	EXPECT_FAILS(commit(w, "2", "a", &err), CF_RESOURCE_EXHAUSTED);
	EXPECT(lremovexattr(inner, "trusted.coffer.implicit") == 0);
	EXPECT_OK(commit(w, "2", "a", &err), &err);
	world_free(w);
}

CF_TEST(erofs_says_so_when_an_image_is_gone)
{
	struct world *w = start("erofs");
	cf_cleanup(cf_freep) char *image = cf_asprintf("%s/snapshots/1/layer.erofs", w->root);
	struct cf_err err;

	fill_layer(w, "1", "", fill_some);
	EXPECT(unlink(image) == 0);
	EXPECT_FAILS(prepare(w, "a", "1", NULL, NULL, &err), CF_DATA_LOSS);
	EXPECT(kind_of(w, "a") == 0);
	EXPECT_OK(prepare(w, "b", "", NULL, NULL, &err), &err);
	world_free(w);
}

/* ---- owners ---- */

CF_TEST(erofs_roots_belong_to_the_mapped_root)
{
	static const char *const labels[] = { SNAP_LABEL_UID_MAPPING, "0:1000:65536",
		                              SNAP_LABEL_GID_MAPPING, "0:2000:65536", NULL };
	struct world *w = start("erofs");
	struct cf_err err;

	EXPECT_OK(prepare(w, "a", "", labels, NULL, &err), &err);
	cf_cleanup(cf_freep) char *a = told(w, "a", 0);

	EXPECT_STR(a, "/ 40755 1000:2000\n");
	EXPECT_OK(commit(w, "1", "a", &err), &err);
	EXPECT_OK(prepare(w, "b", "1", NULL, NULL, &err), &err);
	cf_cleanup(cf_freep) char *b = told(w, "b", 0);

	EXPECT_STR(b, "/ 40755 1000:2000\n"); /* inherited, as containerd has it */
	world_free(w);
}

CF_TEST(labels_name_the_root_of_a_mapping)
{
	static const struct {
		const char *mapping;
		uint32_t want;
	} cases[] = {
		{ "0:1000:65536", 1000 },       { "5:6:7,0:1:1", 1 },
		{ "1:1000:65536", SNAP_NO_ID }, { "0:1000:0", SNAP_NO_ID },
		{ "0:1000", SNAP_NO_ID },       { "", SNAP_NO_ID },
		{ "0:-1:5", SNAP_NO_ID },       { "0:4294967296:5", SNAP_NO_ID },
		{ "0:1:2:3", SNAP_NO_ID },      { NULL, SNAP_NO_ID },
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(cases); i++)
		EXPECT_INT(snap_labels_root_of(cases[i].mapping), cases[i].want);
}
