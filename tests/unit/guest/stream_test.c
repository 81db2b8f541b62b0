/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/guest/guest_stream.h"

#include "base/fd.h"
#include "proto/agent.pb-c.h"
#include "tests/harness/test.h"

#include <signal.h>
#include <unistd.h>

/* A call that remembers its answer. */
struct fake_call {
	struct rpc_call call; /* first: the transport's view */
	bool is_answered, is_cancelled;
	enum cf_code code;
	char text[256];
	size_t size;
};

static void finish(struct rpc_call *call, const ProtobufCMessage *msg, enum cf_code code,
                   const char *text)
{
	struct fake_call *f = (struct fake_call *)call;

	(void)text;
	EXPECT(!f->is_answered);
	f->is_answered = true;
	f->code = code;
	if (code == CF_OK && msg->descriptor == &grpc__read_stream_response__descriptor) {
		const Grpc__ReadStreamResponse *r = (const Grpc__ReadStreamResponse *)msg;

		f->size = r->data.len;
		EXPECT(f->size < sizeof(f->text));
		if (f->size)
			memcpy(f->text, r->data.data, f->size);
	}
}

static bool cancelled(struct rpc_call *call)
{
	return ((struct fake_call *)call)->is_cancelled;
}

static const struct rpc_ops ops = { .finish = finish, .cancelled = cancelled };

struct bench {
	struct cf_loop *loop;
	int fds[2];
};

static void bench_open(struct bench *b)
{
	struct cf_err err;

	EXPECT_OK(cf_loop_new(&b->loop, &err), &err);
	EXPECT(pipe2(b->fds, O_CLOEXEC) == 0);
}

static struct fake_call new_call(void)
{
	return (struct fake_call){ .call = { .ops = &ops } };
}

CF_TEST(read_waits_for_bytes_and_takes_no_more_than_asked)
{
	struct fake_call a = new_call(), b = new_call(), none = new_call();
	struct guest_stream *s;
	struct bench t;

	bench_open(&t);
	s = guest_stream_open_take(t.loop, t.fds[0]);
	guest_stream_read(s, &none.call, 0);
	EXPECT(none.is_answered && none.code == CF_INVALID_ARGUMENT);
	guest_stream_read(s, &a.call, 4);
	guest_stream_read(s, &b.call, 100);
	EXPECT(!a.is_answered && !b.is_answered);
	EXPECT(write(t.fds[1], "abcdef", 6) == 6);
	cf_loop_run_once(t.loop, 1000);
	EXPECT(a.is_answered && a.size == 4 && memcmp(a.text, "abcd", 4) == 0);
	EXPECT(b.is_answered && b.size == 2 && memcmp(b.text, "ef", 2) == 0);
	guest_stream_close(s);
	cf_close(&t.fds[1]);
	cf_loop_free(t.loop);
}

CF_TEST(reader_that_has_gone_takes_no_bytes_with_it)
{
	struct fake_call gone = new_call(), back = new_call();
	struct guest_stream *s;
	struct bench t;

	bench_open(&t);
	s = guest_stream_open_take(t.loop, t.fds[0]);
	guest_stream_read(s, &gone.call, 100);
	gone.is_cancelled = true;
	EXPECT(write(t.fds[1], "all", 3) == 3);
	cf_loop_run_once(t.loop, 1000);
	EXPECT(gone.is_answered && gone.size == 0 && gone.code == CF_CANCELLED);
	guest_stream_read(s, &back.call, 100);
	EXPECT(back.is_answered && back.size == 3);
	guest_stream_close(s);
	cf_close(&t.fds[1]);
	cf_loop_free(t.loop);
}

CF_TEST(end_of_the_stream_is_told_to_everyone_and_stays)
{
	struct fake_call a = new_call(), b = new_call(), later = new_call();
	struct guest_stream *s;
	struct bench t;

	bench_open(&t);
	s = guest_stream_open_take(t.loop, t.fds[0]);
	guest_stream_read(s, &a.call, 100);
	guest_stream_read(s, &b.call, 100);
	cf_close(&t.fds[1]);
	cf_loop_run_once(t.loop, 1000);
	EXPECT(a.is_answered && a.code == CF_OK && a.size == 0);
	EXPECT(b.is_answered && b.code == CF_OK && b.size == 0);
	EXPECT(guest_stream_has_ended(s));
	guest_stream_read(s, &later.call, 100);
	EXPECT(later.is_answered && later.size == 0);
	guest_stream_close(s);
	cf_loop_free(t.loop);
}

CF_TEST(stream_that_a_descendant_keeps_open_ends_with_its_process)
{
	struct fake_call a = new_call(), b = new_call();
	struct guest_stream *s;
	int64_t begun;
	struct bench t;

	bench_open(&t);
	s = guest_stream_open_take(t.loop, t.fds[0]);
	EXPECT(write(t.fds[1], "last", 4) == 4);
	guest_stream_finish(s);
	begun = cf_now_ms();
	guest_stream_read(s, &a.call, 100); /* what is there is still read */
	EXPECT(a.is_answered && a.size == 4);
	guest_stream_read(s, &b.call, 100);
	while (!b.is_answered)
		cf_loop_run_once(t.loop, 1000);
	EXPECT(b.size == 0 && cf_now_ms() - begun >= GUEST_LINGER_MS - 50);
	guest_stream_close(s);
	cf_close(&t.fds[1]);
	cf_loop_free(t.loop);
}

CF_TEST(reads_of_one_stream_are_limited)
{
	struct fake_call calls[GUEST_READERS_MAX + 1];
	struct guest_stream *s;
	struct bench t;

	bench_open(&t);
	s = guest_stream_open_take(t.loop, t.fds[0]);
	for (size_t i = 0; i <= GUEST_READERS_MAX; i++) {
		calls[i] = new_call();
		guest_stream_read(s, &calls[i].call, 1);
	}
	EXPECT(calls[GUEST_READERS_MAX].code == CF_RESOURCE_EXHAUSTED);
	guest_stream_close(s);
	for (size_t i = 0; i < GUEST_READERS_MAX; i++)
		EXPECT(calls[i].is_answered && calls[i].code == CF_OK);
	cf_close(&t.fds[1]);
	cf_loop_free(t.loop);
}

CF_TEST(drained_stream_never_fills)
{
	static uint8_t block[4096];
	struct guest_stream *s;
	struct bench t;

	bench_open(&t);
	s = guest_stream_open_take(t.loop, t.fds[0]);
	guest_stream_drain(s);
	(void)cf_set_nonblock(t.fds[1], true);
	for (int i = 0; i < 256; i++) { /* a MiB through a pipe of 64 KiB */
		EXPECT(write(t.fds[1], block, sizeof(block)) == (ssize_t)sizeof(block));
		cf_loop_run_once(t.loop, 1000);
	}
	guest_stream_close(s);
	cf_close(&t.fds[1]);
	cf_loop_free(t.loop);
}

CF_TEST(writes_wait_for_the_process_and_are_limited)
{
	struct fake_call a = new_call(), b = new_call(), late = new_call();
	struct cf_buf big = { .max = 4u << 20 };
	struct guest_input *in;
	uint8_t sink[65536];
	struct bench t;

	bench_open(&t);
	in = guest_input_open_take(t.loop, cf_take_fd(&t.fds[1]));
	cf_buf_add_zero(&big, GUEST_WRITE_MAX);
	guest_input_write(in, &a.call, cf_buf_view(&big));
	EXPECT(!a.is_answered); /* a pipe holds less */
	guest_input_write(in, &b.call, cf_view_str("x"));
	EXPECT(b.is_answered && b.code == CF_RESOURCE_EXHAUSTED);
	guest_input_finish(in);
	guest_input_write(in, &late.call, cf_view_str("x"));
	EXPECT(late.is_answered && late.code == CF_FAILED_PRECONDITION);
	while (!a.is_answered) {
		EXPECT(read(t.fds[0], sink, sizeof(sink)) > 0);
		cf_loop_run_once(t.loop, 0);
	}
	EXPECT(a.code == CF_OK);
	guest_input_free(in);
	cf_buf_fini(&big);
	cf_close(&t.fds[0]);
	cf_loop_free(t.loop);
}

CF_TEST(write_to_a_process_that_closed_its_input_fails)
{
	struct fake_call a = new_call();
	struct guest_input *in;
	struct bench t;

	bench_open(&t);
	(void)signal(SIGPIPE, SIG_IGN);
	in = guest_input_open_take(t.loop, cf_take_fd(&t.fds[1]));
	cf_close(&t.fds[0]);
	guest_input_write(in, &a.call, cf_view_str("x"));
	EXPECT(a.is_answered && a.code == CF_FAILED_PRECONDITION);
	guest_input_free(in);
	cf_loop_free(t.loop);
}
