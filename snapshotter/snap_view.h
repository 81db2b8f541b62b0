/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the control socket says about snapshots and settings, as JSON. Pure functions of records. */
#include "base/json.h"
#include "snapshotter/snap_instance.h"

const char *snap_view_kind(enum snap_kind kind); /* "active", … */

/* One record, as an object. */
void snap_view_record(struct cf_jw *w, const struct snap_instance *in,
                      const struct snap_record *rec);
/* The same with its mounts and the names below it. */
cf_must_use int snap_view_record_full(struct cf_jw *w, struct snap_instance *in,
                                      const struct snap_record *rec, struct cf_err *err);

struct snap_view_query {
	const char *instance; /* NULL: all */
	enum snap_kind kind;  /* 0: all */
	int64_t after;        /* ids above this one */
	size_t limit;
};
/* {"snapshots": […], "next_after": ID when there is more} */
void snap_view_list(struct cf_jw *w, struct snap_instances *all, const struct snap_view_query *q);
void snap_view_config(struct cf_jw *w, const struct snap_config *c, const char *control);
/* How many of each kind and instance, as Prometheus text, and what the stores and services counted. */
void snap_view_metrics(struct snap_instances *all, struct cf_buf *out);
