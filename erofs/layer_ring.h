/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The pipeline's side of a ring: LAYER_SLOTS slots of memory that it shares with one sandboxed
 * process and that both use in turn. Internal to this folder.
 */
#include "erofs/layer_ipc.h"

struct layer_ring {
	uint8_t *slots; /* NULL: none */
	unsigned next;  /* the slot in turn on our side */
	unsigned free;  /* rings we write: slots the other side is done with, the current one too */
	size_t fill;    /* rings we write: bytes in the current slot */
};

/*
 * Maps a new ring here for reading and writing; *ret_fd is for the other side. The size is sealed,
 * so that nobody can pull the memory away under us; @read_only seals writing for all later mappings.
 */
cf_must_use int layer_ring_open(struct layer_ring *ring, bool read_only, int *ret_fd,
                                struct cf_err *err);
void layer_ring_close(struct layer_ring *ring);

static inline uint8_t *layer_ring_slot(const struct layer_ring *ring)
{
	return ring->slots + (size_t)ring->next * LAYER_SLOT_BYTES;
}

static inline void layer_ring_advance(struct layer_ring *ring)
{
	ring->next = (ring->next + 1) % LAYER_SLOTS;
}

/* Moves bytes from the start of @in behind those in the current slot; true when it is full then. */
bool layer_ring_fill(struct layer_ring *ring, struct cf_view *in);
