/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The standard streams of a container's process, read and written call by call. The pipe (or the
 * terminal) is the only buffer: a process that writes faster than the host reads is held back by
 * the kernel, and we hold no byte for a host that does not come.
 *
 * A call whose peer has gone is answered without taking data, so that a reader which comes back
 * after a broken connection misses nothing.
 */
#include "base/bytes.h"
#include "base/loop.h"
#include "proto/rpc.h"

#define GUEST_READ_MAX    (64u << 10) /* bytes of one ReadStdout answer: what a pipe holds */
#define GUEST_READERS_MAX 16u         /* outstanding reads of one stream */
#define GUEST_WRITE_MAX   (1u << 20)  /* bytes of WriteStdin that wait for the process */
#define GUEST_LINGER_MS   500         /* how long a stream may stay open behind its process */

/* ---- output ---- */

struct guest_stream;

/* @fd is ours from now on and made non-blocking. */
struct guest_stream *guest_stream_open_take(struct cf_loop *loop, int fd);
struct guest_stream *guest_stream_close(struct guest_stream *s); /* pending reads get "end" */

/*
 * Answers @call with ReadStreamResponse as soon as there are bytes (at most @len, 1 … ), or with no
 * bytes at the end of the stream. Takes the call.
 */
void guest_stream_read(struct guest_stream *s, struct rpc_call *call, uint32_t len);
/* Nobody may read this stream: throw away what comes, so that the process is not held up. */
void guest_stream_drain(struct guest_stream *s);
/*
 * The process has ended. What it left in the stream stays readable; if a descendant keeps the
 * stream open, it counts as ended once it has been empty for GUEST_LINGER_MS.
 */
void guest_stream_finish(struct guest_stream *s);
bool guest_stream_has_ended(const struct guest_stream *s);

/* ---- input ---- */

struct guest_input;

struct guest_input *guest_input_open_take(struct cf_loop *loop, int fd);
struct guest_input *guest_input_free(struct guest_input *in); /* pending writes fail */
/* Answers with WriteStreamResponse once all of @data is written. Takes the call. */
void guest_input_write(struct guest_input *in, struct rpc_call *call, struct cf_view data);
/* Closes behind what still waits. */
void guest_input_finish(struct guest_input *in);
