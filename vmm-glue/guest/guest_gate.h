/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * When each request is allowed, and whether once: a table, checked before any handler runs. No I/O.
 */
#include "base/err.h"

enum guest_phase {
	GUEST_UNTRUSTED = 1u << 0, /* no initdata bound (yet, or for good) */
	GUEST_READY = 1u << 1,     /* initdata bound, no sandbox */
	GUEST_SANDBOX = 1u << 2,   /* between CreateSandbox and the first container */
	GUEST_POD = 1u << 3,       /* a container was asked for */
	GUEST_GONE = 1u << 4,      /* DestroySandbox was asked for */
};

struct guest_gate {
	enum guest_phase phase;
};

/*
 * Moves on to the next phase where the method says so.
 * Return: 0; -CF_UNAVAILABLE (nothing is served before initdata is bound), -CF_FAILED_PRECONDITION
 * (wrong order), -CF_PERMISSION_DENIED (never allowed here), -CF_UNIMPLEMENTED (unknown).
 */
cf_must_use int guest_gate_pass(struct guest_gate *g, const char *method, struct cf_err *err);
