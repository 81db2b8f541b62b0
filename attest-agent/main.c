/* SPDX-License-Identifier: Apache-2.0 */
/* coffer-attestd: options, set-up, loop. */
#include "attest-agent/agent.h"
#include "attest-agent/rest.h"
#include "attest-agent/service.h"
#include "base/fd.h"
#include "base/http.h"
#include "base/loop.h"
#include "base/sd.h"
#include "base/work.h"
#include "proto/ttrpc.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOCKET "unix:///run/confidential-containers/attestation-agent/attestation-agent.sock"

#define EXIT_USAGE     2
#define EXIT_NO_CONFIG 78 /* no TEE, or a configuration that cannot work */

struct options {
	struct agent_opts agent;
	const char *address;
	const char *log_level;
	int ready_fd;
	enum { RUN_DAEMON, RUN_SHOW, RUN_EVIDENCE } mode;
	const char *runtime_data; /* hex */
};

static const char help[] =
	"usage: coffer-attestd [options]\n"
	"The guest's attestation agent: evidence, tokens and runtime measurements over ttrpc.\n"
	"\n"
	"  -a, --attestation_sock ADDRESS  listen here (also --listen), default\n"
	"                                  " SOCKET "\n"
	"  -c, --config-file FILE          attestation-agent.conf, TOML or JSON\n"
	"  -t, --initdata_toml FILE        initdata; must be what the TEE holds; its aa.toml is "
	"the\n"
	"                                  configuration when no file is given\n"
	"  -i, --initdata_digest BASE64    the same when only its digest is known\n"
	"      --guest                     measured guest: configuration from initdata alone\n"
	"      --tee tpm|sample            do not look for one\n"
	"      --tpm-device DEVICE         default /dev/tpmrm0; also swtpm:host=H,port=P\n"
	"      --event-log FILE            firmware's event log, default the kernel's\n"
	"      --cmdline FILE              default /proc/cmdline\n"
	"      --state-dir DIR             runtime event log, default /run/attestation-agent\n"
	"      --ready-fd N                one byte is written there once the socket is bound\n"
	"      --log LEVEL                 error, warn, info, debug (also COFFER_LOG)\n"
	"      --show                      print as JSON what TEE is here, and end\n"
	"      --evidence HEX              print evidence over these bytes, and end\n"
	"  -h, --help, --version\n"
	"\n"
	"Signals: SIGTERM, SIGINT end it. Exit: 0, 1 failed, 2 usage, 78 no TEE or no usable "
	"set-up.\n";

enum {
	OPT_GUEST = 256,
	OPT_TEE,
	OPT_TPM,
	OPT_LOG_FILE,
	OPT_CMDLINE,
	OPT_STATE,
	OPT_READY,
	OPT_LOG,
	OPT_SHOW,
	OPT_EVIDENCE,
	OPT_VERSION
};

static const struct option rows[] = {
	{ "attestation_sock", required_argument, NULL, 'a' },
	{ "listen", required_argument, NULL, 'a' },
	{ "config-file", required_argument, NULL, 'c' },
	{ "config", required_argument, NULL, 'c' },
	{ "initdata_toml", required_argument, NULL, 't' },
	{ "initdata_digest", required_argument, NULL, 'i' },
	{ "guest", no_argument, NULL, OPT_GUEST },
	{ "tee", required_argument, NULL, OPT_TEE },
	{ "tpm-device", required_argument, NULL, OPT_TPM },
	{ "event-log", required_argument, NULL, OPT_LOG_FILE },
	{ "cmdline", required_argument, NULL, OPT_CMDLINE },
	{ "state-dir", required_argument, NULL, OPT_STATE },
	{ "ready-fd", required_argument, NULL, OPT_READY },
	{ "log", required_argument, NULL, OPT_LOG },
	{ "show", no_argument, NULL, OPT_SHOW },
	{ "evidence", required_argument, NULL, OPT_EVIDENCE },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

static int parse_fd(const char *text)
{
	uint64_t n;

	return cf_parse_u64(cf_view_str(text), 1u << 20, &n, NULL) < 0 ? -1 : (int)n;
}

/* False: @c is no option that takes effect here. */
static bool take_option(struct options *o, int c, const char *arg)
{
	switch (c) {
	case 'a':
		o->address = arg;
		return true;
	case 'c':
		o->agent.config_path = arg;
		return true;
	case 't':
		o->agent.initdata_path = arg;
		return true;
	case 'i':
		o->agent.initdata_digest = arg;
		return true;
	case OPT_GUEST:
		o->agent.is_guest = true;
		return true;
	case OPT_TEE:
		o->agent.tee = arg;
		return true;
	case OPT_TPM:
		o->agent.tpm_device = arg;
		return true;
	case OPT_LOG_FILE:
		o->agent.event_log = arg;
		return true;
	case OPT_CMDLINE:
		o->agent.cmdline = arg;
		return true;
	case OPT_STATE:
		o->agent.state_dir = arg;
		return true;
	case OPT_READY:
		o->ready_fd = parse_fd(arg);
		return o->ready_fd > 2;
	case OPT_LOG:
		o->log_level = arg;
		return true;
	case OPT_SHOW:
		o->mode = RUN_SHOW;
		return true;
	case OPT_EVIDENCE:
		o->mode = RUN_EVIDENCE;
		o->runtime_data = arg;
		return true;
	default:
		return false;
	}
}

/* -1: go on; else the exit code. */
static int parse_options(int argc, char **argv, struct options *o)
{
	int c;

	while ((c = getopt_long(argc, argv, "a:c:t:i:h", rows, NULL)) >= 0) {
		if (c == 'h' || c == OPT_VERSION) {
			fputs(c == 'h' ? help : "coffer-attestd " COFFER_VERSION "\n", stdout);
			return 0;
		}
		if (!take_option(o, c, optarg)) {
			fprintf(stderr, "try: coffer-attestd --help\n");
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "coffer-attestd: unexpected \"%s\"\ntry: coffer-attestd --help\n",
		        argv[optind]);
		return EXIT_USAGE;
	}
	return -1;
}

/* ---- one-shot ---- */

static int run_once(const struct options *o, struct agent *agent, struct cf_err *err)
{
	struct cf_buf out = { 0 }, data = { 0 };
	int r;

	if (o->mode == RUN_SHOW) {
		r = agent_show(agent, &out, err);
	} else {
		r = cf_hex_decode_buf(cf_view_str(o->runtime_data), &data, err);
		if (r == 0)
			r = agent_evidence(agent, cf_buf_view(&data), &out, err);
	}
	if (r == 0) {
		cf_buf_add_byte(&out, '\n');
		r = cf_write_all(STDOUT_FILENO, cf_buf_view(&out), err);
	}
	cf_buf_fini(&out);
	cf_buf_fini(&data);
	return r;
}

/* ---- daemon ---- */

struct daemon {
	struct cf_loop *loop;
	struct cf_work *work;
	struct ttrpc_server *server;
	struct rest *rest; /* or NULL */
	struct cf_event *term, *intr;
	struct rpc_service service;
};

static void on_signal(int signo, void *arg)
{
	struct daemon *d = arg;

	(void)signo;
	cf_sd_notify("STOPPING=1");
	ttrpc_server_drain(d->server);
	cf_loop_stop(d->loop);
}

static void on_answered(const char *service, const char *method, enum cf_code code, int64_t us,
                        void *user)
{
	(void)service;
	(void)user;
	cf_log_info("request", CF_F_STR("method", method), CF_F_STR("code", cf_code_name(code)),
	            CF_F_INT("ms", us / 1000));
}

/* The socket's directory may not exist yet in a fresh guest. */
static int make_socket_dir(const char *address, struct cf_err *err)
{
	const char *path = cf_after(address, "unix://");

	if (!path)
		path = address;
	if (*path != '/')
		return 0;
	cf_cleanup(cf_freep) char *dir = cf_strdup(path);
	*strrchr(dir, '/') = '\0';
	return *dir ? cf_mkdir_p(dir, 0755, err) : 0;
}

static int tell_ready(int fd, struct cf_err *err)
{
	cf_sd_notify("READY=1");
	if (fd < 0)
		return 0;
	int r = cf_write_all(fd, cf_view_str("1"), err);
	close(fd);
	return r;
}

static int start_rest(struct daemon *d, struct agent *agent, struct cf_err *err)
{
	const struct rest_opts opts = {
		.loop = d->loop,
		.work = d->work,
		.agent = agent,
		.address = agent_rest(agent),
		.gives_token = agent_rest_gives_token(agent),
	};

	if (!opts.address)
		return 0;
	int r = rest_new(&opts, &d->rest, err);
	if (r == 0)
		cf_log_info("serving REST", CF_F_STR("address", opts.address),
		            CF_F_UINT("port", rest_port(d->rest)));
	if (r == 0 && opts.gives_token)
		cf_log_warn("any process of this pod can have the token and its private key");
	return r;
}

static void warm(void *arg)
{
	agent_warm(arg);
}

static int daemon_start(struct daemon *d, const struct options *o, struct agent *agent,
                        struct cf_err *err)
{
	static const struct rpc_service *services[1];
	struct ttrpc_server_opts opts = {
		.services = services,
		.service_count = 1,
		.answered = on_answered,
	};
	int r = cf_loop_new(&d->loop, err);

	/* One worker: the TPM takes one command at a time, and token requests share an attestation. */
	if (r == 0)
		r = cf_work_new(1, 64, &d->work, err);
	if (r < 0)
		return r;
	aa_service_init(&d->service, agent);
	services[0] = &d->service;
	opts.loop = d->loop;
	opts.work = d->work;
	r = ttrpc_server_new(&opts, &d->server, err);
	if (r == 0)
		r = make_socket_dir(o->address, err);
	if (r == 0)
		r = ttrpc_server_listen(d->server, o->address, err);
	if (r < 0)
		return r;
	r = start_rest(d, agent, err);
	if (r < 0)
		return r;
	d->term = cf_loop_signal(d->loop, SIGTERM, on_signal, d);
	d->intr = cf_loop_signal(d->loop, SIGINT, on_signal, d);
	r = cf_work_add(d->work, warm, agent, err);
	return r < 0 ? r : tell_ready(o->ready_fd, err);
}

static void daemon_end(struct daemon *d)
{
	cf_event_free(d->term);
	cf_event_free(d->intr);
	if (d->server)
		ttrpc_server_free(d->server);
	if (d->work)
		cf_work_free(d->work);
	rest_free(d->rest);
	if (d->loop)
		cf_loop_free(d->loop);
}

static int run_daemon(const struct options *o, struct agent *agent, struct cf_err *err)
{
	struct daemon d = { 0 };
	int r = daemon_start(&d, o, agent, err);

	if (r == 0) {
		cf_log_info("serving", CF_F_STR("address", o->address),
		            CF_F_STR("tee", agent_tee(agent)),
		            CF_F_STR("kbs", agent_kbs_url(agent)));
		if (cf_streq(agent_tee(agent), "sample"))
			cf_log_warn("the sample TEE proves nothing: for tests only");
		cf_loop_run(d.loop);
	}
	daemon_end(&d);
	return r;
}

static int exit_code(const struct cf_err *err)
{
	switch (err->code) {
	case CF_NOT_FOUND:
	case CF_PERMISSION_DENIED:
	case CF_FAILED_PRECONDITION:
	case CF_INVALID_ARGUMENT:
	case CF_UNIMPLEMENTED:
		return EXIT_NO_CONFIG;
	default:
		return EXIT_FAILURE;
	}
}

static int set_log_level(const struct options *o, const struct agent *agent, struct cf_err *err)
{
	enum cf_log_level level = agent_log_level(agent);

	if (o->log_level) {
		int r = cf_log_level_parse(o->log_level, &level, err);
		if (r < 0)
			return r;
	} else if (getenv("COFFER_LOG")) {
		return 0;
	}
	cf_log_set_level(level);
	return 0;
}

int main(int argc, char **argv)
{
	struct options o = { .address = SOCKET, .ready_fd = -1 };
	cf_cleanup(agent_freep) struct agent *agent = NULL;
	struct cf_err err;
	int code = parse_options(argc, argv, &o);
	int r;

	if (code >= 0)
		return code;
	/* tpm2-tss writes to stderr about NV indices that are not there; our errors say what matters. */
	setenv("TSS2_LOG", "all+NONE", 0);
	signal(SIGPIPE, SIG_IGN);
	cf_log_init("coffer-attestd");
	cf_secret_harden_process();
	cf_http_global_init();
	r = agent_new(&o.agent, &agent, &err);
	if (r == 0)
		r = set_log_level(&o, agent, &err);
	if (r == 0)
		r = o.mode == RUN_DAEMON ? run_daemon(&o, agent, &err) : run_once(&o, agent, &err);
	if (r == 0)
		return EXIT_SUCCESS;
	cf_log_error(o.mode == RUN_DAEMON ? "ends" : "failed", CF_F_STR("error", err.msg));
	return exit_code(&err);
}
