/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/pod_initdata.h"

#include "base/fd.h"

static int read_source(const struct bundle *b, const struct shim_config *config, struct cf_buf *ret,
                       struct cf_err *err)
{
	struct cf_view annotation = bundle_annotation(b, INITDATA_ANNOTATION);

	if (!annotation.size)
		annotation = bundle_annotation(b, INITDATA_ANNOTATION_ALIAS);
	if (annotation.size && config->has_annotation_initdata)
		return initdata_from_annotation(annotation, ret, err);
	if (config->initdata)
		return cf_read_file(config->initdata, INITDATA_TEXT_MAX, ret, err);
	return 0;
}

static int write_disk(struct cf_view text, const char *dir, struct pod_initdata *ret,
                      struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/initdata.img", dir);
	cf_cleanup(initdata_freep) struct initdata *d = NULL;
	struct cf_buf disk = { .max = INITDATA_GZIP_MAX + INITDATA_DISK_ALIGN * 2 };
	int r = initdata_parse(text, &d, err);

	if (r == 0)
		r = initdata_to_disk(text, &disk, err);
	if (r == 0)
		r = cf_write_file_atomic(path, cf_buf_view(&disk), 0600, err);
	cf_buf_fini(&disk);
	if (r < 0)
		return r;
	initdata_digest(d, ret->digest);
	ret->digest_size = cf_hash_size(d->alg);
	ret->path = cf_take(&path);
	return 0;
}

int pod_initdata_prepare(const struct bundle *b, const struct shim_config *config, const char *dir,
                         struct pod_initdata *ret, struct cf_err *err)
{
	struct cf_buf text = { .max = INITDATA_TEXT_MAX };
	int r = read_source(b, config, &text, err);

	if (r == 0 && text.size)
		r = write_disk(cf_buf_view(&text), dir, ret, err);
	cf_buf_fini(&text);
	return r < 0 ? cf_wrap(err, r, "initdata") : 0;
}

void pod_initdata_fini(struct pod_initdata *d)
{
	free(d->path);
	*d = (struct pod_initdata){ .path = NULL };
}
