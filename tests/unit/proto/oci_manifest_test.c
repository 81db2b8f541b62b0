/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/oci_manifest.h"
#include "tests/harness/test.h"

#define HEX64  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DESC   "{\"mediaType\":\"" OCI_MT_LAYER "+gzip\",\"digest\":\"sha256:" HEX64 "\",\"size\":7}"
#define CONFIG "{\"mediaType\":\"" OCI_MT_CONFIG "\",\"digest\":\"sha256:" HEX64 "\",\"size\":2}"
#define GOOD   "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[" DESC "]}"

CF_TEST(oci_manifest_reads_and_writes_back)
{
	static const char text[] =
		"{\"schemaVersion\":2,\"mediaType\":\"" OCI_MT_MANIFEST "\",\"config\":" CONFIG
		",\"layers\":[{\"mediaType\":\"x/y\",\"digest\":\"sha256:" HEX64 "\",\"size\":7,"
		"\"annotations\":{\"a\":\"b\",\"c\":\"d\"}}],\"subject\":" DESC
		",\"annotations\":{\"k\":\"v\"}}";
	struct oci_manifest m = { 0 };
	struct cf_buf out = { 0 };
	struct cf_err err;

	EXPECT_OK(oci_manifest_parse(cf_view_str(text), &m, &err), &err);
	EXPECT_INT(m.layer_count, 1);
	EXPECT_INT(m.layers[0].size, 7);
	EXPECT_STR(oci_pairs_get(&m.layers[0].annotations, "c"), "d");
	EXPECT(m.has_subject && m.subject.size == 7);
	oci_manifest_write(&m, &out);
	EXPECT_STR((char *)out.data, text);
	cf_buf_fini(&out);
	oci_manifest_fini(&m);
}

CF_TEST(oci_manifest_refuses_bad_documents)
{
	static const char *const refused[] = {
		"[]",
		"{}",
		"{\"schemaVersion\":1,\"config\":" CONFIG ",\"layers\":[]}",
		"{\"schemaVersion\":\"2\",\"config\":" CONFIG ",\"layers\":[]}", /* a string */
		"{\"schemaVersion\":2,\"layers\":[]}",                           /* no config */
		"{\"schemaVersion\":2,\"config\":" CONFIG "}",                   /* no layers */
		"{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":{}}",     /* no list */
		"{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[1]}",    /* no descriptor */
		"{\"schemaVersion\":2,\"config\":" CONFIG
		",\"layers\":[],\"manifests\":[]}", /* both */
		"{\"schemaVersion\":2,\"mediaType\":\"" OCI_MT_INDEX "\",\"config\":" CONFIG
		",\"layers\":[]}", /* says it is the other thing */
		"{\"schemaVersion\":2,\"config\":" CONFIG
		",\"layers\":[{\"mediaType\":\"x\",\"digest\":\"sha256:00\",\"size\":1}]}",
		"{\"schemaVersion\":2,\"config\":" CONFIG
		",\"layers\":[{\"mediaType\":\"x\",\"digest\":\"sha256:" HEX64 "\",\"size\":-1}]}",
		"{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[{\"digest\":\"sha256:" HEX64
		"\",\"size\":1}]}", /* no type */
		"{\"schemaVersion\":2,\"config\":" CONFIG
		",\"layers\":[],\"annotations\":{\"a\":1}}", /* no text */
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(refused); i++) {
		struct oci_manifest m = { 0 };
		struct cf_err err;

		EXPECT_FAILS(oci_manifest_parse(cf_view_str(refused[i]), &m, &err),
		             CF_INVALID_ARGUMENT);
		EXPECT(!m.layers);
	}
	for (size_t n = 0; n < strlen(GOOD); n++) {
		struct oci_manifest m = { 0 };

		EXPECT(oci_manifest_parse(cf_view(GOOD, n), &m, NULL) < 0);
	}
}

CF_TEST(oci_manifest_holds_the_layer_limit)
{
	for (int extra = 0; extra <= 1; extra++) {
		struct cf_buf b = { 0 };
		struct oci_manifest m = { 0 };

		cf_buf_add_str(&b, "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[" DESC);
		for (int i = 1; i < OCI_LAYERS_MAX + extra; i++)
			cf_buf_add_str(&b, "," DESC);
		cf_buf_add_str(&b, "]}");
		EXPECT_INT(oci_manifest_parse(cf_buf_view(&b), &m, NULL),
		           extra ? -CF_RESOURCE_EXHAUSTED : 0);
		oci_manifest_fini(&m);
		cf_buf_fini(&b);
	}
}

CF_TEST(oci_document_kind_goes_by_shape_and_refuses_contradiction)
{
	enum oci_document kind;
	struct cf_err err;

	EXPECT_OK(oci_document_kind(cf_view_str(GOOD), NULL, &kind, &err), &err);
	EXPECT(kind == OCI_IS_MANIFEST);
	EXPECT_OK(oci_document_kind(cf_view_str(GOOD), OCI_MT_DOCKER_MANIFEST, &kind, &err), &err);
	EXPECT_FAILS(oci_document_kind(cf_view_str(GOOD), OCI_MT_INDEX, &kind, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT_OK(oci_document_kind(cf_view_str("{\"schemaVersion\":2,\"manifests\":[]}"), NULL,
	                            &kind, &err),
	          &err);
	EXPECT(kind == OCI_IS_INDEX);
	EXPECT_FAILS(oci_document_kind(cf_view_str("{\"schemaVersion\":2}"), NULL, &kind, &err),
	             CF_INVALID_ARGUMENT);
}

#define ENTRY(os, arch, variant, n)                                                                \
	"{\"mediaType\":\"m\",\"digest\":\"sha256:" HEX64 "\",\"size\":" n                         \
	",\"platform\":{\"os\":\"" os "\",\"architecture\":\"" arch "\",\"variant\":\"" variant    \
	"\"}}"

CF_TEST(oci_index_chooses_the_best_variant_that_runs_here)
{
	static const char text[] =
		"{\"schemaVersion\":2,\"manifests\":[" ENTRY("unknown", "unknown", "", "1") "," ENTRY(
			"linux", "arm", "v6",
			"6") "," ENTRY("linux", "arm", "v7",
	                               "7") "," ENTRY("linux", "arm", "v8",
	                                              "8") "," ENTRY("windows", "amd64", "",
	                                                             "9") "," ENTRY("linux",
	                                                                            "amd64", "v3",
	                                                                            "10") "," ENTRY("linux",
	                                                                                            "amd64",
	                                                                                            "",
	                                                                                            "11") "]}";
	const struct oci_descriptor *d;
	struct oci_index x = { 0 };
	struct cf_err err;

	EXPECT_OK(oci_index_parse(cf_view_str(text), &x, &err), &err);
	EXPECT_OK(oci_index_choose(&x, &(struct oci_platform){ "linux", "arm", "v7" }, &d, &err),
	          &err);
	EXPECT_INT(d->size, 7);
	EXPECT_OK(oci_index_choose(&x, &(struct oci_platform){ "linux", "amd64", "" }, &d, &err),
	          &err);
	EXPECT_INT(d->size, 11);
	EXPECT_FAILS(
		oci_index_choose(&x, &(struct oci_platform){ "linux", "riscv64", "" }, &d, &err),
		CF_NOT_FOUND);
	oci_index_fini(&x);
}

CF_TEST(oci_platform_is_read_with_the_usual_variants)
{
	static const char *const cases[][4] = {
		{ "linux/amd64", "linux", "amd64", "" }, { "linux/arm64", "linux", "arm64", "v8" },
		{ "linux/arm", "linux", "arm", "v7" },   { "linux/arm/v6", "linux", "arm", "v6" },
		{ "linux/s390x", "linux", "s390x", "" },
	};
	static const char *const refused[] = { "",       "linux",     "/amd64",
		                               "linux/", "linux//v8", "linux/arm/" };
	struct oci_platform p;
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(cases); i++) {
		cf_cleanup(cf_freep) char *scratch = NULL;

		EXPECT_OK(oci_platform_parse(cases[i][0], &scratch, &p, &err), &err);
		EXPECT_STR(p.os, cases[i][1]);
		EXPECT_STR(p.architecture, cases[i][2]);
		EXPECT_STR(p.variant, cases[i][3]);
	}
	for (size_t i = 0; i < CF_ARRAY_LEN(refused); i++) {
		char *scratch = NULL;

		EXPECT_FAILS(oci_platform_parse(refused[i], &scratch, &p, &err),
		             CF_INVALID_ARGUMENT);
		EXPECT(!scratch);
	}
}

CF_TEST(oci_layer_types)
{
	static const struct {
		const char *name;
		enum oci_compression compression;
		bool encrypted;
	} cases[] = {
		{ OCI_MT_LAYER, OCI_PLAIN, false },
		{ OCI_MT_LAYER "+encrypted", OCI_PLAIN, true },
		{ OCI_MT_LAYER "+gzip", OCI_GZIP, false },
		{ OCI_MT_LAYER "+gzip+encrypted", OCI_GZIP, true },
		{ OCI_MT_LAYER "+zstd+encrypted", OCI_ZSTD, true },
		{ "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd+encrypted",
		  OCI_ZSTD, true },
		{ "application/vnd.docker.image.rootfs.diff.tar.gzip", OCI_GZIP, false },
		{ "application/vnd.docker.image.rootfs.diff.tar.gzip+encrypted", OCI_GZIP, true },
		{ "application/vnd.docker.image.rootfs.diff.tar", OCI_PLAIN, false },
		{ "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", OCI_GZIP, false },
	};
	struct oci_layer_type t;
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(cases); i++) {
		EXPECT_OK(oci_layer_type_parse(cases[i].name, &t, &err), &err);
		EXPECT(t.compression == cases[i].compression && t.encrypted == cases[i].encrypted);
	}
	EXPECT_FAILS(oci_layer_type_parse("application/wasm", &t, &err), CF_UNIMPLEMENTED);
	EXPECT_FAILS(oci_layer_type_parse(OCI_MT_LAYER "+gzip+encrypted+encrypted", &t, &err),
	             CF_UNIMPLEMENTED);
	EXPECT_FAILS(oci_layer_type_parse("+encrypted", &t, &err), CF_UNIMPLEMENTED);
}

#define IMAGE                                                                                      \
	"{\"architecture\":\"amd64\",\"os\":\"linux\",\"created\":\"2020-01-01T00:00:00Z\","       \
	"\"config\":{\"User\":\"1:2\",\"Env\":[\"A=b\"],\"Entrypoint\":[\"/x\"],\"Cmd\":null,"     \
	"\"Labels\":{\"l\":\"m\"},\"Volumes\":{\"/v\":{}},\"Odd\":[1]},"                           \
	"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:" HEX64 "\"]},\"history\":[{}]}"

CF_TEST(oci_config_reads_what_a_container_needs)
{
	struct oci_config c = { 0 };
	struct cf_err err;

	EXPECT_OK(oci_config_parse(cf_view_str(IMAGE), &c, &err), &err);
	EXPECT_STR(c.user, "1:2");
	EXPECT_STR(c.env.items[0], "A=b");
	EXPECT_STR(c.entrypoint.items[0], "/x");
	EXPECT_INT(c.cmd.count, 0);
	EXPECT_STR(c.volumes.items[0], "/v");
	EXPECT_STR(oci_pairs_get(&c.labels, "l"), "m");
	EXPECT_INT(c.diff_id_count, 1);
	oci_config_fini(&c);
	for (size_t n = 0; n < strlen(IMAGE); n++)
		EXPECT(oci_config_parse(cf_view(IMAGE, n), &c, NULL) < 0);
	EXPECT_FAILS(oci_config_parse(cf_view_str("{\"rootfs\":{\"diff_ids\":[]}}"), &c, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT_FAILS(oci_config_parse(cf_view_str("{\"os\":\"linux\",\"architecture\":\"x\","
	                                          "\"rootfs\":{\"diff_ids\":[\"x\"]}}"),
	                              &c, &err),
	             CF_INVALID_ARGUMENT);
}

CF_TEST(oci_config_takes_one_label_more_and_keeps_the_rest)
{
	struct cf_buf out = { 0 };
	struct oci_config c = { 0 };
	struct cf_err err;

	EXPECT_OK(oci_config_add_label(cf_view_str(IMAGE), "new", "1", &out, &err), &err);
	EXPECT_OK(oci_config_parse(cf_buf_view(&out), &c, &err), &err);
	EXPECT_STR(oci_pairs_get(&c.labels, "new"), "1");
	EXPECT_STR(oci_pairs_get(&c.labels, "l"), "m");
	EXPECT(strstr((char *)out.data, "\"Odd\":[1]") &&
	       strstr((char *)out.data, "\"history\":[{}]"));
	EXPECT(strstr((char *)out.data, "\"User\":\"1:2\""));
	oci_config_fini(&c);
	cf_buf_fini(&out);
}
