/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Go's fmt.Sprintf over values. */
#include "policy/value.h"

/* @args: an array value. */
void sprintf_write(struct pv_sb *out, struct cf_view fmt, const struct pv *args);
