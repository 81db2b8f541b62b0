/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/shim.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "vmm-glue/shim/socket_lease.h"

#include <signal.h>
#include <sys/inotify.h>
#include <unistd.h>

#define POOL_THREADS   4
#define POOL_QUEUE_MAX SHIM_TASKS_MAX
#define ORPHAN_CHECK_MS                                                                            \
	100000            /* containerd dials at once; who has no task and no bundle by then … */
#define END_FLUSH_MS  20  /* for the answer to Shutdown to leave the socket */
#define END_TRIES_MAX 100 /* × END_FLUSH_MS for the last events */

struct daemon_services {
	struct rpc_service v2, v3;
	const struct rpc_service *list[2];
};

static struct daemon_services services_of(struct shim *s)
{
	struct daemon_services d = {
		.v2 = { .name = "containerd.task.v2.Task",
		        .methods = shim_task_methods,
		        .method_count = shim_task_method_count,
		        .user = s },
	};

	d.v3 = d.v2;
	d.v3.name = "containerd.task.v3.Task"; /* the same messages */
	return d;
}

/* containerd removes the bundle without "delete" when its dial fails: nobody will ever come. */
static void check_orphan(void *arg)
{
	struct shim *s = arg;

	if (!s->tasks && access("config.json", F_OK) < 0) {
		cf_log_warn("no task and no bundle: ending");
		shim_end(s);
	}
}

static bool names_the_spec(const struct inotify_event *e)
{
	return e->len && cf_streq(e->name, "config.json");
}

/* Somebody removes the bundle: after the pod's end, or because its containerd was killed. */
static void on_bundle_changed(int fd, unsigned what, void *arg)
{
	_Alignas(struct inotify_event) char buf[4096];
	bool is_spec_gone = false;
	ssize_t n;

	(void)what;
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (const void *)(buf + at);

			is_spec_gone = is_spec_gone || names_the_spec(e);
			at += (ssize_t)(sizeof(*e) + e->len);
		}
	if (is_spec_gone)
		check_orphan(arg);
}

/* Without it the orphan's timer sees the same, only later. */
static void watch_bundle(struct shim *s)
{
	s->bundle_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (s->bundle_fd < 0 || inotify_add_watch(s->bundle_fd, ".", IN_DELETE) < 0)
		return;
	s->bundle_watch = cf_loop_fd(s->loop, s->bundle_fd, CF_LOOP_READ, on_bundle_changed, s);
}

static void on_ending(void *arg)
{
	struct shim *s = arg;

	if (!events_is_idle(s->events) && s->end_tries++ < END_TRIES_MAX) {
		cf_event_rearm(s->ending, END_FLUSH_MS);
		return;
	}
	s->ending = cf_event_free(s->ending);
	cf_loop_stop(s->loop);
}

static void wait_for_the_last(struct shim *s)
{
	s->ending = cf_loop_timer(s->loop, END_FLUSH_MS, false, on_ending, s);
}

static void on_sandbox_gone(void *arg)
{
	struct shim *s = arg;

	s->sandbox = sandbox_free(s->sandbox);
	wait_for_the_last(s);
}

void shim_end(struct shim *s)
{
	if (s->is_ending)
		return;
	s->is_ending = true;
	/* at once, so that a new pod of this name binds its own */
	if (s->socket_path) {
		(void)!unlink(s->socket_path);
		socket_lease_drop(SOCKET_LEASE_DIR, s->socket_path);
	}
	early_pull_pause(s->early);
	if (s->sandbox)
		sandbox_stop(s->sandbox, true, on_sandbox_gone, s);
	else
		wait_for_the_last(s);
}

static void on_term(int signo, void *arg)
{
	(void)signo;
	cf_log_info("terminated: ending the pod");
	shim_end(arg);
}

static int start_server(struct shim *s, int *listen_fd, struct cf_err *err)
{
	struct daemon_services *d = cf_zalloc(sizeof(*d));
	struct ttrpc_server_opts opts = { .loop = s->loop, .services = d->list };
	int r;

	*d = services_of(s);
	s->services = d;
	d->list[0] = &d->v2;
	d->list[1] = &d->v3;
	opts.service_count = CF_ARRAY_LEN(d->list);
	r = ttrpc_server_new(&opts, &s->server, err);
	if (r == 0)
		r = ttrpc_server_add_listener(s->server, cf_take_fd(listen_fd), err);
	return r;
}

int shim_new(const struct shim_daemon_opts *opts, struct shim **ret, struct cf_err *err)
{
	struct shim *s = cf_zalloc(sizeof(*s));
	int listen_fd = opts->listen_fd_take;
	int r;

	s->bundle_fd = -1;
	s->config = opts->config_take;
	s->ns = cf_strdup(opts->ns);
	s->id = cf_strdup(opts->id);
	s->socket_path = cf_strdup(opts->socket_path);
	r = cf_loop_new(&s->loop, err);
	if (r == 0)
		r = cf_work_new(POOL_THREADS, POOL_QUEUE_MAX, &s->work, err);
	if (r == 0) {
		s->events = events_new(s->loop, opts->events_address, opts->ns);
		r = start_server(s, &listen_fd, err);
	}
	cf_close(&listen_fd);
	if (r < 0) {
		shim_free(s);
		return r;
	}
	s->orphan = cf_loop_timer(s->loop, ORPHAN_CHECK_MS, true, check_orphan, s);
	watch_bundle(s);
	s->term = cf_loop_signal(s->loop, SIGTERM, on_term, s);
	*ret = s;
	return 0;
}

void shim_run(struct shim *s)
{
	cf_loop_run(s->loop);
}

struct shim *shim_free(struct shim *s)
{
	if (!s)
		return NULL;
	s->work = cf_work_free(s->work);
	while (s->tasks)
		task_remove(s->tasks);
	ttrpc_server_free(s->server);
	sandbox_free(s->sandbox);
	early_pull_free(s->early);
	pull_reports_free(s->reports);
	events_free(s->events);
	cf_event_free(s->orphan);
	cf_event_free(s->bundle_watch);
	cf_close(&s->bundle_fd);
	cf_event_free(s->ending);
	cf_event_free(s->term);
	cf_loop_free(s->loop);
	shim_config_free(s->config);
	free(s->services);
	free(s->ns);
	free(s->id);
	free(s->socket_path);
	free(s);
	return NULL;
}
