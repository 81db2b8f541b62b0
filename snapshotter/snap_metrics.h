/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the daemon measures of itself: each answered call by method and code, in Prometheus' text
 * form, with the names nydus-snapshotter's dashboards ask for beside our own; and one line of log
 * for each change, as long as there are few of them.
 */
#include "base/bytes.h"
#include "base/log.h"

#define SNAP_LOG_LINES     50u   /* of answered calls in one window; then a summary takes over */
#define SNAP_LOG_WINDOW_MS 10000 /* how long a window is */

struct snap_metrics;

struct snap_metrics *snap_metrics_new(void);
struct snap_metrics *snap_metrics_free(struct snap_metrics *m); /* NULL is fine; returns NULL */

/* One answered call: counted, and logged if there is room. @us microseconds. Any thread. */
void snap_metrics_call(struct snap_metrics *m, const char *method, enum cf_code code, int64_t us);
/* Writes the summary of what was counted and not logged, if there is any. At the end. */
void snap_metrics_flush_log(struct snap_metrics *m);

/* The histograms and this process's own figures, as Prometheus text. */
void snap_metrics_text(struct snap_metrics *m, struct cf_buf *out);
