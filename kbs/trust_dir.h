/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A folder of trust anchors for offline verification. Read are, by content:
 *
 *   *.pem *.crt *.cer *.der   certificates: self-signed ones are roots, others intermediates
 *                             (without any self-signed one, all are anchors)
 *   ak*.pem ak*.der           public keys: attestation keys trusted by name
 *   *.json                    {"reference": {id: values}} (coffer.measurement/1): reference values
 *
 * Everything else is ignored.
 */
#include "base/crypto.h"
#include "base/json.h"
#include "kbs/tpm_binding.h"

#define TRUST_FILES_MAX     256u
#define TRUST_FILE_SIZE_MAX (256u << 10)

struct trust_dir {
	struct tpm_roots
		*tpm_roots; /* the same certificates; kind operator_vtpm, as the caller vouches */
	size_t root_count;
	struct cf_cert *roots[TPM_ROOTS_MAX];
	size_t ak_count;
	struct cf_buf aks[TPM_ROOTS_MAX]; /* SubjectPublicKeyInfo, DER */
	struct cf_json *measurement;      /* document of the reference values, or NULL */
};

/* Return: 0, -CF_NOT_FOUND (no such folder), -CF_INVALID_ARGUMENT, -CF_RESOURCE_EXHAUSTED. */
cf_must_use int trust_dir_read(const char *path, struct trust_dir *ret, struct cf_err *err);
void trust_dir_fini(struct trust_dir *t);
