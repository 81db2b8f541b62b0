/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "base/proc.h"
#include "tests/harness/test.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int echo_upper(int argc, char **argv)
{
	char byte;

	(void)argc;
	(void)argv;
	while (read(3, &byte, 1) == 1) {
		byte = (char)(byte >= 'a' && byte <= 'z' ? byte - 32 : byte);
		if (write(4, &byte, 1) != 1)
			return 1;
	}
	return 0;
}

static int try_open(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return open("/etc/hostname", O_RDONLY) < 0 ? 1 : 0;
}

static int try_socket(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return socket(AF_INET, SOCK_STREAM, 0) < 0 ? 1 : 0;
}

static int try_fork(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return fork() < 0 ? 1 : 0;
}

static const struct cf_helper helpers[] = {
	{ "upper", echo_upper },
	{ "open", try_open },
	{ "socket", try_socket },
	{ "fork", try_fork },
};

/* Before the harness's main(): this binary is its own helper. */
__attribute__((constructor)) static void be_helper(int argc, char **argv)
{
	cf_helper_main(argc, argv, helpers, CF_ARRAY_LEN(helpers));
}

CF_TEST(helper_works_on_the_fds_it_was_given)
{
	int in[2], out[2], status;
	char back[4] = "";
	struct cf_err err;
	pid_t pid;

	EXPECT(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
	EXPECT_OK(cf_helper_spawn("not-looked-at", "upper", NULL, (int[]){ in[0], out[1] }, 2, NULL,
	                          &pid, &err),
	          &err);
	cf_close(&in[0]);
	cf_close(&out[1]);
	EXPECT(write(in[1], "abc", 3) == 3);
	cf_close(&in[1]);
	EXPECT_OK(cf_proc_wait(pid, &status, &err), &err);
	EXPECT_INT(status, 0);
	EXPECT(read(out[0], back, 3) == 3);
	EXPECT_STR(back, "ABC");
	cf_close(&out[0]);
}

CF_TEST(helper_that_leaves_its_sandbox_is_killed)
{
	static const char *const names[] = { "open", "socket", "fork" };
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(names); i++) {
		int status;
		pid_t pid;

		EXPECT_OK(cf_helper_spawn(NULL, names[i], NULL, NULL, 0, NULL, &pid, &err), &err);
		EXPECT_OK(cf_proc_wait(pid, &status, &err), &err);
		EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	}
}

CF_TEST(run_collects_output_and_names_failures)
{
	struct cf_buf out = { 0 };
	struct cf_err err;
	const char *good[] = { "sh", "-c", "echo hi", NULL };
	const char *fails[] = { "sh", "-c", "echo why >&2; exit 3", NULL };
	const char *slow[] = { "sleep", "30", NULL };
	const char *loud[] = { "sh", "-c", "echo 123456789", NULL };
	const char *none[] = { "no-such-program-here", NULL };

	EXPECT_OK(cf_proc_run(&(struct cf_proc_opts){ .argv = good, .stdin_fd = -1 }, 100, 10000,
	                      &out, &err),
	          &err);
	EXPECT_STR(out.data, "hi\n");
	EXPECT_FAILS(cf_proc_run(&(struct cf_proc_opts){ .argv = fails, .stdin_fd = -1 }, 100,
	                         10000, NULL, &err),
	             CF_ABORTED);
	EXPECT_STR(err.msg, "sh ended with status 3: why");
	EXPECT_FAILS(cf_proc_run(&(struct cf_proc_opts){ .argv = slow, .stdin_fd = -1 }, 100, 50,
	                         NULL, &err),
	             CF_DEADLINE_EXCEEDED);
	cf_buf_reset(&out);
	EXPECT_FAILS(cf_proc_run(&(struct cf_proc_opts){ .argv = loud, .stdin_fd = -1 }, 5, 10000,
	                         &out, &err),
	             CF_RESOURCE_EXHAUSTED);
	EXPECT_FAILS(cf_proc_run(&(struct cf_proc_opts){ .argv = none, .stdin_fd = -1 }, 5, 10000,
	                         NULL, &err),
	             CF_NOT_FOUND);
	cf_buf_fini(&out);
}
