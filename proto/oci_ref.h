/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Image references ("quay.io/team/app:1.2@sha256:…") and digests. Both come from strangers: pods,
 * manifests, signatures. Source: distribution/reference, OCI image-spec descriptor.md (Digests).
 */
#include "base/bytes.h"

#define OCI_REF_NAME_MAX 255 /* bytes of host/repository */
#define OCI_REF_TAG_MAX  128
#define OCI_REF_TEXT_MAX 1024

/* ---- digests ---- */

enum oci_digest_alg {
	OCI_SHA256,
	OCI_SHA384,
	OCI_SHA512,
};

struct oci_digest {
	enum oci_digest_alg alg;
	char text[8 + 128]; /* "sha256:<lower-case hex>", NUL-terminated; "" when unset */
};

/* "sha256", "sha384" or "sha512", a colon, exactly as many lower-case hex digits. -CF_INVALID_ARGUMENT. */
cf_must_use int oci_digest_parse(struct cf_view text, struct oci_digest *ret, struct cf_err *err);
bool oci_digest_eq(const struct oci_digest *a, const struct oci_digest *b);
/* The hex digits alone. */
const char *oci_digest_hex(const struct oci_digest *d);
/* "sha256" … */
const char *oci_digest_alg_name(enum oci_digest_alg alg);
static inline bool oci_digest_is_set(const struct oci_digest *d)
{
	return d->text[0] != '\0';
}

/* ---- references ---- */

struct oci_ref {
	char host[OCI_REF_NAME_MAX + 1]; /* registry, with port; docker.io when none was written */
	char repo[OCI_REF_NAME_MAX + 1]; /* library/ added where docker.io expects it */
	char tag[OCI_REF_TAG_MAX +
	         1];              /* "" when only a digest was written; "latest" when neither was */
	struct oci_digest digest; /* unset when none was written */
	bool is_short;            /* no registry was written */
	bool is_bare;             /* neither tag nor digest was written */
};

/*
 * oci_ref_parse() - a reference in its expanded form
 * @text: without a transport prefix
 *
 * index.docker.io becomes docker.io; the first component is a registry when it holds '.' or ':' or is
 * "localhost". Return: 0, -CF_INVALID_ARGUMENT (says which part).
 */
cf_must_use int oci_ref_parse(struct cf_view text, struct oci_ref *ret, struct cf_err *err);
/* "host/repo"; the caller frees. */
char *oci_ref_name(const struct oci_ref *ref);
/* "host/repo[:tag][@digest]"; the caller frees. */
char *oci_ref_text(const struct oci_ref *ref);
/* What stands behind manifests/ in a request: the digest, or else the tag. Borrowed from @ref. */
const char *oci_ref_target(const struct oci_ref *ref);
/* Where the registry of @ref->host answers: docker.io is served by another name. Borrowed. */
const char *oci_ref_api_host(const struct oci_ref *ref);
