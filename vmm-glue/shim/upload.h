/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Copies host files and directories into the guest's share by CopyFile, since nothing of the host's
 * file system is shared with a confidential guest. Directories are walked; in them, regular files,
 * directories and symbolic links are copied and everything else is left out, as Kata does.
 */
#include "proto/ttrpc.h"
#include "vmm-glue/shim/agent_spec.h"

#define UPLOAD_FILES_MAX 10000u      /* entries of one container's mounts */
#define UPLOAD_BYTES_MAX (64u << 20) /* bytes of one container's mounts */
#define UPLOAD_DEPTH_MAX 32u
#define UPLOAD_CHUNK_MAX (1u << 20)

/*
 * Worker thread. @message_max bounds one chunk. Return: 0, -CF_RESOURCE_EXHAUSTED (a limit above),
 * what reading failed with, or what the guest refused.
 */
cf_must_use int upload_all(struct ttrpc_client *client, const struct agent_container *c,
                           size_t message_max, int64_t timeout_ms, struct cf_err *err);
