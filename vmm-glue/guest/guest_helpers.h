/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The guest's other daemons, the attester and the image service, as our children. Each gets its
 * listening socket as fd 3 from us, so that nobody ever waits for it to appear: a call that comes
 * early waits in the socket. A daemon that ends is started again, on the same socket.
 */
#include "base/loop.h"
#include "vmm-glue/guest/guest_reaper.h"

#define GUEST_HELPER_STARTS_MAX 5u /* then its socket is closed, and calls to it fail at once */

struct guest_helper;

struct guest_helper_opts {
	const char *program;
	const char *socket;      /* path; the daemon gets --listen fd://3 */
	const char *const *args; /* more arguments, NULL-ended; borrowed for the call */
};

/* -CF_NOT_FOUND: no such program. */
cf_must_use int guest_helper_start(struct guest_reaper *reaper,
                                   const struct guest_helper_opts *opts, struct guest_helper **ret,
                                   struct cf_err *err);
struct guest_helper *guest_helper_free(struct guest_helper *h); /* ends it with TERM */
