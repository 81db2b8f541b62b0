/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/sig_cosign.h"

#include "base/json.h"
#include "proto/sig_bundle.h"

/* ---- payloads ---- */

void sig_payload_fini(struct sig_payload *p)
{
	free(p->reference);
	*p = (struct sig_payload){ 0 };
}

static int parse_critical(const struct cf_json *critical, struct sig_payload *ret,
                          struct cf_err *err)
{
	const struct cf_json *identity, *image;
	struct cf_view type, digest, reference;
	int r = cf_json_need_str(critical, "type", &type, err);

	if (r < 0)
		return r;
	if (!cf_view_eq_str(type, SIG_TYPE) && !cf_view_eq_str(type, SIG_TYPE_ATOMIC))
		return cf_fail(err, CF_INVALID_ARGUMENT, "type is not an image signature's");
	r = cf_json_need(critical, "identity", CF_JSON_OBJECT, &identity, err);
	if (r == 0)
		r = cf_json_need_str(identity, "docker-reference", &reference, err);
	if (r == 0)
		r = cf_json_need(critical, "image", CF_JSON_OBJECT, &image, err);
	if (r == 0)
		r = cf_json_need_str(image, "docker-manifest-digest", &digest, err);
	if (r == 0)
		r = oci_digest_parse(digest, &ret->digest, err);
	if (r == 0 && (cf_view_has_nul(reference) || reference.size > OCI_REF_TEXT_MAX))
		r = cf_fail(err, CF_INVALID_ARGUMENT, "docker-reference is no reference");
	if (r < 0)
		return r;
	ret->reference = cf_view_dup(reference);
	return 0;
}

static int parse_statement(struct cf_view signed_bytes, struct sig_payload *ret, struct cf_err *err)
{
	struct sig_payload p = { 0 };
	int r = sig_statement_parse(signed_bytes, &p.digest, err);

	if (r == 0)
		*ret = p;
	return r;
}

int sig_payload_parse(struct cf_view signed_bytes, struct sig_payload *ret, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
	const struct cf_json *critical;
	struct sig_payload p = { 0 };

	if (sig_is_statement(signed_bytes))
		return parse_statement(signed_bytes, ret, err);
	int r = cf_json_parse(signed_bytes, SIG_PAYLOAD_MAX, &root, err);

	if (r == 0)
		r = cf_json_need(root, "critical", CF_JSON_OBJECT, &critical, err);
	if (r == 0)
		r = parse_critical(critical, &p, err);
	if (r < 0) {
		sig_payload_fini(&p);
		return cf_wrap(err, r, "signature payload");
	}
	*ret = p;
	return 0;
}

void sig_payload_write(const char *reference, const struct oci_digest *digest, struct cf_buf *ret)
{
	struct cf_jw w = { .out = ret };

	cf_jw_obj(&w);
	cf_jw_key(&w, "critical");
	cf_jw_obj(&w);
	cf_jw_key(&w, "identity");
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "docker-reference", reference);
	cf_jw_end_obj(&w);
	cf_jw_key(&w, "image");
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "docker-manifest-digest", digest->text);
	cf_jw_end_obj(&w);
	cf_jw_kstr(&w, "type", SIG_TYPE);
	cf_jw_end_obj(&w);
	cf_jw_key(&w, "optional");
	cf_jw_null(&w);
	cf_jw_end_obj(&w);
}

/* ---- signatures ---- */

struct way {
	enum cf_pkey_kind kind;
	enum cf_sig_scheme scheme;
	enum cf_hash_alg hash;
};

static const struct way ways[] = {
	{ CF_PKEY_EC_P256, CF_SIG_ECDSA_DER, CF_SHA256 },
	{ CF_PKEY_EC_P384, CF_SIG_ECDSA_DER, CF_SHA384 },
	{ CF_PKEY_EC_P384, CF_SIG_ECDSA_DER, CF_SHA256 },
	{ CF_PKEY_EC_P521, CF_SIG_ECDSA_DER, CF_SHA512 },
	{ CF_PKEY_EC_P521, CF_SIG_ECDSA_DER, CF_SHA256 },
	{ CF_PKEY_RSA, CF_SIG_RSA_PKCS1, CF_SHA256 },
	{ CF_PKEY_RSA, CF_SIG_RSA_PSS, CF_SHA256 },
	{ CF_PKEY_ED25519, CF_SIG_ED25519, CF_SHA256 },
};

int sig_verify(const struct cf_pkey *key, struct cf_view payload, struct cf_view signature,
               struct cf_err *err)
{
	int r = cf_fail(err, CF_INVALID_ARGUMENT, "keys of this kind sign no images");

	for (size_t i = 0; i < CF_ARRAY_LEN(ways); i++) {
		if (ways[i].kind != cf_pkey_kind(key))
			continue;
		r = cf_pkey_verify(key, ways[i].scheme, ways[i].hash, payload, signature, err);
		if (r == 0)
			return 0;
	}
	return r;
}

int sig_make(const struct cf_pkey *key, struct cf_view payload, struct cf_buf *ret,
             struct cf_err *err)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(ways); i++) {
		if (ways[i].kind == cf_pkey_kind(key))
			return cf_pkey_sign(key, ways[i].scheme, ways[i].hash, payload, ret, err);
	}
	return cf_fail(err, CF_INVALID_ARGUMENT, "keys of this kind sign no images");
}

/* ---- collecting ---- */

void sig_list_fini(struct sig_list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		cf_buf_fini(&l->items[i].payload);
		cf_buf_fini(&l->items[i].signature);
	}
	free(l->items);
	*l = (struct sig_list){ 0 };
}

/* base64, with line breaks that some signers leave in it. */
static int decode_signature(const char *text, struct cf_buf *ret)
{
	struct cf_buf clean = { .max = SIG_TEXT_MAX };
	int r;

	for (const char *p = text; *p; p++) {
		if (*p != '\r' && *p != '\n')
			cf_buf_add_byte(&clean, (uint8_t)*p);
	}
	ret->max = SIG_TEXT_MAX;
	r = clean.bad ? -CF_RESOURCE_EXHAUSTED
	              : cf_b64_decode(CF_B64_STD, cf_buf_view(&clean), ret, NULL);
	cf_buf_fini(&clean);
	return r;
}

/* Both as they lie in the registry: the bytes that were signed, and the signature. */
static int decode_layer(const struct oci_descriptor *layer, struct cf_buf *blob,
                        struct sig_found *ret)
{
	const char *text = oci_pairs_get(&layer->annotations, SIG_ANNOTATION);

	if (strcmp(layer->media_type, SIG_MT_BUNDLE) == 0)
		return sig_bundle_parse(cf_buf_view(blob), &ret->payload, &ret->signature, NULL);
	ret->payload = *blob;
	*blob = (struct cf_buf){ 0 };
	return decode_signature(text, &ret->signature);
}

static bool is_signature_layer(const struct oci_descriptor *layer)
{
	if (layer->size > SIG_PAYLOAD_MAX)
		return false;
	return strcmp(layer->media_type, SIG_MT_BUNDLE) == 0 ||
	       (strcmp(layer->media_type, SIG_MT_SIMPLESIGNING) == 0 &&
	        oci_pairs_get(&layer->annotations, SIG_ANNOTATION));
}

/* A layer that is no signature, or a broken one, is left out: others may be good. */
static int collect_layer(struct oci_source *src, const struct oci_descriptor *layer,
                         struct sig_list *ret, struct cf_err *err)
{
	struct sig_found found = { 0 };
	struct cf_buf blob = { 0 };

	if (!is_signature_layer(layer))
		return 0;
	int r = oci_source_blob_read(src, layer, SIG_PAYLOAD_MAX, &blob, err);

	if (r == -CF_DATA_LOSS || r == -CF_NOT_FOUND)
		return 0;
	if (r < 0)
		return r;
	if (decode_layer(layer, &blob, &found) < 0) {
		cf_buf_fini(&found.payload);
		cf_buf_fini(&found.signature);
	} else {
		cf_grow(&ret->items, &ret->cap, ret->count + 1);
		ret->items[ret->count++] = found;
	}
	cf_buf_fini(&blob);
	return 0;
}

/* @subject: the manifest must say that it is about this digest; NULL: its tag says so. */
static int collect_manifest(struct oci_source *src, const char *target,
                            const struct oci_digest *subject, struct sig_list *ret,
                            struct cf_err *err)
{
	struct oci_document_bytes doc = { 0 };
	struct oci_manifest m = { 0 };
	int r = oci_source_document(src, target, &doc, err);

	if (r == -CF_NOT_FOUND)
		return 0;
	if (r < 0)
		return r;
	r = oci_manifest_parse(cf_buf_view(&doc.bytes), &m, NULL);
	oci_document_bytes_fini(&doc);
	if (r < 0)
		return 0; /* something else under that name: no signature */
	bool about = !subject || (m.has_subject && oci_digest_eq(&m.subject.digest, subject));

	for (size_t i = 0; r == 0 && about && i < m.layer_count && i < SIG_LAYERS_MAX; i++)
		r = collect_layer(src, &m.layers[i], ret, err);
	oci_manifest_fini(&m);
	return r;
}

/* In a fallback index cosign 3 writes its configuration's media type where the artifact's belongs. */
static bool is_signature_entry(const struct oci_descriptor *d)
{
	static const char *const types[] = { SIG_ARTIFACT_TYPE, SIG_MT_BUNDLE, OCI_MT_EMPTY };

	for (size_t i = 0; d->artifact_type && i < CF_ARRAY_LEN(types); i++) {
		if (strcmp(d->artifact_type, types[i]) == 0)
			return true;
	}
	return !d->artifact_type;
}

static int collect_referrers(struct oci_source *src, const struct oci_digest *digest,
                             struct sig_list *ret, struct cf_err *err)
{
	struct oci_document_bytes doc = { 0 };
	struct oci_index x = { 0 };
	int r = oci_source_referrers(src, digest, &doc, err);

	if (r == -CF_NOT_FOUND)
		return 0;
	if (r < 0)
		return r;
	r = oci_index_parse(cf_buf_view(&doc.bytes), &x, NULL);
	oci_document_bytes_fini(&doc);
	if (r < 0)
		return 0;
	for (size_t i = 0; r == 0 && i < x.count && i < SIG_REFERRERS_MAX; i++) {
		if (is_signature_entry(&x.manifests[i]))
			r = collect_manifest(src, x.manifests[i].digest.text, digest, ret, err);
	}
	oci_index_fini(&x);
	return r;
}

int sig_collect(struct oci_source *src, const struct oci_digest *digest, struct sig_list *ret,
                struct cf_err *err)
{
	cf_cleanup(cf_freep) char *tag =
		cf_asprintf("%s-%s.sig", oci_digest_alg_name(digest->alg), oci_digest_hex(digest));
	int r = collect_manifest(src, tag, NULL, ret, err);

	if (r == 0)
		r = collect_referrers(src, digest, ret, err);
	return r < 0 ? cf_wrap(err, r, "signatures of %s", digest->text) : 0;
}
