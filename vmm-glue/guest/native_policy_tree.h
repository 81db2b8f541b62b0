/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The parsed form behind native_policy.h, for its two .c files alone. */
#include "vmm-glue/guest/native_policy.h"

struct policy_command {
	unsigned line;
	struct cf_strv argv;
};

struct policy_container {
	unsigned line; /* of [[container]]; 0: there is no policy.toml */
	bool is_open;  /* judged elsewhere */
	char *name;
	char *image;
	bool must_be_encrypted;
	bool has_args;
	struct cf_strv args;
	struct cf_strv env;
	char *cwd;
	bool has_user, has_gid;
	uint32_t uid, gid;
	uint32_t *groups;
	size_t group_count;
	bool has_caps;
	struct cf_strv caps; /* with the CAP_ prefix */
	bool is_privileged;
	bool may_share_pids;
	bool must_be_readonly;
	bool must_not_gain;
	struct cf_strv devices;
	struct cf_strv mounts;
	struct policy_command *exec;
	size_t exec_count;
	bool may_read;
	bool may_write;
};

struct native_policy {
	struct policy_container *containers;
	size_t count;
};

/* "CAP_KILL" and the like, in the kernel's order; NULL-ended. */
extern const char *const policy_all_caps[];
bool policy_cap_is_known(const char *name);
