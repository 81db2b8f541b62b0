/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* RFC 6902 on values, sets included (an element is addressed by itself). */
#include "policy/value.h"

/* NULL: @why tells what did not apply (or the arena is over). */
const struct pv *patch_apply(struct cf_arena *a, const struct pv *doc, const struct pv *ops,
                             const char **why);
/* A path as an array of segments: "a/b" (a leading slash is dropped) or an array. NULL: neither. */
const struct pv *patch_path(struct cf_arena *a, const struct pv *path);
