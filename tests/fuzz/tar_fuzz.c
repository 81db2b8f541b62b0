/* fuzz: erofs */
/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tar of any bytes. The first byte chooses options; checksums of blocks that look like headers
 * are put right, or nothing would get past them. An image that comes out must read back and merge.
 */
#include "erofs/layer_build.h"
#include "erofs/layer_image.h"
#include "erofs/merge.h"

#include "base/fd.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCK 512u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t uuid[LAYER_UUID_SIZE];

static void fix_checksums(uint8_t *tar, size_t size)
{
	for (size_t at = 0; at + BLOCK <= size; at += BLOCK) {
		uint8_t *h = tar + at;
		unsigned sum = 0;

		if (memcmp(h + 257, "ustar", 5) != 0)
			continue;
		memset(h + 148, ' ', 8);
		for (size_t i = 0; i < BLOCK; i++)
			sum += h[i];
		snprintf((char *)h + 148, 8, "%06o", sum);
	}
}

static void walk(const struct layer_image *img, uint64_t nid, unsigned depth)
{
	struct layer_name name;
	struct layer_file f;
	struct cf_err err;
	int r;

	if (layer_image_file(img, nid, &f, &err) < 0 || depth > TAR_DEPTH_MAX + 1)
		abort();
	if (f.kind != KIND_DIR)
		return;
	struct layer_name_iter it = layer_image_names(&f);
	while ((r = layer_name_next(&it, &name, &err)) > 0)
		walk(img, name.nid, depth + 1);
	if (r < 0)
		abort();
}

static void check(int fd, bool for_merge)
{
	struct cf_buf image = { .max = 1u << 28 };
	struct layer_image img;
	struct cf_err err;

	lseek(fd, 0, SEEK_SET);
	if (cf_read_all(fd, 1u << 28, &image, &err) < 0) { /* a hole of gigabytes */
		cf_buf_fini(&image);
		return;
	}
	if (layer_image_open(&img, cf_buf_view(&image), &err) < 0)
		abort();
	walk(&img, LAYER_ROOT_NID, 0);
	if (for_merge) {
		const struct layer_merge_input in = { cf_buf_view(&image), CF_VIEW_LIT("sha256:00"),
			                              false };
		cf_cleanup(cf_closep) int out = memfd_create("merged", MFD_CLOEXEC);

		/* a link that leads nowhere may be refused; anything else merges */
		if (layer_merge(&in, 1, uuid, out, NULL, &err) < 0 && !img.has_pending)
			abort();
	}
	cf_buf_fini(&image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct layer_build_opts opts = { .limits = { 2000, 64 << 20 } };
	uint8_t *tar;
	struct cf_err err;

	if (size < 1)
		return 0;
	opts.strict = data[0] & 1;
	opts.for_merge = data[0] & 2;
	size_t step = data[0] & 4 ? 77 : size;
	tar = malloc(size);
	memcpy(tar, data + 1, size - 1);
	fix_checksums(tar, size - 1);
	cf_cleanup(cf_closep) int fd = memfd_create("image", MFD_CLOEXEC);
	struct layer_build *b = layer_build_new(fd, &opts);
	int r = 0;
	for (size_t at = 0; r == 0 && at < size - 1; at += step)
		r = layer_build_feed(b, cf_view_sub(cf_view(tar, size - 1), at, step), &err);
	if (r == 0)
		r = layer_build_finish(b, uuid, NULL, &err);
	layer_build_free(b);
	free(tar);
	if (r == 0)
		check(fd, opts.for_merge);
	return 0;
}
