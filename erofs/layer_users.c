/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/layer_users.h"

#include "base/fd.h"
#include "base/loop.h"
#include "erofs/layer_child.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MEMORY_MAX (512ull << 20) /* libzstd takes 128 MiB for the largest window */
/* Packets of an honest process: two texts in pieces, two ends, one last word. */
#define PACKETS_MAX 32u

struct layer_users {
	struct layer_child child;
	int blob; /* our end of a socket pair */
};

int layer_users_new(struct layer_users **ret, struct cf_err *err)
{
	cf_cleanup(layer_users_freep) struct layer_users *u = cf_zalloc(sizeof(*u));
	int pair[2];
	int r = cf_socketpair(SOCK_STREAM, pair, err);

	u->child = (struct layer_child){ .what = "users of a layer", .control = -1 };
	u->blob = -1;
	if (r < 0)
		return r;
	u->blob = pair[0];
	r = layer_child_start(&u->child, LAYER_HELPER_USERS, NULL, &pair[1], 1, MEMORY_MAX, err);
	cf_close(&pair[1]);
	if (r < 0)
		return r;
	*ret = cf_take(&u);
	return 0;
}

struct layer_users *layer_users_free(struct layer_users *u)
{
	if (!u)
		return NULL;
	layer_child_reap(&u->child, NULL);
	cf_close(&u->blob);
	free(u);
	return NULL;
}

void layer_users_found_fini(struct layer_users_found *f)
{
	for (size_t i = 0; i < LAYER_USERS_FILES; i++)
		cf_buf_fini(&f->text[i]);
	*f = (struct layer_users_found){ 0 };
}

static int wait_for(int fd, short events, struct cf_err *err)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n;

	do
		n = poll(&p, 1, LAYER_USERS_WAIT_MS);
	while (n < 0 && errno == EINTR);
	return n > 0 ? 0 : cf_fail(err, CF_DEADLINE_EXCEEDED, "users of a layer: it hangs");
}

int layer_users_feed(struct layer_users *u, struct cf_view blob, struct cf_err *err)
{
	while (blob.size) {
		int r = wait_for(u->blob, POLLOUT, err);
		ssize_t n;

		if (r < 0)
			return r;
		n = send(u->blob, blob.data, blob.size, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			return LAYER_USERS_E_ENOUGH; /* it has ended; why, it says itself */
		blob = cf_view_sub(blob, (size_t)n, blob.size);
	}
	return 0;
}

/* 1: that was the last word. Which file a packet is about stands in its size. */
static int take_packet(struct layer_users *u, struct layer_users_found *to, struct cf_err *err)
{
	struct layer_msg m;
	size_t payload;
	int r = wait_for(u->child.control, POLLIN, err);

	if (r == 0)
		r = layer_msg_take(u->child.control, &m, &payload, err);
	if (r < 0)
		return r;
	if (r == 0)
		return layer_child_gone(&u->child, err);
	if (m.kind == LAYER_MSG_FAILED)
		return layer_child_failed(&u->child, &m, payload, err);
	if (m.kind == LAYER_MSG_DONE)
		return 1;
	if (m.kind != LAYER_MSG_DATA || m.size >= LAYER_USERS_FILES ||
	    to->text[m.size].size + payload > LAYER_USERS_TEXT_MAX)
		return layer_child_nonsense(&u->child, err);
	to->is_there[m.size] = true;
	cf_buf_add(&to->text[m.size], m.payload, payload);
	return 0;
}

int layer_users_finish(struct layer_users *u, struct layer_users_found *ret, struct cf_err *err)
{
	struct layer_users_found found = { 0 };
	int r = 0;

	shutdown(u->blob, SHUT_WR);
	for (unsigned i = 0; r == 0 && i < PACKETS_MAX; i++)
		r = take_packet(u, &found, err);
	if (r == 0)
		r = layer_child_nonsense(&u->child, err);
	if (r < 0) {
		layer_users_found_fini(&found);
		return r;
	}
	*ret = found;
	return 0;
}
