/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The release rule: may the bearer of these claims have this resource? One door, asked for each
 * release and for nothing else.
 *
 * Without a policy the built-in rule holds: every submodule of the token is affirming, and the
 * resource's path lists the initdata digest that the guest proved ("any" lists all of them, also
 * none). An uploaded policy takes the first half's place. It takes the second half's place too where
 * nothing is listed for the path; a list that somebody wrote holds beside any policy.
 */
#include "base/json.h"
#include "base/str.h"
#include "kbs/policies.h"

struct release_input {
	const struct cf_json *claims;       /* of a verified token */
	const char *path;                   /* repository/type/tag */
	const struct cf_strv *listed;       /* initdata digests of the path */
	bool is_missing;                    /* there is no such resource: nothing can be listed */
	const struct policy_entry *policy;  /* NULL: the built-in rule */
	const struct policy_answer *answer; /* of @policy to this question */
	const char *ref;                    /* names the record of a refusal; may be NULL */
};

/* Return: 0, -CF_PERMISSION_DENIED: says what was missing, and no more than the guest may know. */
cf_must_use int release_decide(const struct release_input *in, struct cf_err *err);
