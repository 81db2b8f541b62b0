/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * File descriptors and files. Everything is opened O_CLOEXEC. Paths below an untrusted root go
 * through cf_open_beneath() alone.
 */
#include "base/bytes.h"

#include <fcntl.h>
#include <sys/types.h>

/* For cf_cleanup(): closes fds ≥ 0 and keeps errno. */
void cf_closep(int *fd);
/* Closes *fd when ≥ 0 and sets it to -1. */
void cf_close(int *fd);
/* Gives an fd away and leaves -1. */
static inline int cf_take_fd(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

/*
 * openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS): absolute symlinks and ".." stay below @dirfd.
 * With CF_NO_SYMLINKS in @how_flags any symlink is refused. Return: an fd ≥ 0, or negative.
 */
#define CF_NO_SYMLINKS 1u
cf_must_use int cf_open_beneath(int dirfd, const char *path, int flags, mode_t mode,
                                unsigned how_flags, struct cf_err *err);

/* Reads to the end, at most @max bytes: -CF_RESOURCE_EXHAUSTED when there is more. Appends to @ret. */
cf_must_use int cf_read_all(int fd, size_t max, struct cf_buf *ret, struct cf_err *err);
cf_must_use int cf_read_file(const char *path, size_t max, struct cf_buf *ret, struct cf_err *err);
/* Writes all of @v, through short writes and EINTR. */
cf_must_use int cf_write_all(int fd, struct cf_view v, struct cf_err *err);
/* Reads exactly @size bytes at @offset; -CF_DATA_LOSS when the file ends early. */
cf_must_use int cf_pread_full(int fd, void *buf, size_t size, off_t offset, struct cf_err *err);
cf_must_use int cf_pwrite_full(int fd, const void *buf, size_t size, off_t offset,
                               struct cf_err *err);

/*
 * Publishes a file whole or not at all: temporary name beside it, write, fsync, rename, fsync of
 * the directory. What was acknowledged survives power loss.
 */
cf_must_use int cf_write_file_atomic(const char *path, struct cf_view v, mode_t mode,
                                     struct cf_err *err);
cf_must_use int cf_fsync_dir(const char *path, struct cf_err *err);

/* mkdir -p; existing directories are fine. @mode is for the last component, 0755 above it. */
cf_must_use int cf_mkdir_p(const char *path, mode_t mode, struct cf_err *err);
/* rm -rf below and including @path, never following symlinks, never crossing a mount. ENOENT is fine. */
cf_must_use int cf_rm_rf(const char *path, struct cf_err *err);

int cf_set_nonblock(int fd, bool on); /* 0 or -errno */
/* A socket pair, SOCK_STREAM unless @type says otherwise, both ends CLOEXEC. */
cf_must_use int cf_socketpair(int type, int ret[2], struct cf_err *err);
/* Passes or takes one fd with one byte over a unix socket. */
cf_must_use int cf_send_fd(int sock, int fd, struct cf_err *err);
cf_must_use int cf_recv_fd(int sock, int *ret, struct cf_err *err);

/*
 * A listening unix stream socket at @path (mode 0600, at most 107 bytes). A stale socket file is
 * replaced, one that answers is -CF_ALREADY_EXISTS.
 */
cf_must_use int cf_listen_unix(const char *path, struct cf_err *err);
/* Connects to a unix stream socket. Return: an fd ≥ 0, or negative. */
cf_must_use int cf_connect_unix(const char *path, struct cf_err *err);
/* The same, and the socket does not block; neither does this: -CF_UNAVAILABLE when too many wait there. */
cf_must_use int cf_connect_unix_nonblock(const char *path, struct cf_err *err);
