/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the service counts while it works, for /metrics. Any thread. */
#include <stdatomic.h>
#include <stdint.h>

struct snap_counters {                 /* { 0 } is the start */
	_Atomic uint64_t resurrected;  /* layers that containerd knew and we did not */
	_Atomic uint64_t null_applied; /* unpackings that the differ answered without a byte */
	_Atomic uint64_t
		host_layer_bytes; /* of layers, that reached this host in guest-pull mode */
};

static inline void snap_count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}
static inline uint64_t snap_counted(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}
