/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/rpc.h"

#include "base/bytes.h"
#include "proto/wire_field.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define UNPACK_DEPTH_MAX 32 /* messages inside messages */
#define FAIL_TEXT_SIZE   512

void rpc_fail(struct rpc_call *call, enum cf_code code, const char *fmt, ...)
{
	char text[FAIL_TEXT_SIZE];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	call->ops->finish(call, NULL, code, text);
}

/* ---- peers ---- */

struct rpc_peer rpc_peer_of(int fd)
{
	struct sockaddr_storage sa = { 0 };
	struct ucred uc;
	socklen_t len = sizeof(sa);

	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0 || sa.ss_family != AF_UNIX)
		return RPC_PEER_UNKNOWN;
	len = sizeof(uc);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &uc, &len) < 0)
		return RPC_PEER_UNKNOWN;
	return (struct rpc_peer){ uc.uid, uc.gid, uc.pid };
}

bool rpc_peer_is_ours(const struct rpc_peer *peer)
{
	return peer->uid == 0 || peer->uid == geteuid();
}

/* ---- a look at the raw bytes before protobuf-c sees them ---- */

static const ProtobufCFieldDescriptor *field_of(const ProtobufCMessageDescriptor *type, uint64_t no)
{
	return no <= UINT32_MAX ? protobuf_c_message_descriptor_get_field(type, (unsigned)no)
	                        : NULL;
}

static int check_message(const ProtobufCMessageDescriptor *type, struct cf_view in, unsigned depth,
                         struct cf_err *err);

static int check_bytes(const ProtobufCMessageDescriptor *type, uint64_t no, struct cf_view v,
                       unsigned depth, struct cf_err *err)
{
	const ProtobufCFieldDescriptor *f = field_of(type, no);

	if (f && f->type == PROTOBUF_C_TYPE_MESSAGE)
		return check_message(f->descriptor, v, depth + 1, err);
	/* protobuf-c cuts a string at a NUL and does not look at UTF-8; Go peers refuse both. */
	if (f && f->type == PROTOBUF_C_TYPE_STRING && (cf_view_has_nul(v) || !cf_view_is_utf8(v)))
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s.%s: not UTF-8 text without NUL",
		               type->short_name, f->name);
	return 0;
}

/* protobuf-c recurses as deep as the input says, and trusts strings: both are checked here first. */
static int check_message(const ProtobufCMessageDescriptor *type, struct cf_view in, unsigned depth,
                         struct cf_err *err)
{
	struct cf_rd rd = { .in = in };
	struct wire_field f;
	int r = 0;

	if (depth > UNPACK_DEPTH_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s: nested too deep", type->short_name);
	while (r == 0 && wire_field_next(&rd, &f))
		if (f.type == WIRE_BYTES)
			r = check_bytes(type, f.no, f.bytes, depth, err);
	if (r == 0 && rd.bad)
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s: malformed message", type->short_name);
	return r;
}

/* ---- the counting allocator ---- */

struct budget {
	size_t left;
	bool is_short;
};

static void *budget_alloc(void *user, size_t size)
{
	struct budget *b = user;

	if (size > b->left) {
		b->is_short = true;
		return NULL;
	}
	void *p = malloc(size ? size : 1);

	if (p)
		b->left -= CF_MIN(b->left, malloc_usable_size(p));
	return p;
}

static void budget_free(void *user, void *p)
{
	struct budget *b = user;

	if (!p)
		return;
	b->left += malloc_usable_size(p);
	free(p);
}

int rpc_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size,
               ProtobufCMessage **ret, struct cf_err *err)
{
	if (size > RPC_MESSAGE_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%s: %zu bytes", type->short_name, size);
	int r = check_message(type, cf_view(data, size), 0, err);

	if (r < 0)
		return r;
	struct budget b = { .left = RPC_UNPACK_FACTOR * size + RPC_UNPACK_SLACK };
	ProtobufCAllocator alloc = { .alloc = budget_alloc,
		                     .free = budget_free,
		                     .allocator_data = &b };
	ProtobufCMessage *msg = protobuf_c_message_unpack(type, &alloc, size, data);

	if (!msg && b.is_short)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%s: would take too much memory",
		               type->short_name);
	if (!msg)
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s: malformed message", type->short_name);
	*ret = msg;
	return 0;
}
