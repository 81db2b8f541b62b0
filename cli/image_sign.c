/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/image_sign.h"

#include "base/json.h"
#include "cli/image_args.h"
#include "proto/sig_cosign.h"

/* The configuration that registries expect; nobody reads it. */
static int put_config(struct oci_source *src, const struct oci_digest *layer,
                      struct oci_descriptor *ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *text =
		cf_asprintf("{\"architecture\":\"\",\"created\":\"0001-01-01T00:00:00Z\","
	                    "\"history\":[{\"created\":"
	                    "\"0001-01-01T00:00:00Z\"}],\"os\":\"\",\"rootfs\":{\"type\":"
	                    "\"layers\",\"diff_ids\":"
	                    "[\"%s\"]},\"config\":{}}",
	                    layer->text);

	oci_descriptor_fini(ret);
	ret->media_type = cf_strdup(OCI_MT_CONFIG);
	ret->size = strlen(text);
	return oci_source_put_bytes(src, cf_view_str(text), &ret->digest, err);
}

/* What lies under the tag already, or an empty manifest. */
static int read_old(struct oci_source *src, const char *tag, struct oci_manifest *ret,
                    struct cf_err *err)
{
	struct oci_document_bytes doc = { 0 };
	int r = oci_source_document(src, tag, &doc, err);

	if (r == -CF_NOT_FOUND) {
		*ret = (struct oci_manifest){ .media_type = cf_strdup(OCI_MT_MANIFEST) };
		return 0;
	}
	if (r == 0)
		r = oci_manifest_parse(cf_buf_view(&doc.bytes), ret, err);
	oci_document_bytes_fini(&doc);
	if (r == 0 && ret->layer_count >= SIG_LAYERS_MAX)
		r = cf_fail(err, CF_RESOURCE_EXHAUSTED, "it has %zu signatures already",
		            ret->layer_count);
	return r;
}

static void add_layer(struct oci_manifest *m, const struct oci_digest *digest, size_t size,
                      struct cf_view signature)
{
	struct cf_buf encoded = { 0 };
	struct oci_descriptor *d;

	m->layers = cf_realloc_n(m->layers, m->layer_count + 1, sizeof(*m->layers));
	d = &m->layers[m->layer_count++];
	*d = (struct oci_descriptor){ .media_type = cf_strdup(SIG_MT_SIMPLESIGNING),
		                      .digest = *digest,
		                      .size = size };
	cf_b64_encode(CF_B64_STD, signature, &encoded);
	oci_pairs_set(&d->annotations, SIG_ANNOTATION, (const char *)encoded.data);
	cf_buf_fini(&encoded);
}

static int put_signature(struct oci_source *src, const struct oci_digest *image,
                         struct cf_view payload, struct cf_view signature, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *tag =
		cf_asprintf("%s-%s.sig", oci_digest_alg_name(image->alg), oci_digest_hex(image));
	struct oci_manifest m = { 0 };
	struct oci_digest digest;
	struct cf_buf text = { 0 };
	int r = oci_source_put_bytes(src, payload, &digest, err);

	if (r == 0)
		r = read_old(src, tag, &m, err);
	if (r == 0) {
		add_layer(&m, &digest, payload.size, signature);
		r = put_config(src, &digest, &m.config, err);
	}
	if (r == 0) {
		oci_manifest_write(&m, &text);
		r = oci_source_put_document(src, OCI_MT_MANIFEST, cf_buf_view(&text), tag, NULL,
		                            err);
	}
	oci_manifest_fini(&m);
	cf_buf_fini(&text);
	return r;
}

int image_sign(struct oci_source *src, const struct oci_digest *digest, const char *identity,
               const char *key_path, struct cf_err *err)
{
	const struct oci_ref *ref = oci_source_ref(src);
	cf_cleanup(cf_freep) char *name = ref ? oci_ref_name(ref) : NULL;
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	struct cf_buf payload = { 0 }, signature = { 0 };
	int r = image_read_pkey(key_path, true, &key, err);

	if (r == 0 && !identity && !name)
		r = cf_fail(err, CF_INVALID_ARGUMENT,
		            "a layout has no name; say with --identity whose image this is");
	if (r < 0)
		return r;
	sig_payload_write(identity ? identity : name, digest, &payload);
	r = sig_make(key, cf_buf_view(&payload), &signature, err);
	if (r == 0)
		r = put_signature(src, digest, cf_buf_view(&payload), cf_buf_view(&signature), err);
	cf_buf_fini(&payload);
	cf_buf_fini(&signature);
	return r < 0 ? cf_wrap(err, r, "signature") : 0;
}
