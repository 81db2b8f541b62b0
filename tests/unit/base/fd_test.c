/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "tests/harness/test.h"

#include <sys/stat.h>
#include <unistd.h>

CF_TEST(open_beneath_never_leaves_its_root)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *root = cf_asprintf("%s/root", dir);
	cf_cleanup(cf_freep) char *outside = cf_asprintf("%s/secret", dir);
	cf_cleanup(cf_freep) char *link_abs = cf_asprintf("%s/abs", root);
	cf_cleanup(cf_freep) char *link_up = cf_asprintf("%s/up", root);
	struct cf_err err;

	EXPECT_OK(cf_mkdir_p(root, 0755, &err), &err);
	EXPECT_OK(cf_write_file_atomic(outside, (struct cf_view)CF_VIEW_LIT("x"), 0600, &err),
	          &err);
	EXPECT(symlink(outside, link_abs) == 0);
	EXPECT(symlink("../secret", link_up) == 0);
	cf_cleanup(cf_closep) int fd = open(root, O_PATH | O_CLOEXEC);
	EXPECT_FAILS(cf_open_beneath(fd, "abs", O_RDONLY, 0, 0, &err), CF_NOT_FOUND);
	EXPECT_FAILS(cf_open_beneath(fd, "up", O_RDONLY, 0, 0, &err), CF_NOT_FOUND);
	EXPECT_FAILS(cf_open_beneath(fd, "../secret", O_RDONLY, 0, 0, &err), CF_NOT_FOUND);
	EXPECT_FAILS(cf_open_beneath(fd, "up", O_RDONLY, 0, CF_NO_SYMLINKS, &err),
	             CF_INVALID_ARGUMENT);
}

CF_TEST(atomic_write_replaces_whole_files)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/file", dir);
	struct cf_buf back = { 0 };
	struct cf_err err;
	struct stat st;

	EXPECT_OK(cf_write_file_atomic(path, (struct cf_view)CF_VIEW_LIT("one"), 0640, &err), &err);
	EXPECT_OK(cf_write_file_atomic(path, (struct cf_view)CF_VIEW_LIT("two!"), 0640, &err),
	          &err);
	EXPECT_OK(cf_read_file(path, 4, &back, &err), &err);
	EXPECT_STR(back.data, "two!");
	EXPECT(stat(path, &st) == 0 && (st.st_mode & 0777) == 0640);
	cf_buf_reset(&back);
	EXPECT_FAILS(cf_read_file(path, 3, &back, &err), CF_RESOURCE_EXHAUSTED);
	cf_buf_fini(&back);
}

CF_TEST(rm_rf_removes_a_tree_and_not_what_links_point_at)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *keep = cf_asprintf("%s/keep", dir);
	cf_cleanup(cf_freep) char *file = cf_asprintf("%s/keep/file", dir);
	cf_cleanup(cf_freep) char *tree = cf_asprintf("%s/tree", dir);
	cf_cleanup(cf_freep) char *deep = cf_asprintf("%s/tree/a/b/c", dir);
	cf_cleanup(cf_freep) char *lnk = cf_asprintf("%s/tree/a/link", dir);
	struct cf_err err;

	EXPECT_OK(cf_mkdir_p(keep, 0755, &err), &err);
	EXPECT_OK(cf_mkdir_p(deep, 0700, &err), &err);
	EXPECT_OK(cf_write_file_atomic(file, (struct cf_view)CF_VIEW_LIT("x"), 0600, &err), &err);
	EXPECT(symlink(keep, lnk) == 0);
	EXPECT_OK(cf_rm_rf(tree, &err), &err);
	EXPECT(access(tree, F_OK) < 0 && access(file, F_OK) == 0);
	EXPECT_OK(cf_rm_rf(tree, &err), &err);
}

CF_TEST(a_second_listener_does_not_steal_a_live_socket)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/s.sock", dir);
	struct cf_err err;
	struct stat st;
	int first = cf_listen_unix(path, &err);

	EXPECT(first >= 0);
	EXPECT(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
	EXPECT_FAILS(cf_listen_unix(path, &err), CF_ALREADY_EXISTS);
	cf_close(&first);
	int second = cf_listen_unix(path, &err); /* the file is stale now */
	EXPECT(second >= 0);
	cf_close(&second);
}
