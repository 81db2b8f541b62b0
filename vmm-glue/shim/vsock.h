/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * AF_VSOCK to the guest: a context id nobody else has, claimed on /dev/vhost-vsock, whose descriptor
 * QEMU then uses.
 */
#include "vmm-glue/shim/vmm.h"

#define VSOCK_AGENT_PORT 1024u
#define VSOCK_CID_MIN    1024u /* small numbers are for people */
#define VSOCK_TRIES_MAX  64u

/* Return: the device's fd ≥ 0 and the claimed id, or negative (-CF_NOT_FOUND: no such device). */
cf_must_use int vsock_claim_cid(uint32_t *ret, struct cf_err *err);
/* Dials the guest until it listens, the machine ends, or the deadline. An fd ≥ 0, or negative. */
cf_must_use int vsock_dial(struct vmm *v, int64_t deadline_ms, struct cf_err *err);

/* For tests: the same with a claim function of theirs. @claim: 0, or an errno. */
cf_must_use int vsock_pick_cid(int (*claim)(uint64_t cid, void *arg), void *arg, uint32_t *ret,
                               struct cf_err *err);
