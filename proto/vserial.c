/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/vserial.h"

#include "base/fd.h"
#include "base/loop.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#define RETRY_MS 10 /* between tries to reach a chardev that is not there yet */

static const char mark_text[] = VSERIAL_MARK;

/*
 * One step of the search. The mark's only inner likeness to its own beginning is its seventh byte,
 * a C again: after seven matches a mismatch may go on as the second byte of another mark.
 */
static unsigned step(unsigned matched, uint8_t b)
{
	if (b == (uint8_t)mark_text[matched])
		return matched + 1;
	if (matched == 7 && b == (uint8_t)mark_text[1])
		return 2;
	return b == (uint8_t)mark_text[0];
}

size_t vserial_sync_feed(struct vserial_sync *s, struct cf_view in, bool *ret_synced)
{
	size_t i = 0;

	while (i < in.size && s->matched < VSERIAL_MARK_BYTES)
		s->matched = step(s->matched, in.data[i++]);
	*ret_synced = s->matched == VSERIAL_MARK_BYTES;
	if (*ret_synced)
		s->matched = 0;
	return i;
}

static int connect_by(const char *path, int64_t deadline_ms, struct cf_err *err)
{
	for (;;) {
		int fd = cf_connect_unix(path, err);

		if (fd >= 0 || cf_now_ms() >= deadline_ms ||
		    (fd != -CF_NOT_FOUND && fd != -CF_UNAVAILABLE))
			return fd;
		poll(NULL, 0, RETRY_MS);
	}
}

/* Waits at most VSERIAL_REPEAT_MS for input. 1: there is some; 0: not yet; negative: too late. */
static int wait_input(int fd, int64_t deadline_ms, struct cf_err *err)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int64_t left = deadline_ms - cf_now_ms();

	if (left <= 0)
		return cf_fail(err, CF_DEADLINE_EXCEEDED,
		               "virtio-serial: the guest does not answer");
	int n = poll(&p, 1, (int)CF_MIN(left, (int64_t)VSERIAL_REPEAT_MS));

	return n > 0;
}

/* Takes bytes off the socket up to the end of the mark and not one further. */
static int read_mark(int fd, struct vserial_sync *s, bool *ret_synced, struct cf_err *err)
{
	uint8_t buf[512];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return cf_fail(err, CF_UNAVAILABLE, "virtio-serial: the machine closed the port");
	size_t used = vserial_sync_feed(s, cf_view(buf, (size_t)n), ret_synced);

	if (recv(fd, buf, used, MSG_DONTWAIT) != (ssize_t)used)
		return cf_fail(err, CF_UNAVAILABLE, "virtio-serial: the port lost bytes");
	return 0;
}

int vserial_dial_fd(const char *path, int64_t timeout_ms, struct cf_err *err)
{
	static const struct cf_view mark = CF_VIEW_LIT(VSERIAL_MARK);
	int64_t deadline_ms = cf_now_ms() + timeout_ms;
	cf_cleanup(cf_closep) int fd = connect_by(path, deadline_ms, err);
	struct vserial_sync sync = { 0 };
	bool is_synced = false, is_due = true;

	if (fd < 0)
		return fd;
	while (!is_synced) {
		int r = is_due ? cf_write_all(fd, mark, err) : 0;

		if (r == 0)
			r = wait_input(fd, deadline_ms, err);
		is_due = r == 0;
		if (r > 0)
			r = read_mark(fd, &sync, &is_synced, err);
		if (r < 0)
			return r;
	}
	return cf_take_fd(&fd);
}
