/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * CoCo's annotation packets: private options wrapped by a key-encryption key that a key broker
 * holds. Inside proto/ocicrypt only. Source: guest-components, confidential-data-hub image module.
 */
#include "proto/ocicrypt.h"

/* Appends the plaintext to @plain. -CF_NOT_FOUND: no KEK opens it; or as the KEK source failed. */
cf_must_use int ocicrypt_packet_open(struct cf_view packet, const struct ocicrypt_keys *keys,
                                     struct cf_buf *plain, struct cf_err *err);
/* The four members of version 1, which every guest reads; A256GCM. */
cf_must_use int ocicrypt_packet_make(const char *kid, struct cf_view kek, struct cf_view plain,
                                     struct cf_buf *ret, struct cf_err *err);
/* The normalised kid of a packet; NULL when it is none. The caller frees. */
char *ocicrypt_packet_kid(struct cf_view packet);
