/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_notice.h"

#include "base/str.h"
#include "tests/harness/test.h"

#include <stdio.h>
#include <sys/socket.h>
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
