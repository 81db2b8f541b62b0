/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the pipeline and the sandboxed processes say to each other. Internal to this folder.
 *
 * Control runs over a SOCK_SEQPACKET pair, one struct layer_msg a packet; content goes through rings
 * of slots in shared memory, used in turn. The pipeline believes nothing: it copies a slot before it
 * looks, takes sizes from packets only after checking them, and hashes what it copied.
 */
#include "base/bytes.h"

#define LAYER_SLOTS      4u
#define LAYER_SLOT_BYTES (256u << 10)
#define LAYER_RING_BYTES ((size_t)LAYER_SLOTS * LAYER_SLOT_BYTES)

#define LAYER_HELPER_PROGRAM "coffer-layer-helper" /* main.c here */
#define LAYER_HELPER_INFLATE                                                                       \
	"layer-inflate"                  /* fds: control, ring (written), blob ring (read only) */
#define LAYER_HELPER_BUILD "layer-build" /* fds: control, ring (read only), image */
#define LAYER_HELPER_USERS "layer-users" /* fds: control, the blob's stream */
#define LAYER_HELPER_MERGE "layer-merge" /* fds: control, image, the layers; args: diffIDs */
enum {
	LAYER_FD_CONTROL = 3,
	LAYER_FD_RING = 4,
	LAYER_FD_BLOB = 5,   /* of the inflater */
	LAYER_FD_STREAM = 4, /* of the finder of users */
	LAYER_FD_IMAGE = 5,  /* of the builder */
	/* of the merge */
	LAYER_FD_MERGED = 4,
	LAYER_FD_LAYERS = 5, /* and on */
};

enum layer_msg_kind {
	LAYER_MSG_DATA = 1, /* size bytes are in the next slot; to whoever reads the ring */
	LAYER_MSG_FREE,     /* the oldest slot may be used again; to whoever writes the ring */
	LAYER_MSG_END,      /* no more data; to the builder with the image's id as payload */
	LAYER_MSG_DONE,     /* the image is complete; payload: struct layer_stats */
	LAYER_MSG_FAILED,   /* size: enum cf_code; payload: text */
};

#define LAYER_MSG_PAYLOAD_MAX 512u

struct layer_msg {
	uint32_t kind;
	uint32_t size;
	uint8_t payload[LAYER_MSG_PAYLOAD_MAX];
};
#define LAYER_MSG_HEAD 8u /* bytes before the payload */

/* Sends one packet with @payload (at most LAYER_MSG_PAYLOAD_MAX bytes). For the sandboxed side. */
cf_must_use int layer_msg_send(int fd, enum layer_msg_kind kind, uint32_t size,
                               struct cf_view payload, struct cf_err *err);
/*
 * The same for the pipeline's side: a reader that is gone is an error, never a signal, and one that
 * does not read is an error, never a wait (an honest one has a few packets waiting at most).
 */
cf_must_use int layer_msg_post(int fd, enum layer_msg_kind kind, uint32_t size,
                               struct cf_view payload, struct cf_err *err);
/*
 * Takes one packet, waiting for it. Return: 1 and the size of its payload in @ret_payload, 0 the
 * other side is gone, negative: error, or a packet that is too short.
 */
cf_must_use int layer_msg_take(int fd, struct layer_msg *ret, size_t *ret_payload,
                               struct cf_err *err);
