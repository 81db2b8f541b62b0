/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the guest's agent is told about a container: config.json turned into the agent protocol's
 * Spec and constrained as Kata's runtime does it (the owner's policies are written against that
 * shape), the rootfs that the guest pulls, and host mounts rewritten to copies in the guest.
 *
 * Source: kata-containers src/runtime/virtcontainers/kata_agent.go, fs_share_linux.go.
 */
#include "base/str.h"
#include "proto/agent.pb-c.h"
#include "proto/containerd_task.pb-c.h"
#include "vmm-glue/shim/bundle.h"

#define AGENT_SHARE_DIR   "/run/kata-containers/shared/containers"
#define AGENT_SANDBOX_SHM "/run/kata-containers/sandbox/shm"
#define AGENT_EPHEMERAL   "/run/kata-containers/sandbox/ephemeral"
#define AGENT_SHM_BYTES   67108864

/* A host file or directory that is copied into the guest. */
struct agent_upload {
	char *host;
	char *guest; /* below AGENT_SHARE_DIR */
};

/* Everything of one CreateContainer. */
struct agent_container {
	Grpc__CreateContainerRequest *req; /* owned; every part from malloc */
	struct agent_upload *uploads;
	size_t upload_count, upload_cap;
	bool is_terminal;
};

/* Where the rootfs of a container comes from, as the Create request's mounts say. */
struct agent_rootfs_opts {
	bool is_forced; /* pull in the guest whatever the mounts say */
};

/**
 * agent_container_new() - the CreateContainer request of a bundle
 * @b:      the bundle, with a config
 * @id:     container id
 * @dir:    the bundle's path on the host
 * @mounts: rootfs mounts of containerd's Create, borrowed
 *
 * Return: 0, -CF_INVALID_ARGUMENT (malformed spec or volume), -CF_UNIMPLEMENTED (a rootfs on the
 * host, or a volume that only a shared file system could carry), -CF_FAILED_PRECONDITION (the
 * image's name is nowhere).
 */
cf_must_use int agent_container_new(const struct bundle *b, const char *id, const char *dir,
                                    Containerd__Types__Mount *const *mounts, size_t mount_count,
                                    const struct agent_rootfs_opts *opts,
                                    struct agent_container **ret, struct cf_err *err);
struct agent_container *agent_container_free(struct agent_container *c);
CF_DEFINE_CLEANUP(struct agent_container *, agent_container_free);

/* An OCI process object (JSON text of Exec's Any) as the agent's Process. Free with
 * grpc__process__free_unpacked(p, NULL). */
cf_must_use int agent_process_new(struct cf_view json, Grpc__Process **ret, struct cf_err *err);
/* LinuxResources (JSON text of Update's Any), constrained as in a spec. */
cf_must_use int agent_resources_new(struct cf_view json, Grpc__LinuxResources **ret,
                                    struct cf_err *err);

/* Appends to a repeated string or message field of a malloc()ed message. */
void agent_add_str(size_t *count, char ***items, const char *s);
void agent_add_item(size_t *count, void *items, void *item);
/* Replaces a string field, freeing what was there. */
void agent_set_str(char **field, const char *s);
