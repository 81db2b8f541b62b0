/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Signs an image as cosign does: a simple-signing payload beside it, under the tag <alg>-<hex>.sig. */
#include "proto/oci_source.h"

/*
 * @identity: the docker-reference that goes into the payload; NULL: host/repository of @src, which a
 *            layout does not have
 * @key_path: PEM, private
 * Signatures that are there already stay. -CF_INVALID_ARGUMENT, or as the place failed.
 */
cf_must_use int image_sign(struct oci_source *src, const struct oci_digest *digest,
                           const char *identity, const char *key_path, struct cf_err *err);
