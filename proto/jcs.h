/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * JSON Canonicalization Scheme (RFC 8785): the one text of a value that both ends hash. Members are
 * sorted by the UTF-16 form of their names, strings carry the fewest escapes. Numbers with a fraction
 * or beyond 2^53 are refused: nothing that we hash has any, and their text would need care.
 */
#include "base/json.h"

/* Appends to @out. Return: 0, -CF_INVALID_ARGUMENT (a number as above), -CF_RESOURCE_EXHAUSTED. */
cf_must_use int jcs_print(const struct cf_json *v, struct cf_buf *out, struct cf_err *err);
/* One string, with its quotes. */
void jcs_print_str(struct cf_view text, struct cf_buf *out);
