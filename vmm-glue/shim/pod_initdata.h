/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A pod's initdata on the host: taken from its annotation or from a configured file, written onto
 * the disk that the guest looks for; its digest goes where the TEE measures host data. The host can
 * change all of it: the guest compares the digest, and the owner's key service judges it.
 */
#include "proto/initdata.h"
#include "vmm-glue/shim/bundle.h"
#include "vmm-glue/shim/config.h"

struct pod_initdata {
	char *path;                       /* the disk image; NULL: the pod has no initdata */
	uint8_t digest[CF_HASH_SIZE_MAX]; /* by the algorithm that the initdata names */
	size_t digest_size;               /* 0 without initdata */
};

/*
 * Writes DIR/initdata.img. Return: 0, -CF_INVALID_ARGUMENT (malformed), -CF_NOT_FOUND (the
 * configured file), -CF_RESOURCE_EXHAUSTED.
 */
cf_must_use int pod_initdata_prepare(const struct bundle *b, const struct shim_config *config,
                                     const char *dir, struct pod_initdata *ret, struct cf_err *err);
void pod_initdata_fini(struct pod_initdata *d);
