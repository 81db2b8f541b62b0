/* fuzz: proto */
/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/ocicrypt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int give_kek(void *arg __attribute__((unused)), const char *kid __attribute__((unused)),
                    size_t i, struct cf_secret **ret, struct cf_err *err)
{
	static const uint8_t key[32];

	if (i > 0)
		return cf_fail(err, CF_NOT_FOUND, "no more");
	return cf_secret_copy(cf_view(key, sizeof(key)), ret, err);
}

static void annotate(struct oci_descriptor *d, const char *key, struct cf_view text)
{
	struct cf_buf b = { 0 };

	cf_b64_encode(CF_B64_STD, text, &b);
	if (b.data)
		oci_pairs_set(&d->annotations, key, (const char *)b.data);
	cf_buf_fini(&b);
}

/* A line of public options, then a packet; and the raw text as annotations of its own. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct ocicrypt_keys keys = { .kek = give_kek };
	struct cf_view in = cf_view(data, size);
	struct ocicrypt_recipients list = { 0 };
	struct ocicrypt_options o = { 0 };
	struct oci_descriptor d = { 0 };
	ssize_t line = cf_view_find(in, '\n');
	char *kid = NULL;

	if (line < 0)
		line = (ssize_t)size;
	annotate(&d, OCICRYPT_ANNOTATION_PUBOPTS, cf_view_sub(in, 0, (size_t)line));
	annotate(&d, OCICRYPT_ANNOTATION_KEYS OCICRYPT_COCO_PROVIDER,
	         cf_view_sub(in, (size_t)line + 1, SIZE_MAX));
	if (ocicrypt_unwrap(&d, &keys, &o, NULL) == 0)
		ocicrypt_options_fini(&o);
	if (size > 0 && !cf_view_has_nul(in)) {
		char *text = cf_view_dup(in);

		oci_pairs_set(&d.annotations, OCICRYPT_ANNOTATION_KEYS "provider.x", text);
		oci_pairs_set(&d.annotations, OCICRYPT_ANNOTATION_KEYS "jwe", text);
		free(text);
	}
	if (ocicrypt_unwrap(&d, &keys, &o, NULL) == 0)
		ocicrypt_options_fini(&o);
	ocicrypt_list(&d, &list);
	ocicrypt_recipients_fini(&list);
	if (ocicrypt_kid_normalise(in, &kid, NULL) == 0)
		free(kid);
	oci_descriptor_fini(&d);
	return 0;
}
