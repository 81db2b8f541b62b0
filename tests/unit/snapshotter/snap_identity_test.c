/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of a layer that was unpacked on this host. */
#include "snapshotter/snap_identity.h"

#include "base/fd.h"
#include "tests/harness/test.h"

#include <sys/stat.h>
#include <unistd.h>

struct tree {
	char *dir;
	struct snap_labels labels;
	struct cf_buf passwd; /* what is shown of it */
	bool is_hidden;
};

static char *path_of(const struct tree *t, const char *name)
{
	return cf_asprintf("%s/fs/%s", t->dir, name);
}

static struct tree tree_new(void)
{
	struct tree t = { .dir = cf_test_tmpdir() };
	cf_cleanup(cf_freep) char *fs = path_of(&t, "");
	cf_cleanup(cf_freep) char *etc = path_of(&t, "etc");
	struct cf_err err;

	EXPECT_OK(cf_rm_rf(fs, &err), &err); /* of a tree before */
	EXPECT_OK(cf_mkdir_p(etc, 0755, &err), &err);
	return t;
}

static void put(const struct tree *t, const char *name, struct cf_view text)
{
	cf_cleanup(cf_freep) char *path = path_of(t, name);
	struct cf_err err;

	EXPECT_OK(cf_write_file_atomic(path, text, 0600, &err), &err);
}

static void keep(struct tree *t)
{
	cf_cleanup(cf_freep) char *fs = cf_asprintf("%s/fs", t->dir);
	const char *text;
	struct cf_err err;

	EXPECT_OK(snap_identity_keep(fs, &t->labels, &err), &err);
	text = snap_labels_get(&t->labels, SNAP_LABEL_PASSWD);
	t->is_hidden = text && cf_b64_decode(CF_B64_STD, cf_view_str(text), &t->passwd, &err) < 0;
}

static void tree_free(struct tree *t)
{
	snap_labels_fini(&t->labels);
	cf_buf_fini(&t->passwd);
	free(t->dir);
}

CF_TEST(identity_is_kept_of_an_unpacked_layer)
{
	struct tree t = tree_new();
	struct cf_err err;

	put(&t, "etc/passwd", cf_view_str("app:x:7:8::/:/x\n"));
	put(&t, "etc/group", cf_view_str("more:x:9:app\n"));
	EXPECT_OK(snap_labels_set(&t.labels, SNAP_LABEL_GROUP, "said", &err), &err);
	keep(&t);
	EXPECT(cf_view_eq_str(cf_buf_view(&t.passwd), "app:x:7:8::/:/x\n"));
	EXPECT_STR(snap_labels_get(&t.labels, SNAP_LABEL_GROUP), "said"); /* the annotation stays */
	tree_free(&t);
}

CF_TEST(identity_of_a_layer_without_is_none)
{
	struct tree t = tree_new();

	keep(&t);
	EXPECT_INT(t.labels.count, 0);
	tree_free(&t);
}

CF_TEST(identity_keeps_whole_lines_of_what_a_label_holds)
{
	struct tree t = tree_new();
	cf_cleanup(cf_freep) char *line = cf_asprintf("a:x:1:1::/:%0*d", 988, 0);
	cf_cleanup(cf_freep) char *four = cf_asprintf("%s\n%s\n%s\n%s\n", line, line, line, line);
	size_t one = strlen(line) + 1;

	EXPECT_INT(one, SNAP_IDENTITY_KEPT / 3);
	put(&t, "etc/passwd", cf_view_str(four));
	keep(&t);
	EXPECT_INT(t.passwd.size, 3 * one);
	EXPECT(strlen(SNAP_LABEL_PASSWD) + strlen(snap_labels_get(&t.labels, SNAP_LABEL_PASSWD)) <=
	       4096);
	tree_free(&t);

	t = tree_new();
	put(&t, "etc/passwd", cf_view(four, 3 * one - 1)); /* no line's end is fine at the end */
	keep(&t);
	EXPECT_INT(t.passwd.size, 3 * one - 1);
	tree_free(&t);

	t = tree_new();
	memset(four, 'x', 4 * one); /* one line, too long */
	put(&t, "etc/passwd", cf_view(four, 4 * one));
	keep(&t);
	EXPECT(t.is_hidden);
	tree_free(&t);
}

static void make_link(const struct tree *t, const char *path)
{
	(void)t;
	EXPECT(symlink("/etc/passwd", path) == 0);
}

static void make_dir(const struct tree *t, const char *path)
{
	(void)t;
	EXPECT(mkdir(path, 0755) == 0);
}

static void make_fifo(const struct tree *t, const char *path)
{
	(void)t;
	EXPECT(mkfifo(path, 0600) == 0);
}

static void make_empty(const struct tree *t, const char *path)
{
	(void)path;
	put(t, "etc/passwd", cf_view(NULL, 0));
}

static void link_etc(const struct tree *t, const char *path)
{
	cf_cleanup(cf_freep) char *etc = path_of(t, "etc");

	(void)path;
	EXPECT(rmdir(etc) == 0 && symlink("/etc", etc) == 0);
}

CF_TEST(identity_follows_no_link_and_opens_no_device)
{
	static void (*const make[])(const struct tree *t, const char *path) = {
		make_link, make_dir, make_fifo, make_empty, link_etc,
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(make); i++) {
		struct tree t = tree_new();
		cf_cleanup(cf_freep) char *path = path_of(&t, "etc/passwd");

		make[i](&t, path);
		keep(&t);
		if (!t.is_hidden)
			fail_msg("shape %zu: %s", i,
			         snap_labels_get(&t.labels, SNAP_LABEL_PASSWD) ?: "none");
		EXPECT(t.is_hidden); /* and so is what lies below */
		tree_free(&t);
	}
}
