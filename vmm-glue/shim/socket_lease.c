/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/socket_lease.h"

#include "base/fd.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TAKE_TRIES_MAX 8 /* a sweep may remove the file between our open and our lock */

static const char *name_of(const char *socket)
{
	const char *slash = strrchr(socket, '/');

	return slash && slash[1] && slash[1] != '.' ? slash + 1 : NULL;
}

static bool is_removed(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_nlink == 0;
}

static int open_locked(const char *path, struct cf_err *err)
{
	for (int i = 0; i < TAKE_TRIES_MAX; i++) {
		cf_cleanup(cf_closep) int fd =
			open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

		if (fd < 0)
			return cf_fail_errno(err, errno, "%s", path);
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			return cf_fail(err, CF_ALREADY_EXISTS, "%s is held", path);
		if (!is_removed(fd))
			return cf_take_fd(&fd);
	}
	return cf_fail(err, CF_UNAVAILABLE, "%s is removed again and again", path);
}

int socket_lease_take(const char *dir, const char *socket, struct cf_err *err)
{
	const char *name = name_of(socket);
	cf_cleanup(cf_freep) char *path = name ? cf_asprintf("%s/%s", dir, name) : NULL;
	cf_cleanup(cf_closep) int fd = -1;
	int r;

	if (!name || socket[0] != '/')
		return cf_fail(err, CF_INVALID_ARGUMENT, "lease of \"%s\": no path", socket);
	r = cf_mkdir_p(dir, 0700, err);
	if (r < 0)
		return r;
	fd = open_locked(path, err);
	if (fd < 0)
		return fd;
	if (ftruncate(fd, 0) < 0)
		return cf_fail_errno(err, errno, "%s", path);
	r = cf_write_all(fd, cf_view_str(socket), err);
	return r < 0 ? r : cf_take_fd(&fd);
}

void socket_lease_drop(const char *dir, const char *socket)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, name_of(socket) ?: "");

	(void)!unlink(path);
}

static void unlink_dead_socket(const char *path)
{
	cf_cleanup(cf_closep) int answer = -1;
	struct stat st;

	if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	answer = cf_connect_unix(path, NULL);
	if (answer < 0)
		(void)!unlink(path);
}

static void sweep_one(int dir, const char *name)
{
	cf_cleanup(cf_closep) int fd = openat(dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	struct cf_buf text = { .max = PATH_MAX };
	char *socket;

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || is_removed(fd))
		return;
	if (cf_read_all(fd, PATH_MAX, &text, NULL) == 0 && !cf_view_has_nul(cf_buf_view(&text))) {
		socket = cf_view_dup(cf_buf_view(&text));
		/* empty when its writer was killed before it wrote: nothing was bound then */
		if (socket[0] == '/' && cf_streq(name_of(socket), name))
			unlink_dead_socket(socket);
		free(socket);
	}
	cf_buf_fini(&text);
	(void)!unlinkat(dir, name, 0);
}

void socket_lease_sweep(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		if (e->d_name[0] != '.')
			sweep_one(dirfd(dir), e->d_name);
	if (dir)
		closedir(dir);
}
