/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/inflate.h"

#include "tests/harness/compressed.h"

/* Feeds @in in pieces of @step, takes output in pieces of @cap. */
static int inflate_all(enum inflate_format f, struct cf_view in, size_t step, size_t cap,
                       struct cf_buf *out, struct cf_err *err)
{
	cf_cleanup(inflate_freep) struct inflate *z = NULL;
	int r = inflate_new(f, &z, err);

	while (r == 0) {
		struct cf_view piece = cf_view_sub(in, 0, step);
		size_t had = piece.size, produced = 0;

		r = inflate_step(z, &piece, cf_buf_reserve(out, cap), cap, &produced, err);
		out->size += r == 0 ? produced : 0;
		in = cf_view_sub(in, had - piece.size, in.size);
		if (r == 0 && !produced && !in.size)
			break;
	}
	return r < 0 ? r : inflate_finish(z, err);
}

static struct cf_buf sample(size_t size)
{
	struct cf_buf b = { .max = 1u << 26 };

	for (size_t i = 0; i < size; i++)
		cf_buf_add_byte(&b, (uint8_t)((i * i) >> 7 ^ i));
	return b;
}

typedef struct cf_buf pack_fn(struct cf_view v);
static const struct {
	enum inflate_format format;
	pack_fn *pack;
} kinds[] = { { INFLATE_GZIP, gzip_of }, { INFLATE_ZSTD, zstd_of } };

CF_TEST(inflate_sniffs_formats)
{
	EXPECT_INT(inflate_sniff((struct cf_view)CF_VIEW_LIT("\x1f\x8b\x08\0")), INFLATE_GZIP);
	EXPECT_INT(inflate_sniff((struct cf_view)CF_VIEW_LIT("\x28\xb5\x2f\xfd")), INFLATE_ZSTD);
	EXPECT_INT(inflate_sniff((struct cf_view)CF_VIEW_LIT("\x5f\x2a\x4d\x18")), INFLATE_ZSTD);
	EXPECT_INT(inflate_sniff((struct cf_view)CF_VIEW_LIT("etc/")), INFLATE_PLAIN);
	EXPECT_INT(inflate_sniff((struct cf_view)CF_VIEW_LIT("\x28\xb5")), INFLATE_PLAIN);
	EXPECT_INT(inflate_sniff(cf_view(NULL, 0)), INFLATE_PLAIN);
}

CF_TEST(inflate_gives_back_what_went_in_however_cut)
{
	static const size_t steps[] = { 1, 7, 1000, 1 << 20 }, caps[] = { 1, 100, 1 << 18 };
	struct cf_buf plain = sample(50000);

	for (size_t k = 0; k < CF_ARRAY_LEN(kinds); k++) {
		struct cf_buf packed = kinds[k].pack(cf_buf_view(&plain));

		for (size_t i = 0; i < CF_ARRAY_LEN(steps) * CF_ARRAY_LEN(caps); i++) {
			struct cf_buf out = { .max = 1u << 26 };
			struct cf_err err = { 0 };

			EXPECT_OK(inflate_all(kinds[k].format, cf_buf_view(&packed), steps[i % 4],
			                      caps[i / 4], &out, &err),
			          &err);
			EXPECT(cf_view_eq(cf_buf_view(&out), cf_buf_view(&plain)));
			cf_buf_fini(&out);
		}
		cf_buf_fini(&packed);
	}
	cf_buf_fini(&plain);
}

CF_TEST(inflate_reads_members_and_frames_one_after_the_other)
{
	struct cf_buf plain = sample(3000);

	for (size_t k = 0; k < CF_ARRAY_LEN(kinds); k++) {
		struct cf_buf one = kinds[k].pack(cf_buf_view(&plain)), all = { 0 }, out = { 0 };
		struct cf_buf empty = kinds[k].pack(cf_view("", 0));
		struct cf_err err = { 0 };

		cf_buf_add_view(&all, cf_buf_view(&one));
		cf_buf_add_view(&all, cf_buf_view(&empty));
		if (kinds[k].format == INFLATE_ZSTD)
			cf_buf_add(&all, "\x53\x2a\x4d\x18\x02\0\0\0zz", 10);
		cf_buf_add_view(&all, cf_buf_view(&one));
		if (kinds[k].format == INFLATE_GZIP)
			cf_buf_add_zero(&all, 512); /* padding, as tapes have it */
		EXPECT_OK(inflate_all(kinds[k].format, cf_buf_view(&all), 333, 500, &out, &err),
		          &err);
		EXPECT_INT(out.size, 6000);
		cf_buf_fini(&one);
		cf_buf_fini(&all);
		cf_buf_fini(&empty);
		cf_buf_fini(&out);
	}
	cf_buf_fini(&plain);
}

CF_TEST(inflate_refuses_every_truncation_and_every_flipped_bit_of_the_trailer)
{
	struct cf_buf plain = sample(2000);

	for (size_t k = 0; k < CF_ARRAY_LEN(kinds); k++) {
		struct cf_buf packed = kinds[k].pack(cf_buf_view(&plain)), out = { 0 };
		struct cf_err err = { 0 };

		for (size_t n = 0; n < packed.size; n++) {
			cf_buf_reset(&out);
			EXPECT_FAILS(inflate_all(kinds[k].format, cf_view(packed.data, n), 50, 500,
			                         &out, &err),
			             CF_INVALID_ARGUMENT);
		}
		for (size_t i = 1; kinds[k].format == INFLATE_GZIP && i <= 8; i++) {
			cf_buf_reset(&out);
			packed.data[packed.size - i] ^= 1;
			EXPECT_FAILS(inflate_all(INFLATE_GZIP, cf_buf_view(&packed), 50, 500, &out,
			                         &err),
			             CF_INVALID_ARGUMENT);
			packed.data[packed.size - i] ^= 1;
		}
		cf_buf_fini(&packed);
		cf_buf_fini(&out);
	}
	cf_buf_fini(&plain);
}

CF_TEST(inflate_refuses_bytes_behind_the_last_member)
{
	struct cf_buf plain = sample(100);

	for (size_t k = 0; k < CF_ARRAY_LEN(kinds); k++) {
		struct cf_buf packed = kinds[k].pack(cf_buf_view(&plain)), out = { 0 };
		struct cf_err err = { 0 };

		cf_buf_add_str(&packed, "junk!");
		EXPECT_FAILS(
			inflate_all(kinds[k].format, cf_buf_view(&packed), 50, 500, &out, &err),
			CF_INVALID_ARGUMENT);
		cf_buf_fini(&packed);
		cf_buf_fini(&out);
	}
	cf_buf_fini(&plain);
}

CF_TEST(inflate_limits_the_zstd_window)
{
	/* a frame header: window descriptor of 2^(10+18) = 256 MiB */
	static const uint8_t frame[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x00, 18 << 3, 0x01, 0x00, 0x00 };
	struct cf_buf out = { 0 };
	struct cf_err err = { 0 };

	EXPECT_FAILS(inflate_all(INFLATE_ZSTD, cf_view(frame, sizeof(frame)), 100, 100, &out, &err),
	             CF_RESOURCE_EXHAUSTED);
	cf_buf_fini(&out);
}
