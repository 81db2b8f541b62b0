/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/pod_initdata.h"

#include "base/fd.h"
#include "tests/harness/test.h"

#define TEXT  "version = \"0.1.0\"\nalgorithm = \"sha384\"\n[data]\n\"k\" = \"annotation\"\n"
#define OTHER "version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\n\"k\" = \"file\"\n"

struct scene {
	char *dir;
	struct shim_config *config;
	struct bundle *bundle;
};

static void scene_open(struct scene *s, const char *toml, const char *annotation)
{
	cf_cleanup(cf_freep) char *json = cf_asprintf(
		"{\"annotations\":{%s%s%s}}", annotation ? "\"" INITDATA_ANNOTATION "\":\"" : "",
		annotation ? annotation : "", annotation ? "\"" : "");
	struct cf_err err;

	s->dir = cf_test_tmpdir();
	EXPECT_OK(shim_config_parse(cf_view_str(toml), &s->config, &err), &err);
	EXPECT_OK(bundle_parse(cf_view_str(json), "x", &s->bundle, &err), &err);
}

static void scene_close(struct scene *s)
{
	shim_config_free(s->config);
	bundle_free(s->bundle);
	free(s->dir);
}

static char *annotation_of(const char *text)
{
	struct cf_buf out = { 0 };
	struct cf_err err;

	EXPECT_OK(initdata_to_annotation(cf_view_str(text), &out, &err), &err);
	return cf_buf_take_str(&out);
}

static void expect_disk(const struct pod_initdata *d, const char *text)
{
	struct cf_buf image = cf_test_read(d->path), got = { .max = INITDATA_TEXT_MAX };
	struct cf_err err;

	EXPECT(image.size % INITDATA_DISK_ALIGN == 0);
	EXPECT_OK(initdata_from_disk(cf_buf_view(&image), &got, &err), &err);
	EXPECT(cf_view_eq_str(cf_buf_view(&got), text));
	cf_buf_fini(&image);
	cf_buf_fini(&got);
}

CF_TEST(pod_initdata_of_the_annotation_goes_to_the_disk)
{
	cf_cleanup(cf_freep) char *value = annotation_of(TEXT);
	struct pod_initdata d = { .path = NULL };
	uint8_t digest[48];
	struct scene s;
	struct cf_err err;

	scene_open(&s, "", value);
	EXPECT_OK(pod_initdata_prepare(s.bundle, s.config, s.dir, &d, &err), &err);
	expect_disk(&d, TEXT);
	cf_hash(CF_SHA384, cf_view_str(TEXT), digest);
	EXPECT_INT(d.digest_size, 48);
	EXPECT(memcmp(d.digest, digest, 48) == 0);
	pod_initdata_fini(&d);
	scene_close(&s);
}

CF_TEST(pod_initdata_of_the_node_serves_pods_that_bring_none)
{
	cf_cleanup(cf_freep) char *value = annotation_of(TEXT);
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *file = cf_asprintf("%s/initdata.toml", dir);
	cf_cleanup(cf_freep) char *toml = cf_asprintf("[guest]\ninitdata = \"%s\"\n", file);
	cf_cleanup(cf_freep) char *deaf =
		cf_asprintf("[guest]\ninitdata = \"%s\"\ninitdata_annotation = false\n", file);
	struct pod_initdata d = { .path = NULL };
	struct scene s;
	struct cf_err err;

	EXPECT_OK(cf_write_file_atomic(file, cf_view_str(OTHER), 0600, &err), &err);
	scene_open(&s, toml, NULL);
	EXPECT_OK(pod_initdata_prepare(s.bundle, s.config, s.dir, &d, &err), &err);
	expect_disk(&d, OTHER);
	pod_initdata_fini(&d);
	scene_close(&s);
	scene_open(&s, toml, value); /* the pod's own comes first */
	EXPECT_OK(pod_initdata_prepare(s.bundle, s.config, s.dir, &d, &err), &err);
	expect_disk(&d, TEXT);
	pod_initdata_fini(&d);
	scene_close(&s);
	scene_open(&s, deaf, value); /* unless the node says no */
	EXPECT_OK(pod_initdata_prepare(s.bundle, s.config, s.dir, &d, &err), &err);
	expect_disk(&d, OTHER);
	pod_initdata_fini(&d);
	scene_close(&s);
}

CF_TEST(pod_initdata_may_be_absent_but_never_malformed)
{
	static const char *const refused[] = {
		"!!",           /* not base64 */
		"aGVsbG8=",     /* not gzip */
		"H4sIAAAAAAAA", /* gzip, cut */
	};
	struct pod_initdata d = { .path = NULL };
	struct scene s;
	struct cf_err err;

	scene_open(&s, "", NULL);
	EXPECT_OK(pod_initdata_prepare(s.bundle, s.config, s.dir, &d, &err), &err);
	EXPECT(!d.path && !d.digest_size);
	scene_close(&s);
	for (size_t i = 0; i < CF_ARRAY_LEN(refused); i++) {
		scene_open(&s, "", refused[i]);
		EXPECT(pod_initdata_prepare(s.bundle, s.config, s.dir, &d, &err) < 0);
		EXPECT(!d.path);
		scene_close(&s);
	}
	scene_open(&s, "[guest]\ninitdata = \"/nonexistent\"\n", NULL);
	EXPECT_FAILS(pod_initdata_prepare(s.bundle, s.config, s.dir, &d, &err), CF_NOT_FOUND);
	scene_close(&s);
}
