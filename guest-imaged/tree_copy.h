/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Copies a mounted image into a plain directory: modes, owners, times, extended attributes, hard
 * links, device nodes. The source is a read-only mount of an image that we made; the target is ours
 * and new, so nobody races with us.
 */
#include "base/err.h"

#define TREE_COPY_DEPTH_MAX 512u

/* @to must not exist. On failure what was copied is left for the caller to remove. */
cf_must_use int tree_copy(const char *from, const char *to, struct cf_err *err);
