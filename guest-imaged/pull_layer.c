/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-imaged/pull_layer.h"

#include "base/fd.h"
#include "erofs/layer_pipeline.h"
#include "erofs/layer_store.h"
#include "guest-imaged/pull_meter.h"

#include <errno.h>
#include <poll.h>
#include <sys/file.h>
#include <unistd.h>

#define PIECE_MAX (256u << 10) /* bytes decrypted at a time */

void pull_layer_fini(struct pull_layer *l)
{
	oci_source_free(l->src);
	ocicrypt_options_fini(&l->crypt);
	*l = (struct pull_layer){ .done_fd = -1, .stop_fd = -1 };
}

static char *decrypted_mark(const struct pull_layer *l)
{
	return cf_asprintf("%s/%s.decrypted", l->lock_dir, oci_digest_hex(&l->diff_id));
}

int pull_layer_is_stored(const struct pull_layer *l, bool *ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *mark = decrypted_mark(l);
	cf_cleanup(cf_closep) int fd = -1;
	int r = layer_store_find(l->store_dir, cf_view_str(l->diff_id.text), &fd, err);

	if (r < 0)
		return r;
	*ret = r == 0 && (!l->type.encrypted || access(mark, F_OK) == 0);
	return 0;
}

/* Still under the layer's lock. */
static int mark_decrypted(const struct pull_layer *l, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *mark = decrypted_mark(l);
	cf_cleanup(cf_closep) int fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	return fd < 0 ? cf_fail_errno(err, errno, "%s", mark) : 0;
}

/*
 * One builder per diffID, over all pulls and processes that share the store: the second waits here
 * and then finds the layer stored.
 */
static int lock_layer(const struct pull_layer *l, int *ret_fd, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path =
		cf_asprintf("%s/%s", l->lock_dir, oci_digest_hex(&l->diff_id));
	cf_cleanup(cf_closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return cf_fail_errno(err, errno, "lock %s", path);
	while (flock(fd, LOCK_EX) < 0) {
		if (errno != EINTR)
			return cf_fail_errno(err, errno, "lock %s", path);
	}
	*ret_fd = cf_take_fd(&fd);
	return 0;
}

/* ---- blob → decrypt → pipeline ---- */

struct flow {
	struct layer_pipeline *pipeline;
	struct ocicrypt_stream *cipher; /* NULL: in clear */
	uint8_t *plain;                 /* PIECE_MAX bytes when there is a cipher */
	struct blob_offer *offer;       /* NULL: the node's cache does not want it */
	int stop_fd;
	struct pull_meter *meter;
	uint64_t metered; /* bytes that it counts for this layer */
};

static int flow_piece(void *arg, struct cf_view piece, struct cf_err *err)
{
	struct flow *f = arg;

	pull_meter_bytes(f->meter, piece.size);
	f->metered += piece.size;
	if (!f->cipher)
		return layer_pipeline_feed(f->pipeline, piece, err);
	for (size_t at = 0; at < piece.size; at += PIECE_MAX) {
		struct cf_view part = cf_view_sub(piece, at, PIECE_MAX);

		ocicrypt_stream_apply(f->cipher, part, f->plain);
		int r = layer_pipeline_feed(f->pipeline, cf_view(f->plain, part.size), err);

		if (r < 0)
			return r;
	}
	return 0;
}

static int offered_piece(void *arg, struct cf_view piece, struct cf_err *err)
{
	struct flow *f = arg;

	blob_offer_piece(f->offer, piece);
	return flow_piece(f, piece, err);
}

/* A source knows when to stop; the cache asks us. */
static int cached_piece(void *arg, struct cf_view piece, struct cf_err *err)
{
	struct flow *f = arg;
	struct pollfd p = { .fd = f->stop_fd, .events = POLLIN };

	if (f->stop_fd >= 0 && poll(&p, 1, 0) > 0)
		return cf_fail(err, CF_CANCELLED, "the pull was stopped");
	return flow_piece(f, piece, err);
}

/*
 * A changed blob mostly breaks the inflater long before its end. What is wrong with it then is its
 * digest, not its gzip header: the rest is read to say so.
 */
static int discard(void *arg __attribute__((unused)), struct cf_view piece __attribute__((unused)),
                   struct cf_err *err __attribute__((unused)))
{
	return 0;
}

static int blame(struct pull_layer *l, int r, struct cf_err *err)
{
	struct cf_err why;

	if (r != -CF_INVALID_ARGUMENT)
		return r;
	int again = oci_source_blob(l->src, l->desc, discard, NULL, &why);

	if (again != -CF_DATA_LOSS)
		return r;
	*err = why;
	return again;
}

/* *ret_spoiled: bytes came of which nobody knows what they were. */
static int from_cache(struct pull_layer *l, struct flow *f, bool *ret_spoiled, struct cf_err *err)
{
	int r = l->cache ? blob_cache_fetch(l->cache, l->desc, cached_piece, f, err)
	                 : BLOB_CACHE_MISS;

	l->is_cached = r == 0;
	*ret_spoiled = r < 0 || r == BLOB_CACHE_BROKEN;
	if (r == BLOB_CACHE_BROKEN)
		return cf_fail(err, CF_DATA_LOSS,
		               "the node's cache had another blob, or too slowly");
	return r;
}

static int from_source(struct pull_layer *l, struct flow *f, struct cf_err *err)
{
	f->offer = blob_cache_offer(l->cache, l->desc, l->crypt.key != NULL);
	int r = oci_source_blob(l->src, l->desc, offered_piece, f, err);

	blob_offer_end(cf_take(&f->offer), r == 0);
	return r < 0 ? blame(l, r, err) : 0;
}

static int pump(struct pull_layer *l, struct flow *f, bool *ret_spoiled, struct cf_err *err)
{
	struct layer_result result;
	int r = from_cache(l, f, ret_spoiled, err);

	if (r == BLOB_CACHE_MISS)
		r = from_source(l, f, err);
	if (r == 0 && f->cipher)
		r = ocicrypt_stream_verify(f->cipher, err);
	if (r == 0)
		r = layer_pipeline_finish(f->pipeline, &result, err);
	if (r == 0)
		r = layer_pipeline_publish(f->pipeline, NULL, err);
	if (r == 0 && f->cipher)
		r = mark_decrypted(l, err);
	if (r < 0)
		return r;
	l->image_bytes = result.image_bytes;
	l->inflated_bytes = result.inflated_bytes;
	return 0;
}

static int build(struct pull_layer *l, bool *ret_spoiled, struct cf_err *err)
{
	cf_cleanup(layer_pipeline_freep) struct layer_pipeline *pipeline = NULL;
	cf_cleanup(ocicrypt_stream_freep) struct ocicrypt_stream *cipher = NULL;
	cf_cleanup(cf_freep) uint8_t *plain = NULL;
	struct layer_pipeline_opts opts = {
		.store_dir = l->store_dir,
		.diff_id = cf_view_str(l->diff_id.text),
		.build.for_merge = true,
		.inflated_max = l->inflated_max,
		.not_durable = l->not_durable,
	};
	int r = layer_pipeline_new(&opts, &pipeline, err);

	if (r == 0 && l->crypt.key) {
		plain = cf_zalloc(PIECE_MAX);
		r = ocicrypt_stream_new(&l->crypt, false, &cipher, err);
	}
	if (r < 0)
		return r;
	struct flow f = { .pipeline = pipeline,
		          .cipher = cipher,
		          .plain = plain,
		          .stop_fd = l->stop_fd,
		          .meter = l->meter };

	r = pump(l, &f, ret_spoiled, err);
	if (r < 0)
		pull_meter_back(f.meter, f.metered);
	if (plain)
		explicit_bzero(plain, PIECE_MAX);
	return r;
}

static int run(struct pull_layer *l, struct cf_err *err)
{
	cf_cleanup(cf_closep) int lock = -1;
	int r = lock_layer(l, &lock, err);

	if (r == 0)
		r = pull_layer_is_stored(l, &l->is_reused, err);
	if (r == 0 && l->is_reused)
		pull_meter_bytes(l->meter, l->desc->size);
	if (r < 0 || l->is_reused)
		return r;
	bool is_spoiled = false;

	r = build(l, &is_spoiled, err);
	if (!is_spoiled || r == -CF_CANCELLED)
		return r;
	/* Whatever the cache did, the pull goes on as if there were none. */
	l->cache = NULL;
	return build(l, &is_spoiled, err);
}

void pull_layer_run(void *layer)
{
	struct pull_layer *l = layer;
	const uint64_t one = 1;

	if (l->progress)
		l->progress(l->progress_arg, l->index, l->count, l->desc, false);
	l->result = run(l, &l->err);
	if (l->result == 0)
		pull_meter_layer(l->meter);
	if (l->progress && l->result == 0)
		l->progress(l->progress_arg, l->index, l->count, l->desc, true);
	if (l->result < 0)
		l->result = cf_wrap(&l->err, l->result, "layer %s", l->desc->digest.text);
	if (l->result < 0 && l->stop_fd >= 0)
		(void)!write(l->stop_fd, &one, sizeof(one));
	/* From here on the job belongs to whoever waits. */
	if (l->done_fd >= 0)
		(void)!write(l->done_fd, &one, sizeof(one));
}
