/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Odd and hostile tars, with the result that each must have. Every image that comes out is also
 * read by fsck.erofs, when that is installed.
 */
#include "tests/harness/erofs_tree.h"

struct vector {
	const char *name;
	const char *want; /* the listing; NULL: refused */
};

/* clang-format off */
static const struct vector vectors[] = {
	{ "L_huge", NULL },
	{ "chr_type", NULL }, /* would be a forged whiteout */
	{ "dotdot_up", NULL },
	{ "global_pax", NULL }, /* a path in a global header */
	{ "hl_missing", NULL },
	{ "hl_opq", NULL },
	{ "hl_to_self_dir", NULL },
	{ "hl_whiteout", NULL },
	{ "long_name256", NULL },
	{ "pax_2gb", NULL },
	{ "pax_bad_len0", NULL },
	{ "pax_mtime_neg", NULL },
	{ "pax_path_nul", NULL },
	{ "root_as_file", NULL },
	{ "size_huge", NULL },
	{ "sock_noname", NULL },
	{ "sparse_S", NULL },
	{ "sym_emptylink", NULL },
	{ "trunc", NULL },
	{ "wh_dot", NULL },
	{ "wh_empty", NULL },
	{ "xattr_key_nul", NULL },
	{ "dup_file", "/ d\n/a f 10 2222222222\n" },
	{ "opq_missing_dir", "/ d\n/a f 2 hi\n/x d\n/x/y d opaque\n" },
	{ "opq_root", "/ d opaque\n/a f 2 hi\n" },
	{ "prefix_slash", "/ d\n/a f 0 \n" },
	{ "sym_size", "/ d\n/after f 700 DDDDDDDDDD\n/l l /etc\n" },
	{ "symlink_parent", "/ d\n/l d opaque\n/l/passwd f 2 hi\n" },
	{ "type_nul", "/ d\n/after f 2 hi\n/old f 2 hi\n" },
	{ "unknown_D_w_size", "/ d\n/after f 2 hi\n" },
	{ "v7", "/ d\n/old f 2 hi\n" },
	{ "wh_of_dir_then", "/ d\n/d d opaque\n/d/x f 2 hi\n/d/y f 2 hi\n" },
	{ "wh_size", "/ d\n/x c 0:0\n" },
	{ "xattr_bad_ns", "/ d\n/z f 2 hi\n" },
	{ "xattr_emptyname", "/ d\n/z f 2 hi\n" },
};
/* clang-format on */

static struct cf_buf read_vector(const char *name)
{
	cf_cleanup(cf_freep) char *rel = cf_asprintf("tests/vectors/erofs-tar/%s.tar", name);
	cf_cleanup(cf_freep) char *path = cf_test_source(rel);

	return cf_test_read(path);
}

static void check(const struct vector *v, size_t step)
{
	struct cf_buf tar = read_vector(v->name), image = { 0 };
	struct cf_err err = { .msg = "" };
	int r = mk_image(cf_buf_view(&tar), step, NULL, &image, NULL, &err);

	if (v->want && r < 0)
		fail_msg("%s: refused: %s", v->name, err.msg);
	if (!v->want && r == 0)
		fail_msg("%s: accepted: %s", v->name, list_image(cf_buf_view(&image)));
	if (!v->want && r != -CF_INVALID_ARGUMENT && r != -CF_RESOURCE_EXHAUSTED)
		fail_msg("%s: refused with %d: %s", v->name, r, err.msg);
	if (!v->want && step == 0)
		print_message("%s: %s\n", v->name, err.msg);
	if (v->want) {
		cf_cleanup(cf_freep) char *got = list_image(cf_buf_view(&image));

		if (!cf_streq(got, v->want))
			fail_msg("%s:\n%s", v->name, got);
		if (step == 0)
			expect_fsck(cf_buf_view(&image));
	}
	cf_buf_fini(&tar);
	cf_buf_fini(&image);
}

CF_TEST(layer_vectors_have_their_required_results)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(vectors); i++)
		check(&vectors[i], 0);
}

CF_TEST(layer_vectors_have_the_same_results_when_cut_into_pieces)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(vectors); i++) {
		check(&vectors[i], 1);
		check(&vectors[i], 511);
	}
}

CF_TEST(layer_strict_mode_refuses_a_parent_that_is_no_directory)
{
	struct cf_buf tar = read_vector("symlink_parent"), image = { 0 };
	const struct layer_build_opts opts = { .strict = true };
	struct cf_err err;

	EXPECT_FAILS(mk_image(cf_buf_view(&tar), 0, &opts, &image, NULL, &err),
	             CF_INVALID_ARGUMENT);
	cf_buf_fini(&tar);
}

/* ---- cases of the same kind, made here ---- */

static void check_made(struct mk_tar *t, const char *name, const char *want)
{
	struct cf_buf image = { 0 };
	struct cf_err err = { .msg = "" };

	mk_end(t);
	int r = mk_image(cf_buf_view(&t->b), 0, NULL, &image, NULL, &err);
	if ((r == 0) != (want != NULL))
		fail_msg("%s: %d %s", name, r, err.msg);
	if (want) {
		cf_cleanup(cf_freep) char *got = list_image(cf_buf_view(&image));

		EXPECT_STR(got, want);
		expect_fsck(cf_buf_view(&image));
	}
	cf_buf_fini(&image);
	cf_buf_fini(&t->b);
	*t = (struct mk_tar){ 0 };
}

static void set_size(struct mk_tar *t, const char *bytes, size_t n)
{
	uint8_t *h = t->b.data + t->b.size - 512;

	memcpy(h + 124, bytes, n);
	mk_seal(h);
}

CF_TEST(layer_cases_with_attributes)
{
	struct mk_tar t = { 0 };

	mk_pax(&t, 'x', "LIBARCHIVE.xattr.user.a%00b", cf_view_str("aGk="));
	mk_file(&t, "f", "hi");
	check_made(&t, "NUL in an attribute's encoded name", NULL);
	mk_pax(&t, 'x', "SCHILY.xattr.user.x", cf_view_str(""));
	mk_file(&t, "z", "hi");
	check_made(&t, "attribute without value", "/ d\n/z f 2 hi user.x=\n");
	mk_pax(&t, 'g', "SCHILY.xattr.user.x", cf_view_str("1"));
	mk_file(&t, "a", "hi");
	mk_file(&t, "b", "hi");
	check_made(&t, "global attribute", "/ d\n/a f 2 hi user.x=1\n/b f 2 hi user.x=1\n");
	mk_member(&t, 'x', "pax", NULL, cf_view_str("-6 a=b\n"));
	mk_file(&t, "a", "hi");
	check_made(&t, "negative record length", NULL);
}

CF_TEST(layer_cases_with_sizes)
{
	struct mk_tar t = { 0 };
	cf_cleanup(cf_freep) char *many = cf_asprintf("%0700d", 1);

	mk_dir(&t, "d");
	set_size(&t, "00000002000", 12);
	mk_file(&t, "after", many);
	check_made(&t, "directory with a size", "/ d\n/after f 700 0000000000\n/d d\n");
	mk_file(&t, "f", "x");
	mk_member(&t, '1', "h", "f", cf_view(NULL, 0));
	set_size(&t, "00000002000", 12);
	mk_file(&t, "after", many);
	check_made(&t, "hard link with a size",
	           "/ d\n/after f 700 0000000000\n/f f 1 x n2\n/h f 1 x n2\n");
	mk_file(&t, "f", "");
	set_size(&t, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00", 12);
	check_made(&t, "negative size", NULL);
	mk_member(&t, 'A', "unknown", NULL, cf_view_str("payload that is not a header"));
	mk_file(&t, "after", "hi");
	check_made(&t, "unknown type with payload", "/ d\n/after f 2 hi\n");
	mk_member(&t, '\0', "dir/", NULL, cf_view(NULL, 0));
	check_made(&t, "old directory", "/ d\n/dir d\n");
}

CF_TEST(layer_cases_with_names)
{
	struct mk_tar t = { 0 };

	mk_member(&t, '2', "/", "/etc", cf_view(NULL, 0));
	check_made(&t, "root as a symbolic link", NULL);
	mk_file(&t, "a/..", "");
	check_made(&t, "'..' at the end", NULL);
	mk_file(&t, "d/.wh...", "");
	check_made(&t, "whiteout of '..'", NULL);
	mk_file(&t, "f", "");
	mk_member(&t, '1', ".wh.h", "f", cf_view(NULL, 0));
	check_made(&t, "hard link named like a whiteout", NULL);
	mk_file(&t, "d/e/f/g", "x");
	mk_file(&t, "d", "x");
	mk_file(&t, "d/e", "y");
	check_made(&t, "directory over file over directories", "/ d\n/d d opaque\n/d/e f 1 y\n");
	mk_file(&t, "d/x", "x");
	mk_member(&t, '1', "y", "d/x", cf_view(NULL, 0));
	mk_file(&t, "d", "z");
	check_made(&t, "file over a directory with a linked file", "/ d\n/d f 1 z\n/y f 1 x\n");
}
