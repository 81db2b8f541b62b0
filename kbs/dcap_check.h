/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The checks of a DCAP quote that TDX, SGX and Azure's TDX guests share: Intel's pinned root → PCK →
 * quoting enclave → attestation key → quote.
 */
#include "kbs/verifier.h"
#include "proto/dcap_quote.h"

/* False when a check refused. */
bool dcap_check_quote(const struct verify_input *in, const struct dcap_quote *q, struct verdict *v);
/* "quote": {"header":{…},"body":{…}} into the open object. */
void dcap_write_quote(const struct dcap_quote *q, struct cf_jw *w);
