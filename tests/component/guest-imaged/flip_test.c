/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One changed byte, at every place of a small image: its manifest, configuration and blob, plain and
 * encrypted, as a registry or a network would change it; then by somebody who mends all digests
 * after the change. Pulls are real, with their sandboxed processes; nothing may appear in the store.
 */
#include "base/fd.h"
#include "base/gzip.h"
#include "erofs/layer_worker.h"
#include "guest-imaged/image_pull.h"
#include "tests/harness/tar_make.h"
#include "tests/harness/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define KID "kbs:///a/b/c"

static const uint8_t kek[32] = { 1, 2, 3, 4 };

/* This binary is its own helper. */
__attribute__((constructor)) static void become_helper(int argc, char **argv)
{
	cf_helper_main(argc, argv, layer_helpers, layer_helper_count);
}

/* An image of one layer, before it lies anywhere. */
struct parts {
	struct cf_buf blob, config;
	struct oci_pairs annotations;
	bool is_encrypted;
};

static void encrypt(struct parts *p)
{
	struct ocicrypt_recipient recipient = { .kid = KID, .kek = cf_view(kek, 32) };
	struct ocicrypt_options o = { 0 };
	struct ocicrypt_stream *s = NULL;
	struct cf_err err;

	EXPECT_OK(ocicrypt_options_new(&o, &err), &err);
	EXPECT_OK(ocicrypt_stream_new(&o, true, &s, &err), &err);
	ocicrypt_stream_apply(s, cf_buf_view(&p->blob), p->blob.data);
	ocicrypt_stream_seal(s, &o);
	EXPECT_OK(ocicrypt_wrap(&o, &recipient, 1, &p->annotations, &err), &err);
	ocicrypt_stream_free(s);
	ocicrypt_options_fini(&o);
}

static struct parts make_parts(bool is_encrypted)
{
	struct parts p = { .is_encrypted = is_encrypted };
	struct oci_digest diff_id;
	struct cf_buf tar = { 0 };
	struct cf_err err;

	tar_add_file(&tar, "hello", "content");
	tar_end(&tar);
	oci_digest_of(cf_buf_view(&tar), &diff_id);
	EXPECT_OK(cf_gzip(cf_buf_view(&tar), &p.blob, &err), &err);
	cf_buf_fini(&tar);
	cf_buf_printf(&p.config,
	              "{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":"
	              "{\"type\":\"layers\",\"diff_ids\":[\"%s\"]}}",
	              diff_id.text);
	if (is_encrypted)
		encrypt(&p);
	return p;
}

static void parts_fini(struct parts *p)
{
	cf_buf_fini(&p->blob);
	cf_buf_fini(&p->config);
	oci_pairs_fini(&p->annotations);
}

/* Lays the image out at "oci:DIR" with the digests that it has now. */
static void lay_out(const struct parts *p, const char *place)
{
	cf_cleanup(oci_source_freep) struct oci_source *to = NULL;
	struct oci_source_config none = { 0 };
	struct oci_descriptor layer = { .size = p->blob.size, .annotations = p->annotations };
	struct oci_manifest m = { .layer_count = 1, .layers = &layer };
	struct cf_buf text = { 0 };
	struct cf_err err;

	EXPECT_OK(oci_source_create(place, &none, &to, &err), &err);
	layer.media_type =
		cf_strdup(p->is_encrypted ? OCI_MT_LAYER "+gzip+encrypted" : OCI_MT_LAYER "+gzip");
	m.config.media_type = cf_strdup(OCI_MT_CONFIG);
	m.config.size = p->config.size;
	EXPECT_OK(oci_source_put_bytes(to, cf_buf_view(&p->blob), &layer.digest, &err), &err);
	EXPECT_OK(oci_source_put_bytes(to, cf_buf_view(&p->config), &m.config.digest, &err), &err);
	oci_manifest_write(&m, &text);
	EXPECT_OK(oci_source_put_document(to, OCI_MT_MANIFEST, cf_buf_view(&text), "", NULL, &err),
	          &err);
	cf_buf_fini(&text);
	free(layer.media_type);
	free(m.config.media_type);
}

/* ---- pulls ---- */

static int give_kek(void *arg, const char *kid, size_t i, struct cf_secret **ret,
                    struct cf_err *err)
{
	(void)arg;
	if (i > 0 || !cf_streq(kid, KID))
		return cf_fail(err, CF_NOT_FOUND, "no such key");
	return cf_secret_copy(cf_view(kek, 32), ret, err);
}

struct fixture {
	char *dir, *place, *work, *store;
	struct cf_work *layers;
	struct pull_env env;
};

static struct fixture start(void)
{
	struct fixture f = { .dir = cf_test_tmpdir() };
	struct cf_err err;

	f.place = cf_asprintf("oci:%s/image", f.dir);
	f.work = cf_asprintf("%s/work", f.dir);
	f.store = cf_asprintf("%s/erofs", f.work);
	EXPECT_OK(cf_work_new(1, 4, &f.layers, &err), &err);
	f.env = (struct pull_env){ .work_dir = f.work,
		                   .layers = f.layers,
		                   .not_durable = true,
		                   .platform = { "linux", "amd64", "" },
		                   .keys = { .kek = give_kek } };
	return f;
}

static void stop(struct fixture *f)
{
	cf_work_free(f->layers);
	free(f->place);
	free(f->work);
	free(f->store);
	free(f->dir);
}

/* Images, merged or not, finished or not. */
static size_t files_in_store(const struct fixture *f)
{
	DIR *d = opendir(f->store);
	size_t n = 0;

	if (!d)
		return 0;
	for (struct dirent *e; (e = readdir(d));)
		n += !cf_streq(e->d_name, ".") && !cf_streq(e->d_name, "..");
	closedir(d);
	return n;
}

/* Pulls; true when it was refused. What is refused leaves nothing. */
static bool is_refused(const struct fixture *f, int *ret, struct cf_err *err)
{
	struct pull_result res = { 0 };

	*ret = pull_image(&f->env, f->place, &res, err);
	pull_result_fini(&res);
	if (*ret < 0)
		EXPECT_INT(files_in_store(f), 0);
	return *ret < 0;
}

static void expect_whole(const struct fixture *f)
{
	struct pull_result res = { 0 };
	struct cf_err err;

	EXPECT_OK(pull_image(&f->env, f->place, &res, &err), &err);
	EXPECT_INT(files_in_store(f), 2); /* the layer and the merged image */
	pull_result_fini(&res);
}

/* ---- changed on the way ---- */

static void put_byte(int fd, off_t at, uint8_t byte)
{
	EXPECT(pwrite(fd, &byte, 1, at) == 1);
}

/* Every byte of @path, one bit of each: its digest tells. */
static size_t sweep_file(const struct fixture *f, const char *path)
{
	struct cf_buf text = cf_test_read(path);
	cf_cleanup(cf_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);
	size_t size = text.size;

	EXPECT(fd >= 0);
	for (size_t i = 0; i < size; i++) {
		struct cf_err err = { 0 };
		int r;

		put_byte(fd, (off_t)i, text.data[i] ^ (uint8_t)(1u << i % 8));
		if (!is_refused(f, &r, &err) || r != -CF_DATA_LOSS)
			fail_msg("%s: byte %zu: %d %s", path, i, r, err.msg);
		put_byte(fd, (off_t)i, text.data[i]);
	}
	cf_buf_fini(&text);
	return size;
}

static void sweep_blobs(bool is_encrypted)
{
	struct fixture f = start();
	struct parts p = make_parts(is_encrypted);
	cf_cleanup(cf_freep) char *blobs = cf_asprintf("%s/image/blobs/sha256", f.dir);
	size_t files = 0, bytes = 0;
	DIR *d;

	lay_out(&p, f.place);
	d = opendir(blobs);
	EXPECT(d);
	for (struct dirent *e; (e = readdir(d));) {
		cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", blobs, e->d_name);

		if (e->d_name[0] == '.')
			continue;
		files++;
		bytes += sweep_file(&f, path);
	}
	closedir(d);
	EXPECT_INT(files, 3); /* manifest, config, layer */
	printf("%zu bytes changed, one after the other\n", bytes);
	expect_whole(&f);
	parts_fini(&p);
	stop(&f);
}

CF_TEST(flip_of_any_byte_of_a_plain_image_is_refused)
{
	sweep_blobs(false);
}

CF_TEST(flip_of_any_byte_of_an_encrypted_image_is_refused)
{
	sweep_blobs(true);
}

/* ---- changed by somebody who mends the digests ---- */

/* True when it was refused; otherwise the layer is the same, since the configuration names it. */
static bool mended_is_refused(const struct fixture *f, const struct parts *p, int *ret,
                              struct cf_err *err)
{
	cf_cleanup(cf_freep) char *image = cf_asprintf("%s/image", f->dir);
	bool refused;

	EXPECT(cf_rm_rf(image, NULL) == 0);
	lay_out(p, f->place);
	refused = is_refused(f, ret, err);
	if (!refused)
		EXPECT_INT(files_in_store(f), 2);
	EXPECT(cf_rm_rf(f->work, NULL) == 0);
	return refused;
}

CF_TEST(flip_in_an_encrypted_blob_is_refused_also_when_every_digest_is_mended)
{
	struct fixture f = start();
	struct parts p = make_parts(true);
	struct cf_err err = { 0 };
	int r;

	for (size_t i = 0; i < p.blob.size; i++) {
		p.blob.data[i] ^= (uint8_t)(1u << i % 8);
		if (!mended_is_refused(&f, &p, &r, &err))
			fail_msg("byte %zu of the ciphertext", i);
		p.blob.data[i] ^= (uint8_t)(1u << i % 8);
	}
	EXPECT(!mended_is_refused(&f, &p, &r, &err));
	parts_fini(&p);
	stop(&f);
}

/*
 * The key's packet and the public options: what is changed there is refused, or meant nothing (a
 * member that nobody reads, the unused bits at base64's end).
 */
CF_TEST(flip_in_the_packets_opens_nothing_else)
{
	struct fixture f = start();
	struct parts p = make_parts(true);
	size_t refused = 0, same = 0;
	struct cf_err err = { 0 };
	int r;

	for (size_t n = 0; n < p.annotations.count; n++) {
		char *value = p.annotations.items[n].value;

		for (size_t i = 0; value[i]; i++) {
			char was = value[i];

			value[i] = (char)(was ^ (1 << i % 6));
			if (!value[i] || mended_is_refused(&f, &p, &r, &err))
				refused++;
			else
				same++;
			value[i] = was;
		}
	}
	printf("%zu changes refused, %zu meant nothing\n", refused, same);
	EXPECT(refused > 300 && same < refused / 10);
	parts_fini(&p);
	stop(&f);
}

/* gzip's header holds a time and a system that nobody reads; everything else is refused. */
CF_TEST(flip_in_a_plain_blob_changes_no_content_also_when_the_blobs_digest_is_mended)
{
	struct fixture f = start();
	struct parts p = make_parts(false);
	struct cf_err err = { 0 };
	int r;

	for (size_t i = 0; i < p.blob.size; i++) {
		bool is_idle = i >= 4 && i < 10; /* RFC 1952: MTIME, XFL, OS */

		p.blob.data[i] ^= (uint8_t)(1u << i % 8);
		if (mended_is_refused(&f, &p, &r, &err) == is_idle)
			fail_msg("byte %zu: %d %s", i, r, err.msg);
		p.blob.data[i] ^= (uint8_t)(1u << i % 8);
	}
	parts_fini(&p);
	stop(&f);
}
