/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Tells when the kernel killed something in a container for want of memory. Version 2 cgroups say so
 * through a file that changes, version 1 through an eventfd.
 */
#include "base/loop.h"

struct guest_oom;

/*
 * Watches the cgroup @path ("/coffer/ID") below @cgroup_root. @fn(@arg) runs for each new kill.
 * NULL when it cannot be watched: then nobody is told.
 */
struct guest_oom *guest_oom_watch(struct cf_loop *loop, const char *cgroup_root, const char *path,
                                  void (*fn)(void *arg), void *arg);
struct guest_oom *guest_oom_free(struct guest_oom *o);
