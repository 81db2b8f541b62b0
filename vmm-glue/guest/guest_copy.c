/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/guest/guest_copy.h"

#include "base/fd.h"
#include "base/str.h"
#include "vmm-glue/guest/guest_rules.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 32u

/*
 * Opens the directory that @path (relative, plain components) lies in, making what is missing. Links
 * on the way are refused: the host made them, and it may as well name the directory itself.
 */
static int open_parent(int share, const char *path, mode_t dir_mode, const char **ret_name,
                       struct cf_err *err)
{
	cf_cleanup(cf_closep) int dir = fcntl(share, F_DUPFD_CLOEXEC, 0);
	const char *slash;
	unsigned depth = 0;

	while ((slash = strchr(path, '/'))) {
		cf_cleanup(cf_freep) char *name = cf_strndup(path, (size_t)(slash - path));
		int next;

		if (depth++ == DEPTH_MAX)
			return cf_fail(err, CF_RESOURCE_EXHAUSTED, "a path too deep");
		if (mkdirat(dir, name, dir_mode & 0777) < 0 && errno != EEXIST)
			return cf_fail_errno(err, errno, "directory %.80s", name);
		next = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return cf_fail_errno(err, errno, "directory %.80s", name);
		cf_close(&dir);
		dir = next;
		path = slash + 1;
	}
	*ret_name = path;
	return cf_take_fd(&dir);
}

static int make_directory(int dir, const char *name, const Grpc__CopyFileRequest *req,
                          struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = -1;

	if (mkdirat(dir, name, req->file_mode & 0777) < 0 && errno != EEXIST)
		return cf_fail_errno(err, errno, "directory %.80s", name);
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fchmod(fd, req->file_mode & 01777) < 0 ||
	    fchown(fd, (uid_t)req->uid, (gid_t)req->gid) < 0)
		return cf_fail_errno(err, errno, "directory %.80s", name);
	return 0;
}

/* Puts a link in place of what was there; a directory is never replaced. */
static int make_link(int dir, const char *name, const Grpc__CopyFileRequest *req,
                     struct cf_err *err)
{
	cf_cleanup(cf_freep) char *target = cf_view_dup(cf_view(req->data.data, req->data.len));
	cf_cleanup(cf_freep) char *fresh = cf_asprintf(".%.200s.link", name);

	(void)unlinkat(dir, fresh, 0);
	if (symlinkat(target, dir, fresh) < 0)
		return cf_fail_errno(err, errno, "link %.80s", name);
	if (renameat(dir, fresh, dir, name) < 0) {
		int e = errno;

		(void)unlinkat(dir, fresh, 0);
		return cf_fail_errno(err, e, "link %.80s", name);
	}
	if (fchownat(dir, name, (uid_t)req->uid, (gid_t)req->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return cf_fail_errno(err, errno, "link %.80s", name);
	return 0;
}

static int finish_file(int dir, int fd, const char *part, const char *name,
                       const Grpc__CopyFileRequest *req, struct cf_err *err)
{
	/* The owner first: chown clears bits of the mode. */
	if (fchown(fd, (uid_t)req->uid, (gid_t)req->gid) < 0 ||
	    fchmod(fd, req->file_mode & 01777) < 0)
		return cf_fail_errno(err, errno, "file %.80s", name);
	if (renameat(dir, part, dir, name) < 0)
		return cf_fail_errno(err, errno, "file %.80s", name);
	return 0;
}

static int write_piece(int dir, const char *name, const Grpc__CopyFileRequest *req,
                       struct cf_err *err)
{
	cf_cleanup(cf_freep) char *part = cf_asprintf("%.240s.tmp", name);
	int flags = O_WRONLY | O_NOFOLLOW | O_CLOEXEC;
	cf_cleanup(cf_closep) int fd = -1;
	struct stat st;
	int r;

	if (req->offset == 0) {
		(void)unlinkat(dir, part, 0);
		flags |= O_CREAT | O_EXCL;
	}
	fd = openat(dir, part, flags, 0600);
	if (fd < 0 || fstat(fd, &st) < 0)
		return cf_fail_errno(err, errno, "file %.80s", part);
	if (st.st_size != req->offset)
		return cf_fail(err, CF_FAILED_PRECONDITION,
		               "file %.80s: %lld bytes are there, "
		               "the next piece is for %lld",
		               part, (long long)st.st_size, (long long)req->offset);
	r = cf_pwrite_full(fd, req->data.data, req->data.len, req->offset, err);
	if (r < 0)
		return r;
	if (req->offset + (int64_t)req->data.len != req->file_size)
		return 0;
	return finish_file(dir, fd, part, name, req, err);
}

int guest_copy_file(const char *share, const Grpc__CopyFileRequest *req, struct cf_err *err)
{
	cf_cleanup(cf_closep) int root = -1;
	cf_cleanup(cf_closep) int dir = -1;
	struct guest_copy copy;
	const char *name = NULL;
	int r;

	r = guest_rules_copy(req, &copy, err);
	if (r < 0)
		return r;
	root = open(share, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return cf_fail_errno(err, errno, "%s", share);
	dir = open_parent(root, copy.path, req->dir_mode, &name, err);
	if (dir < 0)
		return dir;
	switch (copy.kind) {
	case GUEST_FILE_DIRECTORY:
		return make_directory(dir, name, req, err);
	case GUEST_FILE_SYMLINK:
		return make_link(dir, name, req, err);
	case GUEST_FILE_REGULAR:
		break;
	}
	return write_piece(dir, name, req, err);
}
