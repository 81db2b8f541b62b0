/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Amounts with units. */
#include "policy/builtin.h"

const struct pv *units_parse(struct bcall *c, struct cf_view text, bool is_bytes);
