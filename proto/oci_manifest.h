/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Manifests, indexes and image configurations, OCI and Docker v2 schema 2: JSON from a registry,
 * hostile until its digest matched, and even then only as good as who wrote it. Parsing gives plain
 * structs; writing gives bytes whose digest the caller takes.
 * Source: OCI image-spec manifest.md, image-index.md, config.md, descriptor.md.
 */
#include "base/bytes.h"
#include "base/str.h"
#include "proto/oci_ref.h"

#define OCI_MANIFEST_SIZE_MAX (4u << 20) /* manifest or index, bytes */
#define OCI_CONFIG_SIZE_MAX   (4u << 20) /* bytes; what the JSON door takes */
#define OCI_LAYERS_MAX        512
#define OCI_INDEX_MAX         1024
#define OCI_LAYER_SIZE_MAX    (64ull << 30)
#define OCI_ANNOTATIONS_MAX   256 /* pairs on one object */

#define OCI_MT_MANIFEST        "application/vnd.oci.image.manifest.v1+json"
#define OCI_MT_INDEX           "application/vnd.oci.image.index.v1+json"
#define OCI_MT_CONFIG          "application/vnd.oci.image.config.v1+json"
#define OCI_MT_EMPTY           "application/vnd.oci.empty.v1+json"
#define OCI_MT_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define OCI_MT_DOCKER_LIST     "application/vnd.docker.distribution.manifest.list.v2+json"
#define OCI_MT_DOCKER_CONFIG   "application/vnd.docker.container.image.v1+json"
#define OCI_MT_LAYER           "application/vnd.oci.image.layer.v1.tar"

/* ---- key = value lists: annotations, labels ---- */

struct oci_pair {
	char *key;
	char *value;
};
struct oci_pairs {
	struct oci_pair *items;
	size_t count;
	size_t cap;
};
void oci_pairs_set(struct oci_pairs *p, const char *key, const char *value); /* adds or replaces */
const char *oci_pairs_get(const struct oci_pairs *p, const char *key);       /* NULL when absent */
void oci_pairs_remove(struct oci_pairs *p, const char *key);
void oci_pairs_fini(struct oci_pairs *p);

/* ---- descriptors ---- */

struct oci_descriptor {
	char *media_type; /* never NULL once parsed */
	struct oci_digest digest;
	uint64_t size;
	struct oci_pairs annotations;
	char *artifact_type;               /* or NULL */
	char *os, *architecture, *variant; /* platform of an index entry, each or NULL */
};
void oci_descriptor_fini(struct oci_descriptor *d);
void oci_descriptor_copy(struct oci_descriptor *dst, const struct oci_descriptor *src);

/* ---- manifests ---- */

struct oci_manifest {
	char *media_type; /* as written, or NULL */
	char *artifact_type;
	struct oci_descriptor config;
	struct oci_descriptor *layers;
	size_t layer_count;
	bool has_subject;
	struct oci_descriptor subject;
	struct oci_pairs annotations;
};

struct oci_index {
	char *media_type;
	struct oci_descriptor *manifests;
	size_t count;
	struct oci_pairs annotations;
};

enum oci_document {
	OCI_IS_MANIFEST,
	OCI_IS_INDEX,
};
/*
 * What @text is, by its shape ("layers" or "manifests"); a mediaType or @content_type (may be NULL)
 * that says otherwise is refused, so is schema 1. -CF_INVALID_ARGUMENT, -CF_RESOURCE_EXHAUSTED.
 */
cf_must_use int oci_document_kind(struct cf_view text, const char *content_type,
                                  enum oci_document *ret, struct cf_err *err);
cf_must_use int oci_manifest_parse(struct cf_view text, struct oci_manifest *ret,
                                   struct cf_err *err);
void oci_manifest_fini(struct oci_manifest *m);
void oci_manifest_write(const struct oci_manifest *m, struct cf_buf *out);
cf_must_use int oci_index_parse(struct cf_view text, struct oci_index *ret, struct cf_err *err);
void oci_index_fini(struct oci_index *x);
void oci_index_write(const struct oci_index *x, struct cf_buf *out);

struct oci_platform {
	const char *os;           /* "linux" */
	const char *architecture; /* "amd64" */
	const char *variant;      /* "" or "v8" … : the newest this machine runs */
};
/* The platform this program was built for. */
struct oci_platform oci_platform_own(void);
/* "os/arch[/variant]"; the texts are borrowed from @scratch, which the caller frees. */
cf_must_use int oci_platform_parse(const char *text, char **scratch, struct oci_platform *ret,
                                   struct cf_err *err);
/*
 * The entry for @want: os and architecture exactly, then the best variant not above ours; entries of
 * architecture "unknown" (attestations) never. Borrowed from @x. -CF_NOT_FOUND.
 */
cf_must_use int oci_index_choose(const struct oci_index *x, const struct oci_platform *want,
                                 const struct oci_descriptor **ret, struct cf_err *err);

/* ---- layers ---- */

enum oci_compression {
	OCI_PLAIN,
	OCI_GZIP,
	OCI_ZSTD,
};
struct oci_layer_type {
	enum oci_compression compression;
	bool encrypted;
};
/* OCI, nondistributable and Docker layer types, each also with "+encrypted". -CF_UNIMPLEMENTED names it. */
cf_must_use int oci_layer_type_parse(const char *media_type, struct oci_layer_type *ret,
                                     struct cf_err *err);

/* ---- configuration ---- */

struct oci_config {
	char *os, *architecture, *variant; /* os and architecture never NULL once parsed */
	char *os_version, *author, *created;
	struct cf_strv os_features;
	struct oci_digest *diff_ids;
	size_t diff_id_count;
	char *user, *working_dir, *stop_signal; /* or NULL */
	struct cf_strv env, entrypoint, cmd, volumes, exposed_ports;
	struct oci_pairs labels;
};
cf_must_use int oci_config_parse(struct cf_view text, struct oci_config *ret, struct cf_err *err);
void oci_config_fini(struct oci_config *c);
/* The same document with one label more; every other byte of meaning is kept. */
cf_must_use int oci_config_add_label(struct cf_view text, const char *key, const char *value,
                                     struct cf_buf *ret, struct cf_err *err);
