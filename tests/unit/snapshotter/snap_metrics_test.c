/* SPDX-License-Identifier: Apache-2.0 */
/* Calls are all counted, and few of them logged. */
#include "snapshotter/snap_metrics.h"
#include "tests/harness/test.h"

#include <fcntl.h>
#include <unistd.h>

#define CALLS         33000 /* what took nydus-snapshotter 12 MB of log */
#define LOG_BYTES_MAX 16384

static bool has(struct snap_metrics *m, const char *line)
{
	cf_cleanup(cf_buf_fini) struct cf_buf text = { 0 };

	snap_metrics_text(m, &text);
	cf_buf_add_str(&text, "");
	return strstr((const char *)text.data, line);
}

CF_TEST(metrics_count_calls_by_method_and_code)
{
	struct snap_metrics *m = snap_metrics_new();

	cf_log_set_level(CF_LOG_ERROR);
	snap_metrics_call(m, "Prepare", CF_OK, 80);
	snap_metrics_call(m, "Prepare", CF_OK, 3000);
	snap_metrics_call(m, "Prepare", CF_NOT_FOUND, 99000000);
	snap_metrics_call(m, "never heard of", (enum cf_code)99, -5);
	EXPECT(has(m,
	           "coffer_rpc_seconds_bucket{method=\"Prepare\",code=\"OK\",le=\"0.00005\"} 0\n"));
	EXPECT(has(m,
	           "coffer_rpc_seconds_bucket{method=\"Prepare\",code=\"OK\",le=\"0.0001\"} 1\n"));
	EXPECT(has(m,
	           "coffer_rpc_seconds_bucket{method=\"Prepare\",code=\"OK\",le=\"0.005\"} 2\n"));
	EXPECT(has(m, "coffer_rpc_seconds_bucket{method=\"Prepare\",code=\"OK\",le=\"+Inf\"} 2\n"));
	EXPECT(has(m, "coffer_rpc_seconds_sum{method=\"Prepare\",code=\"OK\"} 0.00308\n"));
	EXPECT(has(
		m,
		"coffer_rpc_seconds_bucket{method=\"Prepare\",code=\"NOT_FOUND\",le=\"5\"} 0\n"));
	EXPECT(has(m, "coffer_rpc_seconds_count{method=\"Prepare\",code=\"NOT_FOUND\"} 1\n"));
	EXPECT(has(m, "coffer_rpc_seconds_count{method=\"other\",code=\"UNKNOWN\"} 1\n"));
	EXPECT(has(m, "snapshotter_snapshot_operation_elapsed_milliseconds_bucket{"
	              "snapshot_operation=\"PREPARE\",le=\"5\"} 2\n"));
	EXPECT(!has(m, "method=\"Remove\",code"));
	snap_metrics_free(m);
}

CF_TEST(metrics_log_few_lines_for_many_calls)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/log", dir);
	struct snap_metrics *m = snap_metrics_new();
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	EXPECT(fd >= 0);
	cf_log_set_level(CF_LOG_INFO);
	cf_log_set_fd(fd);
	for (int i = 0; i < CALLS; i++)
		snap_metrics_call(m, i % 2 ? "Prepare" : "Stat", CF_OK, i);
	snap_metrics_flush_log(m);
	cf_log_set_fd(2);
	struct cf_buf log = cf_test_read(path);
	size_t lines = 0;

	for (size_t i = 0; i < log.size; i++)
		lines += log.data[i] == '\n';
	EXPECT(log.size < LOG_BYTES_MAX);
	/* The first ones, and one that speaks for all others; readings are not told. */
	EXPECT(lines == SNAP_LOG_LINES + 1);
	EXPECT(strstr((const char *)log.data, "more calls count=16450 failed=0 slowest_us=32999"));
	cf_buf_fini(&log);
	close(fd);
	snap_metrics_free(m);
}
