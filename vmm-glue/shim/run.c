/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/run.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "vmm-glue/shim/run_spec.h"
#include "vmm-glue/shim/shim.h"

#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define PROCESS_MAX     (1u << 20)
#define DIAL_TIMEOUT_MS 5000
#define CALL_TIMEOUT_MS 60000
#define NAMESPACE       "run"

static const char usage[] =
	"usage: containerd-shim-coffer-v2 run --image REF [options]\n"
	"\n"
	"Boots a VM, has the guest pull and run one image, prints what the container prints and "
	"ends\n"
	"with its exit status. (\"coffer pod run\" is the comfortable form.)\n"
	"\n"
	"  --image REF        what the guest pulls\n"
	"  --name NAME        of the pod [pod-PID]\n"
	"  --process FILE     OCI process object: args, env, cwd, user\n"
	"  --config FILE      shim.toml [COFFER_SHIM_CONFIG, /etc/coffer/shim.toml]\n"
	"  --initdata FILE    initdata (TOML) for the guest\n"
	"  --driver NAME      qemu or none\n"
	"  --accel NAME       auto, kvm or tcg\n"
	"  --network NAME     user or none [user]\n"
	"  --console          keeps the guest's console; errors quote its end\n"
	"  -v, --verbose      says what happens\n";

struct options {
	const char *image, *process, *config, *initdata, *driver, *accel, *network;
	char *name;
	bool is_verbose, has_console;
};

struct run {
	struct options o;
	char *dir, *bundle, *socket;
	struct shim *shim;
	struct cf_event *interrupt;
	bool is_interrupted;
	pthread_t thread;
	bool has_thread;
	struct ttrpc_client *client;
};

/* ---- options ---- */

/* Positive: done already, with that exit status minus one. */
static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option rows[] = {
		{ "image", required_argument, NULL, 'i' },
		{ "name", required_argument, NULL, 'n' },
		{ "process", required_argument, NULL, 'p' },
		{ "config", required_argument, NULL, 'c' },
		{ "initdata", required_argument, NULL, 'd' },
		{ "driver", required_argument, NULL, 'D' },
		{ "accel", required_argument, NULL, 'a' },
		{ "network", required_argument, NULL, 'N' },
		{ "console", no_argument, NULL, 'C' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "vh", rows, NULL)) >= 0) {
		switch (c) {
		case 'i':
			o->image = optarg;
			break;
		case 'n':
			free(o->name);
			o->name = cf_strdup(optarg);
			break;
		case 'p':
			o->process = optarg;
			break;
		case 'c':
			o->config = optarg;
			break;
		case 'd':
			o->initdata = optarg;
			break;
		case 'D':
			o->driver = optarg;
			break;
		case 'a':
			o->accel = optarg;
			break;
		case 'N':
			o->network = optarg;
			break;
		case 'C':
			o->has_console = true;
			break;
		case 'v':
			o->is_verbose = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 1;
		default:
			return 1 + 2;
		}
	}
	if (!o->image || optind != argc) {
		fputs(usage, stderr);
		return 1 + 2;
	}
	if (!o->name)
		o->name = cf_asprintf("pod-%d", (int)getpid());
	return 0;
}

static void replace(char **field, const char *value)
{
	if (!value)
		return;
	free(*field);
	*field = cf_strdup(value);
}

static int load_config(const struct run *r, struct shim_config **ret, struct cf_err *err)
{
	int rc = shim_config_load(r->o.config, ret, err);
	struct shim_config *c = *ret;

	if (rc < 0)
		return rc;
	replace(&c->run_dir, r->dir);
	replace(&c->driver, r->o.driver);
	replace(&c->accel, r->o.accel);
	replace(&c->initdata, r->o.initdata);
	replace(&c->network, r->o.network ? r->o.network : "user");
	c->is_force_guest_pull = true;
	if (r->o.has_console)
		c->has_console = true;
	if (!vmm_find(c->driver))
		return cf_fail(err, CF_INVALID_ARGUMENT, "driver \"%s\"", c->driver);
	return 0;
}

/* ---- the bundle ---- */

static int write_bundle(const struct run *r, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/config.json", r->bundle);
	cf_cleanup(cf_json_freep) struct cf_json *process = NULL;
	struct run_spec spec = { .image = r->o.image, .name = r->o.name };
	struct cf_buf in = { .max = PROCESS_MAX + 1 }, out = { 0 };
	int rc = 0;

	if (r->o.process) {
		rc = cf_read_file(r->o.process, PROCESS_MAX, &in, err);
		if (rc == 0)
			rc = cf_json_parse(cf_buf_view(&in), PROCESS_MAX, &process, err);
		if (rc < 0)
			rc = cf_wrap(err, rc, "%s", r->o.process);
	}
	spec.process = process;
	if (rc == 0)
		rc = cf_mkdir_p(r->bundle, 0700, err);
	if (rc == 0) {
		run_spec_write(&spec, &out);
		rc = cf_write_file_atomic(path, cf_buf_view(&out), 0600, err);
	}
	cf_buf_fini(&in);
	cf_buf_fini(&out);
	return rc;
}

/* ---- the daemon, on a thread of its own ---- */

static void on_interrupt(int signo, void *arg)
{
	struct run *r = arg;

	(void)signo;
	r->is_interrupted = true;
	shim_end(r->shim);
}

static void *serve(void *arg)
{
	struct run *r = arg;

	shim_run(r->shim);
	return NULL;
}

static int start_daemon(struct run *r, struct cf_err *err)
{
	struct shim_daemon_opts opts = { .ns = NAMESPACE,
		                         .id = r->o.name,
		                         .socket_path = r->socket };
	struct ttrpc_client_opts client = { .loop = NULL };
	cf_cleanup(cf_freep) char *address = cf_asprintf("unix://%s", r->socket);
	int rc = load_config(r, &opts.config_take, err);

	if (rc < 0) {
		shim_config_free(opts.config_take);
		return rc;
	}
	opts.listen_fd_take = cf_listen_unix(r->socket, err);
	if (opts.listen_fd_take < 0) {
		shim_config_free(opts.config_take);
		return opts.listen_fd_take;
	}
	rc = shim_new(&opts, &r->shim, err);
	if (rc < 0)
		return rc;
	r->interrupt = cf_loop_signal(r->shim->loop, SIGINT, on_interrupt, r);
	if (pthread_create(&r->thread, NULL, serve, r))
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "no thread");
	r->has_thread = true;
	return ttrpc_client_dial(address, DIAL_TIMEOUT_MS, &client, &r->client, err);
}

/* ---- its one caller ---- */

static int call(struct run *r, const char *method, const ProtobufCMessage *msg,
                const ProtobufCMessageDescriptor *out, int64_t timeout_ms, ProtobufCMessage **ret,
                struct cf_err *err)
{
	struct ttrpc_req req = { .service = "containerd.task.v2.Task",
		                 .method = method,
		                 .msg = msg,
		                 .out = out,
		                 .timeout_ms = timeout_ms };

	return ttrpc_call(r->client, &req, ret, err);
}

static int create(struct run *r, struct cf_err *err)
{
	static char out[] = "file:///proc/self/fd/1", errors[] = "file:///proc/self/fd/2";
	Containerd__Task__V2__CreateTaskRequest req =
		CONTAINERD__TASK__V2__CREATE_TASK_REQUEST__INIT;

	req.id = r->o.name;
	req.bundle = r->bundle;
	req.stdout = out;
	req.stderr = errors;
	return call(r, "Create", &req.base, &containerd__task__v2__create_task_response__descriptor,
	            0, NULL, err);
}

static int start(struct run *r, struct cf_err *err)
{
	Containerd__Task__V2__StartRequest req = CONTAINERD__TASK__V2__START_REQUEST__INIT;

	req.id = r->o.name;
	return call(r, "Start", &req.base, &containerd__task__v2__start_response__descriptor,
	            CALL_TIMEOUT_MS, NULL, err);
}

static int wait_for_end(struct run *r, int *ret_status, struct cf_err *err)
{
	Containerd__Task__V2__WaitRequest req = CONTAINERD__TASK__V2__WAIT_REQUEST__INIT;
	ProtobufCMessage *msg = NULL;
	int rc;

	req.id = r->o.name;
	rc = call(r, "Wait", &req.base, &containerd__task__v2__wait_response__descriptor, 0, &msg,
	          err);
	if (rc < 0)
		return rc;
	*ret_status = (int)((Containerd__Task__V2__WaitResponse *)msg)->exit_status;
	protobuf_c_message_free_unpacked(msg, NULL);
	return 0;
}

static void end(struct run *r)
{
	Containerd__Task__V2__DeleteRequest req = CONTAINERD__TASK__V2__DELETE_REQUEST__INIT;
	Containerd__Task__V2__ShutdownRequest shutdown =
		CONTAINERD__TASK__V2__SHUTDOWN_REQUEST__INIT;
	struct cf_err err;

	if (r->client) {
		req.id = r->o.name;
		(void)!call(r, "Delete", &req.base,
		            &containerd__task__v2__delete_response__descriptor, CALL_TIMEOUT_MS,
		            NULL, &err);
		shutdown.id = r->o.name;
		shutdown.now = true;
		(void)!call(r, "Shutdown", &shutdown.base, &google__protobuf__empty__descriptor,
		            CALL_TIMEOUT_MS, NULL, &err);
		ttrpc_client_free(r->client);
	}
	if (r->has_thread)
		pthread_join(r->thread, NULL);
	cf_event_free(r->interrupt);
	shim_free(r->shim);
	if (r->dir && cf_rm_rf(r->dir, &err) < 0)
		fprintf(stderr, "left behind: %s\n", err.msg);
	free(r->dir);
	free(r->bundle);
	free(r->socket);
}

static int run(struct run *r, int *ret_status, struct cf_err *err)
{
	const char *base = getenv("XDG_RUNTIME_DIR");
	int rc = shim_id_check("name", r->o.name, err);

	if (rc < 0)
		return rc;
	if (geteuid() == 0 || !base)
		base = geteuid() == 0 ? "/run" : "/tmp";
	r->dir = cf_asprintf("%s/coffer-run-%d", base, (int)getpid());
	r->bundle = cf_asprintf("%s/bundle", r->dir);
	r->socket = cf_asprintf("%s/shim.sock", r->dir);
	rc = write_bundle(r, err);
	if (rc == 0)
		rc = start_daemon(r, err);
	if (rc == 0)
		rc = create(r, err);
	if (rc == 0)
		rc = start(r, err);
	return rc < 0 ? rc : wait_for_end(r, ret_status, err);
}

/* The codes of the coffer command. */
static int exit_code(enum cf_code code)
{
	static const uint8_t codes[] = {
		[CF_CANCELLED] = 130,         [CF_INVALID_ARGUMENT] = 9,
		[CF_DEADLINE_EXCEEDED] = 8,   [CF_NOT_FOUND] = 4,
		[CF_ALREADY_EXISTS] = 5,      [CF_PERMISSION_DENIED] = 7,
		[CF_RESOURCE_EXHAUSTED] = 20, [CF_FAILED_PRECONDITION] = 22,
		[CF_OUT_OF_RANGE] = 9,        [CF_UNIMPLEMENTED] = 21,
		[CF_UNAVAILABLE] = 8,         [CF_DATA_LOSS] = 9,
		[CF_UNAUTHENTICATED] = 7,
	};

	return (size_t)code < CF_ARRAY_LEN(codes) && codes[code] ? codes[code] : 1;
}

int run_main(int argc, char **argv)
{
	struct run r = { .is_interrupted = false };
	cf_cleanup(cf_closep) int quiet = -1;
	struct cf_err err;
	int status = 0;
	int rc = parse_options(argc, argv, &r.o);

	if (rc > 0) {
		free(r.o.name);
		return rc - 1;
	}
	cf_log_init("pod");
	quiet = r.o.is_verbose ? -1 : open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (quiet >= 0) /* what matters is said once, at the end */
		cf_log_set_fd(quiet);
	rc = run(&r, &status, &err);
	end(&r);
	free(r.o.name);
	if (r.is_interrupted)
		return 130;
	if (rc == 0)
		return status;
	fprintf(stderr, "pod: %s\n", err.msg);
	return exit_code(err.code);
}
