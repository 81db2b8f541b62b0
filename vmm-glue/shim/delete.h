/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * "delete": containerd runs it in the bundle whenever its connection for a task has closed, after
 * an orderly end as well as after the shim was lost. For a container of a pod it touches nothing but
 * that container's bundle; for a sandbox it ends what a lost shim left. Idempotent.
 */
#include "vmm-glue/shim/args.h"
#include "vmm-glue/shim/config.h"

#define DELETE_NOTE         "coffer-sandbox" /* in the sandbox' bundle: the sandbox' directory */
#define DELETE_SHIM_WAIT_MS 1000             /* for a shim that is just ending by itself */

/* Create of a sandbox leaves its directory's path in the bundle, so that "delete" finds it. */
cf_must_use int delete_leave_note(const char *bundle, const struct shim_config *config,
                                  const char *ns, const char *id, struct cf_err *err);

/* The action "delete": prints a DeleteResponse. */
cf_must_use int delete_run(const struct shim_args *args, struct cf_err *err);
