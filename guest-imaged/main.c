/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "base/http.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/str.h"
#include "erofs/layer_store.h"
#include "guest-imaged/imaged_config.h"
#include "guest-imaged/oneshot_layer.h"
#include "guest-imaged/oneshot_pull.h"
#include "guest-imaged/resource.h"
#include "guest-imaged/service.h"
#include "proto/ttrpc.h"

#include <signal.h>
#include <stdio.h>

#define REQUEST_THREADS  4u
#define REQUESTS_WAITING 256u

static const char usage[] =
	"usage: coffer-imaged [OPTION...]\n"
	"       coffer-imaged --oneshot pull IMAGE --out DIR [OPTION...]\n"
	"       coffer-imaged --oneshot layer TAR[.gz|.zst]|- --out IMG.erofs [OPTION...]\n"
	"\n"
	"The guest's image service: pulls, checks, decrypts and mounts images, and hands out the\n"
	"owner's resources, over the confidential data hub API.\n"
	"\n"
	"  -c, --config FILE   cdh.toml; without it the built-in values\n"
	"  --listen ADDRESS    ttrpc address [socket of the configuration]\n"
	"  --work-dir DIR      where layers are kept [image.work_dir of the configuration]\n"
	"  --aa ADDRESS        attestation agent [aa.aa_socket of the configuration]\n"
	"  --version, --help\n"
	"\n"
	"COFFER_LOG=error|warn|info|debug chooses what is logged.\n";

#define EXIT_USAGE 2

struct options {
	const char *config, *listen, *work_dir, *aa;
	bool help, version;
};

struct app {
	struct cf_loop *loop;
	struct cf_work *requests;
	struct resource *resource;
	struct service *service;
	struct ttrpc_server *server;
	struct cf_event *signals[3];
};

static bool parse(int argc, char **argv, struct options *o)
{
	static const char *const names[] = { "-c", "--config", "--listen", "--work-dir", "--aa" };
	const char **const fields[] = { &o->config, &o->config, &o->listen, &o->work_dir, &o->aa };

	for (int i = 1; i < argc; i++) {
		bool taken = false;

		for (size_t n = 0; n < CF_ARRAY_LEN(names) && !taken; n++) {
			if (!cf_streq(argv[i], names[n]) || i + 1 >= argc)
				continue;
			*fields[n] = argv[++i];
			taken = true;
		}
		o->help |= cf_streq(argv[i], "--help") || cf_streq(argv[i], "-h");
		o->version |= cf_streq(argv[i], "--version") || cf_streq(argv[i], "-V");
		if (!taken && !o->help && !o->version)
			return false;
	}
	return true;
}

/* Started under the peers' name: their behaviour where ours is stricter. */
static bool is_peer_name(const char *argv0)
{
	const char *slash = strrchr(argv0, '/');

	return cf_streq(slash ? slash + 1 : argv0, "confidential-data-hub");
}

static void override(char **field, const char *value)
{
	if (!value)
		return;
	free(*field);
	*field = cf_strdup(value);
}

static int load_config(const struct options *o, struct imaged_config *c, struct cf_err *err)
{
	imaged_config_init(c);
	int r = o->config ? imaged_config_read(o->config, c, err) : 0;

	override(&c->socket, o->listen);
	override(&c->work_dir, o->work_dir);
	override(&c->aa_socket, o->aa);
	if (r == 0 && !getenv("COFFER_LOG"))
		cf_log_set_level(c->log_level);
	return r;
}

static int open_resource(const struct imaged_config *c, struct resource **ret, struct cf_err *err)
{
	struct cf_strv files = { 0 };
	const char *more = getenv("OFFLINE_FS_KBC_EXTRA_FILE_PATH");
	struct resource_config config = { .agent = c->aa_socket,
		                          .kbs_url = c->kbs_url,
		                          .kbs_ca = c->kbs_cert };

	if (cf_streq(c->kbc_name, "offline_fs_kbc")) {
		cf_strv_add(&files, "/etc/aa-offline_fs_kbc-keys.json");
		cf_strv_add(&files, "/etc/aa-offline_fs_kbc-resources.json");
		if (more)
			cf_strv_split(&files, cf_view_str(more), ',');
		config.offline_files = (const char *const *)files.items;
	}
	int r = resource_new(&config, ret, err);

	cf_strv_fini(&files);
	return r;
}

/* What a process that died left half built. Only at the start: nobody builds yet. */
static void tidy(const struct imaged_config *c)
{
	cf_cleanup(cf_freep) char *store = cf_asprintf("%s/erofs", c->work_dir);
	struct cf_err err;
	int r = layer_store_tidy(store, &err);

	if (r < 0 && r != -CF_NOT_FOUND)
		cf_log_warn("store not tidied", CF_F_STR("why", err.msg));
}

static void on_signal(int signo, void *arg)
{
	struct app *a = arg;

	cf_log_info("stopping", CF_F_INT("signal", signo));
	ttrpc_server_drain(a->server);
	cf_loop_stop(a->loop);
}

static void log_answer(const char *service, const char *method, enum cf_code code, int64_t us,
                       void *user)
{
	(void)user;
	cf_log_debug("answered", CF_F_STR("service", service), CF_F_STR("method", method),
	             CF_F_STR("code", cf_code_name(code)), CF_F_INT("us", us));
}

static int start_server(struct app *a, const char *address, struct cf_err *err)
{
	struct ttrpc_server_opts opts = { .loop = a->loop,
		                          .work = a->requests,
		                          .answered = log_answer };

	opts.services = service_table(a->service, &opts.service_count);
	int r = ttrpc_server_new(&opts, &a->server, err);

	if (r == 0)
		r = ttrpc_server_listen(a->server, address, err);
	return r;
}

static int start(struct app *a, const struct imaged_config *c, bool peer_name, struct cf_err *err)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	struct service_opts opts = { .config = c,
		                     .accept_without_policy = peer_name,
		                     .clock_untrusted = !peer_name };
	int r = cf_loop_new(&a->loop, err);

	if (r == 0)
		r = cf_work_new(REQUEST_THREADS, REQUESTS_WAITING, &a->requests, err);
	if (r == 0)
		r = open_resource(c, &a->resource, err);
	opts.loop = a->loop;
	opts.resource = a->resource;
	if (r == 0)
		r = service_new(&opts, &a->service, err);
	if (r == 0)
		r = start_server(a, c->socket, err);
	for (size_t i = 0; r == 0 && i < CF_ARRAY_LEN(signals); i++)
		a->signals[i] = cf_loop_signal(a->loop, signals[i], on_signal, a);
	return r;
}

/* Pulls end first, so that their answers still find their connections. */
static void stop(struct app *a)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(a->signals); i++)
		cf_event_free(a->signals[i]);
	service_free(a->service);
	ttrpc_server_free(a->server);
	if (a->requests)
		cf_work_free(a->requests);
	resource_free(a->resource);
	cf_loop_free(a->loop);
}

static int serve(const struct options *o, bool peer_name)
{
	struct imaged_config config;
	struct app a = { 0 };
	struct cf_err err;

	cf_log_init("imaged");
	cf_secret_harden_process();
	cf_http_global_init();
	signal(SIGPIPE, SIG_IGN);
	int r = load_config(o, &config, &err);

	if (r == 0) {
		tidy(&config);
		r = start(&a, &config, peer_name, &err);
	}
	if (r < 0) {
		cf_log_error("not started", CF_F_STR("why", err.msg));
	} else {
		cf_log_info("serving", CF_F_STR("address", config.socket),
		            CF_F_STR("work_dir", config.work_dir));
		cf_loop_run(a.loop);
	}
	stop(&a);
	imaged_config_fini(&config);
	return r < 0 ? imaged_exit_code(-r) : 0;
}

int main(int argc, char **argv)
{
	struct options o = { 0 };

	if (argc > 2 && cf_streq(argv[1], "--oneshot") && cf_streq(argv[2], "layer"))
		return imaged_oneshot_layer(argc - 2, argv + 2);
	if (argc > 2 && cf_streq(argv[1], "--oneshot") && cf_streq(argv[2], "pull"))
		return imaged_oneshot_pull(argc - 2, argv + 2);
	if (!parse(argc, argv, &o)) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	if (o.help || o.version) {
		if (o.version)
			printf("coffer-imaged %s\n", COFFER_VERSION);
		else
			fputs(usage, stdout);
		return 0;
	}
	return serve(&o, is_peer_name(argv[0]));
}
