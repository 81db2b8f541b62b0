/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/accel.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/proc.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEBUG_EXIT_PORT 0xf4
#define VERDICT_FILE    "accel"
#define VERDICT_MAX     16u

void accel_boot_sector(uint8_t out[ACCEL_BOOT_BYTES])
{
	static const uint8_t code[] = {
		0xb0, ACCEL_EXIT_CODE, /* mov al, … */
		0xe6, DEBUG_EXIT_PORT, /* out port, al */
		0xf4,                  /* hlt */
		0xeb, 0xfd,            /* jmp to it */
	};

	memset(out, 0, ACCEL_BOOT_BYTES);
	memcpy(out, code, sizeof(code));
	out[ACCEL_BOOT_BYTES - 2] = 0x55;
	out[ACCEL_BOOT_BYTES - 1] = 0xaa;
}

/* Waits for @pid at most @timeout_ms, then kills it; true when it ended by itself with @want. */
static bool ended_with(pid_t pid, int want, int64_t timeout_ms)
{
	cf_cleanup(cf_closep) int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct cf_err ignored;
	int status = 0;

	if (fd < 0 || poll(&p, 1, (int)timeout_ms) <= 0)
		kill(pid, SIGKILL);
	return cf_proc_wait(pid, &status, &ignored) == 0 && WIFEXITED(status) &&
	       WEXITSTATUS(status) == want;
}

bool accel_probe(const char *qemu, const char *name, const char *dir, int64_t timeout_ms)
{
	cf_cleanup(cf_freep) char *disk = cf_asprintf("%s/probe-%d.img", dir, (int)getpid());
	cf_cleanup(cf_freep) char *drive =
		cf_asprintf("file=%s,format=raw,if=ide,readonly=off", disk);
	const char *cpu = cf_streq(name, "kvm") ? "host,pmu=off" : "max,-cx16";
	const char *argv[] = { qemu,
		               "-no-user-config",
		               "-nodefaults",
		               "-nographic",
		               "-no-reboot",
		               "-machine",
		               "pc",
		               "-accel",
		               name,
		               "-cpu",
		               cpu,
		               "-m",
		               "64M",
		               "-drive",
		               drive,
		               "-device",
		               "isa-debug-exit,iobase=0xf4,iosize=0x04",
		               NULL };
	cf_cleanup(cf_closep) int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct cf_proc_opts opts = { .argv = argv,
		                     .stdin_fd = -1,
		                     .stdout_fd = -1,
		                     .stderr_fd = null,
		                     .die_with_parent = true };
	uint8_t sector[ACCEL_BOOT_BYTES];
	struct cf_err err;
	bool is_fine = false;
	pid_t pid;

	accel_boot_sector(sector);
	if (cf_write_file_atomic(disk, cf_view(sector, sizeof(sector)), 0600, &err) == 0 &&
	    cf_proc_spawn(&opts, &pid, &err) == 0)
		is_fine = ended_with(pid, ACCEL_EXIT_CODE * 2 + 1, timeout_ms);
	(void)!unlink(disk);
	return is_fine;
}

static bool read_verdict(const char *path, enum qemu_accel *ret)
{
	struct cf_buf text = { .max = VERDICT_MAX + 1 };
	struct cf_err ignored;
	bool is_known = false;

	if (cf_read_file(path, VERDICT_MAX, &text, &ignored) == 0) {
		is_known = cf_view_eq_str(cf_buf_view(&text), "kvm") ||
		           cf_view_eq_str(cf_buf_view(&text), "tcg");
		*ret = cf_view_eq_str(cf_buf_view(&text), "kvm") ? QEMU_KVM : QEMU_TCG;
	}
	cf_buf_fini(&text);
	return is_known;
}

enum qemu_accel accel_choose(const struct shim_config *config, const char **ret_text)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/" VERDICT_FILE, config->run_dir);
	enum qemu_accel accel = QEMU_TCG;
	struct cf_err err;

	*ret_text = "configured";
	if (cf_streq(config->accel, "kvm"))
		return QEMU_KVM;
	if (cf_streq(config->accel, "tcg"))
		return QEMU_TCG;
	*ret_text = "probed before";
	if (read_verdict(path, &accel))
		return accel;
	*ret_text = "no /dev/kvm";
	if (access("/dev/kvm", R_OK | W_OK) == 0) {
		bool works = accel_probe(config->qemu, "kvm", config->run_dir, ACCEL_PROBE_MS);

		accel = works ? QEMU_KVM : QEMU_TCG;
		*ret_text = works ? "a probe booted under KVM"
		                  : "/dev/kvm opens, but no guest boots with it";
	}
	if (accel == QEMU_TCG)
		cf_log_warn("emulating: pods will be slow", CF_F_STR("why", *ret_text));
	if (cf_write_file_atomic(path, cf_view_str(accel == QEMU_KVM ? "kvm" : "tcg"), 0600, &err) <
	    0)
		cf_log_warn("the accelerator's verdict is not kept", CF_F_STR("error", err.msg));
	return accel;
}
