/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the files that deal with a container share among themselves. */
#include "vmm-glue/guest/guest.h"

/* Answers *slot, if there is a call, with nothing or with @err; empties it. */
void guest_container_answer(struct rpc_call **slot, const struct cf_err *err);
/* Has its init been started, and not ended? */
bool guest_container_runs(const struct guest_container *c);
/* Every process of the container: one that joined another's pid namespace outlives its init. */
cf_must_use int guest_container_kill_all(struct guest_container *c, guest_crun_done *done,
                                         void *arg, struct cf_err *err);
