/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the two halves of the gRPC door share. Private to proto/rpc_grpc*.c: it shows core's types. */
#include "proto/rpc.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>

/* grpc_init() with core's threads kept away from signals and its log lines in ours. */
void rpc_grpc_core_init(void);

grpc_byte_buffer *rpc_grpc_pack(const ProtobufCMessage *msg);
cf_must_use int rpc_grpc_unpack(const ProtobufCMessageDescriptor *type, grpc_byte_buffer *in,
                                ProtobufCMessage **ret, struct cf_err *err);

static inline grpc_arg rpc_grpc_int_arg(const char *key, int value)
{
	/* Core takes the key without const and does not write to it. */
	return (grpc_arg){ .type = GRPC_ARG_INTEGER,
		           .key = (char *)(uintptr_t)key,
		           .value.integer = value };
}
