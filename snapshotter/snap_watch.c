/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_watch.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <sys/inotify.h>
#include <unistd.h>

#define EVENTS_SIZE 4096u /* bytes read at a time: more than one event with the longest name */

struct watched {
	int wd;
	const char *root;
	bool is_lost;
};

struct snap_watch {
	int fd;
	struct cf_event *event;
	void (*lost)(const char *root, const char *what, void *user);
	void *user;
	struct watched *items;
	size_t count, cap;
};

/* What this daemon holds open and nobody but it may replace. SQLite's -wal and -shm come and go. */
static bool is_ours(const char *name)
{
	static const char *const names[] = { "metadata.sqlite", "lock", "snapshots", "trash" };

	for (size_t i = 0; i < CF_ARRAY_LEN(names); i++)
		if (cf_streq(name, names[i]))
			return true;
	return false;
}

static void look_at(struct snap_watch *w, const struct inotify_event *e)
{
	const char *name = e->len ? e->name : "";
	bool is_self = e->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT);

	for (size_t i = 0; i < w->count; i++) {
		struct watched *x = &w->items[i];

		if (x->wd != e->wd || x->is_lost || !(is_self || is_ours(name)))
			continue;
		x->is_lost = true;
		w->lost(x->root, is_self ? "" : name, w->user);
	}
}

static void on_events(int fd, unsigned what, void *arg)
{
	_Alignas(struct inotify_event) char buf[EVENTS_SIZE];
	ssize_t n = read(fd, buf, sizeof(buf));
	struct snap_watch *w = arg;

	(void)what;
	for (ssize_t at = 0; n > 0 && at < n;) {
		const struct inotify_event *e = (const void *)(buf + at);

		look_at(w, e);
		at += (ssize_t)(sizeof(*e) + e->len);
	}
}

int snap_watch_new(struct cf_loop *loop,
                   void (*lost)(const char *root, const char *what, void *user), void *user,
                   struct snap_watch **ret, struct cf_err *err)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (fd < 0)
		return cf_fail_errno(err, errno, "inotify");
	struct snap_watch *w = cf_zalloc(sizeof(*w));

	*w = (struct snap_watch){ .fd = fd, .lost = lost, .user = user };
	w->event = cf_loop_fd(loop, fd, CF_LOOP_READ, on_events, w);
	*ret = w;
	return 0;
}

int snap_watch_add(struct snap_watch *w, const char *root, struct cf_err *err)
{
	int wd = inotify_add_watch(w->fd, root,
	                           IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF | IN_MOVE_SELF |
	                                   IN_ONLYDIR);

	if (wd < 0)
		return cf_fail_errno(err, errno, "watch %s", root);
	cf_grow(&w->items, &w->cap, w->count + 1);
	w->items[w->count++] = (struct watched){ .wd = wd, .root = root };
	return 0;
}

struct snap_watch *snap_watch_free(struct snap_watch *w)
{
	if (!w)
		return NULL;
	cf_event_free(w->event);
	cf_close(&w->fd);
	free(w->items);
	free(w);
	return NULL;
}
