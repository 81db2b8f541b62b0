/* fuzz: erofs */
/* SPDX-License-Identifier: Apache-2.0 */
/* A layer image of any bytes, alone and on top of a good one (the first byte chooses). */
#include "erofs/layer_build.h"
#include "erofs/layer_format.h"
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct layer_merge_input in[2] = {
		{ lower(), CF_VIEW_LIT("sha256:00") },
		{ .diff_id = CF_VIEW_LIT("sha256:01") },
	};
	/* the image's size in blocks is put right, so that sizes may change */
	size_t blocks = size > 1 ? (size - 1 + LAYER_BLOCK_BYTES - 1) / LAYER_BLOCK_BYTES : 0;
	uint8_t *image = calloc(blocks ? blocks : 1, LAYER_BLOCK_BYTES);
	struct cf_err err;

	if (blocks) {
		memcpy(image, data + 1, size - 1);
		put_u32(image + LAYER_SB_AT + SB_BLOCKS, (uint32_t)blocks);
		in[1].image = cf_view(image, blocks * LAYER_BLOCK_BYTES);
		cf_cleanup(cf_closep) int fd = memfd_create("merged", MFD_CLOEXEC);
		bool alone = data[0] & 1;
		if (layer_merge(alone ? in + 1 : in, alone ? 1 : 2, uuid, fd, NULL, &err) < 0 &&
		    !err.msg[0])
			abort();
	}
	free(image);
	return 0;
}
