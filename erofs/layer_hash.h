/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The diffID, hashed on a thread of its own while the pipeline copies the next slot. Internal to
 * this folder.
 */
#include "erofs/layer_ipc.h"

#include "base/crypto.h"

struct layer_hash;

cf_must_use int layer_hash_new(enum cf_hash_alg alg, struct layer_hash **ret, struct cf_err *err);
/* Waits until nothing that was handed over is being read any more. */
struct layer_hash *layer_hash_free(struct layer_hash *h);

/*
 * Hands over one slot's content, which must stay as it is until it was hashed: what is handed over
 * is hashed in order, and at most LAYER_SLOTS wait (layer_hash_is_full: wait on layer_hash_fd first).
 */
cf_must_use int layer_hash_add(struct layer_hash *h, struct cf_view slot, struct cf_err *err);
/* Looks whether something was hashed since. */
bool layer_hash_is_full(struct layer_hash *h);
/* Readable when something was hashed. Borrowed. */
int layer_hash_fd(const struct layer_hash *h);
/* Waits for the rest. @out has cf_hash_size() bytes; only free may follow. */
void layer_hash_final(struct layer_hash *h, uint8_t *out);
