/* SPDX-License-Identifier: Apache-2.0 */
#include "base/gzip.h"
#include "tests/harness/test.h"

CF_TEST(gzip_gives_back_what_it_took_and_the_same_bytes_each_time)
{
	struct cf_buf text = { 0 }, one = { 0 }, two = { 0 }, back = { 0 };
	struct cf_err err;

	for (int i = 0; i < 20000; i++)
		cf_buf_printf(&text, "line %d\n", i);
	EXPECT_OK(cf_gzip(cf_buf_view(&text), &one, &err), &err);
	EXPECT_OK(cf_gzip(cf_buf_view(&text), &two, &err), &err);
	EXPECT(cf_view_eq(cf_buf_view(&one), cf_buf_view(&two)));
	EXPECT_OK(cf_gunzip(cf_buf_view(&one), text.size, &back, &err), &err);
	EXPECT(cf_view_eq(cf_buf_view(&back), cf_buf_view(&text)));
	cf_buf_fini(&back);
	EXPECT_FAILS(cf_gunzip(cf_buf_view(&one), text.size - 1, &back, &err),
	             CF_RESOURCE_EXHAUSTED);
	EXPECT(back.size < text.size);
	cf_buf_fini(&text);
	cf_buf_fini(&one);
	cf_buf_fini(&two);
	cf_buf_fini(&back);
}

CF_TEST(gzip_of_nothing_is_nothing)
{
	struct cf_buf z = { 0 }, back = { 0 };
	struct cf_err err;

	EXPECT_OK(cf_gzip(cf_view_str(""), &z, &err), &err);
	EXPECT_OK(cf_gunzip(cf_buf_view(&z), 0, &back, &err), &err);
	EXPECT(back.size == 0);
	cf_buf_fini(&z);
	cf_buf_fini(&back);
}

CF_TEST(gzip_refuses_every_truncation_and_every_flip_in_its_trailer)
{
	struct cf_buf z = { 0 }, back = { 0 };
	struct cf_err err;

	EXPECT_OK(cf_gzip(cf_view_str("some text, some text"), &z, &err), &err);
	for (size_t n = 0; n < z.size; n++)
		EXPECT_FAILS(cf_gunzip(cf_view(z.data, n), 100, &back, &err), CF_INVALID_ARGUMENT);
	for (size_t i = z.size - 8; i < z.size; i++) {
		z.data[i] ^= 1;
		EXPECT_FAILS(cf_gunzip(cf_buf_view(&z), 100, &back, &err), CF_INVALID_ARGUMENT);
		z.data[i] ^= 1;
	}
	cf_buf_add_byte(&z, 0);
	EXPECT_FAILS(cf_gunzip(cf_buf_view(&z), 100, &back, &err), CF_INVALID_ARGUMENT);
	cf_buf_fini(&z);
	cf_buf_fini(&back);
}
