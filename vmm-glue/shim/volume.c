/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/volume.h"

#include "vmm-glue/shim/agent_spec.h"

#include <linux/magic.h>
#include <sys/vfs.h>

/* What the snapshotter writes when it does not know the image. */
#define DUMMY_SOURCE "dummy-image-reference"

bool volume_is_tmpfs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

static int parse_volume(const char *option, struct cf_json **ret, struct cf_err *err)
{
	struct cf_buf json = { .max = VOLUME_JSON_MAX };
	int r = cf_b64_decode(CF_B64_STD, cf_view_str(cf_after(option, VOLUME_OPTION_PREFIX)),
	                      &json, err);

	if (r == 0)
		r = cf_json_parse(cf_buf_view(&json), VOLUME_JSON_MAX, ret, err);
	cf_buf_fini(&json);
	return r < 0 ? cf_wrap(err, r, "Kata volume") : 0;
}

/* The first guest-pull volume among @options; *ret stays NULL when there is none. */
static int find_volume(const struct cf_strv *options, struct cf_json **ret, struct cf_err *err)
{
	for (size_t i = 0; i < options->count; i++) {
		cf_cleanup(cf_json_freep) struct cf_json *v = NULL;
		struct cf_view type;
		int r;

		if (!cf_starts_with(options->items[i], VOLUME_OPTION_PREFIX))
			continue;
		r = parse_volume(options->items[i], &v, err);
		if (r == 0)
			r = cf_json_need_str(v, "volume_type", &type, err);
		if (r < 0)
			return r;
		if (!cf_view_eq_str(type, "image_guest_pull"))
			return cf_fail(err, CF_UNIMPLEMENTED, "Kata volume of type \"%.*s\"",
			               (int)CF_MIN(type.size, (size_t)64), (const char *)type.data);
		*ret = cf_take(&v);
		return 0;
	}
	return 0;
}

/* Volume metadata with the container's annotations over it, keys sorted by the order of arrival. */
static void write_metadata(const struct bundle *b, const struct cf_json *metadata, struct cf_jw *w)
{
	const struct cf_json *annotations = cf_json_get(b->config, "annotations");
	const struct cf_json *value;
	const char *key;
	void *it = NULL;

	cf_jw_obj(w);
	while (cf_json_next(metadata, &it, &key, &value))
		if (!cf_json_get(annotations, key) && cf_json_type(value) == CF_JSON_STRING)
			cf_jw_kview(w, key, cf_json_str(value));
	it = NULL;
	while (cf_json_next(annotations, &it, &key, &value))
		if (cf_json_type(value) == CF_JSON_STRING)
			cf_jw_kview(w, key, cf_json_str(value));
	cf_jw_end_obj(w);
}

static char *pull_option(const struct bundle *b, const struct cf_json *volume)
{
	const struct cf_json *pull = cf_json_get(volume, "image_pull");
	struct cf_buf out = { 0 };
	struct cf_jw w = { .out = &out };

	cf_buf_add_str(&out, "image_guest_pull=");
	cf_jw_obj(&w);
	cf_jw_key(&w, "metadata");
	write_metadata(b, cf_json_get(pull, "metadata"), &w);
	cf_jw_end_obj(&w);
	return cf_buf_take_str(&out);
}

static int image_name(const struct bundle *b, const struct cf_json *volume, char **ret,
                      struct cf_err *err)
{
	struct cf_view name = bundle_image(b);

	if (b->kind == BUNDLE_SANDBOX) {
		*ret = cf_strdup("pause");
		return 0;
	}
	if (!name.size && b->kind == BUNDLE_SINGLE)
		name = cf_json_str(cf_json_get(volume, "source"));
	if (!name.size || cf_view_eq_str(name, DUMMY_SOURCE))
		return cf_fail(err, CF_FAILED_PRECONDITION,
		               "no annotation names the image that the guest should pull");
	if (cf_view_has_nul(name))
		return cf_fail(err, CF_INVALID_ARGUMENT, "image name holds a NUL");
	*ret = cf_view_dup(name);
	return 0;
}

int volume_guest_pull(const struct bundle *b, const struct cf_strv *options, bool forced,
                      const char *root, Grpc__Storage **ret, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *volume = NULL;
	cf_cleanup(cf_freep) char *image = NULL;
	cf_cleanup(cf_freep) char *option = NULL;
	Grpc__Storage *s;
	int r = find_volume(options, &volume, err);

	if (r < 0)
		return r;
	/* the pause container is the guest's own, wherever the host has unpacked its image */
	if (!volume && !forced && b->kind != BUNDLE_SANDBOX)
		return cf_fail(err, CF_UNIMPLEMENTED,
		               "the rootfs lies on the host, which the guest does not share: pull "
		               "the image with coffer-snapshotter, or set force_guest_pull");
	r = image_name(b, volume, &image, err);
	if (r < 0)
		return r;
	option = pull_option(b, volume);
	s = cf_zalloc(sizeof(*s));
	grpc__storage__init(s);
	s->driver = cf_strdup("image_guest_pull");
	agent_add_str(&s->n_driver_options, &s->driver_options, option);
	s->source = cf_take(&image);
	s->fstype = cf_strdup("overlay");
	s->mount_point = cf_strdup(root);
	*ret = s;
	return 0;
}
