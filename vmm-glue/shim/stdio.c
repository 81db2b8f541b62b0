/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/stdio.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "proto/agent.pb-c.h"
#include "vmm-glue/shim/logger.h"

#include <errno.h>
#include <unistd.h>

#define AGENT_SERVICE "grpc.AgentService"

/* One output: agent → fifo. */
struct output {
	struct stdio *s;
	const char *method;
	int fd;                        /* -1: thrown away */
	struct cf_event *writable;     /* while the fifo is full */
	Grpc__ReadStreamResponse *got; /* being written */
	size_t written;
	size_t want; /* bytes to ask for */
	bool has_ended;
};

struct stdio {
	struct cf_loop *loop;
	struct ttrpc_client *client;
	char *container_id, *exec_id;
	struct output outputs[2];
	int in;
	int logger_ready; /* held for a logger, never read */
	struct cf_event *readable;
	struct cf_buf input; /* on its way to the agent */
	bool is_input_closing, is_input_closed, is_writing;
	size_t read_max;
	struct cf_event *idle;
	void (*done)(void *arg);
	void *arg;
	unsigned refs; /* the owner's, and one for each call in flight */
	bool is_freed;
};

static void read_more(struct output *o);
static void pump_input(struct stdio *s);

/* ---- lifetime ---- */

static void unref(struct stdio *s)
{
	if (--s->refs)
		return;
	cf_buf_fini(&s->input);
	free(s->container_id);
	free(s->exec_id);
	free(s);
}

static int open_sink(const char *path, int *ret, struct cf_err *err)
{
	const char *file = path ? cf_after(path, "file://") : NULL;

	if (!path || !*path)
		return 0;
	if (file)
		*ret = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	else if (strstr(path, "://"))
		return cf_fail(err, CF_UNIMPLEMENTED, "standard stream %s: no fifo, file or logger",
		               path);
	else /* both ends: a reader that goes away gives no EPIPE, one that comes back goes on */
		*ret = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	return *ret < 0 ? cf_fail_errno(err, errno, "standard stream %s", path) : 0;
}

/* One program takes both outputs, named by either address. */
static int open_logger(struct stdio *s, const struct stdio_opts *opts, struct cf_err *err)
{
	struct logger_fds fds;
	int r = logger_start(s->loop, logger_is_address(opts->out) ? opts->out : opts->err,
	                     opts->ns, s->container_id, &fds, err);

	if (r < 0)
		return r;
	s->outputs[0].fd = fds.out;
	s->outputs[1].fd = fds.err;
	s->logger_ready = fds.ready;
	return 0;
}

static int open_outputs(struct stdio *s, const struct stdio_opts *opts, struct cf_err *err)
{
	if (logger_is_address(opts->out) || logger_is_address(opts->err))
		return open_logger(s, opts, err);
	int r = open_sink(opts->out, &s->outputs[0].fd, err);

	if (r == 0 && !opts->is_terminal)
		r = open_sink(opts->err, &s->outputs[1].fd, err);
	return r;
}

int stdio_open(const struct stdio_opts *opts, struct stdio **ret, struct cf_err *err)
{
	struct stdio *s = cf_zalloc(sizeof(*s));
	int r;

	s->refs = 1;
	s->loop = opts->loop;
	s->in = -1;
	s->logger_ready = -1;
	s->read_max = CF_MIN(opts->read_max, STDIO_READ_MAX);
	s->container_id = cf_strdup(opts->container_id);
	s->exec_id = cf_strdup(opts->exec_id);
	for (int i = 0; i < 2; i++)
		s->outputs[i] = (struct output){ .s = s,
			                         .method = i ? "ReadStderr" : "ReadStdout",
			                         .fd = -1,
			                         .want = CF_MIN(STDIO_READ_MIN, s->read_max) };
	s->outputs[1].has_ended = opts->is_terminal;
	r = open_outputs(s, opts, err);
	if (r == 0 && opts->in && *opts->in) {
		s->in = open(opts->in, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (s->in < 0)
			r = cf_fail_errno(err, errno, "standard input %s", opts->in);
	}
	if (r < 0) {
		stdio_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

struct stdio *stdio_free(struct stdio *s)
{
	if (!s)
		return NULL;
	s->is_freed = true;
	s->done = NULL;
	s->readable = cf_event_free(s->readable);
	s->idle = cf_event_free(s->idle);
	cf_close(&s->in);
	cf_close(&s->logger_ready);
	for (int i = 0; i < 2; i++) {
		struct output *o = &s->outputs[i];

		o->writable = cf_event_free(o->writable);
		cf_close(&o->fd);
		if (o->got)
			grpc__read_stream_response__free_unpacked(cf_take(&o->got), NULL);
	}
	unref(s);
	return NULL;
}

/* ---- the end ---- */

static void report_done(struct stdio *s)
{
	void (*done)(void *arg) = s->done;

	s->done = NULL;
	s->idle = cf_event_free(s->idle);
	if (done)
		done(s->arg);
}

static void on_idle(void *arg)
{
	report_done(arg);
}

static void output_ended(struct output *o)
{
	o->has_ended = true;
	if (o->s->outputs[0].has_ended && o->s->outputs[1].has_ended)
		report_done(o->s);
}

void stdio_finish(struct stdio *s, void (*done)(void *arg), void *arg)
{
	s->done = done;
	s->arg = arg;
	s->is_input_closed = true;
	s->readable = cf_event_free(s->readable);
	if (!s->client || (s->outputs[0].has_ended && s->outputs[1].has_ended)) {
		report_done(s);
		return;
	}
	s->idle = cf_loop_timer(s->loop, STDIO_DRAIN_MS, false, on_idle, s);
}

/* ---- output ---- */

static void on_writable(int fd, unsigned what, void *arg);

/* Writes what is left of the last answer; true when all is out. */
static bool flush(struct output *o)
{
	const ProtobufCBinaryData *data = &o->got->data;

	while (o->fd >= 0 && o->written < data->len) {
		ssize_t n = write(o->fd, data->data + o->written, data->len - o->written);

		if (n > 0) {
			o->written += (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN)
			return false;
		cf_log_warn("standard stream lost", CF_F_STR("container", o->s->container_id),
		            CF_F_INT("errno", errno));
		cf_close(&o->fd); /* a full disk behind file://: go on reading, as a pipe must */
	}
	return true;
}

static void wrote_all(struct output *o)
{
	bool was_full = o->got->data.len == o->want;

	grpc__read_stream_response__free_unpacked(cf_take(&o->got), NULL);
	if (was_full)
		o->want = CF_MIN(o->want * 2, o->s->read_max);
	if (o->s->idle)
		cf_event_rearm(o->s->idle, STDIO_DRAIN_MS);
	read_more(o);
}

static void on_writable(int fd, unsigned what, void *arg)
{
	struct output *o = arg;

	(void)fd;
	(void)what;
	if (!flush(o))
		return;
	o->writable = cf_event_free(o->writable);
	wrote_all(o);
}

static void on_read(void *user, int r, ProtobufCMessage *msg, const struct cf_err *err)
{
	struct output *o = user;
	struct stdio *s = o->s;

	(void)err; /* NOT_FOUND and the like are how an agent says that the process is gone */
	if (s->is_freed || r < 0 || !((Grpc__ReadStreamResponse *)msg)->data.len) {
		if (msg)
			protobuf_c_message_free_unpacked(msg, NULL);
		if (!s->is_freed)
			output_ended(o);
		unref(s);
		return;
	}
	o->got = (Grpc__ReadStreamResponse *)msg;
	o->written = 0;
	if (flush(o))
		wrote_all(o);
	else
		o->writable = cf_loop_fd(s->loop, o->fd, CF_LOOP_WRITE, on_writable, o);
	unref(s);
}

static void read_more(struct output *o)
{
	struct stdio *s = o->s;
	Grpc__ReadStreamRequest req = GRPC__READ_STREAM_REQUEST__INIT;
	struct ttrpc_req call = { .service = AGENT_SERVICE,
		                  .method = o->method,
		                  .msg = &req.base,
		                  .out = &grpc__read_stream_response__descriptor };
	struct cf_err err;

	if (o->has_ended)
		return;
	req.container_id = s->container_id;
	req.exec_id = s->exec_id;
	req.len = (uint32_t)o->want;
	s->refs++;
	if (ttrpc_start(s->client, &call, on_read, o, &err) < 0) {
		output_ended(o);
		unref(s);
	}
}

/* ---- input ---- */

static void on_closed(void *user, int r, ProtobufCMessage *msg, const struct cf_err *err)
{
	(void)r;
	(void)err;
	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
	unref(user);
}

static void close_stdin(struct stdio *s)
{
	Grpc__CloseStdinRequest req = GRPC__CLOSE_STDIN_REQUEST__INIT;
	struct ttrpc_req call = { .service = AGENT_SERVICE,
		                  .method = "CloseStdin",
		                  .msg = &req.base,
		                  .out = &google__protobuf__empty__descriptor };
	struct cf_err err;

	if (s->is_input_closed)
		return;
	s->is_input_closed = true;
	s->readable = cf_event_free(s->readable);
	cf_close(&s->in);
	req.container_id = s->container_id;
	req.exec_id = s->exec_id;
	s->refs++;
	if (ttrpc_start(s->client, &call, on_closed, s, &err) < 0)
		unref(s);
}

static void on_input_sent(void *user, int r, ProtobufCMessage *msg, const struct cf_err *err)
{
	struct stdio *s = user;
	size_t n = msg ? ((Grpc__WriteStreamResponse *)msg)->len : 0;

	(void)err;
	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
	s->is_writing = false;
	if (!s->is_freed && r == 0) {
		cf_buf_consume(&s->input, CF_MIN(n, s->input.size));
		pump_input(s);
	} else if (!s->is_freed) { /* the process reads no more */
		s->is_input_closed = true;
		s->readable = cf_event_free(s->readable);
	}
	unref(s);
}

static void send_input(struct stdio *s)
{
	Grpc__WriteStreamRequest req = GRPC__WRITE_STREAM_REQUEST__INIT;
	struct ttrpc_req call = { .service = AGENT_SERVICE,
		                  .method = "WriteStdin",
		                  .msg = &req.base,
		                  .out = &grpc__write_stream_response__descriptor };
	struct cf_err err;

	req.container_id = s->container_id;
	req.exec_id = s->exec_id;
	req.data.data = s->input.data;
	req.data.len = s->input.size;
	s->is_writing = true;
	s->refs++;
	if (ttrpc_start(s->client, &call, on_input_sent, s, &err) < 0) {
		s->is_writing = false;
		unref(s);
	}
}

/* Reads one piece of the fifo. 0: nothing there now; positive: bytes; negative: its end. */
static ssize_t take_input(struct stdio *s)
{
	uint8_t *at = cf_buf_reserve(&s->input, STDIO_WRITE_MAX);
	ssize_t n = at ? read(s->in, at, STDIO_WRITE_MAX) : -1;

	if (n > 0)
		s->input.size += (size_t)n;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return n > 0 ? n : -1;
}

/* One piece at a time: what the agent has not taken is sent before the fifo is read again. */
static void pump_input(struct stdio *s)
{
	ssize_t n = 1;

	if (s->is_writing || s->is_input_closed)
		return;
	if (!s->input.size)
		n = s->in >= 0 ? take_input(s) : -1;
	if (s->input.size) {
		cf_event_set(s->readable, 0);
		send_input(s);
		return;
	}
	if (n < 0 || s->is_input_closing) {
		close_stdin(s);
		return;
	}
	cf_event_set(s->readable, CF_LOOP_READ);
}

static void on_readable(int fd, unsigned what, void *arg)
{
	(void)fd;
	(void)what;
	pump_input(arg);
}

void stdio_close_input(struct stdio *s)
{
	s->is_input_closing = true;
	if (s->client)
		pump_input(s);
}

/* ---- start ---- */

void stdio_start(struct stdio *s, struct ttrpc_client *client)
{
	s->client = client;
	for (int i = 0; i < 2; i++)
		read_more(&s->outputs[i]);
	if (s->in < 0)
		return;
	s->readable = cf_loop_fd(s->loop, s->in, CF_LOOP_READ, on_readable, s);
	if (s->is_input_closing)
		pump_input(s);
}
