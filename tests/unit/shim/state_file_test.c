/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/state_file.h"

#include "base/proc.h"
#include "tests/harness/test.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

CF_TEST(state_file_gives_back_what_was_written)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	struct state_file s = { .sandbox_id = cf_strdup("pod") }, got;
	struct cf_err err;

	s.driver = cf_strdup("qemu");
	s.netns = cf_strdup("/run/netns/x");
	s.shim = state_pid_of(getpid());
	s.pids[s.pid_count++] = state_pid_of(getppid());
	cf_strv_add(&s.taps, "cftap0");
	EXPECT_OK(state_file_write(dir, &s, &err), &err);
	EXPECT_OK(state_file_read(dir, &got, &err), &err);
	EXPECT_STR(got.sandbox_id, "pod");
	EXPECT_STR(got.netns, "/run/netns/x");
	EXPECT_INT(got.pids[0].pid, getppid());
	EXPECT(got.shim.start_time == s.shim.start_time && got.shim.start_time > 0);
	EXPECT_STR(got.taps.items[0], "cftap0");
	state_file_fini(&s);
	state_file_fini(&got);
	EXPECT_FAILS(state_file_read("/nonexistent", &got, &err), CF_NOT_FOUND);
}

static const char *const refused[] = {
	"",                                                                  /* empty */
	"{}",                                                                /* nothing */
	"{\"sid\":\"a\",\"driver\":\"b\",\"shim\":{\"pid\":1,\"start\":1}}", /* init */
	"{\"sid\":\"a\",\"driver\":\"b\",\"shim\":{\"pid\":-5,\"start\":1}}",
	"{\"sid\":\"a\",\"driver\":\"b\",\"shim\":{\"pid\":5,\"start\":1},\"pids\":[{\"pid\":0}]}",
};

CF_TEST(state_file_refuses_what_could_kill_a_stranger)
{
	struct state_file s;
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(refused); i++)
		EXPECT_FAILS(state_file_parse(cf_view_str(refused[i]), &s, &err),
		             CF_INVALID_ARGUMENT);
}

CF_TEST(state_kill_ends_the_very_process_alone)
{
	const char *argv[] = { "sleep", "1000", NULL };
	struct cf_proc_opts opts = {
		.argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1
	};
	struct state_pid p, other;
	struct cf_err err;
	pid_t pid;
	int status;

	EXPECT_OK(cf_proc_spawn(&opts, &pid, &err), &err);
	p = other = state_pid_of(pid);
	other.start_time++; /* the pid was reused: not ours */
	EXPECT(state_is_alive(&p) && !state_is_alive(&other));
	state_kill(&other, 100);
	EXPECT(state_is_alive(&p));
	state_kill(&p, 1000);
	EXPECT_OK(cf_proc_wait(pid, &status, &err), &err);
	EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	EXPECT(!state_is_alive(&p));
}
