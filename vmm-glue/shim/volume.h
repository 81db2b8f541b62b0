/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The Kata volume that a guest-pull snapshotter puts into the rootfs mount's options:
 * "io.katacontainers.volume=" + base64(JSON { volume_type: "image_guest_pull", image_pull: {
 * metadata: {…} } }). It becomes a Storage of the agent. The image's name comes from the runtime's
 * annotation, never from the mount; the metadata is a hint that the guest does not trust.
 *
 * Source: kata-containers src/runtime/virtcontainers/{fs_share_linux,mount}.go.
 */
#include "base/str.h"
#include "proto/agent.pb-c.h"
#include "vmm-glue/shim/bundle.h"

#define VOLUME_OPTION_PREFIX "io.katacontainers.volume="
#define VOLUME_JSON_MAX      (64u << 10) /* bytes of one volume, decoded */

/**
 * volume_guest_pull() - the rootfs Storage of a container
 * @options:  all options of the rootfs mounts
 * @forced:   pull in the guest even when no option says so
 * @root:     mount point in the guest
 * @ret:      free with grpc__storage__free_unpacked(s, NULL)
 *
 * Return: 0, -CF_INVALID_ARGUMENT (malformed volume), -CF_UNIMPLEMENTED (no guest-pull volume: a
 * rootfs on the host is not shared with the guest), -CF_FAILED_PRECONDITION (no image name).
 */
cf_must_use int volume_guest_pull(const struct bundle *b, const struct cf_strv *options,
                                  bool forced, const char *root, Grpc__Storage **ret,
                                  struct cf_err *err);

/* True when @path lies on a tmpfs. */
bool volume_is_tmpfs(const char *path);
