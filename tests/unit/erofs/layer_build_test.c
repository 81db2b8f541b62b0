/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/layer_build.h"

#include "erofs/layer_dirs.h"
#include "erofs/layer_out.h"
#include "tests/harness/erofs_tree.h"

#include "base/crypto.h"

/* @t is used up. The caller frees. */
static char *listing(struct mk_tar *t, const struct layer_build_opts *opts,
                     struct layer_stats *stats)
{
	struct cf_buf image = { .max = 1u << 30 };
	struct cf_err err = { 0 };

	mk_end(t);
	EXPECT_OK(mk_image(cf_buf_view(&t->b), 0, opts, &image, stats, &err), &err);
	expect_fsck(cf_buf_view(&image));
	char *text = list_image(cf_buf_view(&image));
	cf_buf_fini(&image);
	cf_buf_fini(&t->b);
	*t = (struct mk_tar){ 0 };
	return text;
}

static void expect_tree(struct mk_tar *t, const char *want)
{
	cf_cleanup(cf_freep) char *got = listing(t, NULL, NULL);

	EXPECT_STR(got, want);
}

static void expect_refused(struct mk_tar *t, const struct layer_build_opts *opts, enum cf_code code,
                           const char *text)
{
	struct cf_buf image = { .max = 1u << 30 };
	struct cf_err err = { 0 };

	mk_end(t);
	EXPECT_FAILS(mk_image(cf_buf_view(&t->b), 0, opts, &image, NULL, &err), code);
	if (!strstr(err.msg, text))
		fail_msg("'%s' does not say '%s'", err.msg, text);
	cf_buf_fini(&image);
	cf_buf_fini(&t->b);
	*t = (struct mk_tar){ 0 };
}

CF_TEST(layer_build_of_an_empty_archive_is_an_empty_root)
{
	struct mk_tar t = { 0 };

	expect_tree(&t, "/ d\n");
}

CF_TEST(layer_build_sorts_names_around_the_dots)
{
	struct mk_tar t = { 0 };

	mk_file(&t, "~", "");
	mk_file(&t, "a", "");
	mk_file(&t, "!", "");
	mk_file(&t, "-", "");
	mk_file(&t, ".a", "");
	mk_file(&t, "...", "");
	mk_file(&t, "\x01", "");
	expect_tree(&t,
	            "/ d\n/\x01 f 0 \n/! f 0 \n/- f 0 \n/... f 0 \n/.a f 0 \n/a f 0 \n/~ f 0 \n");
}

CF_TEST(layer_build_holds_big_directories_and_long_names)
{
	struct mk_tar t = { 0 };
	char name[300];

	for (unsigned i = 0; i < 4096; i++) {
		snprintf(name, sizeof(name), "d/%u", i * 2654435761u % 4096);
		mk_file(&t, name, "");
	}
	for (unsigned i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "e/%0255u", i);
		mk_pax(&t, 'x', "path", cf_view_str(name));
		mk_file(&t, "x", "");
	}
	cf_cleanup(cf_freep) char *got = listing(&t, NULL, NULL);
	size_t lines = 0;
	for (const char *p = got; *p; p++)
		lines += *p == '\n';
	EXPECT_INT(lines, 1 + 1 + 4096 + 1 + 40);
}

CF_TEST(layer_build_keeps_contents_of_every_size)
{
	static const size_t sizes[] = { 1,    63,   2047, 2048, 2049, 3968, 4031,  4032,
		                        4033, 4095, 4096, 4097, 8192, 8193, 70000, 300000 };
	struct cf_buf image = { .max = 1u << 30 };
	struct mk_tar t = { 0 };
	struct layer_image img;
	struct layer_name name;
	struct layer_file root, f;
	struct cf_err err = { 0 };
	uint8_t *body = cf_zalloc(300000);

	for (size_t i = 0; i < 300000; i++)
		body[i] = (uint8_t)(i * 7 + i / 251);
	for (size_t i = 0; i < CF_ARRAY_LEN(sizes); i++) {
		char path[32];

		snprintf(path, sizeof(path), "%06zu", sizes[i]);
		mk_member(&t, '0', path, NULL, cf_view(body, sizes[i]));
	}
	mk_end(&t);
	EXPECT_OK(mk_image(cf_buf_view(&t.b), 777, NULL, &image, NULL, &err), &err);
	EXPECT_OK(layer_image_open(&img, cf_buf_view(&image), &err), &err);
	EXPECT_OK(layer_image_file(&img, LAYER_ROOT_NID, &root, &err), &err);
	struct layer_name_iter it = layer_image_names(&root);
	for (size_t i = 0; i < CF_ARRAY_LEN(sizes); i++) {
		EXPECT(layer_name_next(&it, &name, &err) == 1);
		EXPECT_OK(layer_image_file(&img, name.nid, &f, &err), &err);
		EXPECT(cf_view_eq(f.content, cf_view(body, sizes[i])));
	}
	expect_fsck(cf_buf_view(&image));
	cf_buf_fini(&image);
	cf_buf_fini(&t.b);
	free(body);
}

CF_TEST(layer_build_keeps_allowed_attributes_and_counts_the_rest)
{
	static const char *const keys[] = {
		"SCHILY.xattr.user.b",
		"SCHILY.xattr.user.a",
		"SCHILY.xattr.security.capability",
		"SCHILY.xattr.trusted.t",
		"SCHILY.xattr.trusted.overlay.opaque",
		"SCHILY.xattr.user.overlay.redirect",
		"SCHILY.xattr.trusted.coffer.link",
		"SCHILY.xattr.foo.bar",
		"SCHILY.xattr.user.",
		"SCHILY.xattr.",
		"SCHILY.xattr.system.posix_acl_accessory",
	};
	struct cf_buf recs = { .max = 1 << 20 };
	struct layer_stats stats;
	struct mk_tar t = { 0 };
	cf_cleanup(cf_freep) char *long_name = cf_asprintf("SCHILY.xattr.user.%0256d", 1);

	for (size_t i = 0; i < CF_ARRAY_LEN(keys); i++)
		mk_record(&recs, keys[i], cf_view_str("1"));
	mk_record(&recs, long_name, cf_view_str("1"));
	mk_record(&recs, "SCHILY.xattr.user.b", cf_view_str("2"));
	mk_member(&t, 'x', "pax", NULL, cf_buf_view(&recs));
	mk_file(&t, "f", "x");
	mk_member(&t, 'x', "pax", NULL, cf_buf_view(&recs));
	mk_dir(&t, "d");
	cf_cleanup(cf_freep) char *got = listing(&t, NULL, &stats);
	EXPECT_STR(got, "/ d\n/d d user.a=1 user.b=2 trusted.t=1 security.capability=1\n"
	                "/f f 1 x user.a=1 user.b=2 trusted.t=1 security.capability=1\n");
	EXPECT_INT(stats.dropped_xattrs, 2 * 8);
	cf_buf_fini(&recs);
}

CF_TEST(layer_build_drops_attributes_that_are_too_big)
{
	struct layer_stats stats;
	struct mk_tar t = { 0 };
	cf_cleanup(cf_freep) char *big = cf_asprintf("%065536d", 1);

	/* 65535 bytes are a value; but with its name it is more than one inode holds */
	mk_pax(&t, 'x', "SCHILY.xattr.user.a", cf_view(big, 65000));
	mk_file(&t, "fits", "x");
	mk_pax(&t, 'x', "SCHILY.xattr.user.a", cf_view(big, 65536));
	mk_file(&t, "value-too-long", "x");
	mk_pax(&t, 'x', "SCHILY.xattr.user.a", cf_view(big, 65535));
	mk_file(&t, "area-too-long", "x");
	cf_cleanup(cf_freep) char *got = listing(&t, NULL, &stats);
	EXPECT_STR(got, "/ d\n/area-too-long f 1 x\n/fits f 1 x user.a=00000000000000000000\n"
	                "/value-too-long f 1 x\n");
	EXPECT_INT(stats.dropped_xattrs, 2);
	/* the root's attributes share a block with the superblock */
	mk_pax(&t, 'x', "SCHILY.xattr.user.a", cf_view(big, LAYER_ROOT_XATTRS_MAX));
	mk_dir(&t, "./");
	expect_refused(&t, NULL, CF_RESOURCE_EXHAUSTED, "root directory");
}

CF_TEST(layer_build_limits_what_directories_keep_in_memory)
{
	struct mk_tar t = { 0 };
	cf_cleanup(cf_freep) char *big = cf_asprintf("%060000d", 1);
	char name[32];

	for (unsigned i = 0; i <= LAYER_DIR_XATTRS_MAX / 60000; i++) {
		mk_pax(&t, 'x', "SCHILY.xattr.user.a", cf_view_str(big));
		snprintf(name, sizeof(name), "d%u", i);
		mk_dir(&t, name);
	}
	expect_refused(&t, NULL, CF_RESOURCE_EXHAUSTED, "attributes of directories");
}

CF_TEST(layer_build_lets_later_entries_win)
{
	struct layer_stats stats;
	struct mk_tar t = { 0 };

	mk_file(&t, "a", "first content");
	mk_file(&t, "a", "second");
	mk_dir(&t, "d");
	mk_file(&t, "d/kept", "k");
	mk_dir(&t, "d"); /* again: keeps what is in it */
	mk_dir(&t, "gone");
	mk_file(&t, "gone/x", "x");
	mk_member(&t, '2', "gone", "target", cf_view(NULL, 0));
	cf_cleanup(cf_freep) char *got = listing(&t, NULL, &stats);
	EXPECT_STR(got, "/ d\n/a f 6 second\n/d d\n/d/kept f 1 k\n/gone l target\n");
	EXPECT_INT(stats.dead_bytes, strlen("first content") + 1);
}

CF_TEST(layer_build_counts_links_right_through_replacements)
{
	struct mk_tar t = { 0 };

	/* d/x and y are one; d goes, y stays with one link */
	mk_file(&t, "d/x", "shared");
	mk_member(&t, '1', "y", "d/x", cf_view(NULL, 0));
	mk_file(&t, "d", "a file now");
	/* three names, one replaced */
	mk_file(&t, "p", "p");
	mk_member(&t, '1', "q", "p", cf_view(NULL, 0));
	mk_member(&t, '1', "r", "q", cf_view(NULL, 0));
	mk_file(&t, "p", "other");
	/* a link to itself changes nothing */
	mk_file(&t, "self", "s");
	mk_member(&t, '1', "self", "self", cf_view(NULL, 0));
	/* a link that takes the place of the directory its target is in */
	mk_file(&t, "in/side", "s");
	mk_member(&t, '1', "in", "in/side", cf_view(NULL, 0));
	/* a link to a symlink */
	mk_member(&t, '2', "sym", "t", cf_view(NULL, 0));
	mk_member(&t, '1', "sym2", "sym", cf_view(NULL, 0));
	expect_tree(&t,
	            "/ d\n/d f 10 a file now\n/in f 1 s\n/p f 5 other\n/q f 1 p n2\n/r f 1 p n2\n"
	            "/self f 1 s\n/sym l t n2\n/sym2 l t n2\n/y f 6 shared\n");
}

CF_TEST(layer_build_turns_directories_back_when_members_need_them)
{
	struct layer_stats stats;
	struct mk_tar t = { 0 };

	mk_file(&t, "d/e/f/g", "deep");
	mk_file(&t, "d", "file");
	mk_file(&t, "d/e", "again");
	cf_cleanup(cf_freep) char *got = listing(&t, NULL, &stats);
	EXPECT_STR(got, "/ d\n/d d opaque\n/d/e f 5 again\n");
	EXPECT_INT(stats.replaced_parents, 1);
	mk_file(&t, "d", "file");
	mk_file(&t, "d/e", "again");
	expect_refused(&t, &(struct layer_build_opts){ .strict = true }, CF_INVALID_ARGUMENT,
	               "no directory");
}

CF_TEST(layer_build_says_whiteouts_in_overlayfs_words)
{
	struct layer_stats stats;
	struct mk_tar t = { 0 };

	mk_file(&t, "d/.wh.gone", "");
	mk_file(&t, ".wh.both", ""); /* hides what is below, not what this layer brings */
	mk_file(&t, "both", "new");
	mk_file(&t, "both2", "new");
	mk_file(&t, ".wh.both2", "");
	mk_file(&t, "o/.wh..wh..opq", "");
	mk_file(&t, ".wh..wh.aufs", "");
	mk_dir(&t, ".wh..wh.plnk");
	mk_file(&t, ".wh..wh.plnk/12.34", "x");
	mk_file(&t, ".wh.dir", "");
	mk_file(&t, "dir/x", "");
	cf_cleanup(cf_freep) char *got = listing(&t, NULL, &stats);
	EXPECT_STR(got, "/ d\n/both f 3 new\n/both2 f 3 new\n/d d\n/d/gone c 0:0\n/dir d opaque\n"
	                "/dir/x f 0 \n/o d opaque\n");
	EXPECT_INT(stats.whiteouts, 1);
	EXPECT_INT(stats.opaque, 2);
}

CF_TEST(layer_build_refuses_whiteouts_of_nothing)
{
	static const char *const bad[] = { ".wh.", ".wh..", ".wh...", "d/.wh...", ".wh.d/x" };
	struct mk_tar t = { 0 };

	for (size_t i = 0; i < CF_ARRAY_LEN(bad); i++) {
		mk_file(&t, bad[i], "");
		expect_refused(&t, NULL, CF_INVALID_ARGUMENT, "whiteout");
	}
	mk_file(&t, "f", "");
	mk_member(&t, '1', ".wh.x", "f", cf_view(NULL, 0));
	expect_refused(&t, NULL, CF_INVALID_ARGUMENT, "hard link");
	mk_file(&t, "f", "");
	mk_member(&t, '1', ".wh..wh..opq", "f", cf_view(NULL, 0));
	expect_refused(&t, NULL, CF_INVALID_ARGUMENT, "hard link");
	mk_file(&t, ".wh.f", "");
	mk_member(&t, '1', "h", ".wh.f", cf_view(NULL, 0));
	expect_refused(&t, NULL, CF_INVALID_ARGUMENT, "whiteout");
	mk_file(&t, ".wh.f", "");
	mk_member(&t, '1', "h", "f", cf_view(NULL, 0));
	expect_refused(&t, &(struct layer_build_opts){ .for_merge = true }, CF_INVALID_ARGUMENT,
	               "takes away");
}

CF_TEST(layer_build_for_merge_marks_what_it_cannot_know)
{
	struct layer_stats stats;
	struct mk_tar t = { 0 };

	mk_member(&t, '1', "a/link", "lower/file", cf_view(NULL, 0));
	cf_cleanup(cf_freep) char *got =
		listing(&t, &(struct layer_build_opts){ .for_merge = true }, &stats);
	EXPECT_STR(got, "/ d trusted.coffer.implicit=y\n/a d trusted.coffer.implicit=y\n"
	                "/a/link f 0  trusted.coffer.link=lower/file\n");
	EXPECT_INT(stats.pending_links, 1);
}

CF_TEST(layer_build_keeps_long_link_targets_and_sparse_files)
{
	struct mk_tar t = { 0 };
	cf_cleanup(cf_freep) char *target = cf_asprintf("%04095d", 1);
	cf_cleanup(cf_freep) char *want = cf_asprintf("/ d\n/l l %s\n", target);

	mk_pax(&t, 'x', "linkpath", cf_view_str(target));
	mk_member(&t, '2', "l", "x", cf_view(NULL, 0));
	expect_tree(&t, want);
	cf_cleanup(cf_freep) char *longer = cf_asprintf("%04096d", 1);
	mk_pax(&t, 'x', "linkpath", cf_view_str(longer));
	mk_member(&t, '2', "l", "x", cf_view(NULL, 0));
	expect_refused(&t, NULL, CF_INVALID_ARGUMENT, "too long");
}

CF_TEST(layer_build_limits_names)
{
	const struct layer_build_opts opts = { .limits.entries_max = 4 };
	struct mk_tar t = { 0 };
	struct cf_buf path = { 0 };

	/* one member may bring many directories */
	for (unsigned i = 0; i < 40; i++)
		cf_buf_add_str(&path, "d/");
	mk_file(&t, (const char *)path.data, "");
	expect_refused(&t, &opts, CF_RESOURCE_EXHAUSTED, "names");
	cf_buf_fini(&path);
}

/* What an overlay's upper directory says, said in a tar of our own. */
CF_TEST(layer_build_of_an_upper_directory_takes_the_disk_at_its_word)
{
	const struct layer_build_opts opts = { .is_upper = true, .for_merge = true };
	const struct cf_view yes = CF_VIEW_LIT("y"), no = CF_VIEW_LIT("n");
	struct layer_stats stats;
	struct mk_tar t = { 0 };

	mk_dir(&t, "./");
	mk_pax(&t, 'x', "SCHILY.xattr.trusted.overlay.opaque", yes);
	mk_dir(&t, "d");
	mk_member(&t, '3', "d/gone", NULL, cf_view(NULL, 0));
	mk_octal(t.b.data + t.b.size - 512 + 329, 8, 0);
	mk_octal(t.b.data + t.b.size - 512 + 337, 8, 0);
	mk_seal(t.b.data + t.b.size - 512);
	mk_file(&t, "d/.wh.name", "x");
	mk_file(&t, ".wh..wh..opq", "y");
	mk_pax(&t, 'x', "SCHILY.filetype", (struct cf_view)CF_VIEW_LIT("socket"));
	mk_member(&t, '6', "sock", NULL, cf_view(NULL, 0));
	mk_member(&t, '6', "fifo", NULL, cf_view(NULL, 0));
	mk_pax(&t, 'x', "SCHILY.xattr.trusted.overlay.opaque", no);
	mk_dir(&t, "e");
	cf_cleanup(cf_freep) char *got = listing(&t, &opts, &stats);

	EXPECT_STR(got, "/ d\n/.wh..wh..opq f 1 y\n/d d opaque\n/d/.wh.name f 1 x\n/d/gone c 0:0\n"
	                "/e d\n/fifo p\n/sock s\n");
	EXPECT_INT(stats.dropped_xattrs, 1); /* an opaque mark of another value is none */
	EXPECT_INT(stats.whiteouts, 1);
}

CF_TEST(layer_build_of_a_strangers_tar_has_no_sockets)
{
	struct mk_tar t = { 0 };

	mk_pax(&t, 'x', "SCHILY.filetype", (struct cf_view)CF_VIEW_LIT("socket"));
	mk_member(&t, '6', "sock", NULL, cf_view(NULL, 0));
	expect_tree(&t, "/ d\n/sock p\n");
}

/* A change of this digest is a change of every image in every store: say why in the commit. */
CF_TEST(layer_build_gives_the_same_bytes_for_ever)
{
	struct cf_buf image = { .max = 1u << 30 };
	struct mk_tar t = { 0 };
	struct cf_err err = { 0 };
	uint8_t digest[32];
	char hex[65];
	cf_cleanup(cf_freep) char *big = cf_asprintf("%09000d", 1);

	mk_dir(&t, "etc");
	mk_pax(&t, 'x', "SCHILY.xattr.user.a", cf_view_str("value"));
	mk_file(&t, "etc/file", "content");
	mk_file(&t, "etc/big", big);
	mk_member(&t, '1', "etc/hard", "etc/file", cf_view(NULL, 0));
	mk_member(&t, '2', "sym", "etc/file", cf_view(NULL, 0));
	mk_member(&t, '3', "dev", NULL, cf_view(NULL, 0));
	mk_file(&t, "etc/.wh.gone", "");
	mk_end(&t);
	EXPECT_OK(mk_image(cf_buf_view(&t.b), 100, NULL, &image, NULL, &err), &err);
	cf_sha256(cf_buf_view(&image), digest);
	cf_hex_encode(cf_view(digest, sizeof(digest)), hex);
	EXPECT_STR(hex, "7afed5637990938fdd7f5d92a25a65353972308ffce51943b970b246d8af436c");
	cf_buf_fini(&image);
	cf_buf_fini(&t.b);
}

CF_TEST(layer_uuid_is_of_version_8)
{
	uint8_t uuid[LAYER_UUID_SIZE];

	layer_uuid((struct cf_view)CF_VIEW_LIT("sha256:00"), uuid);
	EXPECT_INT(uuid[6] >> 4, 8);
	EXPECT_INT(uuid[8] >> 6, 2);
}

CF_TEST(layer_build_takes_very_many_names_in_one_directory)
{
	struct cf_buf image = { .max = 1u << 30 };
	const unsigned count = 200000; /* time must be linear: this is under sanitizers */
	struct mk_tar t = { 0 };
	struct cf_err err = { 0 };
	char name[32];

	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "d/%08x", i * 2654435761u);
		mk_file(&t, name, "");
	}
	EXPECT_OK(mk_image(cf_buf_view(&t.b), 0, NULL, &image, NULL, &err), &err);
	EXPECT(image.size < 100ull * count + (1u << 20));
	cf_buf_fini(&image);
	cf_buf_fini(&t.b);
}
