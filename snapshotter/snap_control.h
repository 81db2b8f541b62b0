/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The control socket: HTTP/1.1 for the node's administrator and for monitoring, on a unix socket of
 * mode 0600 whose peers are asked for their uid, and, where configured, the metrics alone on TCP.
 *
 *   GET  /v1/health            lives, since when, how many snapshots
 *   GET  /v1/snapshots         ?instance= &kind= &after=ID &limit=N; sorted by id
 *   GET  /v1/snapshots/KEY     one, with its mounts and the chain below it; KEY percent-encoded
 *   GET  /v1/pulls             containers whose image the guest pulls, with what was reported
 *   POST /v1/pulls             {"snapshot_id": …, "state": …, …}: how far a guest's pull is; the shim says it
 *   POST /v1/gc                deletes what nothing refers to, answers when it is gone
 *   GET  /v1/config            what the daemon runs with
 *   GET  /metrics, /v1/metrics
 *   GET  /api/v1/daemons, …    what nydus-snapshotter's system controller says without nydusd
 *
 * Errors are {"code": …, "message": …}.
 */
#include "base/httpd.h"
#include "snapshotter/snap_instance.h"
#include "snapshotter/snap_metrics.h"

#define SNAP_CONTROL_LIST_MAX  1000u /* records in one answer */
#define SNAP_CONTROL_PULLS_MAX 256u  /* reports that are kept; the oldest goes */
#define SNAP_CONTROL_BODY_MAX  4096u

struct snap_control_opts {
	struct cf_loop *loop;
	struct snap_instances *instances; /* borrowed */
	struct snap_metrics *metrics;     /* borrowed */
	const struct snap_config *config; /* borrowed */
	const char *path;                 /* of the socket to make; NULL: none */
	int listen_fd;                    /* or one that was passed, when > 0; taken */
};

struct snap_control;

cf_must_use int snap_control_new(const struct snap_control_opts *opts, struct snap_control **ret,
                                 struct cf_err *err);
/* Waits for a collection that runs. NULL is fine; returns NULL. */
struct snap_control *snap_control_free(struct snap_control *c);
