/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The roots of SEV-SNP evidence, PEM. */

struct amd_product {
	const char *name; /* "Milan" */
	const char *ark;  /* self-signed root */
	const char *ask;  /* signs VCEKs */
	const char *asvk; /* signs VLEKs */
};
extern const struct amd_product amd_products[]; /* ended by a row without name */
