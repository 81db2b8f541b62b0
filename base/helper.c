/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sandbox half of base/proc.h. The child is a program of its own or this binary anew (a fresh
 * address space: nothing of the parent's keys is in it), shuts every door it can, and only then
 * touches the first byte. Apart from helper_spawn.c, so that a small helper program links little.
 */
#include "base/helper.h"
#include "base/fd.h"
#include "base/proc.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXIT_NO_SANDBOX 126

/*
 * Everything a parser needs: bytes in and out of fds it was given, memory, its end. No open, no
 * socket, no exec, no clone, no ioctl.
 */
static const int allowed[] = {
	SCMP_SYS(read),         SCMP_SYS(write),        SCMP_SYS(readv),
	SCMP_SYS(writev),       SCMP_SYS(pread64),      SCMP_SYS(pwrite64),
	SCMP_SYS(lseek),        SCMP_SYS(fstat),        SCMP_SYS(newfstatat),
	SCMP_SYS(ftruncate),    SCMP_SYS(fallocate),    SCMP_SYS(fsync),
	SCMP_SYS(fdatasync),    SCMP_SYS(close),        SCMP_SYS(mmap),
	SCMP_SYS(munmap),       SCMP_SYS(mremap),       SCMP_SYS(mprotect),
	SCMP_SYS(madvise),      SCMP_SYS(brk),          SCMP_SYS(exit),
	SCMP_SYS(exit_group),   SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigaction), SCMP_SYS(sigaltstack),  SCMP_SYS(clock_gettime),
	SCMP_SYS(gettimeofday), SCMP_SYS(futex),        SCMP_SYS(getrandom),
	SCMP_SYS(poll),         SCMP_SYS(ppoll),        SCMP_SYS(restart_syscall),
	SCMP_SYS(getpid),       SCMP_SYS(gettid),       SCMP_SYS(sched_yield),
	SCMP_SYS(splice),       SCMP_SYS(tee),          SCMP_SYS(copy_file_range),
};

static void drop_capabilities(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct none[2] = { 0 };

	for (int cap = 0; prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; cap++)
		continue;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	syscall(SYS_capset, &head, none);
}

/* Best effort: seccomp below is what holds where namespaces are refused. */
static void leave_the_world(void)
{
	if (unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0 &&
	    unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
		return;
}

static void limit(int what, uint64_t value)
{
	struct rlimit r = { value, value };

	setrlimit((__rlimit_resource_t)what, &r);
}

static bool shut_seccomp(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	const struct scmp_arg_cmp own = { .arg = 0,
		                          .op = SCMP_CMP_EQ,
		                          .datum_a = (scmp_datum_t)getpid() };
	bool ok = ctx != NULL;

	for (size_t i = 0; ok && i < CF_ARRAY_LEN(allowed); i++)
		ok = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0) == 0;
	/* abort() and a sanitizer's end, never a signal to somebody else of this uid. */
	ok = ok && seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, &own) == 0;
	/* A library that asks for a terminal or a file gets an answer, not a signal. */
	ok = ok && seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOTTY), SCMP_SYS(ioctl), 0) == 0;
	ok = ok && seccomp_load(ctx) == 0;
	seccomp_release(ctx);
	return ok;
}

static bool shut(uint64_t memory_max, uint64_t cpu_s_max)
{
	prctl(PR_SET_DUMPABLE, 0);
	leave_the_world();
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_NPROC, 0);
	limit(RLIMIT_CPU, cpu_s_max);
#ifndef CF_SANITIZED /* a sanitizer's shadow is terabytes of address space */
	limit(RLIMIT_AS, memory_max);
#else
	(void)memory_max;
#endif
	drop_capabilities();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return false;
	return shut_seccomp();
}

void cf_helper_main(int argc, char **argv, const struct cf_helper *helpers, size_t count)
{
	uint64_t memory_max, cpu_s_max;

	cf_helper_set_own();
	if (argc < 5 || !cf_streq(argv[1], CF_HELPER_FLAG))
		return;
	if (cf_parse_u64(cf_view_str(argv[3]), UINT64_MAX, &memory_max, NULL) < 0 ||
	    cf_parse_u64(cf_view_str(argv[4]), UINT64_MAX, &cpu_s_max, NULL) < 0)
		_exit(EXIT_NO_SANDBOX);
	for (size_t i = 0; i < count; i++) {
		if (!cf_streq(helpers[i].name, argv[2]))
			continue;
		prctl(PR_SET_NAME, helpers[i].name);
		if (!shut(memory_max, cpu_s_max)) {
			fprintf(stderr, "helper %s: the sandbox cannot be shut here\n", argv[2]);
			_exit(EXIT_NO_SANDBOX);
		}
		_exit(helpers[i].fn(argc - 4, argv + 4));
	}
	fprintf(stderr, "no helper '%s' in this program\n", argv[2]);
	_exit(EXIT_NO_SANDBOX);
}
