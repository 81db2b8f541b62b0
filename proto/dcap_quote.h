/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Intel DCAP quotes: versions 3 (SGX), 4 and 5 (TDX), with ECDSA P-256 attestation keys. Hostile
 * input; parsing proves nothing. Source: Intel TDX DCAP Quoting Library API, appendix A.3 and A.4.
 */
#include "base/bytes.h"

#define DCAP_QUOTE_MAX  (64u << 10)
#define DCAP_SGX_BODY   384u
#define DCAP_TDX10_BODY 584u
#define DCAP_TDX15_BODY 648u

struct dcap_quote { /* views borrow from the raw bytes */
	uint16_t version, key_type;
	uint32_t tee_type;  /* 0 SGX, 0x81 TDX */
	uint16_t body_type; /* version 5: 1 SGX, 2 TDX 1.0, 3 TDX 1.5; else as the body is */
	struct cf_view header, body, signed_part;
	struct cf_view signature, attestation_key; /* 64 bytes each */
	struct cf_view qe_report, qe_signature, qe_auth;
	struct cf_view pck_chain; /* PEM: leaf first */
};

/* Return: 0, -CF_INVALID_ARGUMENT, -CF_UNIMPLEMENTED (a version, key or certificate type we lack). */
cf_must_use int dcap_quote_parse(struct cf_view raw, struct dcap_quote *ret, struct cf_err *err);
bool dcap_quote_is_tdx(const struct dcap_quote *q);
/* Report data of the body, 64 bytes. */
struct cf_view dcap_quote_report_data(const struct dcap_quote *q);
/* One field of the body; empty when it is out of it. */
struct cf_view dcap_quote_field(const struct dcap_quote *q, size_t at, size_t size);
