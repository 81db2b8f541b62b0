/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver "none": no machine at all. The guest's init runs as a process in the pod's network
 * namespace and in mount, pid, uts and ipc namespaces of its own, with a private /run. It protects
 * nothing and says so in the log; everything above it is the same as with a VM.
 */
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/proc.h"
#include "proto/ttrpc.h"
#include "vmm-glue/shim/none_init.h"
#include "vmm-glue/shim/vmm.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#define DIAL_SLICE_MS 100 /* between looks at whether the process still lives */

static char *agent_path(const char *dir)
{
	return cf_asprintf("%s/" NONE_AGENT_SOCKET, dir);
}

static int none_start(const struct vmm_spec *spec, struct vmm *v, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *self = vmm_self();
	cf_cleanup(cf_freep) char *listen = cf_asprintf("unix:%s/" NONE_AGENT_SOCKET, spec->dir);
	cf_cleanup(cf_closep) int log =
		open(v->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	struct cf_strv argv = { 0 };
	struct cf_proc_opts opts = { .stdin_fd = -1, .stdout_fd = log, .stderr_fd = log };
	int r;

	if (log < 0)
		return cf_fail_errno(err, errno, "%s", v->log);
	v->message_max = 1u << 20;
	cf_strv_add(&argv, self);
	cf_strv_add(&argv, "none-init");
	cf_strv_add(&argv, spec->dir);
	cf_strv_add(&argv, spec->netns ? spec->netns : "");
	cf_strv_add(&argv, spec->initdata ? spec->initdata : "");
	cf_strv_add(&argv, spec->config->blob_cache ? spec->config->blob_cache : "");
	cf_strv_add(&argv, spec->config->init);
	cf_strv_add(&argv, "--no-pid1");
	cf_strv_add(&argv, "--listen");
	cf_strv_add(&argv, listen);
	for (size_t i = 0; i < spec->config->init_args.count; i++)
		cf_strv_add(&argv, spec->config->init_args.items[i]);
	opts.argv = (const char *const *)argv.items;
	opts.die_with_parent = true;
	opts.new_session = true;
	r = cf_proc_spawn(&opts, &v->pid, err);
	cf_strv_fini(&argv);
	return r;
}

static int none_connect(struct vmm *v, int64_t timeout_ms, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = agent_path(v->dir);
	int64_t deadline = cf_now_ms() + timeout_ms;
	int fd;

	do {
		fd = ttrpc_dial_fd(path, DIAL_SLICE_MS, err);
		if (fd >= 0)
			return fd;
		if (!vmm_is_alive(v))
			return cf_fail(err, CF_UNAVAILABLE, "the guest's init ended");
	} while (cf_now_ms() < deadline);
	return cf_fail(err, CF_DEADLINE_EXCEEDED, "the guest's init did not listen in time");
}

/* The init of a pid namespace ignores what it does not handle: the outer process passes TERM on. */
static void none_stop(struct vmm *v)
{
	kill(v->pid, SIGTERM);
}

const struct vmm_ops vmm_none_ops = {
	.name = "none",
	.has_own_network = false,
	.start = none_start,
	.connect = none_connect,
	.stop = none_stop,
};
