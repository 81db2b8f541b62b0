/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the two halves of a sandboxed helper's start agree on. Internal to this folder. */
#include "base/mem.h"

/* Parent and helper are of one build: another version's helper does not answer. */
#define CF_HELPER_FLAG "--coffer-helper=" COFFER_VERSION

/* cf_helper_main() was called here: this binary is its own helper. */
void cf_helper_set_own(void);

/* Sanitizers read /proc/self/maps, look at their signals and end threads before they report. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CF_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CF_SANITIZED 1
#endif
#endif
