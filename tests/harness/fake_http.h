/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A web server for tests: a forked process on a loopback port that answers from a table, one
 * connection after the other, and writes down what it was asked. A path that stands in several rows
 * is answered by them in turn; the last row then repeats. A row's answer is the raw bytes.
 */
#include "base/fd.h"
#include "tests/harness/test.h"

#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct fake_route {
	const char *path;     /* exact request target */
	const char *response; /* raw bytes, status line first; "" closes the connection */
	size_t size;          /* 0: strlen(response) */
	bool drop;            /* close in the middle, as a reset connection would */
};

struct fake_http {
	pid_t pid;
	uint16_t port;
	char *log; /* path of the file of requests */
};

static inline void fake_http_answer(int fd, const struct fake_route *routes, size_t count,
                                    unsigned *hits, int log)
{
	char buf[16384];
	size_t n = 0;

	for (;;) {
		ssize_t got = read(fd, buf + n, sizeof(buf) - 1 - n);

		if (got <= 0)
			return;
		if (n == 0 && buf[0] == 0x16)
			return; /* somebody tries TLS first */
		n += (size_t)got;
		buf[n] = '\0';
		char *end = strstr(buf, "\r\n\r\n");

		if (!end)
			continue;
		(void)!write(log, buf, n);
		char *path = strchr(buf, ' ');
		char *stop = path ? strchr(path + 1, ' ') : NULL;

		if (!stop)
			return;
		*stop = '\0';
		const struct fake_route *hit = NULL;
		unsigned nth = 0;

		for (size_t i = 0; i < count; i++) {
			if (strcmp(routes[i].path, path + 1) != 0)
				continue;
			hit = &routes[i];
			if (nth++ == hits[i])
				break;
		}
		for (size_t i = 0; i < count && hit; i++) {
			if (strcmp(routes[i].path, path + 1) == 0)
				hits[i]++;
		}
		static const char none[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
		const char *resp = hit ? hit->response : none;
		size_t size = hit && hit->size ? hit->size : strlen(resp);

		(void)!write(fd, resp, size);
		return; /* one request a connection; the raw bytes say Connection: close or a length */
	}
}

static inline struct fake_http fake_http_start(const char *dir, const struct fake_route *routes,
                                               size_t count)
{
	struct fake_http f = { .log = cf_asprintf("%s/requests", dir) };
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	EXPECT(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 16) == 0);
	EXPECT(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	f.port = ntohs(a.sin_port);
	f.pid = fork();
	if (f.pid == 0) {
		unsigned hits[64] = { 0 };
		int log = open(f.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test must not leave it behind */
		signal(SIGPIPE, SIG_IGN);
		for (;;) {
			int c = accept(fd, NULL, NULL);

			if (c < 0)
				_exit(0);
			fake_http_answer(c, routes, count, hits, log);
			shutdown(c, SHUT_WR);
			close(c);
		}
	}
	close(fd);
	return f;
}

static inline void fake_http_stop(struct fake_http *f)
{
	kill(f->pid, SIGKILL);
	waitpid(f->pid, NULL, 0);
	free(f->log);
	f->log = NULL;
}

/* Everything it was asked so far, NUL-terminated; the caller ends with cf_buf_fini. */
static inline struct cf_buf fake_http_log(const struct fake_http *f)
{
	return cf_test_read(f->log);
}
