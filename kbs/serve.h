/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* `coffer-kbs serve`: the daemon. SIGTERM and SIGINT drain, SIGHUP reads the certificate again. */

/* argv[0] is "serve". Returns the exit code. */
int serve_cmd(int argc, char **argv);
