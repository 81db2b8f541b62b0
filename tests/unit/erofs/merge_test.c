/* SPDX-License-Identifier: Apache-2.0 */
/* Merging images that no builder of ours wrote. What merges add up to: component/erofs/merge_test. */
#include "erofs/merge.h"

#include "erofs/layer_out.h"
#include "tests/harness/erofs_tree.h"

/* A layer image with a directory, files inline and in blocks, a link and attributes. */
static struct cf_buf sample(bool pending)
{
	const struct layer_build_opts opts = { .for_merge = true };
	struct cf_buf image = { .max = 1u << 24 };
	struct mk_tar t = { 0 };
	struct cf_err err = { 0 };
	cf_cleanup(cf_freep) char *big = cf_asprintf("%05000d", 1);

	mk_dir(&t, "d");
	mk_file(&t, "d/small", "small");
	mk_file(&t, "d/big", big);
	mk_member(&t, '1', "d/hard", "d/small", cf_view(NULL, 0));
	mk_member(&t, '2', "sym", "d/small", cf_view(NULL, 0));
	mk_pax(&t, 'x', "SCHILY.xattr.user.a", cf_view_str("1"));
	mk_file(&t, "x", "");
	mk_file(&t, "o/.wh..wh..opq", "");
	mk_file(&t, ".wh.w", "");
	if (pending)
		mk_member(&t, '1', "p", "d/small", cf_view(NULL, 0));
	if (pending)
		mk_member(&t, '1', "q", "below", cf_view(NULL, 0));
	mk_end(&t);
	EXPECT_OK(mk_image(cf_buf_view(&t.b), 0, &opts, &image, NULL, &err), &err);
	cf_buf_fini(&t.b);
	return image;
}

static int merge_views(const struct cf_view *images, size_t count, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = memfd_create("merged", MFD_CLOEXEC);
	struct layer_merge_input in[4];

	for (size_t i = 0; i < count; i++)
		in[i] = (struct layer_merge_input){ images[i], CF_VIEW_LIT("sha256:00"), false };
	return layer_merge(in, count, mk_uuid, fd, NULL, err);
}

static int merge_one(struct cf_view image, struct cf_err *err)
{
	return merge_views(&image, 1, err);
}

/* The inode of @name in the root of @image. */
static uint8_t *inode_of(struct cf_buf *image, const char *name)
{
	struct layer_image img;
	struct layer_file root;
	struct layer_name n;
	struct cf_err err = { 0 };

	EXPECT_OK(layer_image_open(&img, cf_buf_view(image), &err), &err);
	EXPECT_OK(layer_image_file(&img, LAYER_ROOT_NID, &root, &err), &err);
	struct layer_name_iter it = layer_image_names(&root);
	while (layer_name_next(&it, &n, &err) == 1)
		if (cf_view_eq_str(n.name, name))
			return image->data + n.nid * LAYER_NID_BYTES;
	fail_msg("no %s", name);
	return NULL;
}

CF_TEST(merge_refuses_every_truncation)
{
	struct cf_buf image = sample(false);
	struct cf_err err = { 0 };

	EXPECT_OK(merge_one(cf_buf_view(&image), &err), &err);
	for (size_t n = 0; n < image.size; n += n < 4096 ? 64 : 512) {
		/* an exact copy, so that a read behind it is seen */
		uint8_t *copy = malloc(n ? n : 1);

		memcpy(copy, image.data, n);
		EXPECT(merge_one(cf_view(copy, n), &err) < 0);
		free(copy);
	}
	cf_buf_fini(&image);
}

CF_TEST(merge_survives_any_changed_byte)
{
	struct cf_buf image = sample(true), lower = sample(false);
	struct cf_err err = { 0 };
	size_t refused = 0;

	for (size_t at = 1024; at < image.size; at++) {
		uint8_t was = image.data[at];
		/* content and padding say nothing to a merge */
		static const uint8_t flips[] = { 0x01, 0x80, 0xff };

		for (size_t i = 0; i < CF_ARRAY_LEN(flips); i++) {
			const struct cf_view both[] = { cf_buf_view(&lower), cf_buf_view(&image) };

			image.data[at] = was ^ flips[i];
			refused += merge_views(both, 2, &err) < 0;
		}
		image.data[at] = was;
		if (at == 4096)
			at = image.size > 16384 ? image.size - 12288 : 4096;
	}
	EXPECT(refused > 100);
	cf_buf_fini(&image);
	cf_buf_fini(&lower);
}

CF_TEST(merge_refuses_inodes_that_reach_outside)
{
	static const struct {
		const char *name;
		size_t at;
		uint32_t value;
	} bad[] = {
		{ "d", INODE_SIZE, 0x7fffffff }, /* a directory longer than the image */
		{ "d", INODE_SIZE + 4, 1 },
		{ "sym", INODE_SIZE, 5000 },       /* an inlined tail across its block */
		{ "sym", INODE_SIZE, 0 },          /* a link to nothing */
		{ "x", INODE_FORMAT, 0xffff0009 }, /* chunks, huge attributes */
		{ "x", INODE_FORMAT, 0x00010000 }, /* a compact inode */
		{ "x", INODE_NSEC, 1000000000 },
		{ "x", INODE_MODE, 0 }, /* of no type */
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(bad); i++) {
		struct cf_buf image = sample(false);
		struct cf_err err = { 0 };

		put_u32(inode_of(&image, bad[i].name) + bad[i].at, bad[i].value);
		if (merge_one(cf_buf_view(&image), &err) != -CF_INVALID_ARGUMENT)
			fail_msg("row %zu: %s", i, err.msg);
		cf_buf_fini(&image);
	}
}

CF_TEST(merge_ends_in_a_directory_that_contains_itself)
{
	struct cf_buf image = sample(false);
	struct layer_image img;
	struct layer_file d;
	struct cf_err err = { 0 };
	uint8_t *inode = inode_of(&image, "d");
	uint64_t nid = (uint64_t)(inode - image.data) / LAYER_NID_BYTES;

	/* "big" in d becomes d itself */
	EXPECT_OK(layer_image_open(&img, cf_buf_view(&image), &err), &err);
	EXPECT_OK(layer_image_file(&img, nid, &d, &err), &err);
	uint8_t *entry = inode + LAYER_INODE_BYTES + d.inode.xattr_bytes + 2 * DIRENT_BYTES;
	put_u64(entry, nid);
	entry[10] = KIND_DIR;
	EXPECT_FAILS(merge_one(cf_buf_view(&image), &err), CF_INVALID_ARGUMENT);
	EXPECT(strstr(err.msg, "too deep"));
	cf_buf_fini(&image);
}

CF_TEST(merge_refuses_forged_marks)
{
	struct cf_buf image = sample(false);
	struct cf_err err = { 0 };
	uint8_t *area = inode_of(&image, "x") + LAYER_INODE_BYTES;

	/* user.a becomes trusted.overlay.…: no builder of ours writes that on a file */
	static const char forged[] = "overlay.metacopy";
	area[XATTR_HEADER_BYTES] = sizeof(forged) - 1;
	area[XATTR_HEADER_BYTES + 1] = XATTR_TRUSTED;
	put_u16(area + XATTR_HEADER_BYTES + 2, 0);
	memcpy(area + XATTR_HEADER_BYTES + 4, forged, sizeof(forged) - 1);
	put_u16(area - LAYER_INODE_BYTES + INODE_XATTRS, 1 + (4 + sizeof(forged) - 1) / 4);
	EXPECT_FAILS(merge_one(cf_buf_view(&image), &err), CF_INVALID_ARGUMENT);
	EXPECT(strstr(err.msg, "forged"));
	cf_buf_fini(&image);
}

CF_TEST(merge_refuses_links_that_lead_nowhere)
{
	struct cf_buf image = sample(true);
	struct cf_err err = { 0 };

	EXPECT_FAILS(merge_one(cf_buf_view(&image), &err), CF_INVALID_ARGUMENT);
	EXPECT(strstr(err.msg, "below"));
	EXPECT(strstr(err.msg, "layer 1"));
	cf_buf_fini(&image);
}

CF_TEST(merge_limits_layers)
{
	struct layer_merge_input *in = cf_zalloc_n(LAYER_MERGE_LAYERS_MAX + 1, sizeof(*in));
	struct cf_err err = { 0 };

	EXPECT_FAILS(layer_merge(in, 0, mk_uuid, -1, NULL, &err), CF_RESOURCE_EXHAUSTED);
	EXPECT_FAILS(layer_merge(in, LAYER_MERGE_LAYERS_MAX + 1, mk_uuid, -1, NULL, &err),
	             CF_RESOURCE_EXHAUSTED);
	free(in);
}

CF_TEST(merge_gives_the_same_bytes_for_the_same_layers)
{
	struct cf_buf image = sample(false), out[2] = { { .max = 1 << 24 }, { .max = 1 << 24 } };
	struct cf_err err = { 0 };

	for (size_t i = 0; i < 2; i++) {
		cf_cleanup(cf_closep) int fd = memfd_create("merged", MFD_CLOEXEC);
		const struct layer_merge_input in[] = {
			{ cf_buf_view(&image), CF_VIEW_LIT("sha256:01"), false },
			{ cf_buf_view(&image), CF_VIEW_LIT("sha256:02"), false },
		};

		EXPECT_OK(layer_merge(in, 2, mk_uuid, fd, NULL, &err), &err);
		lseek(fd, 0, SEEK_SET);
		EXPECT_OK(cf_read_all(fd, 1 << 24, &out[i], &err), &err);
	}
	EXPECT(cf_view_eq(cf_buf_view(&out[0]), cf_buf_view(&out[1])));
	cf_buf_fini(&out[0]);
	cf_buf_fini(&out[1]);
	cf_buf_fini(&image);
}
