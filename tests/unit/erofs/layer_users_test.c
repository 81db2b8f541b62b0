/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/layer_users.h"

#include "base/gzip.h"
#include "base/str.h"
#include "tests/harness/tar_make.h"
#include "tests/harness/test.h"

#define PASSWD "root:x:0:0::/:/bin/sh\n"
#define GROUP  "wheel:x:10:root\n"

/* In pieces of @piece bytes; the outcome of the last. */
static int read_all(struct cf_view blob, size_t piece, struct layer_users_found *ret,
                    struct cf_err *err)
{
	struct layer_users_reader *r = layer_users_reader_new();
	int rc = 0;

	for (size_t at = 0; rc == 0 && at < blob.size; at += piece)
		rc = layer_users_read(r, cf_view_sub(blob, at, piece), err);
	layer_users_take(r, ret);
	layer_users_reader_free(r);
	return rc;
}

static void expect_text(const struct layer_users_found *f, size_t i, const char *text)
{
	EXPECT(f->is_there[i] == (text != NULL));
	EXPECT(cf_view_eq_str(cf_buf_view(&f->text[i]), text ?: ""));
}

CF_TEST(layer_users_finds_both_files_and_stops_there)
{
	struct cf_buf tar = { 0 };
	struct cf_err err;

	tar_add_file(&tar, "bin/sh", "x");
	tar_add_file(&tar, "./etc/passwd", PASSWD);
	tar_add_file(&tar, "etc/group", GROUP);
	tar_add_file(&tar, "usr/etc/passwd", "other");
	for (size_t piece = 1; piece < 5000; piece = piece * 3 + 1) {
		struct layer_users_found part;

		EXPECT_INT(read_all(cf_buf_view(&tar), piece, &part, &err), LAYER_USERS_E_ENOUGH);
		expect_text(&part, 0, PASSWD);
		expect_text(&part, 1, GROUP);
		layer_users_found_fini(&part);
	}
	struct cf_buf gz = { 0 };
	struct layer_users_found f;

	EXPECT_OK(cf_gzip(cf_buf_view(&tar), &gz, &err), &err);
	EXPECT_INT(read_all(cf_buf_view(&gz), 3, &f, &err), LAYER_USERS_E_ENOUGH);
	expect_text(&f, 0, PASSWD);
	layer_users_found_fini(&f);
	cf_buf_fini(&gz);
	for (size_t n = 0; n < tar.size; n++) { /* every truncation: what was whole, no more */
		EXPECT(read_all(cf_view(tar.data, n), 512, &f, &err) >= 0);
		EXPECT(!f.text[0].size || cf_view_eq_str(cf_buf_view(&f.text[0]), PASSWD));
		layer_users_found_fini(&f);
	}
	cf_buf_fini(&tar);
}

CF_TEST(layer_users_knows_what_hides)
{
	static const struct {
		const char *path, *content;
		bool hides[2];
	} cases[] = {
		{ "etc/.wh.passwd", "", { true, false } },
		{ "etc/.wh..wh..opq", "", { true, true } },
		{ ".wh.etc", "", { true, true } },
		{ "etc", "a file", { true, true } },
		{ "etc/passwd/x", "a directory", { false, false } },
		{ "etc/passwd-", "x", { false, false } },
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(cases); i++) {
		struct cf_buf tar = { 0 };
		struct layer_users_found f;
		struct cf_err err;

		tar_add_file(&tar, cases[i].path, cases[i].content);
		tar_end(&tar);
		EXPECT_OK(read_all(cf_buf_view(&tar), 4096, &f, &err), &err);
		for (size_t k = 0; k < 2; k++)
			expect_text(&f, k, cases[i].hides[k] ? "" : NULL);
		layer_users_found_fini(&f);
		cf_buf_fini(&tar);
	}
}

CF_TEST(layer_users_cuts_long_files_at_a_line)
{
	cf_cleanup(cf_freep) char *line = cf_asprintf("%0999d\n", 0);
	cf_cleanup(cf_freep) char *four = cf_asprintf("%s%s%s%s", line, line, line, line);
	struct cf_buf tar = { 0 };
	struct layer_users_found f;
	struct cf_err err;

	tar_add_file(&tar, "etc/passwd", four);
	tar_end(&tar);
	EXPECT_OK(read_all(cf_buf_view(&tar), 100, &f, &err), &err);
	EXPECT_INT(f.text[0].size, LAYER_USERS_TEXT_MAX);
	EXPECT(f.text[0].data[LAYER_USERS_TEXT_MAX - 1] == '\n');
	layer_users_found_fini(&f);
	cf_buf_fini(&tar);
}

CF_TEST(layer_users_refuses_what_is_no_layer)
{
	static const char junk[600] = "this is no archive at all";
	static const char gzip[64] = "\x1f\x8b\x08\0\0\0\0\0\0\3 no deflate";
	struct layer_users_found f;
	struct cf_err err;

	EXPECT_FAILS(read_all(cf_view(junk, sizeof(junk)), 512, &f, &err), CF_INVALID_ARGUMENT);
	layer_users_found_fini(&f);
	EXPECT_FAILS(read_all(cf_view(gzip, sizeof(gzip)), 5, &f, &err), CF_INVALID_ARGUMENT);
	layer_users_found_fini(&f);
	EXPECT_OK(read_all(cf_view("ab", 2), 1, &f, &err), &err); /* too short to be anything */
	layer_users_found_fini(&f);
}
