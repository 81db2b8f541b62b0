/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/oci_manifest.h"

#include "base/json.h"

#include <stdio.h>

/* ---- pairs ---- */

static struct oci_pair *find_pair(const struct oci_pairs *p, const char *key)
{
	for (size_t i = 0; i < p->count; i++) {
		if (strcmp(p->items[i].key, key) == 0)
			return &p->items[i];
	}
	return NULL;
}

const char *oci_pairs_get(const struct oci_pairs *p, const char *key)
{
	const struct oci_pair *pair = find_pair(p, key);

	return pair ? pair->value : NULL;
}

void oci_pairs_set(struct oci_pairs *p, const char *key, const char *value)
{
	struct oci_pair *pair = find_pair(p, key);

	if (pair) {
		free(pair->value);
		pair->value = cf_strdup(value);
		return;
	}
	cf_grow(&p->items, &p->cap, p->count + 1);
	p->items[p->count++] =
		(struct oci_pair){ .key = cf_strdup(key), .value = cf_strdup(value) };
}

void oci_pairs_remove(struct oci_pairs *p, const char *key)
{
	struct oci_pair *pair = find_pair(p, key);

	if (!pair)
		return;
	free(pair->key);
	free(pair->value);
	*pair = p->items[--p->count];
}

void oci_pairs_fini(struct oci_pairs *p)
{
	for (size_t i = 0; i < p->count; i++) {
		free(p->items[i].key);
		free(p->items[i].value);
	}
	free(p->items);
	*p = (struct oci_pairs){ 0 };
}

static int parse_pairs(const struct cf_json *obj, const char *key, struct oci_pairs *ret,
                       struct cf_err *err)
{
	const struct cf_json *map = cf_json_get(obj, key);
	const struct cf_json *value;
	const char *name;
	void *it = NULL;

	if (cf_json_type(map) == CF_JSON_NULL)
		return 0;
	if (cf_json_type(map) != CF_JSON_OBJECT)
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s is no object", key);
	if (cf_json_len(map) > OCI_ANNOTATIONS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%s: over %d entries", key,
		               OCI_ANNOTATIONS_MAX);
	while (cf_json_next(map, &it, &name, &value)) {
		if (cf_json_type(value) != CF_JSON_STRING || cf_view_has_nul(cf_json_str(value)))
			return cf_fail(err, CF_INVALID_ARGUMENT, "%s: a value is no string", key);
		cf_cleanup(cf_freep) char *text = cf_view_dup(cf_json_str(value));

		oci_pairs_set(ret, name, text);
	}
	return 0;
}

static void write_pairs(struct cf_jw *w, const char *key, const struct oci_pairs *p)
{
	if (p->count == 0)
		return;
	cf_jw_key(w, key);
	cf_jw_obj(w);
	for (size_t i = 0; i < p->count; i++)
		cf_jw_kstr(w, p->items[i].key, p->items[i].value);
	cf_jw_end_obj(w);
}

/* ---- text members ---- */

/* A string member or NULL; a NUL inside is refused, since it would cut what others compare. */
static int opt_text(const struct cf_json *obj, const char *key, char **ret, struct cf_err *err)
{
	struct cf_view v = { 0 };
	int r = cf_json_opt_str(obj, key, &v, err);

	if (r < 0 || !v.data)
		return r;
	if (cf_view_has_nul(v))
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s holds a NUL", key);
	free(*ret);
	*ret = cf_view_dup(v);
	return 0;
}

/* ---- descriptors ---- */

void oci_descriptor_fini(struct oci_descriptor *d)
{
	free(d->media_type);
	free(d->artifact_type);
	free(d->os);
	free(d->architecture);
	free(d->variant);
	oci_pairs_fini(&d->annotations);
	*d = (struct oci_descriptor){ 0 };
}

void oci_descriptor_copy(struct oci_descriptor *dst, const struct oci_descriptor *src)
{
	*dst = (struct oci_descriptor){
		.media_type = cf_strdup(src->media_type),
		.digest = src->digest,
		.size = src->size,
		.artifact_type = cf_strdup(src->artifact_type),
		.os = cf_strdup(src->os),
		.architecture = cf_strdup(src->architecture),
		.variant = cf_strdup(src->variant),
	};
	for (size_t i = 0; i < src->annotations.count; i++)
		oci_pairs_set(&dst->annotations, src->annotations.items[i].key,
		              src->annotations.items[i].value);
}

static int parse_platform(const struct cf_json *obj, struct oci_descriptor *ret, struct cf_err *err)
{
	const struct cf_json *platform = cf_json_get(obj, "platform");

	if (cf_json_type(platform) != CF_JSON_OBJECT)
		return 0;
	int r = opt_text(platform, "os", &ret->os, err);

	if (r == 0)
		r = opt_text(platform, "architecture", &ret->architecture, err);
	if (r == 0)
		r = opt_text(platform, "variant", &ret->variant, err);
	return r;
}

static int parse_descriptor(const struct cf_json *obj, struct oci_descriptor *ret,
                            struct cf_err *err)
{
	struct cf_view digest;

	if (cf_json_type(obj) != CF_JSON_OBJECT)
		return cf_fail(err, CF_INVALID_ARGUMENT, "descriptor is no object");
	int r = opt_text(obj, "mediaType", &ret->media_type, err);

	if (r < 0)
		return r;
	if (!ret->media_type)
		return cf_fail(err, CF_INVALID_ARGUMENT, "descriptor without mediaType");
	r = cf_json_need_str(obj, "digest", &digest, err);
	if (r == 0)
		r = oci_digest_parse(digest, &ret->digest, err);
	if (r == 0)
		r = cf_json_need_u64(obj, "size", &ret->size, err);
	if (r == 0)
		r = opt_text(obj, "artifactType", &ret->artifact_type, err);
	if (r == 0)
		r = parse_pairs(obj, "annotations", &ret->annotations, err);
	if (r == 0)
		r = parse_platform(obj, ret, err);
	return r;
}

static int parse_descriptors(const struct cf_json *root, const char *key, size_t max,
                             struct oci_descriptor **ret, size_t *ret_count, struct cf_err *err)
{
	const struct cf_json *list;
	int r = cf_json_need(root, key, CF_JSON_ARRAY, &list, err);

	if (r < 0)
		return r;
	if (cf_json_len(list) > max)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%s: over %zu entries", key, max);
	*ret = cf_zalloc_n(cf_json_len(list) + 1, sizeof(**ret));
	for (size_t i = 0; i < cf_json_len(list); i++) {
		r = parse_descriptor(cf_json_at(list, i), &(*ret)[(*ret_count)++], err);
		if (r < 0)
			return cf_wrap(err, r, "%s %zu", key, i);
	}
	return 0;
}

static void write_descriptor(struct cf_jw *w, const struct oci_descriptor *d)
{
	cf_jw_obj(w);
	cf_jw_kstr(w, "mediaType", d->media_type);
	cf_jw_kstr(w, "digest", d->digest.text);
	cf_jw_kuint(w, "size", d->size);
	if (d->artifact_type)
		cf_jw_kstr(w, "artifactType", d->artifact_type);
	write_pairs(w, "annotations", &d->annotations);
	if (d->os || d->architecture) {
		cf_jw_key(w, "platform");
		cf_jw_obj(w);
		cf_jw_kstr(w, "architecture", d->architecture ? d->architecture : "");
		cf_jw_kstr(w, "os", d->os ? d->os : "");
		if (d->variant)
			cf_jw_kstr(w, "variant", d->variant);
		cf_jw_end_obj(w);
	}
	cf_jw_end_obj(w);
}

static void free_descriptors(struct oci_descriptor *d, size_t count)
{
	for (size_t i = 0; i < count; i++)
		oci_descriptor_fini(&d[i]);
	free(d);
}

/* ---- documents ---- */

static int parse_root(struct cf_view text, struct cf_json **ret, struct cf_err *err)
{
	uint64_t version;
	cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
	int r = cf_json_parse(text, OCI_MANIFEST_SIZE_MAX, &root, err);

	if (r < 0)
		return r;
	if (cf_json_type(root) != CF_JSON_OBJECT)
		return cf_fail(err, CF_INVALID_ARGUMENT, "not a JSON object");
	r = cf_json_need_u64(root, "schemaVersion", &version, err);
	if (r < 0)
		return r;
	if (version != 2)
		return cf_fail(err, CF_INVALID_ARGUMENT, "schemaVersion is not 2");
	*ret = cf_take(&root);
	return 0;
}

static bool says_index(const char *media_type)
{
	return cf_streq(media_type, OCI_MT_INDEX) || cf_streq(media_type, OCI_MT_DOCKER_LIST);
}

static bool says_manifest(const char *media_type)
{
	return cf_streq(media_type, OCI_MT_MANIFEST) ||
	       cf_streq(media_type, OCI_MT_DOCKER_MANIFEST);
}

/* A document may not be read as one thing by us and as another by who signed or stored it. */
static int check_type(const char *what, const char *media_type, enum oci_document kind,
                      struct cf_err *err)
{
	bool contradicts =
		kind == OCI_IS_INDEX ? says_manifest(media_type) : says_index(media_type);

	if (contradicts)
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s and shape of the document differ",
		               what);
	return 0;
}

int oci_document_kind(struct cf_view text, const char *content_type, enum oci_document *ret,
                      struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
	cf_cleanup(cf_freep) char *media_type = NULL;
	int r = parse_root(text, &root, err);

	if (r < 0)
		return r;
	bool layers = cf_json_get(root, "layers") != NULL;
	bool manifests = cf_json_get(root, "manifests") != NULL;

	if (layers == manifests)
		return cf_fail(err, CF_INVALID_ARGUMENT, "neither a manifest nor an index");
	enum oci_document kind = manifests ? OCI_IS_INDEX : OCI_IS_MANIFEST;

	r = opt_text(root, "mediaType", &media_type, err);
	if (r == 0)
		r = check_type("mediaType", media_type, kind, err);
	if (r == 0)
		r = check_type("Content-Type", content_type, kind, err);
	if (r < 0)
		return r;
	*ret = kind;
	return 0;
}

void oci_manifest_fini(struct oci_manifest *m)
{
	free(m->media_type);
	free(m->artifact_type);
	oci_descriptor_fini(&m->config);
	oci_descriptor_fini(&m->subject);
	free_descriptors(m->layers, m->layer_count);
	oci_pairs_fini(&m->annotations);
	*m = (struct oci_manifest){ 0 };
}

static int parse_manifest(const struct cf_json *root, struct oci_manifest *m, struct cf_err *err)
{
	const struct cf_json *config;
	const struct cf_json *subject = cf_json_get(root, "subject");
	int r = opt_text(root, "mediaType", &m->media_type, err);

	if (r == 0)
		r = check_type("mediaType", m->media_type, OCI_IS_MANIFEST, err);
	if (r == 0)
		r = opt_text(root, "artifactType", &m->artifact_type, err);
	if (r == 0)
		r = cf_json_need(root, "config", CF_JSON_OBJECT, &config, err);
	if (r == 0)
		r = parse_descriptor(config, &m->config, err);
	if (r == 0)
		r = parse_descriptors(root, "layers", OCI_LAYERS_MAX, &m->layers, &m->layer_count,
		                      err);
	if (r == 0)
		r = parse_pairs(root, "annotations", &m->annotations, err);
	if (r == 0 && cf_json_type(subject) != CF_JSON_NULL) {
		m->has_subject = true;
		r = parse_descriptor(subject, &m->subject, err);
	}
	if (r == 0 && cf_json_get(root, "manifests"))
		r = cf_fail(err, CF_INVALID_ARGUMENT, "manifest and index at once");
	return r;
}

int oci_manifest_parse(struct cf_view text, struct oci_manifest *ret, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
	struct oci_manifest m = { 0 };
	int r = parse_root(text, &root, err);

	if (r == 0)
		r = parse_manifest(root, &m, err);
	if (r < 0) {
		oci_manifest_fini(&m);
		return cf_wrap(err, r, "manifest");
	}
	*ret = m;
	return 0;
}

void oci_manifest_write(const struct oci_manifest *m, struct cf_buf *out)
{
	struct cf_jw w = { .out = out };

	cf_jw_obj(&w);
	cf_jw_kuint(&w, "schemaVersion", 2);
	if (m->media_type)
		cf_jw_kstr(&w, "mediaType", m->media_type);
	if (m->artifact_type)
		cf_jw_kstr(&w, "artifactType", m->artifact_type);
	cf_jw_key(&w, "config");
	write_descriptor(&w, &m->config);
	cf_jw_key(&w, "layers");
	cf_jw_arr(&w);
	for (size_t i = 0; i < m->layer_count; i++)
		write_descriptor(&w, &m->layers[i]);
	cf_jw_end_arr(&w);
	if (m->has_subject) {
		cf_jw_key(&w, "subject");
		write_descriptor(&w, &m->subject);
	}
	write_pairs(&w, "annotations", &m->annotations);
	cf_jw_end_obj(&w);
}

void oci_index_fini(struct oci_index *x)
{
	free(x->media_type);
	free_descriptors(x->manifests, x->count);
	oci_pairs_fini(&x->annotations);
	*x = (struct oci_index){ 0 };
}

int oci_index_parse(struct cf_view text, struct oci_index *ret, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
	struct oci_index x = { 0 };
	int r = parse_root(text, &root, err);

	if (r == 0)
		r = opt_text(root, "mediaType", &x.media_type, err);
	if (r == 0)
		r = check_type("mediaType", x.media_type, OCI_IS_INDEX, err);
	if (r == 0)
		r = parse_descriptors(root, "manifests", OCI_INDEX_MAX, &x.manifests, &x.count,
		                      err);
	if (r == 0)
		r = parse_pairs(root, "annotations", &x.annotations, err);
	if (r == 0 && cf_json_get(root, "layers"))
		r = cf_fail(err, CF_INVALID_ARGUMENT, "manifest and index at once");
	if (r < 0) {
		oci_index_fini(&x);
		return cf_wrap(err, r, "index");
	}
	*ret = x;
	return 0;
}

void oci_index_write(const struct oci_index *x, struct cf_buf *out)
{
	struct cf_jw w = { .out = out };

	cf_jw_obj(&w);
	cf_jw_kuint(&w, "schemaVersion", 2);
	if (x->media_type)
		cf_jw_kstr(&w, "mediaType", x->media_type);
	cf_jw_key(&w, "manifests");
	cf_jw_arr(&w);
	for (size_t i = 0; i < x->count; i++)
		write_descriptor(&w, &x->manifests[i]);
	cf_jw_end_arr(&w);
	write_pairs(&w, "annotations", &x->annotations);
	cf_jw_end_obj(&w);
}

/* ---- platforms ---- */

struct oci_platform oci_platform_own(void)
{
#if defined(__x86_64__)
	return (struct oci_platform){ "linux", "amd64", "" };
#elif defined(__aarch64__)
	return (struct oci_platform){ "linux", "arm64", "v8" };
#elif defined(__s390x__)
	return (struct oci_platform){ "linux", "s390x", "" };
#else
#error "no name for this architecture in OCI platforms"
#endif
}

/* What an architecture means when nobody says more. */
static const char *default_variant(const char *arch)
{
	if (strcmp(arch, "arm64") == 0)
		return "v8";
	return strcmp(arch, "arm") == 0 ? "v7" : "";
}

int oci_platform_parse(const char *text, char **scratch, struct oci_platform *ret,
                       struct cf_err *err)
{
	char *os = cf_strdup(text);
	char *arch = strchr(os, '/');
	char *variant = arch ? strchr(arch + 1, '/') : NULL;

	if (!arch || arch == os || !arch[1] || (variant && (variant == arch + 1 || !variant[1]))) {
		free(os);
		return cf_fail(err, CF_INVALID_ARGUMENT, "platform is not OS/ARCH[/VARIANT]: %s",
		               text);
	}
	*arch++ = '\0';
	if (variant)
		*variant++ = '\0';
	*scratch = os;
	*ret = (struct oci_platform){ os, arch, variant ? variant : default_variant(arch) };
	return 0;
}

/* "v8" → 8; no variant → 0; anything else → -1. */
static int variant_level(const char *variant)
{
	uint64_t n;

	if (!variant || !*variant)
		return 0;
	if (variant[0] != 'v' || cf_parse_u64(cf_view_str(variant + 1), 99, &n, NULL) < 0)
		return -1;
	return (int)n;
}

static bool fits(const struct oci_descriptor *d, const struct oci_platform *want)
{
	if (!cf_streq(d->os, want->os) || !cf_streq(d->architecture, want->architecture))
		return false;
	int level = variant_level(d->variant);

	return level >= 0 && (level <= variant_level(want->variant) || cf_streq(d->variant, "v1"));
}

int oci_index_choose(const struct oci_index *x, const struct oci_platform *want,
                     const struct oci_descriptor **ret, struct cf_err *err)
{
	const struct oci_descriptor *best = NULL;

	for (size_t i = 0; i < x->count; i++) {
		const struct oci_descriptor *d = &x->manifests[i];

		if (!fits(d, want))
			continue;
		if (!best || variant_level(d->variant) > variant_level(best->variant))
			best = d;
	}
	/* A layout written by a tool without platforms has one entry, and that entry is meant. */
	if (!best && x->count == 1 && !x->manifests[0].os && !x->manifests[0].architecture)
		best = &x->manifests[0];
	if (!best)
		return cf_fail(err, CF_NOT_FOUND, "image has no manifest for %s/%s", want->os,
		               want->architecture);
	*ret = best;
	return 0;
}

/* ---- layers ---- */

int oci_layer_type_parse(const char *media_type, struct oci_layer_type *ret, struct cf_err *err)
{
	static const struct {
		const char *name;
		enum oci_compression compression;
	} table[] = {
		{ OCI_MT_LAYER, OCI_PLAIN },
		{ OCI_MT_LAYER "+gzip", OCI_GZIP },
		{ OCI_MT_LAYER "+zstd", OCI_ZSTD },
		{ "application/vnd.oci.image.layer.nondistributable.v1.tar", OCI_PLAIN },
		{ "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", OCI_GZIP },
		{ "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", OCI_ZSTD },
		{ "application/vnd.docker.image.rootfs.diff.tar", OCI_PLAIN },
		{ "application/vnd.docker.image.rootfs.diff.tar.gzip", OCI_GZIP },
		{ "application/vnd.docker.image.rootfs.diff.tar.zstd", OCI_ZSTD },
		{ "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", OCI_GZIP },
	};
	static const char suffix[] = "+encrypted";
	size_t n = strlen(media_type);
	bool encrypted = cf_ends_with(media_type, suffix);

	if (encrypted)
		n -= strlen(suffix);
	for (size_t i = 0; i < CF_ARRAY_LEN(table); i++) {
		if (strlen(table[i].name) != n || memcmp(table[i].name, media_type, n) != 0)
			continue;
		*ret = (struct oci_layer_type){ table[i].compression, encrypted };
		return 0;
	}
	return cf_fail(err, CF_UNIMPLEMENTED, "layer media type %s is not known", media_type);
}
