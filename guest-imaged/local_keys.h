/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Keys from a directory, for pulls without a key broker: private keys (PEM, DER, JWK), raw 32-byte
 * key-encryption keys, and JSON maps {"repository/type/tag": base64} as CoCo's offline tools keep
 * them. The directory is the caller's own; file names mean nothing.
 */
#include "proto/ocicrypt.h"

#define LOCAL_KEYS_MAX      256u
#define LOCAL_KEYS_FILE_MAX (1u << 20)

struct local_keys;

/*
 * Files that are no keys are left out and named in @ret_ignored (may be NULL).
 * Return: 0, -CF_NOT_FOUND (no directory), -CF_RESOURCE_EXHAUSTED (too many).
 */
cf_must_use int local_keys_load(const char *dir, struct local_keys **ret,
                                struct cf_strv *ret_ignored, struct cf_err *err);
struct local_keys *local_keys_free(struct local_keys *k);
CF_DEFINE_CLEANUP(struct local_keys *, local_keys_free);

/* As ocicrypt_unwrap() takes them; borrowed from @k. Any thread. */
struct ocicrypt_keys local_keys_view(struct local_keys *k);
/* A resource of the JSON maps by its URI, appended to @ret. -CF_NOT_FOUND. */
cf_must_use int local_keys_resource(const struct local_keys *k, const char *uri, struct cf_buf *ret,
                                    struct cf_err *err);
