/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What gRPC puts into HTTP/2, without I/O and without HTTP/2: the five bytes before each message, the
 * percent coding of grpc-message, the units of grpc-timeout. Private to proto/rpc_h2_*.c. All that is
 * read here comes from a peer that may be hostile.
 * Source: grpc, doc/PROTOCOL-HTTP2.md
 */
#include "base/bytes.h"
#include "proto/rpc.h"

#define RPC_H2_PREFIX       5u /* flag and length before each message */
#define RPC_H2_FRAMED_MAX   (RPC_H2_PREFIX + RPC_MESSAGE_MAX)
#define RPC_H2_UNREAD_MAX   (2 * RPC_H2_FRAMED_MAX) /* fed and not taken */
#define RPC_H2_TEXT_MAX     1024u /* bytes of a status text before they are coded */
#define RPC_H2_TIMEOUT_SIZE 16u
#define RPC_H2_CONTENT_TYPE "application/grpc"

/* ---- messages of one direction of one stream, fed in pieces; { 0 } is a fresh one ---- */

struct rpc_h2_msg {
	struct cf_buf in;
	size_t taken;     /* bytes of .in that rpc_h2_msg_next() gave away */
	size_t begin;     /* where in .in the next message begins whose prefix was not seen yet */
	enum cf_code bad; /* once fed badly, all later pieces are refused like that one */
};

void rpc_h2_msg_fini(struct rpc_h2_msg *m);
/*
 * Takes a copy of @piece, and no memory for what a prefix only announces.
 * Return: 0, -CF_RESOURCE_EXHAUSTED (a message over RPC_MESSAGE_MAX, told from its prefix; more than
 * RPC_H2_UNREAD_MAX fed and not taken), -CF_UNIMPLEMENTED (compressed), -CF_INVALID_ARGUMENT (a flag
 * that does not exist). Messages that were whole before the bad one can still be taken.
 */
cf_must_use int rpc_h2_msg_feed(struct rpc_h2_msg *m, struct cf_view piece, struct cf_err *err);
/* One whole message without its prefix, borrowed until the next feed; false: feed more. */
bool rpc_h2_msg_next(struct rpc_h2_msg *m, struct cf_view *ret);
/* No message is half fed: the stream may end here. */
bool rpc_h2_msg_is_between(const struct rpc_h2_msg *m);

/*
 * Appends prefix and message. @to goes bad when the message is over RPC_MESSAGE_MAX, or over what
 * @to's own max leaves (RPC_H2_FRAMED_MAX takes one of any size).
 */
void rpc_h2_pack(const ProtobufCMessage *msg, struct cf_buf *to);

/* ---- header values ---- */

/*
 * A status text as the value of grpc-message; the caller frees. NULL is "". What is no UTF-8 becomes
 * U+FFFD; a text over RPC_H2_TEXT_MAX bytes is cut between two characters. A blank at either end is
 * coded too, since HTTP/2 takes none there.
 */
char *rpc_h2_text_encode(const char *text);
/* Never fails: broken escapes stay as they are, NUL and what is no UTF-8 become U+FFFD. */
char *rpc_h2_text_decode(struct cf_view v);

/*
 * "100m", "1S", "8H": one to eight digits and a unit, H M S m u n. Parts of a millisecond round up.
 * False, and nothing set, when it is none.
 */
bool rpc_h2_timeout_parse(struct cf_view v, int64_t *ret_ms);
/* The finest unit that holds it in eight digits, rounded up; at least the shortest that there is. */
void rpc_h2_timeout_format(int64_t ms, char out[RPC_H2_TIMEOUT_SIZE]);

/* "application/grpc", also with "+proto" or parameters; messages in other codings are not ours. */
bool rpc_h2_is_grpc(struct cf_view content_type);
