/* SPDX-License-Identifier: Apache-2.0 */
/* Peers that send too much, or do not read: each limit of the gRPC server over nghttp2. */
#include "tests/fakes/h2_peer.h"

/* ---- floods ---- */

CF_TEST(h2_server_takes_so_many_streams_and_no_more)
{
	struct world *w = world_start(NULL);
	struct raw r = hello(w);
	struct cf_buf b = { 0 };
	uint32_t id = 1;

	for (unsigned i = 0; i < RPC_GRPC_STREAMS_MAX; i++, id += 2)
		put_request(&b, id, 0, "Echo", NULL);
	put_request(&b, id, 0, "Echo", NULL);
	/* We did not agree to the limit yet: the stream alone is refused. */
	struct raw_answer a = ask(&r, id, &b);

	EXPECT(a.is_reset && a.error == NGHTTP2_REFUSED_STREAM);
	put_data(&b, 1, NGHTTP2_FLAG_END_STREAM, cf_view("\0\0\0\0\0", 5));
	a = ask(&r, 1, &b);
	EXPECT_STR(a.grpc_status, "0");
	cf_buf_fini(&a.data);
	echo_on(&r, id + 2);
	/* Now we did, and break it. */
	put_frame(&b, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, cf_view(NULL, 0));
	put_request(&b, id + 4, 0, "Echo", NULL);
	put_request(&b, id + 6, 0, "Echo", NULL);
	a = ask(&r, id + 6, &b);
	EXPECT(a.is_goaway);
	EXPECT(raw_answer_of(&r, 0, false).is_eof);
	raw_close(&r);
	echo(w);
	world_free(w);
}

/* Sends @b again and again, never reading, until it is not taken any more. */
static void flood(const struct raw *r, struct cf_view one, uint32_t *id, size_t id_at)
{
	struct timeval t = { 10, 0 };

	setsockopt(r->fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	for (int i = 0; i < 1000000; i++) {
		struct cf_buf b = { 0 };

		for (int k = 0; k < 100; k++) {
			cf_buf_add_view(&b, one);
			for (size_t j = 0; id && j < 4; j++)
				b.data[b.size - one.size + id_at + j] =
					(uint8_t)(*id >> (24 - 8 * j));
			if (id)
				*id += 2;
		}
		if (!raw_send(r, &b)) {
			EXPECT(errno == EPIPE || errno == ECONNRESET);
			return;
		}
	}
	EXPECT(!"the flood was taken");
}

CF_TEST(h2_server_ends_floods_of_pings_and_settings)
{
	struct world *w = world_start(NULL);
	struct cf_buf one[2] = { 0 };

	put_frame(&one[0], NGHTTP2_PING, 0, 0, cf_view("12345678", 8));
	put_frame(&one[1], NGHTTP2_SETTINGS, 0, 0, cf_view(NULL, 0));
	for (size_t i = 0; i < CF_ARRAY_LEN(one); i++) {
		struct raw r = hello(w);

		flood(&r, cf_buf_view(&one[i]), NULL, 0);
		raw_close(&r);
		cf_buf_fini(&one[i]);
		echo(w);
	}
	world_free(w);
}

/* Streams beyond the limit, each refused with a frame that nobody reads. */
CF_TEST(h2_server_ends_a_flood_of_streams)
{
	struct world *w = world_start(NULL);
	struct raw r = hello(w);
	struct cf_buf one = { 0 };
	uint32_t id = 1;

	put_request(&one, 1, 0, "Echo", NULL);
	flood(&r, cf_buf_view(&one), &id, 5);
	cf_buf_fini(&one);
	raw_close(&r);
	echo(w);
	world_free(w);
}

CF_TEST(h2_server_ends_a_flood_of_resets)
{
	struct world *w = world_start(NULL);
	struct raw r = hello(w);
	struct raw_answer a = { 0 };
	uint32_t id = 1;

	for (unsigned i = 0; i < RPC_H2_RESETS_BURST + 10 * RPC_H2_RESETS_RATE; i++, id += 2) {
		struct cf_buf b = { 0 };

		put_call(&b, id, "Hold");
		put_u32_frame(&b, NGHTTP2_RST_STREAM, id, NGHTTP2_CANCEL);
		if (!raw_send(&r, &b))
			break;
	}
	a = raw_answer_of(&r, id, false);
	EXPECT(a.is_goaway || a.is_eof);
	raw_close(&r);
	echo(w);
	world_free(w);
}

/* Streams that were taken back, whose handlers nevertheless go on. */
CF_TEST(h2_server_counts_calls_whose_streams_are_gone)
{
	static struct rpc_call *all[RPC_H2_CALLS_MAX];
	struct world *w = world_start(NULL);
	struct raw r = hello(w);
	size_t count = 0;
	uint32_t id = 1;

	for (; count < RPC_H2_CALLS_MAX; id += 2) {
		struct cf_buf b = { 0 };

		put_call(&b, id, "Keep");
		EXPECT(raw_send(&r, &b));
		while (!w->svc.kept)
			sched_yield();
		all[count++] = atomic_exchange(&w->svc.kept, NULL);
		put_u32_frame(&b, NGHTTP2_RST_STREAM, id, NGHTTP2_CANCEL);
		EXPECT(raw_send(&r, &b));
	}
	struct raw_answer a = call_once(&r, id, "Echo");

	EXPECT_STR(a.grpc_status, "8");
	echo(w); /* another connection's */
	for (size_t i = 0; i < count; i++) {
		EXPECT(rpc_cancelled(all[i]));
		rpc_reply(all[i], NULL);
	}
	echo_on(&r, id + 2);
	raw_close(&r);
	world_free(w);
}

CF_TEST(h2_server_refuses_calls_when_too_many_wait)
{
	struct world *w = world_start(NULL);
	struct raw r[2] = { hello(w), hello(w) };
	unsigned threads = 4, calls[2] = { RPC_GRPC_STREAMS_MAX, 100 };
	int all = (int)(calls[0] + calls[1]), over = all - (int)threads - RPC_GRPC_QUEUE_MAX;

	for (size_t i = 0; i < CF_ARRAY_LEN(r); i++) {
		struct cf_buf b = { 0 };

		for (unsigned k = 0; k < calls[i]; k++)
			put_call(&b, 2 * k + 1, "Hold");
		EXPECT(raw_send(&r[i], &b));
	}
	while (w->answers[CF_RESOURCE_EXHAUSTED] < over)
		poll(NULL, 0, 1);
	EXPECT_INT(answered(w), over);
	raw_close(&r[0]);
	raw_close(&r[1]);
	while (answered(w) < all)
		poll(NULL, 0, 1);
	EXPECT_INT(w->answers[CF_RESOURCE_EXHAUSTED], over);
	echo(w);
	world_free(w);
}

/* All threads answer through one connection. */
CF_TEST(h2_server_answers_many_calls_of_one_connection)
{
	static const char *const names[] = { "Echo", "EchoInline", "Stream", "Fails" };
	struct world *w = world_start(NULL);
	struct raw r = hello_wide(w);
	size_t each = 200, items = 3 * (5 + 2 + 10);

	for (uint32_t round = 0; round < 5; round++) {
		struct cf_buf b = { 0 };

		for (uint32_t i = 0; i < 4 * each; i++)
			put_call(&b, 2 * (uint32_t)(round * 4 * each + i) + 1, names[i % 4]);
		EXPECT(raw_send(&r, &b));
		EXPECT_INT(raw_read_ends(&r, 4 * each), each * (5 + 5 + items));
	}
	EXPECT_INT(answered(w), 5 * 4 * each);
	EXPECT_INT(w->answers[CF_NOT_FOUND], 5 * each);
	raw_close(&r);
	world_free(w);
}

#define PART (14u << 20) /* of a message that never ends */

static void put_part(const struct raw *r, uint32_t id)
{
	static const uint8_t zero[MAX_OF_A_FRAME];
	struct cf_buf b = { .max = 2 * PART };

	put_request(&b, id, 0, "Echo", NULL);
	put_data(&b, id, 0, cf_view("\0\0\xff\xff\xff", 5));
	for (size_t n = 0; n < PART; n += sizeof(zero))
		put_data(&b, id, 0, cf_view(zero, sizeof(zero)));
	EXPECT(raw_send(r, &b));
}

static struct raw hello_agreed(const struct world *w)
{
	struct raw r = hello(w);
	struct cf_buf b = { 0 };

	/* From now on the server's windows are as wide as it said. */
	put_frame(&b, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, cf_view(NULL, 0));
	EXPECT(raw_send(&r, &b));
	return r;
}

static void expect_refused(struct raw *r, uint32_t id)
{
	struct raw_answer a = raw_answer_of(r, id, false);

	EXPECT_STR(a.grpc_status, "8");
	EXPECT_STR(a.message, "too many requests at once: try again later");
}

CF_TEST(h2_server_holds_so_much_of_requests_and_no_more)
{
	struct world *w = world_start(NULL);
	struct raw r[3] = { hello_agreed(w), hello_agreed(w), hello_agreed(w) };

	EXPECT(2 * PART < RPC_H2_CONN_HELD_MAX && 3 * PART > RPC_H2_CONN_HELD_MAX);
	EXPECT(4 * PART < RPC_H2_HELD_MAX && 5 * PART > RPC_H2_HELD_MAX);
	for (uint32_t id = 1; id <= 5; id += 2)
		put_part(&r[0], id);
	expect_refused(&r[0], 5); /* too much for one */
	put_part(&r[1], 1);
	put_part(&r[1], 3);
	echo_on(&r[1], 5);
	put_part(&r[2], 1);
	expect_refused(&r[2], 1); /* too much for all */
	echo_on(&r[2], 3);
	raw_close(&r[0]); /* gives its share back */
	echo(w);
	put_part(&r[2], 5);
	put_part(&r[2], 7);
	echo_on(&r[2], 9);
	raw_close(&r[1]);
	raw_close(&r[2]);
	world_free(w);
}

/* ---- slow readers ---- */

CF_TEST(h2_server_answers_through_a_window_of_one_byte)
{
	struct world *w = world_start(NULL);
	struct raw r = raw_open(w->path);
	struct cf_buf b = { 0 };

	cf_buf_add_str(&b, RAW_PREFACE);
	put_settings(&b, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1);
	put_request(&b, 1, 0, "Echo", NULL);
	put_data(&b, 1, NGHTTP2_FLAG_END_STREAM, cf_view(ECHO_MESSAGE, sizeof(ECHO_MESSAGE) - 1));
	struct raw_answer a = ask(&r, 1, &b);

	EXPECT(a.is_ended && a.data_frames >= sizeof(ECHO_MESSAGE) - 1);
	EXPECT_STR(a.grpc_status, "0");
	EXPECT(cf_view_eq(cf_buf_view(&a.data), cf_view(ECHO_MESSAGE, sizeof(ECHO_MESSAGE) - 1)));
	cf_buf_fini(&a.data);
	put_call(&b, 3, "Stream");
	a = ask(&r, 3, &b);
	EXPECT_STR(a.grpc_status, "0");
	EXPECT_INT(a.data.size, 3 * (5 + 2 + 10));
	cf_buf_fini(&a.data);
	raw_close(&r);
	world_free(w);
}

CF_TEST(h2_server_keeps_so_much_for_one_that_does_not_read)
{
	struct world *w = world_start(NULL);
	struct raw r = hello_wide(w);
	struct cf_buf b = { 0 };
	unsigned fit = 4;

	w->svc.too_large_bytes = 15u << 20;
	EXPECT(fit * w->svc.too_large_bytes < RPC_H2_ANSWERS_MAX &&
	       (fit + 1) * w->svc.too_large_bytes > RPC_H2_ANSWERS_MAX);
	for (unsigned i = 0; i <= fit; i++)
		put_call(&b, 2 * i + 1, "TooLarge");
	EXPECT(raw_send(&r, &b));
	while (answered(w) < (int)fit + 1)
		poll(NULL, 0, 1);
	EXPECT_INT(w->answers[CF_RESOURCE_EXHAUSTED], 1);
	echo(w);
	/* They come whole when he reads after all: the one that was refused, too. */
	EXPECT_INT(raw_read_ends(&r, fit + 1), fit * (w->svc.too_large_bytes + 5 + 5));
	put_call(&b, 2 * fit + 3, "TooLarge");
	EXPECT(raw_send(&r, &b));
	EXPECT_INT(raw_read_ends(&r, 1), w->svc.too_large_bytes + 5 + 5);
	raw_close(&r);
	echo(w);
	world_free(w);
}

CF_TEST(h2_server_streams_no_faster_than_the_peer_reads)
{
	struct world *w = world_start(NULL);
	struct raw r = hello_wide(w);
	struct cf_buf b = { 0 };

	w->svc.stream_bytes = 64u << 10;
	w->svc.stream_count = 1000000;
	put_call(&b, 1, "Stream");
	EXPECT(raw_send(&r, &b));
	while (w->svc.streamed < 2)
		poll(NULL, 0, 1);
	echo(w);
	poll(NULL, 0, 200); /* time enough for a sender that does not wait */
	EXPECT(w->svc.streamed < 100 && !w->svc.refused_sends);
	put_u32_frame(&b, NGHTTP2_RST_STREAM, 1, NGHTTP2_CANCEL);
	EXPECT(raw_send(&r, &b));
	while (!w->svc.refused_sends)
		poll(NULL, 0, 1);
	raw_close(&r);
	world_free(w);
}

CF_TEST(h2_server_ends_a_stream_whose_deadline_passes)
{
	static const char *const timeout[] = { "grpc-timeout", "50m", NULL };
	struct world *w = world_start(NULL);
	struct raw r = hello_wide(w);
	struct cf_buf b = { 0 };

	w->svc.stream_bytes = 64u << 10;
	w->svc.stream_count = 1000000;
	put_request(&b, 1, 0, "Stream", timeout);
	put_data(&b, 1, NGHTTP2_FLAG_END_STREAM, cf_view("\0\0\0\0\0", 5));
	EXPECT(raw_send(&r, &b));
	while (!w->svc.refused_sends)
		poll(NULL, 0, 1);
	raw_close(&r);
	world_free(w);
}
