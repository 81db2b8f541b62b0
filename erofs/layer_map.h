/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A map from inode numbers to small numbers. An image chooses its inode numbers, but not where they
 * fall: the hash is seeded per process. Internal to this folder.
 */
#include "base/bytes.h"

struct layer_map {
	uint32_t (*slots)[2]; /* key, value; key 0: empty */
	size_t size, used;    /* size: 0 or a power of two */
	uint64_t seed[2];
};

void layer_map_fini(struct layer_map *m);
void layer_map_clear(struct layer_map *m); /* memory is kept */
/* The place of @key's value, zero when it is new; valid until the next call. @key is not 0. */
uint32_t *layer_map_at(struct layer_map *m, uint32_t key);
