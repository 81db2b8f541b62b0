/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The functions that policies may call here; for kbs/policies.c and kbs/policy_ask.c alone. */
#include "kbs/policies.h"

#define POLICY_ASK_HOOKS 1u

extern const struct policy_hook policy_ask_hooks[POLICY_ASK_HOOKS];
