/* SPDX-License-Identifier: Apache-2.0 */
/* Pulls over one store, from layouts made here; real pipelines with their sandboxed processes. */
#include "base/fd.h"
#include "erofs/layer_worker.h"
#include "guest-imaged/image_pull.h"
#include "guest-imaged/pull_meter.h"
#include "proto/sig_policy.h"
#include "tests/harness/tar_make.h"
#include "tests/harness/test.h"

#include <pthread.h>
#include <unistd.h>

#define KID "kbs:///a/b/c"

static const uint8_t kek[32] = { 1, 2, 3, 4 };

/* This binary is its own helper. */
__attribute__((constructor)) static void become_helper(int argc, char **argv)
{
	cf_helper_main(argc, argv, layer_helpers, layer_helper_count);
}

/* ---- images ---- */

struct layer_plan {
	const char *content; /* of its file "hello" */
	bool encrypted;
};

static void put_layer(struct oci_source *to, const struct layer_plan *plan,
                      struct oci_descriptor *ret, struct oci_digest *diff_id)
{
	struct ocicrypt_recipient recipient = { .kid = KID, .kek = cf_view(kek, 32) };
	struct ocicrypt_options o = { 0 };
	struct ocicrypt_stream *s = NULL;
	struct cf_buf tar = { 0 };
	struct cf_err err;

	tar_add_file(&tar, "hello", plan->content);
	tar_end(&tar);
	oci_digest_of(cf_buf_view(&tar), diff_id);
	if (plan->encrypted) {
		EXPECT_OK(ocicrypt_options_new(&o, &err), &err);
		EXPECT_OK(ocicrypt_stream_new(&o, true, &s, &err), &err);
		ocicrypt_stream_apply(s, cf_buf_view(&tar), tar.data);
		ocicrypt_stream_seal(s, &o);
		EXPECT_OK(ocicrypt_wrap(&o, &recipient, 1, &ret->annotations, &err), &err);
		ocicrypt_stream_free(s);
		ocicrypt_options_fini(&o);
	}
	ret->media_type = cf_strdup(plan->encrypted ? OCI_MT_LAYER "+encrypted" : OCI_MT_LAYER);
	ret->size = tar.size;
	EXPECT_OK(oci_source_put_bytes(to, cf_buf_view(&tar), &ret->digest, &err), &err);
	cf_buf_fini(&tar);
}

/* A layout "oci:DIR/NAME"; the caller frees. */
static char *make_image(const char *dir, const char *name, const struct layer_plan *plans,
                        size_t count)
{
	char *place = cf_asprintf("oci:%s/%s", dir, name);
	cf_cleanup(oci_source_freep) struct oci_source *to = NULL;
	struct oci_source_config none = { 0 };
	struct oci_manifest m = { .layer_count = count };
	struct cf_buf config = { 0 }, text = { 0 };
	struct cf_err err;

	EXPECT_OK(oci_source_create(place, &none, &to, &err), &err);
	m.layers = cf_zalloc_n(count, sizeof(*m.layers));
	cf_buf_add_str(&config, "{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":"
	                        "{\"type\":\"layers\",\"diff_ids\":[");
	for (size_t i = 0; i < count; i++) {
		struct oci_digest diff_id;

		put_layer(to, &plans[i], &m.layers[i], &diff_id);
		cf_buf_printf(&config, "%s\"%s\"", i ? "," : "", diff_id.text);
	}
	cf_buf_add_str(&config, "]}}");
	m.config.media_type = cf_strdup(OCI_MT_CONFIG);
	m.config.size = config.size;
	EXPECT_OK(oci_source_put_bytes(to, cf_buf_view(&config), &m.config.digest, &err), &err);
	oci_manifest_write(&m, &text);
	EXPECT_OK(oci_source_put_document(to, OCI_MT_MANIFEST, cf_buf_view(&text), "", NULL, &err),
	          &err);
	oci_manifest_fini(&m);
	cf_buf_fini(&config);
	cf_buf_fini(&text);
	return place;
}

/* ---- pulls ---- */

static int give_kek(void *arg, const char *kid, size_t i, struct cf_secret **ret,
                    struct cf_err *err)
{
	int *asked = arg;

	EXPECT_STR(kid, KID);
	if (i > 0)
		return cf_fail(err, CF_NOT_FOUND, "no more");
	(*asked)++;
	return cf_secret_copy(cf_view(kek, 32), ret, err);
}

struct fixture {
	char *dir, *work;
	struct cf_work *layers;
	struct pull_env env;
	int asked; /* how often a key was */
};

static void start(struct fixture *f)
{
	struct cf_err err;

	*f = (struct fixture){ .dir = cf_test_tmpdir() };
	f->work = cf_asprintf("%s/work", f->dir);
	EXPECT_OK(cf_work_new(3, 64, &f->layers, &err), &err);
	f->env = (struct pull_env){ .work_dir = f->work,
		                    .layers = f->layers,
		                    .not_durable = true,
		                    .platform = { "linux", "amd64", "" } };
	f->env.keys = (struct ocicrypt_keys){ .kek = give_kek, .arg = &f->asked };
}

static void stop(struct fixture *f)
{
	cf_work_free(f->layers);
	free(f->work);
	free(f->dir);
}

CF_TEST(pull_believes_no_claim_of_encryption_about_a_layer_that_came_in_clear)
{
	struct fixture f;
	struct pull_result res = { 0 };
	struct cf_err err;

	start(&f);
	cf_cleanup(cf_freep) char *plain =
		make_image(f.dir, "plain", &(struct layer_plan){ "same", false }, 1);
	cf_cleanup(cf_freep) char *claims =
		make_image(f.dir, "claims", &(struct layer_plan){ "same", true }, 1);
	struct pull_env no_keys = f.env;

	no_keys.keys = (struct ocicrypt_keys){ 0 };
	EXPECT_OK(pull_image(&f.env, plain, &res, &err), &err);
	EXPECT(!res.layers[0].is_encrypted && !res.layers[0].is_reused);
	pull_result_fini(&res);
	/* the store has this diffID, but nobody decrypted it here: a key is needed */
	EXPECT_FAILS(pull_image(&no_keys, claims, &res, &err), CF_PERMISSION_DENIED);
	EXPECT_OK(pull_image(&f.env, claims, &res, &err), &err);
	EXPECT(res.layers[0].is_encrypted && !res.layers[0].is_reused);
	pull_result_fini(&res);
	/* now it was */
	EXPECT_OK(pull_image(&no_keys, claims, &res, &err), &err);
	EXPECT(res.layers[0].is_encrypted && res.layers[0].is_reused);
	pull_result_fini(&res);
	EXPECT_INT(f.asked, 1);
	stop(&f);
}

CF_TEST(pull_asks_the_policy_also_when_everything_is_stored)
{
	static const char reject[] = "{\"default\":[{\"type\":\"reject\"}]}";
	cf_cleanup(sig_policy_freep) struct sig_policy *policy = NULL;
	struct fixture f;
	struct pull_result res = { 0 };
	struct cf_err err;

	start(&f);
	cf_cleanup(cf_freep) char *place =
		make_image(f.dir, "image", &(struct layer_plan){ "x", false }, 1);

	EXPECT_OK(pull_image(&f.env, place, &res, &err), &err);
	pull_result_fini(&res);
	EXPECT_OK(sig_policy_parse(cf_view_str(reject), &policy, &err), &err);
	f.env.policy = policy;
	EXPECT_FAILS(pull_image(&f.env, place, &res, &err), CF_PERMISSION_DENIED);
	stop(&f);
}

CF_TEST(pull_keeps_every_position_of_a_repeated_layer)
{
	static const struct layer_plan plans[] = {
		{ "a", false }, { "b", false }, { "a", true }, { "c", true }, { "a", false }
	};
	struct fixture f;
	struct pull_result res = { 0 };
	struct cf_strv devices = { 0 };
	struct cf_err err;

	start(&f);
	cf_cleanup(cf_freep) char *place = make_image(f.dir, "image", plans, CF_ARRAY_LEN(plans));

	EXPECT_OK(pull_image(&f.env, place, &res, &err), &err);
	EXPECT_INT(res.layer_count, 5);
	pull_result_devices(&res, &devices);
	EXPECT_INT(devices.count, 5);
	EXPECT_STR(devices.items[0], devices.items[4]);
	EXPECT(access(res.merged, R_OK) == 0);
	cf_strv_fini(&devices);
	pull_result_fini(&res);
	stop(&f);
}

CF_TEST(pull_counts_every_byte_once_fetched_or_found)
{
	static const struct layer_plan plans[] = { { "a", false }, { "b", true }, { "a", false } };
	struct fixture f;
	struct cf_err err;

	start(&f);
	cf_cleanup(cf_freep) char *place = make_image(f.dir, "image", plans, CF_ARRAY_LEN(plans));

	for (int i = 0; i < 2; i++) { /* the second finds all of it in the store */
		struct pull_meter meter = { 0 };
		struct pull_result res = { 0 };
		uint64_t bytes = 0;

		f.env.meter = &meter;
		EXPECT_OK(pull_image(&f.env, place, &res, &err), &err);
		for (size_t k = 0; k < res.layer_count; k++)
			bytes += res.layers[k].size;
		struct pull_meter_view v = pull_meter_read(&meter);

		EXPECT_INT(v.bytes, bytes);
		EXPECT_INT(v.bytes_done, bytes);
		EXPECT_INT(v.layers, 3);
		EXPECT_INT(v.layers_done, 3);
		pull_result_fini(&res);
	}
	stop(&f);
}

struct puller {
	struct fixture *f;
	const char *place;
	int r;
	size_t reused;
	struct cf_err err;
};

static void *pull_thread(void *arg)
{
	struct puller *p = arg;
	struct pull_result res = { 0 };

	p->r = pull_image(&p->f->env, p->place, &res, &p->err);
	for (size_t i = 0; i < res.layer_count; i++)
		p->reused += res.layers[i].is_reused;
	pull_result_fini(&res);
	return NULL;
}

CF_TEST(pull_builds_a_layer_once_however_many_pull_it)
{
	static const struct layer_plan plans[] = { { "a", false }, { "b", false }, { "c", false } };
	struct puller pullers[4];
	pthread_t threads[4];
	struct fixture f;
	size_t reused = 0;

	start(&f);
	cf_cleanup(cf_freep) char *place = make_image(f.dir, "image", plans, CF_ARRAY_LEN(plans));

	for (size_t i = 0; i < CF_ARRAY_LEN(pullers); i++) {
		pullers[i] = (struct puller){ .f = &f, .place = place };
		EXPECT(pthread_create(&threads[i], NULL, pull_thread, &pullers[i]) == 0);
	}
	for (size_t i = 0; i < CF_ARRAY_LEN(pullers); i++) {
		EXPECT(pthread_join(threads[i], NULL) == 0);
		EXPECT_OK(pullers[i].r, &pullers[i].err);
		reused += pullers[i].reused;
	}
	EXPECT_INT(reused, 9); /* of twelve, three were built */
	stop(&f);
}
