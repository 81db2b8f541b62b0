/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What guests pull. This host fetches nothing, so it knows which containers wait for a guest's pull
 * and of which image, but how far it got only the guest can say: whoever hears it (the shim) reports
 * it here. Reports are kept in memory alone, for those snapshots that exist.
 */
#include "snapshotter/snap_instance.h"
#include "snapshotter/snap_view.h"

struct snap_pulls;

struct snap_pulls *snap_pulls_new(void);
struct snap_pulls *snap_pulls_free(struct snap_pulls *p); /* NULL is fine; returns NULL */

/*
 * {"snapshot_id": N, "state": "pulling" | "done" | "failed", and optionally "instance" or
 *  "root" (the state directory in the snapshot's mount), "layers", "layers_done", "bytes",
 *  "bytes_done", "message"}.
 * -CF_INVALID_ARGUMENT, -CF_NOT_FOUND (no such snapshot).
 */
cf_must_use int snap_pulls_report(struct snap_pulls *p, struct snap_instances *all,
                                  struct cf_view body, struct cf_err *err);
/* {"pulls": [{"snapshot_id", "key", "image", "manifest", "layers", "since", "state", …}]} */
void snap_pulls_view(struct snap_pulls *p, struct snap_instances *all, struct cf_jw *w);
