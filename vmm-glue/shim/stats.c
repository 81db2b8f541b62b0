/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/stats.h"

#include "base/str.h"
#include "proto/cgroups_v1.pb-c.h"
#include "proto/cgroups_v2.pb-c.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#define CGROUP_ROOT "/sys/fs/cgroup"
#define NS_PER_US   1000u

typedef Io__Containerd__Cgroups__V1__Metrics v1_metrics;
typedef Io__Containerd__Cgroups__V2__Metrics v2_metrics;

bool stats_host_is_v2(void)
{
	struct statfs fs;

	return statfs(CGROUP_ROOT, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

/* A line of the guest's memory.stat, by whichever of two names its cgroup version gives it. */
static uint64_t memory_key(const Grpc__MemoryStats *m, const char *v1, const char *v2)
{
	for (size_t i = 0; m && i < m->n_stats; i++)
		if (cf_streq(m->stats[i]->key, v1) || cf_streq(m->stats[i]->key, v2))
			return m->stats[i]->value;
	return 0;
}

static void pack(const ProtobufCMessage *msg, struct cf_buf *out)
{
	uint8_t *at = cf_buf_reserve(out, protobuf_c_message_get_packed_size(msg));

	if (at)
		out->size += protobuf_c_message_pack(msg, at);
}

static void v1_memory(const Grpc__MemoryStats *m, Io__Containerd__Cgroups__V1__MemoryStat *ret,
                      Io__Containerd__Cgroups__V1__MemoryEntry *usage)
{
	ret->cache = m->cache;
	ret->rss = memory_key(m, "rss", "anon");
	ret->pg_fault = memory_key(m, "pgfault", NULL);
	ret->pg_maj_fault = memory_key(m, "pgmajfault", NULL);
	ret->inactive_file = memory_key(m, "inactive_file", NULL);
	ret->active_file = memory_key(m, "active_file", NULL);
	ret->inactive_anon = memory_key(m, "inactive_anon", NULL);
	ret->active_anon = memory_key(m, "active_anon", NULL);
	ret->total_rss = memory_key(m, "total_rss", "anon");
	ret->total_cache = memory_key(m, "total_cache", "file");
	ret->total_inactive_file = memory_key(m, "total_inactive_file", "inactive_file");
	if (!m->usage)
		return;
	usage->limit = m->usage->limit;
	usage->usage = m->usage->usage;
	usage->max = m->usage->max_usage;
	usage->failcnt = m->usage->failcnt;
	ret->usage = usage;
}

static void pack_v1(const Grpc__CgroupStats *in, struct cf_buf *out)
{
	v1_metrics msg = IO__CONTAINERD__CGROUPS__V1__METRICS__INIT;
	Io__Containerd__Cgroups__V1__CPUStat cpu = IO__CONTAINERD__CGROUPS__V1__CPUSTAT__INIT;
	Io__Containerd__Cgroups__V1__CPUUsage usage = IO__CONTAINERD__CGROUPS__V1__CPUUSAGE__INIT;
	Io__Containerd__Cgroups__V1__MemoryStat mem =
		IO__CONTAINERD__CGROUPS__V1__MEMORY_STAT__INIT;
	Io__Containerd__Cgroups__V1__MemoryEntry entry =
		IO__CONTAINERD__CGROUPS__V1__MEMORY_ENTRY__INIT;
	Io__Containerd__Cgroups__V1__PidsStat pids = IO__CONTAINERD__CGROUPS__V1__PIDS_STAT__INIT;

	if (in && in->cpu_stats && in->cpu_stats->cpu_usage) {
		usage.total = in->cpu_stats->cpu_usage->total_usage;
		usage.kernel = in->cpu_stats->cpu_usage->usage_in_kernelmode;
		usage.user = in->cpu_stats->cpu_usage->usage_in_usermode;
	}
	cpu.usage = &usage;
	msg.cpu = &cpu;
	if (in && in->memory_stats)
		v1_memory(in->memory_stats, &mem, &entry);
	msg.memory = &mem;
	if (in && in->pids_stats) {
		pids.current = in->pids_stats->current;
		pids.limit = in->pids_stats->limit;
	}
	msg.pids = &pids;
	pack(&msg.base, out);
}

static void v2_memory(const Grpc__MemoryStats *m, Io__Containerd__Cgroups__V2__MemoryStat *ret)
{
	ret->anon = memory_key(m, "total_rss", "anon");
	ret->file = memory_key(m, "total_cache", "file");
	ret->inactive_file = memory_key(m, "total_inactive_file", "inactive_file");
	ret->active_file = memory_key(m, "total_active_file", "active_file");
	ret->pgfault = memory_key(m, "pgfault", NULL);
	ret->pgmajfault = memory_key(m, "pgmajfault", NULL);
	if (m->usage) {
		ret->usage = m->usage->usage;
		ret->usage_limit = m->usage->limit;
	}
	if (m->swap_usage) {
		ret->swap_usage = m->swap_usage->usage;
		ret->swap_limit = m->swap_usage->limit;
	}
}

static void pack_v2(const Grpc__CgroupStats *in, struct cf_buf *out)
{
	v2_metrics msg = IO__CONTAINERD__CGROUPS__V2__METRICS__INIT;
	Io__Containerd__Cgroups__V2__CPUStat cpu = IO__CONTAINERD__CGROUPS__V2__CPUSTAT__INIT;
	Io__Containerd__Cgroups__V2__MemoryStat mem =
		IO__CONTAINERD__CGROUPS__V2__MEMORY_STAT__INIT;
	Io__Containerd__Cgroups__V2__PidsStat pids = IO__CONTAINERD__CGROUPS__V2__PIDS_STAT__INIT;

	if (in && in->cpu_stats && in->cpu_stats->cpu_usage) {
		cpu.usage_usec = in->cpu_stats->cpu_usage->total_usage / NS_PER_US;
		cpu.user_usec = in->cpu_stats->cpu_usage->usage_in_usermode / NS_PER_US;
		cpu.system_usec = in->cpu_stats->cpu_usage->usage_in_kernelmode / NS_PER_US;
	}
	msg.cpu = &cpu;
	if (in && in->memory_stats)
		v2_memory(in->memory_stats, &mem);
	msg.memory = &mem;
	if (in && in->pids_stats) {
		pids.current = in->pids_stats->current;
		pids.limit = in->pids_stats->limit;
	}
	msg.pids = &pids;
	pack(&msg.base, out);
}

char *stats_pack(const Grpc__StatsContainerResponse *in, bool is_v2, struct cf_buf *out)
{
	static char v1_url[] = "io.containerd.cgroups.v1.Metrics";
	static char v2_url[] = "io.containerd.cgroups.v2.Metrics";

	if (is_v2)
		pack_v2(in->cgroup_stats, out);
	else
		pack_v1(in->cgroup_stats, out);
	return is_v2 ? v2_url : v1_url;
}
