/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/merge.h"

#include "erofs/layer_out.h"
#include "erofs/layer_store.h"

#include "base/crypto.h"
#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Published images are never written again, so a mapping of one does not change under us. */
static int map_layer(const char *dir, struct layer_merge_input *in, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = -1;
	struct stat st;
	void *p;
	int r = layer_store_find(dir, in->diff_id, &fd, err);

	if (r == LAYER_E_MISSING)
		return cf_fail(err, CF_NOT_FOUND, "merge: the store has no layer %.*s",
		               (int)CF_MIN(in->diff_id.size, 100u), (const char *)in->diff_id.data);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return cf_fail_errno(err, errno, "merge: layer");
	if (st.st_size <= 0 || (uint64_t)st.st_size > LAYER_IMAGE_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "merge: a layer of %lld bytes",
		               (long long)st.st_size);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return cf_fail_errno(err, errno, "merge: layer");
	in->image = cf_view(p, (size_t)st.st_size);
	return 0;
}

static void unmap_layers(const struct layer_merge_input *in, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (in[i].image.size)
			munmap((void *)(uintptr_t)in[i].image.data, in[i].image.size);
}

static char *merged_path(const char *dir, const struct cf_view *diff_ids, size_t count,
                         const char **ret_name)
{
	struct cf_hasher *h = cf_hasher_new(CF_SHA256);
	uint8_t digest[32];
	char hex[65], *path;

	for (size_t i = 0; i < count; i++) {
		cf_hasher_add(h, diff_ids[i]);
		cf_hasher_add(h, cf_view("\n", 1));
	}
	cf_hasher_final(h, digest);
	cf_hasher_free(h);
	cf_hex_encode(cf_view(digest, sizeof(digest)), hex);
	path = cf_asprintf("%s/merged-%s.erofs", dir, hex);
	*ret_name = path + strlen(dir) + 1;
	return path;
}

static int merge_into(const char *dir, const struct layer_merge_input *in, size_t count,
                      const char *name, bool durable, struct cf_err *err)
{
	struct layer_draft draft;
	int r = layer_draft_open(dir, &draft, err);

	if (r < 0)
		return r;
	r = layer_merge(in, count, draft.fd, NULL, err);
	if (r == 0)
		r = layer_draft_publish(&draft, name, durable, err);
	layer_draft_fini(&draft);
	return r;
}

int layer_merge_store(const char *dir, const struct cf_view *diff_ids, size_t count, bool durable,
                      char **ret_path, struct cf_err *err)
{
	struct layer_merge_input *in;
	const char *name;
	int r = 0;

	if (count == 0 || count > LAYER_MERGE_LAYERS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "merge: %zu layers, 1 to %u can be",
		               count, LAYER_MERGE_LAYERS_MAX);
	cf_cleanup(cf_freep) char *path = merged_path(dir, diff_ids, count, &name);
	if (access(path, F_OK) == 0) {
		*ret_path = cf_take(&path);
		return 0;
	}
	in = cf_zalloc_n(count, sizeof(*in));
	for (size_t i = 0; r == 0 && i < count; i++) {
		in[i].diff_id = diff_ids[i];
		r = map_layer(dir, &in[i], err);
	}
	if (r == 0)
		r = merge_into(dir, in, count, name, durable, err);
	unmap_layers(in, count);
	free(in);
	if (r == 0)
		*ret_path = cf_take(&path);
	return r;
}
