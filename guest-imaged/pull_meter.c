/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-imaged/pull_meter.h"

#include "base/mem.h"

void pull_meter_plan(struct pull_meter *m, uint64_t bytes, uint32_t layers)
{
	if (!m)
		return;
	atomic_store_explicit(&m->bytes, bytes, memory_order_relaxed);
	atomic_store_explicit(&m->layers, layers, memory_order_relaxed);
}

void pull_meter_bytes(struct pull_meter *m, uint64_t bytes)
{
	if (m)
		atomic_fetch_add_explicit(&m->bytes_done, bytes, memory_order_relaxed);
}

void pull_meter_back(struct pull_meter *m, uint64_t bytes)
{
	if (m)
		atomic_fetch_sub_explicit(&m->bytes_done, bytes, memory_order_relaxed);
}

void pull_meter_layer(struct pull_meter *m)
{
	if (m)
		atomic_fetch_add_explicit(&m->layers_done, 1, memory_order_relaxed);
}

struct pull_meter_view pull_meter_read(struct pull_meter *m)
{
	return (struct pull_meter_view){
		.bytes = atomic_load_explicit(&m->bytes, memory_order_relaxed),
		.bytes_done = atomic_load_explicit(&m->bytes_done, memory_order_relaxed),
		.layers = atomic_load_explicit(&m->layers, memory_order_relaxed),
		.layers_done = atomic_load_explicit(&m->layers_done, memory_order_relaxed),
	};
}
