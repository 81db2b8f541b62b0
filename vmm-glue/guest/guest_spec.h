/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The OCI configuration that crun gets. It is written from what the rules and the policy let
 * through; namespaces, the root, masked paths, the cgroup and the device rules are ours, never the
 * host's. No I/O.
 */
#include "base/bytes.h"
#include "base/json.h"
#include "proto/agent.pb-c.h"
#include "vmm-glue/guest/native_policy.h"

struct guest_spec_opts {
	const char *id;
	const char *rootfs;          /* path here */
	const char *ipc_ns, *uts_ns; /* bind-mounted namespace files of the pod */
	const char *pid_ns;          /* NULL: a new one */
	const char *wire_root; /* what GUEST_WIRE_ROOT is here; sources of mounts are moved there */
	bool is_privileged;
	const struct policy_user *user; /* whatever the host asked for */
	const struct cf_strv *unsealed; /* variables whose value is not what the host sent */
};

/* config.json of a container. */
void guest_spec_write(const Grpc__Spec *spec, const struct guest_spec_opts *opts,
                      struct cf_buf *out);
/* The `process` object alone, for crun exec. */
void guest_spec_write_process(const Grpc__Process *process, const struct policy_user *user,
                              const struct cf_strv *unsealed, struct cf_buf *out);
/* LinuxResources alone, for crun update. */
void guest_spec_write_resources(const Grpc__LinuxResources *res, struct cf_buf *out);

/*
 * What the image service wrote beside the root file system: the image's own configuration.
 * Freed with guest_image_config_fini().
 */
struct guest_image_config {
	struct policy_image image;
	struct cf_json *json;
	char *cwd;
};
#define GUEST_IMAGE_CONFIG_MAX (4u << 20)
#define GUEST_IMAGE_ENCRYPTED  "io.coffer.image.encrypted" /* annotation: "true" */
cf_must_use int guest_image_config_parse(struct cf_view text, struct guest_image_config *ret,
                                         struct cf_err *err);
void guest_image_config_fini(struct guest_image_config *c);
