/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A server of HTTP/2 frames written by hand, for clients to be lied to: whatever is asked of it, it says
 * what the test gave it.
 */
#include "base/fd.h"
#include "tests/harness/test.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#define PREFACE_SIZE 24
#define FRAME_HEAD   9
#define STEPS_MAX    8
#define HELD_MS      20000 /* far more than any test takes */

enum {
	DATA = 0,
	HEADERS = 1,
	RST = 3,
	SETTINGS = 4,
	PUSH = 5,
	PING = 6,
	GOAWAY = 7,
	CONTINUATION = 9
};
enum { ACK = 1, END_STREAM = 1, END_HEADERS = 4 };

/* ---- what a server says ---- */

/* One frame, of stream 1 unless it is of the connection. .type -1: bytes as they are. */
struct step {
	int type;
	uint8_t flags;
	struct cf_view payload;
};

#define LIT(s)     CF_VIEW_LIT(s)
#define LINE(n, v) "\0" n v /* each with its length in front */
#define GRPC       LINE("\14content-type", "\20application/grpc")
#define HTML       LINE("\14content-type", "\11text/html")
#define STATUS(v)  LINE("\13grpc-status", v)
#define TEXT(v)    LINE("\14grpc-message", v)
#define HTTP(v)    LINE("\7:status", "\3" v)
#define PUSHED     "\x83\x86\x84" LINE("\12:authority", "\1x") GRPC STATUS("\0019")
/* clang-format off */
#define HEAD        { HEADERS, END_HEADERS, LIT("\x88" GRPC) }
#define ANSWER      { DATA, 0, LIT("\0\0\0\0\6\x12\4here") }
#define TRAILERS(h) { HEADERS, END_HEADERS | END_STREAM, LIT(h) }
#define GOOD_END    TRAILERS(STATUS("\0010"))
/* clang-format on */

static inline void put_frame(struct cf_buf *to, const struct step *s, uint32_t stream)
{
	bool is_conn = s->type == SETTINGS || s->type == PING || s->type == GOAWAY;

	if (s->type < 0) {
		cf_buf_add_view(to, s->payload);
		return;
	}
	cf_buf_add_byte(to, (uint8_t)(s->payload.size >> 16));
	cf_buf_add_u16be(to, (uint16_t)s->payload.size);
	cf_buf_add_byte(to, (uint8_t)s->type);
	cf_buf_add_byte(to, s->flags);
	cf_buf_add_u32be(to, is_conn ? 0 : stream);
	cf_buf_add_view(to, s->payload);
}

static inline void put_settings(struct cf_buf *to)
{
	static const struct step settings = { SETTINGS, 0, { 0 } };

	put_frame(to, &settings, 0);
}

/* ---- a server: each connection gets .answer, once its request has come ---- */

struct fake {
	char *dir, *path;
	int listener;
	pthread_t thread;
	struct cf_buf answer;
	int calls_per_conn; /* then the connection is held or closed */
	int drip_ms;        /* > 0: byte by byte */
	bool is_held;       /* until the client closes it */
	bool is_mute;       /* no settings either */
	bool is_rude;       /* closes what it accepts */
	uint32_t stream;    /* of the call being answered */
	_Atomic int conns, calls, resets, gone;
	_Atomic uint32_t reset_code;
	struct cf_buf request; /* what the calls sent as data */
};

static inline bool read_exactly(int fd, void *to, size_t size)
{
	return recv(fd, to, size, MSG_WAITALL) == (ssize_t)size;
}

/* The next frame's head, its payload in @to. */
static inline bool read_frame(int fd, uint8_t head[FRAME_HEAD], struct cf_buf *to)
{
	cf_buf_reset(to);
	if (!read_exactly(fd, head, FRAME_HEAD))
		return false;
	size_t size = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
	uint8_t *p = cf_buf_reserve(to, size);

	to->size = size;
	return size == 0 || read_exactly(fd, p, size);
}

static inline void look_at(struct fake *f, const uint8_t head[FRAME_HEAD],
                           const struct cf_buf *payload)
{
	struct cf_rd rd = { .in = cf_view(head, FRAME_HEAD), .pos = 5 };

	if (head[3] == HEADERS)
		f->stream = cf_rd_u32be(&rd);
	if (head[3] == DATA)
		cf_buf_add_view(&f->request, cf_buf_view(payload));
	if (head[3] == RST) {
		struct cf_rd code = { .in = cf_buf_view(payload) };

		f->reset_code = cf_rd_u32be(&code);
		f->resets++;
	}
}

/* False: the client is gone. */
static inline bool await_request(struct fake *f, int fd)
{
	cf_cleanup(cf_buf_fini) struct cf_buf payload = { 0 };
	uint8_t head[FRAME_HEAD];

	while (read_frame(fd, head, &payload)) {
		look_at(f, head, &payload);
		if (head[3] == DATA && (head[4] & END_STREAM))
			return true;
	}
	return false;
}

static inline void say(const struct fake *f, int fd, struct cf_view v)
{
	size_t piece = f->drip_ms ? 1 : v.size;

	while (v.size) {
		ssize_t n = send(fd, v.data, piece, MSG_NOSIGNAL);

		if (n < 0)
			return;
		v = cf_view_sub(v, (size_t)n, v.size);
		piece = CF_MIN(piece, v.size);
		if (f->drip_ms)
			poll(NULL, 0, f->drip_ms);
	}
}

static inline void answer(struct fake *f, int fd)
{
	cf_cleanup(cf_buf_fini) struct cf_buf copy = { .max = 64u << 20 };

	cf_buf_add_view(&copy, cf_buf_view(&f->answer));
	f->calls++;
	/* The script is written for stream 1; a later one stands at the end of each frame's head. */
	for (size_t at = 0; f->stream != 1 && at + FRAME_HEAD <= copy.size;) {
		size_t size = (size_t)copy.data[at + 1] << 8 | copy.data[at + 2];

		if (copy.data[at + 8])
			copy.data[at + 8] = (uint8_t)f->stream;
		at += FRAME_HEAD + size;
	}
	say(f, fd, cf_buf_view(&copy));
}

static inline void serve(struct fake *f, int fd)
{
	cf_cleanup(cf_buf_fini) struct cf_buf hello = { 0 };
	char preface[PREFACE_SIZE];

	put_settings(&hello);
	if (!f->is_mute)
		say(f, fd, cf_buf_view(&hello));
	if (!read_exactly(fd, preface, sizeof(preface)))
		return;
	for (int i = 0; i < f->calls_per_conn; i++) {
		if (!await_request(f, fd))
			return;
		answer(f, fd);
	}
	if (f->is_held)
		await_request(f, fd);
}

static inline void *fake_main(void *arg)
{
	struct fake *f = arg;

	for (;;) {
		cf_cleanup(cf_closep) int fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			return NULL;
		f->conns++;
		if (!f->is_rude)
			serve(f, fd);
		f->gone++;
	}
}

static inline void fake_init(struct fake *f)
{
	struct cf_err err;

	f->dir = cf_test_tmpdir();
	f->path = cf_asprintf("%s/sock", f->dir);
	f->answer.max = 64u << 20;
	f->request.max = 64u << 20;
	if (!f->calls_per_conn)
		f->calls_per_conn = 1;
	f->listener = cf_listen_unix(f->path, &err);
	EXPECT(f->listener >= 0);
}

static inline void fake_start(struct fake *f, const struct step *steps)
{
	fake_init(f);
	for (size_t i = 0; steps && i < STEPS_MAX && (steps[i].type || steps[i].payload.data); i++)
		put_frame(&f->answer, &steps[i], 1);
	EXPECT(pthread_create(&f->thread, NULL, fake_main, f) == 0);
}

static inline void fake_stop(struct fake *f)
{
	shutdown(f->listener, SHUT_RDWR);
	pthread_join(f->thread, NULL);
	close(f->listener);
	cf_buf_fini(&f->answer);
	cf_buf_fini(&f->request);
	free(f->path);
	free(f->dir);
}
