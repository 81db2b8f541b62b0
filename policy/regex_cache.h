/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Patterns compiled during evaluations, kept by the evaluator: policies build the same few again and
 * again. */
#include "base/regex.h"
#include "policy/builtin.h"

#define REGEX_CACHE_MAX 64u

struct regex_cache {
	struct {
		char *pattern;
		size_t size;
		struct cf_regex *re;
		uint64_t used;
	} items[REGEX_CACHE_MAX];
	uint64_t clock;
	struct cf_regex_run run;
};

/* NULL: the error is set (not of the language), or the call aborts (over a limit). */
const struct cf_regex *regex_cached(struct bcall *c, struct cf_view pattern);
/* As cf_regex_match(), paid from the evaluation's steps; *ok false: it aborts. */
bool regex_cached_match(struct bcall *c, const struct cf_regex *re, struct cf_view text,
                        size_t from, struct cf_regex_span *spans, bool *ok);
