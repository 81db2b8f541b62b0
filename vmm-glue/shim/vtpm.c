/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/vtpm.h"

#include "base/fd.h"
#include "base/proc.h"
#include "vmm-glue/shim/qemu_args.h"

#include <errno.h>
#include <unistd.h>

#define STATE_FILE     "tpm2-00.permall" /* what swtpm keeps across restarts */
#define STATE_FILE_MAX (1u << 20)
#define CONTROL_FD     "3"

static int copy_state(const char *from, const char *to, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *source = cf_asprintf("%s/" STATE_FILE, from);
	cf_cleanup(cf_freep) char *target = cf_asprintf("%s/" STATE_FILE, to);
	struct cf_buf state = { .max = STATE_FILE_MAX + 1 };
	int r = cf_read_file(source, STATE_FILE_MAX, &state, err);

	if (r == 0)
		r = cf_write_file_atomic(target, cf_buf_view(&state), 0600, err);
	cf_buf_wipe(&state); /* holds the endorsement key's seed */
	return r;
}

static int provision(const char *config, const char *state, struct cf_err *err)
{
	const char *argv[] = { "swtpm_setup",
		               "--tpm2",
		               "--tpmstate",
		               state,
		               "--config",
		               config,
		               "--create-ek-cert",
		               "--create-platform-cert",
		               "--lock-nvram",
		               "--overwrite",
		               "--pcr-banks",
		               "sha256",
		               NULL };
	struct cf_proc_opts opts = {
		.argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1
	};

	return cf_proc_run(&opts, 1u << 16, VTPM_SETUP_MS, NULL, err);
}

static int prepare_state(const struct shim_config *c, const char *state, struct cf_err *err)
{
	int r = cf_mkdir_p(state, 0700, err);

	if (r == 0 && c->tpm_state)
		r = copy_state(c->tpm_state, state, err);
	else if (r == 0 && c->tpm_setup_config)
		r = provision(c->tpm_setup_config, state, err);
	return r < 0 ? cf_wrap(err, r, "software TPM") : 0;
}

/* The socket is bound here, so that QEMU can connect however long swtpm takes to get there. */
int vtpm_start(const struct vmm_spec *spec, struct vmm *v, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *socket = cf_asprintf("%s/" QEMU_TPM_SOCKET, spec->dir);
	cf_cleanup(cf_freep) char *state = cf_asprintf("%s/tpmstate", spec->dir);
	cf_cleanup(cf_freep) char *dir = cf_asprintf("dir=%s", state);
	cf_cleanup(cf_closep) int listener = -1;
	cf_cleanup(cf_closep) int log =
		open(v->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	const char *argv[] = { "swtpm",
		               "socket",
		               "--tpm2",
		               "--tpmstate",
		               dir,
		               "--ctrl",
		               "type=unixio,fd=" CONTROL_FD,
		               "--flags",
		               "not-need-init",
		               NULL };
	struct cf_proc_opts opts = {
		.argv = argv, .stdin_fd = -1, .stdout_fd = log, .stderr_fd = log
	};
	int r = prepare_state(spec->config, state, err);

	if (r < 0)
		return r;
	listener = cf_listen_unix(socket, err);
	if (listener < 0)
		return cf_wrap(err, listener, "software TPM");
	opts.fds = &listener;
	opts.fd_count = 1;
	opts.die_with_parent = true;
	r = cf_proc_spawn(&opts, &v->helpers[v->helper_count], err);
	if (r < 0)
		return cf_wrap(err, r, "software TPM");
	v->helper_count++;
	return 0;
}
