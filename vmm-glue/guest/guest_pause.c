/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/guest/guest_pause.h"

#include "base/fd.h"
#include "base/proc.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_FD 3 /* in the new process */

static int spawn(const char *root, pid_t *ret, int *ret_ready, struct cf_err *err)
{
	const char *const argv[] = { "/proc/self/exe", GUEST_PAUSE_ROLE, root, NULL };
	const char *const env[] = { NULL };
	int ready[2];
	struct cf_proc_opts opts = {
		.argv = argv,
		.env = env,
		.stdin_fd = -1,
		.stdout_fd = -1,
		.stderr_fd = -1,
		.fds = &ready[1],
		.fd_count = 1,
		.new_session = true,
	};
	int r;

	if (pipe2(ready, O_CLOEXEC) < 0)
		return cf_fail_errno(err, errno, "pipe");
	r = cf_proc_spawn(&opts, ret, err);
	cf_close(&ready[1]);
	if (r < 0)
		cf_close(&ready[0]);
	else
		*ret_ready = ready[0];
	return r;
}

int guest_pause_spawn(const char *root, pid_t *ret, int *ret_ready, struct cf_err *err)
{
	cf_cleanup(cf_closep) int own = -1;
	int r;

	own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	if (own < 0 || unshare(CLONE_NEWPID) < 0)
		return cf_fail_errno(err, errno, "new pid namespace");
	r = spawn(root, ret, ret_ready, err);
	/* Only this one child is meant: the next ones are to be where we are. */
	if (setns(own, CLONE_NEWPID) < 0) {
		if (r == 0)
			cf_close(ret_ready);
		return cf_fail_errno(err, errno, "back to our pid namespace");
	}
	return r;
}

/* An empty, read-only file system of its own; where pivot_root cannot be, chroot must do. */
static bool hide_files(const char *root)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return false;
	if (mount("tmpfs", root, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
	          "size=4k,mode=0555") < 0 ||
	    chdir(root) < 0)
		return false;
	if (syscall(SYS_pivot_root, ".", ".") == 0)
		return umount2(".", MNT_DETACH) == 0 && chdir("/") == 0;
	return chroot(".") == 0 && chdir("/") == 0;
}

static bool drop_capabilities(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 } };

	for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		(void)prctl(PR_CAPBSET_DROP, cap);
	return syscall(SYS_capset, &head, none) == 0 &&
	       prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_DUMPABLE, 0) == 0;
}

int guest_pause_main(int argc, char **argv)
{
	sigset_t all;
	int signo;

	sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, NULL);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (argc != 3 || !hide_files(argv[2]) || !drop_capabilities())
		return 1;
	if (write(READY_FD, "", 1) != 1 || close(READY_FD) < 0)
		return 1;
	while (sigwait(&all, &signo) == 0) {
		if (signo == SIGTERM || signo == SIGINT)
			return 0;
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
	return 1;
}
