/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Rule index: of a rule with many bodies that all ask whether one and the same thing equals a constant,
 * only those are run whose constant it is.
 */
#include "policy/program.h"

#define INDEX_CLAUSES_MIN 8u /* fewer bodies are run one after another */

struct rule_index {
	const struct op *probe; /* what the bodies ask: a constant path of input, or an argument */
	struct {
		const struct pv *value;
		uint32_t clause;
	} * keys; /* sorted by value, then by clause */
	uint32_t key_count;
	uint32_t *others; /* clauses that ask something else; ascending */
	uint32_t other_count;
};

/* Which clauses of @g can succeed when the probe gives @v (NULL: nothing), in their order. */
struct index_cursor {
	const struct rule_index *index;
	uint32_t key, key_end, other;
};

void index_build(struct cf_arena *a, struct group *g);
struct index_cursor index_find(const struct rule_index *index, const struct pv *v);
/* The next clause, or UINT32_MAX. */
uint32_t index_next(struct index_cursor *c);
