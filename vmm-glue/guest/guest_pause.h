/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The pod's pause process: built in, so that no image, no crun and no policy entry is needed for
 * it. It is this very program in another role, with nothing in reach: no root file system, no
 * capability, no memory of ours. In a pod that shares its pids it is PID 1 of that namespace and
 * reaps the orphans. TERM and INT end it.
 */
#include "base/err.h"

#include <sys/types.h>

#define GUEST_PAUSE_ROLE "pause-process" /* argv[1] of that role */

/*
 * @new_pids: PID 1 of a new pid namespace. @root: an empty directory. The caller reaps it.
 * *ret_ready: the caller's; gives one byte as soon as signals find the process prepared, or just ends.
 */
cf_must_use int guest_pause_spawn(bool new_pids, const char *root, pid_t *ret, int *ret_ready,
                                  struct cf_err *err);
/* The role's body; @argv[2] is the empty directory. Returns the exit status. */
int guest_pause_main(int argc, char **argv);
