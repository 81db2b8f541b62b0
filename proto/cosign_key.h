/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Private keys as cosign writes them: PEM around JSON, a PKCS#8 key in a secretbox whose key scrypt
 * makes of a password.
 */
#include "base/crypto.h"

#define COSIGN_KEY_MAX (64u << 10) /* bytes of the file */

/* Whether a key file is of this form. */
bool cosign_key_is(struct cf_view text);
/*
 * Opens one. -CF_INVALID_ARGUMENT (not of this form, or of another cipher), -CF_PERMISSION_DENIED
 * (another password, or the file was changed), -CF_RESOURCE_EXHAUSTED (it asks for too much memory).
 */
cf_must_use int cosign_key_open(struct cf_view text, struct cf_view password, struct cf_pkey **ret,
                                struct cf_err *err);
