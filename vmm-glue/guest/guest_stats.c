/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/guest/guest_stats.h"

#include "base/fd.h"
#include "base/str.h"

#include <stdio.h>
#include <unistd.h>

#define FILE_MAX  65536u
#define NS_PER_US 1000u

struct guest_stats {
	Grpc__StatsContainerResponse resp;
	Grpc__CgroupStats cgroup;
	Grpc__CpuStats cpu;
	Grpc__CpuUsage cpu_usage;
	Grpc__ThrottlingData throttling;
	Grpc__MemoryStats memory;
	Grpc__MemoryData memory_usage, swap_usage, kernel_usage;
	Grpc__PidsStats pids;
	Grpc__MemoryStats__StatsEntry *entries;
	Grpc__MemoryStats__StatsEntry **entry_list;
	struct cf_buf entry_text;
	Grpc__NetworkStats links[GUEST_STATS_LINKS_MAX];
	Grpc__NetworkStats *link_list[GUEST_STATS_LINKS_MAX];
};

struct file {
	struct cf_buf text;
};

static struct cf_view read_file(struct file *f, const char *root, const char *controller,
                                const char *path, const char *name)
{
	cf_cleanup(cf_freep) char *full =
		cf_asprintf("%s%s%s%s/%s", root, *controller ? "/" : "", controller, path, name);

	f->text.max = FILE_MAX;
	cf_buf_reset(&f->text);
	if (cf_read_file(full, FILE_MAX - 1, &f->text, NULL) < 0)
		cf_buf_reset(&f->text);
	return cf_buf_view(&f->text);
}

static struct cf_view take_line(struct cf_view *text)
{
	ssize_t end = cf_view_find(*text, '\n');
	struct cf_view line = cf_view_sub(*text, 0, end < 0 ? text->size : (size_t)end);

	*text = cf_view_sub(*text, line.size + (end < 0 ? 0 : 1), text->size);
	return line;
}

/* "max" and everything else that is no number count as 0: no limit. */
static uint64_t number(struct cf_view v)
{
	uint64_t n = 0;

	while (v.size && (v.data[v.size - 1] == '\n' || v.data[v.size - 1] == ' '))
		v.size--;
	if (cf_parse_u64(v, UINT64_MAX, &n, NULL) < 0)
		return 0;
	return n;
}

uint64_t guest_stats_key(struct cf_view text, const char *key)
{
	size_t n = strlen(key);

	while (text.size) {
		struct cf_view line = take_line(&text);

		if (line.size > n && cf_view_starts_with(line, key) && line.data[n] == ' ')
			return number(cf_view_sub(line, n + 1, line.size));
	}
	return 0;
}

/* memory.stat as a map: keys are copied, since the file's text goes away. */
static void fill_memory_map(struct guest_stats *s, struct cf_view text)
{
	struct cf_strv lines = { 0 };
	size_t n = 0;

	cf_buf_add_view(&s->entry_text, text);
	if (s->entry_text.bad || !s->entry_text.size)
		return;
	cf_strv_split(&lines, text, '\n');
	s->entries = cf_zalloc_n(lines.count, sizeof(*s->entries));
	s->entry_list = cf_zalloc_n(lines.count, sizeof(*s->entry_list));
	cf_strv_fini(&lines);
	for (size_t at = 0; at < s->entry_text.size;) {
		char *line = (char *)s->entry_text.data + at;
		char *end = strchr(line, '\n');
		char *space = strchr(line, ' ');

		if (!end)
			break;
		*end = '\0';
		at += (size_t)(end - line) + 1;
		if (!space || space > end)
			continue;
		*space = '\0';
		grpc__memory_stats__stats_entry__init(&s->entries[n]);
		s->entries[n].key = line;
		s->entries[n].value = number(cf_view_str(space + 1));
		s->entry_list[n] = &s->entries[n];
		n++;
	}
	s->memory.n_stats = n;
	s->memory.stats = s->entry_list;
}

static void read_v2(struct guest_stats *s, const char *root, const char *path)
{
	struct file f = { 0 };
	struct cf_view text = read_file(&f, root, "", path, "cpu.stat");

	s->cpu_usage.total_usage = guest_stats_key(text, "usage_usec") * NS_PER_US;
	s->cpu_usage.usage_in_usermode = guest_stats_key(text, "user_usec") * NS_PER_US;
	s->cpu_usage.usage_in_kernelmode = guest_stats_key(text, "system_usec") * NS_PER_US;
	s->throttling.periods = guest_stats_key(text, "nr_periods");
	s->throttling.throttled_periods = guest_stats_key(text, "nr_throttled");
	s->throttling.throttled_time = guest_stats_key(text, "throttled_usec") * NS_PER_US;

	s->memory_usage.usage = number(read_file(&f, root, "", path, "memory.current"));
	s->memory_usage.max_usage = number(read_file(&f, root, "", path, "memory.peak"));
	s->memory_usage.limit = number(read_file(&f, root, "", path, "memory.max"));
	s->swap_usage.usage = number(read_file(&f, root, "", path, "memory.swap.current"));
	s->swap_usage.limit = number(read_file(&f, root, "", path, "memory.swap.max"));
	text = read_file(&f, root, "", path, "memory.stat");
	s->memory.cache = guest_stats_key(text, "file");
	s->kernel_usage.usage = guest_stats_key(text, "kernel");
	s->memory.use_hierarchy = true;
	fill_memory_map(s, text);

	s->pids.current = number(read_file(&f, root, "", path, "pids.current"));
	s->pids.limit = number(read_file(&f, root, "", path, "pids.max"));
	cf_buf_fini(&f.text);
}

/* Version 1 counts user and system time in ticks. */
static uint64_t ticks_ns(uint64_t ticks)
{
	long hz = sysconf(_SC_CLK_TCK);

	return hz > 0 ? ticks * (1000000000u / (uint64_t)hz) : 0;
}

static void read_v1(struct guest_stats *s, const char *root, const char *path)
{
	struct file f = { 0 };
	struct cf_view text;

	s->cpu_usage.total_usage = number(read_file(&f, root, "cpuacct", path, "cpuacct.usage"));
	text = read_file(&f, root, "cpuacct", path, "cpuacct.stat");
	s->cpu_usage.usage_in_usermode = ticks_ns(guest_stats_key(text, "user"));
	s->cpu_usage.usage_in_kernelmode = ticks_ns(guest_stats_key(text, "system"));
	text = read_file(&f, root, "cpu", path, "cpu.stat");
	s->throttling.periods = guest_stats_key(text, "nr_periods");
	s->throttling.throttled_periods = guest_stats_key(text, "nr_throttled");
	s->throttling.throttled_time = guest_stats_key(text, "throttled_time");

	s->memory_usage.usage =
		number(read_file(&f, root, "memory", path, "memory.usage_in_bytes"));
	s->memory_usage.max_usage =
		number(read_file(&f, root, "memory", path, "memory.max_usage_in_bytes"));
	s->memory_usage.limit =
		number(read_file(&f, root, "memory", path, "memory.limit_in_bytes"));
	s->memory_usage.failcnt = number(read_file(&f, root, "memory", path, "memory.failcnt"));
	s->kernel_usage.usage =
		number(read_file(&f, root, "memory", path, "memory.kmem.usage_in_bytes"));
	text = read_file(&f, root, "memory", path, "memory.stat");
	s->memory.cache = guest_stats_key(text, "cache");
	fill_memory_map(s, text);

	s->pids.current = number(read_file(&f, root, "pids", path, "pids.current"));
	s->pids.limit = number(read_file(&f, root, "pids", path, "pids.max"));
	cf_buf_fini(&f.text);
}

/* "  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 …": receive bytes, packets, errs, drop, 4 more; transmit. */
static bool parse_link(struct cf_view line, Grpc__NetworkStats *out)
{
	ssize_t colon = cf_view_find(line, ':');
	cf_cleanup(cf_freep) char *rest = NULL;
	uint64_t v[16] = { 0 };
	size_t start = 0;

	if (colon < 0)
		return false;
	while (start < (size_t)colon && line.data[start] == ' ')
		start++;
	rest = cf_view_dup(cf_view_sub(line, (size_t)colon + 1, line.size));
	if (sscanf(rest, "%lu %lu %lu %lu %lu %lu %lu %lu %lu %lu %lu %lu", &v[0], &v[1], &v[2],
	           &v[3], &v[4], &v[5], &v[6], &v[7], &v[8], &v[9], &v[10], &v[11]) != 12)
		return false;
	grpc__network_stats__init(out);
	out->name = cf_view_dup(cf_view_sub(line, start, (size_t)colon - start));
	out->rx_bytes = v[0];
	out->rx_packets = v[1];
	out->rx_errors = v[2];
	out->rx_dropped = v[3];
	out->tx_bytes = v[8];
	out->tx_packets = v[9];
	out->tx_errors = v[10];
	out->tx_dropped = v[11];
	return true;
}

size_t guest_stats_links(struct cf_view net_dev, Grpc__NetworkStats *out, size_t max)
{
	size_t n = 0;

	while (net_dev.size && n < max) {
		if (!parse_link(take_line(&net_dev), &out[n]))
			continue;
		if (cf_streq(out[n].name, "lo"))
			free(out[n].name);
		else
			n++;
	}
	return n;
}

static void init_messages(struct guest_stats *s)
{
	grpc__stats_container_response__init(&s->resp);
	grpc__cgroup_stats__init(&s->cgroup);
	grpc__cpu_stats__init(&s->cpu);
	grpc__cpu_usage__init(&s->cpu_usage);
	grpc__throttling_data__init(&s->throttling);
	grpc__memory_stats__init(&s->memory);
	grpc__memory_data__init(&s->memory_usage);
	grpc__memory_data__init(&s->swap_usage);
	grpc__memory_data__init(&s->kernel_usage);
	grpc__pids_stats__init(&s->pids);
	s->resp.cgroup_stats = &s->cgroup;
	s->cgroup.cpu_stats = &s->cpu;
	s->cgroup.memory_stats = &s->memory;
	s->cgroup.pids_stats = &s->pids;
	s->cpu.cpu_usage = &s->cpu_usage;
	s->cpu.throttling_data = &s->throttling;
	s->memory.usage = &s->memory_usage;
	s->memory.swap_usage = &s->swap_usage;
	s->memory.kernel_usage = &s->kernel_usage;
	s->entry_text.max = FILE_MAX;
}

struct guest_stats *guest_stats_read(const char *cgroup_root, const char *path)
{
	struct guest_stats *s = cf_zalloc(sizeof(*s));
	cf_cleanup(cf_freep) char *v2 = cf_asprintf("%s/cgroup.controllers", cgroup_root);
	struct file f = { 0 };

	init_messages(s);
	if (access(v2, F_OK) == 0)
		read_v2(s, cgroup_root, path);
	else
		read_v1(s, cgroup_root, path);
	s->resp.n_network_stats = guest_stats_links(read_file(&f, "/proc", "net", "", "dev"),
	                                            s->links, GUEST_STATS_LINKS_MAX);
	for (size_t i = 0; i < s->resp.n_network_stats; i++)
		s->link_list[i] = &s->links[i];
	s->resp.network_stats = s->link_list;
	cf_buf_fini(&f.text);
	return s;
}

const Grpc__StatsContainerResponse *guest_stats_message(const struct guest_stats *s)
{
	return &s->resp;
}

struct guest_stats *guest_stats_free(struct guest_stats *s)
{
	if (!s)
		return NULL;
	for (size_t i = 0; i < s->resp.n_network_stats; i++)
		free(s->links[i].name);
	free(s->entries);
	free(s->entry_list);
	cf_buf_fini(&s->entry_text);
	free(s);
	return NULL;
}

static void metric(struct cf_buf *out, const char *name, const char *help, uint64_t value)
{
	cf_buf_printf(out, "# HELP %s %s\n# TYPE %s gauge\n%s %llu\n", name, help, name, name,
	              (unsigned long long)value);
}

/* "MemTotal:   123 kB" */
static uint64_t meminfo(struct cf_view text, const char *key)
{
	while (text.size) {
		struct cf_view line = take_line(&text);
		size_t at = strlen(key);

		if (!cf_view_starts_with(line, key))
			continue;
		while (at < line.size && line.data[at] == ' ')
			at++;
		line = cf_view_sub(line, at, line.size);
		return number(cf_view_sub(line, 0, line.size > 3 ? line.size - 3 : 0)) * 1024;
	}
	return 0;
}

void guest_metrics(struct cf_buf *out)
{
	struct file f = { 0 };
	struct cf_view text = read_file(&f, "/proc", "", "", "meminfo");
	unsigned long size = 0, resident = 0;

	metric(out, "coffer_guest_memory_total_bytes", "Memory of the guest.",
	       meminfo(text, "MemTotal:"));
	metric(out, "coffer_guest_memory_available_bytes", "Memory that is to be had.",
	       meminfo(text, "MemAvailable:"));
	text = read_file(&f, "/proc", "self", "", "statm");
	if (text.size && sscanf((const char *)text.data, "%lu %lu", &size, &resident) == 2)
		metric(out, "coffer_init_resident_bytes", "Resident memory of coffer-init.",
		       (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE));
	cf_buf_fini(&f.text);
}
