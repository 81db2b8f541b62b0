/* SPDX-License-Identifier: Apache-2.0 */
/* An image's users, shown to containerd although none of its files is here. */
#include "snapshotter/snap_identity.h"
#include "tests/harness/snap_tree.h"

#define PASSWD "root:x:0:0::/:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n"
#define GROUP  "root:x:0:\nwheel:x:10:alice\n"

static char *b64(const char *s, size_t size)
{
	struct cf_buf out = { 0 };

	cf_b64_encode(CF_B64_STD, cf_view(s, size), &out);
	return cf_buf_take_str(&out);
}

static void layer(struct world *w, const char *chain, const char *parent, const char *passwd,
                  const char *group)
{
	const char *labels[] = { SNAP_LABEL_REF,
		                 chain,
		                 SNAP_LABEL_LAYER,
		                 "sha256:1",
		                 SNAP_LABEL_PASSWD,
		                 passwd,
		                 SNAP_LABEL_GROUP,
		                 group,
		                 NULL };
	cf_cleanup(cf_freep) char *key = cf_asprintf("k8s.io/1/extract-1 %s", chain);
	struct cf_err err;

	EXPECT_FAILS(prepare(w, key, parent, labels, NULL, &err), CF_ALREADY_EXISTS);
}

/* "lowerdir=…" of @key; the caller frees. */
static char *lower_of(struct world *w, const char *key)
{
	struct cf_err err;
	cf_cleanup(cf_freep) char *m = mounts(w, key, &err);
	const char *lower = m ? strstr(m, "lowerdir=") : NULL;

	EXPECT(lower);
	return cf_strndup(lower, strcspn(lower, " "));
}

CF_TEST(identity_is_shown_below_a_containers_root)
{
	tree_namespace();
	struct world *w = world_new("proxy");
	cf_cleanup(cf_freep) char *passwd = b64(PASSWD, strlen(PASSWD));
	cf_cleanup(cf_freep) char *group = b64(GROUP, strlen(GROUP));
	cf_cleanup(cf_freep) char *old = b64("old", 3);
	cf_cleanup(cf_freep) char *target = cf_asprintf("%s/m", w->dir);
	cf_cleanup(cf_freep) char *dir = cf_asprintf("%s/snapshots/3/identity", w->root);
	struct cf_err err;

	layer(w, CHAIN_A, "", old, group);
	layer(w, CHAIN_B, CHAIN_A, passwd, "");
	EXPECT_OK(prepare(w, "c", CHAIN_B, NULL, NULL, &err), &err);
	EXPECT_OK(view(w, "v", CHAIN_B, &err), &err);
	for (int i = 0; i < 2; i++) {
		cf_cleanup(cf_freep) char *lower = lower_of(w, i ? "v" : "c");

		EXPECT_OK(cf_mkdir_p(target, 0755, &err), &err);
		if (mount("overlay", target, "overlay", 0, lower) < 0)
			fail_msg("%s: %s", lower, strerror(errno));
		cf_cleanup(cf_freep) char *tree = tree_tell(target, 0);

		EXPECT(strstr(tree, "/etc 40755 0:0\n/etc/group 100644 0:0 27 '" GROUP "'\n"));
		cf_cleanup(cf_freep) char *line =
			cf_asprintf("/etc/passwd 100644 0:0 %zu ", strlen(PASSWD));

		EXPECT(strstr(tree, line));
		tree_unmount(target);
	}
	/* Lost with the power: made again before it is answered. */
	cf_cleanup(cf_freep) char *before = lower_of(w, "c");

	EXPECT_OK(cf_rm_rf(dir, &err), &err);
	cf_cleanup(cf_freep) char *after = lower_of(w, "c");

	EXPECT_STR(after, before);
	EXPECT_INT(files_below(dir), 3);
	EXPECT_OK(drop(w, "c", &err), &err);
	world_free(w);
}

CF_TEST(identity_that_is_malformed_is_none)
{
	struct world *w = world_new("proxy");
	char large[SNAP_IDENTITY_MAX + 1];

	memset(large, 'x', sizeof(large));
	cf_cleanup(cf_freep) char *over = b64(large, sizeof(large));
	cf_cleanup(cf_freep) char *most = b64(large, SNAP_IDENTITY_MAX);
	cf_cleanup(cf_freep) char *nul = b64("a\0b", 3);
	cf_cleanup(cf_freep) char *bytes = b64("\xff\xfe", 2);
	const char *const bad[] = { "no base64!", "", nul, bytes, "eA" /* no padding: taken */ };
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(bad); i++) {
		cf_cleanup(cf_freep) char *chain = cf_asprintf("sha256:%064zx", i + 100);
		cf_cleanup(cf_freep) char *key = cf_asprintf("container %zu", i);

		layer(w, chain, "", bad[i], "");
		EXPECT_OK(prepare(w, key, chain, NULL, NULL, &err), &err);
		cf_cleanup(cf_freep) char *lower = lower_of(w, key);

		EXPECT((strstr(lower, SNAP_IDENTITY_DIR) != NULL) == (i == 4));
	}
	layer(w, CHAIN_A, "", over, "");
	layer(w, CHAIN_B, "", most, "");
	EXPECT_OK(prepare(w, "a", CHAIN_A, NULL, NULL, &err), &err);
	EXPECT_OK(prepare(w, "b", CHAIN_B, NULL, NULL, &err), &err);
	cf_cleanup(cf_freep) char *a = lower_of(w, "a");
	cf_cleanup(cf_freep) char *b = lower_of(w, "b");

	EXPECT(!strstr(a, SNAP_IDENTITY_DIR) && strstr(b, SNAP_IDENTITY_DIR));
	world_free(w);
}

static void put(const char *dir, const char *name, const char *text)
{
	cf_cleanup(cf_freep) char *etc = cf_asprintf("%s/etc", dir);
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", etc, name);
	struct cf_err err;

	EXPECT_OK(cf_mkdir_p(etc, 0755, &err), &err);
	EXPECT_OK(cf_write_file_atomic(path, cf_view_str(text), 0644, &err), &err);
}

CF_TEST(identity_is_kept_when_an_unpacked_layer_is_thrown_away)
{
	static const char chain[] = CHAIN_A, key[] = "k8s.io/1/extract-1 " CHAIN_A;
	struct world *w = world_new("proxy");
	T(PrepareSnapshotResponse) *res = NULL;
	cf_cleanup(cf_freep) char *layer_dir = cf_asprintf("%s/snapshots/1", w->root);
	cf_cleanup(cf_freep) char *passwd =
		cf_asprintf("%s/snapshots/2/identity/etc/passwd", w->root);
	struct cf_err err;

	/* Pulled with another snapshotter before: containerd unpacks it for us, and names no labels. */
	EXPECT_OK(prepare(w, key, "", NULL, &res, &err), &err);
	EXPECT(cf_starts_with(res->mounts[0]->source, layer_dir));
	put(res->mounts[0]->source, "passwd", PASSWD);
	put(res->mounts[0]->source, "group", GROUP);
	put(res->mounts[0]->source, "shadow", "secret");
	containerd__services__snapshots__v1__prepare_snapshot_response__free_unpacked(res, NULL);
	EXPECT_OK(commit(w, chain, key, &err), &err);
	EXPECT_INT(files_below(layer_dir), 0);
	EXPECT_OK(prepare(w, "c", chain, NULL, NULL, &err), &err);
	cf_cleanup(cf_freep) char *lower = lower_of(w, "c");

	EXPECT(strstr(lower, SNAP_IDENTITY_DIR));
	struct cf_buf text = cf_test_read(passwd);

	EXPECT_STR((char *)text.data, PASSWD);
	cf_buf_fini(&text);
	world_free(w);
}
