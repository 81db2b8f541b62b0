/* SPDX-License-Identifier: Apache-2.0 */
/* "run" with a fake agent: the container's words and status are the program's own. */
#include "tests/fakes/fake_agent.h"
#include "tests/harness/test.h"

#include "base/fd.h"
#include "base/proc.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

static void write_text(const char *path, const char *text)
{
	struct cf_err err = { .code = CF_OK };

	EXPECT_OK(cf_write_file_atomic(path, cf_view_str(text), 0644, &err), &err);
}

struct result {
	int status;
	struct cf_buf out, errors;
};

/* @signo: sent once the pod runs, or 0. */
static struct result run_pod(const char *args, int signo)
{
	cf_cleanup(cf_freep) char *program = cf_test_bin("containerd-shim-coffer-v2");
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *config = cf_asprintf("%s/shim.toml", dir);
	cf_cleanup(cf_freep) char *process = cf_asprintf("%s/process.json", dir);
	cf_cleanup(cf_freep) char *log = cf_asprintf("%s/agent.log", dir);
	cf_cleanup(cf_freep) char *out = cf_asprintf("%s/out", dir);
	cf_cleanup(cf_freep) char *errors = cf_asprintf("%s/errors", dir);
	const char *argv[] = { program,  "run",       "--image", "reg/a:1",  "--config",
		               config,   "--process", process,   "--driver", "none",
		               "--name", "pod1",      NULL };
	struct cf_proc_opts opts = { .argv = argv, .stdin_fd = -1 };
	struct result res = { .status = -1 };
	struct cf_err err = { .code = CF_OK };
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	cf_cleanup(cf_freep) char *toml = NULL;
	cf_cleanup(cf_freep) char *json = cf_asprintf("{\"args\":[%s]}", args);
	pid_t pid;

	if (geteuid() != 0)
		SKIP("driver none needs root to make namespaces");
	self[n] = 0;
	toml = cf_asprintf("[none]\ninit = \"%s\"\n", self);
	write_text(config, toml);
	write_text(process, json);
	setenv("FAKE_AGENT_LOG", log, 1);
	opts.stdout_fd = open(out, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	opts.stderr_fd = open(errors, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	EXPECT_OK(cf_proc_spawn(&opts, &pid, &err), &err);
	for (int i = 0; signo && i < 1000; i++) {
		struct cf_buf text = { 0 };

		if (cf_read_file(log, 65536, &text, &err) == 0 && text.size &&
		    strstr((char *)text.data, "StartContainer")) {
			kill(pid, signo);
			signo = 0;
		}
		cf_buf_fini(&text);
		poll(NULL, 0, 10);
	}
	EXPECT_OK(cf_proc_wait(pid, &res.status, &err), &err);
	close(opts.stdout_fd);
	close(opts.stderr_fd);
	res.out = cf_test_read(out);
	res.errors = cf_test_read(errors);
	return res;
}

static void result_fini(struct result *r)
{
	cf_buf_fini(&r->out);
	cf_buf_fini(&r->errors);
}

static void expect_status(const struct result *r, int want)
{
	if (!WIFEXITED(r->status) || WEXITSTATUS(r->status) != want)
		print_message("stderr: %s\n", r->errors.data ? (char *)r->errors.data : "");
	EXPECT(WIFEXITED(r->status));
	EXPECT_INT(WEXITSTATUS(r->status), want);
}

CF_TEST(run_prints_what_the_container_prints)
{
	struct result r = run_pod("\"spew\",\"5\"", 0);

	expect_status(&r, 0);
	EXPECT_STR((char *)r.out.data, "yyyyy");
	EXPECT(!r.errors.size);
	result_fini(&r);
}

CF_TEST(run_ends_with_the_containers_status)
{
	struct result r = run_pod("\"exit\",\"7\"", 0);

	expect_status(&r, 7);
	result_fini(&r);
}

CF_TEST(run_says_why_a_pod_was_refused)
{
	struct result r = run_pod("\"refuse\"", 0);

	expect_status(&r, 7);
	EXPECT(strstr((char *)r.errors.data, "blocked by policy"));
	EXPECT(!r.out.size);
	result_fini(&r);
}

CF_TEST(run_interrupted_leaves_nothing)
{
	struct result r = run_pod("\"wait\"", SIGINT);

	expect_status(&r, 130);
	result_fini(&r);
}
