/* SPDX-License-Identifier: Apache-2.0 */
/* The layer pipeline with its honest processes: formats, pieces, limits, full disks, leftovers. */
#include "erofs/layer_pipeline.h"
#include "erofs/layer_store.h"
#include "erofs/layer_worker.h"
#include "tests/harness/compressed.h"
#include "tests/harness/erofs_tree.h"

#include "base/crypto.h"

#include <dirent.h>
#include <sched.h>
#include <sys/mount.h>

/* This binary is its own helper. */
__attribute__((constructor)) static void become_helper(int argc, char **argv)
{
	cf_helper_main(argc, argv, layer_helpers, layer_helper_count);
}

static struct cf_buf plain_of(struct cf_view v)
{
	struct cf_buf b = { .max = 1u << 28 };

	cf_buf_add_view(&b, v);
	return b;
}

/* About 3 MB of files: several turns of the rings. */
static struct cf_buf sample_tar(void)
{
	struct mk_tar t = { 0 };
	struct cf_buf body = { .max = 1u << 24 };
	char name[32];

	for (unsigned i = 0; i < 700000; i++)
		cf_buf_add_byte(&body, (uint8_t)(i * i >> 9));
	for (unsigned i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "d/%u", i);
		mk_member(&t, '0', name, NULL,
		          cf_view_sub(cf_buf_view(&body), i, i % 10 ? 5000 : 700000));
	}
	mk_end(&t);
	cf_buf_fini(&body);
	return t.b;
}

static void diff_id_of(struct cf_view tar, enum cf_hash_alg alg, char out[LAYER_DIFF_ID_MAX])
{
	uint8_t digest[CF_HASH_SIZE_MAX];
	char hex[2 * CF_HASH_SIZE_MAX + 1];

	cf_hash(alg, tar, digest);
	cf_hex_encode(cf_view(digest, cf_hash_size(alg)), hex);
	snprintf(out, LAYER_DIFF_ID_MAX, "%s:%s", cf_hash_name(alg), hex);
}

static size_t files_in(const char *dir)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	for (struct dirent *e; (e = readdir(d));)
		n += !cf_streq(e->d_name, ".") && !cf_streq(e->d_name, "..");
	closedir(d);
	return n;
}

static int run(const struct layer_pipeline_opts *opts, struct cf_view blob, size_t step,
               struct layer_result *result, struct cf_err *err)
{
	cf_cleanup(layer_pipeline_freep) struct layer_pipeline *p = NULL;
	int r = layer_pipeline_new(opts, &p, err);

	for (size_t at = 0; r == 0 && at < blob.size; at += step)
		r = layer_pipeline_feed(p, cf_view_sub(blob, at, step), err);
	if (r == 0)
		r = layer_pipeline_finish(p, result, err);
	return r < 0 ? r : layer_pipeline_publish(p, NULL, err);
}

CF_TEST(pipeline_gives_the_same_image_for_every_format_and_cut)
{
	static struct cf_buf (*const packs[])(struct cf_view) = { plain_of, gzip_of, zstd_of };
	static const size_t steps[] = { 1 << 20, 65536, 4097, 3 };
	struct cf_buf tar = sample_tar(), direct = { .max = 1u << 26 };
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	char id[LAYER_DIFF_ID_MAX];
	struct cf_err err = { 0 };

	diff_id_of(cf_buf_view(&tar), CF_SHA256, id);
	cf_cleanup(cf_freep) char *name = layer_store_name(cf_view_str(id));
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, name);
	EXPECT_OK(mk_image(cf_buf_view(&tar), 0, NULL, &direct, NULL, &err), &err);
	for (size_t i = 0; i < CF_ARRAY_LEN(packs) * CF_ARRAY_LEN(steps); i++) {
		struct cf_buf blob = packs[i / CF_ARRAY_LEN(steps)](cf_buf_view(&tar));
		size_t step = steps[i % CF_ARRAY_LEN(steps)];
		struct layer_result result;

		if (step == 3 && blob.size > 1 << 20)
			step = 1000; /* three bytes at a time only where that ends */
		EXPECT_OK(run(&(struct layer_pipeline_opts){ .store_dir = dir,
		                                             .diff_id = cf_view_str(id),
		                                             .not_durable = true },
		              cf_buf_view(&blob), step, &result, &err),
		          &err);
		EXPECT_STR(result.diff_id, id);
		EXPECT_INT(result.blob_bytes, blob.size);
		EXPECT_INT(result.inflated_bytes, tar.size);
		EXPECT_INT(result.claimed.tar.entries, 40);
		/* but for the id, which comes from the diffID, and the checksum over it */
		struct cf_buf image = cf_test_read(path);
		EXPECT_INT(image.size, direct.size);
		EXPECT(memcmp(image.data + 4096, direct.data + 4096, image.size - 4096) == 0);
		cf_buf_fini(&image);
		cf_buf_fini(&blob);
		EXPECT_INT(files_in(dir), 1);
	}
	cf_buf_fini(&tar);
	cf_buf_fini(&direct);
}

CF_TEST(pipeline_hashes_with_the_promised_algorithm)
{
	struct cf_buf tar = sample_tar();
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	char id[LAYER_DIFF_ID_MAX];
	struct cf_err err = { 0 };
	struct layer_result result;
	int fd = -1;

	diff_id_of(cf_buf_view(&tar), CF_SHA512, id);
	EXPECT_OK(run(&(struct layer_pipeline_opts){ .store_dir = dir, .diff_id = cf_view_str(id) },
	              cf_buf_view(&tar), 65536, &result, &err),
	          &err);
	EXPECT_STR(result.diff_id, id);
	EXPECT_INT(layer_store_find(dir, cf_view_str(id), &fd, &err), 0);
	close(fd);
	id[20] ^= 1;
	EXPECT_INT(layer_store_find(dir, cf_view_str(id), &fd, &err), LAYER_E_MISSING);
	EXPECT_FAILS(
		run(&(struct layer_pipeline_opts){ .store_dir = dir, .diff_id = cf_view_str(id) },
	            cf_buf_view(&tar), 65536, &result, &err),
		CF_DATA_LOSS);
	EXPECT_INT(files_in(dir), 1);
	cf_buf_fini(&tar);
	struct layer_pipeline *p = NULL;
	EXPECT_FAILS(layer_pipeline_new(
			     &(struct layer_pipeline_opts){ .store_dir = dir,
	                                                    .diff_id = CF_VIEW_LIT("md5:00") },
			     &p, &err),
	             CF_INVALID_ARGUMENT);
}

CF_TEST(pipeline_takes_short_and_empty_blobs)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	struct layer_result result;
	struct cf_err err = { 0 };

	/* nothing at all is an archive of nothing */
	EXPECT_OK(run(&(struct layer_pipeline_opts){ .store_dir = dir }, cf_view(NULL, 0), 1,
	              &result, &err),
	          &err);
	EXPECT_STR(result.diff_id,
	           "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	EXPECT_FAILS(run(&(struct layer_pipeline_opts){ .store_dir = dir }, cf_view("ab", 2), 1,
	                 &result, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT_FAILS(run(&(struct layer_pipeline_opts){ .store_dir = dir }, cf_view("\x1f\x8b", 2),
	                 1, &result, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT_INT(files_in(dir), 1);
}

CF_TEST(pipeline_refuses_what_its_processes_refuse)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	struct mk_tar t = { 0 };
	struct cf_err err = { 0 };

	mk_file(&t, "../escape", "x");
	mk_end(&t);
	struct cf_buf blob = gzip_of(cf_buf_view(&t.b));
	const struct layer_pipeline_opts opts = { .store_dir = dir };
	EXPECT_FAILS(run(&opts, cf_buf_view(&t.b), 100, NULL, &err), CF_INVALID_ARGUMENT);
	EXPECT(strstr(err.msg, "escape"));
	EXPECT_FAILS(run(&opts, cf_buf_view(&blob), 100, NULL, &err), CF_INVALID_ARGUMENT);
	EXPECT(strstr(err.msg, "escape"));
	blob.data[blob.size - 5] ^= 1;
	EXPECT_FAILS(run(&opts, cf_buf_view(&blob), 100, NULL, &err), CF_INVALID_ARGUMENT);
	EXPECT_INT(files_in(dir), 0);
	cf_buf_fini(&blob);
	cf_buf_fini(&t.b);
}

CF_TEST(pipeline_limits_inflated_bytes_ratio_and_entries)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	struct cf_buf tar = sample_tar(), zeroes = { .max = 1u << 28 };
	struct cf_buf blob = gzip_of(cf_buf_view(&tar));
	struct cf_err err = { 0 };

	EXPECT_FAILS(run(&(struct layer_pipeline_opts){ .store_dir = dir, .inflated_max = 1 << 20 },
	                 cf_buf_view(&blob), 65536, NULL, &err),
	             CF_RESOURCE_EXHAUSTED);
	EXPECT_FAILS(run(&(struct layer_pipeline_opts){ .store_dir = dir,
	                                                .build.limits.entries_max = 39 },
	                 cf_buf_view(&blob), 65536, NULL, &err),
	             CF_RESOURCE_EXHAUSTED);
	EXPECT_FAILS(run(&(struct layer_pipeline_opts){ .store_dir = dir,
	                                                .build.limits.bytes_max = 1 << 20 },
	                 cf_buf_view(&blob), 65536, NULL, &err),
	             CF_RESOURCE_EXHAUSTED);
	cf_buf_fini(&blob);
	/* zstd packs zeroes far below 1:1100; such a layer is a bomb, not a layer */
	cf_buf_add_zero(&zeroes, LAYER_RATIO_FREE_BYTES + (1 << 20));
	blob = zstd_of(cf_buf_view(&zeroes));
	EXPECT_FAILS(run(&(struct layer_pipeline_opts){ .store_dir = dir }, cf_buf_view(&blob),
	                 65536, NULL, &err),
	             CF_RESOURCE_EXHAUSTED);
	EXPECT(strstr(err.msg, "1:1100"));
	EXPECT_INT(files_in(dir), 0);
	cf_buf_fini(&blob);
	cf_buf_fini(&zeroes);
	cf_buf_fini(&tar);
}

CF_TEST(pipeline_reports_a_full_store_and_leaves_nothing)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	struct cf_err err = { 0 };

	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", dir, "tmpfs", 0, "size=1m") < 0)
		SKIP("a small disk needs root");
	struct cf_buf tar = sample_tar();
	EXPECT_FAILS(run(&(struct layer_pipeline_opts){ .store_dir = dir }, cf_buf_view(&tar),
	                 65536, NULL, &err),
	             CF_RESOURCE_EXHAUSTED);
	EXPECT(strstr(err.msg, "full"));
	EXPECT_INT(files_in(dir), 0);
	umount(dir);
	cf_buf_fini(&tar);
}

CF_TEST(pipeline_abandoned_in_the_middle_leaves_nothing)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	struct cf_buf tar = sample_tar();
	struct layer_pipeline *p = NULL;
	struct cf_err err = { 0 };

	EXPECT_OK(layer_pipeline_new(&(struct layer_pipeline_opts){ .store_dir = dir }, &p, &err),
	          &err);
	EXPECT_INT(files_in(dir), 1);
	EXPECT_OK(layer_pipeline_feed(p, cf_view(tar.data, 1000000), &err), &err);
	EXPECT_FAILS(layer_pipeline_publish(p, NULL, &err), CF_FAILED_PRECONDITION);
	layer_pipeline_free(p);
	EXPECT_INT(files_in(dir), 0);
	/* finished, but not published: the caller's own digests did not hold */
	EXPECT_OK(layer_pipeline_new(&(struct layer_pipeline_opts){ .store_dir = dir }, &p, &err),
	          &err);
	EXPECT_OK(layer_pipeline_feed(p, cf_buf_view(&tar), &err), &err);
	EXPECT_OK(layer_pipeline_finish(p, NULL, &err), &err);
	layer_pipeline_free(p);
	EXPECT_INT(files_in(dir), 0);
	cf_buf_fini(&tar);
}

CF_TEST(store_names_digests_and_tidies_leftovers)
{
	static const char *const bad[] = {
		"",
		"sha256:",
		"sha256:12",
		"md5:00",
		"sha256/../../etc",
		"sha256:zz3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85"
	};
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	struct layer_draft draft;
	struct cf_err err = { 0 };
	int fd;

	for (size_t i = 0; i < CF_ARRAY_LEN(bad); i++) {
		EXPECT(!layer_store_name(cf_view_str(bad[i])));
		EXPECT_FAILS(layer_store_find(dir, cf_view_str(bad[i]), &fd, &err),
		             CF_INVALID_ARGUMENT);
	}
	EXPECT_OK(layer_draft_open(dir, &draft, &err), &err);
	EXPECT_INT(files_in(dir), 1);
	EXPECT_OK(layer_store_tidy(dir, &err), &err); /* as if its builder had been killed */
	EXPECT_INT(files_in(dir), 0);
	layer_draft_fini(&draft);
}

CF_TEST(pipeline_runs_side_by_side)
{
	struct cf_buf tar = sample_tar();
	struct cf_buf blob = gzip_of(cf_buf_view(&tar));
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	struct layer_pipeline *p[3] = { 0 };
	struct cf_err err = { 0 };

	for (size_t i = 0; i < 3; i++)
		EXPECT_OK(layer_pipeline_new(&(struct layer_pipeline_opts){ .store_dir = dir,
		                                                            .not_durable = true },
		                             &p[i], &err),
		          &err);
	for (size_t at = 0; at < blob.size; at += 10000)
		for (size_t i = 0; i < 3; i++)
			EXPECT_OK(layer_pipeline_feed(
					  p[i], cf_view_sub(cf_buf_view(&blob), at, 10000), &err),
			          &err);
	for (size_t i = 0; i < 3; i++) {
		EXPECT_OK(layer_pipeline_finish(p[i], NULL, &err), &err);
		EXPECT_OK(layer_pipeline_publish(p[i], NULL, &err), &err);
		layer_pipeline_free(p[i]);
	}
	EXPECT_INT(files_in(dir), 1); /* the same layer: one image */
	cf_buf_fini(&blob);
	cf_buf_fini(&tar);
}
