/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Places that images come from and go to: a repository of a registry (OCI distribution-spec) and an
 * image layout on disk (OCI image-spec image-layout.md). Both hand out documents and blobs that are
 * checked against their digests here; until a call returned 0, what a sink got is a stranger's.
 *
 * Calls block; a source belongs to one thread at a time. oci_source_dup() makes one for another
 * thread: same place and login, connections of its own.
 */
#include "base/bytes.h"
#include "proto/oci_manifest.h"
#include "proto/oci_ref.h"

#define OCI_SOURCE_ATTEMPTS    5
#define OCI_SOURCE_BACKOFF_MS  500 /* before the second attempt; doubles; plus up to a half */
#define OCI_RETRY_AFTER_MAX_MS 60000

struct oci_source_config {            /* borrowed for the call */
	struct cf_view auth_json;     /* file of credentials, or empty */
	const struct cf_view *ca_pem; /* extra trust anchors */
	size_t ca_count;
	/*
	 * For guests, whose clock is the host's word: certificates' times are not looked at, when there
	 * is a @ca_pem, which is then trusted alone. Digests and signatures say what an image is.
	 */
	bool clock_untrusted;
	bool tls_verify_off; /* asked for in words: HTTPS without a check, then plain HTTP */
	bool allow_http;     /* plain HTTP when HTTPS is not spoken there; loopback always has it */
	const char *https_proxy, *http_proxy, *no_proxy;
	int cancel_fd;       /* readable: calls end with -CF_CANCELLED; 0 stands for none */
	unsigned attempts;   /* 0: OCI_SOURCE_ATTEMPTS */
	unsigned backoff_ms; /* 0: OCI_SOURCE_BACKOFF_MS */
};

struct oci_source;

/*
 * oci_source_open() - name a place; nothing is asked yet
 * @place: "docker://REF" or "REF" (a registry), "oci:DIR[:TAG]" (a layout; without a tag its only
 *         image)
 *
 * Return: 0, -CF_INVALID_ARGUMENT, -CF_NOT_FOUND (no layout there).
 */
cf_must_use int oci_source_open(const char *place, const struct oci_source_config *config,
                                struct oci_source **ret, struct cf_err *err);
/* The same for writing: a layout is made when there is none. */
cf_must_use int oci_source_create(const char *place, const struct oci_source_config *config,
                                  struct oci_source **ret, struct cf_err *err);
cf_must_use int oci_source_dup(const struct oci_source *src, struct oci_source **ret,
                               struct cf_err *err);
struct oci_source *oci_source_free(struct oci_source *src);
CF_DEFINE_CLEANUP(struct oci_source *, oci_source_free);

/* From now on calls end when @fd is readable or hung up, in place of what the configuration said. */
void oci_source_set_cancel(struct oci_source *src, int fd);

/* The reference as it was written, expanded; NULL for a layout. Borrowed. */
const struct oci_ref *oci_source_ref(const struct oci_source *src);
/* Directory and tag ("" for none) of a layout; NULL for a registry. Borrowed. */
const char *oci_source_layout_dir(const struct oci_source *src);
const char *oci_source_layout_tag(const struct oci_source *src);
/* True when plain HTTP or unchecked TLS was used so far: people want to know. */
bool oci_source_is_weak(const struct oci_source *src);

struct oci_document_bytes {
	struct cf_buf bytes;
	char *media_type; /* Content-Type, or of the layout's descriptor; NULL when not said */
	struct oci_digest digest; /* sha256 of the bytes, or the digest that was asked for */
};
void oci_document_bytes_fini(struct oci_document_bytes *d);

/*
 * oci_source_document() - a manifest or an index
 * @target: a tag or a digest; NULL: what the place names
 *
 * Checked against the digest in @target when it is one, and against what the server says it is.
 * Return: 0, -CF_NOT_FOUND, -CF_DATA_LOSS (digest), -CF_UNAUTHENTICATED, -CF_PERMISSION_DENIED,
 * -CF_UNAVAILABLE, -CF_CANCELLED, -CF_RESOURCE_EXHAUSTED.
 */
cf_must_use int oci_source_document(struct oci_source *src, const char *target,
                                    struct oci_document_bytes *ret, struct cf_err *err);

/*
 * oci_source_referrers() - what refers to @digest (an index), by the API or else by the fallback tag
 * "<alg>-<hex>". Nobody vouches for the list: check the subject of each entry.
 * Return: as oci_source_document().
 */
cf_must_use int oci_source_referrers(struct oci_source *src, const struct oci_digest *digest,
                                     struct oci_document_bytes *ret, struct cf_err *err);

typedef int oci_sink(void *arg, struct cf_view piece, struct cf_err *err);
/*
 * oci_source_blob() - stream a blob
 * @sink: gets exactly d->size bytes in order, each once, also when the connection had to be made
 *        anew; negative (with @err filled) ends the call
 *
 * Return: as oci_source_document(); -CF_DATA_LOSS also when there are more or fewer bytes.
 */
cf_must_use int oci_source_blob(struct oci_source *src, const struct oci_descriptor *d,
                                oci_sink *sink, void *arg, struct cf_err *err);
/* A small blob as a whole; over @max is -CF_RESOURCE_EXHAUSTED before anything is asked. */
cf_must_use int oci_source_blob_read(struct oci_source *src, const struct oci_descriptor *d,
                                     size_t max, struct cf_buf *ret, struct cf_err *err);

/* ---- writing ---- */

/* True when the place has this blob already. */
cf_must_use int oci_source_has_blob(struct oci_source *src, const struct oci_descriptor *d,
                                    bool *ret, struct cf_err *err);
/* Stores the content of @fd (from its start, @d->size bytes with @d->digest). */
cf_must_use int oci_source_put_blob(struct oci_source *src, const struct oci_descriptor *d, int fd,
                                    struct cf_err *err);
cf_must_use int oci_source_put_bytes(struct oci_source *src, struct cf_view bytes,
                                     struct oci_digest *ret_digest, struct cf_err *err);
/*
 * A manifest or an index. @tag NULL: to be found by its digest alone; a tag otherwise, "" in a layout
 * being an image without a name. A layout's index.json is replaced whole.
 */
cf_must_use int oci_source_put_document(struct oci_source *src, const char *media_type,
                                        struct cf_view bytes, const char *tag,
                                        struct oci_digest *ret_digest, struct cf_err *err);

/* ---- for all who hash blobs ---- */

struct cf_hasher;
struct cf_hasher *oci_hasher_new(enum oci_digest_alg alg);
void oci_hasher_final(struct cf_hasher *h, enum oci_digest_alg alg, struct oci_digest *ret);
void oci_digest_of(struct cf_view bytes, struct oci_digest *ret); /* sha256 */
