/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * How far a pull is, for whoever looks on: counted by the threads that pull, read by the loop's, exact
 * only once the pull has ended. Sizes are the manifest's word until then.
 */
#include <stdatomic.h>
#include <stdint.h>

struct pull_meter {
	_Atomic uint64_t bytes, bytes_done;
	_Atomic uint32_t layers, layers_done;
};

struct pull_meter_view {
	uint64_t bytes, bytes_done;
	uint32_t layers, layers_done;
};

/* All take NULL: nobody looks on. */
void pull_meter_plan(struct pull_meter *m, uint64_t bytes, uint32_t layers);
void pull_meter_bytes(struct pull_meter *m, uint64_t bytes);
/* A layer that has to be fetched anew: what came of it counts no longer. */
void pull_meter_back(struct pull_meter *m, uint64_t bytes);
void pull_meter_layer(struct pull_meter *m);
struct pull_meter_view pull_meter_read(struct pull_meter *m);
