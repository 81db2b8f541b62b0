/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "proto/oci_source.h"
#include "tests/harness/test.h"

static const struct oci_source_config no_config;

#define MANIFEST(n)                                                                                \
	"{\"schemaVersion\":2,\"mediaType\":\"" OCI_MT_MANIFEST "\",\"config\":{\"mediaType\":"    \
	"\"x\",\"digest\":\"sha256:"                                                               \
	"b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde"                          \
	"9\",\"size\":" n "},\"layers\":[]}"

CF_TEST(oci_layout_gives_back_what_was_put)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *place = cf_asprintf("oci:%s/l", dir);
	cf_cleanup(cf_freep) char *tagged = cf_asprintf("oci:%s/l:two", dir);
	cf_cleanup(cf_freep) char *wrong = cf_asprintf("oci:%s/l:three", dir);
	cf_cleanup(oci_source_freep) struct oci_source *out = NULL, *in = NULL, *none = NULL;
	struct oci_document_bytes doc = { 0 };
	struct oci_digest blob, one, two;
	struct cf_buf got = { 0 };
	struct cf_err err;

	EXPECT_FAILS(oci_source_open(place, &no_config, &in, &err), CF_NOT_FOUND);
	EXPECT_OK(oci_source_create(place, &no_config, &out, &err), &err);
	EXPECT_OK(oci_source_put_bytes(out, cf_view_str("hello world"), &blob, &err), &err);
	EXPECT_OK(oci_source_put_document(out, OCI_MT_MANIFEST, cf_view_str(MANIFEST("1")), "",
	                                  &one, &err),
	          &err);
	EXPECT_OK(oci_source_open(place, &no_config, &in, &err), &err);
	EXPECT_OK(oci_source_document(in, NULL, &doc, &err), &err);
	EXPECT(oci_digest_eq(&doc.digest, &one));
	oci_document_bytes_fini(&doc);

	struct oci_descriptor d = { .digest = blob, .size = 11 };

	EXPECT_OK(oci_source_blob_read(in, &d, 11, &got, &err), &err);
	EXPECT(cf_view_eq_str(cf_buf_view(&got), "hello world"));
	cf_buf_fini(&got);
	EXPECT_FAILS(oci_source_blob_read(in, &d, 10, &got, &err), CF_RESOURCE_EXHAUSTED);

	/* a second image: now the name is needed, and a name that is not there is said so */
	EXPECT_OK(oci_source_put_document(out, OCI_MT_MANIFEST, cf_view_str(MANIFEST("2")), "two",
	                                  &two, &err),
	          &err);
	EXPECT_FAILS(oci_source_document(in, NULL, &doc, &err), CF_NOT_FOUND);
	oci_source_free(in);
	EXPECT_OK(oci_source_open(tagged, &no_config, &in, &err), &err);
	EXPECT_OK(oci_source_document(in, NULL, &doc, &err), &err);
	EXPECT(oci_digest_eq(&doc.digest, &two));
	oci_document_bytes_fini(&doc);
	EXPECT_OK(oci_source_open(wrong, &no_config, &none, &err), &err);
	EXPECT_FAILS(oci_source_document(none, NULL, &doc, &err), CF_NOT_FOUND);
}

CF_TEST(oci_layout_refuses_changed_blobs)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *place = cf_asprintf("oci:%s", dir);
	cf_cleanup(oci_source_freep) struct oci_source *src = NULL;
	struct oci_descriptor d = { .size = 11 };
	struct cf_buf got = { 0 };
	struct cf_err err;

	EXPECT_OK(oci_source_create(place, &no_config, &src, &err), &err);
	EXPECT_OK(oci_source_put_bytes(src, cf_view_str("hello world"), &d.digest, &err), &err);
	cf_cleanup(cf_freep) char *path =
		cf_asprintf("%s/blobs/sha256/%s", dir, oci_digest_hex(&d.digest));
	static const char *const changed[] = { "hello worle", "hello worl", "hello world!", "" };

	for (size_t i = 0; i < CF_ARRAY_LEN(changed); i++) {
		EXPECT_OK(cf_write_file_atomic(path, cf_view_str(changed[i]), 0600, &err), &err);
		EXPECT_FAILS(oci_source_blob_read(src, &d, 64, &got, &err), CF_DATA_LOSS);
		EXPECT(!got.data);
	}
}
