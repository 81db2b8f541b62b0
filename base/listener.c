/* SPDX-License-Identifier: Apache-2.0 */
#include "base/listener.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_PER_EVENT 16

struct cf_listener {
	int fd, spare; /* the spare descriptor is given up to refuse a peer when there is no other */
	char *unlink_path;
	struct cf_event *ev;
	cf_listener_conn_fn *fn;
	void *user;
	struct cf_listener *next;
};

static int spare_fd(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void refuse_one(struct cf_listener *l)
{
	if (l->spare < 0)
		return;
	cf_close(&l->spare);
	int conn = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);

	if (conn >= 0)
		close(conn);
	l->spare = spare_fd();
}

static void on_readable(int fd, unsigned what, void *arg)
{
	struct cf_listener *l = arg;

	(void)what;
	for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
		int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (conn >= 0)
			l->fn(l->user, conn);
		else if (errno == EMFILE || errno == ENFILE)
			refuse_one(l);
		else if (errno != ECONNABORTED)
			return;
	}
}

int cf_listener_add(struct cf_listener **list, struct cf_loop *loop, int fd_take,
                    const char *unlink_path, cf_listener_conn_fn *fn, void *user,
                    struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = fd_take;
	int e = cf_set_nonblock(fd, true);

	if (e < 0)
		return cf_fail_errno(err, -e, "listening socket");
	struct cf_listener *l = cf_zalloc(sizeof(*l));

	*l = (struct cf_listener){
		.fd = cf_take_fd(&fd),
		.spare = spare_fd(),
		.unlink_path = unlink_path ? cf_strdup(unlink_path) : NULL,
		.fn = fn,
		.user = user,
		.next = *list,
	};
	l->ev = cf_loop_fd(loop, l->fd, CF_LOOP_READ, on_readable, l);
	*list = l;
	return 0;
}

void cf_listeners_close(struct cf_listener **list)
{
	while (*list) {
		struct cf_listener *l = *list;

		*list = l->next;
		cf_event_free(l->ev);
		if (l->unlink_path)
			unlink(l->unlink_path);
		cf_close(&l->fd);
		cf_close(&l->spare);
		free(l->unlink_path);
		free(l);
	}
}
