/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/upload.h"

#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENVELOPE_BYTES 8192u /* of a CopyFile around its data */
#define DIR_MODE       0755u

struct upload {
	struct ttrpc_client *client;
	int64_t timeout_ms;
	size_t chunk_max;
	size_t files, bytes; /* against the limits */
};

static int copy_call(struct upload *u, const char *guest, const struct stat *st, off_t offset,
                     struct cf_view data, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_strdup(guest);
	cf_cleanup(cf_freep) uint8_t *copy = cf_zalloc(data.size + 1);
	Grpc__CopyFileRequest req = GRPC__COPY_FILE_REQUEST__INIT;
	struct ttrpc_req call = { .service = "grpc.AgentService",
		                  .method = "CopyFile",
		                  .msg = &req.base,
		                  .out = &google__protobuf__empty__descriptor,
		                  .timeout_ms = u->timeout_ms };
	int r;

	if (data.size)
		memcpy(copy, data.data, data.size);
	req.path = path;
	req.file_mode = st->st_mode;
	req.dir_mode = DIR_MODE;
	req.file_size = S_ISDIR(st->st_mode) ? 0 : st->st_size;
	req.uid = (int32_t)st->st_uid;
	req.gid = (int32_t)st->st_gid;
	req.offset = offset;
	req.data.data = copy;
	req.data.len = data.size;
	r = ttrpc_call(u->client, &call, NULL, err);
	return r < 0 ? cf_wrap(err, r, "guest: CopyFile %s", guest) : 0;
}

static int count(struct upload *u, const struct stat *st, struct cf_err *err)
{
	u->files++;
	if (S_ISREG(st->st_mode))
		u->bytes += (size_t)st->st_size;
	if (u->files > UPLOAD_FILES_MAX || u->bytes > UPLOAD_BYTES_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED,
		               "mounts of more than %u entries or %u bytes cannot be copied to the "
		               "guest",
		               UPLOAD_FILES_MAX, UPLOAD_BYTES_MAX);
	return 0;
}

/* The file as it was when opened: it may grow or shrink beneath us, the guest gets st_size bytes. */
static int copy_regular(struct upload *u, int fd, struct stat *st, const char *guest,
                        struct cf_err *err)
{
	cf_cleanup(cf_freep) uint8_t *buf = cf_zalloc(u->chunk_max);
	off_t at = 0;

	do {
		size_t want = CF_MIN(u->chunk_max, (size_t)(st->st_size - at));
		ssize_t n = pread(fd, buf, want, at);
		int r;

		if (n < 0)
			return cf_fail_errno(err, errno, "reading a mount's file");
		if ((size_t)n < want)
			return cf_fail(err, CF_ABORTED,
			               "a mount's file changed while it was copied");
		r = copy_call(u, guest, st, at, cf_view(buf, (size_t)n), err);
		if (r < 0)
			return r;
		at += n;
	} while (at < st->st_size);
	return 0;
}

static int copy_link(struct upload *u, int dirfd, const char *name, struct stat *st,
                     const char *guest, struct cf_err *err)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(dirfd, name, target, sizeof(target));

	if (n < 0 || n == (ssize_t)sizeof(target))
		return cf_fail_errno(err, n < 0 ? errno : ENAMETOOLONG, "reading link %s", name);
	st->st_size = n;
	return copy_call(u, guest, st, 0, cf_view(target, (size_t)n), err);
}

static int copy_dir(struct upload *u, int fd, const char *guest, unsigned depth,
                    struct cf_err *err);

/* @name below @dirfd, never through a symbolic link. */
static int copy_entry(struct upload *u, int dirfd, const char *name, const char *guest,
                      unsigned depth, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = -1;
	struct stat st;
	int r;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return cf_fail_errno(err, errno, "mount's entry %s", name);
	r = count(u, &st, err);
	if (r < 0)
		return r;
	if (S_ISLNK(st.st_mode))
		return copy_link(u, dirfd, name, &st, guest, err);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return 0;
	fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return cf_fail_errno(err, errno, "opening %s", name);
	if (S_ISREG(st.st_mode))
		return copy_regular(u, fd, &st, guest, err);
	r = copy_call(u, guest, &st, 0, cf_view(NULL, 0), err);
	return r < 0 ? r : copy_dir(u, fd, guest, depth + 1, err);
}

static int copy_dir(struct upload *u, int fd, const char *guest, unsigned depth, struct cf_err *err)
{
	DIR *dir;
	struct dirent *e;
	int r = 0;

	if (depth > UPLOAD_DEPTH_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "a mount is nested too deeply");
	dir = fdopendir(dup(fd));
	if (!dir)
		return cf_fail_errno(err, errno, "reading a mount's directory");
	while (r == 0 && (e = readdir(dir))) {
		cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", guest, e->d_name);

		if (!cf_streq(e->d_name, ".") && !cf_streq(e->d_name, ".."))
			r = copy_entry(u, fd, e->d_name, path, depth, err);
	}
	closedir(dir);
	return r;
}

/* The mount's own source may be a symbolic link: the host's administrator chose it. */
static int copy_mount(struct upload *u, const struct agent_upload *m, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = open(m->host, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return cf_fail_errno(err, errno, "mount of %s", m->host);
	r = count(u, &st, err);
	if (r < 0)
		return r;
	if (S_ISREG(st.st_mode))
		return copy_regular(u, fd, &st, m->guest, err);
	r = copy_call(u, m->guest, &st, 0, cf_view(NULL, 0), err);
	return r < 0 ? r : copy_dir(u, fd, m->guest, 0, err);
}

int upload_all(struct ttrpc_client *client, const struct agent_container *c, size_t message_max,
               int64_t timeout_ms, struct cf_err *err)
{
	struct upload u = { .client = client, .timeout_ms = timeout_ms };

	u.chunk_max = CF_MIN(message_max, UPLOAD_CHUNK_MAX) - ENVELOPE_BYTES;
	if (!client)
		return cf_fail(err, CF_UNAVAILABLE, "the pod's machine is gone");
	for (size_t i = 0; i < c->upload_count; i++) {
		int r = copy_mount(&u, &c->uploads[i], err);

		if (r < 0)
			return r;
	}
	return 0;
}
