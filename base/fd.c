/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"

#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

void cf_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

void cf_closep(int *fd)
{
	cf_close(fd);
}

int cf_open_beneath(int dirfd, const char *path, int flags, mode_t mode, unsigned how_flags,
                    struct cf_err *err)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC),
		.mode = flags & (O_CREAT | __O_TMPFILE) ? mode : 0,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	long fd;

	if (how_flags & CF_NO_SYMLINKS)
		how.resolve |= RESOLVE_NO_SYMLINKS;
	do
		fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
	while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	if (fd < 0)
		return cf_fail_errno(err, errno, "open %s", path);
	return (int)fd;
}

int cf_read_all(int fd, size_t max, struct cf_buf *ret, struct cf_err *err)
{
	size_t have = 0;

	if ((ret->max ? ret->max : CF_BUF_MAX_DEFAULT) < ret->size + max)
		ret->max = ret->size + max;
	for (;;) {
		size_t want = CF_MIN(max - have, (size_t)65536);
		uint8_t probe;
		uint8_t *p = want ? cf_buf_reserve(ret, want) : &probe;

		if (!p)
			return cf_buf_check(ret, "file", err);
		ssize_t n = read(fd, p, want ? want : 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cf_fail_errno(err, errno, "read");
		if (n == 0)
			return 0;
		if (want == 0)
			return cf_fail(err, CF_RESOURCE_EXHAUSTED, "over the limit of %zu bytes",
			               max);
		ret->size += (size_t)n;
		ret->data[ret->size] = 0;
		have += (size_t)n;
	}
}

int cf_read_file(const char *path, size_t max, struct cf_buf *ret, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return cf_fail_errno(err, errno, "%s", path);
	int r = cf_read_all(fd, max, ret, err);
	return r < 0 ? cf_wrap(err, r, "%s", path) : 0;
}

int cf_write_all(int fd, struct cf_view v, struct cf_err *err)
{
	while (v.size) {
		ssize_t n = write(fd, v.data, v.size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cf_fail_errno(err, errno, "write");
		v = cf_view_sub(v, (size_t)n, v.size);
	}
	return 0;
}

int cf_pread_full(int fd, void *buf, size_t size, off_t offset, struct cf_err *err)
{
	uint8_t *p = buf;

	while (size) {
		ssize_t n = pread(fd, p, size, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cf_fail_errno(err, errno, "read");
		if (n == 0)
			return cf_fail(err, CF_DATA_LOSS, "file ends %zu bytes early", size);
		p += n;
		size -= (size_t)n;
		offset += n;
	}
	return 0;
}

int cf_pwrite_full(int fd, const void *buf, size_t size, off_t offset, struct cf_err *err)
{
	const uint8_t *p = buf;

	while (size) {
		ssize_t n = pwrite(fd, p, size, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cf_fail_errno(err, errno, "write");
		p += n;
		size -= (size_t)n;
		offset += n;
	}
	return 0;
}

int cf_fsync_dir(const char *path, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return cf_fail_errno(err, errno, "sync %s", path);
	return 0;
}

static int fsync_parent(const char *path, struct cf_err *err)
{
	const char *slash = strrchr(path, '/');
	cf_cleanup(cf_freep) char *dir = !slash          ? cf_strdup(".")
	                                 : slash == path ? cf_strdup("/")
	                                                 : cf_strndup(path, (size_t)(slash - path));

	return cf_fsync_dir(dir, err);
}

int cf_write_file_atomic(const char *path, struct cf_view v, mode_t mode, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *tmp = cf_asprintf("%s.tmp.XXXXXX", path);
	cf_cleanup(cf_closep) int fd = mkostemp(tmp, O_CLOEXEC);
	int r;

	if (fd < 0)
		return cf_fail_errno(err, errno, "create %s", tmp);
	r = cf_write_all(fd, v, err);
	if (r == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
		r = cf_fail_errno(err, errno, "sync");
	if (r == 0 && rename(tmp, path) < 0)
		r = cf_fail_errno(err, errno, "rename");
	if (r < 0) {
		unlink(tmp);
		return cf_wrap(err, r, "%s", path);
	}
	return fsync_parent(path, err);
}

int cf_mkdir_p(const char *path, mode_t mode, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *copy = cf_strdup(path);

	for (char *p = copy + 1; *copy; p++) {
		bool last = *p == '\0';

		if (*p != '/' && !last)
			continue;
		*p = '\0';
		if (mkdir(copy, last ? mode : 0755) < 0 && errno != EEXIST)
			return cf_fail_errno(err, errno, "make directory %s", copy);
		if (last)
			return 0;
		*p = '/';
	}
	return 0;
}

static int rm_tree(int dirfd, const char *name, dev_t dev, struct cf_err *err);

static int rm_children(int fd, dev_t dev, struct cf_err *err)
{
	DIR *dir = fdopendir(fd);
	int r = 0;

	if (!dir) {
		close(fd);
		return cf_fail_errno(err, errno, "read directory");
	}
	for (struct dirent *e; r == 0 && (e = readdir(dir));)
		if (!cf_streq(e->d_name, ".") && !cf_streq(e->d_name, ".."))
			r = rm_tree(dirfd(dir), e->d_name, dev, err);
	closedir(dir);
	return r;
}

static int rm_tree(int parent, const char *name, dev_t dev, struct cf_err *err)
{
	struct stat st;
	int fd, r;

	if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return cf_fail_errno(err, errno, "remove %s", name);
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return cf_fail_errno(err, errno, "remove %s", name);
	if (fstat(fd, &st) < 0 || (dev && st.st_dev != dev)) {
		close(fd);
		return cf_fail(err, CF_FAILED_PRECONDITION, "remove %s: something is mounted there",
		               name);
	}
	r = rm_children(fd, st.st_dev, err);
	if (r < 0)
		return r;
	if (unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return cf_fail_errno(err, errno, "remove %s", name);
	return 0;
}

int cf_rm_rf(const char *path, struct cf_err *err)
{
	int r = rm_tree(AT_FDCWD, path, 0, err);

	return r < 0 ? cf_wrap(err, r, "%s", path) : 0;
}

int cf_set_nonblock(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

int cf_socketpair(int type, int ret[2], struct cf_err *err)
{
	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ret) < 0)
		return cf_fail_errno(err, errno, "socket pair");
	return 0;
}

union fd_control {
	char space[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

int cf_send_fd(int sock, int fd, struct cf_err *err)
{
	union fd_control control = { 0 };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	if (sendmsg(sock, &msg, MSG_NOSIGNAL) < 0)
		return cf_fail_errno(err, errno, "pass a file descriptor");
	return 0;
}

int cf_recv_fd(int sock, int *ret, struct cf_err *err)
{
	union fd_control control = { 0 };
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space),
	};
	ssize_t n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	if (n < 0)
		return cf_fail_errno(err, errno, "take a file descriptor");
	if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
		return cf_fail(err, CF_INVALID_ARGUMENT, "no file descriptor came over the socket");
	memcpy(ret, CMSG_DATA(c), sizeof(int));
	return 0;
}

static int unix_address(const char *path, struct sockaddr_un *ret, struct cf_err *err)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(ret->sun_path))
		return cf_fail(err, CF_INVALID_ARGUMENT, "socket path over %zu bytes: %s",
		               sizeof(ret->sun_path) - 1, path);
	memcpy(ret->sun_path, path, strlen(path));
	return 0;
}

static int connect_unix(const char *path, int flags, struct cf_err *err)
{
	struct sockaddr_un addr;
	int r = unix_address(path, &addr, err);

	if (r < 0)
		return r;
	cf_cleanup(cf_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return cf_fail_errno(err, errno, "connect to %s", path);
	return cf_take_fd(&fd);
}

int cf_connect_unix(const char *path, struct cf_err *err)
{
	return connect_unix(path, 0, err);
}

int cf_connect_unix_nonblock(const char *path, struct cf_err *err)
{
	return connect_unix(path, SOCK_NONBLOCK, err);
}

int cf_listen_unix(const char *path, struct cf_err *err)
{
	struct sockaddr_un addr;
	int r = unix_address(path, &addr, err);

	if (r < 0)
		return r;
	int probe = cf_connect_unix(path, NULL);
	if (probe >= 0) {
		close(probe);
		return cf_fail(err, CF_ALREADY_EXISTS, "another process answers on %s", path);
	}
	cf_cleanup(cf_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return cf_fail_errno(err, errno, "socket");
	struct stat st;
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(path);
	/* The file takes the socket's mode; umask() would be every thread's. */
	if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return cf_fail_errno(err, errno, "bind %s", path);
	if (listen(fd, 128) < 0)
		return cf_fail_errno(err, errno, "listen on %s", path);
	return cf_take_fd(&fd);
}
