/* fuzz: proto */
/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/oci_manifest.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What parses is written, and what is written parses and is written the same. */
static void manifest(struct cf_view in)
{
	struct oci_manifest m = { 0 }, again = { 0 };
	struct cf_buf one = { 0 }, two = { 0 };

	if (oci_manifest_parse(in, &m, NULL) < 0)
		return;
	oci_manifest_write(&m, &one);
	assert(oci_manifest_parse(cf_buf_view(&one), &again, NULL) == 0);
	oci_manifest_write(&again, &two);
	assert(cf_view_eq(cf_buf_view(&one), cf_buf_view(&two)));
	for (size_t i = 0; i < m.layer_count; i++) {
		struct oci_layer_type t;

		(void)!oci_layer_type_parse(m.layers[i].media_type, &t, NULL);
	}
	oci_manifest_fini(&m);
	oci_manifest_fini(&again);
	cf_buf_fini(&one);
	cf_buf_fini(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cf_view in = cf_view(data, size);
	struct oci_platform own = oci_platform_own();
	const struct oci_descriptor *d;
	struct cf_buf labelled = { 0 };
	struct oci_index x = { 0 };
	struct oci_config c = { 0 };
	enum oci_document kind;

	(void)!oci_document_kind(in, OCI_MT_MANIFEST, &kind, NULL);
	manifest(in);
	if (oci_index_parse(in, &x, NULL) == 0) {
		(void)!oci_index_choose(&x, &own, &d, NULL);
		oci_index_fini(&x);
	}
	if (oci_config_parse(in, &c, NULL) == 0) {
		oci_config_fini(&c);
		assert(oci_config_add_label(in, "k", "v", &labelled, NULL) == 0);
		cf_buf_fini(&labelled);
	}
	return 0;
}
