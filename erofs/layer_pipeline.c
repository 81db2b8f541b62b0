/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/layer_pipeline.h"

#include "erofs/layer_child.h"
#include "erofs/layer_hash.h"
#include "erofs/layer_out.h"
#include "erofs/layer_ring.h"
#include "erofs/layer_store.h"

#include "base/crypto.h"
#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUILD_MEMORY_MAX   (3ull << 30)   /* address space; the tree's own limits are tighter */
#define INFLATE_MEMORY_MAX (512ull << 20) /* libzstd takes 128 MiB for the largest window */

struct layer_pipeline {
	struct layer_build_opts build_opts;
	uint64_t inflated_max;
	int64_t stall_ms;
	bool durable;
	char *want; /* the diffID that must come out; NULL: any */
	enum cf_hash_alg alg;
	struct layer_hash *hash;
	struct layer_draft draft;

	uint8_t head[INFLATE_MAGIC_BYTES]; /* the blob's first bytes, until its format is known */
	size_t head_size;
	bool has_format;
	struct layer_result result;

	struct layer_child inflater, builder;
	struct layer_ring blob, in; /* compressed bytes to the inflater; what it made of them */
	struct layer_ring out;      /* to the builder */
	bool blob_ended, all_inflated, end_was_sent, is_built, is_finished;
};

/* ---- processes ---- */

static int start_builder(struct layer_pipeline *p, struct cf_err *err)
{
	const struct layer_build_opts *o = &p->build_opts;
	struct cf_strv args = { 0 };
	cf_cleanup(cf_closep) int ring_fd = -1;
	int r = layer_ring_open(&p->out, true, &ring_fd, err);

	if (r < 0)
		return r;
	if (o->strict)
		cf_strv_add(&args, "strict");
	if (o->for_merge)
		cf_strv_add(&args, "merge");
	if (o->is_upper)
		cf_strv_add(&args, "upper");
	cf_strv_addf(&args, "entries=%llu", (unsigned long long)o->limits.entries_max);
	cf_strv_addf(&args, "bytes=%llu", (unsigned long long)o->limits.bytes_max);
	const int fds[] = { ring_fd, p->draft.fd };
	r = layer_child_start(&p->builder, LAYER_HELPER_BUILD, (const char *const *)args.items, fds,
	                      CF_ARRAY_LEN(fds), BUILD_MEMORY_MAX, err);
	cf_strv_fini(&args);
	return r;
}

static int start_inflater(struct layer_pipeline *p, struct cf_err *err)
{
	const char *const args[] = { p->result.format == INFLATE_ZSTD ? "zstd" : "gzip", NULL };
	cf_cleanup(cf_closep) int in_fd = -1;
	cf_cleanup(cf_closep) int blob_fd = -1;
	int r = layer_ring_open(&p->in, false, &in_fd, err);

	if (r == 0)
		r = layer_ring_open(&p->blob, true, &blob_fd, err);
	if (r < 0)
		return r;
	const int fds[] = { in_fd, blob_fd };
	return layer_child_start(&p->inflater, LAYER_HELPER_INFLATE, args, fds, CF_ARRAY_LEN(fds),
	                         INFLATE_MEMORY_MAX, err);
}

/* ---- content ---- */

static int check_limits(const struct layer_pipeline *p, size_t more, struct cf_err *err)
{
	uint64_t total = p->result.inflated_bytes + more;

	if (total > p->inflated_max)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED,
		               "layer: inflates to more than %llu bytes",
		               (unsigned long long)p->inflated_max);
	if (total > LAYER_RATIO_FREE_BYTES && total / LAYER_RATIO_MAX > p->result.blob_bytes)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED,
		               "layer: %llu bytes inflate to %llu and more: over 1:%u",
		               (unsigned long long)p->result.blob_bytes, (unsigned long long)total,
		               LAYER_RATIO_MAX);
	return 0;
}

/*
 * The slot being filled goes to the builder and into the diffID. It is hashed after it was handed
 * over, so that both work at once: the builder can only read this memory.
 */
static int hand_over(struct layer_pipeline *p, size_t size, struct cf_err *err)
{
	struct cf_view v = cf_view(layer_ring_slot(&p->out), size);
	int r = check_limits(p, size, err);

	if (r == 0)
		r = layer_child_post(&p->builder, LAYER_MSG_DATA, (uint32_t)size, cf_view(NULL, 0),
		                     err);
	if (r < 0)
		return r;
	p->result.inflated_bytes += size;
	p->out.free--;
	p->out.fill = 0;
	layer_ring_advance(&p->out);
	return layer_hash_add(p->hash, v, err);
}

/* One copy of what the inflater's memory holds; whatever it does to it later changes nothing. */
static int take_inflated(struct layer_pipeline *p, uint32_t size, struct cf_err *err)
{
	int r;

	if (size == 0 || size > LAYER_SLOT_BYTES)
		return layer_child_nonsense(&p->inflater, err);
	memcpy(layer_ring_slot(&p->out), layer_ring_slot(&p->in), size);
	layer_ring_advance(&p->in);
	r = layer_child_post(&p->inflater, LAYER_MSG_FREE, 0, cf_view(NULL, 0), err);
	if (r < 0)
		return r;
	return hand_over(p, size, err);
}

static int on_inflater(struct layer_pipeline *p, struct cf_err *err)
{
	struct layer_msg m;
	size_t payload;
	int r = layer_msg_take(p->inflater.control, &m, &payload, err);

	if (r < 0)
		return r;
	if (r == 0)
		return layer_child_gone(&p->inflater, err);
	switch (m.kind) {
	case LAYER_MSG_DATA:
		return take_inflated(p, m.size, err);
	case LAYER_MSG_FREE:
		if (p->blob.free == LAYER_SLOTS)
			return layer_child_nonsense(&p->inflater, err);
		p->blob.free++;
		return 0;
	case LAYER_MSG_END:
		p->all_inflated = true;
		return p->blob_ended ? 0 : layer_child_nonsense(&p->inflater, err);
	case LAYER_MSG_FAILED:
		return layer_child_failed(&p->inflater, &m, payload, err);
	default:
		return layer_child_nonsense(&p->inflater, err);
	}
}

static int on_builder(struct layer_pipeline *p, struct cf_err *err)
{
	struct layer_msg m;
	size_t payload;
	int r = layer_msg_take(p->builder.control, &m, &payload, err);

	if (r < 0)
		return r;
	if (r == 0)
		return layer_child_gone(&p->builder, err);
	if (m.kind == LAYER_MSG_FAILED)
		return layer_child_failed(&p->builder, &m, payload, err);
	if (m.kind == LAYER_MSG_FREE && p->out.free < LAYER_SLOTS) {
		p->out.free++;
		return 0;
	}
	if (m.kind != LAYER_MSG_DONE || !p->end_was_sent || payload != sizeof(p->result.claimed))
		return layer_child_nonsense(&p->builder, err);
	memcpy(&p->result.claimed, m.payload, sizeof(p->result.claimed));
	p->is_built = true;
	return 0;
}

/* Whether the current slot of the builder's ring is nobody else's any more. */
static bool may_fill(const struct layer_pipeline *p)
{
	return p->out.free && !layer_hash_is_full(p->hash);
}

/*
 * Waits at most @timeout_ms for anything to happen, and does it. Return: 1 something happened,
 * 0 nothing did, negative.
 */
static int pump(struct layer_pipeline *p, int64_t timeout_ms, struct cf_err *err)
{
	bool is_full = layer_hash_is_full(p->hash);
	bool may_take = p->inflater.pid && !p->all_inflated && p->out.free && !is_full;
	struct pollfd fds[] = {
		{ .fd = p->builder.control, .events = POLLIN },
		{ .fd = may_take ? p->inflater.control : -1, .events = POLLIN },
		{ .fd = is_full ? layer_hash_fd(p->hash) : -1, .events = POLLIN },
	};
	int n = poll(fds, CF_ARRAY_LEN(fds), (int)timeout_ms);
	int r = 0;

	if (n < 0 && errno == EINTR)
		return 1;
	if (n <= 0)
		return n < 0 ? cf_fail_errno(err, errno, "layer: poll") : 0;
	if (fds[0].revents)
		r = on_builder(p, err);
	if (r == 0 && fds[1].revents)
		r = on_inflater(p, err);
	return r < 0 ? r : 1;
}

static int stalled(const struct layer_pipeline *p, struct cf_err *err)
{
	return cf_fail(err, CF_DEADLINE_EXCEEDED, "layer: the %s does nothing for %lld ms",
	               p->out.free && p->inflater.pid ? "inflater" : "builder",
	               (long long)p->stall_ms);
}

static int pump_or_stall(struct layer_pipeline *p, struct cf_err *err)
{
	int r = pump(p, p->stall_ms, err);

	if (r < 0)
		return r;
	return r == 0 ? stalled(p, err) : 0;
}

static int feed_plain(struct layer_pipeline *p, struct cf_view in, struct cf_err *err)
{
	int r = 0;

	while (r == 0 && in.size) {
		while (r == 0 && !may_fill(p))
			r = pump_or_stall(p, err);
		if (r == 0 && layer_ring_fill(&p->out, &in))
			r = hand_over(p, LAYER_SLOT_BYTES, err);
	}
	return r;
}

static int post_blob(struct layer_pipeline *p, struct cf_err *err)
{
	int r = layer_child_post(&p->inflater, LAYER_MSG_DATA, (uint32_t)p->blob.fill,
	                         cf_view(NULL, 0), err);

	p->blob.free--;
	p->blob.fill = 0;
	layer_ring_advance(&p->blob);
	return r;
}

/* Small pieces are gathered while the inflater has something to do. */
static int feed_inflater(struct layer_pipeline *p, struct cf_view in, struct cf_err *err)
{
	int r = 0;

	while (r == 0 && in.size) {
		while (r == 0 && !p->blob.free)
			r = pump_or_stall(p, err);
		if (r == 0 && (layer_ring_fill(&p->blob, &in) || p->blob.free == LAYER_SLOTS))
			r = post_blob(p, err);
	}
	/* What is ready by now need not wait for the next call. */
	while (r == 0 && (r = pump(p, 0, err)) > 0)
		r = 0;
	return r;
}

static int feed_known(struct layer_pipeline *p, struct cf_view in, struct cf_err *err)
{
	return p->result.format == INFLATE_PLAIN ? feed_plain(p, in, err)
	                                         : feed_inflater(p, in, err);
}

static int know_format(struct layer_pipeline *p, struct cf_err *err)
{
	int r = 0;

	p->has_format = true;
	p->result.format = inflate_sniff(cf_view(p->head, p->head_size));
	if (p->result.format != INFLATE_PLAIN)
		r = start_inflater(p, err);
	return r < 0 ? r : feed_known(p, cf_view(p->head, p->head_size), err);
}

int layer_pipeline_feed(struct layer_pipeline *p, struct cf_view in, struct cf_err *err)
{
	int r;

	if (p->is_finished)
		return cf_fail(err, CF_FAILED_PRECONDITION, "layer: already finished");
	p->result.blob_bytes += in.size;
	if (!p->has_format) {
		size_t n = CF_MIN(in.size, sizeof(p->head) - p->head_size);

		if (n)
			memcpy(p->head + p->head_size, in.data, n);
		p->head_size += n;
		in = cf_view_sub(in, n, in.size);
		if (p->head_size < sizeof(p->head))
			return 0;
		r = know_format(p, err);
		if (r < 0)
			return r;
	}
	return feed_known(p, in, err);
}

/* ---- the end ---- */

static int drain(struct layer_pipeline *p, struct cf_err *err)
{
	int r = 0;

	if (!p->has_format)
		r = know_format(p, err);
	if (r < 0)
		return r;
	if (p->result.format == INFLATE_PLAIN)
		return p->out.fill ? hand_over(p, p->out.fill, err) : 0;
	if (p->blob.fill)
		r = post_blob(p, err);
	p->blob_ended = true;
	if (r == 0)
		r = layer_child_post(&p->inflater, LAYER_MSG_END, 0, cf_view(NULL, 0), err);
	while (r == 0 && !p->all_inflated)
		r = pump_or_stall(p, err);
	return r;
}

static int judge_diff_id(struct layer_pipeline *p, struct cf_err *err)
{
	uint8_t digest[CF_HASH_SIZE_MAX];
	char hex[2 * CF_HASH_SIZE_MAX + 1];

	layer_hash_final(p->hash, digest);
	cf_hex_encode(cf_view(digest, cf_hash_size(p->alg)), hex);
	snprintf(p->result.diff_id, sizeof(p->result.diff_id), "%s:%s", cf_hash_name(p->alg), hex);
	if (p->want && !cf_streq(p->want, p->result.diff_id))
		return cf_fail(err, CF_DATA_LOSS, "layer: the diffID is %s, %s was promised",
		               p->result.diff_id, p->want);
	return 0;
}

static int await_image(struct layer_pipeline *p, struct cf_err *err)
{
	uint8_t uuid[LAYER_UUID_SIZE];
	int r;

	layer_uuid(cf_view_str(p->result.diff_id), uuid);
	p->end_was_sent = true;
	r = layer_child_post(&p->builder, LAYER_MSG_END, 0, cf_view(uuid, sizeof(uuid)), err);
	while (r == 0 && !p->is_built)
		r = pump_or_stall(p, err);
	return r;
}

/* The first thing we look at ourselves, now that nobody else can write to the file. */
static int check_image(struct layer_pipeline *p, struct cf_err *err)
{
	struct stat st;

	if (fstat(p->draft.fd, &st) < 0)
		return cf_fail_errno(err, errno, "layer: image");
	if (st.st_size < LAYER_BLOCK_BYTES || (uint64_t)st.st_size > LAYER_IMAGE_MAX ||
	    st.st_size % LAYER_BLOCK_BYTES)
		return cf_fail(err, CF_INTERNAL, "layer: an image of %lld bytes cannot be",
		               (long long)st.st_size);
	p->result.image_bytes = (uint64_t)st.st_size;
	return 0;
}

int layer_pipeline_finish(struct layer_pipeline *p, struct layer_result *ret, struct cf_err *err)
{
	int r = drain(p, err);

	if (r == 0)
		r = judge_diff_id(p, err);
	if (r == 0)
		r = await_image(p, err);
	if (r < 0)
		return r;
	layer_child_reap(&p->inflater, NULL);
	layer_child_reap(&p->builder, NULL);
	r = check_image(p, err);
	if (r < 0)
		return r;
	p->is_finished = true;
	if (ret)
		*ret = p->result;
	return 0;
}

int layer_pipeline_publish(struct layer_pipeline *p, const char *name, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *own = layer_store_name(cf_view_str(p->result.diff_id));

	if (!p->is_finished || !p->draft.path)
		return cf_fail(err, CF_FAILED_PRECONDITION, "layer: there is no finished image");
	return layer_draft_publish(&p->draft, name ? name : own, p->durable, err);
}

/* ---- lifecycle ---- */

static int choose_hash(struct layer_pipeline *p, struct cf_view diff_id, struct cf_err *err)
{
	static const enum cf_hash_alg algs[] = { CF_SHA256, CF_SHA384, CF_SHA512 };
	cf_cleanup(cf_freep) char *name = layer_store_name(diff_id);

	p->alg = CF_SHA256;
	if (diff_id.size && !name)
		return cf_fail(err, CF_INVALID_ARGUMENT, "layer: '%.*s' is no diffID we know",
		               (int)CF_MIN(diff_id.size, 100u), (const char *)diff_id.data);
	for (size_t i = 0; name && i < CF_ARRAY_LEN(algs); i++)
		if (cf_starts_with(name, cf_hash_name(algs[i])))
			p->alg = algs[i];
	p->want = name ? cf_view_dup(diff_id) : NULL;
	return layer_hash_new(p->alg, &p->hash, err);
}

int layer_pipeline_new(const struct layer_pipeline_opts *opts, struct layer_pipeline **ret,
                       struct cf_err *err)
{
	cf_cleanup(layer_pipeline_freep) struct layer_pipeline *p = cf_zalloc(sizeof(*p));
	uint64_t bytes_max =
		opts->build.limits.bytes_max ? opts->build.limits.bytes_max : TAR_BYTES_DEFAULT;
	int r;

	p->build_opts = opts->build;
	p->inflated_max = opts->inflated_max ? opts->inflated_max : bytes_max + bytes_max / 8;
	p->stall_ms = opts->stall_ms ? opts->stall_ms : LAYER_STALL_MS_DEFAULT;
	p->durable = !opts->not_durable;
	p->draft.fd = p->inflater.control = p->builder.control = -1;
	p->inflater.what = "inflate";
	p->builder.what = "layer builder";
	r = choose_hash(p, opts->diff_id, err);
	if (r == 0)
		r = layer_draft_open(opts->store_dir, &p->draft, err);
	if (r == 0)
		r = start_builder(p, err);
	if (r < 0)
		return r;
	*ret = cf_take(&p);
	return 0;
}

struct layer_pipeline *layer_pipeline_free(struct layer_pipeline *p)
{
	if (!p)
		return NULL;
	layer_child_reap(&p->inflater, NULL);
	layer_child_reap(&p->builder, NULL);
	layer_hash_free(p->hash); /* before the memory that it reads */
	layer_ring_close(&p->blob);
	layer_ring_close(&p->in);
	layer_ring_close(&p->out);
	layer_draft_fini(&p->draft);
	free(p->want);
	free(p);
	return NULL;
}

#define SOURCE_BYTES (64u << 10)

int layer_pipeline_run(struct layer_pipeline *p, layer_source_fn *source, void *ctx,
                       struct layer_result *ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) uint8_t *buf = cf_zalloc(SOURCE_BYTES);

	for (;;) {
		size_t size = 0;
		int r = source(ctx, buf, SOURCE_BYTES, &size, err);

		if (r == 0 && size == 0)
			return layer_pipeline_finish(p, ret, err);
		if (r == 0)
			r = layer_pipeline_feed(p, cf_view(buf, size), err);
		if (r < 0)
			return r;
	}
}
