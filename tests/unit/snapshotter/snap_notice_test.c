/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_notice.h"

#include "base/str.h"
#include "tests/harness/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int listener(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	EXPECT(fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0);
	return fd;
}

CF_TEST(notice_tells_what_containerd_told)
{
	cf_cleanup(snap_labels_fini) struct snap_labels l = { 0 };
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/notify", dir);
	int fd = listener(path);
	char said[SNAP_NOTICE_MAX + 1] = "";
	struct cf_err err;

	snap_notice_layer(path, "sha256:cc", &l); /* of no image: nothing */
	EXPECT(recv(fd, said, sizeof(said) - 1, 0) < 0);
	EXPECT_OK(snap_labels_set(&l, SNAP_LABEL_IMAGE_REF, "docker.io/library/x:1", &err), &err);
	snap_notice_layer(path, "sha256:cc", &l);
	EXPECT(recv(fd, said, sizeof(said) - 1, 0) > 0);
	EXPECT_STR(said, "{\"version\":1,\"event\":\"layer\",\"image\":\"docker.io/library/x:1\","
	                 "\"chain\":\"sha256:cc\",\"above\":0}");
	memset(said, 0, sizeof(said));
	EXPECT_OK(snap_labels_set(&l, SNAP_LABEL_LAYER, "sha256:aa", &err), &err);
	EXPECT_OK(snap_labels_set(&l, SNAP_LABEL_MANIFEST, "sha256:mm", &err), &err);
	EXPECT_OK(snap_labels_set(&l, "containerd.io/snapshot/cri.image-layers",
	                          "sha256:aa,sha256:bb,sha256:cc", &err),
	          &err);
	snap_notice_layer(path, "sha256:cc", &l);
	EXPECT(recv(fd, said, sizeof(said) - 1, 0) > 0);
	EXPECT_STR(said,
	           "{\"version\":1,\"event\":\"layer\",\"image\":\"docker.io/library/x:1\","
	           "\"manifest\":\"sha256:mm\",\"layer\":\"sha256:aa\",\"chain\":\"sha256:cc\","
	           "\"above\":2}");
	close(fd);
}

CF_TEST(notice_waits_for_nobody)
{
	cf_cleanup(snap_labels_fini) struct snap_labels l = { 0 };
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/notify", dir);
	cf_cleanup(cf_freep) char *large = cf_asprintf("%0*d", (int)SNAP_NOTICE_MAX, 1);
	cf_cleanup(cf_freep) char *long_path = cf_asprintf("/%0200d", 1);
	struct cf_err err;

	EXPECT_OK(snap_labels_set(&l, SNAP_LABEL_IMAGE_REF, "x", &err), &err);
	snap_notice_layer(NULL, "sha256:cc", &l);
	snap_notice_layer(path, "sha256:cc", &l); /* nobody there */
	snap_notice_layer(long_path, "sha256:cc", &l);
	int fd = listener(path);

	for (int i = 0; i < 5000; i++) /* more than any queue holds */
		snap_notice_layer(path, "sha256:cc", &l);
	char said[256];

	while (recv(fd, said, sizeof(said), 0) > 0)
		continue;
	EXPECT_OK(snap_labels_set(&l, SNAP_LABEL_LAYER, large, &err), &err);
	snap_notice_layer(path, "sha256:cc", &l);
	EXPECT(recv(fd, said, sizeof(said), 0) < 0);
	close(fd);
}

static int listener_in(const char *dir, const char *name)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, name);

	return listener(path);
}

static bool is_there(const char *dir, const char *name)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, name);

	return access(path, F_OK) == 0;
}

static bool was_told(int fd)
{
	char said[256];
	bool told = recv(fd, said, sizeof(said), 0) > 0;

	EXPECT(recv(fd, said, sizeof(said), 0) < 0); /* once */
	return told;
}

/* When it was bound decides; the file system's clock may be too coarse for a test. */
static void date(const char *dir, const char *name, long seconds)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, name);
	struct timespec at[2] = { { .tv_sec = seconds }, { .tv_sec = seconds } };

	EXPECT(utimensat(AT_FDCWD, path, at, 0) == 0);
}

CF_TEST(notice_tells_the_newest_of_a_directory)
{
	static const char *const names[] = { "a.sock", "b.sock", "c.sock", "d.sock", "e.sock" };
	static const long when[] = { 3, 1, 5, 2, 4 };
	cf_cleanup(snap_labels_fini) struct snap_labels l = { 0 };
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	int fds[CF_ARRAY_LEN(names)];
	int other = listener_in(dir, "other"), hidden = listener_in(dir, ".x.sock");
	struct cf_err err;

	EXPECT(CF_ARRAY_LEN(names) == SNAP_NOTICE_LISTENERS + 1);
	EXPECT_OK(snap_labels_set(&l, SNAP_LABEL_IMAGE_REF, "x", &err), &err);
	snap_notice_layer(dir, "sha256:cc", &l); /* nobody yet */
	for (size_t i = 0; i < CF_ARRAY_LEN(names); i++) {
		fds[i] = listener_in(dir, names[i]);
		date(dir, names[i], when[i]);
	}
	snap_notice_layer(dir, "sha256:cc", &l);
	for (size_t i = 0; i < CF_ARRAY_LEN(names); i++)
		EXPECT(was_told(fds[i]) == (when[i] > 1));
	EXPECT(!was_told(other) && !was_told(hidden));
	for (size_t i = 0; i < CF_ARRAY_LEN(names); i++)
		close(fds[i]);
	close(other);
	close(hidden);
}

CF_TEST(notice_clears_away_whoever_was_killed)
{
	cf_cleanup(snap_labels_fini) struct snap_labels l = { 0 };
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *file = cf_asprintf("%s/file.sock", dir);
	cf_cleanup(cf_freep) char *link = cf_asprintf("%s/link.sock", dir);
	int live = listener_in(dir, "live.sock"), full = listener_in(dir, "full.sock");
	struct cf_err err;
	char said[256];

	EXPECT_OK(snap_labels_set(&l, SNAP_LABEL_IMAGE_REF, "x", &err), &err);
	close(listener_in(dir, "dead.sock"));
	close(listener_in(dir, "aside"));
	close(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	EXPECT(symlink("dead.sock", link) == 0);
	for (int i = 0; i < 5000; i++) { /* one never reads */
		snap_notice_layer(dir, "sha256:cc", &l);
		EXPECT(recv(live, said, sizeof(said), 0) > 0);
	}
	EXPECT(!is_there(dir, "dead.sock"));
	EXPECT(is_there(dir, "live.sock") && is_there(dir, "full.sock"));
	EXPECT(is_there(dir, "aside") && is_there(dir, "file.sock")); /* not ours to judge */
	close(live);
	close(full);
}
