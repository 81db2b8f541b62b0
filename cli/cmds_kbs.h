/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Commands around the key service. Each takes argv[0] = its name and returns an exit code. */
#include "cli/cli.h"

int cli_attest_verify(int argc, char **argv);
