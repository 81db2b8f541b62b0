/* fuzz: proto */
/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes → messages, text and timeout. The first byte chooses how the stream is cut into pieces, which
 * must not change what is found.
 */
#include "proto/rpc_h2_wire.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	size_t count, bytes;
	int r;
	bool is_between;
};

static struct seen read_all(struct cf_view in, size_t step)
{
	struct rpc_h2_msg m = { 0 };
	struct seen s = { 0 };
	size_t all = in.size;
	struct cf_view msg;

	while (in.size && s.r == 0) {
		s.r = rpc_h2_msg_feed(&m, cf_view_sub(in, 0, step), NULL);
		in = cf_view_sub(in, step, in.size);
		for (; rpc_h2_msg_next(&m, &msg); s.count++)
			s.bytes += msg.size;
		assert(m.in.cap < 4 * (all + 64));
	}
	s.is_between = rpc_h2_msg_is_between(&m);
	assert(!s.is_between || in.size == 0);
	rpc_h2_msg_fini(&m);
	return s;
}

static void text(struct cf_view in)
{
	char *plain = rpc_h2_text_decode(in);
	char *coded = rpc_h2_text_encode(plain);
	char *again = rpc_h2_text_decode(cf_view_str(coded));

	assert(cf_view_is_utf8(cf_view_str(plain)));
	assert(strlen(again) <= RPC_H2_TEXT_MAX);
	assert(strncmp(plain, again, strlen(again)) == 0);
	assert(strlen(again) == strlen(plain) || strlen(plain) > RPC_H2_TEXT_MAX);
	free(plain);
	free(coded);
	free(again);
}

static void timeout(struct cf_view in)
{
	char out[RPC_H2_TIMEOUT_SIZE];
	int64_t ms, back;

	if (!rpc_h2_timeout_parse(in, &ms))
		return;
	assert(ms >= 0);
	rpc_h2_timeout_format(ms, out);
	bool ok = rpc_h2_timeout_parse(cf_view(out, strlen(out)), &back);

	assert(ok && back >= ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	struct cf_view in = cf_view_sub(cf_view(data, size), 1, size);
	struct seen whole = read_all(in, in.size + 1), cut = read_all(in, data[0] + 1u);

	assert(whole.count == cut.count && whole.bytes == cut.bytes && whole.r == cut.r);
	assert(whole.is_between == cut.is_between);
	text(in);
	timeout(in);
	(void)rpc_h2_is_grpc(in);
	return 0;
}
