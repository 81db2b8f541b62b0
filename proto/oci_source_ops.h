/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The two kinds of oci_source: what each file implements. Inside proto/ only. */
#include "proto/oci_source.h"

struct oci_source_ops {
	int (*dup)(const struct oci_source *src, struct oci_source **ret, struct cf_err *err);
	void (*free)(struct oci_source *src);
	void (*set_cancel)(struct oci_source *src, int fd); /* NULL: nothing waits for long */
	/* Unchecked bytes, at most OCI_MANIFEST_SIZE_MAX. */
	int (*document)(struct oci_source *src, const char *target, struct oci_document_bytes *ret,
	                struct cf_err *err);
	/* The referrers API; NULL or -CF_NOT_FOUND: it is not there. */
	int (*referrers)(struct oci_source *src, const struct oci_digest *digest,
	                 struct oci_document_bytes *ret, struct cf_err *err);
	/* Unchecked bytes in order to @sink. */
	int (*blob)(struct oci_source *src, const struct oci_descriptor *d, oci_sink *sink,
	            void *arg, struct cf_err *err);
	int (*has_blob)(struct oci_source *src, const struct oci_descriptor *d, bool *ret,
	                struct cf_err *err);
	int (*put_blob)(struct oci_source *src, const struct oci_descriptor *d, int fd,
	                struct cf_err *err);
	int (*put_document)(struct oci_source *src, const char *media_type, struct cf_view bytes,
	                    const struct oci_digest *digest, const char *tag, struct cf_err *err);
};

struct oci_source { /* first member of each kind */
	const struct oci_source_ops *ops;
	struct oci_ref ref;
	bool is_registry;
	bool is_weak;
	char *dir; /* layout */
	char *tag;
};

cf_must_use int registry_open(const char *text, const struct oci_source_config *config,
                              struct oci_source **ret, struct cf_err *err);
cf_must_use int oci_layout_open(const char *text, bool create, struct oci_source **ret,
                                struct cf_err *err);
