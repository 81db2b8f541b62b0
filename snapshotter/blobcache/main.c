/* SPDX-License-Identifier: Apache-2.0 */
/* coffer-blobcache: options, set-up, loop. */
#include "base/fd.h"
#include "base/listener.h"
#include "base/log.h"
#include "base/sd.h"
#include "base/str.h"
#include "base/toml.h"
#include "snapshotter/blobcache/blob_control.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONFIG_MAX (1u << 16)
#define SIZE_MIN   (16u << 20)
#define EXIT_USAGE 2

static const char help[] =
	"usage: coffer-blobcache [OPTION...]\n"
	"\n"
	"Keeps encrypted layers on this node as the registry serves them, so that the second pod\n"
	"of an image asks no registry for them. Guests bring the blobs and read them; the node\n"
	"needs no credentials. Stop it, or do not start it, and guests ask the registry.\n"
	"\n"
	"  --config FILE     settings (listen, state_dir, size_max, control, metrics) [none]\n"
	"  --listen PATH     socket for guests [/run/coffer/blobcache/blobcache.sock]\n"
	"  --state-dir DIR   where the blobs are [/var/lib/coffer/blobcache]\n"
	"  --size-max SIZE   bytes, or with K, M, G [10G]\n"
	"  --control PATH    socket with /v1/health and /metrics [control.sock beside the other]\n"
	"  --metrics ADDR:P  /metrics over TCP as well [none]\n"
	"  --log-level L     error, warn, info, debug [info]\n"
	"  --version, --help\n"
	"\n"
	"SIGUSR1 writes the counters into the log.\n";

struct options {
	char *listen, *state_dir, *control, *metrics;
	uint64_t size_max;
};

struct daemon {
	struct options o;
	struct cf_loop *loop;
	struct cf_event *signals[3];
	struct cf_listener *listeners;
	struct blob_store *store;
	struct blob_serve *serve;
	struct blob_control *control;
	bool is_crowded; /* a connection was refused, and that was said */
};

/* ---- options ---- */

static void set(char **to, const char *value)
{
	free(*to);
	*to = cf_strdup(value);
}

static int parse_size(const char *text, uint64_t *ret, struct cf_err *err)
{
	static const char units[] = "KMG";
	struct cf_view digits = cf_view_str(text);
	const char *unit = digits.size ? strchr(units, text[digits.size - 1]) : NULL;
	unsigned shift = unit && *unit ? 10 * (unsigned)(unit - units + 1) : 0;

	if (shift)
		digits.size--;
	int r = cf_parse_u64(digits, UINT64_MAX >> shift, ret, err);

	if (r < 0)
		return cf_wrap(err, r, "size %s", text);
	*ret <<= shift;
	if (*ret < SIZE_MIN)
		return cf_fail(err, CF_INVALID_ARGUMENT, "size %s is under %u bytes", text,
		               SIZE_MIN);
	return 0;
}

static int read_config(const char *path, struct options *o, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf text = { 0 };
	cf_cleanup(cf_toml_freep) struct cf_toml *root = NULL;
	const char *size = NULL;
	const struct {
		const char *key;
		char **to;
	} texts[] = { { "listen", &o->listen },
		      { "state_dir", &o->state_dir },
		      { "control", &o->control },
		      { "metrics", &o->metrics } };
	int r = cf_read_file(path, CONFIG_MAX, &text, err);

	if (r == 0)
		r = cf_toml_parse(cf_buf_view(&text), &root, err);
	for (size_t i = 0; r == 0 && i < CF_ARRAY_LEN(texts); i++) {
		const char *value = NULL;

		r = cf_toml_get_str(root, texts[i].key, NULL, &value, err);
		if (r == 0 && value)
			set(texts[i].to, value);
	}
	if (r == 0)
		r = cf_toml_get_str(root, "size_max", NULL, &size, err);
	if (r == 0 && size)
		r = parse_size(size, &o->size_max, err);
	return r < 0 ? cf_wrap(err, r, "%s", path) : 0;
}

enum { CONFIG = 256, LISTEN, STATE_DIR, MAX, CONTROL, METRICS, LEVEL, VERSION, HELP };

static int take_option(int c, struct options *o, struct cf_err *err)
{
	enum cf_log_level level;
	int r = 0;

	switch (c) {
	case CONFIG:
		return read_config(optarg, o, err);
	case LISTEN:
		set(&o->listen, optarg);
		return 0;
	case STATE_DIR:
		set(&o->state_dir, optarg);
		return 0;
	case CONTROL:
		set(&o->control, optarg);
		return 0;
	case METRICS:
		set(&o->metrics, optarg);
		return 0;
	case MAX:
		return parse_size(optarg, &o->size_max, err);
	case LEVEL:
		r = cf_log_level_parse(optarg, &level, err);
		if (r == 0)
			cf_log_set_level(level);
		return r;
	default:
		return cf_fail(err, CF_INVALID_ARGUMENT, "try --help");
	}
}

#define DONE 1
static int read_options(int argc, char **argv, struct options *o, struct cf_err *err)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, CONFIG },
		{ "listen", required_argument, NULL, LISTEN },
		{ "state-dir", required_argument, NULL, STATE_DIR },
		{ "size-max", required_argument, NULL, MAX },
		{ "control", required_argument, NULL, CONTROL },
		{ "metrics", required_argument, NULL, METRICS },
		{ "log-level", required_argument, NULL, LEVEL },
		{ "version", no_argument, NULL, VERSION },
		{ "help", no_argument, NULL, HELP },
		{ 0 },
	};
	int r = 0;

	for (int c; r == 0 && (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == HELP || c == VERSION) {
			fputs(c == HELP ? help : "coffer-blobcache " COFFER_VERSION "\n", stdout);
			return DONE;
		}
		r = take_option(c, o, err);
	}
	if (r == 0 && optind < argc)
		r = cf_fail(err, CF_INVALID_ARGUMENT, "%s: not an option", argv[optind]);
	return r;
}

/* ---- life ---- */

static void log_counters(struct daemon *d)
{
	struct blob_store_stats s;
	struct blob_serve_stats conns;

	blob_store_stats(d->store, &s);
	blob_serve_stats(d->serve, &conns);
	cf_log_info("counters", CF_F_UINT("connections", conns.connections),
	            CF_F_UINT("blobs", s.blobs), CF_F_UINT("bytes", s.bytes),
	            CF_F_UINT("hits", s.hits), CF_F_UINT("misses", s.misses),
	            CF_F_UINT("stored", s.stored), CF_F_UINT("evicted", s.evicted),
	            CF_F_UINT("refused", s.refused));
}

static void on_signal(int signo, void *arg)
{
	struct daemon *d = arg;

	if (signo == SIGUSR1)
		log_counters(d);
	else
		cf_loop_stop(d->loop);
}

/* VMMs and guests without a VM run as root, or in tests as whoever we are. */
static bool is_allowed(int fd)
{
	struct ucred uc;
	socklen_t size = sizeof(uc);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &uc, &size) == 0 &&
	       (uc.uid == 0 || uc.uid == geteuid());
}

static void on_conn(void *user, int fd_take)
{
	struct daemon *d = user;
	struct cf_err err;

	if (!is_allowed(fd_take)) {
		cf_close(&fd_take);
		return;
	}
	bool is_refused = blob_serve_add(d->serve, fd_take, &err) < 0;

	/* A VMM comes again each second. */
	if (is_refused && !d->is_crowded)
		cf_log_warn("a connection was refused", CF_F_STR("why", err.msg));
	d->is_crowded = is_refused;
}

static int listen_all(struct daemon *d, struct cf_err *err)
{
	int given = cf_sd_listen_fds(), r = 0;

	for (int i = 0; r == 0 && i < given; i++)
		r = cf_listener_add(&d->listeners, d->loop, CF_SD_FIRST_FD + i, NULL, on_conn, d,
		                    err);
	if (given)
		return r;
	cf_cleanup(cf_freep) char *dir = cf_strdup(d->o.listen);
	char *slash = strrchr(dir, '/');

	if (slash && slash != dir) {
		*slash = '\0';
		r = cf_mkdir_p(dir, 0755, err);
	}
	int fd = r < 0 ? r : cf_listen_unix(d->o.listen, err);

	return fd < 0 ? fd
	              : cf_listener_add(&d->listeners, d->loop, fd, d->o.listen, on_conn, d, err);
}

/* Beside the guests' socket where nothing else was said; "" is none. */
static int open_control(struct daemon *d, struct cf_err *err)
{
	const char *slash = strrchr(d->o.listen, '/');
	cf_cleanup(cf_freep) char *beside = cf_asprintf(
		"%.*scontrol.sock", slash ? (int)(slash + 1 - d->o.listen) : 0, d->o.listen);
	const char *path = d->o.control ? d->o.control : beside;
	struct blob_control_opts opts = { .store = d->store,
		                          .serve = d->serve,
		                          .size_max = d->o.size_max,
		                          .path = *path ? path : NULL,
		                          .metrics = d->o.metrics };

	return blob_control_new(d->loop, &opts, &d->control, err);
}

static int start(struct daemon *d, struct cf_err *err)
{
	struct blob_store_opts opts = { .dir = d->o.state_dir, .size_max = d->o.size_max };
	int r = blob_store_open(&opts, &d->store, err);

	if (r == 0)
		r = cf_loop_new(&d->loop, err);
	if (r < 0)
		return r;
	d->serve = blob_serve_new(&(struct blob_serve_opts){ d->store, d->o.size_max });
	d->signals[0] = cf_loop_signal(d->loop, SIGTERM, on_signal, d);
	d->signals[1] = cf_loop_signal(d->loop, SIGINT, on_signal, d);
	d->signals[2] = cf_loop_signal(d->loop, SIGUSR1, on_signal, d);
	r = listen_all(d, err);
	return r < 0 ? r : open_control(d, err);
}

static void end(struct daemon *d)
{
	cf_listeners_close(&d->listeners);
	blob_control_free(d->control);
	if (d->serve)
		log_counters(d);
	blob_serve_free(d->serve);
	blob_store_close(d->store);
	for (size_t i = 0; i < CF_ARRAY_LEN(d->signals); i++)
		cf_event_free(d->signals[i]);
	cf_loop_free(d->loop);
	free(d->o.listen);
	free(d->o.state_dir);
	free(d->o.control);
	free(d->o.metrics);
}

int main(int argc, char **argv)
{
	struct daemon d = { .o = { .listen = cf_strdup("/run/coffer/blobcache/blobcache.sock"),
		                   .state_dir = cf_strdup("/var/lib/coffer/blobcache"),
		                   .size_max = 10ull << 30 } };
	struct cf_err err;

	cf_log_init("coffer-blobcache");
	signal(SIGPIPE, SIG_IGN);
	int r = read_options(argc, argv, &d.o, &err);

	if (r != 0) {
		if (r < 0)
			fprintf(stderr, "coffer-blobcache: %s\n", err.msg);
		end(&d);
		return r < 0 ? EXIT_USAGE : 0;
	}
	r = start(&d, &err);
	if (r < 0) {
		cf_log_error("cannot start", CF_F_STR("why", err.msg));
	} else {
		cf_log_info("ready", CF_F_STR("listen", d.o.listen),
		            CF_F_STR("state_dir", d.o.state_dir),
		            CF_F_UINT("size_max", d.o.size_max));
		cf_sd_notify("READY=1");
		cf_loop_run(d.loop);
		cf_sd_notify("STOPPING=1");
	}
	end(&d);
	return r < 0 ? 1 : 0;
}
