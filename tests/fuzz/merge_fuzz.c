/* fuzz: erofs */
/* SPDX-License-Identifier: Apache-2.0 */
/* A layer image of any bytes, alone and on top of a good one (the first byte chooses). */
#include "erofs/layer_build.h"
#include "erofs/layer_image.h"
#include "erofs/merge.h"

#include "base/fd.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t uuid[LAYER_UUID_SIZE];

static void header(struct cf_buf *tar, char type, const char *name, const char *link)
{
	uint8_t h[512] = { 0 };
	unsigned sum = 0;

	memcpy(h, name, strlen(name));
	memcpy(h + 157, link, strlen(link));
	memcpy(h + 100, "0000755", 8);
	memcpy(h + 124, "00000000000", 12);
	h[156] = (uint8_t)type;
	memcpy(h + 257, "ustar\00000", 8);
	memset(h + 148, ' ', 8);
	for (size_t i = 0; i < sizeof(h); i++)
		sum += h[i];
	snprintf((char *)h + 148, 8, "%06o", sum);
	cf_buf_add(tar, h, sizeof(h));
}

/* The layer below: made once. */
static struct cf_view lower(void)
{
	static struct cf_buf image;
	struct cf_buf tar = { 0 };
	struct cf_err err;

	if (image.size)
		return cf_buf_view(&image);
	header(&tar, '5', "d", "");
	header(&tar, '0', "d/small", "");
	header(&tar, '0', "below", "");
	header(&tar, '5', "o", "");
	header(&tar, '0', "o/x", "");
	header(&tar, '2', "lib", "d");
	header(&tar, '2', "up", "d/../..");
	header(&tar, '2', "d/top", "/up");
	cf_cleanup(cf_closep) int fd = memfd_create("lower", MFD_CLOEXEC);
	struct layer_build *b = layer_build_new(fd, NULL);
	if (layer_build_feed(b, cf_buf_view(&tar), &err) < 0 ||
	    layer_build_finish(b, uuid, NULL, &err) < 0)
		abort();
	layer_build_free(b);
	cf_buf_fini(&tar);
	lseek(fd, 0, SEEK_SET);
	if (cf_read_all(fd, 1 << 24, &image, &err) < 0)
		abort();
	return cf_buf_view(&image);
}

/* Every name of an image, bounded; what cannot be read is an error, never more. */
static bool walk(const struct layer_image *img, uint64_t nid, unsigned depth, unsigned *names)
{
	struct layer_name name;
	struct layer_file f;
	struct cf_err err;
	volatile uint8_t sum = 0;
	int r;

	if (depth > TAR_DEPTH_MAX + 1 || ++*names > 5000 ||
	    layer_image_file(img, nid, &f, &err) < 0)
		return false;
	for (size_t i = 0; i < f.content.size; i += 512)
		sum ^= f.content.data[i];
	(void)sum; /* reading it was the point */
	if (f.kind != KIND_DIR)
		return true;
	struct layer_name_iter it = layer_image_names(&f);
	while ((r = layer_name_next(&it, &name, &err)) > 0)
		if (!walk(img, name.nid, depth + 1, names))
			return false;
	return r == 0;
}

/* What a merge wrote must read back whole. */
static void check_merged(int fd, const struct cf_view *layers, size_t count)
{
	struct cf_buf merged = { .max = 1u << 28 };
	struct layer_image img;
	struct cf_err err;
	unsigned names = 0;

	lseek(fd, 0, SEEK_SET);
	if (cf_read_all(fd, 1u << 28, &merged, &err) < 0 ||
	    layer_image_open_merged(&img, cf_buf_view(&merged), layers, count, &err) < 0)
		abort();
	if (!walk(&img, LAYER_ROOT_NID, 0, &names) && names <= 5000)
		abort();
	cf_buf_fini(&merged);
}

static void merge(struct cf_view image, bool alone)
{
	const struct layer_merge_input in[2] = {
		{ lower(), CF_VIEW_LIT("sha256:00"), false },
		{ image, CF_VIEW_LIT("sha256:01"), false },
	};
	const struct cf_view views[2] = { in[0].image, in[1].image };
	cf_cleanup(cf_closep) int fd = memfd_create("merged", MFD_CLOEXEC);
	struct cf_err err;

	if (layer_merge(in + alone, 2 - alone, uuid, fd, NULL, &err) == 0)
		check_merged(fd, views + alone, 2 - alone);
	else if (!err.msg[0])
		abort();
}

/* The first byte: 1 alone, 2 the bytes are a merged image over the good layer. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* the image's size in blocks is put right, so that sizes may change */
	size_t blocks = size > 1 ? (size - 1 + LAYER_BLOCK_BYTES - 1) / LAYER_BLOCK_BYTES : 0;
	uint8_t *image = calloc(blocks ? blocks : 1, LAYER_BLOCK_BYTES);
	struct cf_view below = lower();
	struct layer_image img;
	struct cf_err err;
	unsigned names = 0;

	if (blocks) {
		memcpy(image, data + 1, size - 1);
		put_u32(image + LAYER_SB_AT + SB_BLOCKS, (uint32_t)blocks);
		struct cf_view v = cf_view(image, blocks * LAYER_BLOCK_BYTES);

		if (!(data[0] & 2))
			merge(v, data[0] & 1);
		else if (layer_image_open_merged(&img, v, &below, 1, &err) == 0)
			walk(&img, LAYER_ROOT_NID, 0, &names);
	}
	free(image);
	return 0;
}
