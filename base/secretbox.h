/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A secret under a password, as NaCl and cosign keep one: scrypt makes the key, secretbox (XSalsa20
 * and Poly1305) opens the box. Parameters and box come from a file; the password is the user's.
 */
#include "base/secret.h"

#define CF_SCRYPT_MEMORY_MAX (256ull << 20) /* bytes: N × r × 128 */
#define CF_SECRETBOX_KEY     32u
#define CF_SECRETBOX_NONCE   24u
#define CF_SECRETBOX_TAG     16u

/* RFC 7914. -CF_RESOURCE_EXHAUSTED over the memory limit, -CF_INVALID_ARGUMENT for no such N, r, p. */
cf_must_use int cf_scrypt(struct cf_view password, struct cf_view salt, uint64_t n, uint32_t r,
                          uint32_t p, struct cf_secret **ret, struct cf_err *err);
/* @box: the tag and what it seals. -CF_DATA_LOSS: another key, or changed. */
cf_must_use int cf_secretbox_open(const struct cf_secret *key, struct cf_view nonce,
                                  struct cf_view box, struct cf_secret **ret, struct cf_err *err);
