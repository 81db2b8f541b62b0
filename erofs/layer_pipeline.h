/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Layer pipeline: a compressed layer blob in, a published EROFS image out.
 *
 *   blob bytes ──► pipeline ──► [inflate] ──► pipeline copies, hashes ──► [tar → EROFS] ──► draft
 *   (caller checks,             sandboxed     the diffID                  sandboxed         file
 *    decrypts)
 *
 * The bytes are hostile until all digests match, so inflating and tar reading run in two sandboxed
 * processes without network, files or keys. The pipeline believes nothing they say: the diffID is
 * hashed here, over a copy that the inflater cannot touch and the builder can only read, and an
 * image is published under the diffID computed here, after both processes are gone.
 *
 * One thread per pipeline; several pipelines may run side by side. The calls block. The
 * processes are coffer-layer-helper, which lies beside the program (layer_worker.h).
 */
#include "erofs/inflate.h"
#include "erofs/layer_build.h"

#define LAYER_DIFF_ID_MAX      (7 + 2 * 64 + 1) /* "sha512:" + hex + NUL */
#define LAYER_RATIO_MAX        1100u            /* bytes out per byte in … */
#define LAYER_RATIO_FREE_BYTES (64ull << 20)    /* … once this much came out */
#define LAYER_STALL_MS_DEFAULT 60000

struct layer_pipeline_opts {
	const char *store_dir; /* where the draft lies and the image is published */
	/*
	 * "sha256:…" from the image's config: a different diffID fails, and its algorithm is used.
	 * Empty: any (SHA-256); for tools only.
	 */
	struct cf_view diff_id;
	struct layer_build_opts build;
	uint64_t inflated_max; /* bytes; 0: TAR_BYTES_DEFAULT + 1/8 for headers */
	int64_t stall_ms; /* a process that does nothing for this long while it should; 0: default */
	bool not_durable; /* no fsync: the store does not outlive this machine's memory */
};

struct layer_result {
	char diff_id[LAYER_DIFF_ID_MAX]; /* computed here */
	enum inflate_format format;      /* found in the first bytes */
	uint64_t blob_bytes, inflated_bytes, image_bytes;
	struct layer_stats claimed; /* as the sandboxed builder says: for display only */
};

struct layer_pipeline;

cf_must_use int layer_pipeline_new(const struct layer_pipeline_opts *opts,
                                   struct layer_pipeline **ret, struct cf_err *err);
/* Kills the processes and removes the draft when it was not published. */
struct layer_pipeline *layer_pipeline_free(struct layer_pipeline *p);
CF_DEFINE_CLEANUP(struct layer_pipeline *, layer_pipeline_free);

/*
 * The next bytes of the blob, decrypted, still compressed. Return: 0, -CF_INVALID_ARGUMENT
 * (malformed or forbidden content), -CF_RESOURCE_EXHAUSTED (a limit, the ratio, the store is full),
 * -CF_DEADLINE_EXCEEDED (a process hangs), -CF_PERMISSION_DENIED (a process tried what its sandbox
 * forbids), -CF_INTERNAL (it died otherwise or spoke nonsense). After an error only free may follow.
 */
cf_must_use int layer_pipeline_feed(struct layer_pipeline *p, struct cf_view in,
                                    struct cf_err *err);
/*
 * The blob ended: waits for the image, compares the diffID (-CF_DATA_LOSS when it differs), reaps
 * both processes. Nothing is published yet: the caller now compares what it computed itself (blob
 * digest, size, HMAC).
 */
cf_must_use int layer_pipeline_finish(struct layer_pipeline *p, struct layer_result *ret,
                                      struct cf_err *err);
/*
 * Publishes the finished image in the store. @name NULL: layer_store_name() of the computed diffID;
 * another name is for tools.
 */
cf_must_use int layer_pipeline_publish(struct layer_pipeline *p, const char *name,
                                       struct cf_err *err);

/*
 * Pull form: calls @source until it says the blob ended (*ret_size 0), then finishes. @source fills
 * at most @cap bytes; its error stops the pipeline and comes back.
 */
typedef int layer_source_fn(void *ctx, uint8_t *buf, size_t cap, size_t *ret_size,
                            struct cf_err *err);
cf_must_use int layer_pipeline_run(struct layer_pipeline *p, layer_source_fn *source, void *ctx,
                                   struct layer_result *ret, struct cf_err *err);
