/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* `coffer policy …`: each takes argv[0] = its name and returns an exit code. */
#include "cli/cli.h"

int cli_policy_eval(int argc, char **argv);
int cli_policy_explain(int argc, char **argv);
int cli_policy_check(int argc, char **argv);
int cli_policy_test(int argc, char **argv);
