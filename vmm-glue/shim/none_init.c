/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/none_init.h"

#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAILED         125
#define CGROUP_UNIFIED "/sys/fs/cgroup/unified"
#define RUN_TMPFS      "mode=0755,size=50%"

static volatile sig_atomic_t guest_pid;

static int fail(const char *what)
{
	fprintf(stderr, "none-init: %s: %s\n", what, strerror(errno));
	return FAILED;
}

static int enter_network(const char *netns)
{
	int fd;
	int r;

	if (!*netns)
		return unshare(CLONE_NEWNET) < 0 ? fail("new network namespace") : 0;
	fd = open(netns, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(netns);
	r = setns(fd, CLONE_NEWNET);
	close(fd);
	return r < 0 ? fail("network namespace of the pod") : 0;
}

static int mount_run(void)
{
	if (mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, RUN_TMPFS) < 0)
		return fail("private /run");
	return 0;
}

/* A mount of @dir that outlives what is put over /run; -1 with *ret 0: there is no need of one. */
static int keep(const char *dir, int *ret)
{
	*ret = 0;
	if (!cf_starts_with(dir, "/run/"))
		return -1;
	int tree = (int)syscall(SYS_open_tree, AT_FDCWD, dir, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (tree < 0)
		*ret = -1;
	return tree;
}

static int put_back(int tree, const char *dir)
{
	struct cf_err err;

	if (tree < 0)
		return 0;
	if (cf_mkdir_p(dir, 0700, &err) < 0 ||
	    syscall(SYS_move_mount, tree, "", AT_FDCWD, dir, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return fail("a directory in the private /run");
	close(tree);
	return 0;
}

/* The directory, so that a cache that is started later, or anew, is found too. */
static int keep_cache(char **ret_dir)
{
	const char *socket = getenv("COFFER_BLOB_CACHE");
	char *slash;
	int r;

	*ret_dir = cf_strdup(socket ? socket : "");
	slash = strrchr(*ret_dir, '/');
	if (slash)
		*slash = '\0';
	/* /run itself would bring back all of the host's. No cache is no failure. */
	return keep(*ret_dir, &r);
}

/*
 * A private /run that keeps nothing of the host's but the sandbox's own directory, and that of the
 * cache's socket: the guest's bundles, sockets and image store live there and vanish with the mount
 * namespace.
 */
static int private_run(const char *dir)
{
	cf_cleanup(cf_freep) char *cache_dir = NULL;
	int r;
	int cache = keep_cache(&cache_dir);
	int tree = keep(dir, &r);

	if (r < 0)
		return fail("sandbox directory");
	r = mount_run();
	/* In this order: the cache's directory may be one above the sandbox's. */
	if (r == 0)
		r = put_back(cache, cache_dir);
	return r ? r : put_back(tree, dir);
}

static int private_mounts(const char *dir)
{
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return fail("private mounts");
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return fail("/proc");
	/* crun refuses cgroup v1 beside an empty v2 hierarchy, so that one is not shown to it */
	if (umount2(CGROUP_UNIFIED, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
		return fail(CGROUP_UNIFIED);
	return private_run(dir);
}

static int become_guest(const char *dir, char **argv)
{
	int r;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return fail("prctl");
	r = private_mounts(dir);
	if (r)
		return r;
	signal(SIGTERM, SIG_DFL);
	execvp(argv[0], argv);
	return fail(argv[0]);
}

static void pass_on(int signo)
{
	if (guest_pid > 0)
		kill((pid_t)guest_pid, signo);
}

static int wait_for_guest(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return fail("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int none_init_main(int argc, char **argv)
{
	const struct sigaction action = { .sa_handler = pass_on };
	pid_t pid;
	int r;

	if (argc < 5) {
		fprintf(stderr, "none-init: DIR NETNS INITDATA CACHE INIT ARGS\n");
		return FAILED;
	}
	r = enter_network(argv[1]);
	if (r)
		return r;
	if (*argv[2] && setenv("COFFER_INITDATA_DISK", argv[2], 1) < 0)
		return fail("environment");
	if (setenv("COFFER_BLOB_CACHE", argv[3], 1) < 0)
		return fail("environment");
	if (unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC) < 0)
		return fail("new namespaces");
	sigaction(SIGTERM, &action, NULL);
	pid = fork();
	if (pid < 0)
		return fail("fork");
	if (pid == 0)
		_exit(become_guest(argv[0], argv + 4));
	guest_pid = pid;
	return wait_for_guest(pid);
}
