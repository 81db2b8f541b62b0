/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A bounded pool of threads for blocking or CPU-heavy work. A job owns its input and posts its
 * result back through the loop.
 */
#include "base/loop.h"

struct cf_work;

/* @threads 1–64 at most: the first starts now, the others when jobs would wait; @queue_max may wait. */
cf_must_use int cf_work_new(unsigned threads, size_t queue_max, struct cf_work **ret,
                            struct cf_err *err);
/* Runs @fn(@arg) on a pool thread. Return: 0, -CF_RESOURCE_EXHAUSTED (queue full; @fn never runs). */
cf_must_use int cf_work_add(struct cf_work *w, void (*fn)(void *arg), void *arg,
                            struct cf_err *err);
/* Waits for all jobs, ends the threads. */
struct cf_work *cf_work_free(struct cf_work *w);
