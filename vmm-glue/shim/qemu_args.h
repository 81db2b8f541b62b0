/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * QEMU's command line, as a pure function of what was decided before: no file is opened, nothing is
 * asked of the system. Everything that firmware measures (memory, vCPUs, kernel, initrd, kernel
 * command line, option ROMs) is the same for every pod of one size; what differs (names, sockets,
 * MAC addresses) is not measured.
 */
#include "base/str.h"
#include "vmm-glue/shim/vmm.h"

/* Names of sockets and files in the sandbox's directory; short, for socket paths are. */
#define QEMU_AGENT_SOCKET "agent"
#define QEMU_QMP_SOCKET   "qmp"
#define QEMU_TPM_SOCKET   "tpm"
#define QEMU_CONSOLE_LOG  "console.log"
#define QEMU_VARS_FILE    "vars.fd"

#define QEMU_AGENT_PORT "agent.channel.0" /* what the guest's init looks for */
#define QEMU_USER_MAC   "52:54:00:12:34:56"

enum qemu_accel {
	QEMU_TCG,
	QEMU_KVM,
};

struct qemu_args {
	const struct vmm_spec *spec;
	enum qemu_accel accel;
	const char *cmdline; /* the kernel's, whole */
	bool has_tpm;
	int vsock_fd; /* as the child sees it; -1: virtio-serial */
	uint32_t vsock_cid;
	int first_tap_fd;         /* as the child sees it; one a NIC, in order */
	unsigned cbitpos;         /* SNP: CPUID 0x8000001F EBX[5:0] */
	const char *quote_socket; /* TDX: unix socket of the quote service, or NULL for vsock */
};

/*
 * Return: 0, -CF_INVALID_ARGUMENT (a comma or control character in a path: QEMU would read an
 * option), -CF_FAILED_PRECONDITION (a TEE without firmware or with emulation).
 */
cf_must_use int qemu_args_build(const struct qemu_args *a, struct cf_strv *ret, struct cf_err *err);
