/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "base/sd.h"
#include "proto/rpc_grpc.h"
#include "snapshotter/snap_config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#define POOL_THREADS 6    /* handlers that wait for the disk; they share its syncs */
#define DRAIN_MS     5000 /* calls in flight may end */
#define LAST_SECONDS 1    /* then core's own clean-up may take this long */
#define EXIT_USAGE   2

struct daemon {
	struct snap_config config;
	int lock_fd;
	struct cf_loop *loop;
	struct cf_event *term, *intr;
	struct snap_service service;
	struct rpc_grpc_server *server;
};

/* ---- one line for each answered call ---- */

static bool is_change(const char *method)
{
	static const char *const reads[] = { "Stat", "Mounts", "List", "Usage", "Check" };

	for (size_t i = 0; i < CF_ARRAY_LEN(reads); i++)
		if (cf_streq(method, reads[i]))
			return false;
	return true;
}

static void on_answered(const char *service, const char *method, enum cf_code code, int64_t us,
                        void *user)
{
	enum cf_log_level level = is_change(method) ? CF_LOG_INFO : CF_LOG_DEBUG;

	(void)service;
	(void)user;
	if (code == CF_INTERNAL || code == CF_DATA_LOSS || code == CF_RESOURCE_EXHAUSTED)
		level = CF_LOG_WARN;
	cf_log(level, "call", CF_F_STR("method", method), CF_F_STR("code", cf_code_name(code)),
	       CF_F_INT("us", us));
}

/* ---- start ---- */

/* Before anything is opened or bound: core would take the socket of a running instance away. */
static int take_lock(struct daemon *d, struct cf_err *err)
{
	int r = cf_mkdir_p(d->config.root, 0700, err);
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/lock", d->config.root);

	if (r < 0)
		return r;
	d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (d->lock_fd < 0)
		return cf_fail_errno(err, errno, "%s", path);
	if (flock(d->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return cf_fail(err, CF_ALREADY_EXISTS, "another instance uses %s", d->config.root);
	return 0;
}

static int open_state(struct daemon *d, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *db = cf_asprintf("%s/metadata.sqlite", d->config.root);
	struct snap_service *s = &d->service;
	int r = snap_store_open(db, d->config.is_relaxed, &s->store, err);

	if (r == 0)
		r = snap_dirs_open(d->config.root, s->store, &s->dirs, err);
	if (r < 0)
		return r;
	s->mode = d->config.mode;
	s->is_sync_remove = d->config.is_sync_remove;
	s->is_strict = d->config.is_strict;
	s->mount = (struct snap_mount_opts){ .root = d->config.root,
		                             .helper = d->config.helper,
		                             .is_minimal = d->config.is_minimal,
		                             .is_volatile = d->config.is_volatile };
	snap_service_init(s);
	return 0;
}

static int listen_all(struct daemon *d, struct cf_err *err)
{
	int given = cf_sd_listen_fds();
	int r = 0;

	for (int i = 0; r == 0 && i < given; i++)
		r = rpc_grpc_server_add_listener(d->server, CF_SD_FIRST_FD + i, err);
	if (given)
		return r;
	cf_cleanup(cf_freep) char *dir = cf_strdup(d->config.address);
	char *slash = strrchr(dir, '/');

	if (slash && slash != dir) {
		*slash = '\0';
		r = cf_mkdir_p(dir, 0700, err);
	}
	return r < 0 ? r : rpc_grpc_server_listen(d->server, d->config.address, err);
}

static void on_signal(int signo, void *arg)
{
	struct daemon *d = arg;

	(void)signo;
	cf_loop_stop(d->loop);
}

static int serve(struct daemon *d, struct cf_err *err)
{
	struct rpc_grpc_server_opts opts = {
		.threads = POOL_THREADS,
		.services = d->service.services,
		.service_count = CF_ARRAY_LEN(d->service.services),
		.answered = on_answered,
	};
	int r = cf_loop_new(&d->loop, err);

	if (r < 0)
		return r;
	d->term = cf_loop_signal(d->loop, SIGTERM, on_signal, d);
	d->intr = cf_loop_signal(d->loop, SIGINT, on_signal, d);
	opts.loop = d->loop;
	r = rpc_grpc_server_new(&opts, &d->server, err);
	return r < 0 ? r : listen_all(d, err);
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
	if (c->mode != SNAP_MODE_GUEST_PULL)
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
		rpc_grpc_server_stop(d->server, DRAIN_MS);
	snap_dirs_close(d->service.dirs);
	snap_store_close(d->service.store);
	signal(SIGALRM, on_alarm);
	alarm(LAST_SECONDS);
	rpc_grpc_server_free(d->server);
	cf_event_free(d->term);
	cf_event_free(d->intr);
	cf_loop_free(d->loop);
	cf_close(&d->lock_fd);
	snap_config_fini(&d->config);
	alarm(0);
}

static int start(struct daemon *d, struct cf_err *err)
{
	int r = take_lock(d, err);

	if (r == 0)
		r = open_state(d, err);
	if (r == 0)
		r = serve(d, err);
	return r;
}

int main(int argc, char **argv)
{
	struct daemon d = { .lock_fd = -1 };
	struct cf_err err;

	cf_log_init("coffer-snapshotter");
	signal(SIGPIPE, SIG_IGN);
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
		cf_log_info("ready", CF_F_STR("address", d.config.address),
		            CF_F_STR("root", d.config.root),
		            CF_F_UINT("snapshots", snap_store_count(d.service.store)));
		cf_sd_notify("READY=1");
		cf_loop_run(d.loop);
		cf_sd_notify("STOPPING=1");
	}
	shut_down(&d);
	return r < 0 ? 1 : 0;
}
