/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "base/proc.h"
#include "base/sd.h"
#include "proto/rpc_grpc.h"
#include "snapshotter/snap_control.h"
#include "snapshotter/snap_fsck.h"
#include "snapshotter/snap_watch.h"
#include "snapshotter/snap_worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define POOL_THREADS  6    /* handlers that wait for the disk; they share its syncs */
#define DRAIN_MS      4000 /* calls in flight may end */
#define LOST_DRAIN_MS 200  /* the same where nothing of it is kept */
#define LAST_SECONDS  1    /* then core's own clean-up may take this long */
#define EXIT_USAGE    2
#define SETTLE_MS     20 /* from listening; whoever waits for the socket comes first */

#define CONTROL_SOCKET "system.sock" /* as nydus-snapshotter names it */

struct daemon {
	struct snap_config config;
	struct cf_loop *loop;
	struct cf_event *term, *intr, *settle;
	pthread_t settler;
	bool has_settler;
	struct snap_instances instances;
	struct snap_metrics *metrics;
	struct snap_control *control;
	struct rpc_grpc_server *server;
	struct snap_watch *watch;
	bool is_state_lost, is_failed;
	int control_fd; /* passed by the service manager; -1: none */
};

static void on_answered(const char *service, const char *method, enum cf_code code, int64_t us,
                        void *user)
{
	struct daemon *d = user;

	(void)service;
	snap_metrics_call(d->metrics, method, code, us);
}

static bool is_allowed(const struct rpc_peer *peer, void *user)
{
	const struct daemon *d = user;

	return peer->uid == 0 || peer->uid == geteuid() || peer->uid == d->config.uid;
}

/* ---- sockets ---- */

static int give_to(const char *path, uid_t uid, gid_t gid, struct cf_err *err)
{
	if ((uid || gid) && chown(path, uid, gid) < 0)
		return cf_fail_errno(err, errno, "owner of %s", path);
	return 0;
}

static int make_dir_of(const char *path, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *dir = cf_strdup(path);
	char *slash = strrchr(dir, '/');

	if (!slash || slash == dir)
		return 0;
	*slash = '\0';
	return cf_mkdir_p(dir, 0700, err);
}

static bool is_control(const char *name)
{
	return cf_streq(name, "control") || cf_streq(name, "system") ||
	       cf_ends_with(name, "-control.socket");
}

/* *ret: how many were passed for containerd. */
static int take_passed(struct daemon *d, unsigned *ret, struct cf_err *err)
{
	cf_cleanup(cf_strv_fini) struct cf_strv names = { 0 };
	int given = cf_sd_listen_named(&names);
	int r = 0;

	*ret = 0;
	for (int i = 0; r == 0 && i < given; i++) {
		int fd = CF_SD_FIRST_FD + i;

		if (d->control_fd < 0 && is_control(names.items[i])) {
			d->control_fd = fd;
			continue;
		}
		r = rpc_grpc_server_add_listener(d->server, fd, err);
		(*ret)++;
	}
	return r;
}

static int listen_all(struct daemon *d, struct cf_err *err)
{
	const struct snap_config *c = &d->config;
	unsigned passed;
	int r = take_passed(d, &passed, err);

	if (r < 0 || passed)
		return r;
	r = make_dir_of(c->address, err);
	if (r == 0)
		r = rpc_grpc_server_listen(d->server, c->address, err);
	return r < 0 ? r : give_to(c->address, c->uid, c->gid, err);
}

static char *control_path(const struct snap_config *c)
{
	const char *slash = strrchr(c->address, '/');

	if (c->control || !slash)
		return cf_strdup(c->control);
	return cf_asprintf("%.*s/" CONTROL_SOCKET, (int)(slash - c->address), c->address);
}

/* The control socket is for people and monitoring: without being asked for it, it may be missing. */
static int open_control(struct daemon *d, struct cf_err *err)
{
	const struct snap_config *c = &d->config;
	bool is_passed = d->control_fd >= 0;
	cf_cleanup(cf_freep) char *path = is_passed || c->is_control_off ? NULL : control_path(c);
	struct snap_control_opts opts = { .loop = d->loop,
		                          .instances = &d->instances,
		                          .metrics = d->metrics,
		                          .config = c,
		                          .path = path,
		                          .listen_fd = d->control_fd };
	int r = path ? make_dir_of(path, err) : 0;

	d->control_fd = -1;
	if (r == 0)
		r = snap_control_new(&opts, &d->control, err);
	if (r == 0 && path)
		r = give_to(path, c->control_uid, c->control_gid, err);
	if (r == 0 || c->control || c->metrics || is_passed)
		return r;
	cf_log_warn("no control socket", CF_F_STR("why", err->msg));
	return 0;
}

/* ---- start ---- */

static void on_signal(int signo, void *arg)
{
	struct daemon *d = arg;

	(void)signo;
	cf_loop_stop(d->loop);
}

/* Only a new start can make it good; whoever manages services sees to that. */
static void on_lost(const char *root, const char *what, void *user)
{
	struct daemon *d = user;

	cf_log_error("the state was taken away while in use: ending, to be started anew",
	             CF_F_STR("root", root), CF_F_STR("what", what[0] ? what : "all"));
	d->is_state_lost = true;
	cf_loop_stop(d->loop);
}

static void watch_state(struct daemon *d)
{
	struct cf_err err;
	int r = snap_watch_new(d->loop, on_lost, d, &d->watch, &err);

	for (size_t i = 0; r == 0 && i < d->config.instance_count; i++)
		r = snap_watch_add(d->watch, d->config.instances[i].root, &err);
	if (r < 0)
		cf_log_warn("nobody will notice when the state is taken away",
		            CF_F_STR("why", err.msg));
}

static int serve(struct daemon *d, struct cf_err *err)
{
	struct rpc_grpc_server_opts opts = {
		.threads = POOL_THREADS,
		.services = d->instances.services,
		.service_count = d->instances.service_count,
		.allow = is_allowed,
		.answered = on_answered,
		.user = d,
	};
	int r = cf_loop_new(&d->loop, err);

	if (r < 0)
		return r;
	d->term = cf_loop_signal(d->loop, SIGTERM, on_signal, d);
	d->intr = cf_loop_signal(d->loop, SIGINT, on_signal, d);
	watch_state(d);
	opts.loop = d->loop;
	r = rpc_grpc_server_new(&opts, &d->server, err);
	return r < 0 ? r : listen_all(d, err);
}

/* ---- ready ---- */

static void say_ready(struct daemon *d)
{
	size_t n = 0;

	for (size_t i = 0; i < d->instances.count; i++)
		n += snap_store_count(d->instances.items[i].service.store);
	cf_log_info("ready", CF_F_STR("address", d->config.address),
	            CF_F_STR("root", d->config.root), CF_F_UINT("instances", d->instances.count),
	            CF_F_UINT("snapshots", n));
	cf_sd_notify("READY=1");
}

static int get_ready(struct daemon *d, struct cf_err *err)
{
	int r = snap_instances_settle(&d->instances, err);

	if (r == 0)
		r = open_control(d, err);
	if (r == 0)
		say_ready(d);
	return r;
}

static void on_settled(void *arg)
{
	struct daemon *d = arg;
	struct cf_err err;

	if (get_ready(d, &err) == 0)
		return;
	cf_log_error("cannot start", CF_F_STR("why", err.msg));
	d->is_failed = true;
	cf_loop_stop(d->loop);
}

static void *settler_main(void *arg)
{
	struct daemon *d = arg;
	struct cf_err err;

	(void)!snap_instances_settle(&d->instances, &err);
	cf_loop_post(d->loop, on_settled, d);
	return NULL;
}

/* Not on the loop's thread: it accepts. */
static void on_settle(void *arg)
{
	struct daemon *d = arg;

	d->has_settler = pthread_create(&d->settler, NULL, settler_main, d) == 0;
	if (!d->has_settler)
		on_settled(d);
}

static int settle(struct daemon *d, struct cf_err *err)
{
	if (snap_instances_are_settled(&d->instances))
		return get_ready(d, err);
	d->settle = cf_loop_timer(d->loop, SETTLE_MS, false, on_settle, d);
	return 0;
}

static bool is_program(const char *name)
{
	static const char *const dirs[] = { "/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
		                            "/usr/bin",        "/sbin",          "/bin" };

	if (name[0] == '/')
		return access(name, X_OK) == 0;
	for (size_t i = 0; i < CF_ARRAY_LEN(dirs); i++) {
		cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dirs[i], name);

		if (access(path, X_OK) == 0)
			return true;
	}
	return false;
}

/* containerd mounts each container's root once to look up its user: it runs mount.fuse for that. */
static void warn_missing(const struct snap_config *c)
{
	cf_cleanup(cf_freep) char *content = NULL;
	bool pulls = false;
	struct cf_err err;

	if (cf_proc_beside(SNAP_WORKER_PROGRAM, &content, &err) == 0 && access(content, X_OK) < 0)
		cf_log_warn("the differ and images need a program that is not here",
		            CF_F_STR("program", content));
	for (size_t i = 0; i < c->instance_count; i++)
		pulls = pulls || c->instances[i].mode == SNAP_MODE_GUEST_PULL;
	if (!pulls)
		return;
	if (!is_program("mount.fuse"))
		cf_log_warn("containerd will miss mount.fuse: install fuse3 (or fuse)");
	if (!is_program(c->helper))
		cf_log_warn("the mount helper is not in the usual places",
		            CF_F_STR("helper", c->helper));
}

/* ---- end ---- */

static void on_alarm(int signo)
{
	(void)signo;
	_exit(0); /* everything durable is on disk */
}

static void shut_down(struct daemon *d)
{
	if (d->server)
		rpc_grpc_server_stop(d->server, d->is_state_lost ? LOST_DRAIN_MS : DRAIN_MS);
	if (d->has_settler)
		pthread_join(d->settler, NULL);
	snap_metrics_flush_log(d->metrics);
	/* Directories that are still being deleted are taken up again by the next start. */
	signal(SIGALRM, on_alarm);
	alarm(LAST_SECONDS);
	snap_watch_free(d->watch);
	snap_control_free(d->control);
	snap_instances_close(&d->instances);
	rpc_grpc_server_free(d->server);
	snap_instances_fini(&d->instances);
	snap_metrics_free(d->metrics);
	cf_event_free(d->term);
	cf_event_free(d->intr);
	cf_event_free(d->settle);
	cf_loop_free(d->loop);
	snap_config_fini(&d->config);
	alarm(0);
}

static int start(struct daemon *d, struct cf_err *err)
{
	d->metrics = snap_metrics_new();
	int r = snap_instances_open(&d->config, &d->instances, err);

	if (r == 0)
		r = serve(d, err);
	return r < 0 ? r : settle(d, err);
}

int main(int argc, char **argv)
{
	struct daemon d = { .control_fd = -1 };
	struct cf_err err;

	cf_log_init("coffer-snapshotter");
	signal(SIGPIPE, SIG_IGN);
	if (argc > 1 && cf_streq(argv[1], "fsck"))
		return snap_fsck_main(argc - 1, argv + 1);
	int r = snap_config_read(argc, argv, &d.config, &err);

	if (r == SNAP_CONFIG_DONE)
		return 0;
	if (r < 0) {
		fprintf(stderr, "coffer-snapshotter: %s\n", err.msg);
		return EXIT_USAGE;
	}
	if (d.config.has_level)
		cf_log_set_level(d.config.level);
	warn_missing(&d.config);
	r = start(&d, &err);
	if (r < 0)
		cf_log_error("cannot start", CF_F_STR("why", err.msg));
	if (r == 0) {
		cf_loop_run(d.loop);
		cf_sd_notify("STOPPING=1");
	}
	shut_down(&d);
	return r < 0 || d.is_state_lost || d.is_failed ? 1 : 0;
}
