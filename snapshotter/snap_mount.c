/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_mount.h"

#include "base/json.h"
#include "snapshotter/snap_erofs.h"
#include "snapshotter/snap_identity.h"

#define KEY_LAYERS   "io.coffer.layers"
#define KEY_DIFF_IDS "io.coffer.diff-ids"
#define KEY_ID       "io.coffer.snapshot-id"

void snap_mount_fini(struct snap_mount *m)
{
	free(m->type);
	free(m->source);
	cf_strv_fini(&m->options);
	*m = (struct snap_mount){ 0 };
}

/* ---- the Kata volume ---- */

/* The nearest layer that says which image it came with. */
static const struct snap_record *labelled(const struct snap_list *chain)
{
	for (size_t i = 0; i < chain->count; i++)
		if (snap_record_label(chain->items[i], SNAP_LABEL_LAYER) ||
		    snap_record_label(chain->items[i], SNAP_LABEL_IMAGE_REF))
			return chain->items[i];
	return NULL;
}

/* One label of every layer, base first, joined by commas; NULL unless all have it. */
static char *joined(const struct snap_list *chain, const char *key)
{
	cf_cleanup(cf_strv_fini) struct cf_strv all = { 0 };

	for (size_t i = chain->count; i-- > 0;) {
		const char *value = snap_record_label(chain->items[i], key);

		if (!value)
			return NULL;
		cf_strv_add(&all, value);
	}
	return all.count ? cf_strv_join(&all, ",") : NULL;
}

struct pair {
	const char *key;
	char *value;
};
#define PAIRS_MAX 8
struct pairs {
	struct pair items[PAIRS_MAX];
	size_t count;
};

static void add_take(struct pairs *p, const char *key, char *value_take)
{
	if (value_take)
		p->items[p->count++] = (struct pair){ key, value_take };
}

static void pairs_fini(struct pairs *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->items[i].value);
}

static void drop(struct pairs *p, const char *key)
{
	for (size_t i = 0; i < p->count; i++) {
		if (!cf_streq(p->items[i].key, key))
			continue;
		free(p->items[i].value);
		p->count--;
		memmove(&p->items[i], &p->items[i + 1], (p->count - i) * sizeof(p->items[0]));
		return;
	}
}

/* In the order of keys, so that the answer is always the same text. */
static void collect(const struct snap_mount_opts *opts, const struct snap_record *rec,
                    const struct snap_list *chain, struct pairs *ret)
{
	const struct snap_record *top = labelled(chain);

	if (!top)
		return;
	add_take(ret, SNAP_LABEL_IMAGE_REF,
	         opts->is_minimal ? NULL : cf_strdup(snap_record_label(top, SNAP_LABEL_IMAGE_REF)));
	add_take(ret, SNAP_LABEL_LAYER, cf_strdup(snap_record_label(top, SNAP_LABEL_LAYER)));
	add_take(ret, SNAP_LABEL_MANIFEST,
	         opts->is_minimal ? NULL : cf_strdup(snap_record_label(top, SNAP_LABEL_MANIFEST)));
	add_take(ret, SNAP_LABEL_PROXY_MODE,
	         cf_strdup(snap_record_label(top, SNAP_LABEL_PROXY_MODE)));
	if (opts->is_minimal)
		return;
	add_take(ret, KEY_DIFF_IDS, joined(chain, SNAP_LABEL_DIFF_ID));
	add_take(ret, KEY_LAYERS, joined(chain, SNAP_LABEL_LAYER));
	add_take(ret, KEY_ID, cf_asprintf("%lld", (long long)rec->id));
}

static void write_volume(const char *source, const struct pairs *p, struct cf_buf *out)
{
	struct cf_jw w = { .out = out };

	cf_jw_obj(&w);
	cf_jw_kstr(&w, "volume_type", "image_guest_pull");
	cf_jw_kstr(&w, "source", source);
	if (p->count) {
		cf_jw_key(&w, "options");
		cf_jw_arr(&w);
		for (size_t i = 0; i < p->count; i++) {
			cf_cleanup(cf_freep) char *option =
				cf_asprintf("%s=%s", p->items[i].key, p->items[i].value);

			cf_jw_str(&w, option);
		}
		cf_jw_end_arr(&w);
	}
	cf_jw_key(&w, "image_pull");
	cf_jw_obj(&w);
	cf_jw_key(&w, "metadata");
	cf_jw_obj(&w);
	for (size_t i = 0; i < p->count; i++)
		cf_jw_kstr(&w, p->items[i].key, p->items[i].value);
	cf_jw_end_obj(&w);
	cf_jw_end_obj(&w);
	cf_jw_end_obj(&w);
}

void snap_volume_json(const struct snap_mount_opts *opts, const struct snap_record *rec,
                      const struct snap_list *chain, struct cf_buf *out)
{
	static const char *const droppable[] = { KEY_DIFF_IDS, KEY_LAYERS, SNAP_LABEL_MANIFEST,
		                                 SNAP_LABEL_IMAGE_REF, SNAP_LABEL_LAYER };
	cf_cleanup(pairs_fini) struct pairs p = { .count = 0 };
	const struct snap_record *top = labelled(chain);
	const char *ref = top ? snap_record_label(top, SNAP_LABEL_IMAGE_REF) : NULL;

	collect(opts, rec, chain, &p);
	if (!ref || opts->is_minimal || strlen(ref) > SNAP_LABEL_KEY_MAX)
		ref = SNAP_VOLUME_DUMMY_REF;
	write_volume(ref, &p, out);
	for (size_t i = 0; out->size > SNAP_VOLUME_JSON_MAX && i < CF_ARRAY_LEN(droppable); i++) {
		drop(&p, droppable[i]);
		cf_buf_reset(out);
		write_volume(ref, &p, out);
	}
}

static void add_volume(const struct snap_mount_opts *opts, const struct snap_record *rec,
                       const struct snap_list *chain, struct snap_mount *m)
{
	cf_cleanup(cf_buf_fini) struct cf_buf json = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf option = { 0 };

	snap_volume_json(opts, rec, chain, &json);
	cf_buf_add_str(&option, SNAP_VOLUME_PREFIX);
	cf_b64_encode(CF_B64_STD, cf_buf_view(&json), &option);
	cf_strv_add_take(&m->options, cf_buf_take_str(&option));
}

static void kata_mount(const struct snap_mount_opts *opts, const struct snap_record *rec,
                       const struct snap_list *chain, struct snap_mount *m)
{
	long long id = (long long)rec->id;
	cf_cleanup(cf_freep) char *identity =
		rec->flags & SNAP_HAS_IDENTITY
			? cf_asprintf("%s/snapshots/%lld/" SNAP_IDENTITY_DIR ":", opts->root, id)
			: cf_strdup("");

	m->type = cf_asprintf("fuse.%s", opts->helper);
	m->source = cf_strdup("overlay");
	if (rec->kind == SNAP_ACTIVE) {
		if (opts->is_volatile)
			cf_strv_add(&m->options, "volatile");
		cf_strv_addf(&m->options, "workdir=%s/snapshots/%lld/work", opts->root, id);
		cf_strv_addf(&m->options, "upperdir=%s/snapshots/%lld/fs", opts->root, id);
		cf_strv_addf(&m->options, "lowerdir=%s%s/empty", identity, opts->root);
	} else {
		/* Without an upper directory overlay wants two lower ones. */
		cf_strv_addf(&m->options, "lowerdir=%s%s/snapshots/%lld/fs:%s/empty", identity,
		             opts->root, id, opts->root);
	}
	add_volume(opts, rec, chain, m);
}

/* ---- content that is on this host ---- */

static void bind_mount(const char *root, int64_t id, bool is_readonly, struct snap_mount *m)
{
	m->type = cf_strdup("bind");
	m->source = cf_asprintf("%s/snapshots/%lld/fs", root, (long long)id);
	cf_strv_add(&m->options, is_readonly ? "ro" : "rw");
	cf_strv_add(&m->options, "rbind");
}

static char *lower_dirs(const char *root, const struct snap_list *chain)
{
	cf_cleanup(cf_buf_fini) struct cf_buf b = { .max = 4u << 20 };

	cf_buf_add_str(&b, "lowerdir=");
	for (size_t i = 0; i < chain->count; i++)
		cf_buf_printf(&b, "%s%s/snapshots/%lld/fs", i ? ":" : "", root,
		              (long long)chain->items[i]->id);
	return cf_buf_take_str(&b);
}

static void overlay_head(const struct snap_mount_opts *opts, const struct snap_record *rec,
                         struct snap_mount *m)
{
	long long id = (long long)rec->id;

	m->type = cf_strdup("overlay");
	m->source = cf_strdup("overlay");
	cf_strv_add(&m->options, "index=off");
	if (rec->kind != SNAP_ACTIVE)
		return;
	if (opts->is_volatile)
		cf_strv_add(&m->options, "volatile");
	cf_strv_addf(&m->options, "workdir=%s/snapshots/%lld/work", opts->root, id);
	cf_strv_addf(&m->options, "upperdir=%s/snapshots/%lld/fs", opts->root, id);
}

static void overlay_mount(const struct snap_mount_opts *opts, const struct snap_record *rec,
                          const struct snap_list *chain, struct snap_mount *m)
{
	overlay_head(opts, rec, m);
	cf_strv_add_take(&m->options, lower_dirs(opts->root, chain));
}

/*
 * All layers below are one mount of ours. A directory that was renamed must not leave a note instead
 * of its content: the image made of this one at commit could not say it.
 */
static void on_erofs_mount(const struct snap_mount_opts *opts, const struct snap_record *rec,
                           struct snap_mount *m)
{
	cf_cleanup(cf_freep) char *lower = snap_erofs_path(opts->root, rec->parent_id);

	if (rec->kind == SNAP_VIEW) {
		m->type = cf_strdup("bind");
		m->source = cf_take(&lower);
		cf_strv_add(&m->options, "ro");
		cf_strv_add(&m->options, "rbind");
		return;
	}
	overlay_head(opts, rec, m);
	cf_strv_addf(&m->options, "lowerdir=%s", lower);
	cf_strv_add(&m->options, "redirect_dir=off");
}

/* The shapes of containerd's own overlay snapshotter. */
static void plain_mount(const struct snap_mount_opts *opts, const struct snap_record *rec,
                        const struct snap_list *chain, struct snap_mount *m)
{
	if (chain->count == 0)
		bind_mount(opts->root, rec->id, rec->kind == SNAP_VIEW, m);
	else if (rec->kind == SNAP_VIEW && chain->count == 1)
		bind_mount(opts->root, chain->items[0]->id, true, m);
	else
		overlay_mount(opts, rec, chain, m);
}

int snap_mount_of(const struct snap_mount_opts *opts, const struct snap_record *rec,
                  const struct snap_list *chain, struct snap_mount *ret, struct cf_err *err)
{
	if (rec->kind == SNAP_COMMITTED)
		return cf_fail(err, CF_FAILED_PRECONDITION,
		               "snapshot %s is committed: it has no mounts", rec->name);
	if (rec->flags & SNAP_KATA)
		kata_mount(opts, rec, chain, ret);
	else if (rec->flags & SNAP_NULL_EXTRACT)
		bind_mount(opts->root, rec->id, false, ret);
	else if (rec->flags & SNAP_ON_EROFS)
		on_erofs_mount(opts, rec, ret);
	else
		plain_mount(opts, rec, chain, ret);
	return 0;
}
