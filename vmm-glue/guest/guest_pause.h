/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The pod's pause process: built in, so that no image, no crun and no policy entry is needed for
 * it. It is this very program in another role, with nothing in reach: no root file system, no
 * capability, no memory of ours. As PID 1 of the pod's pid namespace it reaps the orphans. TERM and
 * INT end it.
 */
#include "base/err.h"

#include <sys/types.h>

#define GUEST_PAUSE_ROLE "pause-process" /* argv[1] of that role */

/*
 * PID 1 of a new pid namespace, so that containers can share it and never ours. @root: an empty
 * directory. The caller reaps it.
 * *ret_ready: the caller's; gives one byte as soon as signals find the process prepared, or just ends.
 */
cf_must_use int guest_pause_spawn(const char *root, pid_t *ret, int *ret_ready, struct cf_err *err);
/* The role's body; @argv[2] is the empty directory. Returns the exit status. */
int guest_pause_main(int argc, char **argv);
