/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include "cli/cli.h"

int cli_initdata_new(int argc, char **argv);
int cli_initdata_digest(int argc, char **argv);
