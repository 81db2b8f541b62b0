/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A software TPM for tests: swtpm on two loopback ports, with an EK certificate of a CA of its own.
 * The state is made once per build and copied, so a test has a TPM within a tenth of a second. Every
 * start is a fresh power-on: all PCRs are zero.
 */
#include "base/fd.h"
#include "tests/harness/test.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct swtpm {
	pid_t pid;
	char *dir;     /* ca/issuercert.pem, ca/swtpm-localca-rootca-cert.pem, state/ */
	char *address; /* for --tpm-device */
	uint16_t port;
};

static inline int swtpm_run(char *const argv[])
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Makes the state that tests copy; one process at a time. */
static inline char *swtpm_template(void)
{
	const char *bin = getenv("COFFER_BIN");
	char *dir = cf_asprintf("%s/../swtpm-template", bin ? bin : "build/dev/bin");
	cf_cleanup(cf_freep) char *lock = cf_asprintf("%s.lock", dir);
	cf_cleanup(cf_freep) char *script = cf_test_source("tests/harness/make_swtpm.sh");
	char *argv[] = { script, dir, NULL };
	int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	EXPECT(fd >= 0 && flock(fd, LOCK_EX) == 0);
	EXPECT_INT(swtpm_run(argv), 0);
	close(fd);
	return dir;
}

static inline bool swtpm_port_is_free(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		                 .sin_port = htons(port),
		                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool is_free = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;

	close(fd);
	return is_free;
}

/* False: it ended, or is silent for seconds (then it is ended). */
static inline bool swtpm_answers(pid_t pid, uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		                 .sin_port = htons(port),
		                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	for (int i = 0; i < 500; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		bool there = connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;

		close(fd);
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return false;
		if (there)
			return true;
		poll(NULL, 0, 10);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return false;
}

static inline bool swtpm_try_power_on(struct swtpm *t)
{
	for (int i = 0; i < 100; i++) {
		t->port = (uint16_t)(20000 +
		                     (getpid() * 7 + i * 2 + rand() % 1000 * 2) % 20000 / 2 * 2);
		if (swtpm_port_is_free(t->port) && swtpm_port_is_free(t->port + 1))
			break;
	}

	cf_cleanup(cf_freep) char *state = cf_asprintf("dir=%s/state", t->dir);
	cf_cleanup(cf_freep) char *server =
		cf_asprintf("type=tcp,port=%u,bindaddr=127.0.0.1", t->port);
	cf_cleanup(cf_freep) char *ctrl =
		cf_asprintf("type=tcp,port=%u,bindaddr=127.0.0.1", t->port + 1);

	t->pid = fork();
	if (t->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execlp("swtpm", "swtpm", "socket", "--tpm2", "--tpmstate", state, "--server",
		       server, "--ctrl", ctrl, "--flags", "not-need-init,startup-clear", NULL);
		_exit(127);
	}
	if (!swtpm_answers(t->pid, t->port + 1))
		return false;
	free(t->address);
	t->address = cf_asprintf("swtpm:host=127.0.0.1,port=%u", t->port);
	return true;
}

/* Somebody else may take a port between our look and swtpm's bind: then another one. */
static inline void swtpm_power_on(struct swtpm *t)
{
	for (int i = 0; i < 5; i++)
		if (swtpm_try_power_on(t))
			return;
	EXPECT(!"swtpm does not start");
}

static inline void swtpm_power_off(struct swtpm *t)
{
	kill(t->pid, SIGTERM);
	waitpid(t->pid, NULL, 0);
	t->pid = 0;
}

/* Skips the test, saying so, when swtpm is not installed. */
static inline struct swtpm swtpm_start(void)
{
	char *probe[] = { "sh", "-c", "command -v swtpm swtpm_setup swtpm_localca >/dev/null",
		          NULL };
	struct swtpm t = { 0 };

	/* tpm2-tss would comment on every answer that a test provokes. */
	setenv("TSS2_LOG", "all+NONE", 0);
	if (swtpm_run(probe) != 0)
		SKIP("swtpm is not installed");
	cf_cleanup(cf_freep) char *from = swtpm_template();
	t.dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *all = cf_asprintf("%s/.", from);
	char *copy[] = { "cp", "-a", all, t.dir, NULL };
	EXPECT_INT(swtpm_run(copy), 0);
	srand((unsigned)getpid());
	swtpm_power_on(&t);
	return t;
}

static inline void swtpm_stop(struct swtpm *t)
{
	swtpm_power_off(t);
	free(t->dir);
	free(t->address);
	*t = (struct swtpm){ 0 };
}
