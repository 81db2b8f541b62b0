/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The shim's configuration: /etc/coffer/shim.toml, or the file that COFFER_SHIM_CONFIG, the
 * runtime options' config_path or (as text) config_body name. It is written by the node's
 * administrator and trusted; a missing default file gives the defaults below, any other missing
 * file is an error. Unknown keys are refused by name, since a misspelt limit is no limit.
 */
#include "base/str.h"

#define SHIM_CONFIG_PATH "/etc/coffer/shim.toml"
#define SHIM_CONFIG_MAX  (1u << 20)

/* Default places of the guest image (deploy/guest-image installs it there). */
#define SHIM_GUEST_KERNEL  "/usr/share/coffer/guest/vmlinuz"
#define SHIM_GUEST_INITRD  "/usr/share/coffer/guest/initrd.img"
#define SHIM_GUEST_CMDLINE "/usr/share/coffer/guest/cmdline"
#define SHIM_RUN_DIR       "/run/coffer/s"
#define SHIM_PULL_REPORTS  "/run/coffer/system.sock"

struct shim_config {
	char *driver;               /* "qemu" or "none" */
	char *run_dir;              /* per-sandbox directories: RUN_DIR/NAMESPACE/ID */
	bool is_force_guest_pull;   /* every container's rootfs is pulled in the guest */
	int64_t boot_timeout_ms;    /* until the guest's first byte */
	int64_t request_timeout_ms; /* one agent request, but CreateContainer */
	int64_t create_timeout_ms;  /* CreateContainer: the image is pulled in it */
	int64_t stop_timeout_ms;    /* orderly end of the guest, then it is killed */

	char *init; /* driver none: the guest's init program */
	struct cf_strv init_args;

	char *kernel, *initrd;
	char *cmdline;       /* file of the kernel command line that belongs to the image */
	char *kernel_params; /* appended to it; measured like it */
	char *qemu;          /* program */
	char *accel;         /* "auto", "kvm" or "tcg" */
	char *machine_tee;   /* "none", "snp", "tdx" */
	char *transport;     /* "virtio-serial" or "vsock" */
	char *network;       /* "tc", "bridge", "user" or "none" */
	char *firmware;      /* UEFI code, or NULL: direct boot (proves nothing about the guest) */
	char *firmware_vars; /* template of the UEFI variables, or NULL */
	char *tpm;           /* "none" or "swtpm" */
	char *tpm_state; /* a directory holding a provisioned TPM, copied for each pod, or NULL */
	char *tpm_setup_config; /* swtpm_setup's configuration: a new TPM for each pod, or NULL */
	bool has_memory_shared;
	bool has_console; /* the guest's console into a file: unbounded, for looking into failures */
	int64_t vcpus, memory_mib;   /* without limits in the pod */
	int64_t memory_overhead_mib; /* added to what the pod asks for */
	int64_t vcpus_max, memory_max_mib;

	char *initdata; /* file of the initdata TOML for pods that bring none, or NULL */
	bool has_annotation_initdata; /* take it from the pod's annotation (it is measured) */
	char *blob_cache; /* socket of the node's cache of encrypted layers, or NULL: none */
	char *early_pull; /* directory where pods hear of images that containerd pulls, or NULL: off */
	char *pull_reports; /* the snapshotter's control socket; "": not told how far pulls are */
	bool is_bench;      /* phases into RUN_DIR/bench.jsonl */
};

/* Defaults alone. */
struct shim_config *shim_config_default(void);
/* @text is TOML. Return: 0, -CF_INVALID_ARGUMENT, -CF_OUT_OF_RANGE. */
cf_must_use int shim_config_parse(struct cf_view text, struct shim_config **ret,
                                  struct cf_err *err);
/* @path: NULL looks at COFFER_SHIM_CONFIG, then at SHIM_CONFIG_PATH. */
cf_must_use int shim_config_load(const char *path, struct shim_config **ret, struct cf_err *err);
struct shim_config *shim_config_free(struct shim_config *c);
CF_DEFINE_CLEANUP(struct shim_config *, shim_config_free);
