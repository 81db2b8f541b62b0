/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * An OCI bundle as containerd hands it over: config.json and what its annotations say about the pod
 * (containerd internal/cri/annotations; CRI-O's own names are understood too).
 */
#include "base/json.h"

#define BUNDLE_CONFIG_MAX (4u << 20) /* bytes of config.json */
#define SHIM_ID_MAX       76u        /* containerd pkg/identifiers */

enum bundle_kind {
	BUNDLE_SANDBOX,   /* a pod's pause container: boots the VM */
	BUNDLE_CONTAINER, /* a container of a pod */
	BUNDLE_SINGLE,    /* ctr, nerdctl, podman: VM and container in one */
};

struct bundle {
	struct cf_json *config; /* NULL when the bundle has no config.json (sandbox API) */
	enum bundle_kind kind;
	char *sandbox_id; /* groups a pod; the container's own id when it stands alone */
};

/*
 * Reads DIR/config.json. @id names the container, for one that stands alone.
 * Return: 0, -CF_NOT_FOUND, -CF_INVALID_ARGUMENT, -CF_RESOURCE_EXHAUSTED.
 */
cf_must_use int bundle_load(const char *dir, const char *id, struct bundle **ret,
                            struct cf_err *err);
/* The same from config.json's text. */
cf_must_use int bundle_parse(struct cf_view text, const char *id, struct bundle **ret,
                             struct cf_err *err);
struct bundle *bundle_free(struct bundle *b);
CF_DEFINE_CLEANUP(struct bundle *, bundle_free);

/* Borrowed; an empty view when absent. */
struct cf_view bundle_annotation(const struct bundle *b, const char *key);
/* The image's reference as the user wrote it, by whichever runtime's annotation. */
struct cf_view bundle_image(const struct bundle *b);
/* Path of the pod's network namespace; empty when the bundle names none. */
struct cf_view bundle_netns(const struct bundle *b);
/* "pod_sandbox", "pod_container" or "single_container", as Kata tells the guest. */
const char *bundle_kind_name(enum bundle_kind kind);

/* containerd's identifier rule: letters, digits and . _ - between them, at most SHIM_ID_MAX. */
cf_must_use int shim_id_check(const char *what, const char *id, struct cf_err *err);
