/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The machine under a pod: one row of functions per driver. "qemu" boots a VM; "none" runs the
 * guest's init as a process in namespaces of its own, for tests and for machines without any way to
 * boot a VM. A machine is started on a worker thread and belongs to the loop afterwards.
 *
 * Nothing of a machine outlives it: its processes die with the shim's, the state file lets
 * "delete" find what a killed shim left, and cleanup is idempotent.
 */
#include "base/str.h"
#include "vmm-glue/shim/config.h"

#include <sys/types.h>

#define VMM_LOG_TAIL 300 /* bytes of the machine's own log that an error quotes */
#define VMM_NICS_MAX 8u  /* of one pod */

/* How a pod's network reaches the machine; filled by pod_net, empty for user and none. */
struct vmm_nic {
	int tap_fd; /* borrowed */
	char mac[18];
	unsigned mtu;
};

struct vmm_spec {
	const struct shim_config *config;
	const char *sandbox_id;
	const char *dir;   /* the sandbox's own directory */
	const char *netns; /* path, or NULL: none of its own */
	unsigned vcpus;
	unsigned memory_mib;
	const char *initdata;           /* disk image, or NULL */
	struct cf_view initdata_digest; /* empty without initdata */
	const struct vmm_nic *nics;
	size_t nic_count;
};

struct vmm {
	const struct vmm_ops *ops;
	pid_t pid;        /* of the machine; 0 when it never started */
	char *dir;        /* the sandbox's directory: sockets and logs */
	char *log;        /* the file that holds the machine's own words */
	char *console;    /* the guest's, when it is kept */
	char *agent;      /* qemu: path of its port's socket, or a vsock address */
	pid_t helpers[2]; /* swtpm and the like; reaped by vmm_cleanup() */
	size_t helper_count;
	size_t message_max; /* bytes that the transport carries best in one message */
};

struct vmm_ops {
	const char *name;
	bool has_own_network; /* the guest needs interfaces and routes from the agent protocol */
	/* Worker thread: starts the processes. *ret is set also on failure, for cleanup. */
	int (*start)(const struct vmm_spec *spec, struct vmm *vmm, struct cf_err *err);
	/*
	 * Worker thread: a connected stream to the guest's agent, an fd ≥ 0. Waits for the guest's
	 * first sign of life, at most @timeout_ms, and no longer than the machine lives.
	 */
	int (*connect)(struct vmm *vmm, int64_t timeout_ms, struct cf_err *err);
	/* Loop thread: asks the machine to end; it is killed later if it does not. */
	void (*stop)(struct vmm *vmm);
};

extern const struct vmm_ops vmm_none_ops, vmm_qemu_ops;
/* NULL: no such driver. */
const struct vmm_ops *vmm_find(const char *name);

/* Starts a machine; on failure nothing of it is left. */
cf_must_use int vmm_start(const struct vmm_spec *spec, struct vmm **ret, struct cf_err *err);
cf_must_use int vmm_connect(struct vmm *vmm, int64_t timeout_ms, struct cf_err *err);
void vmm_stop(struct vmm *vmm, bool is_forced);
/* Ends helpers, frees. The machine's own process must have been reaped. NULL is fine. */
struct vmm *vmm_free(struct vmm *vmm);

/* For drivers: true while the machine's process lives (does not reap it). */
bool vmm_is_alive(const struct vmm *vmm);
/* Adds the end of the machine's log to an error. Returns @r. */
int vmm_explain(const struct vmm *vmm, int r, struct cf_err *err);
/* This binary's path, for re-execution; the caller frees. */
char *vmm_self(void);
