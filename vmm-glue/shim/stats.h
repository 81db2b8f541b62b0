/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The agent's statistics as containerd's metrics: cgroup v1 or v2 messages, by the HOST's cgroup
 * mode, which is how containerd decides what it expects.
 *
 * Source: kata-containers src/runtime/pkg/containerd-shim-v2/metrics.go.
 */
#include "base/bytes.h"
#include "proto/agent.pb-c.h"

/* Packs into @out; returns the Any's type URL (static). */
char *stats_pack(const Grpc__StatsContainerResponse *in, bool is_v2, struct cf_buf *out);
bool stats_host_is_v2(void);
