/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_metrics.h"

#include "base/loop.h"
#include "base/str.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define CODES (CF_UNAUTHENTICATED + 1)

/* Seconds, as the exposition writes them; and the same in microseconds. */
static const struct bucket {
	int64_t us;
	const char *le;
} rpc_buckets[] = {
	{ 50, "0.00005" },  { 100, "0.0001" },  { 250, "0.00025" }, { 500, "0.0005" },
	{ 1000, "0.001" },  { 2500, "0.0025" }, { 5000, "0.005" },  { 10000, "0.01" },
	{ 25000, "0.025" }, { 50000, "0.05" },  { 100000, "0.1" },  { 250000, "0.25" },
	{ 500000, "0.5" },  { 1000000, "1" },   { 2500000, "2.5" }, { 5000000, "5" },
};
/* Milliseconds: nydus-snapshotter's buckets. */
static const struct bucket nydus_buckets[] = {
	{ 500, "0.5" },    { 1000, "1" },       { 5000, "5" },     { 10000, "10" },
	{ 50000, "50" },   { 100000, "100" },   { 150000, "150" }, { 200000, "200" },
	{ 250000, "250" }, { 300000, "300" },   { 350000, "350" }, { 400000, "400" },
	{ 600000, "600" }, { 1000000, "1000" },
};
#define BUCKETS_MAX CF_ARRAY_LEN(rpc_buckets)

static const struct method {
	const char *name, *nydus;
	bool is_change;
} methods[] = {
	{ "Prepare", "PREPARE", true }, { "View", NULL, true },       { "Mounts", "MOUNTS", false },
	{ "Commit", NULL, true },       { "Remove", "REMOVE", true }, { "Stat", NULL, false },
	{ "Update", NULL, true },       { "List", NULL, false },      { "Usage", NULL, false },
	{ "Cleanup", "CLEANUP", true }, { "Check", NULL, false },     { "Apply", NULL, true },
	{ "Diff", NULL, true },         { "other", NULL, true },
};
#define METHODS CF_ARRAY_LEN(methods)

struct histogram {
	_Atomic uint64_t
		in[BUCKETS_MAX + 1]; /* not cumulative; the last one is beyond all buckets */
	_Atomic uint64_t us;
};

/* What was not logged since the window began. */
struct window {
	int64_t began_ms;
	unsigned lines;
	uint64_t quiet, failed;
	int64_t slowest_us;
};

struct snap_metrics {
	struct histogram rpc[METHODS][CODES];
	struct histogram nydus[METHODS];
	int64_t started_ms;
	pthread_mutex_t lock; /* the window */
	struct window window;
};

struct snap_metrics *snap_metrics_new(void)
{
	struct snap_metrics *m = cf_zalloc(sizeof(*m));

	pthread_mutex_init(&m->lock, NULL);
	m->started_ms = m->window.began_ms = cf_now_ms();
	return m;
}

struct snap_metrics *snap_metrics_free(struct snap_metrics *m)
{
	if (!m)
		return NULL;
	pthread_mutex_destroy(&m->lock);
	free(m);
	return NULL;
}

/* ---- counting ---- */

static size_t method_index(const char *name)
{
	for (size_t i = 0; i < METHODS - 1; i++)
		if (cf_streq(methods[i].name, name))
			return i;
	return METHODS - 1;
}

static void add_one(_Atomic uint64_t *to, uint64_t n)
{
	atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

static uint64_t value(const _Atomic uint64_t *of)
{
	return atomic_load_explicit(of, memory_order_relaxed);
}

static void observe(struct histogram *h, const struct bucket *buckets, size_t count, int64_t us)
{
	size_t i = 0;

	while (i < count && us > buckets[i].us)
		i++;
	add_one(&h->in[i], 1);
	add_one(&h->us, us > 0 ? (uint64_t)us : 0);
}

/* ---- the log ---- */

static bool is_trouble(enum cf_code code)
{
	return code == CF_INTERNAL || code == CF_DATA_LOSS || code == CF_RESOURCE_EXHAUSTED;
}

static void log_summary(const struct window *w, int64_t ms)
{
	if (w->quiet)
		cf_log_info("more calls", CF_F_UINT("count", w->quiet),
		            CF_F_UINT("failed", w->failed), CF_F_INT("slowest_us", w->slowest_us),
		            CF_F_INT("ms", ms));
}

/* Whether this call gets a line; when a window is over, @over is what it left unsaid. */
static bool has_room(struct snap_metrics *m, enum cf_code code, int64_t us, struct window *over,
                     int64_t *over_ms)
{
	int64_t now = cf_now_ms();

	pthread_mutex_lock(&m->lock);
	struct window *w = &m->window;

	if (now - w->began_ms >= SNAP_LOG_WINDOW_MS) {
		*over = *w;
		*over_ms = now - w->began_ms;
		*w = (struct window){ .began_ms = now };
	}
	bool room = w->lines < SNAP_LOG_LINES;

	if (room) {
		w->lines++;
	} else {
		w->quiet++;
		w->failed += code != CF_OK && code != CF_ALREADY_EXISTS;
		w->slowest_us = CF_MAX(w->slowest_us, us);
	}
	pthread_mutex_unlock(&m->lock);
	return room;
}

static void log_call(struct snap_metrics *m, const struct method *method, const char *name,
                     enum cf_code code, int64_t us)
{
	struct window over = { 0 };
	int64_t over_ms = 0;

	if (!method->is_change && !is_trouble(code)) {
		cf_log_debug("call", CF_F_STR("method", name), CF_F_STR("code", cf_code_name(code)),
		             CF_F_INT("us", us));
		return;
	}
	bool room = has_room(m, code, us, &over, &over_ms);

	log_summary(&over, over_ms);
	if (room)
		cf_log(is_trouble(code) ? CF_LOG_WARN : CF_LOG_INFO, "call",
		       CF_F_STR("method", name), CF_F_STR("code", cf_code_name(code)),
		       CF_F_INT("us", us));
}

void snap_metrics_flush_log(struct snap_metrics *m)
{
	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	struct window over = m->window;

	m->window = (struct window){ .began_ms = cf_now_ms() };
	pthread_mutex_unlock(&m->lock);
	log_summary(&over, cf_now_ms() - over.began_ms);
}

void snap_metrics_call(struct snap_metrics *m, const char *method, enum cf_code code, int64_t us)
{
	size_t i = method_index(method);

	if ((unsigned)code >= CODES)
		code = CF_UNKNOWN;
	observe(&m->rpc[i][code], rpc_buckets, CF_ARRAY_LEN(rpc_buckets), us);
	if (methods[i].nydus)
		observe(&m->nydus[i], nydus_buckets, CF_ARRAY_LEN(nydus_buckets), us);
	log_call(m, &methods[i], method, code, us);
}

/* ---- the text ---- */

static uint64_t total(const struct histogram *h)
{
	uint64_t n = 0;

	for (size_t i = 0; i < CF_ARRAY_LEN(h->in); i++)
		n += value(&h->in[i]);
	return n;
}

/* @per_unit: microseconds in one unit of the sum. */
static void write_histogram(const struct histogram *h, const char *name, const char *labels,
                            const struct bucket *buckets, size_t count, double per_unit,
                            struct cf_buf *out)
{
	uint64_t n = 0;

	for (size_t i = 0; i < count; i++) {
		n += value(&h->in[i]);
		cf_buf_printf(out, "%s_bucket{%s,le=\"%s\"} %llu\n", name, labels, buckets[i].le,
		              (unsigned long long)n);
	}
	n += value(&h->in[count]);
	cf_buf_printf(out, "%s_bucket{%s,le=\"+Inf\"} %llu\n", name, labels, (unsigned long long)n);
	cf_buf_printf(out, "%s_sum{%s} %.9g\n", name, labels, (double)value(&h->us) / per_unit);
	cf_buf_printf(out, "%s_count{%s} %llu\n", name, labels, (unsigned long long)n);
}

static void write_calls(struct snap_metrics *m, struct cf_buf *out)
{
	cf_buf_add_str(out, "# HELP coffer_rpc_seconds Time from a call's arrival to its answer.\n"
	                    "# TYPE coffer_rpc_seconds histogram\n");
	for (size_t i = 0; i < METHODS; i++)
		for (unsigned code = 0; code < CODES; code++) {
			char labels[96];

			if (!total(&m->rpc[i][code]))
				continue;
			snprintf(labels, sizeof(labels), "method=\"%s\",code=\"%s\"",
			         methods[i].name, cf_code_name((enum cf_code)code));
			write_histogram(&m->rpc[i][code], "coffer_rpc_seconds", labels, rpc_buckets,
			                CF_ARRAY_LEN(rpc_buckets), 1e6, out);
		}
}

static void write_nydus_calls(struct snap_metrics *m, struct cf_buf *out)
{
	static const char name[] = "snapshotter_snapshot_operation_elapsed_milliseconds";

	cf_buf_printf(out, "# HELP %s As nydus-snapshotter has it.\n# TYPE %s histogram\n", name,
	              name);
	for (size_t i = 0; i < METHODS; i++) {
		char labels[64];

		if (!methods[i].nydus)
			continue;
		snprintf(labels, sizeof(labels), "snapshot_operation=\"%s\"", methods[i].nydus);
		write_histogram(&m->nydus[i], name, labels, nydus_buckets,
		                CF_ARRAY_LEN(nydus_buckets), 1e3, out);
	}
}

static void gauge(struct cf_buf *out, const char *name, double v)
{
	cf_buf_printf(out, "# TYPE %s gauge\n%s %.9g\n", name, name, v);
}

static unsigned entries_of(const char *path)
{
	DIR *dir = opendir(path);
	unsigned n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n > 2 ? n - 2 : 0; /* "." and ".." */
}

static double seconds(const struct timeval *t)
{
	return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

static uint64_t resident_kib(void)
{
	unsigned long long pages = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f)
		return 0;
	if (fscanf(f, "%llu %llu", &pages, &resident) != 2)
		resident = 0;
	fclose(f);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}

static void write_process(const struct snap_metrics *m, struct cf_buf *out)
{
	double uptime = (double)(cf_now_ms() - m->started_ms) / 1000;
	struct rusage u = { 0 };

	getrusage(RUSAGE_SELF, &u);
	double cpu = seconds(&u.ru_utime) + seconds(&u.ru_stime);

	gauge(out, "snapshotter_cpu_user_time_seconds", seconds(&u.ru_utime));
	gauge(out, "snapshotter_cpu_system_time_seconds", seconds(&u.ru_stime));
	gauge(out, "snapshotter_cpu_usage_percentage", uptime > 0 ? 100 * cpu / uptime : 0);
	gauge(out, "snapshotter_memory_usage_kilobytes", (double)resident_kib());
	gauge(out, "snapshotter_fd_counts", entries_of("/proc/self/fd"));
	gauge(out, "snapshotter_thread_counts", entries_of("/proc/self/task"));
	gauge(out, "snapshotter_run_time_seconds", uptime);
}

void snap_metrics_text(struct snap_metrics *m, struct cf_buf *out)
{
	write_calls(m, out);
	write_nydus_calls(m, out);
	write_process(m, out);
}
