/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The release rule: may the bearer of these claims have this resource? One door, asked for each
 * release and for nothing else; an engine for policies in Rego takes the same two inputs.
 *
 * The built-in rule: every submodule of the token is affirming, and the resource's path lists the
 * initdata digest that the guest proved ("any" lists all of them, also none).
 */
#include "base/json.h"
#include "base/str.h"

struct release_input {
	const struct cf_json *claims; /* of a verified token */
	const char *path;             /* repository/type/tag */
	const struct cf_strv *listed; /* initdata digests of the path */
};

/* Return: 0, -CF_PERMISSION_DENIED: says what was missing, and no more than the guest may know. */
cf_must_use int release_decide(const struct release_input *in, struct cf_err *err);
