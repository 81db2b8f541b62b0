/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What server and client over gRPC C core share. Private to proto/rpc_core*.c. */
#include "proto/rpc.h"

typedef struct grpc_byte_buffer grpc_byte_buffer; /* core's */

/* grpc_init() with core's threads kept away from signals and its log lines in ours. */
void rpc_core_init(void);

grpc_byte_buffer *rpc_core_pack(const ProtobufCMessage *msg);
cf_must_use int rpc_core_unpack(const ProtobufCMessageDescriptor *type, grpc_byte_buffer *in,
                                ProtobufCMessage **ret, struct cf_err *err);

/*
 * What one thread gives to core with @tag and another gets back with it is handed over by core's own
 * locks. The thread sanitizer does not see those: core is not built with it.
 */
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
static inline void rpc_core_gives(void *tag)
{
	__tsan_release(tag);
}
static inline void rpc_core_takes(void *tag)
{
	__tsan_acquire(tag);
}
#else
static inline void rpc_core_gives(void *tag)
{
	(void)tag;
}
static inline void rpc_core_takes(void *tag)
{
	(void)tag;
}
#endif
