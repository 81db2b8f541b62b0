/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include "cli/cli.h"

int cli_attest_show(int argc, char **argv);
int cli_attest_evidence(int argc, char **argv);
