/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/layer_ipc.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static size_t pack(struct layer_msg *m, enum layer_msg_kind kind, uint32_t size,
                   struct cf_view payload)
{
	assert(payload.size <= sizeof(m->payload));
	m->kind = (uint32_t)kind;
	m->size = size;
	if (payload.size)
		memcpy(m->payload, payload.data, payload.size);
	return LAYER_MSG_HEAD + payload.size;
}

static int sent(ssize_t n, size_t bytes, struct cf_err *err)
{
	if (n < 0)
		return cf_fail_errno(err, errno, "layer: control");
	if ((size_t)n != bytes)
		return cf_fail(err, CF_INTERNAL, "layer: control: a packet was cut");
	return 0;
}

/* read() and write() on purpose: the sandbox knows no sendmsg(), so no fd can be passed. */
int layer_msg_send(int fd, enum layer_msg_kind kind, uint32_t size, struct cf_view payload,
                   struct cf_err *err)
{
	struct layer_msg m = { 0 };
	size_t bytes = pack(&m, kind, size, payload);
	ssize_t n;

	do
		n = write(fd, &m, bytes);
	while (n < 0 && errno == EINTR);
	return sent(n, bytes, err);
}

int layer_msg_post(int fd, enum layer_msg_kind kind, uint32_t size, struct cf_view payload,
                   struct cf_err *err)
{
	struct layer_msg m = { 0 };
	size_t bytes = pack(&m, kind, size, payload);
	ssize_t n;

	do
		n = send(fd, &m, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return cf_fail(err, CF_INTERNAL, "layer: control: the other side does not read");
	return sent(n, bytes, err);
}

int layer_msg_take(int fd, struct layer_msg *ret, size_t *ret_payload, struct cf_err *err)
{
	ssize_t n;

	/* A peer that left packets unread is reported once, ahead of what it sent; that is still due. */
	do
		n = read(fd, ret, sizeof(*ret));
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n == 0)
		return 0;
	if (n < 0)
		return cf_fail_errno(err, errno, "layer: control");
	if ((size_t)n < LAYER_MSG_HEAD)
		return cf_fail(err, CF_INTERNAL, "layer: control: a packet of %zd bytes", n);
	*ret_payload = (size_t)n - LAYER_MSG_HEAD;
	return 1;
}
