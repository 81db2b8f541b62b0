/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The cache's control socket (base/control.h):
 *
 *   GET  /v1/health            lives, since when, how full it is
 *   GET  /metrics, /v1/metrics coffer_blobcache_*; also on the metrics' address
 *
 * Neither names a blob: who may ask for metrics need not know which images the node uses.
 */
#include "base/control.h"
#include "snapshotter/blobcache/blob_serve.h"

struct blob_control_opts {
	struct blob_store *store; /* borrowed */
	struct blob_serve *serve; /* borrowed */
	uint64_t size_max;
	const char *path;    /* of the socket to make; NULL: none */
	const char *metrics; /* "ADDRESS:PORT"; NULL: none */
};

struct blob_control;

cf_must_use int blob_control_new(struct cf_loop *loop, const struct blob_control_opts *opts,
                                 struct blob_control **ret, struct cf_err *err);
struct blob_control *blob_control_free(struct blob_control *c); /* NULL is fine; returns NULL */
