/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The native policy: what the owner of a workload lets its host ask of a guest. It arrives measured,
 * as key "policy.toml" of initdata, and is judged before every request. Without it a container runs
 * what its image's configuration says, with the default capabilities, without exec, never privileged.
 *
 * No I/O. The policy's text is the owner's but arrives through the host; the requests are the host's.
 * Every refusal is PERMISSION_DENIED and names the rule with its line and the offending value.
 *
 *   version = 1
 *   [[container]]
 *   image = "registry.example/app@sha256:…"  # required; what the pod spec says
 *   name = "web"                             # only this container of the pod
 *   encrypted = "required"                   # or "optional", the default
 *   args = ["/bin/server", "--port=80"]      # default: the image's entrypoint and command
 *   env = ["MODE=strict", "LEVEL=*"]         # besides the image's; "=*": optional, any value
 *   cwd = "/srv"                             # default: the image's
 *   user = "1000:1000"                       # default: the image's; "1000": the image's group
 *   groups = [2000]                          # additional groups of a user other than root
 *   capabilities = ["NET_BIND_SERVICE"]      # at most these; default: the usual fourteen
 *   devices = ["/dev/fuse"]
 *   mounts = ["/data", "/etc/app:ro"]        # destinations, besides those every pod has
 *   exec = [["cat", "/etc/hostname"]]        # these commands, word by word
 *   privileged = false
 *   share_pids = false                       # may it join the pod's pid namespace?
 *   readonly_rootfs = false                  # true: demanded
 *   no_new_privileges = false                # true: demanded
 *   logs = true                              # may the host read stdout and stderr?
 *   stdin = false                            # may the host write to stdin?
 */
#include "base/str.h"
#include "proto/agent.pb-c.h"

#define NATIVE_POLICY_SIZE_MAX       (1u << 20)
#define NATIVE_POLICY_CONTAINERS_MAX 256u
#define NATIVE_POLICY_ITEMS_MAX      1024u /* entries of one list */

struct native_policy;
struct policy_container; /* one [[container]]; owned by its policy */

/* What the image itself says, from the bundle that the image service made of verified bytes. */
struct policy_image {
	struct cf_strv args; /* entrypoint and command */
	struct cf_strv env;
	const char *cwd; /* "/" when the image has none */
	uint32_t uid, gid;
	bool is_encrypted; /* every layer came encrypted */
};

/*
 * Return: 0, -CF_INVALID_ARGUMENT (with the line; unknown keys too), -CF_UNIMPLEMENTED (another
 * version), -CF_RESOURCE_EXHAUSTED.
 */
cf_must_use int native_policy_parse(struct cf_view text, struct native_policy **ret,
                                    struct cf_err *err);
struct native_policy *native_policy_free(struct native_policy *p);
CF_DEFINE_CLEANUP(struct native_policy *, native_policy_free);

/* The four judgements below take @p == NULL for "no policy". */

/* Before anything is pulled: may a container of image @ref run at all? */
cf_must_use int native_policy_image(const struct native_policy *p, const char *ref,
                                    struct cf_err *err);

struct native_policy_request {
	const char *image; /* reference as the pod spec has it */
	const char *name;  /* the container's name, or NULL; only narrows the choice */
	bool shares_pids;  /* it is to see the pod's other processes */
	const struct policy_image *config;
	const Grpc__Spec *spec;
};
/*
 * *ret: the container entry that allows it, borrowed; it outlives neither @p nor the program. With
 * several entries of that image any may allow it; the message is the last one's.
 */
cf_must_use int native_policy_container(const struct native_policy *p,
                                        const struct native_policy_request *req,
                                        const struct policy_container **ret, struct cf_err *err);

/* Who a container's processes are. */
struct policy_user {
	uint32_t uid, gid;
	uint32_t *groups; /* owned */
	size_t group_count;
};
void policy_user_fini(struct policy_user *u);
/*
 * The user that an allowed request gets: the policy's or the image's. A host that pulls no image
 * cannot look into its passwd, and sends zeroes for what it does not know; those are filled in, so
 * that a request never gets more by leaving something out. @ret is initialised here.
 */
void native_policy_user(const struct policy_container *c, const struct policy_image *image,
                        const Grpc__Process *process, struct policy_user *ret);

/* What a container was started with; an exec may not have more. */
struct policy_granted {
	const struct cf_strv *env;
	const struct cf_strv *caps; /* bounding set */
	const char *cwd;
	uint32_t uid, gid;             /* what it got … */
	uint32_t asked_uid, asked_gid; /* … and what the host had asked for, which is as good */
};
cf_must_use int native_policy_exec(const struct policy_container *c, const Grpc__Process *process,
                                   const struct policy_granted *granted, struct cf_err *err);

cf_must_use int native_policy_read(const struct policy_container *c, struct cf_err *err);
cf_must_use int native_policy_write(const struct policy_container *c, struct cf_err *err);
/* For a guest whose owner judges by other means (policy.rego): everything is let through here. */
const struct policy_container *native_policy_open(void);
bool policy_container_is_privileged(const struct policy_container *c);
/* /dev/null and the like: crun makes them itself, whatever numbers the host gives. */
bool policy_device_is_default(const char *path);
