/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/rpc_core.h"

#include "base/log.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>
#include <grpc/support/log.h>
#include <pthread.h>
#include <signal.h>

static void log_quiet(gpr_log_func_args *args)
{
	enum cf_log_level level =
		args->severity == GPR_LOG_SEVERITY_ERROR ? CF_LOG_WARN : CF_LOG_DEBUG;

	cf_log(level, "grpc core", CF_F_STR("says", args->message));
}

void rpc_core_init(void)
{
	sigset_t all, old;

	/* Core's threads inherit the mask; signals are the program's business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	gpr_set_log_function(log_quiet);
	grpc_init();
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

grpc_byte_buffer *rpc_core_pack(const ProtobufCMessage *msg)
{
	size_t size = protobuf_c_message_get_packed_size(msg);
	grpc_slice s = grpc_slice_malloc(size);

	protobuf_c_message_pack(msg, GRPC_SLICE_START_PTR(s));
	grpc_byte_buffer *b = grpc_raw_byte_buffer_create(&s, 1);

	grpc_slice_unref(s);
	return b;
}

int rpc_core_unpack(const ProtobufCMessageDescriptor *type, grpc_byte_buffer *in,
                    ProtobufCMessage **ret, struct cf_err *err)
{
	grpc_byte_buffer_reader rd;

	if (!grpc_byte_buffer_reader_init(&rd, in))
		return cf_fail(err, CF_INVALID_ARGUMENT, "grpc: undecodable message");
	grpc_slice s = grpc_byte_buffer_reader_readall(&rd);

	grpc_byte_buffer_reader_destroy(&rd);
	int r = rpc_unpack(type, GRPC_SLICE_START_PTR(s), GRPC_SLICE_LENGTH(s), ret, err);

	grpc_slice_unref(s);
	return r;
}
