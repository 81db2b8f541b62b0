/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/guest/guest_oom.h"

#include "base/fd.h"
#include "base/str.h"
#include "vmm-glue/guest/guest_stats.h"

#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#define EVENTS_MAX 4096u

struct guest_oom {
	struct cf_event *ev;
	int fd; /* inotify or eventfd */
	bool is_v2;
	char *events; /* the file with the counter */
	uint64_t kills;
	void (*fn)(void *arg);
	void *arg;
};

static uint64_t count_kills(const char *path)
{
	struct cf_buf text = { .max = EVENTS_MAX };
	uint64_t n = 0;

	if (cf_read_file(path, EVENTS_MAX - 1, &text, NULL) == 0)
		n = guest_stats_key(cf_buf_view(&text), "oom_kill");
	cf_buf_fini(&text);
	return n;
}

static void on_change(int fd, unsigned what, void *arg)
{
	struct guest_oom *o = arg;
	uint8_t junk[4096];
	uint64_t kills;

	(void)what;
	if (read(fd, junk, sizeof(junk)) <= 0)
		return;
	if (!o->is_v2) {
		/* Told just before the kill; also when the cgroup goes, but then its file is gone. */
		if (access(o->events, F_OK) == 0)
			o->fn(o->arg);
		return;
	}
	kills = count_kills(o->events);
	if (kills <= o->kills)
		return;
	o->kills = kills;
	o->fn(o->arg);
}

static int watch_v2(const char *events)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (fd >= 0 && inotify_add_watch(fd, events, IN_MODIFY) < 0)
		cf_close(&fd);
	return fd;
}

static int watch_v1(const char *dir, const char *events)
{
	cf_cleanup(cf_freep) char *control = cf_asprintf("%s/cgroup.event_control", dir);
	cf_cleanup(cf_closep) int source = open(events, O_RDONLY | O_CLOEXEC);
	cf_cleanup(cf_closep) int out = open(control, O_WRONLY | O_CLOEXEC);
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	char line[32];
	int n;

	if (fd < 0 || source < 0 || out < 0) {
		cf_close(&fd);
		return -1;
	}
	n = snprintf(line, sizeof(line), "%d %d", fd, source);
	if (write(out, line, (size_t)n) != n)
		cf_close(&fd);
	return fd;
}

struct guest_oom *guest_oom_watch(struct cf_loop *loop, const char *cgroup_root, const char *path,
                                  void (*fn)(void *arg), void *arg)
{
	cf_cleanup(cf_freep) char *v2 = cf_asprintf("%s%s/memory.events", cgroup_root, path);
	cf_cleanup(cf_freep) char *dir = cf_asprintf("%s/memory%s", cgroup_root, path);
	cf_cleanup(cf_freep) char *v1 = cf_asprintf("%s/memory.oom_control", dir);
	bool is_v2 = access(v2, R_OK) == 0;
	struct guest_oom *o;
	int fd = is_v2 ? watch_v2(v2) : watch_v1(dir, v1);

	if (fd < 0)
		return NULL;
	o = cf_zalloc(sizeof(*o));
	o->fd = fd;
	o->is_v2 = is_v2;
	o->events = cf_strdup(is_v2 ? v2 : v1);
	o->fn = fn;
	o->arg = arg;
	o->ev = cf_loop_fd(loop, fd, CF_LOOP_READ, on_change, o);
	return o;
}

struct guest_oom *guest_oom_free(struct guest_oom *o)
{
	if (!o)
		return NULL;
	cf_event_free(o->ev);
	cf_close(&o->fd);
	free(o->events);
	free(o);
	return NULL;
}
