/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "proto/containerd_types.pb-c.h"
#include "vmm-glue/shim/accel.h"
#include "vmm-glue/shim/args.h"
#include "vmm-glue/shim/bootstrap.h"
#include "vmm-glue/shim/delete.h"
#include "vmm-glue/shim/none_init.h"
#include "vmm-glue/shim/run.h"
#include "vmm-glue/shim/shim.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define RUNTIME_NAME "io.containerd.coffer.v2"

static const char usage[] =
	"containerd-shim-coffer-v2: runs each pod in a VM of its own\n"
	"\n"
	"containerd starts it; by hand:\n"
	"  containerd-shim-coffer-v2 -v | -info | --help\n"
	"  containerd-shim-coffer-v2 run --image REF [options]   one pod, without containerd\n"
	"  containerd-shim-coffer-v2 probe                       which accelerator works here\n"
	"\n"
	"As containerd calls it:\n"
	"  -namespace NS -id ID [-address SOCK] [-publish-binary PATH] start | delete\n"
	"  -namespace NS -id ID -socket PATH                            (the daemon)\n"
	"\n"
	"Configuration: /etc/coffer/shim.toml, or the file that COFFER_SHIM_CONFIG names.\n";

static int fail(const struct cf_err *err)
{
	fprintf(stderr, "containerd-shim-coffer-v2: %s\n", err->msg);
	return 1;
}

static int print_info(struct cf_err *err)
{
	static char name[] = RUNTIME_NAME, version[] = COFFER_VERSION,
		    key[] = "containerd.io/runtime-allow-mounts",
		    value[] = "fuse.nydus-overlayfs,erofs";
	Containerd__Types__RuntimeInfo info = CONTAINERD__TYPES__RUNTIME_INFO__INIT;
	Containerd__Types__RuntimeVersion v = CONTAINERD__TYPES__RUNTIME_VERSION__INIT;
	Containerd__Types__RuntimeInfo__AnnotationsEntry entry =
		CONTAINERD__TYPES__RUNTIME_INFO__ANNOTATIONS_ENTRY__INIT;
	Containerd__Types__RuntimeInfo__AnnotationsEntry *entries[] = { &entry };
	uint8_t out[512];

	entry.key = key;
	entry.value = value;
	v.version = version;
	info.name = name;
	info.version = &v;
	info.annotations = entries;
	info.n_annotations = 1;
	if (protobuf_c_message_get_packed_size(&info.base) > sizeof(out))
		return cf_fail(err, CF_INTERNAL, "runtime information");
	return cf_write_all(STDOUT_FILENO, cf_view(out, protobuf_c_message_pack(&info.base, out)),
	                    err);
}

/* containerd reads the bundle's fifo "log" and copies it to its own log. */
static void log_to_bundle(void)
{
	int fd = open("log", O_WRONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!dup2(fd, STDERR_FILENO);
	close(fd);
}

/* Rather us than containerd: one step more likely to be killed. Not being allowed to is fine. */
static void adjust_oom_score(void)
{
	struct cf_buf text = { .max = 64 };
	struct cf_err ignored;
	int score = 0;
	FILE *f;

	if (cf_read_file("/proc/self/oom_score_adj", 32, &text, &ignored) == 0 && text.size)
		score = (int)strtol((const char *)text.data, NULL, 10);
	cf_buf_fini(&text);
	f = fopen("/proc/self/oom_score_adj", "we");
	if (!f)
		return;
	fprintf(f, "%d", CF_MIN(score + 1, 1000));
	(void)!fclose(f);
}

static int serve(const struct shim_args *args, struct cf_err *err)
{
	struct shim_daemon_opts opts = {
		.ns = args->ns,
		.id = args->id,
		.socket_path = args->socket,
		.events_address = getenv("TTRPC_ADDRESS"),
		.listen_fd_take = SHIM_LISTEN_FD,
	};
	struct shim *s = NULL;
	int r = shim_id_check("-id", args->id, err);

	log_to_bundle();
	cf_log_init("coffer-shim");
	if (args->is_debug)
		cf_log_set_level(CF_LOG_DEBUG);
	adjust_oom_score();
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	if (r == 0)
		r = shim_config_load(NULL, &opts.config_take, err);
	if (r == 0)
		r = shim_new(&opts, &s, err);
	if (r < 0) {
		cf_log_error("cannot serve", CF_F_STR("error", err->msg));
		return r;
	}
	cf_log_info("serving", CF_F_STR("sandbox", args->id), CF_F_STR("version", COFFER_VERSION));
	shim_run(s);
	cf_log_info("ended", CF_F_STR("sandbox", args->id));
	shim_free(s);
	return 0;
}

/* For "coffer doctor --deep": afresh, whatever was found before. */
static int probe(struct cf_err *err)
{
	cf_cleanup(shim_config_freep) struct shim_config *config = NULL;
	int r = shim_config_load(NULL, &config, err);

	if (r < 0)
		return r;
	puts(accel_probe(config->qemu, "kvm", "/tmp", ACCEL_PROBE_MS) ? "kvm" : "tcg");
	return 0;
}

static int dispatch(const struct shim_args *args, struct cf_err *err)
{
	switch (args->action) {
	case SHIM_START:
		return bootstrap_start(args, err);
	case SHIM_DELETE:
		return delete_run(args, err);
	case SHIM_INFO:
		return print_info(err);
	case SHIM_PROBE:
		return probe(err);
	case SHIM_VERSION:
		printf("containerd-shim-coffer-v2 %s\n", COFFER_VERSION);
		return 0;
	case SHIM_HELP:
		fputs(usage, stdout);
		return 0;
	default:
		return serve(args, err);
	}
}

int main(int argc, char **argv)
{
	struct shim_args args;
	struct cf_err err;
	int r = shim_args_parse(argc, argv, &args, &err);

	signal(SIGPIPE, SIG_IGN);
	if (r == 0 && args.action == SHIM_NONE_INIT)
		return none_init_main(args.rest_argc, args.rest_argv);
	if (r == 0 && args.action == SHIM_RUN) /* its argv[0] is the word "run" */
		return run_main(args.rest_argc + 1, args.rest_argv - 1);
	if (r == 0)
		r = dispatch(&args, &err);
	return r < 0 ? fail(&err) : 0;
}
