/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/guest/guest_stream.h"

#include "base/fd.h"
#include "base/mem.h"
#include "proto/agent.pb-c.h"

#include <errno.h>
#include <unistd.h>

struct reader {
	struct rpc_call *call;
	uint32_t len;
};

struct guest_stream {
	struct cf_loop *loop;
	int fd;
	struct cf_event *ev;
	struct cf_event *linger;
	struct reader readers[GUEST_READERS_MAX];
	size_t count;
	bool is_draining;
	bool is_over; /* the linger time has passed: empty means ended */
};

static void answer_read(struct rpc_call *call, struct cf_view data)
{
	Grpc__ReadStreamResponse resp = GRPC__READ_STREAM_RESPONSE__INIT;
	cf_cleanup(cf_freep) uint8_t *copy = NULL;

	if (data.size) {
		copy = cf_zalloc(data.size);
		memcpy(copy, data.data, data.size);
	}
	resp.data.data = copy;
	resp.data.len = data.size;
	rpc_reply(call, &resp);
}

static void pop_reader(struct guest_stream *s)
{
	s->count--;
	memmove(s->readers, s->readers + 1, s->count * sizeof(s->readers[0]));
}

/* Readers whose peer has gone must not take bytes that nobody will see. */
static void drop_gone_readers(struct guest_stream *s)
{
	size_t i = 0;

	while (i < s->count) {
		struct rpc_call *call = s->readers[i].call;

		if (!rpc_cancelled(call)) {
			i++;
			continue;
		}
		s->count--;
		memmove(s->readers + i, s->readers + i + 1, (s->count - i) * sizeof(s->readers[0]));
		rpc_fail(call, CF_CANCELLED, "the reader has gone");
	}
}

static void end_stream(struct guest_stream *s)
{
	s->ev = cf_event_free(s->ev);
	s->linger = cf_event_free(s->linger);
	cf_close(&s->fd);
	while (s->count) {
		struct rpc_call *call = s->readers[0].call;

		pop_reader(s);
		answer_read(call, (struct cf_view){ 0 });
	}
}

/* Return: bytes; 0: ended; -1: nothing there yet. */
static ssize_t read_some(struct guest_stream *s, uint8_t *buf, size_t size)
{
	ssize_t n;

	do {
		n = read(s->fd, buf, size);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN && !s->is_over)
		return -1;
	/* EIO is how a terminal says that its last user has gone. */
	return n < 0 ? 0 : n;
}

static void serve(struct guest_stream *s)
{
	uint8_t buf[GUEST_READ_MAX];

	drop_gone_readers(s);
	while (s->fd >= 0 && (s->count || s->is_draining)) {
		size_t want = s->count ? CF_MIN(s->readers[0].len, sizeof(buf)) : sizeof(buf);
		ssize_t n = read_some(s, buf, want);

		if (n < 0)
			break;
		if (n == 0) {
			end_stream(s);
			return;
		}
		if (s->count) {
			struct rpc_call *call = s->readers[0].call;

			pop_reader(s);
			answer_read(call, cf_view(buf, (size_t)n));
		}
	}
	if (s->ev)
		cf_event_set(s->ev, s->count || s->is_draining ? CF_LOOP_READ : 0);
}

static void on_readable(int fd, unsigned what, void *arg)
{
	(void)fd;
	(void)what;
	serve(arg);
}

struct guest_stream *guest_stream_open_take(struct cf_loop *loop, int fd)
{
	struct guest_stream *s = cf_zalloc(sizeof(*s));

	s->loop = loop;
	s->fd = fd;
	(void)cf_set_nonblock(fd, true);
	s->ev = cf_loop_fd(loop, fd, 0, on_readable, s);
	return s;
}

struct guest_stream *guest_stream_close(struct guest_stream *s)
{
	if (!s)
		return NULL;
	end_stream(s);
	free(s);
	return NULL;
}

void guest_stream_read(struct guest_stream *s, struct rpc_call *call, uint32_t len)
{
	if (len == 0) {
		rpc_fail(call, CF_INVALID_ARGUMENT, "a read of no bytes");
		return;
	}
	if (s->fd < 0) {
		answer_read(call, (struct cf_view){ 0 });
		return;
	}
	if (s->count == GUEST_READERS_MAX)
		drop_gone_readers(s);
	if (s->count == GUEST_READERS_MAX) {
		rpc_fail(call, CF_RESOURCE_EXHAUSTED, "%u reads of one stream are waiting",
		         GUEST_READERS_MAX);
		return;
	}
	s->readers[s->count++] = (struct reader){ .call = call, .len = len };
	serve(s);
}

void guest_stream_drain(struct guest_stream *s)
{
	s->is_draining = true;
	serve(s);
}

static void on_linger(void *arg)
{
	struct guest_stream *s = arg;

	s->linger = cf_event_free(s->linger);
	s->is_over = true;
	serve(s);
}

void guest_stream_finish(struct guest_stream *s)
{
	if (s->fd < 0 || s->linger || s->is_over)
		return;
	s->linger = cf_loop_timer(s->loop, GUEST_LINGER_MS, false, on_linger, s);
}

bool guest_stream_has_ended(const struct guest_stream *s)
{
	return s->fd < 0;
}

/* ---- input ---- */

struct pending {
	struct pending *next;
	struct rpc_call *call;
	size_t done, size;
	uint8_t data[];
};

struct guest_input {
	int fd;
	struct cf_event *ev;
	struct pending *head, **tail;
	size_t waiting; /* bytes */
	bool is_closing;
};

static struct pending *pop_pending(struct guest_input *in)
{
	struct pending *p = in->head;

	in->head = p->next;
	if (!in->head)
		in->tail = &in->head;
	in->waiting -= p->size;
	return p;
}

static void fail_pending(struct guest_input *in)
{
	while (in->head) {
		struct pending *p = pop_pending(in);

		rpc_fail(p->call, CF_FAILED_PRECONDITION, "standard input is closed");
		free(p);
	}
}

static void close_input(struct guest_input *in)
{
	in->ev = cf_event_free(in->ev);
	cf_close(&in->fd);
	fail_pending(in);
}

/* False: the process cannot take more for now, or the input has been closed. */
static bool write_first(struct guest_input *in)
{
	Grpc__WriteStreamResponse resp = GRPC__WRITE_STREAM_RESPONSE__INIT;
	struct pending *p = in->head;
	ssize_t n;

	while (p->done < p->size) {
		n = write(in->fd, p->data + p->done, p->size - p->done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return false;
		if (n < 0) {
			close_input(in);
			return false;
		}
		p->done += (size_t)n;
	}
	p = pop_pending(in);
	resp.len = (uint32_t)p->size;
	rpc_reply(p->call, &resp);
	free(p);
	return true;
}

static void pump(struct guest_input *in)
{
	while (in->head && write_first(in))
		;
	if (in->fd < 0)
		return;
	if (!in->head && in->is_closing) {
		close_input(in);
		return;
	}
	cf_event_set(in->ev, in->head ? CF_LOOP_WRITE : 0);
}

static void on_writable(int fd, unsigned what, void *arg)
{
	(void)fd;
	(void)what;
	pump(arg);
}

struct guest_input *guest_input_open_take(struct cf_loop *loop, int fd)
{
	struct guest_input *in = cf_zalloc(sizeof(*in));

	in->fd = fd;
	in->tail = &in->head;
	(void)cf_set_nonblock(fd, true);
	in->ev = cf_loop_fd(loop, fd, 0, on_writable, in);
	return in;
}

struct guest_input *guest_input_free(struct guest_input *in)
{
	if (!in)
		return NULL;
	close_input(in);
	free(in);
	return NULL;
}

void guest_input_write(struct guest_input *in, struct rpc_call *call, struct cf_view data)
{
	struct pending *p;

	if (in->fd < 0 || in->is_closing) {
		rpc_fail(call, CF_FAILED_PRECONDITION, "standard input is closed");
		return;
	}
	if (data.size > GUEST_WRITE_MAX || in->waiting > GUEST_WRITE_MAX - data.size) {
		rpc_fail(call, CF_RESOURCE_EXHAUSTED, "more than %u bytes wait for the process",
		         GUEST_WRITE_MAX);
		return;
	}
	p = cf_zalloc(sizeof(*p) + data.size);
	p->call = call;
	p->size = data.size;
	if (data.size)
		memcpy(p->data, data.data, data.size);
	*in->tail = p;
	in->tail = &p->next;
	in->waiting += p->size;
	pump(in);
}

void guest_input_finish(struct guest_input *in)
{
	in->is_closing = true;
	pump(in);
}
