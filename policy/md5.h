/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* MD5 (RFC 1321): for comparing with old lists, never for trust. */
#include "base/bytes.h"

#define MD5_SIZE 16u

/* The digest of @a followed by @b. */
void md5(struct cf_view a, struct cf_view b, uint8_t out[MD5_SIZE]);
