/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Figures of a container's cgroup, version 2 or 1, and of the machine's network devices. The kernel
 * is trusted; what a file lacks is zero.
 */
#include "base/bytes.h"
#include "proto/agent.pb-c.h"

#define GUEST_STATS_LINKS_MAX 64u

struct guest_stats; /* owns the messages it is made of */

/* @cgroup_root: where cgroups are mounted; @path: "/coffer/ID". Never fails: what is not there is 0. */
struct guest_stats *guest_stats_read(const char *cgroup_root, const char *path);
/* Borrowed. */
const Grpc__StatsContainerResponse *guest_stats_message(const struct guest_stats *s);
struct guest_stats *guest_stats_free(struct guest_stats *s);

/* Value of "KEY VALUE" in a flat-keyed file's text; 0 when absent. */
uint64_t guest_stats_key(struct cf_view text, const char *key);
/* Devices of /proc/net/dev but the loopback; entries are written to @out. */
size_t guest_stats_links(struct cf_view net_dev, Grpc__NetworkStats *out, size_t max);

/* Prometheus text of this process and machine. Appends to @out. */
void guest_metrics(struct cf_buf *out);
