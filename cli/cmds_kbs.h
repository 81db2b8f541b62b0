/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Commands around the key service. Each takes argv[0] = its name and returns an exit code. */
#include "cli/cli.h"

int cli_attest_verify(int argc, char **argv);
int cli_attest_explain(int argc, char **argv);
int cli_kbs_init(int argc, char **argv);
int cli_kbs_serve(int argc, char **argv);
int cli_kbs_resource_put(int argc, char **argv);
int cli_kbs_resource_ls(int argc, char **argv);
int cli_kbs_resource_rm(int argc, char **argv);
int cli_kbs_reference_put(int argc, char **argv);
int cli_kbs_reference_ls(int argc, char **argv);
int cli_kbs_reference_rm(int argc, char **argv);
int cli_kbs_policy_put(int argc, char **argv);
int cli_kbs_policy_get(int argc, char **argv);
int cli_kbs_policy_ls(int argc, char **argv);
int cli_kbs_policy_rm(int argc, char **argv);
int cli_kbs_policy_test(int argc, char **argv);
int cli_kbs_tpm_root_add(int argc, char **argv);
int cli_kbs_tpm_root_ls(int argc, char **argv);
int cli_kbs_audit_verify(int argc, char **argv);
int cli_kbs_audit_ls(int argc, char **argv);
int cli_measure(int argc, char **argv);
