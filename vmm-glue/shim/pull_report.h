/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Tells the node's snapshotter how far the pulls of this pod's containers are (POST /v1/pulls of its
 * control socket): that one has begun, what the guest says of layers and bytes while it runs, how it
 * ended. Nothing waits for it and nothing fails by it: a report that cannot be sent is left out, and a
 * guest that does not tell is only reported to have begun and ended. What the guest says is numbers,
 * handed on unjudged.
 */
#include "base/loop.h"
#include "proto/containerd_types.pb-c.h"
#include "proto/ttrpc.h"

#define PULL_REPORT_PACE_MS    250   /* between two looks at the guest */
#define PULL_REPORT_TIMEOUT_MS 2000  /* of one report */
#define PULL_REPORT_WATCH_MS   50000 /* a look at the guest that sees nothing new */
#define PULL_REPORT_BODY_MAX   4096u /* the snapshotter's own limit */

struct pull_reports;

struct pull_reports_opts {
	struct cf_loop *loop;
	const char *path;                          /* the control socket */
	struct ttrpc_client *(*client)(void *arg); /* the guest's agent, or NULL when it is gone */
	void *arg;
};

/* Loop thread, as all of it. */
struct pull_reports *pull_reports_new(const struct pull_reports_opts *opts);
/* After the agent's client: its calls end in here. NULL is fine; returns NULL. */
struct pull_reports *pull_reports_free(struct pull_reports *r);

/*
 * A container's image is being pulled. @mounts: of its rootfs, as containerd gave them; when they are
 * not a snapshotter's of ours, nothing is reported. @r NULL: reports are off.
 */
void pull_reports_begin(struct pull_reports *r, const char *container,
                        Containerd__Types__Mount *const *mounts, size_t mount_count);
/* @failure NULL: it is there. Unknown containers are fine. */
void pull_reports_end(struct pull_reports *r, const char *container, const struct cf_err *failure);

/* "workdir=ROOT/snapshots/ID/work": which snapshot a mount is of. False: another option. *ret_root: the caller's. */
bool pull_report_place(const char *option, char **ret_root, uint64_t *ret_id);
