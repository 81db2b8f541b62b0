/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include "cli/cli.h"

int cli_completion(int argc, char **argv);
