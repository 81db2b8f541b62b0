/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/tar_reader.h"

#include "tests/harness/erofs_tree.h"

/* ---- a sink that writes down what it hears ---- */

struct heard {
	struct cf_buf log;
	uint64_t in_file, data, holes;
};

static int on_entry(void *ctx, const struct tar_entry *e, struct cf_err *err)
{
	struct heard *h = ctx;

	(void)err;
	cf_buf_printf(&h->log, "%c %.*s", "f1lcbdp"[e->type], (int)CF_MIN(e->path.size, 40u),
	              (const char *)e -> path.data);
	if (e->link.size)
		cf_buf_printf(&h->log, "->%.*s", (int)CF_MIN(e->link.size, 40u),
		              (const char *)e->link.data);
	cf_buf_printf(&h->log, " %o %u:%u %lld.%u %llu", e->mode, e->uid, e->gid,
	              (long long)e->mtime, e->mtime_nsec, (unsigned long long)e->size);
	if (e->dev_major || e->dev_minor)
		cf_buf_printf(&h->log, " %u,%u", e->dev_major, e->dev_minor);
	for (size_t i = 0; i < e->xattr_count; i++)
		cf_buf_printf(&h->log, " %.*s=%.*s", (int)e->xattrs[i].name.size,
		              (const char *)e->xattrs[i].name.data, (int)e->xattrs[i].value.size,
		              (const char *)e->xattrs[i].value.data);
	h->in_file = e->size;
	return 0;
}

static int on_data(void *ctx, struct cf_view v, struct cf_err *err)
{
	struct heard *h = ctx;

	(void)err;
	EXPECT(v.size && v.size <= h->in_file);
	if (v.size <= 20)
		cf_buf_printf(&h->log, " [%.*s]", (int)v.size, (const char *)v.data);
	h->in_file -= v.size;
	h->data += v.size;
	return 0;
}

static int on_hole(void *ctx, uint64_t n, struct cf_err *err)
{
	struct heard *h = ctx;

	(void)err;
	EXPECT(n && n <= h->in_file);
	cf_buf_printf(&h->log, " (%llu)", (unsigned long long)n);
	h->in_file -= n;
	h->holes += n;
	return 0;
}

static int on_done(void *ctx, struct cf_err *err)
{
	struct heard *h = ctx;

	(void)err;
	EXPECT(h->in_file == 0);
	cf_buf_add_str(&h->log, "\n");
	return 0;
}

static const struct tar_sink sink = { on_entry, on_data, on_hole, on_done };

static int read_tar(struct cf_view tar, const struct tar_limits *limits, struct heard *h,
                    struct tar_stats *stats, struct cf_err *err)
{
	cf_cleanup(tar_reader_freep) struct tar_reader *t = tar_reader_new(limits, &sink, h);
	int r;

	h->log.max = 1u << 26;
	r = tar_reader_feed(t, tar, err);
	if (r == 0)
		r = tar_reader_finish(t, err);
	if (stats)
		*stats = *tar_reader_stats(t);
	return r;
}

/* @t is used up. */
static void expect_log(struct mk_tar *t, const char *want)
{
	struct heard h = { 0 };
	struct cf_err err = { 0 };

	EXPECT_OK(read_tar(cf_buf_view(&t->b), NULL, &h, NULL, &err), &err);
	EXPECT_STR(h.log.data, want);
	cf_buf_fini(&h.log);
	cf_buf_fini(&t->b);
	*t = (struct mk_tar){ 0 };
}

static void expect_refused(struct mk_tar *t, enum cf_code code, const char *text)
{
	struct heard h = { 0 };
	struct cf_err err = { 0 };

	EXPECT_FAILS(read_tar(cf_buf_view(&t->b), NULL, &h, NULL, &err), code);
	if (!strstr(err.msg, text))
		fail_msg("'%s' does not say '%s'", err.msg, text);
	cf_buf_fini(&h.log);
	cf_buf_fini(&t->b);
	*t = (struct mk_tar){ 0 };
}

/* Changes the last member's header, which has @content_blocks behind it. */
static uint8_t *last_header(struct mk_tar *t, size_t content_blocks)
{
	return t->b.data + t->b.size - 512 * (content_blocks + 1);
}

/* ---- good archives ---- */

CF_TEST(tar_reader_reads_every_type)
{
	struct mk_tar t = { 0 };

	mk_dir(&t, "./d/");
	mk_file(&t, "/d/f", "hello");
	mk_member(&t, '1', "d/h", "/d/f", cf_view(NULL, 0));
	mk_member(&t, '2', "d/s", "../up", cf_view(NULL, 0));
	mk_member(&t, '3', "c", NULL, cf_view(NULL, 0));
	mk_member(&t, '4', "b", NULL, cf_view(NULL, 0));
	mk_member(&t, '6', "p", NULL, cf_view(NULL, 0));
	mk_member(&t, '7', "contiguous", NULL, cf_view_str("x"));
	mk_dir(&t, "./");
	mk_end(&t);
	expect_log(&t, "d d 755 0:0 1000000000.0 0\nf d/f 644 0:0 1000000000.0 5 [hello]\n"
	               "1 d/h->d/f 644 0:0 1000000000.0 0\nl d/s->../up 644 0:0 1000000000.0 0\n"
	               "c c 644 0:0 1000000000.0 0 1,3\nb b 644 0:0 1000000000.0 0 1,3\n"
	               "p p 644 0:0 1000000000.0 0\nf contiguous 644 0:0 1000000000.0 1 [x]\n"
	               "d  755 0:0 1000000000.0 0\n");
}

CF_TEST(tar_reader_is_the_same_however_the_bytes_are_cut)
{
	struct mk_tar t = { 0 };
	struct heard whole = { 0 };
	struct cf_err err;

	mk_pax(&t, 'x', "path", cf_view_str("long/name"));
	mk_file(&t, "short", "");
	cf_cleanup(cf_freep) char *big = cf_asprintf("%0700d", 1);
	mk_file(&t, "big", big);
	mk_end(&t);
	EXPECT_OK(read_tar(cf_buf_view(&t.b), NULL, &whole, NULL, &err), &err);
	for (size_t step = 1; step < 1100; step += 37) {
		struct heard h = { .log.max = 1 << 20 };
		cf_cleanup(tar_reader_freep) struct tar_reader *r = tar_reader_new(NULL, &sink, &h);

		for (size_t at = 0; at < t.b.size; at += step)
			EXPECT_OK(
				tar_reader_feed(r, cf_view_sub(cf_buf_view(&t.b), at, step), &err),
				&err);
		EXPECT_OK(tar_reader_finish(r, &err), &err);
		EXPECT(h.data == whole.data && h.holes == whole.holes);
		cf_buf_fini(&h.log);
	}
	cf_buf_fini(&whole.log);
	cf_buf_fini(&t.b);
}

CF_TEST(tar_reader_refuses_every_truncation_but_those_between_members)
{
	struct mk_tar t = { 0 };
	struct cf_err err;

	mk_pax(&t, 'x', "path", cf_view_str("a"));
	mk_file(&t, "short", "twelve bytes");
	mk_file(&t, "b", "x");
	for (size_t n = 1; n < t.b.size; n++) {
		struct heard h = { 0 };
		/* after 'short': its content, then padding that may be missing */
		bool fine = (n >= 3 * 512 + 12 && n <= 4 * 512) || n >= 5 * 512 + 1;
		int r = read_tar(cf_view(t.b.data, n), NULL, &h, NULL, &err);

		if (fine != (r == 0))
			fail_msg("%zu bytes: %d", n, r);
		cf_buf_fini(&h.log);
	}
	cf_buf_fini(&t.b);
}

CF_TEST(tar_reader_ends_at_two_zero_blocks_and_ignores_what_follows)
{
	struct mk_tar t = { 0 };
	struct tar_stats stats;
	struct heard h = { 0 };
	struct cf_err err;

	mk_file(&t, "a", "");
	cf_buf_add_zero(&t.b, 512); /* one is not the end */
	mk_file(&t, "b", "");
	mk_end(&t);
	cf_buf_add_str(&t.b, "noise");
	EXPECT_OK(read_tar(cf_buf_view(&t.b), NULL, &h, &stats, &err), &err);
	EXPECT_INT(stats.entries, 2);
	EXPECT(!stats.no_end_marker);
	cf_buf_fini(&h.log);
	h = (struct heard){ 0 };
	EXPECT_OK(read_tar(cf_view(t.b.data, 512), NULL, &h, &stats, &err), &err);
	EXPECT(stats.no_end_marker);
	cf_buf_fini(&h.log);
	cf_buf_fini(&t.b);
}

CF_TEST(tar_reader_takes_names_from_prefix_gnu_and_pax_members)
{
	struct mk_tar t = { 0 };
	cf_cleanup(cf_freep) char *n = cf_asprintf("%0150d", 1);

	mk_file(&t, "name", "");
	memcpy(last_header(&t, 0) + 345, "pre/fix", 7);
	mk_seal(last_header(&t, 0));
	mk_member(&t, 'L', "././@LongLink", NULL, cf_view(n, 151));
	mk_member(&t, 'K', "././@LongLink", NULL, cf_view("the/target", 11));
	mk_member(&t, '2', "short", "short", cf_view(NULL, 0));
	mk_pax(&t, 'x', "linkpath", cf_view_str("from/pax"));
	mk_member(&t, '1', "h", "header", cf_view(NULL, 0));
	mk_pax(&t, 'x', "path", cf_view_str("")); /* empty: not given */
	mk_file(&t, "own", "");
	mk_end(&t);
	expect_log(&t,
	           "f pre/fix/name 644 0:0 1000000000.0 0\n"
	           "l 0000000000000000000000000000000000000000->the/target 644 0:0 1000000000.0 0\n"
	           "1 h->from/pax 644 0:0 1000000000.0 0\nf own 644 0:0 1000000000.0 0\n");
}

CF_TEST(tar_reader_takes_attributes_from_pax_local_before_global)
{
	struct mk_tar t = { 0 };

	mk_pax(&t, 'g', "SCHILY.xattr.user.g", cf_view_str("1"));
	mk_pax(&t, 'x', "mtime", cf_view_str("12.3456789019"));
	mk_file(&t, "a", "");
	mk_pax(&t, 'x', "mtime", cf_view_str("-1.25"));
	mk_file(&t, "b", "");
	mk_pax(&t, 'x', "SCHILY.xattr.user.g", cf_view_str("2"));
	mk_file(&t, "c", "");
	mk_pax(&t, 'x', "uid", cf_view_str("4000000000"));
	mk_file(&t, "d", "");
	mk_pax(&t, 'x', "LIBARCHIVE.xattr.user.%41b", cf_view_str("aGk"));
	mk_file(&t, "e", "");
	mk_pax(&t, 'x', "SCHILY.xattr.user.empty", cf_view_str(""));
	mk_file(&t, "f", "");
	mk_end(&t);
	expect_log(&t, "f a 644 0:0 12.345678901 0 user.g=1\nf b 644 0:0 -2.750000000 0 user.g=1\n"
	               "f c 644 0:0 1000000000.0 0 user.g=1 user.g=2\n"
	               "f d 644 4000000000:0 1000000000.0 0 user.g=1\n"
	               "f e 644 0:0 1000000000.0 0 user.g=1 user.Ab=hi\n"
	               "f f 644 0:0 1000000000.0 0 user.g=1 user.empty=\n");
}

CF_TEST(tar_reader_pax_size_wins_over_the_header)
{
	struct mk_tar t = { 0 };

	mk_pax(&t, 'x', "size", cf_view_str("3"));
	mk_file(&t, "a", "abc");
	mk_octal(last_header(&t, 1) + 124, 12, 0);
	mk_seal(last_header(&t, 1));
	mk_file(&t, "after", "z");
	mk_end(&t);
	expect_log(&t, "f a 644 0:0 1000000000.0 3 [abc]\nf after 644 0:0 1000000000.0 1 [z]\n");
}

CF_TEST(tar_reader_reads_numbers_in_base_256)
{
	struct mk_tar t = { 0 };
	static const uint8_t uid[8] = { 0x80, 0, 0, 0, 0x12, 0x34, 0x56, 0x78 };
	static const uint8_t early[12] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		                           0xff, 0xff, 0xff, 0xff, 0xff, 0xfe };

	mk_file(&t, "a", "");
	memcpy(last_header(&t, 0) + 108, uid, 8);
	memcpy(last_header(&t, 0) + 136, early, 12);
	mk_seal(last_header(&t, 0));
	mk_end(&t);
	expect_log(&t, "f a 644 305419896:0 -2.0 0\n");
}

/* ---- sparse files ---- */

static void gnu_sparse(struct mk_tar *t, uint64_t real_size, const uint64_t (*map)[2], size_t pairs,
                       const char *content)
{
	mk_member(t, 'S', "s", NULL, cf_view_str(content));
	uint8_t *h = last_header(t, (strlen(content) + 511) / 512);
	memcpy(h + 257, "ustar  ", 8);
	for (size_t i = 0; i < pairs; i++) {
		mk_octal(h + 386 + i * 24, 12, map[i][0]);
		mk_octal(h + 386 + i * 24 + 12, 12, map[i][1]);
	}
	mk_octal(h + 483, 12, real_size);
	mk_seal(h);
}

CF_TEST(tar_reader_reads_old_gnu_sparse_files)
{
	struct mk_tar t = { 0 };
	static const uint64_t map[][2] = { { 0, 2 }, { 1000, 3 }, { 5000, 0 } };

	gnu_sparse(&t, 5000, map, 3, "abcde");
	mk_file(&t, "after", "z");
	mk_end(&t);
	expect_log(&t, "f s 644 0:0 1000000000.0 5000 [ab] (998) [cde] (3997)\n"
	               "f after 644 0:0 1000000000.0 1 [z]\n");
}

static void add_sparse_1_0(struct cf_buf *records)
{
	mk_record(records, "GNU.sparse.major", cf_view_str("1"));
	mk_record(records, "GNU.sparse.minor", cf_view_str("0"));
	mk_record(records, "GNU.sparse.name", cf_view_str("t"));
	mk_record(records, "GNU.sparse.realsize", cf_view_str("10"));
}

CF_TEST(tar_reader_reads_pax_sparse_files)
{
	struct mk_tar t = { 0 };
	struct cf_buf body = { 0 };

	/* 0.1: the map is one record */
	mk_record(&body, "GNU.sparse.major", cf_view_str("0"));
	mk_record(&body, "GNU.sparse.minor", cf_view_str("1"));
	mk_record(&body, "GNU.sparse.size", cf_view_str("3000"));
	mk_record(&body, "GNU.sparse.map", cf_view_str("0,1,9,2"));
	mk_record(&body, "GNU.sparse.name", cf_view_str("s"));
	mk_member(&t, 'x', "pax", NULL, cf_buf_view(&body));
	mk_file(&t, "GNUSparseFile.0/s", "abc");
	/* 1.0: the map is in front of the data */
	cf_buf_reset(&body);
	add_sparse_1_0(&body);
	mk_member(&t, 'x', "pax", NULL, cf_buf_view(&body));
	cf_buf_reset(&body);
	cf_buf_add_str(&body, "2\n0\n1\n8\n2\n");
	cf_buf_add_zero(&body, 512 - body.size);
	cf_buf_add_str(&body, "xyz");
	mk_member(&t, '0', "GNUSparseFile.0/t", NULL, cf_buf_view(&body));
	mk_file(&t, "after", "z");
	mk_end(&t);
	cf_buf_fini(&body);
	expect_log(
		&t,
		"f s 644 0:0 1000000000.0 3000 [a] (8) [bc] (2989)\n"
		"f t 644 0:0 1000000000.0 10 [x] (7) [yz]\nf after 644 0:0 1000000000.0 1 [z]\n");
}

CF_TEST(tar_reader_refuses_sparse_maps_that_do_not_add_up)
{
	static const struct {
		uint64_t map[2][2];
		uint64_t size;
	} bad[] = {
		{ { { 0, 2 }, { 1, 3 } }, 5000 },    /* overlap */
		{ { { 100, 2 }, { 0, 3 } }, 5000 },  /* descending */
		{ { { 0, 2 }, { 4999, 3 } }, 5000 }, /* past the end */
		{ { { 0, 2 }, { 100, 2 } }, 5000 },  /* less than is stored */
		{ { { 0, 2 }, { 100, 4 } }, 5000 },  /* more */
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(bad); i++) {
		struct mk_tar t = { 0 };

		gnu_sparse(&t, bad[i].size, bad[i].map, 2, "abcde");
		expect_refused(&t, CF_INVALID_ARGUMENT, "sparse map");
	}
}

CF_TEST(tar_reader_limits_sparse_extents)
{
	struct mk_tar t = { 0 };
	struct cf_buf body = { .max = 1 << 26 }, map = { .max = 1 << 26 };

	add_sparse_1_0(&body);
	mk_member(&t, 'x', "pax", NULL, cf_buf_view(&body));
	cf_buf_printf(&map, "%u\n", TAR_SPARSE_MAX + 1);
	cf_buf_add_zero(&map, 512 - map.size);
	mk_member(&t, '0', "t", NULL, cf_buf_view(&map));
	expect_refused(&t, CF_RESOURCE_EXHAUSTED, "extents");
	cf_buf_fini(&body);
	cf_buf_fini(&map);
}

/* ---- refused members ---- */

CF_TEST(tar_reader_refuses_bad_headers)
{
	static const struct {
		size_t at;
		const char *bytes;
		size_t size;
		const char *text;
	} bad[] = {
		{ 100, "00x0644", 8, "number" },     /* mode */
		{ 124, "9999999999", 11, "number" }, /* no octal digits */
		{ 136, "\xff\x7f", 2, "number" },    /* a time that does not fit */
		{ 124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", 12, "negative size" },
		{ 108, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, "uid" },
		{ 0, "../x", 5, "'..'" },
		{ 0, "a/../x", 7, "'..'" },
		{ 0, "a/..", 5, "'..'" },
		{ 0, "/", 2, "root" },
		{ 0, "\0", 2, "root" },
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(bad); i++) {
		struct mk_tar t = { 0 };

		mk_file(&t, "name", "");
		memcpy(last_header(&t, 0) + bad[i].at, bad[i].bytes, bad[i].size);
		mk_seal(last_header(&t, 0));
		expect_refused(&t, CF_INVALID_ARGUMENT, bad[i].text);
	}
	struct mk_tar t = { 0 };
	mk_file(&t, "name", "");
	last_header(&t, 0)[0] ^= 1;
	expect_refused(&t, CF_INVALID_ARGUMENT, "checksum");
}

CF_TEST(tar_reader_refuses_bad_extended_headers)
{
	static const char *const bad[] = {
		"0 a=b\n",
		"5 a=b\n",
		"7 a=b\n",
		"6 a=bc",
		"06a=b\n",
		" 6 a=b\n",
		"6 =bc\n",
		"5 ab\n",
		"99999999999999999999 a=b\n",
		"-6 a=b\n",
		"10 size=x\n",
		"11 size=-1\n",
		"11 mtime=a\n",
		"13 mtime=1.x\n",
		"29 mtime=1152921504606846977\n",
		"10 uid=-1\n",
		"18 uid=4294967295\n",
		"34 LIBARCHIVE.xattr.user.a=****\n",
		"26 GNU.sparse.numbytes=1\n",
		"24 GNU.sparse.offset=1\n",
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(bad); i++) {
		struct mk_tar t = { 0 };

		mk_member(&t, 'x', "pax", NULL, cf_view_str(bad[i]));
		mk_file(&t, "a", "");
		expect_refused(&t, CF_INVALID_ARGUMENT, "tar:");
	}
	struct mk_tar t = { 0 };
	mk_member(&t, 'x', "pax", NULL, cf_view("11 path=a\0b\n", 12));
	expect_refused(&t, CF_INVALID_ARGUMENT, "tar:");
	mk_pax(&t, 'x', "path", cf_view("a\0b", 3));
	expect_refused(&t, CF_INVALID_ARGUMENT, "NUL");
	mk_pax(&t, 'g', "size", cf_view_str("1"));
	expect_refused(&t, CF_INVALID_ARGUMENT, "global");
	mk_pax(&t, 'x', "comment", cf_view_str("and then nothing"));
	expect_refused(&t, CF_INVALID_ARGUMENT, "ends inside");
}

CF_TEST(tar_reader_limits_names)
{
	struct mk_tar t = { 0 };
	struct cf_buf path = { 0 };
	char out[TAR_PATH_MAX + 1];
	size_t size;
	struct cf_err err;

	/* a component of 255 bytes is fine, 256 is not */
	cf_buf_add_zero(&path, 256);
	memset(path.data, 'n', 256);
	EXPECT_OK(tar_clean_path(cf_view(path.data, 255), out, &size, &err), &err);
	EXPECT_FAILS(tar_clean_path(cf_view(path.data, 256), out, &size, &err),
	             CF_INVALID_ARGUMENT);
	/* 4096 bytes are fine, 4097 are not */
	cf_buf_reset(&path);
	for (unsigned i = 0; i < 32; i++)
		cf_buf_printf(&path, "%0127d/", 1);
	path.size--;
	EXPECT_OK(tar_clean_path(cf_buf_view(&path), out, &size, &err), &err);
	EXPECT_INT(size, 4095);
	cf_buf_add_str(&path, "x");
	EXPECT_OK(tar_clean_path(cf_buf_view(&path), out, &size, &err), &err);
	EXPECT_INT(size, TAR_PATH_MAX);
	cf_buf_add_str(&path, "x");
	EXPECT_FAILS(tar_clean_path(cf_buf_view(&path), out, &size, &err), CF_INVALID_ARGUMENT);
	/* 256 components are fine, 257 are not */
	cf_buf_reset(&path);
	for (unsigned i = 0; i < TAR_DEPTH_MAX; i++)
		cf_buf_add_str(&path, "/d");
	EXPECT_OK(tar_clean_path(cf_buf_view(&path), out, &size, &err), &err);
	cf_buf_add_str(&path, "/d");
	EXPECT_FAILS(tar_clean_path(cf_buf_view(&path), out, &size, &err), CF_INVALID_ARGUMENT);
	EXPECT_OK(tar_clean_path(cf_view_str(".//a/./b//"), out, &size, &err), &err);
	EXPECT_STR(out, "a/b");
	cf_buf_fini(&path);
	/* a long name over its limit is refused at its header */
	mk_member(&t, 'L', "L", NULL, cf_view(NULL, 0));
	mk_octal(last_header(&t, 0) + 124, 12, TAR_LONG_NAME_MAX + 1);
	mk_seal(last_header(&t, 0));
	expect_refused(&t, CF_RESOURCE_EXHAUSTED, "long name");
	mk_member(&t, 'x', "x", NULL, cf_view(NULL, 0));
	mk_octal(last_header(&t, 0) + 124, 12, TAR_PAX_BYTES_MAX + 1);
	mk_seal(last_header(&t, 0));
	expect_refused(&t, CF_RESOURCE_EXHAUSTED, "extended header");
}

CF_TEST(tar_reader_limits_entries_bytes_and_descriptions)
{
	const struct tar_limits limits = { .entries_max = 3, .bytes_max = 10 };
	struct mk_tar t = { 0 };
	struct heard h = { 0 };
	struct cf_err err;

	for (unsigned i = 0; i < 3; i++)
		mk_file(&t, "a", "xyz");
	EXPECT_OK(read_tar(cf_buf_view(&t.b), &limits, &h, NULL, &err), &err);
	mk_file(&t, "a", "");
	EXPECT_FAILS(read_tar(cf_buf_view(&t.b), &limits, &h, NULL, &err), CF_RESOURCE_EXHAUSTED);
	cf_buf_reset(&t.b);
	mk_file(&t, "a", "12345");
	mk_file(&t, "a", "123456");
	EXPECT_FAILS(read_tar(cf_buf_view(&t.b), &limits, &h, NULL, &err), CF_RESOURCE_EXHAUSTED);
	cf_buf_reset(&t.b);
	for (unsigned i = 0; i < 20; i++)
		mk_pax(&t, 'g', "comment", cf_view_str("again"));
	EXPECT_FAILS(read_tar(cf_buf_view(&t.b), &limits, &h, NULL, &err), CF_RESOURCE_EXHAUSTED);
	cf_buf_fini(&t.b);
	cf_buf_fini(&h.log);
}

CF_TEST(tar_reader_fails_for_good)
{
	struct heard h = { .log.max = 1 << 16 };
	cf_cleanup(tar_reader_freep) struct tar_reader *t = tar_reader_new(NULL, &sink, &h);
	uint8_t noise[512];
	struct cf_err err;

	memset(noise, 'n', sizeof(noise));
	EXPECT_FAILS(tar_reader_feed(t, cf_view(noise, 512), &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(tar_reader_feed(t, cf_view(noise, 1), &err), CF_FAILED_PRECONDITION);
	EXPECT_FAILS(tar_reader_finish(t, &err), CF_FAILED_PRECONDITION);
	cf_buf_fini(&h.log);
}

CF_TEST(tar_reader_reads_a_million_short_records_in_linear_time)
{
	struct mk_tar t = { 0 };
	struct cf_buf body = { .max = 1u << 21 };

	/* as many records as one header can hold; several headers */
	while (body.size + 6 <= TAR_PAX_BYTES_MAX)
		cf_buf_add_str(&body, "6 a=b\n");
	for (unsigned i = 0; i < 6; i++) {
		mk_member(&t, 'x', "pax", NULL, cf_buf_view(&body));
		mk_file(&t, "a", "");
	}
	mk_end(&t);
	struct heard h = { 0 };
	struct cf_err err;
	EXPECT_OK(read_tar(cf_buf_view(&t.b), NULL, &h, NULL, &err), &err);
	cf_buf_fini(&h.log);
	cf_buf_fini(&t.b);
	cf_buf_fini(&body);
}
