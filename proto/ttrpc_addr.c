/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "base/str.h"
#include "proto/ttrpc.h"
#include "proto/vserial.h"

#include <errno.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG         128
#define RETRY_MS        10 /* between tries while the peer is not there yet */
#define HVSOCK_LINE_MAX 64u

enum scheme { SCHEME_UNIX, SCHEME_VSOCK, SCHEME_HVSOCK, SCHEME_FD, SCHEME_VSERIAL };

struct address {
	enum scheme scheme;
	char *path;    /* unix, hvsock; owned */
	uint32_t cid;  /* vsock */
	uint32_t port; /* vsock, hvsock */
	int fd;
};

static void address_fini(struct address *a)
{
	free(a->path);
}

static int bad_address(const char *text, struct cf_err *err)
{
	return cf_fail(
		err, CF_INVALID_ARGUMENT,
		"address %s: want unix:///path, vsock://CID:PORT, hvsock:///path:PORT or fd://N",
		text);
}

static int parse_port(const char *text, uint32_t *ret, struct cf_err *err)
{
	uint64_t v;
	int r = cf_parse_u64(cf_view_str(text), UINT32_MAX, &v, err);

	if (r == 0)
		*ret = (uint32_t)v;
	return r;
}

/* "HEAD:PORT": splits at the last colon; *ret_head is the caller's. */
static int split_port(const char *rest, char **ret_head, uint32_t *ret_port, struct cf_err *err)
{
	const char *colon = strrchr(rest, ':');

	if (!colon)
		return cf_fail(err, CF_INVALID_ARGUMENT, "no port in %s", rest);
	int r = parse_port(colon + 1, ret_port, err);

	if (r == 0)
		*ret_head = cf_strndup(rest, (size_t)(colon - rest));
	return r;
}

static int parse_vsock(const char *rest, struct address *ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *cid = NULL;
	int r = split_port(rest, &cid, &ret->port, err);

	ret->scheme = SCHEME_VSOCK;
	ret->cid = VMADDR_CID_ANY;
	if (r < 0 || cf_streq(cid, "-1") || cf_streq(cid, ""))
		return r;
	return parse_port(cid, &ret->cid, err);
}

static const char *unix_rest(const char *text)
{
	static const char *const schemes[] = { "unix://", "remote://", "mock://" };

	for (size_t i = 0; i < CF_ARRAY_LEN(schemes); i++)
		if (cf_after(text, schemes[i]))
			return cf_after(text, schemes[i]);
	return text[0] == '/' ? text : NULL;
}

static int address_parse(const char *text, struct address *ret, struct cf_err *err)
{
	const char *rest;
	uint32_t n;

	ret->fd = -1;
	if ((rest = cf_after(text, "vsock://")))
		return parse_vsock(rest, ret, err);
	if ((rest = cf_after(text, "hvsock://"))) {
		ret->scheme = SCHEME_HVSOCK;
		return split_port(rest, &ret->path, &ret->port, err);
	}
	if ((rest = cf_after(text, "fd://"))) {
		int r = parse_port(rest, &n, err);

		ret->scheme = SCHEME_FD;
		ret->fd = r == 0 ? (int)CF_MIN(n, (uint32_t)INT32_MAX) : -1;
		return r;
	}
	if ((rest = cf_after(text, "virtio-serial:")) && cf_after(rest, "//"))
		rest = cf_after(rest, "//");
	if (rest && rest[0] == '/') {
		ret->scheme = SCHEME_VSERIAL;
		ret->path = cf_strdup(rest);
		return 0;
	}
	rest = unix_rest(text);
	if (!rest || !rest[0])
		return bad_address(text, err);
	ret->scheme = SCHEME_UNIX;
	ret->path = cf_strdup(rest);
	return 0;
}

static int vsock_socket(const struct address *a, struct sockaddr_vm *sa, struct cf_err *err)
{
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return cf_fail_errno(err, errno, "vsock");
	*sa = (struct sockaddr_vm){ .svm_family = AF_VSOCK,
		                    .svm_cid = a->cid,
		                    .svm_port = a->port };
	return fd;
}

static int listen_vsock(const struct address *a, struct cf_err *err)
{
	struct sockaddr_vm sa;
	cf_cleanup(cf_closep) int fd = vsock_socket(a, &sa, err);

	if (fd < 0)
		return fd;
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, BACKLOG) < 0)
		return cf_fail_errno(err, errno, "listen on vsock port %u", a->port);
	return cf_take_fd(&fd);
}

static int inherited(int fd, struct cf_err *err)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (copy < 0)
		return cf_fail_errno(err, errno, "inherited fd %d", fd);
	close(fd); /* it was given to us to use */
	return copy;
}

int ttrpc_listen_fd(const char *address, struct cf_err *err)
{
	cf_cleanup(address_fini) struct address a = { 0 };
	int r = address_parse(address, &a, err);

	if (r < 0)
		return r;
	switch (a.scheme) {
	case SCHEME_UNIX:
		return cf_listen_unix(a.path, err);
	case SCHEME_VSOCK:
		return listen_vsock(&a, err);
	case SCHEME_FD:
		return inherited(a.fd, err);
	case SCHEME_HVSOCK:
	case SCHEME_VSERIAL: /* ttrpc_server_listen() opens the port itself */
		break;
	}
	return cf_fail(err, CF_INVALID_ARGUMENT, "cannot listen on %s", address);
}

/* ---- dialling ---- */

static int dial_vsock(const struct address *a, struct cf_err *err)
{
	struct sockaddr_vm sa;
	cf_cleanup(cf_closep) int fd = vsock_socket(a, &sa, err);

	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return cf_fail_errno(err, errno, "connect to vsock %u:%u", a->cid, a->port);
	return cf_take_fd(&fd);
}

/* One line, byte by byte: what follows it belongs to ttrpc. */
static int read_line(int fd, char *line, size_t size, int64_t deadline_ms, struct cf_err *err)
{
	for (size_t n = 0; n + 1 < size; n++) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int64_t left = deadline_ms - cf_now_ms();

		if (left <= 0 || poll(&p, 1, (int)CF_MIN(left, INT32_MAX)) == 0)
			return cf_fail(err, CF_DEADLINE_EXCEEDED, "hybrid vsock: no answer");
		if (read(fd, line + n, 1) != 1)
			return cf_fail(err, CF_UNAVAILABLE, "hybrid vsock: connection closed");
		line[n + 1] = '\0';
		if (line[n] == '\n')
			return 0;
	}
	return cf_fail(err, CF_INVALID_ARGUMENT, "hybrid vsock: answer is too long");
}

static int dial_hvsock(const struct address *a, int64_t deadline_ms, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = cf_connect_unix(a->path, err);
	cf_cleanup(cf_freep) char *hello = cf_asprintf("CONNECT %u\n", a->port);
	char line[HVSOCK_LINE_MAX] = "";

	if (fd < 0)
		return fd;
	int r = cf_write_all(fd, cf_view_str(hello), err);

	if (r == 0)
		r = read_line(fd, line, sizeof(line), deadline_ms, err);
	if (r < 0)
		return r;
	if (!cf_starts_with(line, "OK"))
		return cf_fail(err, CF_UNAVAILABLE, "hybrid vsock: port %u is refused", a->port);
	return cf_take_fd(&fd);
}

static int dial_once(const struct address *a, int64_t deadline_ms, struct cf_err *err)
{
	switch (a->scheme) {
	case SCHEME_UNIX:
		return cf_connect_unix(a->path, err);
	case SCHEME_VSOCK:
		return dial_vsock(a, err);
	case SCHEME_HVSOCK:
		return dial_hvsock(a, deadline_ms, err);
	case SCHEME_VSERIAL:
		return vserial_dial_fd(a->path, deadline_ms - cf_now_ms(), err);
	case SCHEME_FD:
		break;
	}
	return inherited(a->fd, err);
}

/* Worth another try: the peer is not up yet. */
static bool may_come(const struct address *a, int r)
{
	return a->scheme != SCHEME_FD &&
	       (r == -CF_NOT_FOUND || r == -CF_UNAVAILABLE || r == -CF_DEADLINE_EXCEEDED);
}

int ttrpc_dial_fd(const char *address, int64_t timeout_ms, struct cf_err *err)
{
	cf_cleanup(address_fini) struct address a = { 0 };
	int r = address_parse(address, &a, err);
	int64_t deadline_ms = cf_now_ms() + timeout_ms;

	if (r < 0)
		return r;
	for (;;) {
		r = dial_once(&a, deadline_ms, err);
		if (r >= 0 || !may_come(&a, r) || cf_now_ms() >= deadline_ms)
			return r < 0 ? cf_wrap(err, r, "dial %s", address) : r;
		poll(NULL, 0, (int)CF_MIN((int64_t)RETRY_MS, deadline_ms - cf_now_ms()));
	}
}
