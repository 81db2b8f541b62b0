/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "base/log.h"
#include "vmm-glue/guest/guest.h"
#include "vmm-glue/guest/guest_boot.h"
#include "vmm-glue/guest/guest_helpers.h"
#include "vmm-glue/guest/guest_pause.h"
#include "vmm-glue/guest/guest_trust.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#define RUN_DIR       "/run/confidential-containers"
#define STATE_DIR     "/run/kata-containers"
#define VSOCK_ADDRESS "vsock://-1:1024"
#define PORT_NAME     "agent.channel.0"
#define TSM_DIR       "/sys/kernel/config/tsm/report"
#define LEAVE_MS      1000 /* for the answer to DestroySandbox to get out */
#define TERM_MS       5000 /* for the containers to end */

static const char usage[] =
	"usage: coffer-init --no-pid1 --listen ADDRESS [options]\n"
	"\n"
	"Runs a pod's containers for its host, over the Kata agent protocol. As the first\n"
	"process of a virtual machine it takes no options: everything it needs is measured or\n"
	"in initdata. As an ordinary process (root, in namespaces of its own) it takes:\n"
	"\n"
	"  --no-pid1            do not set up a machine\n"
	"  --listen ADDRESS     unix:PATH, vsock:PORT or vserial:NAME; may be repeated\n"
	"  --initdata FILE      initdata disk image (also $COFFER_INITDATA_DISK)\n"
	"  --state-dir DIR      bundles and volumes [" STATE_DIR "]\n"
	"  --run-dir DIR        sockets and initdata [" RUN_DIR "]\n"
	"  --imaged PROGRAM     image service to start [coffer-imaged beside this]\n"
	"  --attestd PROGRAM    attester to start [coffer-attestd beside this]\n"
	"  --no-helpers         start neither\n"
	"  --cdh ADDRESS        image service to call [unix://RUN-DIR/cdh.sock]\n"
	"  --crun PROGRAM       [crun]\n"
	"  --tpm DEVICE         where to bind initdata [none]\n"
	"  --help, --version\n";

struct options {
	bool no_pid1, no_helpers;
	struct cf_strv listen;
	const char *initdata, *state_dir, *run_dir, *imaged, *attestd, *cdh, *crun, *tpm;
};

struct app {
	struct cf_loop *loop;
	struct guest *guest;
	struct ttrpc_server *server;
	struct guest_helper *imaged, *attestd;
	struct cf_event *term, *leave;
	bool is_terminated;
	char *cdh;
};

/* ---- options ---- */

/* Return: 0; 1: done, exit with *ret_status. */
static int parse_options(int argc, char **argv, struct options *o, int *ret_status)
{
	enum {
		NO_PID1 = 256,
		NO_HELPERS,
		LISTEN,
		INITDATA,
		STATE,
		RUN,
		IMAGED,
		ATTESTD,
		CDH,
		CRUN,
		TPM
	};
	static const struct option rows[] = {
		{ "no-pid1", no_argument, NULL, NO_PID1 },
		{ "no-helpers", no_argument, NULL, NO_HELPERS },
		{ "listen", required_argument, NULL, LISTEN },
		{ "initdata", required_argument, NULL, INITDATA },
		{ "state-dir", required_argument, NULL, STATE },
		{ "run-dir", required_argument, NULL, RUN },
		{ "imaged", required_argument, NULL, IMAGED },
		{ "attestd", required_argument, NULL, ATTESTD },
		{ "cdh", required_argument, NULL, CDH },
		{ "crun", required_argument, NULL, CRUN },
		{ "tpm", required_argument, NULL, TPM },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", rows, NULL)) >= 0) {
		switch (c) {
		case NO_PID1:
			o->no_pid1 = true;
			break;
		case NO_HELPERS:
			o->no_helpers = true;
			break;
		case LISTEN:
			cf_strv_add(&o->listen, optarg);
			break;
		case INITDATA:
			o->initdata = optarg;
			break;
		case STATE:
			o->state_dir = optarg;
			break;
		case RUN:
			o->run_dir = optarg;
			break;
		case IMAGED:
			o->imaged = optarg;
			break;
		case ATTESTD:
			o->attestd = optarg;
			break;
		case CDH:
			o->cdh = optarg;
			break;
		case CRUN:
			o->crun = optarg;
			break;
		case TPM:
			o->tpm = optarg;
			break;
		case 'h':
			(void)fputs(usage, stdout);
			*ret_status = 0;
			return 1;
		case 'V':
			(void)puts("coffer-init " COFFER_VERSION);
			*ret_status = 0;
			return 1;
		default:
			(void)fputs("try --help\n", stderr);
			*ret_status = 2;
			return 1;
		}
	}
	if (optind == argc && o->no_pid1 && o->listen.count)
		return 0;
	(void)fputs(usage, stderr);
	*ret_status = 2;
	return 1;
}

/* ---- the process's surroundings ---- */

/*
 * An ordinary process gets a mount table of its own, so that nothing it mounts is left behind, and
 * one that crun works with: it refuses version 1 cgroups beside an empty version 2 hierarchy.
 */
static int separate(struct cf_err *err)
{
	if (unshare(CLONE_NEWNS) < 0)
		return cf_fail_errno(err, errno, "mount namespace (root is needed)");
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return cf_fail_errno(err, errno, "mount propagation");
	(void)umount2("/sys/fs/cgroup/unified", MNT_DETACH | UMOUNT_NOFOLLOW);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return cf_fail_errno(err, errno, "subreaper");
	return 0;
}

/* A program beside this one; the caller frees. */
static char *sibling(const char *name)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n <= 0)
		return cf_strdup(name);
	self[n] = '\0';
	slash = strrchr(self, '/');
	return cf_asprintf("%.*s/%s", (int)(slash - self), self, name);
}

static struct guest_helper *start_helper(struct app *a, const char *program, const char *name,
                                         const char *socket, const char *const *args)
{
	cf_cleanup(cf_freep) char *beside = sibling(name);
	struct guest_helper_opts opts = {
		.program = program ? program : beside,
		.socket = socket,
		.args = args,
	};
	struct guest_helper *h = NULL;
	struct cf_err err;

	if (guest_helper_start(a->guest->reaper, &opts, &h, &err) < 0)
		cf_log_error("helper not started", CF_F_STR("why", err.msg));
	return h;
}

/* Configuration comes from initdata; a file is named only when initdata has it. */
static void start_helpers(struct app *a, const struct options *o)
{
	cf_cleanup(cf_freep) char *cdh = cf_asprintf("%s/initdata/cdh.toml", o->run_dir);
	cf_cleanup(cf_freep) char *text = cf_asprintf("%s/initdata/initdata.toml", o->run_dir);
	cf_cleanup(cf_freep) char *aa_sock =
		cf_asprintf("%s/attestation-agent/attestation-agent.sock", o->run_dir);
	cf_cleanup(cf_freep) char *cdh_sock = cf_asprintf("%s/cdh.sock", o->run_dir);
	/* --guest: attestd's configuration is that text's aa.toml and nothing else. */
	const char *aa_args[] = { "--guest", "--initdata_toml", text, NULL };
	const char *cdh_args[] = { "--config", cdh, NULL };

	if (access(cdh, F_OK) < 0)
		cdh_args[0] = NULL;
	a->attestd = start_helper(a, o->attestd, "coffer-attestd", aa_sock, aa_args);
	a->imaged = start_helper(a, o->imaged, "coffer-imaged", cdh_sock, cdh_args);
}

/* ---- serving ---- */

/* "unix:PATH", "vsock:PORT", "vserial:NAME" as ttrpc writes them; others as they are. */
static char *ttrpc_address(const char *text)
{
	const char *rest;

	rest = cf_after(text, "vserial:");
	if (rest) {
		cf_cleanup(cf_freep) char *port = guest_boot_port(rest);

		return cf_asprintf("virtio-serial:%s", port ? port : rest);
	}
	rest = cf_after(text, "vsock:");
	if (rest && *rest != '/')
		return cf_asprintf("vsock://-1:%s", rest);
	rest = cf_after(text, "unix:");
	if (rest && !cf_starts_with(rest, "//"))
		return cf_asprintf("unix://%s", rest);
	return cf_strdup(text);
}

static void log_answer(const char *service, const char *method, enum cf_code code, int64_t us,
                       void *user)
{
	(void)user;
	cf_log(code == CF_OK && cf_starts_with(method, "Read") ? CF_LOG_DEBUG : CF_LOG_INFO,
	       "request", CF_F_STR("service", service), CF_F_STR("method", method),
	       CF_F_STR("code", cf_code_name(code)), CF_F_INT("us", us));
}

static int serve(struct app *a, const struct options *o, struct cf_err *err)
{
	struct ttrpc_server_opts opts = { .loop = a->loop, .answered = log_answer };
	int r;

	opts.services = guest_services(a->guest, &opts.service_count);
	r = ttrpc_server_new(&opts, &a->server, err);
	for (size_t i = 0; r == 0 && i < o->listen.count; i++) {
		cf_cleanup(cf_freep) char *address = ttrpc_address(o->listen.items[i]);

		r = ttrpc_server_listen(a->server, address, err);
	}
	return r;
}

/* Whatever channel this machine has. */
static void machine_addresses(struct options *o)
{
	cf_cleanup(cf_freep) char *port = guest_boot_port(PORT_NAME);

	if (port)
		cf_strv_addf(&o->listen, "virtio-serial:%s", port);
	if (access("/dev/vsock", F_OK) == 0 || !port)
		cf_strv_add(&o->listen, VSOCK_ADDRESS);
}

static void on_leave(void *arg)
{
	struct app *a = arg;

	cf_loop_stop(a->loop);
}

static void on_destroyed(void *arg)
{
	struct app *a = arg;

	if (a->is_terminated)
		cf_loop_stop(a->loop);
	else if (!a->leave)
		a->leave = cf_loop_timer(a->loop, LEAVE_MS, false, on_leave, a);
}

/* Containers and what they hold go first, but not for ever; a second signal ends it at once. */
static void on_term(int signo, void *arg)
{
	struct app *a = arg;

	(void)signo;
	if (a->is_terminated) {
		cf_loop_stop(a->loop);
		return;
	}
	a->is_terminated = true;
	cf_event_free(a->leave);
	a->leave = cf_loop_timer(a->loop, TERM_MS, false, on_leave, a);
	guest_destroy_sandbox(a->guest, NULL);
}

static int trust(struct app *a, const struct options *o, struct cf_err *err)
{
	struct guest_trust_opts opts = {
		.disk = o->initdata,
		.tpm = o->tpm,
		.tsm = o->no_pid1 ? NULL : TSM_DIR,
		.run_dir = o->run_dir,
	};
	struct guest_policies policies;
	int r;

	/* An ordinary process never looks at the machine's own disks. */
	if (o->no_pid1 && !o->initdata)
		opts.disk = "/dev/null";
	r = guest_trust_bind(&opts, &policies, err);
	if (r < 0)
		return r;
	if (r == GUEST_TRUST_NONE) {
		cf_log_error("nothing but Health will be served", CF_F_STR("why", err->msg));
		return 0;
	}
	guest_trust(a->guest, policies.native, policies.rego);
	if (!o->no_helpers)
		start_helpers(a, o);
	return 0;
}

static int run(struct app *a, struct options *o, struct cf_err *err)
{
	struct guest_options opts = {
		.state_dir = o->state_dir,
		.crun = o->crun,
		.cgroup_root = "/sys/fs/cgroup",
		.is_init = !o->no_pid1,
	};
	int r;

	a->cdh = o->cdh ? ttrpc_address(o->cdh) : cf_asprintf("unix://%s/cdh.sock", o->run_dir);
	opts.cdh = a->cdh;
	r = cf_loop_new(&a->loop, err);
	if (r == 0)
		r = guest_new(a->loop, &opts, &a->guest, err);
	if (r < 0)
		return r;
	a->guest->on_destroyed = on_destroyed;
	a->guest->arg = a;
	a->term = cf_loop_signal(a->loop, SIGTERM, on_term, a);
	r = trust(a, o, err);
	if (r == 0)
		r = serve(a, o, err);
	if (r < 0)
		return r;
	cf_log_info("serving", CF_F_INT("boot_ms", cf_now_ms()));
	cf_loop_run(a->loop);
	return 0;
}

static void app_fini(struct app *a)
{
	cf_event_free(a->term);
	cf_event_free(a->leave);
	guest_helper_free(a->imaged);
	guest_helper_free(a->attestd);
	guest_free(a->guest);
	ttrpc_server_free(a->server);
	if (a->loop)
		cf_loop_free(a->loop);
	free(a->cdh);
}

int main(int argc, char **argv)
{
	struct options o = {
		.state_dir = STATE_DIR,
		.run_dir = RUN_DIR,
		.crun = "crun",
	};
	struct app a = { 0 };
	struct cf_err err;
	int status = 0, r = 0;
	bool is_first;

	guest_boot_stdio();
	if (argc > 1 && cf_streq(argv[1], GUEST_PAUSE_ROLE))
		_exit(guest_pause_main(argc, argv)); /* it has nothing to tidy up with */
	is_first = guest_boot_is_first();
	cf_log_init("coffer-init");
	(void)signal(SIGPIPE, SIG_IGN);
	if (is_first) {
		/* The kernel hands over what stood on its command line: none of it counts. */
		(void)clearenv();
		o.tpm = "/dev/tpm0";
		r = guest_boot(&err);
		if (r == 0)
			machine_addresses(&o);
	} else {
		o.initdata = getenv("COFFER_INITDATA_DISK");
		if (parse_options(argc, argv, &o, &status))
			return status;
		r = separate(&err);
	}
	if (r == 0)
		r = run(&a, &o, &err);
	if (r < 0)
		cf_log_error("coffer-init ends", CF_F_STR("why", err.msg));
	app_fini(&a);
	cf_strv_fini(&o.listen);
	if (is_first)
		guest_boot_end();
	return r < 0 ? 1 : 0;
}
