/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-imaged/image_pull.h"

#include "base/fd.h"
#include "erofs/layer_store.h"
#include "erofs/merge.h"
#include "guest-imaged/pull_layer.h"
#include "guest-imaged/pull_meter.h"
#include "proto/sig_policy.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* One pull under way. */
struct pull {
	const struct pull_env *env;
	struct oci_source *src;
	struct oci_manifest manifest;
	struct pull_layer *layers;
	char *lock_dir;
	int done_fd;   /* eventfd: layer jobs that ended */
	int cancel_fd; /* eventfd: readable once layer jobs shall stop */
	struct pull_result *ret;
};

void pull_result_fini(struct pull_result *r)
{
	for (size_t i = 0; i < r->layer_count; i++)
		free(r->layers[i].media_type);
	free(r->layers);
	free(r->reference);
	free(r->merged);
	free(r->store_dir);
	free(r->judgement);
	oci_config_fini(&r->config);
	*r = (struct pull_result){ 0 };
}

void pull_result_devices(const struct pull_result *r, struct cf_strv *ret)
{
	for (size_t i = 0; i < r->layer_count; i++) {
		cf_cleanup(cf_freep) char *name =
			layer_store_name(cf_view_str(r->layers[i].diff_id.text));

		cf_strv_addf(ret, "%s/%s", r->store_dir, name);
	}
}

/* ---- manifest and configuration ---- */

/* Follows an index to the manifest of our platform; one nested index is followed too. */
static int choose(struct pull *p, struct oci_document_bytes *doc, struct cf_err *err)
{
	for (int depth = 0; depth < 3; depth++) {
		const struct oci_descriptor *entry;
		struct oci_document_bytes next = { 0 };
		struct oci_index x = { 0 };
		enum oci_document kind;
		int r = oci_document_kind(cf_buf_view(&doc->bytes), doc->media_type, &kind, err);

		if (r < 0 || kind == OCI_IS_MANIFEST)
			return r;
		if (!oci_digest_is_set(&p->ret->index))
			p->ret->index = doc->digest;
		r = oci_index_parse(cf_buf_view(&doc->bytes), &x, err);
		if (r == 0)
			r = oci_index_choose(&x, &p->env->platform, &entry, err);
		if (r == 0)
			r = oci_source_document(p->src, entry->digest.text, &next, err);
		if (r == 0 && next.bytes.size != entry->size)
			r = cf_fail(err, CF_DATA_LOSS, "manifest %s: size differs",
			            entry->digest.text);
		oci_index_fini(&x);
		oci_document_bytes_fini(doc);
		*doc = next;
		if (r < 0)
			return r;
	}
	return cf_fail(err, CF_INVALID_ARGUMENT, "an index in an index in an index");
}

static int resolve(struct pull *p, struct cf_err *err)
{
	struct oci_document_bytes doc = { 0 };
	int r = oci_source_document(p->src, NULL, &doc, err);

	if (r == 0)
		r = choose(p, &doc, err);
	if (r == 0)
		r = oci_manifest_parse(cf_buf_view(&doc.bytes), &p->manifest, err);
	if (r == 0)
		p->ret->manifest = doc.digest;
	oci_document_bytes_fini(&doc);
	return r;
}

static int check_shape(const struct oci_manifest *m, const struct oci_config *c, struct cf_err *err)
{
	if (strcmp(c->os, "linux") != 0)
		return cf_fail(err, CF_INVALID_ARGUMENT, "image is for another system than Linux");
	if (m->layer_count == 0)
		return cf_fail(err, CF_INVALID_ARGUMENT, "image has no layers");
	if (m->layer_count != c->diff_id_count)
		return cf_fail(err, CF_INVALID_ARGUMENT, "%zu layers but %zu diff_ids",
		               m->layer_count, c->diff_id_count);
	for (size_t i = 0; i < m->layer_count; i++) {
		if (m->layers[i].size > OCI_LAYER_SIZE_MAX)
			return cf_fail(err, CF_RESOURCE_EXHAUSTED, "layer %zu: over %llu bytes", i,
			               OCI_LAYER_SIZE_MAX);
	}
	return 0;
}

static int read_config(struct pull *p, struct cf_err *err)
{
	struct cf_buf text = { 0 };
	int r = oci_source_blob_read(p->src, &p->manifest.config, OCI_CONFIG_SIZE_MAX, &text, err);

	if (r == 0)
		r = oci_config_parse(cf_buf_view(&text), &p->ret->config, err);
	cf_buf_fini(&text);
	if (r == 0)
		r = check_shape(&p->manifest, &p->ret->config, err);
	if (r == 0)
		p->ret->config_digest = p->manifest.config.digest;
	return r;
}

/* ---- policy ---- */

static int ask_policy(struct pull *p, struct cf_err *err)
{
	struct sig_image image = { .src = p->src,
		                   .manifest = &p->ret->manifest,
		                   .index = &p->ret->index };
	struct sig_verdict verdict = { 0 };

	if (!p->env->policy)
		return 0;
	int r = sig_policy_judge(p->env->policy, &image, p->env->fetch, p->env->fetch_arg, &verdict,
	                         err);

	if (r == 0) {
		p->ret->judgement = cf_take(&verdict.text);
		p->ret->is_verified = verdict.is_verified;
	}
	sig_verdict_fini(&verdict);
	return r;
}

/* ---- keys ---- */

static int prepare_layer(struct pull *p, size_t i, struct cf_err *err)
{
	struct pull_layer *l = &p->layers[i];
	bool stored = false;

	*l = (struct pull_layer){
		.store_dir = p->ret->store_dir,
		.lock_dir = p->lock_dir,
		.desc = &p->manifest.layers[i],
		.diff_id = p->ret->config.diff_ids[i],
		.cache = p->env->cache,
		.not_durable = p->env->not_durable,
		.progress = p->env->progress,
		.progress_arg = p->env->progress_arg,
		.meter = p->env->meter,
		.index = i,
		.count = p->manifest.layer_count,
		.done_fd = p->done_fd,
		.stop_fd = p->cancel_fd,
	};
	int r = oci_layer_type_parse(l->desc->media_type, &l->type, err);

	if (r == 0)
		r = pull_layer_is_stored(l, &stored, err);
	/* All keys before the first byte: an owner who says no is heard before a gigabyte came. */
	if (r == 0 && l->type.encrypted && !stored)
		r = ocicrypt_unwrap(l->desc, &p->env->keys, &l->crypt, err);
	if (r == 0)
		r = oci_source_dup(p->src, &l->src, err);
	if (r < 0)
		return cf_wrap(err, r, "layer %s", l->desc->digest.text);
	oci_source_set_cancel(l->src, p->cancel_fd);
	return 0;
}

static void plan(const struct pull *p)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < p->manifest.layer_count; i++)
		bytes += p->manifest.layers[i].size;
	pull_meter_plan(p->env->meter, bytes, (uint32_t)p->manifest.layer_count);
}

static int prepare_layers(struct pull *p, struct cf_err *err)
{
	plan(p);
	p->layers = cf_zalloc_n(p->manifest.layer_count, sizeof(*p->layers));
	for (size_t i = 0; i < p->manifest.layer_count; i++) {
		int r = prepare_layer(p, i, err);

		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- layers, several at once ---- */

static void stop_layers(const struct pull *p)
{
	const uint64_t one = 1;

	(void)!write(p->cancel_fd, &one, sizeof(one));
}

static bool is_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

/* Waits for jobs to end; gives how many did. A caller who gives up stops them all first. */
static size_t wait_for_some(const struct pull *p)
{
	int caller = p->env->source.cancel_fd > 0 ? p->env->source.cancel_fd : -1;
	struct pollfd fds[2] = {
		{ .fd = p->done_fd, .events = POLLIN },
		{ .fd = is_readable(p->cancel_fd) ? -1 : caller, .events = POLLIN },
	};
	uint64_t ended = 0;

	while (poll(fds, 2, -1) < 0 && errno == EINTR)
		;
	if (fds[1].revents)
		stop_layers(p);
	if (read(p->done_fd, &ended, sizeof(ended)) != sizeof(ended))
		return 0;
	return (size_t)ended;
}

/* All jobs have ended. The failure that stopped the others, not theirs of having been stopped. */
static int first_failure(const struct pull *p, size_t started, struct cf_err *err)
{
	const struct pull_layer *worst = NULL;

	for (size_t i = 0; i < started; i++) {
		const struct pull_layer *l = &p->layers[i];

		if (l->result < 0 && (!worst || worst->result == -CF_CANCELLED))
			worst = l;
	}
	if (!worst)
		return 0;
	*err = worst->err;
	return worst->result;
}

static int run_layers(struct pull *p, struct cf_err *err)
{
	size_t count = p->manifest.layer_count, started = 0, ended = 0;
	size_t at_once = p->env->layers_at_once ? p->env->layers_at_once : IMAGED_LAYERS_AT_ONCE;
	int r = 0;

	for (;;) {
		while (r == 0 && started < count && started - ended < at_once &&
		       !is_readable(p->cancel_fd)) {
			r = cf_work_add(p->env->layers, pull_layer_run, &p->layers[started], err);
			started += r == 0;
		}
		if (ended == started)
			break;
		ended += wait_for_some(p);
	}
	if (r == 0)
		r = first_failure(p, started, err);
	if (r == 0 && started < count)
		r = cf_fail(err, CF_CANCELLED, "pull was stopped");
	return r;
}

/* ---- the end ---- */

static void note_layers(struct pull *p)
{
	struct pull_result *ret = p->ret;

	ret->layer_count = p->manifest.layer_count;
	ret->layers = cf_zalloc_n(ret->layer_count, sizeof(*ret->layers));
	for (size_t i = 0; i < ret->layer_count; i++) {
		const struct pull_layer *l = &p->layers[i];

		ret->layers[i] = (struct pull_layer_info){
			.digest = l->desc->digest,
			.diff_id = l->diff_id,
			.media_type = cf_strdup(l->desc->media_type),
			.size = l->desc->size,
			.image_bytes = l->image_bytes,
			.is_encrypted = l->type.encrypted,
			.is_reused = l->is_reused,
			.is_cached = l->is_cached,
		};
		ret->is_weak |= oci_source_is_weak(l->src);
	}
	ret->is_weak |= oci_source_is_weak(p->src);
}

static int merge(struct pull *p, struct cf_err *err)
{
	const struct oci_config *c = &p->ret->config;
	cf_cleanup(cf_freep) struct cf_view *ids = cf_zalloc_n(c->diff_id_count, sizeof(*ids));

	for (size_t i = 0; i < c->diff_id_count; i++)
		ids[i] = cf_view_str(c->diff_ids[i].text);
	return layer_merge_store(p->ret->store_dir, ids, c->diff_id_count, !p->env->not_durable,
	                         &p->ret->merged, err);
}

static int make_dirs(struct pull *p, struct cf_err *err)
{
	p->ret->store_dir = cf_asprintf("%s/erofs", p->env->work_dir);
	p->lock_dir = cf_asprintf("%s/locks", p->env->work_dir);
	int r = cf_mkdir_p(p->ret->store_dir, 0700, err);

	if (r == 0)
		r = cf_mkdir_p(p->lock_dir, 0700, err);
	return r;
}

static int pull_all(struct pull *p, struct cf_err *err)
{
	int r = resolve(p, err);

	if (r == 0)
		r = ask_policy(p, err);
	if (r == 0)
		r = read_config(p, err);
	if (r == 0)
		r = make_dirs(p, err);
	if (r == 0)
		r = prepare_layers(p, err);
	if (r == 0)
		r = run_layers(p, err);
	if (r < 0)
		return r;
	note_layers(p);
	return merge(p, err);
}

static char *describe(const struct oci_source *src)
{
	const struct oci_ref *ref = oci_source_ref(src);

	if (ref)
		return oci_ref_text(ref);
	return cf_asprintf("oci:%s%s%s", oci_source_layout_dir(src),
	                   oci_source_layout_tag(src)[0] ? ":" : "", oci_source_layout_tag(src));
}

static void pull_fini(struct pull *p)
{
	for (size_t i = 0; p->layers && i < p->manifest.layer_count; i++)
		pull_layer_fini(&p->layers[i]);
	free(p->layers);
	free(p->lock_dir);
	oci_manifest_fini(&p->manifest);
	oci_source_free(p->src);
	cf_close(&p->done_fd);
	cf_close(&p->cancel_fd);
}

int pull_image(const struct pull_env *env, const char *place, struct pull_result *ret,
               struct cf_err *err)
{
	struct pull_result result = { 0 };
	struct pull p = {
		.env = env,
		.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.cancel_fd = eventfd(0, EFD_CLOEXEC),
		.ret = &result,
	};
	int r = 0;

	if (p.done_fd < 0 || p.cancel_fd < 0)
		r = cf_fail_errno(err, errno, "eventfd");
	if (r == 0)
		r = oci_source_open(place, &env->source, &p.src, err);
	if (r == 0) {
		result.reference = describe(p.src);
		r = pull_all(&p, err);
	}
	pull_fini(&p);
	if (r < 0) {
		pull_result_fini(&result);
		return r;
	}
	*ret = result;
	return 0;
}
