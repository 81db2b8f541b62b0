/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * coffer-imaged --oneshot pull: one image into a directory, without daemon or key broker. The same
 * code as in the guest, with keys from a directory and the policy from a file.
 */

/* argv[0] is "pull". Exit codes are those of the coffer command. */
int imaged_oneshot_pull(int argc, char **argv);
/* The exit code that a cf_code stands for. */
int imaged_exit_code(int code);
