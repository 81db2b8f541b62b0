/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Glob patterns, rewritten as regular expressions and matched by them. */
#include "policy/value.h"

/*
 * The pattern as a regular expression over the whole text. @delimiters: runes that "*" and "?" do
 * not cross. false: the pattern is malformed.
 */
bool glob_to_regex(struct pv_sb *out, struct cf_view pattern, struct cf_view delimiters);
