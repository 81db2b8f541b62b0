/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Copies an image from one place to another, layers encrypted on the way when there are recipients.
 * A multi-platform image is copied whole. What is read is checked against its digests; what was
 * written is read again and checked.
 */
#include "proto/oci_source.h"
#include "proto/ocicrypt.h"

/* Label of the configuration that gives an encrypted image an ID of its own; random each time. */
#define IMAGE_ENCRYPTION_LABEL "io.coffer.image.encryption"

struct image_copy {
	struct oci_source *from, *to;
	const char *tag; /* at the target: "" without a name (layouts) */
	const struct ocicrypt_recipient *recipients;
	size_t recipient_count; /* 0: copied as it is */
	const struct oci_pairs
		*top; /* annotations for each topmost layer when encrypting, or NULL */
	/* out */
	struct oci_digest digest; /* of the manifest or index that was written last */
	size_t layers, encrypted; /* over all platforms */
};

/*
 * Return: 0; -CF_FAILED_PRECONDITION (a layer is encrypted already); -CF_DATA_LOSS; or as the places
 * failed.
 */
cf_must_use int image_copy(struct image_copy *c, struct cf_err *err);
