/* fuzz: proto */
/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes → frames → envelopes → messages. The first byte chooses how the stream is cut into reads,
 * which must not change what is found.
 */
#include "proto/agent.pb-c.h"
#include "proto/rpc.h"
#include "proto/ttrpc_frame.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void envelope(const struct ttrpc_frame *f)
{
	struct ttrpc_request req;
	struct ttrpc_response res;
	ProtobufCMessage *msg = NULL;
	struct cf_err err;
	struct cf_view payload = f->payload;

	if (f->type == TTRPC_REQUEST && ttrpc_request_parse(f->payload, &req, &err) == 0)
		payload = req.payload;
	if (f->type == TTRPC_RESPONSE && ttrpc_response_parse(f->payload, &res, &err) == 0)
		payload = res.payload;
	if (rpc_unpack(&grpc__create_container_request__descriptor, payload.data, payload.size,
	               &msg, &err) == 0)
		protobuf_c_message_free_unpacked(msg, NULL);
}

static size_t run(struct cf_view in, size_t step, bool deep)
{
	struct ttrpc_reader rd;
	struct ttrpc_frame f;
	size_t found = 0;

	ttrpc_reader_init(&rd, 4096);
	rd.has_marks = true;
	while (in.size) {
		size_t room;
		uint8_t *p = ttrpc_reader_room(&rd, &room);
		size_t n = CF_MIN(CF_MIN(room, step), in.size);

		memcpy(p, in.data, n);
		ttrpc_reader_added(&rd, n);
		in = cf_view_sub(in, n, in.size);
		for (int r; (r = ttrpc_reader_next(&rd, &f)) != 0;) {
			found++;
			if (r == TTRPC_FRAME && deep)
				envelope(&f);
		}
	}
	ttrpc_reader_fini(&rd);
	return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cf_view in = cf_view(data, size);

	if (size < 1)
		return 0;
	in = cf_view_sub(in, 1, size);
	size_t found = run(in, in.size + 1, true);

	assert(run(in, data[0] + 1u, false) == found);
	return 0;
}
