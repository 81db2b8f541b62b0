/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Peers that speak raw frames to the gRPC server over nghttp2 of grpc_world.h. */
#include "proto/rpc_h2_server_priv.h"
#include "tests/fakes/grpc_world.h"
#include "tests/fakes/h2_raw.h"

#define MAX_OF_A_FRAME 16384u
#define ECHO_MESSAGE                                                                               \
	"\0\0\0\0\x07\x12\x05"                                                                     \
	"bread" /* flag, length, Mount.source */

static inline struct raw hello(const struct world *w)
{
	struct raw r = raw_open(w->path);
	struct cf_buf b = { 0 };

	put_hello(&b);
	EXPECT(raw_send(&r, &b));
	return r;
}

static inline struct raw_answer ask(struct raw *r, uint32_t id, struct cf_buf *b)
{
	(void)!raw_send(r, b);
	return raw_answer_of(r, id, true);
}

static inline void echo_on(struct raw *r, uint32_t id)
{
	struct cf_buf b = { 0 };

	put_request(&b, id, 0, "Echo", NULL);
	put_data(&b, id, NGHTTP2_FLAG_END_STREAM, cf_view(ECHO_MESSAGE, sizeof(ECHO_MESSAGE) - 1));
	struct raw_answer a = ask(r, id, &b);

	EXPECT(a.is_ended && !a.is_reset);
	EXPECT_STR(a.status, "200");
	EXPECT_STR(a.grpc_status, "0");
	EXPECT(cf_view_eq(cf_buf_view(&a.data), cf_view(ECHO_MESSAGE, sizeof(ECHO_MESSAGE) - 1)));
	cf_buf_fini(&a.data);
}

/* The server serves others, whatever happened. */
static inline void echo(const struct world *w)
{
	struct raw r = hello(w);

	echo_on(&r, 1);
	raw_close(&r);
}

static inline struct raw_answer call_once(struct raw *r, uint32_t id, const char *method)
{
	struct cf_buf b = { 0 };

	put_call(&b, id, method);
	return ask(r, id, &b);
}

/* A peer whose windows are wide open, but who does not read. */
static inline struct raw hello_wide(const struct world *w)
{
	struct raw r = raw_open(w->path);
	struct cf_buf b = { 0 };

	cf_buf_add_str(&b, RAW_PREFACE);
	put_settings(&b, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, INT32_MAX);
	put_u32_frame(&b, NGHTTP2_WINDOW_UPDATE, 0, INT32_MAX - 65535);
	EXPECT(raw_send(&r, &b));
	return r;
}
