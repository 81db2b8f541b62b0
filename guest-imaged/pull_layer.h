/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One layer of a pull: blob → digest → decrypt → layer pipeline → store. Runs as a job on a pool
 * thread, owns what it needs, and says that it is over by adding one to an eventfd. The blob is a
 * stranger's; nothing reaches the store before its digest, its size, the HMAC and the diffID held.
 */
#include "guest-imaged/blob_cache.h"
#include "proto/ocicrypt.h"

struct pull_meter;

struct pull_layer {
	/* in; borrowed but for .src and .crypt */
	const char *store_dir, *lock_dir;
	const struct oci_descriptor *desc;
	struct oci_layer_type type;
	struct oci_digest diff_id;
	struct oci_source *src;        /* of this layer alone */
	struct ocicrypt_options crypt; /* .key NULL: not encrypted */
	struct blob_cache *cache; /* asked before the source, and given what it lacks; or NULL */
	uint64_t inflated_max;    /* 0: the pipeline's own limit */
	bool not_durable;
	void (*progress)(void *arg, size_t i, size_t count, const struct oci_descriptor *layer,
	                 bool is_done); /* or NULL; on the job's thread */
	void *progress_arg;
	struct pull_meter *meter; /* or NULL */
	size_t index, count;      /* which layer of how many this is */
	int done_fd;              /* eventfd, or -1: one more job is over */
	int stop_fd; /* eventfd, or -1: made readable by a failure, so that the others stop */
	/* out */
	int result;
	struct cf_err err;
	bool is_reused; /* the store had it */
	bool is_cached; /* the node's cache had it, and it was the right blob */
	uint64_t image_bytes, inflated_bytes;
};

/* The job: for cf_work_add(), or to be called. */
void pull_layer_run(void *layer);
/*
 * True when nothing needs to be fetched, and no key. A layer that claims to be encrypted must have
 * come out of a decryption here: otherwise a manifest could call a layer encrypted that somebody
 * brought in clear before, and nobody would have checked.
 */
cf_must_use int pull_layer_is_stored(const struct pull_layer *l, bool *ret, struct cf_err *err);
void pull_layer_fini(struct pull_layer *l);
