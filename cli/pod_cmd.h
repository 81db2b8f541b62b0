/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include "cli/cli.h"
#include "proto/oci_manifest.h"

int cli_pod_run(int argc, char **argv);

/*
 * The OCI process object of an image: entrypoint and command (or @args in the command's place), the
 * environment with @env behind it, working directory, numeric user. -CF_UNIMPLEMENTED: a user by
 * name, which only the guest could look up.
 */
cf_must_use int pod_process_write(const struct oci_config *config, const struct cf_strv *args,
                                  const struct cf_strv *env, struct cf_buf *out,
                                  struct cf_err *err);
