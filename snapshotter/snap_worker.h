/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * coffer-snapshotter-content: the program beside the daemon that does what needs content or digests.
 * Under guest pull nothing of that ever happens, and the daemon holds none of its code and libraries.
 *
 *   image DIR base|upper durable|relaxed        DIR/fs becomes DIR/layer.erofs
 *   merge DIR durable|relaxed PATH ID …         the images at PATH, bottom first: DIR/fsmeta.erofs
 *   diff-id PARENT CHAIN ID …                   says which ID on top of PARENT is CHAIN
 *
 * It ends with 0 and its answer on stdout; otherwise with 1 and "CODE MESSAGE", the code a number of
 * enum cf_code.
 */
#include "base/bytes.h"

#define SNAP_WORKER_PROGRAM    "coffer-snapshotter-content"
#define SNAP_WORKER_ANSWER_MAX 8192u /* bytes */

/*
 * Runs it with @args (NULL-ended) and waits. @stop is asked several times a second (NULL: never);
 * when it says so, all of it is killed: -CF_CANCELLED. @out: its answer, may be NULL.
 * Otherwise the return is what the program failed with, -CF_INTERNAL when it died.
 */
cf_must_use int snap_worker_run(const char *const *args, bool (*stop)(void *user), void *user,
                                struct cf_buf *out, struct cf_err *err);
/* What the program writes when it failed; the parent reads it in snap_worker_run(). */
void snap_worker_say(const struct cf_err *err);
