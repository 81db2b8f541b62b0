/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver "qemu": prepares what its command line names, starts it, and waits for the guest's first
 * byte on the agent's channel.
 */
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/proc.h"
#include "proto/ttrpc.h"
#include "proto/vserial.h"
#include "vmm-glue/shim/accel.h"
#include "vmm-glue/shim/qemu_args.h"
#include "vmm-glue/shim/qmp.h"
#include "vmm-glue/shim/vmm.h"
#include "vmm-glue/shim/vsock.h"
#include "vmm-glue/shim/vtpm.h"

#include <cpuid.h>
#include <errno.h>
#include <unistd.h>

#define CMDLINE_MAX       (4u << 10) /* the kernel's own limit is 2 KiB on x86 */
#define FIRMWARE_VARS_MAX (64u << 20)
#define TDX_QUOTE_SOCKET  "/var/run/tdx-qgs/qgs.socket"
#define QMP_TIMEOUT_MS    10000
#define DIAL_SLICE_MS     50
#define CHILD_FD_BASE     3 /* cf_proc_spawn() numbers what it passes from here */

/* ---- preparation ---- */

/* The image's command line, then what the configuration adds; both are measured. */
static int read_cmdline(const struct shim_config *c, char **ret, struct cf_err *err)
{
	struct cf_buf text = { .max = CMDLINE_MAX + 1 };
	int r = cf_read_file(c->cmdline, CMDLINE_MAX, &text, err);

	if (r == 0 && cf_view_has_nul(cf_buf_view(&text)))
		r = cf_fail(err, CF_INVALID_ARGUMENT, "%s holds a NUL", c->cmdline);
	while (r == 0 && text.size && strchr("\n ", text.data[text.size - 1]))
		text.size--;
	if (r == 0 && *c->kernel_params)
		cf_buf_printf(&text, "%s%s", text.size ? " " : "", c->kernel_params);
	if (r == 0)
		*ret = cf_view_dup(cf_buf_view(&text));
	cf_buf_fini(&text);
	return r < 0 ? cf_wrap(err, r, "kernel command line") : 0;
}

static int copy_vars(const struct vmm_spec *spec, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/" QEMU_VARS_FILE, spec->dir);
	struct cf_buf vars = { .max = FIRMWARE_VARS_MAX + 1 };
	int r = cf_read_file(spec->config->firmware_vars, FIRMWARE_VARS_MAX, &vars, err);

	if (r == 0)
		r = cf_write_file_atomic(path, cf_buf_view(&vars), 0600, err);
	cf_buf_fini(&vars);
	return r < 0 ? cf_wrap(err, r, "firmware variables") : 0;
}

static unsigned snp_cbitpos(void)
{
	unsigned a, b = 0, c, d;

	if (!__get_cpuid_count(0x8000001f, 0, &a, &b, &c, &d))
		return 51;
	return b & 0x3f;
}

static int need_file(const char *what, const char *path, struct cf_err *err)
{
	if (access(path, R_OK) < 0)
		return cf_fail_errno(err, errno, "%s %s", what, path);
	return 0;
}

static int prepare(const struct vmm_spec *spec, struct vmm *v, struct cf_err *err)
{
	const struct shim_config *c = spec->config;
	int r = need_file("guest kernel", c->kernel, err);

	if (r == 0 && *c->initrd)
		r = need_file("guest initrd", c->initrd, err);
	if (r == 0 && c->firmware)
		r = need_file("firmware", c->firmware, err);
	if (r == 0 && c->firmware && c->firmware_vars)
		r = copy_vars(spec, err);
	if (r == 0 && cf_streq(c->tpm, "swtpm"))
		r = vtpm_start(spec, v, err);
	return r;
}

/* ---- start ---- */

/* @fds: the vsock device first when there is one, then the taps. */
static int spawn(const struct cf_strv *argv, const int *fds, size_t fd_count, struct vmm *v,
                 struct cf_err *err)
{
	cf_cleanup(cf_closep) int log =
		open(v->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	struct cf_proc_opts opts = {
		.argv = (const char *const *)argv->items,
		.stdin_fd = -1,
		.stdout_fd = log,
		.stderr_fd = log,
		.fds = fds,
		.fd_count = fd_count,
		.die_with_parent = true,
		.new_session = true,
	};

	if (log < 0)
		return cf_fail_errno(err, errno, "%s", v->log);
	return cf_proc_spawn(&opts, &v->pid, err);
}

static int start_with(struct qemu_args *args, int vsock_fd, struct vmm *v, struct cf_err *err)
{
	int fds[1 + VMM_NICS_MAX];
	struct cf_strv argv = { 0 };
	size_t n = 0;
	int r;

	args->vsock_fd = -1;
	if (vsock_fd >= 0) {
		args->vsock_fd = CHILD_FD_BASE;
		fds[n++] = vsock_fd;
	}
	args->first_tap_fd = CHILD_FD_BASE + (int)n;
	for (size_t i = 0; i < args->spec->nic_count && n < CF_ARRAY_LEN(fds); i++)
		if (args->spec->nics[i].tap_fd >= 0)
			fds[n++] = args->spec->nics[i].tap_fd;
	r = qemu_args_build(args, &argv, err);
	if (r == 0)
		r = spawn(&argv, fds, n, v, err);
	cf_strv_fini(&argv);
	return r;
}

static int qemu_start(const struct vmm_spec *spec, struct vmm *v, struct cf_err *err)
{
	const struct shim_config *c = spec->config;
	cf_cleanup(cf_freep) char *cmdline = NULL;
	cf_cleanup(cf_closep) int vsock_fd = -1;
	struct qemu_args args = { .spec = spec, .has_tpm = cf_streq(c->tpm, "swtpm") };
	const char *how;
	int r = prepare(spec, v, err);

	if (r == 0)
		r = read_cmdline(c, &cmdline, err);
	if (r == 0 && cf_streq(c->transport, "vsock")) {
		vsock_fd = vsock_claim_cid(&args.vsock_cid, err);
		r = vsock_fd < 0 ? vsock_fd : 0;
	}
	if (r < 0)
		return r;
	args.cmdline = cmdline;
	args.accel = accel_choose(c, &how);
	args.cbitpos = snp_cbitpos();
	args.quote_socket = access(TDX_QUOTE_SOCKET, F_OK) == 0 ? TDX_QUOTE_SOCKET : NULL;
	if (c->has_console)
		v->console = cf_asprintf("%s/" QEMU_CONSOLE_LOG, spec->dir);
	v->agent = vsock_fd >= 0 ? cf_asprintf("vsock://%u:%u", args.vsock_cid, VSOCK_AGENT_PORT)
	                         : cf_asprintf("%s/" QEMU_AGENT_SOCKET, spec->dir);
	r = start_with(&args, vsock_fd, v, err);
	if (r == 0)
		cf_log_info("machine started", CF_F_STR("sandbox", spec->sandbox_id),
		            CF_F_STR("accel", args.accel == QEMU_KVM ? "kvm" : "tcg"),
		            CF_F_STR("because", how), CF_F_UINT("vcpus", spec->vcpus),
		            CF_F_UINT("mib", spec->memory_mib));
	return r;
}

/* ---- connect and stop ---- */

/* QEMU makes its sockets within milliseconds of its start, or never. */
static int wait_for_monitor(const struct vmm *v, int64_t deadline_ms, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/" QEMU_QMP_SOCKET, v->dir);

	do {
		int fd = ttrpc_dial_fd(path, DIAL_SLICE_MS, err);

		if (fd >= 0) {
			cf_close(&fd);
			return 0;
		}
		if (!vmm_is_alive(v))
			return cf_fail(err, CF_UNAVAILABLE, "QEMU ended");
	} while (cf_now_ms() < deadline_ms);
	return cf_fail(err, CF_DEADLINE_EXCEEDED, "QEMU made no monitor socket");
}

static int check_running(const struct vmm *v, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/" QEMU_QMP_SOCKET, v->dir);
	cf_cleanup(qmp_closep) struct qmp *q = NULL;
	struct cf_buf status = { 0 };
	int r = qmp_open(path, QMP_TIMEOUT_MS, &q, err);

	if (r == 0)
		r = qmp_call(q, "query-status", NULL, &status, err);
	if (r == 0)
		cf_log_debug("machine", CF_F_VIEW("status", cf_buf_view(&status)));
	cf_buf_fini(&status);
	return r;
}

static int qemu_connect(struct vmm *v, int64_t timeout_ms, struct cf_err *err)
{
	int64_t deadline = cf_now_ms() + timeout_ms;
	int r = wait_for_monitor(v, deadline, err);

	if (r == 0)
		r = check_running(v, err);
	if (r < 0)
		return r;
	/* the port's connection ends with QEMU, so that waiting on it ends too; vsock has none yet */
	if (cf_starts_with(v->agent, "/"))
		return vserial_dial_fd(v->agent, deadline - cf_now_ms(), err);
	return vsock_dial(v, deadline, err);
}

static void qemu_stop(struct vmm *v)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/" QEMU_QMP_SOCKET, v->dir);

	qmp_quit(path);
}

const struct vmm_ops vmm_qemu_ops = {
	.name = "qemu",
	.has_own_network = true,
	.start = qemu_start,
	.connect = qemu_connect,
	.stop = qemu_stop,
};
