/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * For tests of erofs/: makes tars in memory, builds images from them, and lists what an image holds,
 * one line a name: "/d d opaque", "/d/x f 2 hi", "/l l target", "/c c 1:3", "/n f 2 hi n2 user.a=1".
 */
#include "erofs/layer_build.h"
#include "erofs/layer_image.h"
#include "tests/harness/test.h"

#include "base/fd.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- tars ---- */

struct mk_tar {
	struct cf_buf b;
};

static inline void mk_octal(uint8_t *at, size_t size, uint64_t v)
{
	char text[32];

	snprintf(text, sizeof(text), "%0*llo", (int)size - 1, (unsigned long long)v);
	memcpy(at, text, size);
}

static inline void mk_seal(uint8_t *h)
{
	unsigned sum = 0;

	memset(h + 148, ' ', 8);
	for (size_t i = 0; i < 512; i++)
		sum += h[i];
	snprintf((char *)h + 148, 8, "%06o", sum);
}

/* A header block with its content. */
static inline void mk_member(struct mk_tar *t, char type, const char *name, const char *link,
                             struct cf_view content)
{
	uint8_t h[512] = { 0 };

	if (!t->b.max)
		t->b.max = 1u << 30;
	memcpy(h, name, CF_MIN(strlen(name), 100u));
	mk_octal(h + 100, 8, type == '5' ? 0755 : 0644);
	mk_octal(h + 108, 8, 0);
	mk_octal(h + 116, 8, 0);
	mk_octal(h + 124, 12, content.size);
	mk_octal(h + 136, 12, 1000000000);
	h[156] = (uint8_t)type;
	if (link)
		memcpy(h + 157, link, CF_MIN(strlen(link), 100u));
	memcpy(h + 257, "ustar\00000", 8);
	if (type == '3' || type == '4') {
		mk_octal(h + 329, 8, 1);
		mk_octal(h + 337, 8, 3);
	}
	mk_seal(h);
	cf_buf_add(&t->b, h, sizeof(h));
	cf_buf_add_view(&t->b, content);
	cf_buf_add_zero(&t->b, -content.size & 511);
}

static inline void mk_file(struct mk_tar *t, const char *name, const char *content)
{
	mk_member(t, '0', name, NULL, cf_view_str(content));
}

static inline void mk_dir(struct mk_tar *t, const char *name)
{
	mk_member(t, '5', name, NULL, cf_view(NULL, 0));
}

/* One pax record, its length worked out. */
static inline void mk_record(struct cf_buf *to, const char *key, struct cf_view value)
{
	size_t body = strlen(key) + value.size + 3, size = body + 1;
	char digits[24];

	while (size != body + (size_t)snprintf(digits, sizeof(digits), "%zu", size))
		size = body + strlen(digits);
	cf_buf_printf(to, "%zu %s=", size, key);
	cf_buf_add_view(to, value);
	cf_buf_add_byte(to, '\n');
}

/* A pax header of one record for the next member (or 'g'). */
static inline void mk_pax(struct mk_tar *t, char type, const char *key, struct cf_view value)
{
	struct cf_buf rec = { .max = 1u << 26 };

	mk_record(&rec, key, value);
	mk_member(t, type, "pax", NULL, cf_buf_view(&rec));
	cf_buf_fini(&rec);
}

static inline void mk_end(struct mk_tar *t)
{
	cf_buf_add_zero(&t->b, 1024);
}

/* ---- images ---- */

static const uint8_t mk_uuid[LAYER_UUID_SIZE] = { 'u', 'u', 'i', 'd', 0, 0, 0x80, 0, 0x80 };

/* Builds @tar, fed in pieces of @step bytes (0: at once), into @ret. */
static inline int mk_image(struct cf_view tar, size_t step, const struct layer_build_opts *opts,
                           struct cf_buf *ret, struct layer_stats *stats, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = memfd_create("image", MFD_CLOEXEC);
	cf_cleanup(layer_build_freep) struct layer_build *b = layer_build_new(fd, opts);
	int r = 0;

	for (size_t at = 0; r == 0 && at < tar.size; at += step ? step : tar.size)
		r = layer_build_feed(b, cf_view_sub(tar, at, step ? step : tar.size), err);
	if (r == 0)
		r = layer_build_finish(b, mk_uuid, stats, err);
	if (r < 0)
		return r;
	lseek(fd, 0, SEEK_SET);
	return cf_read_all(fd, 1u << 30, ret, err);
}

/* ---- listing ---- */

static inline void list_xattrs(struct cf_buf *out, struct cf_view area)
{
	static const char *const prefix[] = { "?",        "user.", "acl_access", "acl_default",
		                              "trusted.", "?",     "security." };
	size_t at = XATTR_HEADER_BYTES;
	struct layer_xattr x;
	bool bad = false;

	while (layer_xattr_next(area, &at, &x, &bad)) {
		if (x.index == XATTR_TRUSTED && cf_view_eq_str(x.name, XATTR_OPAQUE))
			cf_buf_add_str(out, " opaque");
		else if (x.index == XATTR_TRUSTED && cf_view_eq_str(x.name, XATTR_ORIGIN))
			continue; /* goes with every whiteout */
		else
			cf_buf_printf(out, " %s%.*s=%.*s", prefix[x.index], (int)x.name.size,
			              (const char *)x.name.data, (int)CF_MIN(x.value.size, 20u),
			              (const char *)x.value.data);
	}
}

static inline void list_node(struct cf_buf *out, const struct layer_image *img, uint64_t nid,
                             const char *path)
{
	struct layer_name name;
	struct layer_file f;
	struct cf_err err;

	EXPECT_OK(layer_image_file(img, nid, &f, &err), &err);
	cf_buf_printf(out, "%s %c", *path ? path : "/", "?fdcbpsl"[f.kind]);
	if (f.kind == KIND_FILE)
		cf_buf_printf(out, " %llu %.*s", (unsigned long long)f.inode.size,
		              (int)CF_MIN(f.content.size, 10u), (const char *)f.content.data);
	if (f.kind == KIND_SYMLINK)
		cf_buf_printf(out, " %.*s", (int)f.content.size, (const char *)f.content.data);
	if (f.kind == KIND_CHAR || f.kind == KIND_BLOCK)
		cf_buf_printf(out, " %u:%u", f.inode.start >> 8 & 0xfff, f.inode.start & 0xff);
	if (f.kind != KIND_DIR && f.inode.nlink != 1)
		cf_buf_printf(out, " n%u", f.inode.nlink);
	list_xattrs(out, f.area);
	cf_buf_add_str(out, "\n");
	if (f.kind != KIND_DIR)
		return;
	struct layer_name_iter it = layer_image_names(&f);
	int r;
	while ((r = layer_name_next(&it, &name, &err)) > 0) {
		char *below = cf_asprintf("%s/%.*s", path, (int)name.name.size,
		                          (const char *)name.name.data);

		list_node(out, img, name.nid, below);
		free(below);
	}
	EXPECT_OK(r, &err);
}

/* The caller frees. */
static inline char *list_image(struct cf_view image)
{
	struct cf_buf out = { .max = 64u << 20 };
	struct layer_image img;
	struct cf_err err;

	EXPECT_OK(layer_image_open(&img, image, &err), &err);
	list_node(&out, &img, LAYER_ROOT_NID, "");
	return cf_buf_take_str(&out);
}

/* Runs fsck.erofs over @image when it is installed. */
static inline void expect_fsck(struct cf_view image)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/fsck.img", dir);
	cf_cleanup(cf_freep) char *log = cf_asprintf("%s/fsck.log", dir);
	struct cf_err err;

	if (access("/usr/bin/fsck.erofs", X_OK) != 0)
		return;
	EXPECT_OK(cf_write_file_atomic(path, image, 0600, &err), &err);
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		if (!freopen(log, "w", stdout) || dup2(1, 2) < 0)
			_exit(99);
		execl("/usr/bin/fsck.erofs", "fsck.erofs", "--extract", path, NULL);
		_exit(98);
	}
	int status = 0;
	EXPECT(waitpid(pid, &status, 0) == pid);
	if (status != 0) {
		struct cf_buf text = cf_test_read(log);

		fail_msg("fsck.erofs: status %d: %s", status, (const char *)text.data);
	}
}
