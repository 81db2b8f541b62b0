/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/test.h"

#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST_TIMEOUT_S 120
#define EXIT_SKIPPED   77

static struct cf_test *tests;
static char *tmpdir;

void cf_test_register(struct cf_test *t)
{
	struct cf_test **at = &tests;

	while (*at)
		at = &(*at)->next;
	*at = t;
}

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

void cf_test_expect_fails(int r, enum cf_code want, const char *expr, const char *file, int line)
{
	if (r == -(int)want)
		return;
	print_error("%s\n  returned %d, expected -%s\n", expr, r, cf_code_name(want));
	_fail(file, line);
}

void cf_test_expect_ok(int r, const struct cf_err *err, const char *expr, const char *file,
                       int line)
{
	if (r == 0)
		return;
	print_error("%s\n  returned %d: %s\n", expr, r, r < 0 && err ? err->msg : "(an outcome)");
	_fail(file, line);
}

char *cf_test_source(const char *rel)
{
	const char *top = getenv("COFFER_SOURCE");

	return cf_asprintf("%s/%s", top ? top : ".", rel);
}

char *cf_test_bin(const char *name)
{
	const char *dir = getenv("COFFER_BIN");

	return cf_asprintf("%s/%s", dir ? dir : "build/dev/bin", name);
}

static bool has_skipped;

void cf_test_skip(const char *reason)
{
	print_message("SKIP: %s\n", reason);
	has_skipped = true;
	skip();
}

char *cf_test_vector(const char *rel)
{
	const char *top = getenv("COFFER_VECTORS");
	char *beside = cf_test_source("../shared/vectors");
	char *path = cf_asprintf("%s/%s", top ? top : beside, rel);

	free(beside);
	if (access(path, R_OK) == 0)
		return path;
	cf_cleanup(cf_freep) char *reason = cf_asprintf("no vector %s (set COFFER_VECTORS)", path);

	cf_test_skip(reason);
	return NULL;
}

char *cf_test_tmpdir(void)
{
	if (!tmpdir) {
		const char *base = getenv("TMPDIR");

		tmpdir = cf_asprintf("%s/coffer-test.XXXXXX", base ? base : "/tmp");
		if (!mkdtemp(tmpdir))
			fail_msg("no temporary directory: %s", strerror(errno));
	}
	return cf_strdup(tmpdir);
}

struct cf_buf cf_test_read(const char *path)
{
	struct cf_buf b = { .max = 1u << 30 };
	struct cf_err err;

	if (cf_read_file(path, 256u << 20, &b, &err) < 0)
		fail_msg("%s", err.msg);
	cf_buf_reserve(&b, 0);
	return b;
}

static int counted_teardown(void **state)
{
	(void)state;
	if (tmpdir) {
		struct cf_err err;

		if (cf_rm_rf(tmpdir, &err) < 0)
			print_message("left behind: %s\n", err.msg);
		free(tmpdir);
		tmpdir = NULL;
	}
	return 0;
}

static int fds_kept_by_library;

void cf_test_library_keeps_fds(int count)
{
	fds_kept_by_library = count;
}

/* What is open beyond @before; libraries with threads of their own get a moment to close theirs. */
static int count_leaked_fds(int before)
{
	for (int i = 0; fds_kept_by_library && i < 300; i++) {
		if (count_fds() <= before + fds_kept_by_library)
			return 0;
		poll(NULL, 0, 10);
	}
	return count_fds() - before;
}

/* In the child: one test under cmocka. Its exit status: 0 passed, 77 skipped, 1 failed. */
static int run_one(const struct cf_test *t)
{
	const struct CMUnitTest unit[] = { { t->name, t->fn, NULL, NULL, NULL } };
	int before, leaked, failed;

	alarm(TEST_TIMEOUT_S);
	before = count_fds();
	failed = _cmocka_run_group_tests(t->name, unit, 1, NULL, counted_teardown);
	fflush(stdout);
	if (has_skipped)
		_exit(failed ? 1 : 0); /* past the search for leaks */
	leaked = count_leaked_fds(before);
	if (failed)
		return 1;
	if (leaked != 0) {
		fprintf(stderr, "%s: %d file descriptors before, %d after\n", t->name, before,
		        before + leaked);
		return 1;
	}
	return 0;
}

/* cmocka does not tell a skipped test by its result: read what it printed. */
static bool said_skipped(int fd)
{
	char buf[65536];
	ssize_t n;
	bool skipped = false;
	size_t keep = 0;

	while ((n = read(fd, buf + keep, sizeof(buf) - 1 - keep)) > 0) {
		size_t have = keep + (size_t)n;

		buf[have] = '\0';
		if (write(1, buf + keep, (size_t)n) < 0)
			break;
		if (memmem(buf, have, "[  SKIPPED ]", 12))
			skipped = true;
		keep = CF_MIN(have, (size_t)16);
		memmove(buf, buf + have - keep, keep);
	}
	return skipped;
}

static int run_forked(const struct cf_test *t, const char *self)
{
	int out[2], status;

	fflush(stdout);
	if (pipe(out) < 0)
		return 1;
	pid_t pid = fork();
	if (pid == 0) {
		dup2(out[1], 1);
		dup2(out[1], 2);
		close(out[0]);
		close(out[1]);
		setpgid(0, 0);
		exit(run_one(t));
	}
	close(out[1]);
	bool skipped = said_skipped(out[0]);
	close(out[0]);
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return skipped ? EXIT_SKIPPED : 0;
	kill(-pid, SIGKILL);
	if (WIFSIGNALED(status))
		printf("%s: killed by signal %d (%s)\n", t->name, WTERMSIG(status),
		       WTERMSIG(status) == SIGALRM ? "it took too long"
		                                   : strsignal(WTERMSIG(status)));
	printf("%s:%d: %s FAILED; again: %s %s\n", t->file, t->line, t->name, self, t->name);
	return 1;
}

int main(int argc, char **argv)
{
	size_t ran = 0, failed = 0, skipped = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	for (struct cf_test *t = tests; t; t = t->next) {
		if (argc > 1 && !cf_streq(argv[1], t->name))
			continue;
		int r = run_forked(t, argv[0]);
		ran++;
		failed += r == 1;
		skipped += r == EXIT_SKIPPED;
	}
	printf("%zu tests, %zu failed, %zu skipped\n", ran, failed, skipped);
	if (ran == 0 || failed)
		return 1;
	return skipped == ran ? EXIT_SKIPPED : 0;
}
